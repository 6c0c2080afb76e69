/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HOST:PORT of a migration over TLS: where a source connects to, and where a destination listens. */
#ifndef FERRY_VMM_TLS_ADDRESS_H
#define FERRY_VMM_TLS_ADDRESS_H

#include "vmm/tls/result.h"

struct tls_address {
	/* A name or an address; without the brackets of an IPv6 address. */
	char host[TLS_NAME_MAX];
	char port[6];
};

/* Reads "HOST:PORT", with an IPv6 address in brackets. -EINVAL with the reason. */
int __must_check tls_address_parse(struct tls_address *a, const char *text, struct error *err);

#endif
