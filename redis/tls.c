/* SPDX-License-Identifier: Apache-2.0 */
#include "redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define ERROR_TEXT 256u

struct praas_redis_tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *io; /* OpenSSL's own for sockets raises SIGPIPE */
	char host[256];
};

struct praas_redis_tls {
	SSL *ssl;
	int fd;
	int error; /* of the socket */
	char why[ERROR_TEXT];
};

static int io_result(struct praas_redis_tls *tls, BIO *bio, ssize_t n, int retry)
{
	BIO_clear_retry_flags(bio);
	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
	else
		tls->error = -errno;
	return -1;
}

static int io_read(BIO *bio, char *data, int bytes)
{
	struct praas_redis_tls *tls = BIO_get_data(bio);

	return io_result(tls, bio, recv(tls->fd, data, (size_t)bytes, MSG_DONTWAIT),
			 BIO_FLAGS_READ);
}

static int io_write(BIO *bio, const char *data, int bytes)
{
	struct praas_redis_tls *tls = BIO_get_data(bio);

	return io_result(
		tls, bio,
		send(tls->fd, data, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL),
		BIO_FLAGS_WRITE);
}

static long io_control(BIO *bio, int command, long number, void *data)
{
	(void)bio;
	(void)number;
	(void)data;
	return command == BIO_CTRL_FLUSH; /* nothing is kept */
}

static int io_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void last_words(char *ret_text, const char *what)
{
	unsigned long error = ERR_peek_last_error();
	const char *reason = error ? ERR_reason_error_string(error) : NULL;

	(void)snprintf(ret_text, ERROR_TEXT, "%.120s: %.100s", what,
		       reason ? reason : "not accepted");
	ERR_clear_error();
}

static int load_files(SSL_CTX *ssl, const struct praas_redis_url *url, char *ret_text)
{
	const char *what = NULL;

	if (!url->ca[0] && SSL_CTX_set_default_verify_paths(ssl) != 1)
		what = "the system's certificates";
	else if (url->ca[0] && SSL_CTX_load_verify_locations(ssl, url->ca, NULL) != 1)
		what = url->ca;
	else if (url->cert[0] &&
		 SSL_CTX_use_certificate_chain_file(ssl, url->cert) != 1)
		what = url->cert;
	else if (url->cert[0] &&
		 SSL_CTX_use_PrivateKey_file(ssl, url->key, SSL_FILETYPE_PEM) != 1)
		what = url->key; /* not the key of that certificate, too */
	if (what)
		last_words(ret_text, what);
	return what ? -EINVAL : 0;
}

int praas_redis_tls_context_new(const struct praas_redis_url *url,
				struct praas_redis_tls_context **ret_context,
				char *ret_text)
{
	struct praas_redis_tls_context *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (!c)
		return rc;
	(void)snprintf(c->host, sizeof(c->host), "%s", url->host);
	c->ssl = SSL_CTX_new(TLS_client_method());
	c->io = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "redis");
	if (c->ssl && c->io && BIO_meth_set_read(c->io, io_read) &&
	    BIO_meth_set_write(c->io, io_write) &&
	    BIO_meth_set_ctrl(c->io, io_control) &&
	    BIO_meth_set_create(c->io, io_create) &&
	    SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION)) {
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
		(void)SSL_CTX_set_mode(c->ssl,
				       SSL_MODE_ENABLE_PARTIAL_WRITE |
					       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		rc = load_files(c->ssl, url, ret_text);
	}
	if (rc)
		praas_redis_tls_context_free(c);
	else
		*ret_context = c;
	return rc;
}

void praas_redis_tls_context_free(struct praas_redis_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	BIO_meth_free(context->io);
	free(context);
}

/* The name, or the address, that its certificate must have. */
static bool expect(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	uint8_t address[16];

	if (inet_pton(AF_INET, host, address) == 1 ||
	    inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

int praas_redis_tls_new(struct praas_redis_tls_context *context, int fd,
			struct praas_redis_tls **ret_tls)
{
	struct praas_redis_tls *tls = calloc(1, sizeof(*tls));
	BIO *bio = tls ? BIO_new(context->io) : NULL;

	if (tls)
		tls->ssl = SSL_new(context->ssl);
	if (!bio || !tls->ssl || !expect(tls->ssl, context->host)) {
		(void)BIO_free(bio);
		praas_redis_tls_free(tls);
		return -ENOMEM;
	}
	tls->fd = fd;
	BIO_set_data(bio, tls);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_connect_state(tls->ssl);
	*ret_tls = tls;
	return 0;
}

void praas_redis_tls_free(struct praas_redis_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

static ssize_t failed(struct praas_redis_tls *tls, int result, short *ret_events)
{
	long verify = SSL_get_verify_result(tls->ssl);

	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*ret_events = POLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_events = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		return tls->error ? tls->error : -ECONNRESET;
	default:
		if (verify != X509_V_OK) {
			(void)snprintf(tls->why, sizeof(tls->why),
				       "its certificate is not believed: %s",
				       X509_verify_cert_error_string(verify));
			ERR_clear_error();
			return -EACCES;
		}
		last_words(tls->why, "TLS");
		return -ECONNREFUSED;
	}
}

ssize_t praas_redis_tls_read(struct praas_redis_tls *tls, void *data, size_t bytes,
			     short *ret_events)
{
	int n;

	ERR_clear_error();
	n = SSL_read(tls->ssl, data, bytes > INT32_MAX ? INT32_MAX : (int)bytes);
	return n > 0 ? n : failed(tls, n, ret_events);
}

ssize_t praas_redis_tls_write(struct praas_redis_tls *tls, const void *data,
			      size_t bytes, short *ret_events)
{
	int n;

	ERR_clear_error();
	n = SSL_write(tls->ssl, data, bytes > INT32_MAX ? INT32_MAX : (int)bytes);
	return n > 0 ? n : failed(tls, n, ret_events);
}

const char *praas_redis_tls_why(const struct praas_redis_tls *tls)
{
	return tls->why;
}
