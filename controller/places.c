/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool praas_places_has(const struct praas_places *places,
		      const struct praas_snapshot_record *r)
{
	return r->record.kind == PRAAS_EXPORT_STATE &&
	       r->chunk != PRAAS_SNAPSHOT_INLINE &&
	       r->record.bytes >= PRAAS_PLACE_BYTES_MIN && places->known[r->chunk];
}

static bool same_chunk(const struct praas_snapshot_chunk *a,
		       const struct praas_snapshot_chunk *b)
{
	return a->nonce == b->nonce && a->bytes == b->bytes &&
	       memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

static bool is_known(const struct praas_snapshot_chunk *chunk,
		     const struct praas_snapshot *base)
{
	bool found = !base;

	for (uint32_t i = 0; !found && i < base->chunks_count; i++)
		found = same_chunk(chunk, &base->chunks[i]);
	return found;
}

/* Memory for count places and all chunks. */
static struct praas_places *make(const struct praas_snapshot *s)
{
	struct praas_places *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->place = calloc((size_t)s->records_count + 1, sizeof(*p->place));
	p->chunks = calloc((size_t)s->chunks_count + 1, sizeof(*p->chunks));
	p->known = calloc((size_t)s->chunks_count + 1, sizeof(*p->known));
	if (p->place && p->chunks && p->known)
		return p;
	praas_places_free(p);
	return NULL;
}

int praas_places_new(const struct praas_snapshot *s, const struct praas_snapshot *base,
		     struct praas_places **ret_places)
{
	struct praas_places *p = make(s);

	if (!p)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->chunks_count; i++) {
		p->chunks[i] = s->chunks[i];
		p->known[i] = is_known(&s->chunks[i], base);
	}
	for (uint64_t i = 0; i < s->records_count; i++) {
		const struct praas_snapshot_record *r = &s->records[i];
		struct praas_place *place = &p->place[p->count];

		if (!praas_places_has(p, r))
			continue;
		*place = (struct praas_place){ .key = r->record.key,
					       .version = r->record.version,
					       .bytes = r->record.bytes,
					       .offset = r->offset,
					       .chunk = r->chunk,
					       .key_bytes = r->record.key_bytes };
		memcpy(place->hash, r->hash, sizeof(place->hash));
		p->count++;
	}
	*ret_places = p;
	return 0;
}

void praas_places_free(struct praas_places *p)
{
	if (!p)
		return;
	free(p->place);
	free(p->chunks);
	free(p->known);
	free(p);
}
