/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake, and the verdict of each end on the other. */
/* The number of a received alert is only there. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "vmm/tls/session.h"

#include <errno.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/psa_util.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "vmm/text.h"
#include "vmm/tls/name.h"
#include "vmm/tls/reason.h"

/* For the other end to read why it was refused, and to end. */
#define TLS_LINGER_MS    1000
#define TLS_LINGER_BYTES 65536u

static const int tls_ciphers[] = { MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, 0 };
static const uint16_t tls_groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
				       MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
				       MBEDTLS_SSL_IANA_TLS_GROUP_NONE };

static int tls_send(void *opaque, const unsigned char *buf, size_t len)
{
	struct tls_session *s = opaque;
	ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_WRITE;
	return errno == EPIPE || errno == ECONNRESET ? MBEDTLS_ERR_NET_CONN_RESET
						     : MBEDTLS_ERR_NET_SEND_FAILED;
}

static int tls_recv(void *opaque, unsigned char *buf, size_t len)
{
	struct tls_session *s = opaque;
	ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);

	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EINTR)
		return MBEDTLS_ERR_SSL_WANT_READ;
	return errno == ECONNRESET ? MBEDTLS_ERR_NET_CONN_RESET : MBEDTLS_ERR_NET_RECV_FAILED;
}

static void tls_take_secret(void *opaque, mbedtls_ssl_key_export_type type, const unsigned char *secret,
			    size_t len, const unsigned char client_random[32],
			    const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
	struct tls_session *s = opaque;
	enum tls_role sender;

	if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET)
		sender = TLS_CONNECT;
	else if (type == MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET)
		sender = TLS_ACCEPT;
	else
		return;
	if (len != TLS_SECRET_LEN)
		return;
	memcpy(s->secrets[sender], secret, len);
	s->have_secrets[sender] = true;
}

static int tls_configure(struct tls_session *s, struct tls_identity *id)
{
	mbedtls_ssl_config *c = &s->config;
	int ret = mbedtls_ssl_config_defaults(
		c, s->role == TLS_CONNECT ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
		MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

	if (ret != 0)
		return ret;
	mbedtls_ssl_conf_min_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_3);
	mbedtls_ssl_conf_max_tls_version(c, MBEDTLS_SSL_VERSION_TLS1_3);
	/* No resumption: every connection proves both ends anew. */
	mbedtls_ssl_conf_tls13_key_exchange_modes(c, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL);
	mbedtls_ssl_conf_session_tickets(c, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
	mbedtls_ssl_conf_ciphersuites(c, tls_ciphers);
	mbedtls_ssl_conf_groups(c, tls_groups);
	/* A bad certificate ends the session in tls_judge(), which says why in words. mbedTLS itself would
	 * say it in an alert, and its client sends that one without the keys that the server expects. */
	mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_OPTIONAL);
	mbedtls_ssl_conf_ca_chain(c, &id->ca, NULL);
	mbedtls_ssl_conf_rng(c, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	ret = mbedtls_ssl_conf_own_cert(c, &id->cert, &id->key);
	if (ret == 0)
		ret = mbedtls_ssl_setup(&s->ssl, c);
	/* Names are checked here, in name.c, and the server has one certificate. */
	if (ret == 0)
		ret = mbedtls_ssl_set_hostname(&s->ssl, NULL);
	return ret;
}

int tls_session_init(struct tls_session *s, const struct tls_options *o, struct tls_identity *id,
		     struct error *err)
{
	int ret;

	memset(s, 0, sizeof(*s));
	s->fd = o->socket_fd;
	s->role = o->role == TLS_CONNECT ? TLS_CONNECT : TLS_ACCEPT;
	s->timeout_ms = o->timeout_ms;
	s->deadline_ns = end_of((int)o->timeout_ms);
	mbedtls_ssl_init(&s->ssl);
	mbedtls_ssl_config_init(&s->config);
	ret = tls_configure(s, id);
	if (ret != 0) {
		error_add(err, "TLS cannot be set up (mbedTLS -0x%04x)", (unsigned int)-ret);
		tls_session_exit(s);
		return -EINVAL;
	}
	mbedtls_ssl_set_bio(&s->ssl, s, tls_send, tls_recv, NULL);
	mbedtls_ssl_set_export_keys_cb(&s->ssl, tls_take_secret, s);
	return 0;
}

void tls_session_exit(struct tls_session *s)
{
	mbedtls_ssl_free(&s->ssl);
	mbedtls_ssl_config_free(&s->config);
	explicit_bzero(s->secrets, sizeof(s->secrets));
}

/* Waits for what mbedTLS's @ret wants of the socket. 0: go on. MBEDTLS_ERR_SSL_TIMEOUT, or @ret where it
 * wants nothing. */
static int tls_wait(const struct tls_session *s, int ret)
{
	struct pollfd p = { .fd = s->fd };

	if (ret == MBEDTLS_ERR_SSL_WANT_READ)
		p.events = POLLIN;
	else if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
		p.events = POLLOUT;
	else
		return ret;
	/* The time is asked for also where bytes keep coming. */
	if (now_ns() >= s->deadline_ns || poll(&p, 1, ms_until(s->deadline_ns)) == 0)
		return MBEDTLS_ERR_SSL_TIMEOUT;
	return 0;
}

static int tls_shake_hands(struct tls_session *s)
{
	int ret;

	do {
		ret = mbedtls_ssl_handshake(&s->ssl);
		if (ret == 0)
			return 0;
		ret = tls_wait(s, ret);
	} while (ret == 0);
	return ret;
}

/* Writes why a call of mbedTLS's has failed. */
static void tls_explain(struct tls_session *s, int ret, struct error *err)
{
	if (ret == MBEDTLS_ERR_SSL_TIMEOUT)
		error_add(err, "the other end has not finished the TLS handshake within %u ms",
			  s->timeout_ms);
	else if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
		tls_reason_alert(s->ssl.in_msg[1], err);
	else
		tls_reason_error(ret, err);
}

/* The verdict's record. Text and what follows it are zeroes to the end. */
struct tls_verdict {
	char magic[8];
	uint8_t refused;
	char text[TLS_VERDICT_LEN - 9];
};
_Static_assert(sizeof(struct tls_verdict) == TLS_VERDICT_LEN, "the verdict is one record of a known length");

#define TLS_VERDICT_MAGIC "ferrytls"

static int tls_send_verdict(struct tls_session *s, const struct error *refusal)
{
	struct tls_verdict verdict = { .refused = refusal->text[0] != '\0' };
	int ret;

	memcpy(verdict.magic, TLS_VERDICT_MAGIC, sizeof(verdict.magic));
	memcpy(verdict.text, refusal->text, strnlen(refusal->text, sizeof(verdict.text) - 1));
	do {
		ret = mbedtls_ssl_write(&s->ssl, (const unsigned char *)&verdict, sizeof(verdict));
		if (ret == (int)sizeof(verdict))
			return 0;
		/* A part of the record can be under way, but never a part of the text: it fits into one. */
		ret = tls_wait(s, ret);
	} while (ret == 0);
	return ret;
}

/* Reads the other end's verdict: one record, whole. Kernel TLS then begins with the second. */
static int tls_recv_verdict(struct tls_session *s, struct error *err)
{
	struct tls_verdict verdict;
	int ret;

	do {
		ret = mbedtls_ssl_read(&s->ssl, (unsigned char *)&verdict, sizeof(verdict));
		if (ret >= 0)
			break;
		ret = tls_wait(s, ret);
	} while (ret == 0);
	if (ret < 0 || ret == 0) {
		tls_explain(s, ret == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : ret, err);
		return -EACCES;
	}
	if (ret != (int)sizeof(verdict) || mbedtls_ssl_get_bytes_avail(&s->ssl) != 0 ||
	    memcmp(verdict.magic, TLS_VERDICT_MAGIC, sizeof(verdict.magic)) != 0) {
		error_add(err, "the other end is not Ferry");
		return -EACCES;
	}
	if (verdict.refused) {
		verdict.text[sizeof(verdict.text) - 1] = '\0';
		text_clean(verdict.text, strlen(verdict.text));
		error_add(err, "the other end refuses this one: %s", verdict.text);
		return -EACCES;
	}
	return 0;
}

/*
 * Judges the other end by its certificate: writes into @peer who it is, or into @refusal why it is refused.
 * The handshake has proved that it has the certificate's key, but nothing of what the certificate says.
 */
static void tls_judge(const struct tls_session *s, const struct tls_options *o, char peer[TLS_NAME_MAX],
		      struct error *refusal)
{
	const mbedtls_x509_crt *cert = mbedtls_ssl_get_peer_cert(&s->ssl);
	const uint32_t flags = mbedtls_ssl_get_verify_result(&s->ssl);
	const char *const wanted[] = { o->host, o->peer };

	if (!cert || flags != 0) {
		tls_reason_certificate(cert ? flags : MBEDTLS_X509_BADCERT_MISSING, refusal);
		return;
	}
	if (!tls_name_first(cert, peer)) {
		error_add(refusal, "the certificate has no name (a subjectAltName of kind DNS or IP)");
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i] && !tls_name_is(cert, wanted[i]))
			error_add(refusal, "the certificate is of %s, and %s is wanted", peer, wanted[i]);
	}
	if (o->peer)
		snprintf(peer, TLS_NAME_MAX, "%s", o->peer);
}

int tls_session_start(struct tls_session *s, const struct tls_options *o, char peer[TLS_NAME_MAX],
		      struct error *err)
{
	struct error refusal = { 0 };
	int ret = tls_shake_hands(s);

	if (ret != 0) {
		tls_explain(s, ret, err);
		goto refused;
	}
	tls_judge(s, o, peer, &refusal);
	ret = tls_send_verdict(s, &refusal);
	if (refusal.text[0]) {
		error_add(err, "the other end is refused: %s", refusal.text);
		goto refused;
	}
	if (ret != 0 && ret != MBEDTLS_ERR_NET_CONN_RESET) {
		tls_explain(s, ret, err);
		goto refused;
	}
	/* Where sending has failed, the reason is what the other end sent before. */
	if (tls_recv_verdict(s, err) < 0)
		goto refused;
	return 0;

refused:
	peer[0] = '\0';
	return -EACCES;
}

void tls_session_linger(const struct tls_session *s)
{
	uint64_t end_ns = end_of(TLS_LINGER_MS);
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	size_t left = TLS_LINGER_BYTES;
	char drop[4096];

	shutdown(s->fd, SHUT_WR);
	while (left > 0 && now_ns() < end_ns && poll(&p, 1, ms_until(end_ns)) > 0) {
		ssize_t n = recv(s->fd, drop, sizeof(drop), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
		left -= n > 0 ? min_u64((uint64_t)n, left) : 0;
	}
}
