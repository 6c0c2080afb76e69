/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of ferry-tls. */
#ifndef FERRY_VMM_TLS_OPTIONS_H
#define FERRY_VMM_TLS_OPTIONS_H

#include "vmm/log.h"

/* For the whole handshake, if --timeout does not say otherwise. */
#define TLS_TIMEOUT_MS 10000u

/* A door accepts as often as somebody connects. */
enum tls_role { TLS_CONNECT, TLS_ACCEPT, TLS_DOOR };

struct tls_options {
	enum tls_role role;
	/* Texts of the command line; NULL: not given. */
	const char *dir;
	const char *host;
	const char *peer;
	/* HOST:PORT to connect to, or to listen at; NULL: there is a socket. */
	const char *place;
	/* The TCP socket, for a door one that listens; and where results go: a SOCK_SEQPACKET socket. */
	int socket_fd;
	int result_fd;
	uint32_t timeout_ms;
	/* Whether the kernel's TLS may be used where there is it. */
	bool kernel;
};

/* What is on the command line. */
extern const char tls_usage[];

/* The role's word on the command line. */
const char *tls_role_name(enum tls_role role);

/* Reads the command line, whose texts must outlive @o. -EINVAL with the reason. */
int __must_check tls_options_parse(struct tls_options *o, int argc, char **argv, struct error *err);

#endif
