/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command at another host, heard for a bounded time and a bounded length. */
#include "vmm/host/host_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/host/host_parse.h"

/* For a login over a slow line, and for a look at devices, each of which takes some milliseconds. */
#define HOST_PEER_MS 60000

/* Reads to the end. Returns the length, or -errno. */
static ssize_t host_peer_read(int fd, char *text, size_t size)
{
	uint64_t end_ns = end_of(HOST_PEER_MS);
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (len == size)
			return -EMSGSIZE;
		n = poll(&p, 1, ms_until(end_ns));
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0)
			n = read(fd, text + len, size - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return (ssize_t)len;
		len += n > 0 ? (size_t)n : 0;
	}
}

/* Says why there is no report: by how ssh, or the command there, has ended. */
static void host_peer_failed(const char *host, ssize_t len, const struct error *end, struct error *err)
{
	if (len == -ETIMEDOUT)
		error_add(err, "%s has not answered within %u s", host, HOST_PEER_MS / 1000);
	else if (len == -EMSGSIZE)
		error_add(err, "%s says more than a report can have", host);
	else if (len < 0)
		error_add(err, "cannot read the answer of %s: %s", host, strerror((int)-len));
	else
		error_add(err, "%s has no report: %s (with 2 its Ferry may be one without \"ferry doctor\")",
			  host, end->text[0] ? end->text : "the command has ended without one");
}

int host_peer_ask(struct host_report *r, struct host_moments *moments, const char *host,
		  const struct transport_options *options, struct error *err)
{
	static const char *const words[] = { "ferry", "doctor", "--json", NULL };
	char *text = malloc(HOST_TEXT_MAX);
	struct error end = { 0 };
	struct transport t;
	ssize_t len;
	int ret;

	if (!text) {
		error_add(err, "out of memory for the report of %s", host);
		return -ENOMEM;
	}
	moments->from_us = realtime_ns() / 1000u;
	ret = transport_run_at(&t, host, words, options, err);
	if (ret < 0)
		goto free_text;
	len = host_peer_read(t.fd, text, HOST_TEXT_MAX);
	moments->to_us = realtime_ns() / 1000u;
	/* A host on which something is missing ends its command with an error, too. */
	transport_close(&t, &end);
	if (len <= 0) {
		host_peer_failed(host, len, &end, err);
		ret = len < 0 ? (int)len : -ENODATA;
	} else {
		ret = host_parse(r, text, (size_t)len, host, err);
	}
free_text:
	free(text);
	return ret;
}
