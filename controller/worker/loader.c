/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads function libraries: inside the sandbox already, because a library's constructors are the
 * tenant's code. What cannot be loaded is said in words, for the owner of the application.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/worker/worker.h"

static int load_one(const struct praas_worker_function *f, function_entry *ret_entry,
		    char *ret_text)
{
	/* The same library again costs a look-up; it is never closed. */
	void *library = dlopen(f->library, RTLD_NOW | RTLD_LOCAL);
	void *symbol;

	if (!library) {
		(void)snprintf(ret_text, PRAAS_ERROR_TEXT_MAX,
			       "function \"%s\": its library cannot be loaded: %s",
			       f->name, dlerror());
		return -ENOENT;
	}
	symbol = dlsym(library, f->symbol);
	if (!symbol) {
		(void)snprintf(ret_text, PRAAS_ERROR_TEXT_MAX,
			       "function \"%s\": no symbol \"%s\" in %s (is it marked "
			       "PRAAS_FUNCTION?)",
			       f->name, f->symbol, f->library);
		return -ENOENT;
	}
	/* The conversion that POSIX promises for dlsym. */
	memcpy(ret_entry, &symbol, sizeof(*ret_entry));
	return 0;
}

int worker_load(struct worker *w, char *ret_text)
{
	uint32_t count = w->end.start.functions_count;

	w->entries = calloc(count ? count : 1, sizeof(w->entries[0]));
	w->clocks = calloc(count ? count : 1, sizeof(w->clocks[0]));
	if (!w->entries || !w->clocks)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct praas_worker_function *f = &w->end.functions[i];
		int rc;

		f->name[PRAAS_NAME_MAX] = '\0';
		f->symbol[PRAAS_NAME_MAX] = '\0';
		f->library[sizeof(f->library) - 1] = '\0';
		if (f->number != i)
			return -EPROTO;
		rc = load_one(f, &w->entries[i], ret_text);
		if (rc != 0)
			return rc;
	}
	return 0;
}
