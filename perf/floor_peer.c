/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/floor_peer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "perf/bench.h"

int praas_floor_peer_start(struct praas_floor_peer *p, int cpu,
			   void (*body)(void *data, uint64_t n), void *data)
{
	int fds[2];
	pid_t pid;

	if (p->count == PRAAS_FLOOR_PEERS_MAX)
		return -EINVAL;
	if (pipe(fds) != 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		(void)close(fds[0]);
		(void)close(fds[1]);
		return rc;
	}
	if (pid == 0) {
		uint64_t n;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a courtesy */
		(void)close(fds[1]);
		praas_bench_pin(cpu);
		while (read(fds[0], &n, sizeof n) == (ssize_t)sizeof n)
			body(data, n);
		_exit(0);
	}
	(void)close(fds[0]);
	p->pid[p->count] = pid;
	p->go[p->count++] = fds[1];
	return 0;
}

int praas_floor_peer_go(struct praas_floor_peer *p, uint64_t n)
{
	for (unsigned i = 0; i < p->count; i++)
		if (write(p->go[i], &n, sizeof n) != (ssize_t)sizeof n)
			return -EPIPE;
	return 0;
}

void praas_floor_peer_stop(struct praas_floor_peer *p)
{
	for (unsigned i = 0; i < p->count; i++)
		(void)close(p->go[i]);
	for (unsigned i = 0; i < p->count; i++) {
		(void)kill(p->pid[i], SIGKILL);
		(void)waitpid(p->pid[i], NULL, 0);
	}
	p->count = 0;
}

void *praas_floor_shared(uint64_t bytes)
{
	void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return m == MAP_FAILED ? NULL : m;
}
