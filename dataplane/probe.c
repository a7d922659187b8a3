/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal/base.h"
#include "internal/bytes.h"

#define NAME_AT 8u

_Static_assert(NAME_AT + PRAAS_NAME_MAX < PRAAS_PROBE_STEP_BYTES,
	       "a name has its zero");

int praas_probe_add(struct praas_probe *probe, uint64_t pid, const char *function)
{
	struct praas_circle_step *step;
	size_t n = strnlen(function, PRAAS_NAME_MAX);

	if (probe->count == PRAAS_CIRCLE_MAX)
		return -E2BIG;
	step = &probe->steps[probe->count++];
	step->pid = pid;
	memcpy(step->function, function, n);
	step->function[n] = '\0';
	return 0;
}

uint64_t praas_probe_bytes(const struct praas_probe *probe)
{
	return PRAAS_PROBE_HEAD_BYTES + (uint64_t)probe->count * PRAAS_PROBE_STEP_BYTES;
}

void praas_probe_encode(const struct praas_probe *probe, uint8_t *ret_wire)
{
	memset(ret_wire, 0, praas_probe_bytes(probe));
	praas_put_u64(ret_wire, probe->pid);
	praas_put_u64(ret_wire + 8, probe->call);
	praas_put_u64(ret_wire + 16, probe->nonce);
	praas_put_u64(ret_wire + 24, probe->latest_ns);
	praas_put_u32(ret_wire + 32, probe->count);
	for (uint32_t i = 0; i < probe->count; i++) {
		const struct praas_circle_step *step = &probe->steps[i];
		uint8_t *at =
			ret_wire + PRAAS_PROBE_HEAD_BYTES + i * PRAAS_PROBE_STEP_BYTES;

		praas_put_u64(at, step->pid);
		memcpy(at + NAME_AT, step->function, strlen(step->function));
	}
}

/* It goes into texts for people: no control characters. Nothing but zeros behind it. */
static int take_name(const uint8_t *at, char ret_name[PRAAS_NAME_MAX + 1])
{
	uint32_t n = 0;

	while (n <= PRAAS_NAME_MAX && at[n] > ' ' && at[n] != 0x7f)
		n++;
	if (n == 0 || n > PRAAS_NAME_MAX)
		return -EPROTO;
	for (uint32_t i = n; i < PRAAS_PROBE_STEP_BYTES - NAME_AT; i++)
		if (at[i] != 0)
			return -EPROTO;
	memcpy(ret_name, at, n);
	ret_name[n] = '\0';
	return 0;
}

int praas_probe_decode(const uint8_t *wire, uint64_t bytes,
		       struct praas_probe *ret_probe)
{
	/* Of a peer in shared memory, who may change it meanwhile: what is looked at is a copy. */
	uint8_t head[PRAAS_PROBE_HEAD_BYTES], step[PRAAS_PROBE_STEP_BYTES];
	struct praas_probe *p = ret_probe;
	uint32_t count;

	if (bytes < sizeof(head))
		return -EPROTO;
	memcpy(head, wire, sizeof(head));
	count = praas_get_u32(head + 32);
	if (count > PRAAS_CIRCLE_MAX)
		return -EMSGSIZE;
	if (count == 0 || bytes != sizeof(head) + (uint64_t)count * sizeof(step) ||
	    praas_get_u32(head + 36) != 0 || praas_get_u64(head + 16) == 0)
		return -EPROTO;
	p->pid = praas_get_u64(head);
	p->call = praas_get_u64(head + 8);
	p->nonce = praas_get_u64(head + 16);
	p->latest_ns = praas_get_u64(head + 24);
	p->count = count;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(step, wire + sizeof(head) + i * sizeof(step), sizeof(step));
		p->steps[i].pid = praas_get_u64(step);
		if (take_name(step + NAME_AT, p->steps[i].function) != 0)
			return -EPROTO;
	}
	return 0;
}

void praas_probe_text(const struct praas_probe *probe, char *ret_text, size_t bytes)
{
	uint32_t first = probe->count > 1 ? 1 : 0;
	int at = snprintf(ret_text, bytes, "it would wait for itself: ");

	for (uint32_t i = first; i <= probe->count; i++) {
		const struct praas_circle_step *step =
			&probe->steps[i == probe->count ? first : i];
		size_t room = at >= 0 && (size_t)at < bytes ? bytes - (size_t)at : 0;
		int n = snprintf(room ? ret_text + at : NULL, room,
				 "%s%s (pid %" PRIu64 ")", i == first ? "" : " -> ",
				 step->function, step->pid);

		if (room == 0 || n < 0 || (size_t)n >= room) {
			if (bytes >= 4)
				memcpy(ret_text + bytes - 4, "...", 4);
			return;
		}
		at += n;
	}
}
