/* SPDX-License-Identifier: Apache-2.0
 *
 * Between a client and a real server on UNIX sockets: passes all on, and cuts a connection in the middle of an answer
 * when it is told to. What the server did by then is done.
 */
#ifndef PRAAS_TESTS_CUTTING_PROXY_H
#define PRAAS_TESTS_CUTTING_PROXY_H

struct praas_cutting_proxy;

/* Ends the test when it cannot. */
struct praas_cutting_proxy *praas_cutting_proxy_start(const char *listen,
						      const char *server);
/* The answer that comes after `after` others is cut behind so many bytes. */
void praas_cutting_proxy_cut(struct praas_cutting_proxy *proxy, unsigned after,
			     unsigned bytes);
/* How many were cut. */
unsigned praas_cutting_proxy_cuts(struct praas_cutting_proxy *proxy);
void praas_cutting_proxy_end(struct praas_cutting_proxy *proxy);

#endif
