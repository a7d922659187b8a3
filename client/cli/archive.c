/* SPDX-License-Identifier: Apache-2.0
 *
 * praas state export, import: the state of a process as a tar archive (pax), a file an
 * object, so that any tar(1) can look into it. A key is the file's name; '%', and a slash at
 * its end, which tar would take for a folder, are written as %25 and %2F.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define PAGE 64
#define NAME_BYTES (3 * PRAAS_KEY_MAX + 1)

struct copy {
	struct praas_cli *cli;
	const char *app, *pid, *file, *prefix;
	praas_connection *conn;
	struct archive *archive;
	struct praas_cli_progress progress;
};

static int fail_archive(const struct copy *c, const char *verb)
{
	int number = archive_errno(c->archive); /* positive: the system's */
	const char *why =
		number > 0 ? strerror(number) : archive_error_string(c->archive);
	bool is_file = strcmp(c->file, "-") != 0;

	return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot %s %s: %s", verb,
			      is_file        ? c->file
			      : *verb == 'r' ? "standard input"
					     : "standard output",
			      why ? why : "no more is known");
}

static int fail_object(const struct copy *c, int rc, const char *verb, const char *key)
{
	char what[PRAAS_KEY_MAX + 64];

	(void)snprintf(what, sizeof(what), "%s '%s'", verb, key); /* fits */
	return praas_cli_fail_call(c->cli, rc, what);
}

/* ---- names ------------------------------------------------------------------------ */

static void key_to_name(const char *key, char ret_name[NAME_BYTES])
{
	size_t at = 0;

	for (const char *k = key; *k; k++) {
		bool escape = *k == '%' || (*k == '/' && k[1] == '\0');

		at += (size_t)snprintf(ret_name + at, NAME_BYTES - at,
				       escape ? "%%%02X" : "%c", (unsigned char)*k);
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: it is no key. */
static bool name_to_key(const char *name, char ret_key[PRAAS_KEY_MAX + 1])
{
	size_t at = 0;

	for (; *name; name++) {
		int value = (unsigned char)*name;

		if (at == PRAAS_KEY_MAX)
			return false;
		if (*name == '%') {
			int high = hex(name[1]);
			int low = high >= 0 ? hex(name[2]) : -1;

			value = high * 16 + low;
			if (low < 0 || value == 0)
				return false;
			name += 2;
		}
		ret_key[at++] = (char)value;
	}
	ret_key[at] = '\0';
	return at > 0;
}

/* Else only ASCII is understood; names that are not UTF-8 are marked as binary. */
static void names_are_utf8(void)
{
	(void)setlocale(LC_CTYPE, "C.UTF-8"); /* not there: then so it is */
}

/* ---- export ----------------------------------------------------------------------- */

static int write_object(struct copy *c, const struct praas_state_info *info)
{
	struct archive_entry *entry;
	char name[NAME_BYTES];
	uint64_t version = 0;
	void *data = NULL;
	size_t bytes = 0;
	int rc = praas_state_read(c->conn, info->key, &data, &bytes, &version);

	if (rc == -ENOENT)
		return 0; /* deleted since it was listed */
	if (rc != 0)
		return fail_object(c, rc, "read", info->key);
	entry = archive_entry_new();
	key_to_name(info->key, name);
	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (la_int64_t)bytes);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_mtime(entry, (time_t)(info->modified_ns / 1000000000u),
				(long)(info->modified_ns % 1000000000u));
	if (archive_write_header(c->archive, entry) != ARCHIVE_OK ||
	    archive_write_data(c->archive, data, bytes) != (la_ssize_t)bytes)
		rc = fail_archive(c, "write");
	archive_entry_free(entry);
	free(data);
	praas_cli_progress(&c->progress, 1, bytes);
	return rc;
}

static int write_all(struct copy *c)
{
	static struct praas_state_info infos[PAGE];
	char after[PRAAS_KEY_MAX + 1] = "";
	uint32_t count = PAGE;

	while (count == PAGE) {
		int rc = praas_state_enumerate(c->conn, c->prefix, after, infos, PAGE,
					       &count);

		if (rc != 0)
			return praas_cli_fail_call(c->cli, rc, "list the state");
		for (uint32_t i = 0; i < count; i++) {
			rc = write_object(c, &infos[i]);
			if (rc != 0)
				return rc;
		}
		if (count > 0)
			memcpy(after, infos[count - 1].key, sizeof(after));
	}
	return 0;
}

/* Where the archive goes. A file gets it whole, at the end, or stays what it was; what is no file (standard
 * output, a pipe, a device) gets it as it comes. */
struct target {
	int fd;
	bool nameless;       /* an O_TMPFILE, which goes with us */
	char *path;          /* of the file; NULL: no file */
	char temp[PATH_MAX]; /* its name until it is whole */
};

static int fail_target(const struct copy *c, int error)
{
	return praas_cli_fail(PRAAS_EXIT_FAILED, "cannot write %s: %s", c->file,
			      strerror(error));
}

/* A new file beside t->path. 0 or an errno. */
static int open_beside(struct target *t, mode_t mode)
{
	size_t folder = (size_t)(strrchr(t->path, '/') - t->path) + 1;

	if (snprintf(t->temp, sizeof(t->temp), "%.*s", (int)folder, t->path) >=
	    PATH_MAX)
		return ENAMETOOLONG;
	t->fd = open(t->temp, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	t->nameless = t->fd >= 0;
	if (snprintf(t->temp + folder, sizeof(t->temp) - folder, ".praas-%ld.XXXXXX",
		     (long)getpid()) >= (int)(sizeof(t->temp) - folder))
		return ENAMETOOLONG;
	if (!t->nameless) /* not every file system can */
		t->fd = mkostemp(t->temp, O_CLOEXEC);
	return t->fd >= 0 && fchmod(t->fd, mode) == 0 ? 0 : errno;
}

static int target_open(const struct copy *c, struct target *t)
{
	struct stat st;
	mode_t mask;
	int rc;

	*t = (struct target){ .fd = STDOUT_FILENO };
	if (strcmp(c->file, "-") == 0)
		return 0;
	if (stat(c->file, &st) == 0) {
		if (!S_ISREG(st.st_mode)) {
			t->fd = open(c->file, O_WRONLY | O_CLOEXEC);
			return t->fd >= 0 ? 0 : fail_target(c, errno);
		}
		t->path = realpath(c->file, NULL); /* where a link leads to */
	} else {
		mask = umask(0);
		(void)umask(mask); /* cannot fail */
		st.st_mode = 0666 & ~mask;
		if (asprintf(&t->path, "%s%s", strchr(c->file, '/') ? "" : "./",
			     c->file) < 0)
			t->path = NULL;
	}
	if (!t->path)
		return fail_target(c, errno);
	rc = open_beside(t, st.st_mode & 07777);
	return rc == 0 ? 0 : fail_target(c, rc);
}

/* What is written is the file from now on. */
static bool target_install(const struct target *t)
{
	char self[32];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", t->fd); /* fits */
	if (fsync(t->fd) != 0)
		return false;
	if (t->nameless &&
	    linkat(AT_FDCWD, self, AT_FDCWD, t->temp, AT_SYMLINK_FOLLOW) != 0)
		return false;
	return rename(t->temp, t->path) == 0;
}

/* rc is that of the writing. The file is there, or what was there before is. */
static int target_close(const struct copy *c, struct target *t, int rc)
{
	bool installed = t->path && rc == 0 && target_install(t);

	if (t->path && rc == 0 && !installed)
		rc = fail_target(c, errno);
	/* Half of it is of no use. One without a name has none, as a rule. */
	if (t->path && t->fd >= 0 && !installed)
		(void)unlink(t->temp);
	if (t->fd > STDERR_FILENO)
		(void)close(t->fd); /* written, or given up */
	free(t->path);
	return rc;
}

static int write_archive(struct copy *c, int fd)
{
	int rc = 0;

	c->archive = archive_write_new();
	if (!c->archive)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "no memory");
	if (archive_write_set_format_pax(c->archive) != ARCHIVE_OK ||
	    archive_write_open_fd(c->archive, fd) != ARCHIVE_OK)
		rc = fail_archive(c, "write");
	if (rc == 0)
		rc = write_all(c);
	praas_cli_progress_end(&c->progress);
	if (archive_write_close(c->archive) != ARCHIVE_OK && rc == 0)
		rc = fail_archive(c, "write");
	(void)archive_write_free(c->archive); /* closed */
	return rc;
}

static int export_to(struct copy *c)
{
	struct target t;
	int rc = target_open(c, &t);

	if (rc == 0)
		rc = write_archive(c, t.fd);
	return target_close(c, &t, rc);
}

static int state_export(struct praas_cli *cli, int argc, char **argv)
{
	struct copy c = { .cli = cli, .file = "-", .prefix = "" };
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &c.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &c.pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &c.file,
		  .arg = "FILE",
		  .optional = true },
		{ .name = "prefix",
		  .kind = PRAAS_CLI_TEXT,
		  .value = &c.prefix,
		  .arg = "TEXT",
		  .help = "Only objects whose key begins with it" },
		{ 0 },
	};
	int rc;

	praas_cli_parse(cli,
			"Write the state of a process as a tar archive to FILE, or to "
			"standard output. Each object is as it was when it was read; "
			"for all of one moment, let no function run meanwhile.",
			options, argc, argv);
	if (strcmp(c.file, "-") == 0 && isatty(STDOUT_FILENO))
		return praas_cli_fail(PRAAS_EXIT_USAGE,
				      "an archive is not for a terminal: praas state "
				      "export %s %s FILE",
				      c.app, c.pid);
	names_are_utf8();
	rc = praas_cli_connect(cli, c.app, c.pid, &c.conn);
	if (rc == 0)
		rc = export_to(&c);
	praas_close(c.conn);
	return rc;
}

/* ---- import ----------------------------------------------------------------------- */

static int read_object(struct copy *c, struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);
	la_int64_t bytes = archive_entry_size(entry);
	char key[PRAAS_KEY_MAX + 1];
	char *data;
	int rc;

	if (archive_entry_filetype(entry) == AE_IFDIR)
		return 0; /* of a tar made from files: only files are objects */
	if (!name || archive_entry_filetype(entry) != AE_IFREG ||
	    !name_to_key(name, key))
		return praas_cli_fail(PRAAS_EXIT_FAILED,
				      "cannot take %s from %s: it is no file with a "
				      "name of 1 to 255 bytes",
				      name ? name : "an entry without a name", c->file);
	data = malloc(bytes > 0 ? (size_t)bytes : 1);
	if (!data)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "no memory for '%s'", key);
	if (archive_read_data(c->archive, data, (size_t)bytes) != bytes) {
		free(data);
		return fail_archive(c, "read");
	}
	rc = praas_state_write(c->conn, key, data, (size_t)bytes);
	free(data);
	if (rc != 0)
		return fail_object(c, rc, "write", key);
	praas_cli_progress(&c->progress, 1, (uint64_t)bytes);
	return 0;
}

static int import_from(struct copy *c)
{
	struct archive_entry *entry;
	int found = ARCHIVE_OK;
	int rc = 0;

	c->archive = archive_read_new();
	if (!c->archive)
		return praas_cli_fail(PRAAS_EXIT_FAILED, "no memory");
	if (archive_read_support_format_tar(c->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_all(c->archive) < ARCHIVE_WARN ||
	    archive_read_open_filename(c->archive,
				       strcmp(c->file, "-") == 0 ? NULL : c->file,
				       65536) != ARCHIVE_OK)
		rc = fail_archive(c, "read");
	while (rc == 0 && found != ARCHIVE_EOF) {
		found = archive_read_next_header(c->archive, &entry);
		if (found == ARCHIVE_OK)
			rc = read_object(c, entry);
		else if (found != ARCHIVE_EOF)
			rc = fail_archive(c, "read");
	}
	praas_cli_progress_end(&c->progress);
	(void)archive_read_free(c->archive); /* read only */
	if (!c->cli->json)
		(void)printf("%lu objects written\n", (unsigned long)c->progress.done);
	return rc;
}

static int state_import(struct praas_cli *cli, int argc, char **argv)
{
	struct copy c = { .cli = cli, .file = "-" };
	const struct praas_cli_option options[] = {
		{ .kind = PRAAS_CLI_NAME, .value = &c.app, .arg = "APP" },
		{ .kind = PRAAS_CLI_NAME, .value = &c.pid, .arg = "PID" },
		{ .kind = PRAAS_CLI_TEXT,
		  .value = &c.file,
		  .arg = "FILE",
		  .optional = true },
		{ 0 },
	};
	int rc;

	praas_cli_parse(cli,
			"Write the files of a tar archive (FILE, or standard input; "
			"compressed or not) as objects into the state of a process. "
			"Objects of other keys stay.",
			options, argc, argv);
	names_are_utf8();
	rc = praas_cli_connect(cli, c.app, c.pid, &c.conn);
	if (rc == 0)
		rc = import_from(&c);
	praas_close(c.conn);
	return rc;
}

const struct praas_cli_verb praas_cli_archive_verbs[] = {
	{ "state", "export", state_export, "APP PID [FILE]",
	  "all of them as a tar archive" },
	{ "state", "import", state_import, "APP PID [FILE]",
	  "write a tar archive's files into it" },
	{ 0 },
};
