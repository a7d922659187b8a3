/* SPDX-License-Identifier: Apache-2.0
 *
 * Memos in memory. A list: for tests and throw-away services.
 */
#include "control/records/records_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

struct praas_memory_memo {
	struct praas_memo memo;
	struct praas_memory_memo *next;
};

/* NOLINTNEXTLINE(readability-function-size): the branches are utlist's macros */
static void drop(struct praas_memory_memos *m, struct praas_memory_memo *one)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): LL_DELETE() moved the head on */
	LL_DELETE(m->head, one);
	free(one->memo.answer);
	free(one);
}

static struct praas_memory_memo *find(struct praas_memory_memos *m, const uint8_t *id)
{
	struct praas_memory_memo *one;

	LL_FOREACH(m->head, one)
	{
		if (!memcmp(one->memo.id, id, sizeof(one->memo.id)))
			return one;
	}
	return NULL;
}

/* With an answer of its own. 0; -ENOMEM. */
static int copy(struct praas_memo *to, const struct praas_memo *from)
{
	*to = *from;
	to->answer = NULL;
	if (from->answer_bytes == 0)
		return 0;
	to->answer = malloc(from->answer_bytes);
	if (!to->answer)
		return -ENOMEM;
	memcpy(to->answer, from->answer, from->answer_bytes);
	return 0;
}

static int put(struct praas_records *r, const struct praas_memo *memo)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	struct praas_memory_memo *one = calloc(1, sizeof(*one));
	int rc = one ? copy(&one->memo, memo) : -ENOMEM;

	(void)pthread_mutex_lock(&m->lock);
	if (rc == 0 && find(m, memo->id))
		rc = -EEXIST;
	if (rc == 0)
		LL_PREPEND(m->head, one);
	(void)pthread_mutex_unlock(&m->lock);
	if (rc && one) {
		free(one->memo.answer);
		free(one);
	}
	return rc;
}

static int get(struct praas_records *r, const uint8_t *id, struct praas_memo *ret_memo)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	const struct praas_memory_memo *one;
	int rc;

	(void)pthread_mutex_lock(&m->lock);
	one = find(m, id);
	rc = one ? copy(ret_memo, &one->memo) : -ENOENT;
	(void)pthread_mutex_unlock(&m->lock);
	return rc;
}

static int set(struct praas_records *r, const struct praas_memo *memo,
	       const uint8_t *run)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	struct praas_memory_memo *one;
	struct praas_memo fresh;
	int rc = copy(&fresh, memo);

	if (rc)
		return rc;
	(void)pthread_mutex_lock(&m->lock);
	one = find(m, memo->id);
	if (!one || memcmp(one->memo.run, run, sizeof(one->memo.run)) != 0)
		rc = -ESTALE;
	if (rc == 0) {
		free(one->memo.answer);
		one->memo = fresh;
	}
	(void)pthread_mutex_unlock(&m->lock);
	if (rc)
		free(fresh.answer);
	return rc;
}

static int take_out(struct praas_records *r, const uint8_t *id)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	struct praas_memory_memo *one;

	(void)pthread_mutex_lock(&m->lock);
	one = find(m, id);
	if (one)
		drop(m, one);
	(void)pthread_mutex_unlock(&m->lock);
	return one ? 0 : -ENOENT;
}

static int expire(struct praas_records *r, uint64_t before_ns, uint32_t *ret_count)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	struct praas_memory_memo *one, *next;
	uint32_t n = 0;

	(void)pthread_mutex_lock(&m->lock);
	LL_FOREACH_SAFE(m->head, one, next)
	{
		if (one->memo.made_ns >= before_ns)
			continue;
		drop(m, one);
		n++;
	}
	(void)pthread_mutex_unlock(&m->lock);
	*ret_count = n;
	return 0;
}

static int sums(struct praas_records *r, const uint8_t *run, uint32_t max,
		struct praas_memo_sum *ret_sums, uint32_t *ret_count)
{
	struct praas_memory_memos *m = praas_memory_memos_of(r);
	const struct praas_memory_memo *one;
	uint32_t n = 0, i;

	(void)pthread_mutex_lock(&m->lock);
	LL_FOREACH(m->head, one)
	{
		if (one->memo.status == 0 &&
		    !memcmp(one->memo.run, run, sizeof(one->memo.run)))
			continue;
		for (i = 0; i < n; i++)
			if (!strcmp(ret_sums[i].tenant, one->memo.tenant))
				break;
		if (i == max)
			continue;
		if (i == n) {
			n++;
			ret_sums[i].bytes = 0;
			memcpy(ret_sums[i].tenant, one->memo.tenant,
			       sizeof(ret_sums[i].tenant));
		}
		ret_sums[i].bytes += PRAAS_MEMO_BYTES + one->memo.answer_bytes;
	}
	(void)pthread_mutex_unlock(&m->lock);
	*ret_count = n;
	return 0;
}

const struct praas_memos_ops praas_memory_memos_ops = {
	.put = put,
	.get = get,
	.set = set,
	.take_out = take_out,
	.expire = expire,
	.sums = sums,
};

void praas_memory_memos_free(struct praas_memory_memos *memos)
{
	while (memos->head)
		drop(memos, memos->head);
	(void)pthread_mutex_destroy(&memos->lock);
}
