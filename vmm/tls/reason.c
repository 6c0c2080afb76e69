/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of mbedTLS's errors, of verdicts on certificates, and of TLS alerts, each with words. */
#include "vmm/tls/reason.h"

#include <mbedtls/asn1.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509.h>

static const struct {
	uint32_t flag;
	const char *words;
} tls_certificate_words[] = {
	{ MBEDTLS_X509_BADCERT_MISSING, "no certificate was sent" },
	{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, "the certificate is not from a CA of the refusing end's ca.pem" },
	{ MBEDTLS_X509_BADCERT_EXPIRED, "the certificate has expired" },
	{ MBEDTLS_X509_BADCERT_FUTURE, "the certificate is not valid yet (are both hosts' clocks right?)" },
	{ MBEDTLS_X509_BADCERT_REVOKED, "the certificate has been revoked" },
	{ MBEDTLS_X509_BADCERT_KEY_USAGE, "the certificate's key usage does not allow signatures" },
	{ MBEDTLS_X509_BADCERT_EXT_KEY_USAGE,
	  "the certificate's extended key usage is not for this end of a connection" },
	{ MBEDTLS_X509_BADCERT_BAD_MD, "the certificate is signed with a weak hash" },
	{ MBEDTLS_X509_BADCERT_BAD_PK, "the certificate is signed with a kind of key that is not taken" },
	{ MBEDTLS_X509_BADCERT_BAD_KEY, "the certificate is signed with a weak key" },
};

void tls_reason_certificate(uint32_t flags, struct error *err)
{
	uint32_t left = flags;

	for (unsigned int i = 0; i < ARRAY_SIZE(tls_certificate_words); i++) {
		if (flags & tls_certificate_words[i].flag)
			error_add(err, "%s", tls_certificate_words[i].words);
		left &= ~tls_certificate_words[i].flag;
	}
	if (left != 0)
		error_add(err, "the certificate is not valid (mbedTLS 0x%x)", left);
}

static const struct {
	uint8_t description;
	const char *words;
} tls_alert_words[] = {
	{ MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY, "the other end has closed the connection" },
	{ MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE,
	  "the other end has nothing in common with this one: Ferry takes "
	  "TLS_CHACHA20_POLY1305_SHA256" },
	{ MBEDTLS_SSL_ALERT_MSG_NO_CERT, "the other end wants a certificate of this one, and got none" },
	{ MBEDTLS_SSL_ALERT_MSG_CERT_REQUIRED,
	  "the other end wants a certificate of this one, and got none" },
	{ MBEDTLS_SSL_ALERT_MSG_BAD_CERT, "the other end refuses this end's certificate" },
	{ MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT,
	  "the other end refuses this end's certificate: its key or its key usage is not taken" },
	{ MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED,
	  "the other end refuses this end's certificate: it has been revoked" },
	{ MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED,
	  "the other end refuses this end's certificate: it has expired" },
	{ MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN,
	  "the other end refuses this end's certificate: it is not valid there, or not yet" },
	{ MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA,
	  "the other end refuses this end's certificate: it is not from a CA that is trusted there" },
	{ MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED, "the other end refuses this end's certificate" },
	{ MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION, "the other end does not speak TLS 1.3" },
};

void tls_reason_alert(uint8_t description, struct error *err)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(tls_alert_words); i++) {
		if (tls_alert_words[i].description == description) {
			error_add(err, "%s", tls_alert_words[i].words);
			return;
		}
	}
	error_add(err, "the other end has ended the handshake (TLS alert %u)", description);
}

static const struct {
	int ret;
	const char *words;
} tls_error_words[] = {
	{ MBEDTLS_ERR_SSL_CONN_EOF, "the other end has closed the connection" },
	{ MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, "the other end has closed the connection" },
	{ MBEDTLS_ERR_NET_CONN_RESET, "the connection was reset" },
	{ MBEDTLS_ERR_NET_RECV_FAILED, "the connection is broken" },
	{ MBEDTLS_ERR_NET_SEND_FAILED, "the connection is broken" },
	{ MBEDTLS_ERR_SSL_INVALID_RECORD, "the other end does not speak TLS" },
	{ MBEDTLS_ERR_SSL_VERSION_MISMATCH, "the other end does not speak TLS 1.3" },
	{ MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "the other end does not speak TLS 1.3" },
	{ MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, "the other end does not speak TLS 1.3" },
	{ MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "the two ends have nothing in common: Ferry takes "
					     "TLS_CHACHA20_POLY1305_SHA256" },
	{ MBEDTLS_ERR_SSL_DECODE_ERROR, "the other end's handshake is not well formed" },
	{ MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, "the other end's handshake is not well formed" },
	{ MBEDTLS_ERR_X509_INVALID_FORMAT, "the other end's certificate is not well formed" },
	{ MBEDTLS_ERR_SSL_INVALID_MAC, "bytes of the connection were changed on their way" },
	{ MBEDTLS_ERR_SSL_BAD_INPUT_DATA,
	  "the other end sends a message that is longer than a handshake's may be" },
	{ MBEDTLS_ERR_SSL_ALLOC_FAILED, "the other end wants more memory than a handshake may have" },
};

/* Returns the error that the table has for @ret: those of the parser have a lower part that says what of it
 * failed. */
static int tls_error_class(int ret)
{
	const int high = -(-ret & ~0x7f);

	if (high >= MBEDTLS_ERR_X509_ALLOC_FAILED && high <= MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE)
		return ret - high == MBEDTLS_ERR_ASN1_ALLOC_FAILED ? MBEDTLS_ERR_SSL_ALLOC_FAILED
								   : MBEDTLS_ERR_X509_INVALID_FORMAT;
	return ret;
}

void tls_reason_error(int ret, struct error *err)
{
	const int class = tls_error_class(ret);

	for (unsigned int i = 0; i < ARRAY_SIZE(tls_error_words); i++) {
		if (tls_error_words[i].ret == class) {
			error_add(err, "%s", tls_error_words[i].words);
			return;
		}
	}
	error_add(err, "the TLS handshake failed (mbedTLS -0x%04x)", (unsigned int)-ret);
}
