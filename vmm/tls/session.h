/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TLS 1.3 connection of two ends that prove by certificates who they are (RFC 8446). The one cipher is
 * TLS_CHACHA20_POLY1305_SHA256: its keys need no update before the records' numbers end (section 5.5), and
 * neither mbedTLS 3.6 nor every kernel's TLS could update them. Nothing but data may follow the handshake.
 *
 * After the handshake each end says in one record whether it takes the other, or why not. A client would else
 * believe in a connection that the server has refused, because the server judges last.
 */
#ifndef FERRY_VMM_TLS_SESSION_H
#define FERRY_VMM_TLS_SESSION_H

#include <mbedtls/ssl.h>

#include "vmm/tls/identity.h"
#include "vmm/tls/options.h"
#include "vmm/tls/result.h"

/* Bytes of a traffic secret: of SHA-256, which the cipher brings along. */
#define TLS_SECRET_LEN 32u

/* Bytes of the record in which an end says whether it takes the other. */
#define TLS_VERDICT_LEN 512u

struct tls_session {
	mbedtls_ssl_context ssl;
	mbedtls_ssl_config config;
	/* The TCP socket, the caller's. */
	int fd;
	enum tls_role role;
	/* The time at which the handshake ends, at the latest. */
	uint64_t deadline_ns;
	uint32_t timeout_ms;
	/* What the keys of the data are made from, for kernel TLS, with the sender's role. */
	uint8_t secrets[2][TLS_SECRET_LEN];
	bool have_secrets[2];
};

/* Prepares a connection over the socket of @o by @id, which must outlive it. -errno with the reason, and then
 * there is nothing to exit. */
int __must_check tls_session_init(struct tls_session *s, const struct tls_options *o, struct tls_identity *id,
				  struct error *err);
void tls_session_exit(struct tls_session *s);

/*
 * Shakes hands, checks the names that @o wants, and exchanges verdicts, by the deadline. Then @peer is who
 * the other end is, and one record has gone in each direction under the data's keys; none has been read
 * ahead. On failure -EACCES with the reason; the other end learns it as well, as far as it listens, in the
 * time of tls_session_linger().
 */
int __must_check tls_session_start(struct tls_session *s, const struct tls_options *o,
				   char peer[TLS_NAME_MAX], struct error *err);

/* Ends a connection that was refused: waits for the other end's end, a second at most. Closing at once, with
 * bytes unread, would reset the connection, and with it the reason on its way. */
void tls_session_linger(const struct tls_session *s);

#endif
