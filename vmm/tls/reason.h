/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a TLS connection did not come about, in words for a person: by this end's checks, or by the other's. */
#ifndef FERRY_VMM_TLS_REASON_H
#define FERRY_VMM_TLS_REASON_H

#include <stdint.h>

#include "vmm/log.h"

/* Adds what is wrong with a certificate: MBEDTLS_X509_BADCERT_ flags, at least one. Both ends are told. */
void tls_reason_certificate(uint32_t flags, struct error *err);

/* Adds what the other end's alert says (RFC 8446, section 6.2). */
void tls_reason_alert(uint8_t description, struct error *err);

/* Adds what mbedTLS's error @ret says of the connection. */
void tls_reason_error(int ret, struct error *err);

#endif
