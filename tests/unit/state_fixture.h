/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that runs nothing: what its state does, asked for directly.
 */
#ifndef PRAAS_TESTS_STATE_FIXTURE_H
#define PRAAS_TESTS_STATE_FIXTURE_H

#include "unit/dataplane_fixture.h"

#include "dataplane/process_private.h"

static int no_start(struct praas_executor *ex, struct praas_invocation *inv)
{
	(void)ex;
	(void)inv;
	return -EAGAIN;
}
static unsigned no_capacity(const struct praas_executor *ex)
{
	(void)ex;
	return 0;
}
static void no_cancel(struct praas_executor *ex, struct praas_invocation *inv)
{
	(void)ex;
	(void)inv;
}
static unsigned no_poll(struct praas_executor *ex, unsigned budget)
{
	(void)ex;
	(void)budget;
	return 0;
}
static int no_arm(struct praas_executor *ex, int *ret_fd)
{
	(void)ex;
	*ret_fd = -1;
	return 0;
}
static void no_stop(struct praas_executor *ex, uint64_t deadline_ns)
{
	(void)ex;
	(void)deadline_ns;
}
static void no_free(struct praas_executor *ex)
{
	(void)ex;
}
static const struct praas_executor_ops no_ops = { .name = "none",
						  .start = no_start,
						  .capacity = no_capacity,
						  .cancel = no_cancel,
						  .poll = no_poll,
						  .arm = no_arm,
						  .stop = no_stop,
						  .free = no_free };
static struct praas_executor no_executor = { .ops = &no_ops };
static struct praas_function one_function[1] = { { .name = "f" } };

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct praas_process_config config;

	fixture_init(f, 4 << 20);
	config = fixture_config(f, one_function, 1);
	config.executor = &no_executor;
	config.state_keys_max = 1024;
	config.state_bytes_max = 1 << 20;
	fixture_start(f, &config);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	fixture_release(*state);
	free(*state);
	return 0;
}

static inline struct praas_state_write put_of(struct fixture *f, const char *key,
					      const void *data, uint64_t bytes)
{
	struct praas_state_write w = { .key_bytes = (uint8_t)strlen(key) };
	uint8_t *to;

	strcpy(w.key, key);
	assert_int_equal(praas_process_value_new(f->p, bytes, &w.value, &to), 0);
	memcpy(to, data, bytes);
	return w;
}

static inline struct praas_state_write erase_of(const char *key)
{
	struct praas_state_write w = { .key_bytes = (uint8_t)strlen(key),
				       .erase = true };

	strcpy(w.key, key);
	return w;
}

static inline uint64_t commit(struct fixture *f, struct praas_state_write *writes,
			      uint32_t count, int expected)
{
	uint64_t version = 0;

	assert_int_equal(praas_process_fn_commit(f->p, writes, count, &version),
			 expected);
	for (uint32_t i = 0; i < count && expected != 0; i++)
		praas_value_release(&writes[i].value);
	return version;
}

#endif
