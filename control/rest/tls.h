/* SPDX-License-Identifier: Apache-2.0
 *
 * The certificate that REST shows. GnuTLS asks for it at each handshake, so another one counts from
 * the next handshake on and no connection ends for it. One per program: GnuTLS's callback is given
 * nothing of ours.
 */
#ifndef PRAAS_CONTROL_TLS_H
#define PRAAS_CONTROL_TLS_H

#include <stdbool.h>

#include <gnutls/abstract.h>

/* What REST speaks: nothing older than TLS 1.3. */
#define PRAAS_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* Loads a certificate (with its chain) and its key, PEM. 0; -ENOENT; -EPERM everybody can read the
 * key; -EINVAL they are none, or not a pair; an errno. ret_text (256 bytes) tells why. */
int praas_tls_open(const char *cert_file, const char *key_file, char *ret_text);
/* Looks whether the files changed (always: does not look) and loads what is there. 0: nothing to do,
 * or done (*ret_loaded); else as open: the pair before stays, and it is tried again when the
 * files change once more. */
int praas_tls_refresh(bool always, bool *ret_loaded, char *ret_text);
void praas_tls_close(void);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK2. */
gnutls_certificate_retrieve_function3 praas_tls_retrieve;

#endif
