/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_catch_up.h"

#include <errno.h>

static struct praas_catch_up_action go_on(const struct praas_catch_up *c, bool again)
{
	return (struct praas_catch_up_action){
		.kind = c->phase == PRAAS_CATCH_UP_READING ? PRAAS_CATCH_UP_READ
							   : PRAAS_CATCH_UP_COMMIT,
		.position = c->position,
		.again = again
	};
}

static struct praas_catch_up_action end(struct praas_catch_up *c, int rc)
{
	c->phase = PRAAS_CATCH_UP_IDLE;
	return (struct praas_catch_up_action){ .kind = PRAAS_CATCH_UP_END, .rc = rc };
}

struct praas_catch_up_action praas_catch_up_step(struct praas_catch_up *c,
						 const struct praas_catch_up_event *e)
{
	static const struct praas_catch_up_action nothing;

	switch (e->kind) {
	case PRAAS_CATCH_UP_START:
		c->phase = PRAAS_CATCH_UP_READING;
		c->position = e->position;
		return go_on(c, false);
	case PRAAS_CATCH_UP_READ_DONE:
		if (c->phase != PRAAS_CATCH_UP_READING)
			return nothing;
		if (e->rc == -ESTALE)
			return end(c, e->rc);
		if (e->rc != 0)
			return go_on(c, true);
		c->position = e->position;
		if (!e->more)
			c->phase = PRAAS_CATCH_UP_COMMITTING;
		return go_on(c, false);
	case PRAAS_CATCH_UP_COMMITTED:
		if (c->phase != PRAAS_CATCH_UP_COMMITTING)
			return nothing;
		if (e->rc == 0 || e->rc == -ESTALE)
			return end(c, e->rc);
		if (e->rc == -EAGAIN)
			c->phase = PRAAS_CATCH_UP_READING;
		/* Whoever asked twice and was granted the first time is granted again. */
		return go_on(c, e->rc != -EAGAIN);
	case PRAAS_CATCH_UP_STOP:
		c->phase = PRAAS_CATCH_UP_IDLE;
		return nothing;
	}
	return nothing;
}
