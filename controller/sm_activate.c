/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/sm_activate.h"

#include <errno.h>

#include "controller/store/slot_log.h"

enum phase {
	NEW = 0,
	READING, /* the log */
	JOINING, /* ACT on its way, perhaps a snapshot too */
	SETTLED, /* all is done */
	FAILED
};

static unsigned fail(struct praas_activate *a, int rc,
		     struct praas_activate_action *ret)
{
	a->phase = FAILED;
	*ret = (struct praas_activate_action){ .kind = PRAAS_ACTIVATE_FAIL, .rc = rc };
	return 1;
}

static unsigned load(struct praas_activate *a, uint64_t slot,
		     struct praas_activate_action *ret)
{
	a->loading = true;
	a->loaded_slot = slot;
	*ret = (struct praas_activate_action){ .kind = PRAAS_ACTIVATE_LOAD,
					       .slot = slot };
	return 1;
}

/* All of it is in memory. */
static unsigned serve(struct praas_activate *a, struct praas_activate_action *ret)
{
	/* No ACT and no snapshot lies between the last act of the epoch before and ours. */
	bool last = a->act_put && a->loaded_slot + 1 == a->act_slot;

	a->serving = true;
	/* It ended in order; or its log has all of it. */
	*ret = (struct praas_activate_action){
		.kind = PRAAS_ACTIVATE_SERVE, .clean = a->whole || (a->released && last)
	};
	return 1;
}

static unsigned on_log_read(struct praas_activate *a,
			    const struct praas_activate_event *e,
			    struct praas_activate_action *ret)
{
	unsigned n = 0;

	if (e->rc != 0)
		return fail(a, e->rc == -EPROTO ? -EBADMSG : e->rc, ret);
	if (e->tomb)
		return fail(a, -EIDRM, ret);
	if (e->epoch >= a->epoch)
		return fail(a, -ESTALE, ret);
	a->phase = JOINING;
	a->wanted_slot = e->slot;
	if (a->act_first) {
		*ret = (struct praas_activate_action){ .kind = PRAAS_ACTIVATE_PUT_ACT };
		return 1;
	}
	/* What others do comes first: then both go on at once. */
	if (e->slot != PRAAS_SLOT_NONE) {
		n += load(a, e->slot, &ret[n]);
	} else if (e->epoch == 0) {
		/* Nobody was there before: there is nothing that could slip in. */
		n += serve(a, &ret[n]);
	}
	ret[n++] = (struct praas_activate_action){ .kind = PRAAS_ACTIVATE_PUT_ACT };
	return n;
}

/* All reports are in: all done, or the wrong snapshot was loaded. */
static unsigned join(struct praas_activate *a, struct praas_activate_action *ret)
{
	unsigned n = 0;

	if (!a->act_put || a->loading)
		return 0;
	if (a->wanted_slot != a->loaded_slot || (a->act_first && !a->loaded))
		return load(a, a->wanted_slot, ret);
	if (!a->serving)
		n += serve(a, &ret[n]);
	a->phase = SETTLED;
	ret[n++] = (struct praas_activate_action){ .kind = PRAAS_ACTIVATE_SETTLED };
	return n;
}

unsigned praas_activate_step(struct praas_activate *a,
			     const struct praas_activate_event *e,
			     struct praas_activate_action ret_actions[])
{
	switch (e->kind) {
	case PRAAS_ACTIVATE_START:
		if (a->phase != NEW)
			return 0;
		*a = (struct praas_activate){ .epoch = e->epoch,
					      .act_first = e->act_first,
					      .phase = READING,
					      .loaded_slot = PRAAS_SLOT_NONE,
					      .wanted_slot = PRAAS_SLOT_NONE };
		ret_actions[0] = (struct praas_activate_action){
			.kind = PRAAS_ACTIVATE_READ_LOG
		};
		return 1;
	case PRAAS_ACTIVATE_LOG_READ:
		return a->phase == READING ? on_log_read(a, e, ret_actions) : 0;
	case PRAAS_ACTIVATE_ACT_PUT:
		if (a->phase != JOINING || a->act_put)
			return 0;
		if (e->rc != 0)
			return fail(a, e->rc, ret_actions);
		/* A fresh process already serves: another's snapshot there cannot be. */
		if (a->serving && e->slot != PRAAS_SLOT_NONE)
			return fail(a, -ESTALE, ret_actions);
		a->act_put = true;
		a->wanted_slot = e->slot;
		a->act_slot = e->act_slot;
		return join(a, ret_actions);
	case PRAAS_ACTIVATE_LOADED:
		if (a->phase != JOINING || !a->loading)
			return 0;
		a->loading = false;
		a->loaded = true;
		a->released = e->released;
		a->whole = e->whole;
		/* A snapshot that is no longer wanted may be damaged or gone. */
		if (e->rc != 0 && (!a->act_put || a->wanted_slot == a->loaded_slot))
			return fail(a,
				    e->rc == -EPROTO || e->rc == -ENOENT ? -EBADMSG
									 : e->rc,
				    ret_actions);
		return join(a, ret_actions);
	}
	return 0;
}
