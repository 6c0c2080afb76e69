/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who this end is, and whom it trusts: the three files of --dir. */
#ifndef FERRY_VMM_TLS_IDENTITY_H
#define FERRY_VMM_TLS_IDENTITY_H

#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include "vmm/log.h"

/* A file of more bytes is refused. */
#define TLS_FILE_MAX 65536u

struct tls_identity {
	mbedtls_x509_crt ca;
	mbedtls_x509_crt cert;
	mbedtls_pk_context key;
};

/*
 * Reads ca.pem, cert.pem and key.pem in @dir. The key is refused if others than its owner may read or write
 * it. PSA must be initialized. On success tls_identity_exit() frees @id; on error -errno with the reason.
 */
int __must_check tls_identity_init(struct tls_identity *id, const char *dir, struct error *err);
void tls_identity_exit(struct tls_identity *id);

#endif
