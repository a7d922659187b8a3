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

static char folder[] = "/tmp/praas-fuzz-XXXXXX";

static void remove_folder(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/" PRAAS_MANIFEST_FILE, folder);
	(void)unlink(path);
	(void)rmdir(folder); /* at the end: nothing to tell */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(folder) || atexit(remove_folder) != 0)
		abort();
	return 0;
}

static void write_manifest(const uint8_t *data, size_t bytes)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" PRAAS_MANIFEST_FILE, folder);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || close(fd) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct praas_manifest m = { 0 };
	char error[PRAAS_JSON_ERROR_MAX];
	int rc = praas_manifest_parse((const char *)data, bytes, "/code", &m, error);

	if ((rc == 0) != (error[0] == '\0'))
		abort();
	praas_manifest_release(&m);
	write_manifest(data, bytes);
	rc = praas_manifest_load(folder, &m, error);
	if ((rc == 0) != (error[0] == '\0'))
		abort();
	praas_manifest_release(&m);
	return 0;
}
