/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in certificates: the subject's alternative names of the kinds DNS and IP address (RFC 6125,
 * section 6.4; RFC 5280, section 4.2.1.6). The common name does not count, nor do patterns: a name is one
 * host's.
 */
#ifndef FERRY_VMM_TLS_NAME_H
#define FERRY_VMM_TLS_NAME_H

#include <mbedtls/x509_crt.h>

#include "vmm/tls/result.h"

/* Whether @cert has @name: an IP address as text, or a DNS name, whose case does not count. */
bool tls_name_is(const mbedtls_x509_crt *cert, const char *name);

/* Writes the first name of @cert. False where it has none that can be shown. */
bool tls_name_first(const mbedtls_x509_crt *cert, char name[TLS_NAME_MAX]);

#endif
