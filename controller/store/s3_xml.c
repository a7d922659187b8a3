/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/store/s3_xml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <expat.h>

#define DEPTH_MAX 8u
#define PATH_MAX_BYTES 128u

/* The text of one element. */
struct wanted {
	const char *path; /* "/ListBucketResult/Contents/Key" */
	char *text;
	size_t room;
	bool many; /* each goes to fn; else the first and only one stays */
};

struct reading {
	XML_Parser parser;
	char path[PATH_MAX_BYTES]; /* of the element that is open */
	size_t path_bytes[DEPTH_MAX];
	unsigned depth;
	struct wanted *wanted;
	size_t wanted_count;
	struct wanted *open; /* takes text; NULL: nobody */
	size_t bytes;        /* of its text */
	praas_s3_key_fn fn;
	void *user;
	bool root; /* has been seen, and was the one that was hoped for */
	int rc;
};

static void stop(struct reading *r, int rc)
{
	if (r->rc == 0)
		r->rc = rc;
	(void)XML_StopParser(r->parser, XML_FALSE); /* once is enough */
}

/* Without the namespace that a prefix may name. */
static const char *local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static void XMLCALL on_start(void *user, const XML_Char *name,
			     const XML_Char **attributes)
{
	struct reading *r = user;
	size_t before = r->depth > 0 ? r->path_bytes[r->depth - 1] : 0;
	size_t bytes = strlen(local(name));

	(void)attributes;
	if (r->depth == DEPTH_MAX || before + bytes + 2 > sizeof(r->path)) {
		stop(r, -EPROTO);
		return;
	}
	r->path[before] = '/';
	memcpy(r->path + before + 1, local(name), bytes + 1);
	r->path_bytes[r->depth++] = before + 1 + bytes;
	r->open = NULL;
	for (size_t i = 0; i < r->wanted_count; i++) {
		size_t root = strcspn(r->wanted[i].path + 1, "/") + 1;

		if (r->depth == 1 && root == r->path_bytes[0] &&
		    strncmp(r->path, r->wanted[i].path, root) == 0)
			r->root = true;
		if (strcmp(r->path, r->wanted[i].path) == 0)
			r->open = &r->wanted[i];
	}
	if (!r->root) {
		stop(r, -EPROTO);
		return;
	}
	r->bytes = 0;
	if (r->open && !r->open->many && r->open->text[0] != '\0')
		stop(r, -EPROTO); /* twice */
}

static void XMLCALL on_text(void *user, const XML_Char *text, int length)
{
	struct reading *r = user;
	size_t bytes = (size_t)length;

	if (!r->open)
		return;
	if (r->bytes + bytes >= r->open->room || memchr(text, '\0', bytes)) {
		stop(r, -EPROTO);
		return;
	}
	memcpy(r->open->text + r->bytes, text, bytes);
	r->bytes += bytes;
	r->open->text[r->bytes] = '\0';
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
	struct reading *r = user;

	(void)name;
	if (r->rc != 0)
		return; /* an empty element ends even when its start has stopped all */
	if (r->open && r->open->many) {
		int rc;

		r->open->text[r->bytes] = '\0';
		rc = r->fn(r->user, r->open->text);
		if (rc != 0)
			stop(r, rc);
	}
	r->open = NULL;
	r->depth--;
	r->path[r->depth > 0 ? r->path_bytes[r->depth - 1] : 0] = '\0';
}

/* No S3 server has a reason to send one, and with it there could be entities. */
static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system,
			       const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	stop(user, -EPROTO);
}

static int run(struct reading *r, const char *data, size_t bytes)
{
	enum XML_Status status;

	if (bytes > PRAAS_S3_XML_MAX)
		return -EPROTO;
	r->parser = XML_ParserCreate(NULL);
	if (!r->parser)
		return -ENOMEM;
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	status = XML_Parse(r->parser, data, (int)bytes, 1);
	if (r->rc == 0 && status != XML_STATUS_OK)
		r->rc = XML_GetErrorCode(r->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM
									   : -EPROTO;
	XML_ParserFree(r->parser);
	return r->rc;
}

static int list(const char *data, size_t bytes, const char *path, praas_s3_key_fn fn,
		void *user, char ret_token[PRAAS_S3_TOKEN_MAX + 1])
{
	char key[PRAAS_S3_KEY_MAX + 1] = "", more[8] = "";
	struct wanted wanted[] = {
		{ path, key, sizeof(key), true },
		{ "/ListBucketResult/IsTruncated", more, sizeof(more), false },
		{ "/ListBucketResult/NextContinuationToken", ret_token,
		  PRAAS_S3_TOKEN_MAX + 1, false },
	};
	struct reading r = {
		.wanted = wanted, .wanted_count = 3, .fn = fn, .user = user
	};
	int rc;

	ret_token[0] = '\0';
	rc = run(&r, data, bytes);
	if (rc != 0)
		return rc;
	if (strcmp(more, "true") == 0)
		return ret_token[0] != '\0' ? 0 : -EPROTO;
	ret_token[0] = '\0';
	return 0;
}

int praas_s3_xml_list(const char *data, size_t bytes, praas_s3_key_fn fn, void *user,
		      char ret_token[PRAAS_S3_TOKEN_MAX + 1])
{
	return list(data, bytes, "/ListBucketResult/Contents/Key", fn, user, ret_token);
}

int praas_s3_xml_folders(const char *data, size_t bytes, praas_s3_key_fn fn, void *user,
			 char ret_token[PRAAS_S3_TOKEN_MAX + 1])
{
	return list(data, bytes, "/ListBucketResult/CommonPrefixes/Prefix", fn, user,
		    ret_token);
}

int praas_s3_xml_upload(const char *data, size_t bytes,
			char ret_id[PRAAS_S3_TOKEN_MAX + 1])
{
	struct wanted wanted = { "/InitiateMultipartUploadResult/UploadId", ret_id,
				 PRAAS_S3_TOKEN_MAX + 1, false };
	struct reading r = { .wanted = &wanted, .wanted_count = 1 };
	int rc;

	ret_id[0] = '\0';
	rc = run(&r, data, bytes);
	return rc == 0 && ret_id[0] == '\0' ? -EPROTO : rc;
}

void praas_s3_xml_error(const char *data, size_t bytes,
			char ret_code[PRAAS_S3_CODE_MAX + 1])
{
	struct wanted wanted = { "/Error/Code", ret_code, PRAAS_S3_CODE_MAX + 1,
				 false };
	struct reading r = { .wanted = &wanted, .wanted_count = 1 };

	ret_code[0] = '\0';
	if (run(&r, data, bytes) != 0 ||
	    ret_code[strspn(ret_code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz0123456789.")] != '\0')
		ret_code[0] = '\0'; /* it goes to logs */
}
