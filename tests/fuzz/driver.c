/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without libFuzzer, so that every build replays its corpus: each
 * file given (or in a folder given) once as it is, then a fixed number of mutations of
 * them. The same seed gives the same inputs on every machine. An input that kills the
 * target is written to the working folder, as libFuzzer does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUTS_MAX 4096u
#define INPUT_BYTES_MAX (1u << 20)
#define MUTATED_BYTES_MAX 8192u

#pragma weak LLVMFuzzerInitialize
/* A sanitizer that ends the process calls this first, when there is one. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

struct input {
	uint8_t *data;
	size_t bytes;
};

static struct input inputs[INPUTS_MAX];
static size_t inputs_count;
static uint64_t random_state;
/* What runs now, for on_death(). */
static const uint8_t *current_data;
static size_t current_bytes;

static uint64_t next_random(void)
{
	/* splitmix64: small, and good enough to choose where to damage an input. */
	uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void on_death(void)
{
	static const char text[] = "input written to fuzz-crash.bin\n";
	int fd = open("fuzz-crash.bin", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (write(fd, current_data, current_bytes) == (ssize_t)current_bytes)
		(void)!write(STDERR_FILENO, text,
			     sizeof(text) - 1); /* nothing left to do */
	(void)close(fd);                        /* the process ends */
}

static void on_signal(int sig)
{
	on_death();
	(void)signal(sig, SIG_DFL); /* cannot fail for these */
	(void)raise(sig);           /* ends here */
}

static void run_one(const uint8_t *data, size_t bytes)
{
	/* A buffer of exactly that size, so that a read past the end is seen. */
	uint8_t *copy = malloc(bytes ? bytes : 1);

	if (!copy)
		abort();
	if (bytes)
		memcpy(copy, data, bytes);
	current_data = copy;
	current_bytes = bytes;
	(void)LLVMFuzzerTestOneInput(copy, bytes); /* always 0 */
	free(copy);
	current_data = NULL;
	current_bytes = 0;
}

static int load_file(const char *path)
{
	FILE *f;
	uint8_t *data;
	size_t bytes;

	if (inputs_count == INPUTS_MAX)
		return -ENOSPC;
	f = fopen(path, "rbe");
	if (!f)
		return -errno;
	data = malloc(INPUT_BYTES_MAX);
	if (!data) {
		(void)fclose(f); /* read only */
		return -ENOMEM;
	}
	bytes = fread(data, 1, INPUT_BYTES_MAX, f);
	(void)fclose(f); /* read only */
	inputs[inputs_count++] = (struct input){ .data = data, .bytes = bytes };
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_folder(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL,
			    by_name); /* sorted: the same everywhere */
	int rc = 0;

	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++) {
		char name[4096];

		(void)snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && rc == 0)
			rc = load_file(name);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

static size_t mutate(uint8_t *out, const struct input *from)
{
	static const uint8_t edges[] = { 0,    1,   0x7f, 0x80, 0xff,
					 0xfe, '"', '{',  '/',  '.' };
	size_t bytes =
		from->bytes < MUTATED_BYTES_MAX ? from->bytes : MUTATED_BYTES_MAX;
	unsigned steps = 1 + (unsigned)(next_random() % 6);

	if (bytes)
		memcpy(out, from->data, bytes);
	while (steps-- > 0) {
		uint64_t r = next_random();
		size_t at = bytes ? (size_t)((r >> 8) % bytes) : 0;

		switch (r % 5) {
		case 0: /* one bit */
			if (bytes)
				out[at] ^= (uint8_t)(1u << ((r >> 40) & 7));
			break;
		case 1: /* a value that sits on an edge */
			if (bytes)
				out[at] = edges[(r >> 40) % sizeof(edges)];
			break;
		case 2: /* cut */
			bytes = at;
			break;
		case 3: /* grow by random bytes */
			for (size_t n = (r >> 40) % 32;
			     n > 0 && bytes < MUTATED_BYTES_MAX; n--)
				out[bytes++] = (uint8_t)next_random();
			break;
		default: /* eight random bytes, where lengths and offsets may be */
			for (size_t i = at; i < bytes && i < at + 8; i++)
				out[i] = (uint8_t)next_random();
			break;
		}
	}
	return bytes;
}

static int load(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? load_folder(path) : load_file(path);
}

int main(int argc, char **argv)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	static uint8_t out[MUTATED_BYTES_MAX];
	static const struct input empty = { 0 };
	uint64_t runs = 2000;

	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv); /* always 0 */
	for (int i = 1; i < argc; i++) {
		int rc = 0;

		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = strtoull(argv[i] + 6, NULL, 10);
		else if (strncmp(argv[i], "-seed=", 6) == 0)
			random_state = strtoull(argv[i] + 6, NULL, 10);
		else if (argv[i][0] !=
			 '-') /* libFuzzer's other options mean nothing here */
			rc = load(argv[i]);
		if (rc != 0) {
			(void)fprintf(stderr, "%s: %s\n", argv[i], strerror(-rc));
			return 2;
		}
	}
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(on_death);
	else
		for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
			(void)signal(fatal[i],
				     on_signal); /* else the input is not kept */
	run_one(empty.data, 0);
	for (size_t i = 0; i < inputs_count; i++)
		run_one(inputs[i].data, inputs[i].bytes);
	for (uint64_t i = 0; i < runs; i++) {
		const struct input *from =
			inputs_count ? &inputs[next_random() % inputs_count] : &empty;

		run_one(out, mutate(out, from));
	}
	(void)printf("%zu inputs, %" PRIu64 " mutations\n", inputs_count, runs);
	for (size_t i = 0; i < inputs_count; i++)
		free(inputs[i].data);
	return 0;
}
