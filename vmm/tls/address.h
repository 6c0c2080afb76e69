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

/*
 * Connects to the first of the host's addresses that takes the connection, within @timeout_ms after its name
 * is known; each address has its share of the time. Returns a TCP socket that sends at once, or -errno with
 * what each address said. May block for as long as the resolver takes.
 */
int __must_check tls_address_connect(const struct tls_address *a, int timeout_ms, struct error *err);

/* Listens at the first of the host's addresses. Returns the socket, which does not block, or -errno with the
 * reason. May block as above. */
int __must_check tls_address_listen(const struct tls_address *a, struct error *err);

/* Makes the connected TCP socket @fd send short messages at once, and find out a host that has vanished. */
void tls_address_tune(int fd);

#endif
