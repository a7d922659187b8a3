/* SPDX-License-Identifier: Apache-2.0
 *
 * A control service of this user on this machine: `praas dev` runs one in the foreground,
 * `praas up` in the background, and the other verbs find it when nothing else is named.
 */
#ifndef PRAAS_CLIENT_CLI_SERVICE_H
#define PRAAS_CLIENT_CLI_SERVICE_H

#include <sys/types.h>

#include "client/cli/cli.h"

#define PRAAS_CLI_TOKEN_CHARS 64u
#define PRAAS_CLI_URL_BYTES 512u

struct praas_cli_service {
	char data[PATH_MAX]; /* folder where everything is kept */
	char token_file[PATH_MAX + 16];
	char token[PRAAS_CLI_TOKEN_CHARS + 1];
	char url[PRAAS_CLI_URL_BYTES];
	const char *listen;
	const char *snapshots; /* where they are kept; NULL: in data */
	pid_t pid;             /* 0: not running */
};

/* Chooses the data folder (NULL: the user's own), makes it, and loads or makes its key.
 * Returns an exit code; a failure has been told. */
int praas_cli_service_prepare(struct praas_cli_service *s, const char *data);
/* The same for a folder that is there: makes nothing. 0; -ENOENT it has no key. */
int praas_cli_service_name(struct praas_cli_service *s, const char *data);
/* Starts it and waits until it answers: url and pid are then known. detached: it outlives
 * this program, and what it says goes to the file `control.log` of the data folder; else it ends with
 * this program. Returns an exit code. */
int praas_cli_service_start(struct praas_cli_service *s, bool detached);
/* Ends a service that this program started, all processes swapped out. */
void praas_cli_service_stop(struct praas_cli_service *s);
/* The one that runs on s->data now: fills url and pid. 0; -ENOENT none runs there. */
int praas_cli_service_find(struct praas_cli_service *s);

/* A program of ours: beside this one (build folder), or in libexec/praas (installed). Returns an exit code; a
 * failure has been told. */
int praas_cli_find_program(const char *name, char ret_path[PATH_MAX + 64]);

/* Whether praas_cli_deploy_all() would find something there. Returns an exit code. */
int praas_cli_deploy_check(const char *given);
/* Deploys a folder (given) with a praas.json, or each folder in it that has one, as applications of
 * the folders' names. weak: they may run without a full sandbox. *ret_folders, when not NULL:
 * the folders' paths, an array of strings, the caller's. Returns an exit code. */
int praas_cli_deploy_all(struct praas_cli *cli, const char *given, bool weak,
			 json_t **ret_folders);

#endif
