/* SPDX-License-Identifier: Apache-2.0 */
#include "control/records/memo.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/names.h"
#include "control/say.h"
#include "control/tenants/keys.h"
#include "internal/base.h"

#define SWEEP_NS (60 * 1000000000ull) /* between looks for those whose day is over */
#define DAY_NS (PRAAS_LIMIT_MEMO_S * 1000000000ull)

#define RESERVED                                                                       \
	(PRAAS_MEMO_BYTES + PRAAS_LIMIT_MEMO_BYTES) /* the most that one keeps */

/* What one tenant keeps: what is stored, and room for what is under way. */
struct use {
	char tenant[PRAAS_NAME_MAX + 1];
	uint64_t stored, reserved;
};

struct praas_memos {
	struct praas_records *records;
	uint8_t run[PRAAS_RECORD_ID_BYTES];
	/* Held by whoever changes what is stored, until it is counted; alone by who counts anew: so a
	 * count has all of a change or nothing of it. Before lock. */
	pthread_rwlock_t counting;
	pthread_mutex_t lock; /* of all below */
	uint64_t swept_ns;
	struct use *uses;            /* PRAAS_LIMIT_TENANTS */
	struct praas_memo_sum *sums; /* as many, of who counts anew */
	uint32_t count;
};

/* The tenant's place; NULL: no more can be counted. Lock held. */
static struct use *use_of(struct praas_memos *m, const char *tenant)
{
	struct use *u = NULL;

	for (uint32_t i = 0; i < m->count; i++) {
		if (!strcmp(m->uses[i].tenant, tenant))
			return &m->uses[i];
		if (!u && m->uses[i].stored + m->uses[i].reserved == 0)
			u = &m->uses[i]; /* of one that keeps nothing any more */
	}
	if (!u && m->count < PRAAS_LIMIT_TENANTS)
		u = &m->uses[m->count++];
	if (u) {
		*u = (struct use){ 0 };
		(void)snprintf(u->tenant, sizeof(u->tenant), "%s", tenant);
	}
	return u;
}

/* What is stored, counted anew; nobody changes it meanwhile. What this run has under way is reserved
 * and not counted. */
static int count_anew(struct praas_memos *m)
{
	uint32_t count = 0;
	int rc = m->records->memos->sums(m->records, m->run, PRAAS_LIMIT_TENANTS,
					 m->sums, &count);

	if (rc)
		return rc;
	(void)pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->count; i++)
		m->uses[i].stored = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct use *u = use_of(m, m->sums[i].tenant);

		if (u)
			u->stored = m->sums[i].bytes;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return 0;
}

int praas_memos_new(struct praas_records *records, struct praas_memos **ret_memos)
{
	struct praas_memos *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	m->records = records;
	m->sums = calloc(PRAAS_LIMIT_TENANTS, sizeof(*m->sums));
	m->uses = calloc(PRAAS_LIMIT_TENANTS, sizeof(*m->uses));
	(void)pthread_rwlock_init(&m->counting, NULL);
	(void)pthread_mutex_init(&m->lock, NULL);
	praas_random(m->run, sizeof(m->run));
	rc = m->sums && m->uses ? count_anew(m) : -ENOMEM;
	if (rc) {
		praas_memos_free(m);
		return rc;
	}
	*ret_memos = m;
	return 0;
}

void praas_memos_free(struct praas_memos *memos)
{
	if (!memos)
		return;
	(void)pthread_mutex_destroy(&memos->lock);
	(void)pthread_rwlock_destroy(&memos->counting);
	free(memos->uses);
	free(memos->sums);
	free(memos);
}

void praas_memo_id(const char *tenant, const char *key,
		   uint8_t ret_id[PRAAS_RECORD_HASH_BYTES])
{
	char text[PRAAS_NAME_MAX + PRAAS_LIMIT_MEMO_KEY_BYTES + 2];

	/* A name has no slash. */
	(void)snprintf(text, sizeof(text), "%s/%s", tenant, key);
	praas_hash(text, strlen(text), ret_id);
}

/* Forgets those whose day is over, now and then. */
static int sweep(struct praas_memos *m, uint64_t now_ns)
{
	uint32_t gone = 0;
	bool due;
	int rc;

	(void)pthread_mutex_lock(&m->lock);
	due = now_ns < m->swept_ns || now_ns - m->swept_ns >= SWEEP_NS;
	if (due)
		m->swept_ns = now_ns;
	(void)pthread_mutex_unlock(&m->lock);
	if (!due || now_ns < DAY_NS)
		return 0;
	(void)pthread_rwlock_wrlock(&m->counting);
	rc = m->records->memos->expire(m->records, now_ns - DAY_NS, &gone);
	if (rc == 0 && gone > 0)
		rc = count_anew(m);
	(void)pthread_rwlock_unlock(&m->counting);
	return rc;
}

/* Room for one that is to begin. -EDQUOT. */
static int reserve(struct praas_memos *m, const char *tenant)
{
	struct use *u;
	int rc = -EDQUOT;

	(void)pthread_mutex_lock(&m->lock);
	u = use_of(m, tenant);
	if (u && u->stored + u->reserved + RESERVED <= PRAAS_LIMIT_MEMOS_BYTES) {
		u->reserved += RESERVED;
		rc = 0;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

/* Its room is given back; what is stored for the tenant grew by more. */
static void settle(struct praas_memos *m, const char *tenant, uint64_t more)
{
	struct use *u;

	(void)pthread_mutex_lock(&m->lock);
	u = use_of(m, tenant);
	praas_check(u && u->reserved >= RESERVED); /* its place is kept meanwhile */
	u->reserved -= RESERVED;
	u->stored += more;
	(void)pthread_mutex_unlock(&m->lock);
}

/* One that a run before ours began becomes ours, and is counted as under way. Only one of those who
 * find it so goes on. */
static int take_over(struct praas_memos *m, const struct praas_memo *memo,
		     const struct praas_memo *there)
{
	struct use *u;
	int rc;

	(void)pthread_rwlock_rdlock(&m->counting);
	rc = m->records->memos->set(m->records, memo, there->run);
	if (rc == 0) {
		(void)pthread_mutex_lock(&m->lock);
		u = use_of(m, memo->tenant); /* it has room reserved */
		u->stored -= praas_min_u64(u->stored, PRAAS_MEMO_BYTES);
		(void)pthread_mutex_unlock(&m->lock);
	}
	(void)pthread_rwlock_unlock(&m->counting);
	return rc ? -EINPROGRESS : 0;
}

/* There is one of that key. */
static int judge(struct praas_memos *m, const struct praas_memo *memo, bool again,
		 struct praas_memo *there)
{
	if (memcmp(there->request, memo->request, sizeof(memo->request)) != 0)
		return -EKEYREJECTED;
	if (there->status)
		return -EEXIST;
	if (!memcmp(there->run, m->run, sizeof(m->run)))
		return -EINPROGRESS;
	if (!again)
		return -EUNATCH;
	return take_over(m, memo, there);
}

int praas_memo_begin(struct praas_memos *memos, struct praas_memo *memo, bool again,
		     uint64_t now_ns, struct praas_memo *ret_there)
{
	const struct praas_memos_ops *ops = memos->records->memos;
	int rc = sweep(memos, now_ns);

	memset(ret_there, 0, sizeof(*ret_there));
	memo->made_ns = now_ns;
	memo->status = 0;
	memo->answer_bytes = 0;
	memcpy(memo->run, memos->run, sizeof(memo->run));
	if (rc == 0)
		rc = reserve(memos, memo->tenant);
	if (rc)
		return rc;
	rc = ops->put(memos->records, memo);
	if (rc == -EEXIST)
		rc = ops->get(memos->records, memo->id, ret_there);
	else if (rc == 0)
		return 0;
	if (rc == -ENOENT) /* it was dropped just now */
		rc = -EINPROGRESS;
	else if (rc == 0)
		rc = judge(memos, memo, again, ret_there);
	if (rc)
		settle(memos, memo->tenant, 0);
	return rc;
}

int praas_memo_end(struct praas_memos *memos, const struct praas_memo *memo)
{
	const struct praas_memos_ops *ops = memos->records->memos;
	uint64_t kept = 0;
	int rc;

	(void)pthread_rwlock_rdlock(&memos->counting);
	if (memo->status == 0)
		rc = ops->take_out(memos->records, memo->id);
	else
		rc = ops->set(memos->records, memo, memos->run);
	if (rc == 0 && memo->status)
		kept = PRAAS_MEMO_BYTES + memo->answer_bytes;
	settle(memos, memo->tenant, kept);
	(void)pthread_rwlock_unlock(&memos->counting);
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "an outcome could not be kept: %s",
			  strerror(-rc));
	return rc;
}

void praas_memos_use(struct praas_memos *memos, const char *tenant,
		     uint64_t *ret_stored, uint64_t *ret_reserved)
{
	const struct use *u;

	(void)pthread_mutex_lock(&memos->lock);
	u = use_of(memos, tenant);
	*ret_stored = u ? u->stored : 0;
	*ret_reserved = u ? u->reserved : 0;
	(void)pthread_mutex_unlock(&memos->lock);
}
