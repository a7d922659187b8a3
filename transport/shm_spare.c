/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/shm.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/channel.h"
#include "shm/segment.h"
#include "transport/shm_conn.h"

/*
 * Segments made ahead. They are as those of shm_link.c, all pages faulted in, and have a number
 * (which is a word of ours alone) once they belong to a connection.
 */

struct praas_shm_spare {
	struct praas_segment client, reply;
};

static uint64_t page_up(uint64_t bytes)
{
	return praas_align_up(bytes, 4096);
}

int praas_shm_spare_new(const struct praas_shm_config *config,
			struct praas_shm_spare **ret_spare)
{
	struct praas_shm_config s = *config;
	struct praas_channel_geometry client, reply;
	struct praas_shm_spare *spare;
	int rc;

	praas_shm_defaults(&s);
	praas_shm_geometry(&s, &client, &reply);
	if (praas_channel_geometry_check(&client) != 0)
		return -EINVAL;
	spare = calloc(1, sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	rc = praas_segment_create(
		"praas client", page_up(praas_channel_segment_bytes(&client)), 1,
		PRAAS_SEGMENT_POPULATE | PRAAS_SEGMENT_JOIN, &spare->client);
	if (rc == 0)
		rc = praas_segment_create(
			"praas reply", page_up(praas_channel_segment_bytes(&reply)), 1,
			PRAAS_SEGMENT_POPULATE | PRAAS_SEGMENT_JOIN | PRAAS_SEGMENT_OWN,
			&spare->reply);
	if (rc != 0) {
		praas_shm_spare_free(spare);
		return rc;
	}
	*ret_spare = spare;
	return 0;
}

void praas_shm_spare_free(struct praas_shm_spare *spare)
{
	if (!spare)
		return;
	if (spare->client.bytes != 0)
		praas_segment_release(&spare->client);
	if (spare->reply.bytes != 0)
		praas_segment_release(&spare->reply);
	free(spare);
}

void praas_shm_spare_give(struct praas_port *port, struct praas_shm_spare *spare)
{
	struct praas_shm_port *p = praas_shm_port_of(port);

	praas_shm_spare_free(p->spare);
	p->spare = spare;
}

bool praas_shm_spare_take(struct praas_shm_port *port, bool client, uint64_t bytes,
			  uint32_t id, struct praas_segment *ret_segment)
{
	struct praas_segment *s;

	if (!port->spare)
		return false;
	s = client ? &port->spare->client : &port->spare->reply;
	if (s->bytes != bytes)
		return false;
	*ret_segment = *s;
	ret_segment->id = id;
	*s = (struct praas_segment){ 0 };
	if (port->spare->client.bytes == 0 && port->spare->reply.bytes == 0)
		praas_shm_spare_give(&port->base, NULL);
	return true;
}
