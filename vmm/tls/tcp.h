/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TCP sockets of ferry-tls. What a resolver answers is a stranger's, so no process with a guest reads it.
 */
#ifndef FERRY_VMM_TLS_TCP_H
#define FERRY_VMM_TLS_TCP_H

#include "vmm/tls/address.h"

/*
 * Connects to the first of the host's addresses that takes the connection, within @timeout_ms after its name
 * is known; each address has its share of the time. Returns a TCP socket that sends at once, or -errno with
 * what each address said. May block for as long as the resolver takes.
 */
int __must_check tls_tcp_connect(const struct tls_address *a, int timeout_ms, struct error *err);

/* Listens at the first of the host's addresses. Returns the socket, which does not block, or -errno with the
 * reason. May block as above. */
int __must_check tls_tcp_listen(const struct tls_address *a, struct error *err);

#endif
