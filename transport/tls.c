/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "internal/base.h"
#include "transport/mac.h"

/*
 * OpenSSL reads and writes through a BIO of ours: its own for sockets raises SIGPIPE, and memory
 * BIOs would grow and copy. A record that the socket does not take is kept by OpenSSL, which wants
 * to be asked again with the same bytes: `retry` is how many.
 *
 * In steady state we allocate nothing. OpenSSL keeps its read and write buffers, about 17 KB each,
 * with the connection, and takes and gives back a few small pieces of memory per record.
 */

#define SUITE "TLS_AES_128_GCM_SHA256" /* a PSK belongs to a hash: SHA-256 */
#define GROUPS "X25519:P-256"
/* AES-GCM is good for 2^24.5 records of 16 KiB under one key. */
#define REKEY_RECORDS (UINT64_C(1) << 22)

static const uint8_t suite_id[2] = { 0x13, 0x01 };
static const uint8_t protocol[8] = { 7, 'p', 'r', 'a', 'a', 's', '/', '1' };

struct praas_tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *io;
	praas_tls_key_fn key;
	void *user;
	uint8_t stage[PRAAS_TLS_RECORD_BYTES]; /* a record gathered from pieces */
};

struct praas_tls {
	struct praas_tls_context *context;
	SSL *ssl;
	int fd;
	int error;      /* of the socket, negative; 0 none */
	bool eof;       /* of the socket */
	bool broken;    /* no record can follow */
	bool done;      /* the handshake */
	bool more;      /* the record being written is followed by another at once */
	bool unread;    /* see praas_tls_unread() */
	uint64_t retry; /* bytes of the record that is only half out */
	uint64_t records;
	char identity[PRAAS_TLS_IDENTITY_BYTES + 1]; /* client */
	uint8_t key[PRAAS_KEY_BYTES];                /* client; wiped when done */
};

/* ---- the socket ---- */

static int io_result(struct praas_tls *tls, BIO *bio, ssize_t n, int retry_flags)
{
	BIO_clear_retry_flags(bio);
	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		BIO_set_flags(bio, retry_flags | BIO_FLAGS_SHOULD_RETRY);
	else
		tls->error = -errno;
	return -1;
}

static int io_read(BIO *bio, char *data, int bytes)
{
	struct praas_tls *tls = BIO_get_data(bio);
	ssize_t n = recv(tls->fd, data, (size_t)bytes, MSG_DONTWAIT);

	tls->eof = tls->eof || n == 0;
	return io_result(tls, bio, n, BIO_FLAGS_READ);
}

static int io_write(BIO *bio, const char *data, int bytes)
{
	struct praas_tls *tls = BIO_get_data(bio);
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (tls->more ? MSG_MORE : 0);

	return io_result(tls, bio, send(tls->fd, data, (size_t)bytes, flags),
			 BIO_FLAGS_WRITE);
}

static long io_ctrl(BIO *bio, int what, long number, void *pointer)
{
	const struct praas_tls *tls = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	if (what == BIO_CTRL_EOF)
		return tls->eof;
	return what == BIO_CTRL_FLUSH; /* nothing is held back */
}

/* ---- who has which key ---- */

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int praas_tls_identity_decode(const uint8_t *text, size_t bytes,
			      uint8_t ret_ticket[PRAAS_TICKET_BYTES])
{
	if (bytes != PRAAS_TLS_IDENTITY_BYTES)
		return -EPROTO;
	for (size_t i = 0; i < PRAAS_TICKET_BYTES; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EPROTO;
		ret_ticket[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static void identity_encode(const uint8_t ticket[PRAAS_TICKET_BYTES],
			    char ret_text[PRAAS_TLS_IDENTITY_BYTES + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < PRAAS_TICKET_BYTES; i++) {
		ret_text[2 * i] = digits[ticket[i] >> 4];
		ret_text[2 * i + 1] = digits[ticket[i] & 15];
	}
	ret_text[PRAAS_TLS_IDENTITY_BYTES] = '\0';
}

/* The form in which OpenSSL takes an external key. NULL: no memory. */
static SSL_SESSION *session_of(SSL *ssl, const uint8_t key[PRAAS_KEY_BYTES])
{
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite_id);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher &&
	    SSL_SESSION_set1_master_key(session, key, PRAAS_KEY_BYTES) == 1 &&
	    SSL_SESSION_set_cipher(session, cipher) == 1 &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

/* Server. An identity that we have no key for is as none: without a certificate that ends it. */
static int on_find(SSL *ssl, const unsigned char *identity, size_t bytes,
		   SSL_SESSION **ret_session)
{
	struct praas_tls *tls = SSL_get_app_data(ssl);
	uint8_t ticket[PRAAS_TICKET_BYTES], key[PRAAS_KEY_BYTES];

	*ret_session = NULL;
	if (praas_tls_identity_decode(identity, bytes, ticket) != 0 ||
	    tls->context->key(tls->context->user, ticket, key) != 0)
		return 1;
	*ret_session = session_of(ssl, key);
	praas_mac_wipe(key, sizeof(key));
	return *ret_session != NULL;
}

/* Client. Asked again after a HelloRetryRequest, with the hash that the server wants. */
static int on_use(SSL *ssl, const EVP_MD *md, const unsigned char **ret_identity,
		  size_t *ret_bytes, SSL_SESSION **ret_session)
{
	struct praas_tls *tls = SSL_get_app_data(ssl);

	*ret_session = NULL;
	if (md != NULL && EVP_MD_get_type(md) != NID_sha256)
		return 0;
	*ret_session = session_of(ssl, tls->key);
	*ret_identity = (const unsigned char *)tls->identity;
	*ret_bytes = PRAAS_TLS_IDENTITY_BYTES;
	return *ret_session != NULL;
}

/* Server: a client that names protocols names ours, or goes. */
static int on_protocols(SSL *ssl, const unsigned char **ret_name,
			unsigned char *ret_bytes, const unsigned char *names,
			unsigned int bytes, void *user)
{
	(void)ssl;
	(void)user;
	for (unsigned i = 0; i < bytes; i += names[i] + 1u) {
		if (names[i] == protocol[0] && i + names[i] < bytes &&
		    memcmp(names + i, protocol, sizeof(protocol)) == 0) {
			*ret_name = protocol + 1;
			*ret_bytes = protocol[0];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- context ---- */

static int set_up(struct praas_tls_context *c)
{
	SSL_CTX *ssl = c->ssl;

	if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(ssl, SUITE) != 1 ||
	    SSL_CTX_set1_groups_list(ssl, GROUPS) != 1 ||
	    SSL_CTX_set_num_tickets(ssl, 0) != 1 ||
	    SSL_CTX_set_alpn_protos(ssl, protocol, sizeof(protocol)) != 0)
		return -EIO;
	(void)SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_alpn_select_cb(ssl, on_protocols, NULL);
	SSL_CTX_set_psk_use_session_callback(ssl, on_use);
	if (c->key)
		SSL_CTX_set_psk_find_session_callback(ssl, on_find);
	return BIO_meth_set_read(c->io, io_read) == 1 &&
			       BIO_meth_set_write(c->io, io_write) == 1 &&
			       BIO_meth_set_ctrl(c->io, io_ctrl) == 1
		       ? 0
		       : -EIO;
}

int praas_tls_context_new(praas_tls_key_fn key, void *user,
			  struct praas_tls_context **ret_context)
{
	struct praas_tls_context *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return -ENOMEM;
	/* As for HMACs: nothing of openssl.cnf (transport/mac.c). */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	c->key = key;
	c->user = user;
	c->ssl = SSL_CTX_new(TLS_method());
	c->io = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
	rc = c->ssl && c->io ? set_up(c) : -ENOMEM;
	if (rc != 0) {
		praas_tls_context_free(c);
		return rc;
	}
	*ret_context = c;
	return 0;
}

void praas_tls_context_free(struct praas_tls_context *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ssl);
	BIO_meth_free(c->io);
	praas_mac_wipe(c->stage, sizeof(c->stage));
	free(c);
}

/* ---- connection ---- */

int praas_tls_new(struct praas_tls_context *context, int fd,
		  const struct praas_ticket_secret *secret, struct praas_tls **ret_tls)
{
	struct praas_tls *tls = calloc(1, sizeof(*tls));
	BIO *bio = BIO_new(context->io);

	if (tls)
		tls->ssl = SSL_new(context->ssl);
	if (tls == NULL || bio == NULL || tls->ssl == NULL) {
		(void)BIO_free(bio); /* nothing was written */
		praas_tls_free(tls);
		return -ENOMEM;
	}
	tls->context = context;
	tls->fd = fd;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	(void)SSL_set_app_data(tls->ssl, tls);
	if (secret) {
		identity_encode(secret->ticket, tls->identity);
		memcpy(tls->key, secret->session_key, PRAAS_KEY_BYTES);
		/* There is no certificate that we would believe. */
		SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
		SSL_set_connect_state(tls->ssl);
	} else {
		SSL_set_accept_state(tls->ssl);
	}
	*ret_tls = tls;
	return 0;
}

void praas_tls_free(struct praas_tls *tls)
{
	if (tls == NULL)
		return;
	SSL_free(tls->ssl);
	praas_mac_wipe(tls, sizeof(*tls));
	free(tls);
}

/* Alerts by which a server says that it does not take the ticket: no certificate is its only other
 * choice, and a wrong key shows in the binder. */
static bool is_refusal(unsigned long error)
{
	switch (ERR_GET_REASON(error)) {
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
	case SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY:
	case SSL_R_BINDER_DOES_NOT_VERIFY:
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return ERR_GET_LIB(error) == ERR_LIB_SSL;
	default:
		return false;
	}
}

/* Why OpenSSL returned n. */
static int outcome(struct praas_tls *tls, int n)
{
	int what = SSL_get_error(tls->ssl, n);
	unsigned long error;

	if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	error = ERR_peek_error();
	ERR_clear_error();
	tls->broken = true;
	if (tls->error != 0)
		return tls->error;
	if (tls->eof)
		return -ECONNRESET;
	return is_refusal(error) ? -EACCES : -EPROTO;
}

/* What both sides must have come to, whatever else OpenSSL can do. */
static int check_agreed(const struct praas_tls *tls)
{
	const unsigned char *name;
	unsigned bytes;

	SSL_get0_alpn_selected(tls->ssl, &name, &bytes);
	if (SSL_session_reused(tls->ssl) != 1)
		return -EACCES;
	return SSL_version(tls->ssl) == TLS1_3_VERSION && bytes == protocol[0] &&
			       memcmp(name, protocol + 1, bytes) == 0
		       ? 0
		       : -EPROTO;
}

int praas_tls_handshake(struct praas_tls *tls, bool *ret_write)
{
	int n, rc;

	ERR_clear_error();
	n = SSL_do_handshake(tls->ssl);
	if (n == 1) {
		praas_mac_wipe(tls->key, sizeof(tls->key));
		rc = check_agreed(tls);
		tls->done = rc == 0;
		tls->broken = rc != 0;
		tls->unread = SSL_has_pending(tls->ssl) == 1;
		return rc;
	}
	*ret_write = SSL_want_write(tls->ssl) != 0;
	rc = outcome(tls, n);
	return rc == 0 ? -ECONNRESET : rc;
}

int64_t praas_tls_recv(struct praas_tls *tls, void *data, uint64_t bytes)
{
	size_t n = 0;
	int rc;

	if (praas_unlikely(tls->broken))
		return -EPROTO;
	ERR_clear_error();
	rc = SSL_read_ex(tls->ssl, data, bytes, &n);
	if (praas_likely(rc == 1)) {
		tls->unread = SSL_has_pending(tls->ssl) == 1;
		return (int64_t)n;
	}
	tls->unread = false;
	return outcome(tls, rc);
}

/* ---- sending ---- */

/* Where in the pieces the next record begins. */
struct cursor {
	const struct iovec *iov;
	uint64_t at; /* in the first piece */
};

/* The next bytes as one block: where they lie, or gathered. */
static const uint8_t *block(struct praas_tls *tls, const struct cursor *c,
			    uint64_t bytes)
{
	const struct iovec *iov = c->iov;
	uint64_t at = c->at, filled = 0;

	if (iov->iov_len - at >= bytes)
		return (const uint8_t *)iov->iov_base + at;
	while (filled < bytes) {
		uint64_t n = praas_min_u64(iov->iov_len - at, bytes - filled);

		memcpy(tls->context->stage + filled,
		       (const uint8_t *)iov->iov_base + at, n);
		filled += n;
		iov++;
		at = 0;
	}
	return tls->context->stage;
}

static void skip(struct cursor *c, uint64_t bytes)
{
	c->at += bytes;
	while (c->at > 0 && c->at >= c->iov->iov_len) {
		c->at -= c->iov->iov_len;
		c->iov++;
	}
}

int64_t praas_tls_send(struct praas_tls *tls, const struct iovec *iov, unsigned count)
{
	struct cursor c = { .iov = iov };
	uint64_t left = 0, sent = 0;

	if (praas_unlikely(tls->broken))
		return -EPROTO;
	for (unsigned i = 0; i < count; i++)
		left += iov[i].iov_len;
	while (left > 0) {
		uint64_t bytes = tls->retry
					 ? tls->retry
					 : praas_min_u64(left, PRAAS_TLS_RECORD_BYTES);
		size_t n = 0;
		int rc;

		praas_check(bytes <= left);
		if (praas_unlikely(tls->records == REKEY_RECORDS) && tls->retry == 0) {
			(void)SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
			tls->records = 0;
		}
		tls->more = left > bytes;
		ERR_clear_error();
		rc = SSL_write_ex(tls->ssl, block(tls, &c, bytes), bytes, &n);
		tls->more = false;
		if (rc != 1) {
			rc = outcome(tls, rc);
			tls->retry = rc == -EAGAIN ? bytes : 0;
			if (sent > 0)
				return (int64_t)sent;
			return rc == 0 ? -ECONNRESET : rc;
		}
		tls->retry = 0;
		tls->records++;
		sent += bytes;
		left -= bytes;
		if (left > 0)
			skip(&c, bytes);
	}
	return (int64_t)sent;
}

void praas_tls_end(struct praas_tls *tls)
{
	if (!tls->done || tls->broken || tls->retry != 0)
		return;
	ERR_clear_error();
	(void)SSL_shutdown(
		tls->ssl); /* a peer that does not hear it sees the socket's end */
	ERR_clear_error();
}

bool praas_tls_unread(const struct praas_tls *tls)
{
	return tls->unread;
}
