/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The common ground of the control socket's two ends: where it is, how its bytes go, and Varlink's framing
 * (varlink.org), which is JSON objects that end with a NUL byte.
 *
 *	call:   {"method": "alt.ferry.Migrate", "parameters": {"to": "unix:/run/x"}, "more": true}
 *	reply:  {"parameters": {...}, "continues": true} ... {"parameters": {...}}
 *	error:  {"error": "alt.ferry.MigrationFailed", "parameters": {"reason": "..."}}
 *
 * Calls of one connection are answered in their order, each before the next is read; one with "oneway" is not
 * answered. A call may carry one descriptor, as SCM_RIGHTS with its first bytes. The end of a client's
 * direction calls off what is under way for it, and nothing else that it sends does.
 */
#ifndef FERRY_VMM_CONTROL_SOCKET_H
#define FERRY_VMM_CONTROL_SOCKET_H

#include <stddef.h>
#include <sys/un.h>

#include "vmm/log.h"

/* Bytes of a message with its NUL: a migration's report, and the reason of an error beside it. */
#define CONTROL_MESSAGE_MAX 20480u

/* For a client to send all of its call. A client on this host needs no more than a moment; a longer silence
 * is a client that was stopped. */
#define CONTROL_READ_TIMEOUT_MS 10000

/* Sends all of @len bytes. Returns 0 or -errno: -ETIMEDOUT when the other side took nothing in time, -EIO
 * when it took a part. Any thread. */
int control_send_bytes(int fd, const char *bytes, size_t len, uint64_t timeout_ms);

/* The same, with the descriptor @passed_fd, or none for -1, beside the first bytes. @passed_fd stays the
 * caller's. */
int control_send_with(int fd, const char *bytes, size_t len, int passed_fd, uint64_t timeout_ms);

/* Waits for some bytes until @deadline_ns. Returns their number, 0 at the end, or -errno. Any thread. */
int __must_check control_recv_bytes(int fd, char *buf, size_t size, uint64_t deadline_ns);

/*
 * Takes what bytes there are, without waiting, and the descriptor that came beside them, which is the
 *caller's then, close-on-exec, in *@passed_fd; -1 without one. Returns the number of bytes, 0 at the end, or
 *-errno:
 *
 *	-EAGAIN  nothing yet
 *	-E2BIG   more than one descriptor came; all are closed
 *	-EMFILE  a descriptor came, and the process has no room for it
 *
 * Any thread.
 */
int __must_check control_recv_with(int fd, char *buf, size_t size, int *passed_fd);

/* Does as control_recv_with(), and leaves in the socket what stands behind a NUL: the next call, with its own
 * descriptor. */
int __must_check control_recv_call(int fd, char *buf, size_t size, int *passed_fd);

/* Writes where the socket of VM @name is. Returns 0, or -ENAMETOOLONG with what to do. */
int __must_check control_address(struct sockaddr_un *addr, const char *runtime_dir, const char *name,
				 struct error *err);

#endif
