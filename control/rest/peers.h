/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections of HTTP and the time they may take. libmicrohttpd ends those on which nothing moves;
 * this ends those on which too little does: a head that trickles, a body or an answer below the least
 * rate. Who takes a minute over a request costs a descriptor for a minute, not for ever.
 */
#ifndef PRAAS_CONTROL_PEERS_H
#define PRAAS_CONTROL_PEERS_H

#include <stdbool.h>
#include <stdint.h>

struct praas_peers;
struct praas_peer;

enum praas_peer_phase {
	PRAAS_PEER_HEAD,  /* between requests, or its head is being received */
	PRAAS_PEER_BODY,  /* `bytes` of it came */
	PRAAS_PEER_WORK,  /* ours to end */
	PRAAS_PEER_ANSWER /* `bytes` are to be taken */
};

struct praas_peers_config {
	uint32_t max;         /* connections */
	uint32_t per_address; /* of them, from one address; 0: no limit of its own */
	uint64_t
		head_ns; /* for a head that has begun, and grace for a body or an answer */
	uint64_t idle_ns; /* between requests, when there is room */
	uint64_t rate;    /* least bytes a second of a body or an answer */
	void (*look)(void *user,
		     uint64_t now_ns); /* about once a second, while any is open */
	void *user;
};

/* Starts a thread that looks about once a second. 0; -ENOMEM; -EAGAIN. */
int praas_peers_new(const struct praas_peers_config *config,
		    struct praas_peers **ret_peers);
void praas_peers_free(struct praas_peers *peers);

#define PRAAS_PEER_FROM_BYTES 64u

/* True when there may be one more from this address. Any thread; two that ask at once may both hear yes. */
bool praas_peers_room(struct praas_peers *peers, const char *from);
/* fd is borrowed until drop; from: its address, copied as far as it fits. NULL: there are max. */
struct praas_peer *praas_peer_add(struct praas_peers *peers, int fd, const char *from);
void praas_peer_drop(struct praas_peers *peers, struct praas_peer *peer);

/* From the thread that serves the peer (NULL: nothing). */
void praas_peer_phase(struct praas_peer *peer, enum praas_peer_phase phase,
		      uint64_t bytes);
void praas_peer_bytes(struct praas_peer *peer, uint64_t bytes);
/* Until it is dropped. */
const char *praas_peer_from(const struct praas_peer *peer);

struct praas_peers_stats {
	uint32_t open;
	uint64_t cut;     /* for being slow */
	uint64_t refused; /* beyond max, or too many from its address */
};
void praas_peers_stats(struct praas_peers *peers, struct praas_peers_stats *ret_stats);

#endif
