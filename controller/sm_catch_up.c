/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_catch_up.h"

#include <errno.h>

static struct praas_catch_up_action go_on(const struct praas_catch_up *c, bool again)
{
	static const enum praas_catch_up_action_kind kinds[] = {
		[PRAAS_CATCH_UP_READING] = PRAAS_CATCH_UP_READ,
		[PRAAS_CATCH_UP_COMMITTING] = PRAAS_CATCH_UP_COMMIT,
		[PRAAS_CATCH_UP_OPENING] = PRAAS_CATCH_UP_OPEN,
	};

	return (struct praas_catch_up_action){ .kind = kinds[c->phase],
					       .position = c->position,
					       .again = again };
}

static struct praas_catch_up_action end(struct praas_catch_up *c, int rc)
{
	c->phase = PRAAS_CATCH_UP_IDLE;
	return (struct praas_catch_up_action){ .kind = PRAAS_CATCH_UP_END, .rc = rc };
}

static struct praas_catch_up_action opened(struct praas_catch_up *c, int rc)
{
	if (rc == -ESTALE)
		return end(c, rc);
	c->open = rc == 0;
	if (c->open)
		c->phase = PRAAS_CATCH_UP_READING;
	return go_on(c, true); /* there is no room yet, or it was not granted */
}

struct praas_catch_up_action praas_catch_up_step(struct praas_catch_up *c,
						 const struct praas_catch_up_event *e)
{
	static const struct praas_catch_up_action nothing;

	switch (e->kind) {
	case PRAAS_CATCH_UP_START:
		c->phase = PRAAS_CATCH_UP_READING;
		c->open = false;
		c->position = e->position;
		return go_on(c, false);
	case PRAAS_CATCH_UP_READ_DONE:
		if (c->phase != PRAAS_CATCH_UP_READING)
			return nothing;
		if (e->rc == -ESTALE)
			return end(c, e->rc);
		if (e->rc == -ENOBUFS && !c->open) {
			c->phase = PRAAS_CATCH_UP_OPENING;
			return go_on(c, false);
		}
		if (e->rc != 0)
			return go_on(c, true);
		c->position = e->position;
		if (!e->more)
			c->phase = PRAAS_CATCH_UP_COMMITTING;
		return go_on(c, false);
	case PRAAS_CATCH_UP_COMMITTED:
		if (c->phase == PRAAS_CATCH_UP_OPENING)
			return opened(c, e->rc);
		if (c->phase != PRAAS_CATCH_UP_COMMITTING)
			return nothing;
		if (e->rc == 0 || e->rc == -ESTALE)
			return end(c, e->rc);
		if (e->rc == -EAGAIN) {
			c->phase = PRAAS_CATCH_UP_READING;
			c->open = false; /* said again, who sends is not kept waiting */
		}
		/* Whoever asked twice and was granted the first time is granted again. */
		return go_on(c, e->rc != -EAGAIN);
	case PRAAS_CATCH_UP_STOP:
		c->phase = PRAAS_CATCH_UP_IDLE;
		return nothing;
	}
	return nothing;
}
