/* SPDX-License-Identifier: Apache-2.0
 *
 * What the S3 store reads from others: answers of a server (XML), of a metadata endpoint (JSON), credentials
 * files and addresses. The first byte says which.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/store/s3_credentials.h"
#include "controller/store/s3_url.h"
#include "controller/store/s3_xml.h"

static int note(void *user, const char *key)
{
	size_t *bytes = user;

	if (strlen(key) > PRAAS_S3_KEY_MAX)
		abort();
	*bytes += strlen(key);
	return 0;
}

static void read_xml(const char *text, size_t bytes)
{
	char token[PRAAS_S3_TOKEN_MAX + 1], code[PRAAS_S3_CODE_MAX + 1];
	size_t sum = 0;

	if (praas_s3_xml_list(text, bytes, note, &sum, token) == 0 &&
	    (sum > bytes || strlen(token) > bytes))
		abort();
	if (praas_s3_xml_upload(text, bytes, token) == 0 && token[0] == '\0')
		abort();
	praas_s3_xml_error(text, bytes, code);
}

static void read_credentials(const char *text, size_t bytes, int json)
{
	struct praas_s3_credentials c;
	int rc = json ? praas_s3_credentials_json(text, bytes, &c)
		      : praas_s3_credentials_file(text, "default", &c);

	if (rc == 0 && !praas_s3_credentials_valid(&c))
		abort();
}

static void read_url(const char *text)
{
	const char *why = NULL;
	struct praas_s3_url url;
	int rc = praas_s3_url_parse(text, &url, &why);

	if ((rc == 0) != (why == NULL))
		abort();
	if (rc == 0 && (strstr(url.prefix, "..") == url.prefix || url.host[0] == '\0' ||
			url.region[0] == '\0'))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text;

	if (bytes == 0)
		return 0;
	text = malloc(bytes);
	if (!text)
		abort();
	memcpy(text, data + 1, bytes - 1);
	text[bytes - 1] = '\0';
	switch (data[0] & 3) {
	case 0:
		read_xml(text, bytes - 1);
		break;
	case 1:
		read_credentials(text, bytes - 1, 1);
		break;
	case 2:
		read_credentials(text, strlen(text), 0);
		break;
	default:
		read_url(text);
		break;
	}
	free(text);
	return 0;
}
