/* SPDX-License-Identifier: Apache-2.0
 *
 * All messages of a mailbox, those that are held too, oldest first.
 */
#include <string.h>

#include "dataplane/mailbox.h"

#define RECORD_HEAD 32u /* bytes of a list record before its key */

/* The first message after that sequence. */
static uint32_t after_sequence(const struct praas_mailbox *m, uint64_t after)
{
	uint32_t i = m->first;

	/* Where the last list stopped is where the next one goes on, as a rule. */
	if (after && after == m->listed && m->mails[m->listed_at - 1].sequence == after)
		return m->mails[m->listed_at - 1].next;
	while (i && m->mails[i - 1].sequence <= after)
		i = m->mails[i - 1].next;
	return i;
}

void praas_mailbox_list(struct praas_mailbox *m, const char *prefix,
			uint32_t prefix_bytes, uint64_t after, uint8_t *ret_data,
			uint64_t bytes_max, uint64_t *ret_bytes, uint64_t *ret_count)
{
	uint64_t at = 0;
	uint64_t count = 0;

	for (uint32_t i = after_sequence(m, after); i; i = m->mails[i - 1].next) {
		const struct praas_mail *mail = &m->mails[i - 1];
		const struct praas_mail_key *k = &m->by_key[mail->key - 1];
		const char *key = praas_keys_at(&m->keys, k->cell);
		uint64_t bytes = RECORD_HEAD + praas_align_up(k->key_bytes, 8);
		uint64_t words[4] = { mail->sequence, mail->source, mail->value.bytes,
				      k->key_bytes };

		if (k->key_bytes < prefix_bytes ||
		    memcmp(key, prefix, prefix_bytes) != 0)
			continue;
		if (bytes > bytes_max - at)
			break;
		memcpy(ret_data + at, words, sizeof(words));
		/* Cells are zero-padded to a multiple of 8. */
		memcpy(ret_data + at + RECORD_HEAD, key, bytes - RECORD_HEAD);
		at += bytes;
		count++;
		m->listed = mail->sequence;
		m->listed_at = i;
	}
	*ret_bytes = at;
	*ret_count = count;
}

int praas_mailbox_each(struct praas_mailbox *m,
		       int (*fn)(void *user, struct praas_mail *mail, const char *key,
				 uint32_t key_bytes),
		       void *user)
{
	for (uint32_t i = m->first; i != 0; i = m->mails[i - 1].next) {
		const struct praas_mail_key *k = &m->by_key[m->mails[i - 1].key - 1];
		int rc = fn(user, &m->mails[i - 1], praas_keys_at(&m->keys, k->cell),
			    k->key_bytes);

		if (rc != 0)
			return rc;
	}
	return 0;
}
