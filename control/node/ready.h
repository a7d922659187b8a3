/* SPDX-License-Identifier: Apache-2.0
 *
 * Controllers that stand ready: which to make, which to keep, which to take. A table without I/O; its
 * owner starts and ends them, and holds a lock around each call. Each is used once, for one process.
 *
 * A controller is ready for a shape: all of a configuration that follows from the application (code,
 * limits, isolation), as text. It has its memory, threads and workers, and lacks only who it is.
 * Before any shape is known some are made for none: loaded and linked.
 */
#ifndef PRAAS_CONTROL_READY_H
#define PRAAS_CONTROL_READY_H

#include <stdbool.h>
#include <stdint.h>

#define PRAAS_READY_MAX 64u
#define PRAAS_READY_SHAPES 8u /* that are remembered; those used last */

struct praas_ready_one {
	char *shape; /* owned; NULL: none */
	uint64_t os_start;
	int32_t os_pid; /* 0: it is being started */
	int pidfd, config_fd;
	uint64_t turn; /* private: in which order they were made */
	bool grouped;  /* has a control group */
	bool used;     /* private: this place holds one */
};

struct praas_ready {
	uint32_t capacity; /* set by the owner before use; at most PRAAS_READY_MAX */
	struct praas_ready_one one[PRAAS_READY_MAX];
	char *shape[PRAAS_READY_SHAPES]; /* owned; the one used last is first */
	uint32_t shapes;
	uint64_t turns;
};

/* A process of that shape starts: it becomes the first. 0; -ENOMEM nothing has changed. */
int praas_ready_note(struct praas_ready *r, const char *shape);
/* One for that shape, else one for none; it leaves the table, given. false: there is none. The oldest: those
 * made last may still be making what follows from their shape. */
bool praas_ready_take(struct praas_ready *r, const char *shape,
		      struct praas_ready_one *ret_one);

enum praas_ready_step {
	PRAAS_READY_ENOUGH,
	PRAAS_READY_MAKE, /* one for ret_one->shape; its place *ret_place is taken */
	PRAAS_READY_END   /* ret_one, given: its shape is not used any more */
};

/* What is to be done next, so that all shapes that were used last have their share: the capacity
 * divided among them, and what is left for the first. */
enum praas_ready_step praas_ready_next(struct praas_ready *r,
				       struct praas_ready_one *ret_one,
				       uint32_t *ret_place);
/* It was made (one: given); or not (NULL). */
void praas_ready_made(struct praas_ready *r, uint32_t place,
		      const struct praas_ready_one *one);
/* Any one, given, to be ended: when all ends. */
bool praas_ready_drain(struct praas_ready *r, struct praas_ready_one *ret_one);
/* Those that can be taken. */
uint32_t praas_ready_count(const struct praas_ready *r);
void praas_ready_release(struct praas_ready *r);

#endif
