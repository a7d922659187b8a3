/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of examples/, loaded as a worker loads them and run against a table of
 * calls that keeps state in plain memory: are the functions right, whatever runs them?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <praas/function.h>

#define OBJECTS 32
#define CALLS 16

struct object {
	char key[PRAAS_KEY_MAX + 1];
	void *data; /* NULL: free place */
	size_t bytes;
	uint64_t version;
};

/* A process: one library and its state. */
struct world {
	void *library;
	struct object objects[OBJECTS];
	struct {
		int status;
		char *result;
		size_t bytes;
	} calls[CALLS];
	uint64_t calls_count;
	int conflicts; /* commits that shall fail first */
};

/* One invocation. */
struct context {
	struct praas_ctx base; /* must be first */
	struct world *world;
	const void *in;
	size_t in_bytes;
	char *out;
	size_t out_bytes;
	char text[PRAAS_ERROR_TEXT_MAX];
	void *buffer; /* of praas_buffer() */
	struct object *cas_object;
	void *cas_data;
	size_t cas_bytes;
};

static int run(struct world *w, const char *symbol, const char *key, const void *in,
	       size_t bytes, struct context *ret_context);

static struct context *of(struct praas_ctx *ctx)
{
	return (struct context *)(void *)ctx;
}

static struct object *find(struct world *w, const char *key)
{
	for (int i = 0; i < OBJECTS; i++)
		if (w->objects[i].data && strcmp(w->objects[i].key, key) == 0)
			return &w->objects[i];
	return NULL;
}

static struct object *make(struct world *w, const char *key)
{
	int i = 0;

	while (i < OBJECTS && w->objects[i].data)
		i++;
	assert_true(i < OBJECTS);
	(void)snprintf(w->objects[i].key, sizeof(w->objects[i].key), "%s", key);
	return &w->objects[i];
}

/* data NULL: zeros. */
static void store(struct object *o, const void *data, size_t bytes)
{
	void *copy = calloc(1, bytes + 1);

	assert_non_null(copy);
	if (data && bytes)
		memcpy(copy, data, bytes);
	free(o->data);
	o->data = copy;
	o->bytes = bytes;
	o->version++;
}

static int op_input(struct praas_ctx *ctx, uint32_t index, struct praas_msg *ret_msg)
{
	if (index > 0)
		return -ENOENT;
	*ret_msg = (struct praas_msg){ 0 };
	ret_msg->view.data = of(ctx)->in;
	ret_msg->view.bytes = of(ctx)->in_bytes;
	return 0;
}

static int op_output(struct praas_ctx *ctx, size_t bytes, void **ret_data)
{
	char *grown = realloc(of(ctx)->out, bytes + 1);

	assert_non_null(grown);
	grown[bytes] = '\0'; /* for comparing as a string */
	of(ctx)->out = grown;
	of(ctx)->out_bytes = bytes;
	*ret_data = grown;
	return 0;
}

static int op_output_view(struct praas_ctx *ctx, const struct praas_view *view)
{
	void *out = NULL;

	(void)op_output(ctx, view->bytes, &out); /* asserts */
	if (view->bytes)
		memcpy(out, view->data, view->bytes);
	return 0;
}

static void op_fail_text(struct praas_ctx *ctx, const char *text)
{
	(void)snprintf(of(ctx)->text, sizeof(of(ctx)->text), "%s", text);
}

static int op_state_get(struct praas_ctx *ctx, const char *key, uint32_t flags,
			struct praas_view *ret_view, uint64_t *ret_version)
{
	struct object *o = find(of(ctx)->world, key);

	(void)flags; /* plain memory is shared */
	if (!o)
		return -ENOENT;
	*ret_view = (struct praas_view){ .data = o->data, .bytes = o->bytes };
	if (ret_version)
		*ret_version = o->version;
	return 0;
}

static int op_buffer(struct praas_ctx *ctx, size_t bytes, void **ret_data)
{
	assert_null(of(ctx)->buffer);
	of(ctx)->buffer = malloc(bytes + 1);
	assert_non_null(of(ctx)->buffer);
	*ret_data = of(ctx)->buffer;
	return 0;
}

static int op_state_put(struct praas_ctx *ctx, const char *key, const void *data,
			size_t bytes, uint32_t flags)
{
	struct object *o = find(of(ctx)->world, key);

	(void)flags;
	store(o ? o : make(of(ctx)->world, key), data, bytes);
	return 0;
}

static int op_state_delete(struct praas_ctx *ctx, const char *key)
{
	struct object *o = find(of(ctx)->world, key);

	if (!o)
		return -ENOENT;
	free(o->data);
	*o = (struct object){ 0 };
	return 0;
}

static int op_state_cas(struct praas_ctx *ctx, const char *key, uint64_t version,
			const void *data, size_t bytes)
{
	struct context *c = of(ctx);
	struct object *o = find(c->world, key);

	assert_int_equal(o ? o->version : 0, version);
	c->cas_object = o ? o : make(c->world, key);
	c->cas_data = malloc(bytes);
	assert_non_null(c->cas_data);
	memcpy(c->cas_data, data, bytes);
	c->cas_bytes = bytes;
	return 0;
}

static int op_state_commit(struct praas_ctx *ctx)
{
	struct context *c = of(ctx);
	int rc = c->world->conflicts > 0 ? -ESTALE : 0;

	if (rc == 0)
		store(c->cas_object, c->cas_data, c->cas_bytes);
	else
		c->world->conflicts--;
	free(c->cas_data);
	c->cas_data = NULL;
	return rc;
}

static int by_key(const void *a, const void *b)
{
	const struct praas_state_info *x = a;
	const struct praas_state_info *y = b;

	return strcmp(x->key, y->key);
}

static int op_state_list(struct praas_ctx *ctx, const char *prefix, const char *after,
			 struct praas_state_info *ret_infos, uint32_t infos_max,
			 uint32_t *ret_count)
{
	static struct praas_state_info all[OBJECTS];
	uint32_t count = 0;

	for (int i = 0; i < OBJECTS; i++) {
		const struct object *o = &of(ctx)->world->objects[i];

		if (o->data && strncmp(o->key, prefix, strlen(prefix)) == 0 &&
		    strcmp(o->key, after) > 0)
			memcpy(all[count++].key, o->key, sizeof(o->key));
	}
	qsort(all, count, sizeof(all[0]), by_key);
	*ret_count = count < infos_max ? count : infos_max;
	memcpy(ret_infos, all, *ret_count * sizeof(all[0]));
	return 0;
}

static int op_update_begin(struct praas_ctx *ctx, const char *key, size_t bytes,
			   int64_t timeout_ns, struct praas_update *ret_update)
{
	struct object *o = find(of(ctx)->world, key);

	(void)timeout_ns; /* nobody else holds it */
	if (!o) {
		o = make(of(ctx)->world, key);
		store(o, NULL, bytes);
	}
	if (o->bytes != bytes)
		return -ESTALE;
	*ret_update = (struct praas_update){ .data = o->data, .bytes = bytes };
	return 0;
}

static int op_update_commit(struct praas_ctx *ctx, struct praas_update *update)
{
	(void)ctx;
	return update->data ? 0 : -EINVAL;
}

static void op_release(struct praas_ctx *ctx, struct praas_view *view)
{
	(void)ctx; /* results live as long as the world */
	view->data = NULL;
}

static bool op_cancelled(struct praas_ctx *ctx)
{
	(void)ctx;
	return false;
}

static int op_invoke(struct praas_ctx *ctx, praas_pid_t destination,
		     const char *function, const char *key, const void *data,
		     size_t bytes, uint64_t *ret_call)
{
	struct world *w = of(ctx)->world;
	struct context c;

	assert_true(destination == PRAAS_SELF);
	assert_true(w->calls_count < CALLS);
	w->calls[w->calls_count].status =
		run(w, function, key ? key : "", data, bytes, &c);
	w->calls[w->calls_count].result = c.out;
	w->calls[w->calls_count].bytes = c.out_bytes;
	*ret_call = w->calls_count++;
	return 0;
}

static int op_wait(struct praas_ctx *ctx, uint64_t call, int64_t timeout_ns,
		   int *ret_status, struct praas_view *ret_result)
{
	const struct world *w = of(ctx)->world;

	(void)timeout_ns; /* it has ended already */
	assert_true(call < w->calls_count);
	*ret_status = w->calls[call].status;
	*ret_result = (struct praas_view){ .data = w->calls[call].result,
					   .bytes = w->calls[call].bytes };
	return 0;
}

static const struct praas_function_ops ops = {
	.abi = PRAAS_FUNCTION_ABI,
	.size = sizeof(ops),
	.input = op_input,
	.output = op_output,
	.output_resize = op_output,
	.output_view = op_output_view,
	.fail_text = op_fail_text,
	.state_get = op_state_get,
	.buffer = op_buffer,
	.state_put = op_state_put,
	.state_delete = op_state_delete,
	.state_cas = op_state_cas,
	.state_list = op_state_list,
	.state_commit = op_state_commit,
	.update_begin = op_update_begin,
	.update_commit = op_update_commit,
	.release = op_release,
	.invoke = op_invoke,
	.wait = op_wait,
	.cancelled = op_cancelled,
};

/* Runs one function; ret_context->out is the caller's to free. */
static int run(struct world *w, const char *symbol, const char *key, const void *in,
	       size_t bytes, struct context *ret_context)
{
	int (*entry)(struct praas_ctx *) = NULL;
	struct context *c = ret_context;
	int rc;

	*(void **)&entry = dlsym(w->library, symbol);
	assert_true(entry != NULL);
	*c = (struct context){ .world = w, .in = in, .in_bytes = bytes };
	c->base.ops = &ops;
	c->base.info.function = symbol;
	c->base.info.key = key;
	c->base.info.inputs = 1;
	rc = entry(&c->base);
	free(c->buffer);
	return rc;
}

/* Runs one function with text as input and compares its result, or its error text. */
static void expect(struct world *w, const char *symbol, const char *key, const char *in,
		   int status, const char *out)
{
	struct context c;
	int rc = run(w, symbol, key, in, strlen(in), &c);
	const char *got = c.out ? c.out : "";

	assert_int_equal(rc, status);
	assert_string_equal(rc != 0 ? c.text : got, out);
	free(c.out);
}

static void open_world(struct world *w, const char *library)
{
	char path[4096];

	*w = (struct world){ 0 };
	(void)snprintf(path, sizeof(path), "%s/%s", PRAAS_EXAMPLES, library);
	w->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(w->library);
}

static void close_world(struct world *w)
{
	for (int i = 0; i < OBJECTS; i++)
		free(w->objects[i].data);
	for (uint64_t i = 0; i < w->calls_count; i++)
		free(w->calls[i].result);
	assert_int_equal(dlclose(w->library), 0);
}

/* The greeting, the echo of nothing and of something, and an error with its text. */
static void test_hello_answers(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, "hello/libhello.so");
	expect(&w, "hello", "", "World", 0, "Hello, World!");
	expect(&w, "hello", "", "", 1, "whom shall I greet? give a name as input");
	expect(&w, "echo", "", "what comes", 0, "what comes");
	expect(&w, "echo", "", "", 0, "");
	expect(&w, "noop", "", "ignored", 0, "");
	close_world(&w);
}

/* Counters of different keys are apart; a conflict is tried again; nonsense is refused.
 */
static void test_counter_counts(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, "counter/libcounter.so");
	expect(&w, "get", "apples", "", 0, "0");
	expect(&w, "add", "apples", "", 0, "1");
	expect(&w, "add", "apples", "41\n", 0, "42");
	expect(&w, "add", "pears", "-7", 0, "-7");
	w.conflicts = 3;
	expect(&w, "add", "apples", "1", 0, "43");
	expect(&w, "add", "apples", "x", 1, "the input must be a whole number");
	expect(&w, "add", "apples", "9223372036854775807", 3,
	       "the counter would overflow");
	expect(&w, "get", "apples", "", 0, "43");
	close_world(&w);
}

/* The sum stays between calls; a vector of another length is refused. */
static void test_reduce_adds_in_place(void **state)
{
	const int64_t vector[3] = { 1, -2, INT64_MAX };
	struct context c;
	struct world w;

	(void)state;
	open_world(&w, "reduce/libreduce.so");
	expect(&w, "result", "", "", 1, "nothing has been added yet");
	for (int i = 0; i < 2; i++)
		assert_int_equal(run(&w, "add", "", vector, sizeof(vector), &c), 0);
	assert_int_equal(run(&w, "result", "", NULL, 0, &c), 0);
	assert_int_equal(c.out_bytes, sizeof(vector));
	for (int i = 0; i < 3; i++) {
		uint64_t sum;

		memcpy(&sum, c.out + 8 * i, 8);
		assert_true(sum == 2 * (uint64_t)vector[i]);
	}
	free(c.out);
	assert_int_equal(run(&w, "add", "", vector, 8, &c), 2);
	expect(&w, "add", "", "1234567", 1,
	       "the input must be a vector of 64-bit integers");
	expect(&w, "reset", "", "", 0, "");
	expect(&w, "reset", "", "", 0, "");
	close_world(&w);
}

/* Both forms of calling other functions. */
static void test_pipeline_joins_stages(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, "pipeline/libpipeline.so");
	expect(&w, "chain", "", "never odd", 0, "DDO REVEN");
	expect(&w, "fork_join", "", "abc", 0, "ABC cba");
	expect(&w, "fork_join", "", "", 0, " ");
	close_world(&w);
}

/* Words are counted without regard to case; a text counted again replaces its counts;
 * more texts than a page of the list are joined. */
static void test_word_count_joins_texts(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, "word-count/libwordcount.so");
	expect(&w, "count", "a", "The cat, the dog; THE END.", 0,
	       "6 words, 4 distinct\n");
	expect(&w, "count", "a", "The cat, the dog; THE END.", 0,
	       "6 words, 4 distinct\n");
	expect(&w, "top", "", "2", 0, "3 the\n1 cat\n");
	for (int i = 0; i < 20; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "t%d", i);
		expect(&w, "count", key, "cat", 0, "1 words, 1 distinct\n");
	}
	expect(&w, "top", "", "1", 0, "21 cat\n");
	expect(&w, "count", "none", " 12 .,", 0, "0 words, 0 distinct\n");
	expect(&w, "top", "", "0", 1, "the input must be a number from 1 to 100000");
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_answers),
		cmocka_unit_test(test_counter_counts),
		cmocka_unit_test(test_reduce_adds_in_place),
		cmocka_unit_test(test_pipeline_joins_stages),
		cmocka_unit_test(test_word_count_joins_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
