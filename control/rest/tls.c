/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rest/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#include "internal/base.h"

#define ERROR_TEXT 256u
#define FILE_MAX (64u * 1024) /* of a certificate with its chain; of a key */
#define CHAIN_MAX 8u

struct pem {
	char path[4096];
	struct stat seen; /* of what was tried last */
	gnutls_datum_t data;
};

static struct {
	pthread_mutex_t lock; /* of both data */
	struct pem cert, key;
} tls = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void forget(gnutls_datum_t *data)
{
	if (data->data)
		explicit_bzero(data->data, data->size);
	free(data->data);
	*data = (gnutls_datum_t){ NULL, 0 };
}

static int fail(const struct pem *pem, int rc, const char *why, char *ret_text)
{
	(void)snprintf(ret_text, ERROR_TEXT, "%.150s: %.90s", pem->path, why);
	return rc;
}

/* The whole file, and what it was. */
static int load(struct pem *pem, bool secret, gnutls_datum_t *ret_data, char *ret_text)
{
	int fd = open(pem->path, O_RDONLY | O_CLOEXEC), rc = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &pem->seen)) {
		rc = -errno;
		if (fd >= 0)
			(void)close(fd);
		return fail(pem, rc, strerror(-rc), ret_text);
	}
	ret_data->data = malloc(FILE_MAX);
	n = ret_data->data ? read(fd, ret_data->data, FILE_MAX) : -1;
	if (secret && (pem->seen.st_mode & 07))
		rc = fail(pem, -EPERM, "everybody can read it; chmod o-rwx", ret_text);
	else if (n <= 0)
		rc = fail(pem, -EINVAL, "it cannot be read, or is empty", ret_text);
	else if ((size_t)n == FILE_MAX)
		rc = fail(pem, -EINVAL, "it is too large", ret_text);
	ret_data->size = n > 0 ? (unsigned)n : 0;
	(void)close(fd);
	if (rc)
		forget(ret_data);
	return rc;
}

/* Are they a certificate and its key? */
static int check_pair(const gnutls_datum_t *cert, const gnutls_datum_t *key,
		      char *ret_text)
{
	gnutls_certificate_credentials_t try;
	int rc = gnutls_certificate_allocate_credentials(&try);

	if (rc < 0)
		return -ENOMEM;
	rc = gnutls_certificate_set_x509_key_mem2(try, cert, key, GNUTLS_X509_FMT_PEM,
						  NULL, 0);
	gnutls_certificate_free_credentials(try);
	return rc < 0 ? fail(&tls.cert, -EINVAL, gnutls_strerror(rc), ret_text) : 0;
}

static int load_pair(char *ret_text)
{
	gnutls_datum_t cert = { NULL, 0 }, key = { NULL, 0 };
	int rc = load(&tls.cert, false, &cert, ret_text);

	if (rc == 0)
		rc = load(&tls.key, true, &key, ret_text);
	if (rc == 0)
		rc = check_pair(&cert, &key, ret_text);
	if (rc == 0) {
		gnutls_datum_t old_cert = tls.cert.data, old_key = tls.key.data;

		(void)pthread_mutex_lock(&tls.lock);
		tls.cert.data = cert;
		tls.key.data = key;
		(void)pthread_mutex_unlock(&tls.lock);
		cert = old_cert;
		key = old_key;
	}
	forget(&cert);
	forget(&key);
	return rc;
}

int praas_tls_open(const char *cert_file, const char *key_file, char *ret_text)
{
	ret_text[0] = 0;
	(void)snprintf(tls.cert.path, sizeof(tls.cert.path), "%s", cert_file);
	(void)snprintf(tls.key.path, sizeof(tls.key.path), "%s", key_file);
	return load_pair(ret_text);
}

static bool changed(const struct pem *pem)
{
	struct stat now;

	if (stat(pem->path, &now))
		return false; /* it is being replaced */
	return now.st_ino != pem->seen.st_ino || now.st_size != pem->seen.st_size ||
	       now.st_mtim.tv_sec != pem->seen.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != pem->seen.st_mtim.tv_nsec;
}

int praas_tls_refresh(bool always, bool *ret_loaded, char *ret_text)
{
	int rc;

	*ret_loaded = false;
	if (!always && !changed(&tls.cert) && !changed(&tls.key))
		return 0;
	rc = load_pair(ret_text);
	*ret_loaded = rc == 0;
	return rc;
}

void praas_tls_close(void)
{
	forget(&tls.cert.data);
	forget(&tls.key.data);
}

/* Fresh objects, for GnuTLS to free: what it was given before may still be in use. */
int praas_tls_retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
		       gnutls_pcert_st **certs, unsigned *certs_length,
		       gnutls_ocsp_data_st **ocsp, unsigned *ocsp_length,
		       gnutls_privkey_t *privkey, unsigned *flags)
{
	gnutls_pcert_st *list = gnutls_calloc(CHAIN_MAX, sizeof(*list));
	gnutls_privkey_t key = NULL;
	unsigned n = CHAIN_MAX;
	int rc = list ? 0 : GNUTLS_E_MEMORY_ERROR;

	(void)session;
	(void)info;
	(void)pthread_mutex_lock(&tls.lock);
	if (rc == 0)
		rc = gnutls_pcert_list_import_x509_raw(list, &n, &tls.cert.data,
						       GNUTLS_X509_FMT_PEM, 0);
	n = rc < 0 ? 0 : n;
	if (rc >= 0)
		rc = gnutls_privkey_init(&key);
	if (rc >= 0)
		rc = gnutls_privkey_import_x509_raw(key, &tls.key.data,
						    GNUTLS_X509_FMT_PEM, NULL, 0);
	(void)pthread_mutex_unlock(&tls.lock);
	if (rc < 0) {
		for (unsigned i = 0; i < n; i++)
			gnutls_pcert_deinit(&list[i]);
		gnutls_free(list);
		if (key)
			gnutls_privkey_deinit(key);
		return -1;
	}
	*certs = list;
	*certs_length = n;
	*ocsp = NULL;
	*ocsp_length = 0;
	*privkey = key;
	*flags = GNUTLS_CERT_RETR_DEINIT_ALL;
	return 0;
}
