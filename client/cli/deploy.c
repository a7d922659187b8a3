/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders of functions become applications of the folders' names (praas dev, praas up).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/service.h"

#define FOLDERS_MAX 64

/* Whether the application is there; its code stays as it is. */
static int is_known(struct praas_cli *cli, const char *name, const char *folder,
		    bool *ret_known)
{
	json_t *apps = NULL;
	int rc =
		praas_cli_list(cli, "/v1/apps", "apps", "list the applications", &apps);

	*ret_known = false;
	for (size_t i = 0; i < json_array_size(apps); i++) {
		const json_t *app = json_array_get(apps, i);
		const char *other = json_string_value(json_object_get(app, "name"));
		const char *code = json_string_value(json_object_get(app, "code"));

		if (!other || strcmp(other, name) != 0)
			continue;
		if (code && strcmp(code, folder) != 0)
			(void)praas_cli_fail(
				PRAAS_EXIT_FAILED,
				"application %s exists with the code of %s, which "
				"stays; to change it: praas app deploy %s --code %s",
				name, code, name, folder);
		*ret_known = true;
	}
	json_decref(apps);
	return rc;
}

static int deploy(struct praas_cli *cli, const char *folder, bool weak)
{
	const char *slash = strrchr(folder, '/');
	const char *name = slash ? slash + 1 : folder;
	char what[PRAAS_NAME_MAX + 16];
	const char *why = "";
	bool known = false;
	int rc;

	if (praas_cli_value(PRAAS_CLI_NAME, NULL, name, &name, &why) != 0)
		return praas_cli_fail(
			PRAAS_EXIT_FAILED,
			"cannot deploy %s: its name becomes the application's, and "
			"%s; rename the folder",
			folder, why);
	rc = is_known(cli, name, folder, &known);
	(void)snprintf(what, sizeof(what), "deploy %s", name); /* fits: checked */
	if (rc == 0 && !known)
		rc = praas_cli_request(cli, "POST", "/v1/apps",
				       json_pack("{s:s,s:s,s:b}", "name", name, "code",
						 folder, "allow_weak_sandbox", weak),
				       what, NULL);
	if (rc == 0)
		(void)printf("application  %s\n", name);
	return rc;
}

static bool has_manifest(const char *folder)
{
	char path[PATH_MAX + NAME_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/praas.json", folder); /* fits */
	return access(path, R_OK) == 0;
}

/* The folders to deploy: the one given, or those in it. */
static json_t *find_folders(const char *folder)
{
	char sub[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries = NULL;
	json_t *folders = json_array();
	int count;

	if (has_manifest(folder)) {
		(void)json_array_append_new(folders, json_string(folder));
		return folders;
	}
	count = scandir(folder, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		(void)snprintf(sub, sizeof(sub), "%s/%s", folder,
			       entries[i]->d_name); /* fits */
		if (entries[i]->d_name[0] != '.' && has_manifest(sub))
			(void)json_array_append_new(folders, json_string(sub));
		free(entries[i]);
	}
	free(entries);
	return folders;
}

/* The folders of the applications; to be released in any case. */
static int applications(const char *given, json_t **ret_folders)
{
	char folder[PATH_MAX];
	json_t *folders;
	size_t count;
	int rc = 0;

	*ret_folders = NULL;
	if (!realpath(given, folder))
		return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot deploy %s: %s", given,
				      strerror(errno));
	folders = find_folders(folder);
	count = json_array_size(folders);
	if (count == 0)
		rc = praas_cli_fail(PRAAS_EXIT_FAILED,
				    "cannot deploy %s: neither it nor a folder in it "
				    "has a praas.json",
				    given);
	if (count > FOLDERS_MAX)
		rc = praas_cli_fail(PRAAS_EXIT_FAILED,
				    "cannot deploy %s: it has %zu applications, more "
				    "than %d; name one of them",
				    given, count, FOLDERS_MAX);
	*ret_folders = folders;
	return rc;
}

int praas_cli_deploy_check(const char *given)
{
	json_t *folders;
	int rc = applications(given, &folders);

	json_decref(folders);
	return rc;
}

int praas_cli_deploy_all(struct praas_cli *cli, const char *given, bool weak,
			 json_t **ret_folders)
{
	json_t *folders;
	size_t count;
	int rc = applications(given, &folders);

	count = json_array_size(folders);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = deploy(cli, json_string_value(json_array_get(folders, i)), weak);
	if (rc == 0 && ret_folders)
		*ret_folders = folders;
	else
		json_decref(folders);
	return rc;
}
