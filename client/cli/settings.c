/* SPDX-License-Identifier: Apache-2.0
 *
 * Which control service: --url and --token, else PRAAS_URL and PRAAS_TOKEN, else the
 * settings file, ~/.config/praas/config:
 *
 *     context = home
 *     [home]
 *     url = http://127.0.0.1:8080
 *     token = …
 *     ca = /etc/praas/ca.pem
 *
 * ca: certificates that an https url is verified against (else PRAAS_CA, else the system's).
 * PRAAS_CONTEXT chooses another section. When none of these names one, it is the service
 * that this user runs here with praas dev or praas up.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_BYTES_MAX 65536

/* text without blanks at both ends; cuts it in place. */
static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t\r");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return text;
}

/* One line: a section, a setting or nothing. */
static int settings_line(char *line, const char **section, const char **context,
			 struct praas_cli_context *ret)
{
	char *value;
	char *name = trim(line);
	size_t length = strlen(name);

	if (length == 0 || *name == '#')
		return 0;
	if (*name == '[' && name[length - 1] == ']') {
		name[length - 1] = '\0';
		*section = trim(name + 1);
		return 0;
	}
	value = strchr(name, '=');
	if (!value)
		return -EINVAL;
	*value++ = '\0';
	name = trim(name);
	value = trim(value);
	if (!*section && strcmp(name, "context") == 0) {
		if (!*context)
			*context = value;
		return 0;
	}
	if (strcmp(name, "url") != 0 && strcmp(name, "token") != 0 &&
	    strcmp(name, "ca") != 0)
		return -EINVAL;
	if (*section && *context && strcmp(*section, *context) == 0)
		*(*name == 'u'   ? &ret->url
		  : *name == 't' ? &ret->token
				 : &ret->ca) = value;
	return 0;
}

int praas_cli_settings_parse(char *text, const char *context,
			     struct praas_cli_context *ret_context, unsigned *ret_line)
{
	struct praas_cli_context found = { NULL, NULL, NULL };
	const char *section = NULL;
	unsigned number = 0;

	while (text) {
		char *next = strchr(text, '\n');

		if (next)
			*next++ = '\0';
		number++;
		if (settings_line(text, &section, &context, &found) != 0) {
			*ret_line = number;
			return -EINVAL;
		}
		text = next;
	}
	if (!found.url)
		return -ENOENT;
	*ret_context = found;
	return 0;
}

/* The whole file as a string; NULL when there is none. */
static char *read_settings(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size <= SETTINGS_BYTES_MAX)
		text = malloc((size_t)st.st_size + 1);
	if (text)
		n = read(fd, text, (size_t)st.st_size);
	(void)close(fd); /* read only */
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* What the settings file says, if there is one. */
static int from_file(struct praas_cli *cli)
{
	const char *home = environment("HOME");
	const char *base = environment("XDG_CONFIG_HOME");
	struct praas_cli_context context = { NULL, NULL, NULL };
	char path[4096];
	unsigned line = 0;
	int rc;

	if (!home && !base)
		return 0;
	(void)snprintf(path, sizeof(path), "%s%s/praas/config", base ? base : home,
		       base ? "" : "/.config"); /* too long: there is no such file */
	cli->config = read_settings(path);
	if (!cli->config)
		return 0;
	rc = praas_cli_settings_parse(cli->config, environment("PRAAS_CONTEXT"),
				      &context, &line);
	if (rc == -EINVAL)
		return praas_cli_fail(
			PRAAS_EXIT_USAGE,
			"line %u of %s is not understood: it must be [NAME], "
			"context = NAME, url = URL, token = TOKEN or ca = FILE",
			line, path);
	if (rc == 0) {
		cli->url = context.url;
		if (!cli->token)
			cli->token = context.token;
		if (context.ca) /* unless the environment names another */
			(void)setenv("PRAAS_CA", context.ca, 0);
	}
	return 0;
}

int praas_cli_settings(struct praas_cli *cli)
{
	int rc = 0;

	if (!cli->url) {
		cli->url = environment("PRAAS_URL");
		if (!cli->token)
			cli->token = environment("PRAAS_TOKEN");
	}
	if (!cli->url)
		rc = from_file(cli);
	if (rc == 0 && !cli->url &&
	    praas_cli_service_own(cli->own_url, cli->own_token) == 0) {
		cli->url = cli->own_url;
		if (!cli->token)
			cli->token = cli->own_token;
	}
	return rc;
}
