/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "controller/store/sigv4.h"

/*
 * The signatures that AWS publishes for its examples (S3 API reference, "Signature Calculations for the
 * Authorization Header"; the general test suite's plainest request). tests/s3/oracle.py compares with another
 * implementation.
 */

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST                                                                           \
	{                                                                              \
		"host", "examplebucket.s3.amazonaws.com"                               \
	}
#define DATE                                                                           \
	{                                                                              \
		"x-amz-date", "20130524T000000Z"                                       \
	}

static const struct praas_sigv4_scope scope = {
	.key_id = "AKIAIOSFODNN7EXAMPLE",
	.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	.region = "us-east-1",
	.service = "s3",
	.date = "20130524T000000Z",
};

static void expect_signature(const struct praas_sigv4_request *r,
			     const struct praas_sigv4_scope *s, const char *wanted)
{
	struct praas_sigv4_signed got;
	const char *at;

	assert_int_equal(praas_sigv4_sign(r, s, &got), 0);
	at = strstr(got.authorization, "Signature=");
	assert_non_null(at);
	assert_string_equal(at + strlen("Signature="), wanted);
}

/* A GET of a range. */
static void test_sigv4_get_object_is_as_published(void **state)
{
	const struct praas_sigv4_pair headers[] = {
		HOST, DATE, { "range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY }
	};
	const struct praas_sigv4_request r = { .method = "GET",
					       .path = "/test.txt",
					       .headers = headers,
					       .headers_count = 4,
					       .payload_hash = EMPTY };
	struct praas_sigv4_signed got;

	(void)state;
	expect_signature(
		&r, &scope,
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), 0);
	assert_string_equal(got.target, "/test.txt");
	assert_string_equal(
		got.authorization,
		"AWS4-HMAC-SHA256 "
		"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature="
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

/* A PUT with a name that has to be encoded. */
static void test_sigv4_put_object_is_as_published(void **state)
{
	char hash[PRAAS_SIGV4_HASH_TEXT];
	struct praas_sigv4_pair headers[] = {
		HOST,
		DATE,
		{ "date", "Fri, 24 May 2013 00:00:00 GMT" },
		{ "x-amz-content-sha256", hash },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" }
	};
	const struct praas_sigv4_request r = { .method = "PUT",
					       .path = "/test$file.text",
					       .headers = headers,
					       .headers_count = 5,
					       .payload_hash = hash };
	struct praas_sigv4_signed got;

	(void)state;
	assert_int_equal(praas_sigv4_hash("Welcome to Amazon S3.", 21, hash), 0);
	expect_signature(
		&r, &scope,
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), 0);
	assert_string_equal(got.target, "/test%24file.text");
}

/* Parameters: one without a value; two that come in the wrong order. */
static void test_sigv4_queries_are_as_published(void **state)
{
	const struct praas_sigv4_pair headers[] = { HOST,
						    DATE,
						    { "x-amz-content-sha256", EMPTY } };
	const struct praas_sigv4_pair lifecycle[] = { { "lifecycle", "" } };
	const struct praas_sigv4_pair list[] = { { "prefix", "J" },
						 { "max-keys", "2" } };
	struct praas_sigv4_request r = { .method = "GET",
					 .path = "/",
					 .query = lifecycle,
					 .query_count = 1,
					 .headers = headers,
					 .headers_count = 3,
					 .payload_hash = EMPTY };
	struct praas_sigv4_signed got;

	(void)state;
	expect_signature(
		&r, &scope,
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	r.query = list;
	r.query_count = 2;
	expect_signature(
		&r, &scope,
		"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), 0);
	assert_string_equal(got.target, "/?max-keys=2&prefix=J");
}

/* Another service and key: the plainest request of the general test suite. */
static void test_sigv4_vanilla_is_as_published(void **state)
{
	const struct praas_sigv4_pair headers[] = { { "host", "example.amazonaws.com" },
						    { "x-amz-date",
						      "20150830T123600Z" } };
	const struct praas_sigv4_scope s = {
		.key_id = "AKIDEXAMPLE",
		.secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1",
		.service = "service",
		.date = "20150830T123600Z"
	};
	const struct praas_sigv4_request r = { .method = "GET",
					       .path = "/",
					       .headers = headers,
					       .headers_count = 2,
					       .payload_hash = EMPTY };

	(void)state;
	expect_signature(
		&r, &s,
		"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

/* Times as the protocol writes them. */
static void test_sigv4_date_is_utc(void **state)
{
	char date[PRAAS_SIGV4_DATE_TEXT];

	(void)state;
	assert_int_equal(praas_sigv4_date(1369353600, date), 0);
	assert_string_equal(date, "20130524T000000Z");
	assert_int_equal(praas_sigv4_date((time_t)1 << 40, date), -EINVAL);
}

/* What cannot be signed is refused, not cut. */
static void test_sigv4_limits_are_errors(void **state)
{
	static char path[PRAAS_SIGV4_TARGET_BYTES];
	struct praas_sigv4_pair headers[PRAAS_SIGV4_PAIRS_MAX + 1] = { HOST, DATE };
	struct praas_sigv4_scope s = scope;
	struct praas_sigv4_request r = { .method = "GET",
					 .path = path,
					 .headers = headers,
					 .headers_count = 2,
					 .payload_hash = EMPTY };
	struct praas_sigv4_signed got;

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EINVAL); /* no '/' */
	path[0] = '/';
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), 0);
	path[1] = '%';
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EMSGSIZE);
	path[2] = '\0';
	r.query = headers;
	r.query_count = PRAAS_SIGV4_PAIRS_MAX + 1;
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EMSGSIZE);
	r.query_count = 0;
	r.headers_count = PRAAS_SIGV4_PAIRS_MAX + 1;
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EMSGSIZE);
	r.headers_count = 2;
	headers[1].name = "Host";
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EINVAL);
	headers[1].name = "host";
	assert_int_equal(praas_sigv4_sign(&r, &scope, &got), -EINVAL); /* twice */
	headers[1].name = "x-amz-date";
	s.date = "20130524";
	assert_int_equal(praas_sigv4_sign(&r, &s, &got), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sigv4_get_object_is_as_published),
		cmocka_unit_test(test_sigv4_put_object_is_as_published),
		cmocka_unit_test(test_sigv4_queries_are_as_published),
		cmocka_unit_test(test_sigv4_vanilla_is_as_published),
		cmocka_unit_test(test_sigv4_date_is_utc),
		cmocka_unit_test(test_sigv4_limits_are_errors),
	};

	return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
