/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to pass.c, which faces the client's connection, and pass_thread.c, which faces the active service.
 */
#ifndef PRAAS_CONTROL_PASS_PRIVATE_H
#define PRAAS_CONTROL_PASS_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include <curl/curl.h>

#include "control/rest/pass.h"

#define PRAAS_PASS_LINES 64u /* headers of an answer */
#define PRAAS_PASS_HELD                                                                \
	(256u * 1024) /* of an answer that its client has not taken yet */
#define PRAAS_PASS_PIECE (64u * 1024) /* libcurl hands over at most so much at once */

struct praas_pass_line {
	char *name, *value; /* name is malloc'd, value in it */
};

struct praas_pass {
	struct praas_passes *passes;
	char *target, *body;
	size_t body_bytes;
	CURL *easy; /* of the thread, once it has begun; as the next five */
	struct curl_slist *headers;
	struct praas_pass *prev, *next;
	ino_t inode; /* of the socket when it began */
	bool headed; /* all of the answer's head is there */
	/* The answer's head: by the thread until rq was answered, then read only. */
	int status;
	int64_t length; /* of the body; -1: not said */
	struct praas_pass_line lines[PRAAS_PASS_LINES];
	unsigned lines_count;
	/* Who is told, and how to wake him; by pass.c before it begins. */
	struct MHD_Connection *connection;
	struct praas_http_thread *http_thread;
	struct praas_peer *peer;
	pthread_mutex_t lock; /* of all below */
	unsigned holders;     /* the request or its response; the thread; its queue */
	struct praas_request *rq; /* until it is answered */
	bool dropped, ended, failed;
	bool asleep;     /* its connection is suspended until there is more */
	bool paused;     /* nothing is taken until there is room */
	char *data;      /* PRAAS_PASS_HELD; NULL: nothing came yet */
	size_t at, have; /* of data: what is held */
	/* Under the lock of passes. */
	struct praas_pass *work_next;
	bool queued;
};

struct praas_passes {
	char path[108];
	CURLM *multi;
	pthread_t thread;
	bool running;
	struct praas_pass *all;  /* under way; of the thread */
	pthread_mutex_t lock;    /* of all below */
	struct praas_pass *work; /* begun, dropped, or with room again */
	bool stopping;
	struct praas_passes_stats stats;
};

/* pass.c */
void praas_pass_hold(struct praas_pass *pass);
void praas_pass_release(struct praas_pass *pass);

/* pass_thread.c: it is looked at soon. false: the thread has ended, or is about to. */
bool praas_pass_work(struct praas_pass *pass);
void *praas_passes_thread(void *passes);

#endif
