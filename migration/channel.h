/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The byte pipe of a migration: a connected stream socket of any family. The one place that touches the
 * migration's socket. */
#ifndef FERRY_MIGRATION_CHANNEL_H
#define FERRY_MIGRATION_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "vmm/log.h"

struct channel {
	int fd;
	/* Becomes readable or hung up when the operator gives up, and ends every wait with
	 * -ECANCELED; or -1. */
	int cancel_fd;
	/* A wait that lasts until then, see now_ns(), ends with -ETIMEDOUT; 0: none. */
	uint64_t deadline_ns;
};

/* Checks that @fd is a stream socket with a peer. -ENOTSOCK, -EPROTOTYPE, -ENOTCONN, or what befell the
 * connection. */
int __must_check channel_check_socket(int fd, struct error *err);

/*
 * Makes a channel of the socket @fd, which becomes the channel's, also on an error; then it is closed. Errors
 * as of channel_check_socket(). Whoever made the connection has made sure of the peer. Flags of the socket
 * that its other holders share stay as they are.
 */
int __must_check channel_adopt(struct channel *c, int fd, int cancel_fd, struct error *err);

/*
 * Closes the socket, without a wait. Where the kernel encrypts, bytes that a send has taken may be in records
 * for which TCP had no room yet, and both shutdown() and close() drop those (Linux, net/tls/tls_sw.c). So
 * nobody's last words are what has filled a socket: a source's, COMMIT, has an answer, which is waited for
 * before this; and a destination says a few short frames, each of which the source takes before the next.
 */
void channel_close(struct channel *c);

/*
 * Sends all bytes, or fails: -EPIPE peer gone or talking instead of listening, -ETIMEDOUT not all of them out
 * within @timeout_ms (-1: no bound), -ECANCELED. May change @iov. *@done, if not NULL, says how many bytes
 * went out, also before an error.
 */
int __must_check channel_writev(struct channel *c, struct iovec *iov, int n, int timeout_ms, uint64_t *done);

/* Waits for bytes and takes what there is. Returns their number, at least 1, or the errors of
 * channel_writev(). */
ssize_t __must_check channel_readv(struct channel *c, struct iovec *iov, int n, int timeout_ms);

/*
 * Takes @len bytes, in fewer calls than channel_readv() where they are many. 0, or the errors of
 * channel_writev(), of which -ETIMEDOUT and -ECANCELED may come a tenth of a second late; how many bytes were
 * taken before is not told.
 */
int __must_check channel_read(struct channel *c, void *dst, size_t len, int timeout_ms);

/* Takes the bytes that there are of the connection @fd, which no channel has yet, without waiting. Returns
 * their number, 0 where there are none now, or -EPIPE where none will come. */
ssize_t __must_check channel_hear(int fd, void *buf, size_t size);

/*
 * Waits until the next one on the way to the peer has taken all that was sent: ssh, which does so once there
 * is somebody at the other end, a process behind a unix socket, or the peer's TCP. Returns 0, also where the
 * peer says something or goes; -ETIMEDOUT, -ECANCELED.
 */
int __must_check channel_drain(struct channel *c, int timeout_ms);

/* Looks without waiting. Returns -ECANCELED, -EPIPE if the peer has said something or has
 * gone, 0 otherwise. */
int __must_check channel_check(struct channel *c);

/* Waits until @fd is readable, because work that is done here meanwhile has ended. Returns 0, or -EPIPE when
 * the peer has gone, -ETIMEDOUT, -ECANCELED. */
int __must_check channel_await(struct channel *c, int fd, int timeout_ms);

/*
 * Ends sending; what the peer still sends is dropped until it hangs up, for @timeout_ms at most. Without
 * this TCP's reset could overtake the last bytes sent. channel_close() is still to be called.
 */
void channel_linger(struct channel *c, int timeout_ms);

#endif
