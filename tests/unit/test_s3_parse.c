/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "controller/store/s3_credentials.h"
#include "controller/store/s3_url.h"
#include "controller/store/s3_verdict.h"
#include "controller/store/s3_xml.h"
#include "controller/store/store.h"

/*
 * What the S3 store reads: addresses, credentials, answers.
 */

static void expect_url(const char *text, int rc, struct praas_s3_url *ret)
{
	const char *why = NULL;
	int got = praas_s3_url_parse(text, ret, &why);

	if (got != rc)
		fail_msg("%s: %d (%s)", text, got, why ? why : "");
	assert_int_equal(why != NULL, rc != 0);
}

/* What is not said is as AWS has it. */
static void test_s3_url_defaults_are_aws(void **state)
{
	struct praas_s3_url u;

	(void)state;
	(void)unsetenv("AWS_REGION");
	(void)unsetenv("AWS_DEFAULT_REGION");
	expect_url("s3://my.bucket-1", 0, &u);
	assert_string_equal(u.bucket, "my.bucket-1");
	assert_string_equal(u.prefix, "");
	assert_string_equal(u.host, "s3.us-east-1.amazonaws.com");
	assert_true(u.tls && u.virtual_host);
	assert_int_equal(u.timeout_s, PRAAS_S3_TIMEOUT_S);
	(void)setenv("AWS_DEFAULT_REGION", "eu-west-3", 1);
	expect_url("s3://bucket/a/b/", 0, &u);
	assert_string_equal(u.prefix, "a/b");
	assert_string_equal(u.host, "s3.eu-west-3.amazonaws.com");
	(void)unsetenv("AWS_DEFAULT_REGION");
}

/* Every parameter. */
static void test_s3_url_takes_parameters(void **state)
{
	struct praas_s3_url u;

	(void)state;
	expect_url("s3://bucket/p?endpoint=https%3A%2F%2Fh:9000/"
		   "&region=here&timeout=7&ca=/"
		   "a%20b",
		   0, &u);
	assert_string_equal(u.host, "h:9000");
	assert_string_equal(u.region, "here");
	assert_string_equal(u.ca, "/a b");
	assert_int_equal(u.timeout_s, 7);
	assert_true(u.tls && !u.virtual_host);
	expect_url("s3://bucket?endpoint=http://127.0.0.1:1&style=virtual", 0, &u);
	assert_true(!u.tls && u.virtual_host);
	expect_url("s3://bucket?endpoint=http://far.example&cleartext=yes", 0, &u);
	expect_url("s3://bucket?endpoint=http://[::1]:80", 0, &u);
}

/* What would be something else than it says is refused. */
static void test_s3_url_refuses(void **state)
{
	static const char *const bad[] = {
		"s3:/bucket",
		"s3://",
		"s3://ab",
		"s3://Bucket",
		"s3://bucket-",
		"s3://buc..ket",
		"s3://bucket/../x",
		"s3://bucket//x",
		"s3://bucket/.x",
		"s3://bucket/a%2fb",
		"s3://bucket?endpoint=ftp://h",
		"s3://bucket?endpoint=http://",
		"s3://bucket?endpoint=http://h/path",
		"s3://bucket?endpoint=https://user@h",
		"s3://bucket?endpoint=http://far.example",
		"s3://bucket?endpoint=http://localhost.example",
		"s3://bucket?region=a/b",
		"s3://bucket?region=",
		"s3://bucket?style=other",
		"s3://bucket?timeout=0",
		"s3://bucket?timeout=301",
		"s3://bucket?timeout=-1",
		"s3://bucket?timeout=5s",
		"s3://bucket?ca=relative",
		"s3://bucket?ca=/a%0ab",
		"s3://bucket?ca=/a%2",
		"s3://bucket?ca=/a%",
		"s3://bucket?ca=/a%zz",
		"s3://bucket?cleartext=maybe",
		"s3://bucket?secret=x",
		"s3://bucket?region",
		"s3://a123456789012345678901234567890123456789012345678901234567890123",
	};
	char text[PRAAS_S3_PREFIX_MAX + 64];
	struct praas_s3_url u;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect_url(bad[i], -EINVAL, &u);
	memset(text, 'a', sizeof(text));
	memcpy(text, "s3://bucket/", 12);
	text[12 + PRAAS_S3_PREFIX_MAX] = '\0';
	expect_url(text, 0, &u);
	text[12 + PRAAS_S3_PREFIX_MAX] = 'a';
	text[13 + PRAAS_S3_PREFIX_MAX] = '\0';
	expect_url(text, -EINVAL, &u);
}

/* A place within a store: before what follows the '?'. */
static void test_s3_url_below(void **state)
{
	char url[64];

	(void)state;
	assert_int_equal(praas_store_url_below("s3://bucket/p/?region=x", "a/1-1", url,
					       sizeof(url)),
			 0);
	assert_string_equal(url, "s3://bucket/p/a/1-1?region=x");
	assert_int_equal(praas_store_url_below("file:///d", "a", url, sizeof(url)), 0);
	assert_string_equal(url, "file:///d/a");
	assert_int_equal(praas_store_url_below("file:///d", "a", url, 11),
			 -ENAMETOOLONG);
}

/* Files as other tools write them. */
static void test_s3_credentials_file(void **state)
{
	static const char text[] = "# mine\n"
				   "[other]\naws_access_key_id = NO\n"
				   "aws_secret_access_key=NO\n"
				   "[ default ]\r\n"
				   "aws_access_key_id=AK\r\n"
				   "aws_secret_access_key = a/b+c=\r\n"
				   "region = x\n; a comment\n"
				   "[temporary]\naws_access_key_id=T\n"
				   "aws_secret_access_key=S\n"
				   "aws_session_token=tok==";
	struct praas_s3_credentials c;

	(void)state;
	assert_int_equal(praas_s3_credentials_file(text, "default", &c), 0);
	assert_string_equal(c.key_id, "AK");
	assert_string_equal(c.secret, "a/b+c=");
	assert_string_equal(c.session, "");
	assert_int_equal(praas_s3_credentials_file(text, "temporary", &c), 0);
	assert_string_equal(c.session, "tok==");
	assert_int_equal(praas_s3_credentials_file(text, "missing", &c), -ENOENT);
	assert_int_equal(praas_s3_credentials_file("", "default", &c), -ENOENT);
	assert_int_equal(praas_s3_credentials_file("[default]\naws_access_key_id=A",
						   "default", &c),
			 -EPROTO);
	assert_int_equal(praas_s3_credentials_file("[default]\naws_access_key_id=A B\n"
						   "aws_secret_access_key=S",
						   "default", &c),
			 -EPROTO);
}

/* Metadata endpoints tell when they expire. */
static void test_s3_credentials_json(void **state)
{
	static const char good[] = "{\"Code\":\"Success\",\"AccessKeyId\":\"A\","
				   "\"SecretAccessKey\":\"S\",\"Token\":\"T\","
				   "\"Expiration\":\"2026-01-31T12:00:00Z\"}";
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"AccessKeyId\":\"A\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":5}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Expiration\":"
		"\"soon\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"a\\nb\"}",
		"{\"AccessKeyId\":\"A/B\",\"SecretAccessKey\":\"S\"}"
	};
	struct praas_s3_credentials c;

	(void)state;
	assert_int_equal(praas_s3_credentials_json(good, sizeof(good) - 1, &c), 0);
	assert_string_equal(c.session, "T");
	assert_int_equal(c.expires_s, 1769860800);
	assert_false(praas_s3_credentials_fresh(
		&(struct praas_s3_credentials){ .expires_s = time(NULL) + 299 }));
	assert_true(praas_s3_credentials_fresh(
		&(struct praas_s3_credentials){ .expires_s = time(NULL) + 310 }));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(praas_s3_credentials_json(bad[i], strlen(bad[i]), &c),
				 -EPROTO);
}

/* Each answer, and each way to get none. */
static void test_s3_verdicts(void **state)
{
	static const struct {
		int transport;
		long status;
		const char *code;
		struct praas_s3_verdict wanted;
	} rows[] = {
		{ CURLE_OK, 200, "", { PRAAS_S3_DONE, 0, true } },
		{ CURLE_OK, 204, "", { PRAAS_S3_DONE, 0, true } },
		{ CURLE_OK, 301, "PermanentRedirect", { PRAAS_S3_DONE, -EIO, false } },
		{ CURLE_OK, 400, "InvalidRequest", { PRAAS_S3_DONE, -EIO, false } },
		{ CURLE_OK, 400, "BadDigest", { PRAAS_S3_AGAIN, -EIO, false } },
		{ CURLE_OK, 400, "ExpiredToken", { PRAAS_S3_KEYS, -EACCES, false } },
		{ CURLE_OK, 403, "", { PRAAS_S3_DONE, -EACCES, false } },
		{ CURLE_OK, 403, "QuotaExceeded", { PRAAS_S3_DONE, -ENOSPC, false } },
		{ CURLE_OK, 404, "NoSuchKey", { PRAAS_S3_DONE, -ENOENT, false } },
		{ CURLE_OK, 404, "NoSuchBucket", { PRAAS_S3_DONE, -EACCES, false } },
		{ CURLE_OK,
		  409,
		  "ConditionalRequestConflict",
		  { PRAAS_S3_AGAIN, -EIO, false } },
		{ CURLE_OK, 412, "", { PRAAS_S3_DONE, -EEXIST, false } },
		{ CURLE_OK, 416, "InvalidRange", { PRAAS_S3_DONE, 0, true } },
		{ CURLE_OK, 429, "", { PRAAS_S3_SLOWER, -EIO, true } },
		{ CURLE_OK, 500, "InternalError", { PRAAS_S3_AGAIN, -EIO, true } },
		{ CURLE_OK, 501, "", { PRAAS_S3_DONE, -EOPNOTSUPP, false } },
		{ CURLE_OK, 502, "", { PRAAS_S3_AGAIN, -EIO, true } },
		{ CURLE_OK, 503, "SlowDown", { PRAAS_S3_SLOWER, -EIO, true } },
		{ CURLE_OK, 504, "", { PRAAS_S3_AGAIN, -EIO, true } },
		{ CURLE_OK, 507, "", { PRAAS_S3_DONE, -ENOSPC, false } },
		{ CURLE_COULDNT_CONNECT, 0, "", { PRAAS_S3_AGAIN, -EIO, false } },
		{ CURLE_RECV_ERROR, 0, "", { PRAAS_S3_AGAIN, -EIO, true } },
		{ CURLE_PARTIAL_FILE, 200, "", { PRAAS_S3_AGAIN, -EIO, true } },
		{ CURLE_PEER_FAILED_VERIFICATION,
		  0,
		  "",
		  { PRAAS_S3_DONE, -EACCES, false } },
		{ CURLE_OUT_OF_MEMORY, 0, "", { PRAAS_S3_DONE, -ENOMEM, true } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct praas_s3_verdict got =
			praas_s3_judge(rows[i].transport, rows[i].status, rows[i].code);

		if (got.what != rows[i].wanted.what || got.rc != rows[i].wanted.rc ||
		    got.applied != rows[i].wanted.applied)
			fail_msg("row %zu: %d %d %d", i, (int)got.what, got.rc,
				 got.applied);
	}
}

struct keys {
	unsigned count;
	char last[PRAAS_S3_KEY_MAX + 1];
};

static int note(void *user, const char *key)
{
	struct keys *k = user;

	k->count++;
	(void)snprintf(k->last, sizeof(k->last), "%s", key);
	return strcmp(key, "stop") == 0 ? -ECANCELED : 0;
}

static int list(const char *text, struct keys *k, char *token)
{
	*k = (struct keys){ 0 };
	return praas_s3_xml_list(text, strlen(text), note, k, token);
}

static int upload(const char *text, char *ret_id)
{
	return praas_s3_xml_upload(text, strlen(text), ret_id);
}

static void error_of(const char *text, char *ret_code)
{
	praas_s3_xml_error(text, strlen(text), ret_code);
}

/* A page, as several servers write it. */
static void test_s3_xml_list(void **state)
{
	char token[PRAAS_S3_TOKEN_MAX + 1];
	struct keys k;

	(void)state;
	assert_int_equal(
		list("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\">"
		     "<Name>b</Name><Prefix>p&amp;</Prefix><IsTruncated>true</"
		     "IsTruncated>"
		     "<Contents><Key>a&amp;b</Key><Owner><ID>x</ID></Owner></Contents>"
		     "<Contents><Size>1</Size><Key>c</Key></Contents>"
		     "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes>"
		     "<NextContinuationToken>t+/=</NextContinuationToken></"
		     "ListBucketResult>",
		     &k, token),
		0);
	assert_int_equal(k.count, 2);
	assert_string_equal(k.last, "c");
	assert_string_equal(token, "t+/=");
	assert_int_equal(list("<s:ListBucketResult xmlns:s='x'><s:Contents><s:Key>é"
			      "</s:Key></s:Contents></s:ListBucketResult>",
			      &k, token),
			 0);
	assert_string_equal(k.last, "é");
	assert_string_equal(token, "");
	assert_int_equal(list("<ListBucketResult><Contents><Key>stop</Key></Contents>"
			      "<Contents><Key>z</Key></Contents></ListBucketResult>",
			      &k, token),
			 -ECANCELED);
	assert_int_equal(k.count, 1);
}

/* What is no such document, or more than there may be. */
static void test_s3_xml_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"no",
		"<ListBucketResult>",
		"<Error><Code>x</Code></Error>",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
		"<ListBucketResult><IsTruncated>false</IsTruncated>"
		"<IsTruncated>true</IsTruncated></ListBucketResult>",
		"<ListBucketResult><IsTruncated>truetrue</IsTruncated></"
		"ListBucketResult>",
		"<!DOCTYPE x [<!ENTITY a 'b'>]><ListBucketResult></ListBucketResult>",
		"<ListBucketResult><a><a><a><a><a><a><a><a></a></a></a></a></a></a></"
		"a></a>"
		"</ListBucketResult>",
	};
	char token[PRAAS_S3_TOKEN_MAX + 1], id[PRAAS_S3_TOKEN_MAX + 1];
	char code[PRAAS_S3_CODE_MAX + 1];
	char *large = malloc(PRAAS_S3_XML_MAX + 1);
	struct keys k;

	(void)state;
	assert_non_null(large);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (list(bad[i], &k, token) != -EPROTO)
			fail_msg("row %zu", i);
	}
	/* An empty element ends, though its start was refused. */
	memset(large, 'n', 200);
	large[0] = '<';
	memcpy(large + 200, "/>", 3);
	assert_int_equal(list(large, &k, token), -EPROTO);
	memset(large, ' ', PRAAS_S3_XML_MAX + 1);
	assert_int_equal(
		praas_s3_xml_list(large, PRAAS_S3_XML_MAX + 1, note, &k, token),
		-EPROTO);
	memset(large, 'k', PRAAS_S3_XML_MAX);
	memcpy(large, "<ListBucketResult><Contents><Key>", 33);
	memcpy(large + 33 + PRAAS_S3_KEY_MAX + 1,
	       "</Key></Contents></ListBucketResult>", 37);
	assert_int_equal(list(large, &k, token), -EPROTO);
	memcpy(large + 33 + PRAAS_S3_KEY_MAX, "</Key></Contents></ListBucketResult>",
	       37);
	assert_int_equal(list(large, &k, token), 0);
	free(large);
	assert_int_equal(upload("<InitiateMultipartUploadResult/>", id), -EPROTO);
	error_of("<Error><Code>SlowDown</Code></Error>", code);
	assert_string_equal(code, "SlowDown");
	error_of("<Error><Code>a\nb</Code></Error>", code);
	assert_string_equal(code, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s3_url_defaults_are_aws),
		cmocka_unit_test(test_s3_url_takes_parameters),
		cmocka_unit_test(test_s3_url_refuses),
		cmocka_unit_test(test_s3_url_below),
		cmocka_unit_test(test_s3_credentials_file),
		cmocka_unit_test(test_s3_credentials_json),
		cmocka_unit_test(test_s3_verdicts),
		cmocka_unit_test(test_s3_xml_list),
		cmocka_unit_test(test_s3_xml_refuses),
	};

	return cmocka_run_group_tests_name("s3_parse", tests, NULL, NULL);
}
