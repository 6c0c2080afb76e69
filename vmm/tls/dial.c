/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ferry-tls that connects. */
#include "vmm/tls/dial.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/tls/address.h"
#include "vmm/tls/spawn.h"

/* For a name to be found, and TCP to connect. */
#define TLS_CONNECT_MS 25000

/* For ferry-tls to start, beside the time of its handshake, and to end after a refusal. */
#define TLS_START_MS 2000
#define TLS_END_MS   3000

static int tls_dial_result(struct tls_connection *c, struct tls_child *child, struct error *err)
{
	struct tls_result result;

	tls_result_recv(child->result_fd, end_of(TLS_CONNECT_MS + TLS_TIMEOUT_MS + TLS_START_MS), &result,
			&c->fd);
	memcpy(c->peer, result.peer, sizeof(c->peer));
	if (result.outcome == TLS_PUMP) {
		close(child->result_fd);
		c->pump = child->pid;
		return 0;
	}
	/* Says good-bye to the other end, or has nothing to do any more. */
	tls_child_end(child, TLS_END_MS);
	if (result.outcome == TLS_KERNEL)
		return 0;
	error_add(err, "%s", result.reason.text);
	return result.error ? -result.error : -EACCES;
}

int tls_dial(struct tls_connection *c, const char *place, const char *dir, const char *peer,
	     struct error *err)
{
	struct tls_options o = {
		.role = TLS_CONNECT, .dir = dir, .place = place, .peer = peer, .timeout_ms = TLS_TIMEOUT_MS
	};
	struct tls_address address;
	struct tls_child child;
	int ret;

	*c = (struct tls_connection){ .fd = -1 };
	ret = tls_address_parse(&address, place, err);
	if (ret == 0)
		ret = tls_spawn_check(err);
	if (ret < 0)
		return ret;
	o.host = address.host;
	ret = tls_spawn(&child, &o, err);
	return ret < 0 ? ret : tls_dial_result(c, &child, err);
}
