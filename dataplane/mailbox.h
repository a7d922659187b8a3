/* SPDX-License-Identifier: Apache-2.0
 *
 * The mailbox: messages that wait for a receiver, and receivers that wait for a message. Matching
 * is by key and by source, or by key alone (PRAAS_ANY); messages of a key keep their order, and
 * receivers are served in theirs. Every operation but list() is O(1), however many keys,
 * sources, messages and receivers there are. Memory is reserved at init, touched as it is used.
 */
#ifndef PRAAS_DATAPLANE_MAILBOX_H
#define PRAAS_DATAPLANE_MAILBOX_H

#include <stdint.h>

#include "dataplane/keys.h"
#include "dataplane/process_fn.h"
#include "dataplane/value.h"

/* A message that waits. Indices are + 1, 0: none. */
struct praas_mail {
	struct praas_value value;
	uint64_t source, sequence;
	uint32_t next, prev; /* of all, by sequence; next also of the free list */
	uint32_t key_next, key_prev;   /* of its key */
	uint32_t from_next, from_prev; /* of its key and source */
	uint32_t key;
	uint32_t from : 30; /* of fewer than 2^30 */
	uint32_t held : 1;  /* stands in the list of all alone */
	uint32_t traced : 1;
};

/* What is there of one key. */
struct praas_mail_key {
	uint64_t hash;
	struct praas_fn_wait *wait_first, *wait_last; /* receivers from anybody */
	uint32_t next; /* of the hash chain or free list */
	uint32_t first, last;
	uint32_t refs; /* messages, receivers from anybody, and sources below */
	uint32_t cell;
	uint32_t key_bytes;
};

/* What is there of one key and source. */
struct praas_mail_from {
	uint64_t source;
	struct praas_fn_wait *wait_first, *wait_last; /* receivers from this source */
	uint32_t next; /* of the hash chain or free list */
	uint32_t first, last;
	uint32_t refs; /* messages and receivers */
	uint32_t key;
	uint32_t pad;
};

struct praas_changes;

struct praas_mailbox {
	struct praas_keys keys;
	struct praas_mail *mails;
	/* By message, of those that are traced: a line that no other message touches. */
	uint8_t (*traces)[PRAAS_TRACE_BYTES];
	struct praas_mail_key *by_key;
	struct praas_mail_from *by_from;
	uint32_t *key_buckets, *from_buckets;
	uint32_t mask;
	uint32_t messages_max, objects_max;
	uint32_t mails_used, keys_used, froms_used;
	uint32_t mails_free, keys_free, froms_free;
	uint32_t first, last; /* of all messages */
	uint64_t count, bytes, bytes_max;
	uint64_t sequence;           /* of the last message */
	uint64_t order;              /* of the last receiver */
	struct praas_fn_wait *waits; /* all */
	uint64_t waits_count;
	struct praas_changes *changes; /* NULL: nobody wants them */
	uint64_t listed;               /* where the last list() stopped: sequence … */
	uint32_t listed_at;            /* … and message */
};

/* waits_max: receivers at once. 0; -ENOMEM; -EINVAL. */
int praas_mailbox_init(struct praas_mailbox *m, uint32_t messages_max,
		       uint64_t bytes_max, uint32_t waits_max);
/* Values are released; no receiver may wait any more. */
void praas_mailbox_release(struct praas_mailbox *m);

/**
 * A message arrives; value is given on success. sequence 0: the next one. *ret_wait: the receiver
 * that gets it (its wait->message is set and it waits no more), or NULL: it is kept.
 * 0; -ENOBUFS too many messages; -ENOSPC too many bytes.
 */
int praas_mailbox_put(struct praas_mailbox *m, uint64_t source, const char *key,
		      uint32_t key_bytes, uint64_t sequence, struct praas_value *value,
		      struct praas_fn_wait **ret_wait);
/* The message that was put last carries a trace: wait has it, or (NULL, or wait holds it) it is kept. */
PRAAS_COLD void praas_mailbox_trace(struct praas_mailbox *m, struct praas_fn_wait *wait,
				    const uint8_t trace[PRAAS_TRACE_BYTES]);
/* Take the oldest match out. 0; -EAGAIN. */
int praas_mailbox_take(struct praas_mailbox *m, uint64_t source, const char *key,
		       uint32_t key_bytes, struct praas_message *ret_message);
/* Hold the oldest match: it stays where it is in the list of all, and nobody is given it or shown it by
 * take() or peek() until it is let go. Its number; 0: none. */
uint32_t praas_mailbox_hold(struct praas_mailbox *m, uint64_t source, const char *key,
			    uint32_t key_bytes);
/* What is held under that number. */
static inline const struct praas_mail *praas_mailbox_held(const struct praas_mailbox *m,
							  uint32_t held)
{
	return &m->mails[held - 1];
}
/* It was received: it goes. */
void praas_mailbox_drop(struct praas_mailbox *m, uint32_t held);
/* It was not: it is a message like the others again, in its place. *ret_wait: the receiver that gets
 * it, which is over with 0 (holds: see praas_fn_wait), or NULL. */
void praas_mailbox_let_go(struct praas_mailbox *m, uint32_t held,
			  struct praas_fn_wait **ret_wait);
/* Look at the oldest match; NULL: none. */
const struct praas_mail *praas_mailbox_peek(const struct praas_mailbox *m,
					    uint64_t source, const char *key,
					    uint32_t key_bytes);
/* The trace of a message in the mailbox; NULL: it has none. */
static inline const uint8_t *praas_mailbox_trace_of(const struct praas_mailbox *m,
						    const struct praas_mail *mail)
{
	return mail->traced ? m->traces[mail - m->mails] : NULL;
}
/* What there is to say of it; the value stays the mailbox's. */
void praas_mailbox_look(const struct praas_mailbox *m, const struct praas_mail *mail,
			struct praas_message *ret_message);
/* wait for a match; there is none now. 0; -ENOBUFS. */
int praas_mailbox_wait(struct praas_mailbox *m, uint64_t source, const char *key,
		       uint32_t key_bytes, struct praas_fn_wait *wait);
void praas_mailbox_wait_remove(struct praas_mailbox *m, struct praas_fn_wait *wait);

/* In process_changes.c: it goes. With changes only. */
PRAAS_COLD void praas_mailbox_changed_gone(const struct praas_mailbox *m,
					   const struct praas_mail *mail);

/* Records of docs/dataplane.md. */
void praas_mailbox_list(struct praas_mailbox *m, const char *prefix,
			uint32_t prefix_bytes, uint64_t after, uint8_t *ret_data,
			uint64_t bytes_max, uint64_t *ret_bytes, uint64_t *ret_count);

/* All messages, oldest first; fn may change the value but not the mailbox. Non-zero ends it. */
int praas_mailbox_each(struct praas_mailbox *m,
		       int (*fn)(void *user, struct praas_mail *mail, const char *key,
				 uint32_t key_bytes),
		       void *user);

#endif
