/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ferry-tls tells the process that started it: one message over a SOCK_SEQPACKET socketpair. The same
 * file is in both programs, so the message needs no versions.
 */
#ifndef FERRY_VMM_TLS_RESULT_H
#define FERRY_VMM_TLS_RESULT_H

#include "vmm/log.h"

/* Bytes of a name in a certificate with its NUL: the longest DNS name is shorter. */
#define TLS_NAME_MAX 256u

enum tls_outcome {
	/* There is no connection, for the reason that the message has. */
	TLS_REFUSED = 1,
	/* The descriptor is the TCP socket itself; the kernel encrypts. */
	TLS_KERNEL,
	/* The descriptor is one end of a socketpair. ferry-tls encrypts, and ends with the connection. */
	TLS_PUMP,
	/* A door: connections can come from now on. Without a descriptor and a name. */
	TLS_LISTENS,
};

struct tls_result {
	enum tls_outcome outcome;
	/* The name of the other end that its certificate proves; "" where it was refused. */
	char peer[TLS_NAME_MAX];
	/* TLS_REFUSED: why, and the number of an error that says more of it, or 0. */
	struct error reason;
	int error;
};

/* Sends @result over @fd, with the descriptor @passed_fd, which stays the caller's; -1: none. A refusal is
 * dropped where there is no room: strangers make them. May wait for some seconds until less is on its way of
 * this user's: -ETOOMANYREFS if it stays so much. 0 or -errno. */
int __must_check tls_result_send(int fd, const struct tls_result *result, int passed_fd);

/*
 * Takes a result, without waiting. *@passed_fd becomes the caller's descriptor, or -1. Returns 0, -EAGAIN
 * where there is none yet, -EPIPE where none comes any more, -EPROTO for one that is not well formed, or
 * another -errno.
 */
int __must_check tls_result_take(int fd, struct tls_result *result, int *passed_fd);

/*
 * Waits until @deadline_ns for a result on @fd. *@passed_fd becomes the caller's descriptor, or -1. A result
 * that is not well formed, and an end without one, are TLS_REFUSED with the reason: there is no other way
 * out.
 */
void tls_result_recv(int fd, uint64_t deadline_ns, struct tls_result *result, int *passed_fd);

#endif
