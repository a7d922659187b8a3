/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process says in a PROBE: taken it is the same again when it is written, can be added to up to the limit, and
 * is a text without control characters, whatever the room for it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/probe.h"

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void read_text(const struct praas_probe *probe, size_t room)
{
	char *text = malloc(room);

	require(text != NULL);
	praas_probe_text(probe, text, room);
	for (size_t i = 0; text[i] != '\0'; i++)
		require(i < room && (uint8_t)text[i] >= ' ' && text[i] != 0x7f);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t again[PRAAS_PROBE_BYTES_MAX];
	struct praas_probe probe;
	int rc = praas_probe_decode(data, bytes, &probe);

	require(rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
	if (rc != 0)
		return 0;
	require(praas_probe_bytes(&probe) == bytes);
	praas_probe_encode(&probe, again);
	require(memcmp(again, data, bytes) == 0);
	for (size_t room = 1; room < 300; room += 13)
		read_text(&probe, room);
	read_text(&probe, PRAAS_PROBE_BYTES_MAX + 100);
	while (probe.count < PRAAS_CIRCLE_MAX)
		require(praas_probe_add(&probe, bytes, "f") == 0);
	require(praas_probe_add(&probe, bytes, "f") == -E2BIG);
	return 0;
}
