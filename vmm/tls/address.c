/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of a place; what they lead to is ferry-tls's, in tcp.c. */
#include "vmm/tls/address.h"

#include <errno.h>

#include "vmm/config_text.h"

int tls_address_parse(struct tls_address *a, const char *text, struct error *err)
{
	const bool bracketed = text[0] == '[';
	const char *host = text + bracketed;
	const char *end = bracketed ? strchr(host, ']') : strchr(host, ':');
	const char *port = end ? end + bracketed : NULL;
	const size_t len = end ? (size_t)(end - host) : 0;

	if (len < 1 || len >= sizeof(a->host) || *port != ':' || !config_port_valid(port + 1)) {
		error_add(err, "tls:%s: give tls:HOST:PORT, with an IPv6 address in brackets", text);
		return -EINVAL;
	}
	memcpy(a->host, host, len);
	a->host[len] = '\0';
	strcpy(a->port, port + 1);
	return 0;
}
