/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/exchange.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal/base.h"

_Static_assert(sizeof(struct praas_process_stats) % sizeof(uint64_t) == 0,
	       "only numbers");

int praas_exchange_new(struct praas_exchange **ret_x)
{
	struct praas_exchange *x = aligned_alloc(64, praas_align_up(sizeof(*x), 64));

	if (!x)
		return -ENOMEM;
	memset(x, 0, sizeof(*x));
	x->data_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	x->admin_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (x->data_event_fd < 0 || x->admin_event_fd < 0) {
		praas_exchange_free(x);
		return -EMFILE;
	}
	praas_ring_tx_init(&x->orders_tx, x->orders, &x->orders_tail,
			   PRAAS_EXCHANGE_SLOTS);
	praas_ring_rx_init(&x->orders_rx, x->orders, &x->orders_tail,
			   PRAAS_EXCHANGE_SLOTS);
	praas_ring_tx_init(&x->reports_tx, x->reports, &x->reports_tail,
			   PRAAS_EXCHANGE_SLOTS);
	praas_ring_rx_init(&x->reports_rx, x->reports, &x->reports_tail,
			   PRAAS_EXCHANGE_SLOTS);
	x->data_doorbell = (struct praas_doorbell){ .shared = &x->data_sleeps,
						    .event_fd = x->data_event_fd };
	x->data_bell = (struct praas_bell){ .shared = &x->data_sleeps,
					    .event_fd = x->data_event_fd };
	*ret_x = x;
	return 0;
}

int praas_exchange_counts_new(struct praas_exchange *x, uint32_t functions_count)
{
	size_t bytes = ((size_t)functions_count + 1) * sizeof(*x->counts);

	x->counts = aligned_alloc(64, bytes);
	if (!x->counts)
		return -ENOMEM;
	memset(x->counts, 0, bytes);
	return 0;
}

void praas_exchange_free(struct praas_exchange *x)
{
	if (!x)
		return;
	free(x->counts);
	if (x->data_event_fd >= 0)
		(void)close(x->data_event_fd); /* an eventfd */
	if (x->admin_event_fd >= 0)
		(void)close(x->admin_event_fd);
	free(x);
}

static int push(struct praas_ring_tx *tx, uint64_t kind, uint64_t a, uint64_t b)
{
	struct praas_desc d = { .word = { kind, a, b } };

	return praas_ring_push(tx, &d);
}

static int pop(struct praas_ring_rx *rx, struct praas_exchange_msg *ret_msg)
{
	struct praas_desc d;
	int rc = praas_ring_pop(rx, &d);

	if (rc == 0)
		*ret_msg = (struct praas_exchange_msg){ .kind = d.word[0],
							.a = d.word[1],
							.b = d.word[2] };
	return rc;
}

int praas_exchange_order(struct praas_exchange *x, enum praas_exchange_order kind,
			 uint64_t a, uint64_t b)
{
	int rc = push(&x->orders_tx, kind, a, b);

	if (rc == 0)
		praas_bell_ring(&x->data_bell);
	return rc;
}

int praas_exchange_take_report(struct praas_exchange *x,
			       struct praas_exchange_msg *ret_msg)
{
	return pop(&x->reports_rx, ret_msg);
}

static void wake_admin(struct praas_exchange *x)
{
	uint64_t one = 1;

	if (write(x->admin_event_fd, &one, sizeof(one)) < 0)
		praas_check(errno == EAGAIN); /* it is readable already */
}

int praas_exchange_report(struct praas_exchange *x, enum praas_exchange_report kind,
			  uint64_t a, uint64_t b)
{
	int rc = push(&x->reports_tx, kind, a, b);

	if (rc == 0)
		wake_admin(x);
	return rc;
}

int praas_exchange_take_order(struct praas_exchange *x,
			      struct praas_exchange_msg *ret_msg)
{
	return pop(&x->orders_rx, ret_msg);
}

void praas_exchange_publish(struct praas_exchange *x,
			    const struct praas_process_stats *stats)
{
	uint64_t words[PRAAS_STATS_WORDS];
	bool changed = false;

	memcpy(words, stats, sizeof(words));
	for (unsigned i = 0; i < PRAAS_STATS_WORDS; i++) {
		if (atomic_load_explicit(&x->stats[i], memory_order_relaxed) ==
		    words[i])
			continue;
		atomic_store_explicit(&x->stats[i], words[i], memory_order_relaxed);
		changed = true;
	}
	/* exchange.R0, pairs with exchange.A0: of the two exchanges one comes first. Ours: admin
	 * sees the new words. Admin's: we see that it wants to be woken. */
	if (changed &&
	    atomic_exchange_explicit(&x->stats_wanted, 0, memory_order_acq_rel) != 0)
		wake_admin(x);
}

/* Each word by itself: a sum may be of a moment before another. */
void praas_exchange_publish_functions(struct praas_exchange *x,
				      const struct praas_function_sums *sums,
				      uint32_t functions_count)
{
	for (uint32_t i = 0; x->counts && i < functions_count; i++) {
		const struct praas_function_sums *s = &sums[i];
		struct praas_function_counts *c = &x->counts[i];

		atomic_store_explicit(&c->calls, s->calls, memory_order_relaxed);
		atomic_store_explicit(&c->errors, s->errors, memory_order_relaxed);
		atomic_store_explicit(&c->bytes_in, s->bytes_in, memory_order_relaxed);
		atomic_store_explicit(&c->bytes_out, s->bytes_out,
				      memory_order_relaxed);
		atomic_store_explicit(&c->run_ns, s->run_ns, memory_order_relaxed);
	}
}

void praas_exchange_stats_wake(struct praas_exchange *x)
{
	/* exchange.A0, pairs with exchange.R0: the words stored before it are visible. */
	(void)atomic_exchange_explicit(
		&x->stats_wanted, 1, memory_order_acq_rel); /* only the order matters */
}

void praas_exchange_stats(const struct praas_exchange *x,
			  struct praas_process_stats *ret_stats)
{
	uint64_t words[PRAAS_STATS_WORDS] = { 0 };

	for (unsigned i = 0; i < PRAAS_STATS_WORDS; i++)
		words[i] = atomic_load_explicit(&x->stats[i], memory_order_relaxed);
	memcpy(ret_stats, words, sizeof(words));
}
