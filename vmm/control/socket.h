/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two ends of the control socket share. */
#ifndef FERRY_VMM_CONTROL_SOCKET_H
#define FERRY_VMM_CONTROL_SOCKET_H

#include <sys/un.h>

#include "vmm/control/server.h"
#include "vmm/control/json.h"

#define CONTROL_READ_TIMEOUT 10000 /* ms, for a client to send all of its call */

/* All of @len bytes, or -errno: -ETIMEDOUT when the other side took nothing, -EIO when it took a part. */
int control_send_bytes(int fd, const char *bytes, size_t len, uint64_t timeout_ms);

/* Some bytes: their number, 0 at the end, or -errno. */
int __must_check control_recv_bytes(int fd, char *buf, size_t size, uint64_t deadline_ns);

/* Where the socket of VM @name is. */
int __must_check control_address(struct sockaddr_un *addr, const char *runtime_dir, const char *name,
				 struct error *err);

#endif
