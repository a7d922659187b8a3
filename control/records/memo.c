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

#define SWEEP_NS (60 * 1000000000ull) /* between looks for those whose day is over */
#define DAY_NS (PRAAS_LIMIT_MEMO_S * 1000000000ull)

struct praas_memos {
	struct praas_records *records;
	uint8_t run[PRAAS_RECORD_ID_BYTES];
	pthread_mutex_t lock; /* of all below */
	uint64_t swept_ns;
	struct praas_memo_sum *sums; /* PRAAS_LIMIT_TENANTS */
	uint32_t count;
};

/* What each tenant keeps, counted anew. */
static int count_anew(struct praas_memos *m)
{
	return m->records->memos->sums(m->records, PRAAS_LIMIT_TENANTS, m->sums,
				       &m->count);
}

int praas_memos_new(struct praas_records *records, struct praas_memos **ret_memos)
{
	struct praas_memos *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	m->records = records;
	m->sums = calloc(PRAAS_LIMIT_TENANTS, sizeof(*m->sums));
	(void)pthread_mutex_init(&m->lock, NULL);
	praas_random(m->run, sizeof(m->run));
	rc = m->sums ? count_anew(m) : -ENOMEM;
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

/* The tenant's count; NULL: no more can be counted. Lock held. */
static struct praas_memo_sum *sum_of(struct praas_memos *m, const char *tenant)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (!strcmp(m->sums[i].tenant, tenant))
			return &m->sums[i];
	if (m->count == PRAAS_LIMIT_TENANTS)
		return NULL;
	m->sums[m->count].bytes = 0;
	(void)snprintf(m->sums[m->count].tenant, sizeof(m->sums[0].tenant), "%s",
		       tenant);
	return &m->sums[m->count++];
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
	rc = m->records->memos->expire(m->records, now_ns - DAY_NS, &gone);
	if (rc || gone == 0)
		return rc;
	(void)pthread_mutex_lock(&m->lock);
	rc = count_anew(m);
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

/* What a tenant keeps grows by bytes, or shrinks. -EDQUOT. */
static int charge(struct praas_memos *m, const char *tenant, int64_t bytes)
{
	struct praas_memo_sum *sum;
	int rc = 0;

	(void)pthread_mutex_lock(&m->lock);
	sum = sum_of(m, tenant);
	if (!sum ||
	    (bytes > 0 && sum->bytes + (uint64_t)bytes > PRAAS_LIMIT_MEMOS_BYTES))
		rc = -EDQUOT;
	else if (bytes < 0 && sum->bytes < (uint64_t)-bytes)
		sum->bytes = 0;
	else
		sum->bytes += (uint64_t)bytes;
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
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
	/* Only one of those who find it so goes on. */
	return m->records->memos->set(m->records, memo, there->run) ? -EINPROGRESS : 0;
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
		rc = charge(memos, memo->tenant,
			    PRAAS_MEMO_BYTES + PRAAS_LIMIT_MEMO_BYTES);
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
		(void)charge(memos, memo->tenant,
			     -(int64_t)(PRAAS_MEMO_BYTES + PRAAS_LIMIT_MEMO_BYTES));
	return rc;
}

void praas_memo_end(struct praas_memos *memos, const struct praas_memo *memo)
{
	const struct praas_memos_ops *ops = memos->records->memos;
	int64_t unused = PRAAS_LIMIT_MEMO_BYTES - (int64_t)memo->answer_bytes;
	int rc;

	if (memo->status == 0) {
		rc = ops->take_out(memos->records, memo->id);
		unused += PRAAS_MEMO_BYTES;
	} else {
		rc = ops->set(memos->records, memo, memos->run);
	}
	(void)charge(memos, memo->tenant, -unused);
	if (rc)
		praas_say(PRAAS_SAY_ERROR, "an outcome could not be kept: %s",
			  strerror(-rc));
}
