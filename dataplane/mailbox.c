/* SPDX-License-Identifier: Apache-2.0
 *
 * Two hash tables, of keys and of (key, source); a message stands in three lists: of all, of its
 * key, of its key and source; one that is held, in the first alone. The objects of a key exist as
 * long as something refers to them.
 */
#include "dataplane/mailbox.h"

#include <errno.h>
#include <string.h>

#include "dataplane/key_hash.h"
#include "shm/pages.h"

int praas_mailbox_init(struct praas_mailbox *m, uint32_t messages_max,
		       uint64_t bytes_max, uint32_t waits_max)
{
	uint32_t objects = messages_max + waits_max;
	uint32_t buckets = 64;
	int rc;

	*m = (struct praas_mailbox){ .messages_max = messages_max,
				     .bytes_max = bytes_max,
				     .objects_max = objects };
	if (objects < messages_max || objects >> 30)
		return -EINVAL;
	rc = praas_keys_init(&m->keys, objects);
	if (rc != 0)
		return rc;
	while (buckets < objects)
		buckets *= 2;
	m->mask = buckets - 1;
	m->mails = praas_pages_new((size_t)messages_max * sizeof(*m->mails));
	m->traces = praas_pages_new((size_t)messages_max * sizeof(*m->traces));
	m->by_key = praas_pages_new((size_t)objects * sizeof(*m->by_key));
	m->by_from = praas_pages_new((size_t)objects * sizeof(*m->by_from));
	m->key_buckets = praas_pages_new((size_t)buckets * sizeof(*m->key_buckets));
	m->from_buckets = praas_pages_new((size_t)buckets * sizeof(*m->from_buckets));
	if (!m->mails || !m->traces || !m->by_key || !m->by_from || !m->key_buckets ||
	    !m->from_buckets) {
		praas_mailbox_release(m);
		return -ENOMEM;
	}
	return 0;
}

void praas_mailbox_release(struct praas_mailbox *m)
{
	/* Without mails[], as after a failed init, there is no first. */
	for (uint32_t i = m->mails ? m->first : 0; i != 0; i = m->mails[i - 1].next)
		praas_value_release(&m->mails[i - 1].value);
	praas_keys_release(&m->keys);
	praas_pages_free(m->mails);
	praas_pages_free(m->traces);
	praas_pages_free(m->by_key);
	praas_pages_free(m->by_from);
	praas_pages_free(m->key_buckets);
	praas_pages_free(m->from_buckets);
	*m = (struct praas_mailbox){ 0 };
}

/* ---- objects ---- */

/* One from the free list, else the next that was never used; 0: none left. */
static uint32_t number_new(uint32_t *free, uint32_t next_free, uint32_t *used,
			   uint32_t max)
{
	if (*free) {
		uint32_t i = *free;

		*free = next_free;
		return i;
	}
	return *used < max ? ++*used : 0;
}

static uint32_t key_find(const struct praas_mailbox *m, const char *key,
			 uint32_t key_bytes, uint64_t hash)
{
	uint32_t i = m->key_buckets[hash & m->mask];

	while (i != 0) {
		const struct praas_mail_key *k = &m->by_key[i - 1];

		if (k->hash == hash && k->key_bytes == key_bytes &&
		    memcmp(praas_keys_at(&m->keys, k->cell), key, key_bytes) == 0)
			break;
		i = k->next;
	}
	return i;
}

/* Found or made; 0: no room. */
static uint32_t key_get(struct praas_mailbox *m, const char *key, uint32_t key_bytes)
{
	uint64_t hash = praas_key_hash(key, key_bytes, 0);
	uint32_t i = key_find(m, key, key_bytes, hash);
	struct praas_mail_key *k;
	uint32_t cell;

	if (i)
		return i;
	if (praas_keys_put(&m->keys, key, key_bytes, &cell) != 0)
		return 0;
	i = number_new(&m->keys_free,
		       m->keys_free ? m->by_key[m->keys_free - 1].next : 0,
		       &m->keys_used, m->objects_max);
	if (!i) {
		praas_keys_remove(&m->keys, cell);
		return 0;
	}
	k = &m->by_key[i - 1];
	*k = (struct praas_mail_key){ .hash = hash,
				      .next = m->key_buckets[hash & m->mask],
				      .cell = cell,
				      .key_bytes = key_bytes };
	m->key_buckets[hash & m->mask] = i;
	return i;
}

static void key_unref(struct praas_mailbox *m, uint32_t i)
{
	struct praas_mail_key *k = &m->by_key[i - 1];
	uint32_t *at = &m->key_buckets[k->hash & m->mask];

	if (--k->refs)
		return;
	while (*at != i)
		at = &m->by_key[*at - 1].next;
	*at = k->next;
	praas_keys_remove(&m->keys, k->cell);
	k->next = m->keys_free;
	m->keys_free = i;
}

static uint32_t *from_bucket(const struct praas_mailbox *m, uint32_t key,
			     uint64_t source)
{
	uint64_t h = (m->by_key[key - 1].hash ^ source) * 0x9e3779b97f4a7c15ull;

	return &m->from_buckets[(h >> 32) & m->mask];
}

static uint32_t from_find(const struct praas_mailbox *m, uint32_t key, uint64_t source)
{
	uint32_t i = *from_bucket(m, key, source);

	while (i != 0) {
		const struct praas_mail_from *f = &m->by_from[i - 1];

		if (f->key == key && f->source == source)
			break;
		i = f->next;
	}
	return i;
}

static uint32_t from_get(struct praas_mailbox *m, uint32_t key, uint64_t source)
{
	uint32_t i = from_find(m, key, source);
	uint32_t *bucket;

	if (i)
		return i;
	i = number_new(&m->froms_free,
		       m->froms_free ? m->by_from[m->froms_free - 1].next : 0,
		       &m->froms_used, m->objects_max);
	if (!i)
		return 0;
	bucket = from_bucket(m, key, source);
	m->by_from[i - 1] = (struct praas_mail_from){ .source = source,
						      .next = *bucket,
						      .key = key };
	*bucket = i;
	m->by_key[key - 1].refs++;
	return i;
}

static void from_unref(struct praas_mailbox *m, uint32_t i)
{
	struct praas_mail_from *f = &m->by_from[i - 1];
	uint32_t *at = from_bucket(m, f->key, f->source);

	if (--f->refs)
		return;
	while (*at != i)
		at = &m->by_from[*at - 1].next;
	*at = f->next;
	key_unref(m, f->key);
	f->next = m->froms_free;
	m->froms_free = i;
}

/* ---- lists of messages ---- */

static void mail_append(struct praas_mailbox *m, uint32_t i)
{
	struct praas_mail *mail = &m->mails[i - 1];
	struct praas_mail_key *k = &m->by_key[mail->key - 1];
	struct praas_mail_from *f = &m->by_from[mail->from - 1];

	mail->next = 0;
	mail->prev = m->last;
	*(m->last ? &m->mails[m->last - 1].next : &m->first) = i;
	m->last = i;
	mail->key_next = 0;
	mail->key_prev = k->last;
	*(k->last ? &m->mails[k->last - 1].key_next : &k->first) = i;
	k->last = i;
	mail->from_next = 0;
	mail->from_prev = f->last;
	*(f->last ? &m->mails[f->last - 1].from_next : &f->first) = i;
	f->last = i;
}

/* Out of the lists that are searched for a match. */
static void mail_hide(struct praas_mailbox *m, struct praas_mail *mail)
{
	struct praas_mail_key *k = &m->by_key[mail->key - 1];
	struct praas_mail_from *f = &m->by_from[mail->from - 1];

	*(mail->key_prev ? &m->mails[mail->key_prev - 1].key_next : &k->first) =
		mail->key_next;
	*(mail->key_next ? &m->mails[mail->key_next - 1].key_prev : &k->last) =
		mail->key_prev;
	*(mail->from_prev ? &m->mails[mail->from_prev - 1].from_next : &f->first) =
		mail->from_next;
	*(mail->from_next ? &m->mails[mail->from_next - 1].from_prev : &f->last) =
		mail->from_prev;
}

/* Into them again, where it was. Older ones are in front only when they were held too: few. */
static void mail_show(struct praas_mailbox *m, uint32_t i)
{
	struct praas_mail *mail = &m->mails[i - 1];
	struct praas_mail_key *k = &m->by_key[mail->key - 1];
	struct praas_mail_from *f = &m->by_from[mail->from - 1];

	mail->held = 0;
	mail->key_prev = 0;
	mail->key_next = k->first;
	while (mail->key_next &&
	       m->mails[mail->key_next - 1].sequence < mail->sequence) {
		mail->key_prev = mail->key_next;
		mail->key_next = m->mails[mail->key_next - 1].key_next;
	}
	*(mail->key_prev ? &m->mails[mail->key_prev - 1].key_next : &k->first) = i;
	*(mail->key_next ? &m->mails[mail->key_next - 1].key_prev : &k->last) = i;
	mail->from_prev = 0;
	mail->from_next = f->first;
	while (mail->from_next &&
	       m->mails[mail->from_next - 1].sequence < mail->sequence) {
		mail->from_prev = mail->from_next;
		mail->from_next = m->mails[mail->from_next - 1].from_next;
	}
	*(mail->from_prev ? &m->mails[mail->from_prev - 1].from_next : &f->first) = i;
	*(mail->from_next ? &m->mails[mail->from_next - 1].from_prev : &f->last) = i;
}

static void mail_remove(struct praas_mailbox *m, uint32_t i)
{
	struct praas_mail *mail = &m->mails[i - 1];

	if (praas_unlikely(m->changes != NULL))
		praas_mailbox_changed_gone(m, mail);
	*(mail->prev ? &m->mails[mail->prev - 1].next : &m->first) = mail->next;
	*(mail->next ? &m->mails[mail->next - 1].prev : &m->last) = mail->prev;
	if (praas_likely(!mail->held))
		mail_hide(m, mail);
	m->count--;
	m->bytes -= mail->value.charge;
	key_unref(m, mail->key);
	from_unref(m, mail->from);
	mail->sequence = 0;
	mail->next = m->mails_free;
	m->mails_free = i;
}

/* ---- receivers ---- */

/* Where wait stands: the receivers from anybody of a key, or those of a source. */
static void wait_ends(struct praas_mailbox *m, const struct praas_fn_wait *wait,
		      struct praas_fn_wait ***ret_first,
		      struct praas_fn_wait ***ret_last)
{
	if (wait->any) {
		*ret_first = &m->by_key[wait->queue - 1].wait_first;
		*ret_last = &m->by_key[wait->queue - 1].wait_last;
	} else {
		*ret_first = &m->by_from[wait->queue - 1].wait_first;
		*ret_last = &m->by_from[wait->queue - 1].wait_last;
	}
}

void praas_mailbox_wait_remove(struct praas_mailbox *m, struct praas_fn_wait *wait)
{
	struct praas_fn_wait **first;
	struct praas_fn_wait **last;

	wait_ends(m, wait, &first, &last);
	*(wait->prev ? &wait->prev->next : first) = wait->next;
	*(wait->next ? &wait->next->prev : last) = wait->prev;
	*(wait->all_prev ? &wait->all_prev->all_next : &m->waits) = wait->all_next;
	if (wait->all_next)
		wait->all_next->all_prev = wait->all_prev;
	if (wait->any)
		key_unref(m, wait->queue);
	else
		from_unref(m, wait->queue);
	wait->queue = 0;
	m->waits_count--;
}

int praas_mailbox_wait(struct praas_mailbox *m, uint64_t source, const char *key,
		       uint32_t key_bytes, struct praas_fn_wait *wait)
{
	uint32_t k = key_get(m, key, key_bytes);
	struct praas_fn_wait **first;
	struct praas_fn_wait **last;

	if (!k)
		return -ENOBUFS;
	m->by_key[k - 1].refs++;
	wait->any = source == PRAAS_ANY;
	wait->queue = k;
	if (!wait->any) {
		wait->queue = from_get(m, k, source);
		if (wait->queue)
			m->by_from[wait->queue - 1].refs++;
		key_unref(m, k);
		if (!wait->queue)
			return -ENOBUFS;
	}
	wait->order = ++m->order;
	wait->held = 0;
	wait_ends(m, wait, &first, &last);
	wait->next = NULL;
	wait->prev = *last;
	*(*last ? &(*last)->next : first) = wait;
	*last = wait;
	wait->all_prev = NULL;
	wait->all_next = m->waits;
	if (m->waits)
		m->waits->all_prev = wait;
	m->waits = wait;
	m->waits_count++;
	return 0;
}

/* The receiver that has waited longest for such a message; NULL: none. */
static struct praas_fn_wait *match(const struct praas_mailbox *m, uint32_t key,
				   uint64_t source)
{
	struct praas_fn_wait *any = m->by_key[key - 1].wait_first;
	uint32_t from = from_find(m, key, source);
	struct praas_fn_wait *exact = from ? m->by_from[from - 1].wait_first : NULL;

	if (!any || !exact)
		return any ? any : exact;
	return any->order < exact->order ? any : exact;
}

/* ---- messages ---- */

static int keep(struct praas_mailbox *m, uint64_t source, const char *key,
		uint32_t key_bytes, uint64_t sequence, struct praas_value *value)
{
	struct praas_mail *mail;
	uint32_t k = key_get(m, key, key_bytes);
	uint32_t from;
	uint32_t i;

	if (!k)
		return -ENOBUFS;
	m->by_key[k - 1].refs++;
	from = from_get(m, k, source);
	if (!from) {
		key_unref(m, k);
		return -ENOBUFS;
	}
	m->by_from[from - 1].refs++;
	i = number_new(&m->mails_free,
		       m->mails_free ? m->mails[m->mails_free - 1].next : 0,
		       &m->mails_used, m->messages_max);
	mail = &m->mails[i - 1];
	*mail = (struct praas_mail){ .value = praas_value_take(value),
				     .source = source,
				     .sequence = sequence,
				     .key = k,
				     .from = from & 0x3fffffffu };
	m->count++;
	m->bytes += mail->value.charge;
	mail_append(m, i);
	return 0;
}

/* A message of the mailbox is held for a receiver, which waits no more. */
static void hold_for(struct praas_mailbox *m, uint32_t i, struct praas_fn_wait *wait)
{
	struct praas_mail *mail = &m->mails[i - 1];

	if (!mail->held)
		mail_hide(m, mail);
	mail->held = 1;
	praas_mailbox_look(m, mail, &wait->message);
	wait->held = i;
}

static void hand_over(struct praas_fn_wait *wait, uint64_t source, uint64_t sequence,
		      struct praas_value *value)
{
	wait->message.source = source;
	wait->message.sequence = sequence;
	wait->message.value = praas_value_take(value);
	wait->message.traced = false;
}

int praas_mailbox_put(struct praas_mailbox *m, uint64_t source, const char *key,
		      uint32_t key_bytes, uint64_t sequence, struct praas_value *value,
		      struct praas_fn_wait **ret_wait)
{
	struct praas_fn_wait *wait = NULL;
	uint32_t k;
	bool kept;
	int rc;

	if (praas_unlikely(m->waits != NULL)) {
		k = key_find(m, key, key_bytes, praas_key_hash(key, key_bytes, 0));
		wait = k ? match(m, k, source) : NULL;
	}
	kept = !wait || wait->holds == PRAAS_HOLDS_ALL;
	if (kept && m->count == m->messages_max)
		return -ENOBUFS;
	if (kept &&
	    value->charge > m->bytes_max - praas_min_u64(m->bytes, m->bytes_max))
		return -ENOSPC;
	sequence = sequence ? sequence : m->sequence + 1;
	if (kept) {
		rc = keep(m, source, key, key_bytes, sequence, value);
		if (rc != 0)
			return rc;
	}
	if (praas_unlikely(wait != NULL)) {
		praas_mailbox_wait_remove(m, wait);
		if (kept)
			hold_for(m, m->last, wait);
		else
			hand_over(wait, source, sequence, value);
	}
	m->sequence = praas_max_u64(m->sequence, sequence);
	*ret_wait = wait;
	return 0;
}

void praas_mailbox_trace(struct praas_mailbox *m, struct praas_fn_wait *wait,
			 const uint8_t trace[PRAAS_TRACE_BYTES])
{
	uint8_t *to = wait ? wait->message.trace : m->traces[m->last - 1];

	memcpy(to, trace, PRAAS_TRACE_USED);
	memset(to + PRAAS_TRACE_USED, 0, PRAAS_TRACE_RESERVED); /* whoever it is from */
	if (wait)
		wait->message.traced = true;
	if (!wait || wait->held) {
		m->mails[m->last - 1].traced = 1;
		memmove(m->traces[m->last - 1], to, PRAAS_TRACE_BYTES);
	}
}

void praas_mailbox_look(const struct praas_mailbox *m, const struct praas_mail *mail,
			struct praas_message *ret_message)
{
	ret_message->source = mail->source;
	ret_message->sequence = mail->sequence;
	ret_message->value = mail->value;
	ret_message->traced = mail->traced;
	if (praas_unlikely(mail->traced))
		memcpy(ret_message->trace, praas_mailbox_trace_of(m, mail),
		       sizeof(ret_message->trace));
}

static uint32_t oldest(const struct praas_mailbox *m, uint64_t source, const char *key,
		       uint32_t key_bytes)
{
	uint32_t k = key_find(m, key, key_bytes, praas_key_hash(key, key_bytes, 0));
	uint32_t from;

	if (!k)
		return 0;
	if (source == PRAAS_ANY)
		return m->by_key[k - 1].first;
	from = from_find(m, k, source);
	return from ? m->by_from[from - 1].first : 0;
}

int praas_mailbox_take(struct praas_mailbox *m, uint64_t source, const char *key,
		       uint32_t key_bytes, struct praas_message *ret_message)
{
	uint32_t i = oldest(m, source, key, key_bytes);
	struct praas_mail *mail;

	if (!i)
		return -EAGAIN;
	mail = &m->mails[i - 1];
	praas_mailbox_look(m, mail, ret_message);
	mail_remove(m, i); /* its charge is still there to be subtracted */
	mail->value = (struct praas_value){ 0 };
	return 0;
}

uint32_t praas_mailbox_hold(struct praas_mailbox *m, uint64_t source, const char *key,
			    uint32_t key_bytes)
{
	uint32_t i = oldest(m, source, key, key_bytes);

	if (i) {
		mail_hide(m, &m->mails[i - 1]);
		m->mails[i - 1].held = 1;
	}
	return i;
}

void praas_mailbox_drop(struct praas_mailbox *m, uint32_t held)
{
	struct praas_mail *mail = &m->mails[held - 1];
	struct praas_value value = mail->value;

	mail_remove(m, held); /* its charge is still there to be subtracted */
	mail->value = (struct praas_value){ 0 };
	praas_value_release(&value);
}

void praas_mailbox_let_go(struct praas_mailbox *m, uint32_t held,
			  struct praas_fn_wait **ret_wait)
{
	struct praas_mail *mail = &m->mails[held - 1];
	struct praas_fn_wait *wait =
		m->waits ? match(m, mail->key, mail->source) : NULL;

	*ret_wait = wait;
	if (!wait) {
		mail_show(m, held);
		return;
	}
	praas_mailbox_wait_remove(m, wait);
	if (wait->holds != PRAAS_HOLDS_NONE) {
		hold_for(m, held, wait);
		return;
	}
	praas_mailbox_look(m, mail, &wait->message);
	mail_remove(m, held);
	mail->value = (struct praas_value){ 0 };
}

const struct praas_mail *praas_mailbox_peek(const struct praas_mailbox *m,
					    uint64_t source, const char *key,
					    uint32_t key_bytes)
{
	uint32_t i = oldest(m, source, key, key_bytes);

	return i ? &m->mails[i - 1] : NULL;
}
