/* SPDX-License-Identifier: Apache-2.0
 *
 * praas.json comes from whoever deploys: any text gives functions or an error in words, from memory
 * and from a folder.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/manifest.h"

#define LIBRARY "libhello.so"

static char folder[] = "/tmp/praas-fuzz-XXXXXX";
/* The manifest, and a library that there is: of the second kind is what the inputs name. */
static const char *const files[] = { PRAAS_MANIFEST_FILE, LIBRARY };

static const char *path_of(const char *name)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void remove_folder(void)
{
	for (unsigned i = 0; i < 2; i++)
		(void)unlink(path_of(files[i]));
	(void)rmdir(folder); /* at the end: nothing to tell */
}

static void write_file(const char *name, const uint8_t *data, size_t bytes)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || close(fd) != 0)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(folder) || atexit(remove_folder) != 0)
		abort();
	write_file(LIBRARY, NULL, 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];
	int rc = praas_manifest_parse((const char *)data, bytes, "/code", &m, error);

	if ((rc == 0) != (error[0] == '\0'))
		abort();
	praas_manifest_release(&m);
	write_file(PRAAS_MANIFEST_FILE, data, bytes);
	rc = praas_manifest_load(folder, &m, error);
	if ((rc == 0) != (error[0] == '\0'))
		abort();
	if (rc == 0 && praas_manifest_stale(folder, &m))
		abort(); /* nothing has changed since */
	praas_manifest_release(&m);
	return 0;
}
