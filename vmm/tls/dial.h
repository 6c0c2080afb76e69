/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection over TLS to another Ferry, with an operator's rights and keys. */
#ifndef FERRY_VMM_TLS_DIAL_H
#define FERRY_VMM_TLS_DIAL_H

#include <sys/types.h>

#include "vmm/tls/result.h"

struct tls_connection {
	/* A connected stream socket, the caller's: TCP where the kernel encrypts, else unix. */
	int fd;
	/* The ferry-tls that encrypts, a child to wait for; 0: none, because the kernel does. */
	pid_t pump;
	/* The other end's name, as its certificate has it. */
	char peer[TLS_NAME_MAX];
};

/*
 * Connects to @place, HOST:PORT, as the host whose certificate and key are in the folder @dir. The other
 * end's certificate must have HOST, and @peer if that is not NULL. -EINVAL where @place is none, -ENOENT
 * without ferry-tls, -EACCES where one end refuses the other, or -errno, with the reason and nothing to
 * close. Returns within 40 s.
 */
int __must_check tls_dial(struct tls_connection *c, const char *place, const char *dir, const char *peer,
			  struct error *err);

#endif
