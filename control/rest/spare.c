/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/spare.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "control/rest/request.h"

/* A tool that looks for the use of memory which was freed sees it only when it is. */
#ifdef __SANITIZE_ADDRESS__
#define KEEPS false
#else
#define KEEPS true
#endif
#define SPARE_MAX 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct praas_request *spare[SPARE_MAX];
static unsigned count;

struct praas_request *praas_spare_take(void)
{
	struct praas_request *rq = NULL;

	(void)pthread_mutex_lock(&lock);
	if (count > 0)
		rq = spare[--count];
	(void)pthread_mutex_unlock(&lock);
	if (!rq)
		return calloc(1, sizeof(*rq));
	memset(rq, 0, sizeof(*rq));
	return rq;
}

void praas_spare_give(struct praas_request *rq)
{
	(void)pthread_mutex_lock(&lock);
	if (KEEPS && count < SPARE_MAX) {
		spare[count++] = rq;
		rq = NULL;
	}
	(void)pthread_mutex_unlock(&lock);
	free(rq);
}

void praas_spare_end(void)
{
	(void)pthread_mutex_lock(&lock);
	while (count > 0)
		free(spare[--count]);
	(void)pthread_mutex_unlock(&lock);
}
