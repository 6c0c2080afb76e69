/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names in certificates. Their bytes come from whoever the CA has signed for, so they are bounded and
 * cleaned. */
#include "vmm/tls/name.h"

#include <arpa/inet.h>
#include <strings.h>

#include "vmm/text.h"

/* The choices of GeneralName that matter. */
#define TLS_SAN_DNS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME)
#define TLS_SAN_IP  (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_IP_ADDRESS)

/* A name as it is in a certificate. */
struct tls_wanted {
	int tag;
	size_t len;
	unsigned char address[sizeof(struct in6_addr)];
	const char *text;
};

static void tls_wanted_init(struct tls_wanted *w, const char *name)
{
	w->text = name;
	w->tag = TLS_SAN_IP;
	w->len = sizeof(struct in_addr);
	if (inet_pton(AF_INET, name, w->address) == 1)
		return;
	w->len = sizeof(struct in6_addr);
	if (inet_pton(AF_INET6, name, w->address) == 1)
		return;
	w->tag = TLS_SAN_DNS;
	w->len = strlen(name);
}

static bool tls_san_is(const mbedtls_x509_buf *san, const struct tls_wanted *w)
{
	if (san->tag != w->tag || san->len != w->len || w->len == 0)
		return false;
	if (w->tag == TLS_SAN_IP)
		return memcmp(san->p, w->address, w->len) == 0;
	/* A NUL inside would end the comparison early. */
	return !memchr(san->p, '\0', san->len) && strncasecmp((const char *)san->p, w->text, w->len) == 0;
}

bool tls_name_is(const mbedtls_x509_crt *cert, const char *name)
{
	struct tls_wanted wanted;

	tls_wanted_init(&wanted, name);
	for (const mbedtls_x509_sequence *s = &cert->subject_alt_names; s; s = s->next) {
		if (tls_san_is(&s->buf, &wanted))
			return true;
	}
	return false;
}

bool tls_name_first(const mbedtls_x509_crt *cert, char name[TLS_NAME_MAX])
{
	for (const mbedtls_x509_sequence *s = &cert->subject_alt_names; s; s = s->next) {
		const mbedtls_x509_buf *san = &s->buf;

		if (san->tag == TLS_SAN_DNS && san->len > 0 && san->len < TLS_NAME_MAX &&
		    !memchr(san->p, '\0', san->len)) {
			memcpy(name, san->p, san->len);
			name[san->len] = '\0';
			text_clean(name, san->len);
			return true;
		}
		if (san->tag == TLS_SAN_IP &&
		    (san->len == sizeof(struct in_addr) || san->len == sizeof(struct in6_addr)))
			return inet_ntop(san->len == sizeof(struct in_addr) ? AF_INET : AF_INET6, san->p,
					 name, TLS_NAME_MAX) != NULL;
	}
	return false;
}
