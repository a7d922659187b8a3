/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials from the endpoint of the task (containers) or of the instance (virtual machines).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "controller/store/s3_credentials.h"

#define ANSWER_MAX (64u * 1024u)
#define URL_MAX 512u
#define TIMEOUT_MS 1000L
#define TASK_HOST "http://169.254.170.2"
#define INSTANCE_HOST "http://169.254.169.254"
#define ROLES "/latest/meta-data/iam/security-credentials/"

struct answer {
	char data[ANSWER_MAX];
	size_t bytes;
};

static const char *environment(const char *name)
{
	const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): never set

	return value && *value ? value : NULL;
}

static size_t on_data(char *data, size_t size, size_t count, void *user)
{
	struct answer *a = user;
	size_t bytes = size * count;

	if (bytes >= sizeof(a->data) - a->bytes)
		return 0; /* which ends the request */
	memcpy(a->data + a->bytes, data, bytes);
	a->bytes += bytes;
	a->data[a->bytes] = '\0';
	return bytes;
}

/* header: one line, or NULL. -ENOENT: nobody is there; -EIO: not 200. */
static int ask(const char *method, const char *url, const char *header,
	       struct answer *ret_answer)
{
	struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
	CURL *easy = curl_easy_init();
	CURLcode code;
	long status = 0;

	ret_answer->bytes = 0;
	ret_answer->data[0] = '\0';
	if (!easy || (header && !headers)) {
		curl_easy_cleanup(easy);
		curl_slist_free_all(headers);
		return -ENOMEM;
	}
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, ret_answer);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	code = curl_easy_perform(easy);
	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
		return -ENOENT;
	return code == CURLE_OK && status == 200 ? 0 : -EIO;
}

/* One line, without what would end a header or, least being '!', a URL. */
static int one_line(char *text, char least)
{
	text[strcspn(text, "\r\n")] = '\0';
	for (const char *c = text; *c != '\0'; c++) {
		if (*c < least || *c > '~')
			return -EPROTO;
	}
	return text[0] != '\0' ? 0 : -EPROTO;
}

/* ---- task ---- */

static int token_of_file(const char *path, char *ret_text, size_t room)
{
	FILE *f = fopen(path, "re");
	char *got = f ? fgets(ret_text, (int)room, f) : NULL;

	if (f)
		(void)fclose(f); /* read only */
	return got ? one_line(ret_text, ' ') : -EIO;
}

static int from_task(struct answer *a, struct praas_s3_credentials *ret_found)
{
	const char *relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *token = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	const char *file = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	char url[URL_MAX], text[PRAAS_S3_SESSION_MAX] = "",
			   header[PRAAS_S3_SESSION_MAX + 32];
	int n, rc = 0;

	if (!relative && !full)
		return -ENOENT;
	n = relative ? snprintf(url, sizeof(url), TASK_HOST "%s", relative)
		     : snprintf(url, sizeof(url), "%s", full);
	if (n < 0 || n >= (int)sizeof(url) || (relative && relative[0] != '/'))
		return -EPROTO;
	if (file)
		rc = token_of_file(file, text, sizeof(text));
	else if (token && snprintf(text, sizeof(text), "%s", token) < (int)sizeof(text))
		rc = one_line(text, ' ');
	(void)snprintf(header, sizeof(header), "Authorization: %s", text); /* fits */
	if (rc == 0)
		rc = ask("GET", url, text[0] != '\0' ? header : NULL, a);
	if (rc == 0)
		rc = praas_s3_credentials_json(a->data, a->bytes, ret_found);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(header, sizeof(header));
	return rc == -ENOENT ? -EIO : rc; /* the environment says that it is there */
}

/* ---- instance ---- */

static int from_instance(struct answer *a, struct praas_s3_credentials *ret_found)
{
	const char *host = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *disabled = environment("AWS_EC2_METADATA_DISABLED");
	char url[URL_MAX], token[URL_MAX + 32], role[128];
	int rc;

	if (disabled && strcmp(disabled, "true") == 0)
		return -ENOENT;
	host = host ? host : INSTANCE_HOST;
	if (snprintf(url, sizeof(url), "%s/latest/api/token", host) >= (int)sizeof(url))
		return -EPROTO;
	rc = ask("PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 300", a);
	if (rc == -EIO)
		return -ENOENT; /* somebody else's host, or no such service */
	if (rc == 0)
		rc = one_line(a->data, '!');
	if (rc == 0 && snprintf(token, sizeof(token), "X-aws-ec2-metadata-token: %s",
				a->data) >= (int)sizeof(token))
		rc = -EPROTO;
	(void)snprintf(url, sizeof(url), "%.256s" ROLES, host);
	if (rc == 0)
		rc = ask("GET", url, token, a);
	if (rc == 0)
		rc = one_line(a->data, '!');
	if (rc == 0 && snprintf(role, sizeof(role), "%s", a->data) >= (int)sizeof(role))
		rc = -EPROTO;
	(void)snprintf(url, sizeof(url), "%.256s" ROLES "%s", host, role);
	if (rc == 0)
		rc = ask("GET", url, token, a);
	if (rc == 0)
		rc = praas_s3_credentials_json(a->data, a->bytes, ret_found);
	explicit_bzero(token, sizeof(token));
	return rc;
}

int praas_s3_metadata(struct praas_s3_credentials *ret_found, const char **ret_why)
{
	struct answer *a = malloc(sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	rc = from_task(a, ret_found);
	if (rc == -ENOENT) {
		rc = from_instance(a, ret_found);
		if (rc != 0 && rc != -ENOENT)
			*ret_why = "the instance's metadata endpoint gives no "
				   "credentials";
	} else if (rc != 0) {
		*ret_why = "the task's metadata endpoint gives no credentials";
	}
	explicit_bzero(a, sizeof(*a));
	free(a);
	return rc;
}
