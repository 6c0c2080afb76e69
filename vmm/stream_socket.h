/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream sockets that come from elsewhere, or go to another process of this host. Any thread. */
#ifndef FERRY_VMM_STREAM_SOCKET_H
#define FERRY_VMM_STREAM_SOCKET_H

#include <sys/un.h>

#include "vmm/log.h"

/* Checks that @fd is a stream socket of any family with a peer. -ENOTSOCK, -EPROTOTYPE, -ENOTCONN, or what
 * befell the connection; @err says it without naming the socket. */
int __must_check stream_socket_check(int fd, struct error *err);

/* Connects to the unix socket at @addr, within @timeout_ms. Returns the socket, blocking and close-on-exec,
 * or -errno: -EAGAIN when the listener took nobody in all that time. */
int __must_check stream_socket_connect(const struct sockaddr_un *addr, int timeout_ms);

#endif
