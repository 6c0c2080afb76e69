/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A channel whose peer is a buffer, in the place of migration/channel.c and migration/arrivals.c: see the
 * header. */
#include "tests/fuzz/channel.h"

#include <assert.h>
#include <errno.h>

#include "migration/clock.h"

static struct fuzz_peer *peer;
static bool taken;

void fuzz_channel_set_peer(struct fuzz_peer *p)
{
	peer = p;
	taken = false;
}

void arrivals_open(struct arrivals *a)
{
}

void arrivals_close(struct arrivals *a, const char *reason)
{
}

void arrivals_settle(struct arrivals *a, int ret, const char *reason)
{
}

/* There is one alone, and then the operator has had enough. */
int arrivals_take(struct arrivals *a, int cancel_fd, struct arrivals_connection *taken_one, struct error *err)
{
	if (taken) {
		error_add(err, "nobody else comes");
		return -ECANCELED;
	}
	taken = true;
	*taken_one = (struct arrivals_connection){ .fd = 0, .arrived = realtime_ns() };
	return 0;
}

int channel_adopt(struct channel *c, int fd, int cancel_fd, struct error *err)
{
	*c = (struct channel){ .fd = fd, .cancel_fd = cancel_fd };
	return 0;
}

void channel_close(struct channel *c)
{
	c->fd = -1;
}

int channel_writev(struct channel *c, struct iovec *iov, int n, int timeout_ms, uint64_t *done)
{
	uint64_t sent = 0;

	assert(c->fd == 0);
	for (int i = 0; i < n; i++) {
		uint64_t room = sizeof(peer->said) - peer->n_said;

		/* As much as anybody looks at. */
		if (iov[i].iov_len > 0 && room > 0)
			memcpy(peer->said + peer->n_said, iov[i].iov_base, min_u64(iov[i].iov_len, room));
		peer->n_said += (uint32_t)min_u64(iov[i].iov_len, room);
		sent += iov[i].iov_len;
	}
	if (done)
		*done = sent;
	return 0;
}

/* In pieces of different lengths, as a network would. */
ssize_t channel_readv(struct channel *c, struct iovec *iov, int n, int timeout_ms)
{
	uint32_t left = peer->len - peer->pos, total = 0;

	assert(c->fd == 0);
	if (left == 0)
		return -EPIPE;
	if (peer->max_piece && left > peer->max_piece)
		left = peer->max_piece;
	for (int i = 0; i < n && left > 0; i++) {
		uint32_t some = (uint32_t)min_u64(iov[i].iov_len, left);

		if (some > 0)
			memcpy(iov[i].iov_base, peer->data + peer->pos, some);
		peer->pos += some;
		left -= some;
		total += some;
	}
	return total;
}

int channel_read(struct channel *c, void *dst, size_t len, int timeout_ms)
{
	uint8_t *at = dst;

	while (len > 0) {
		struct iovec iov = { .iov_base = at, .iov_len = len };
		ssize_t got = channel_readv(c, &iov, 1, timeout_ms);

		if (got < 0)
			return (int)got;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

int channel_drain(struct channel *c, int timeout_ms)
{
	return 0;
}

int channel_check(struct channel *c)
{
	return 0;
}

int channel_await(struct channel *c, int fd, int timeout_ms)
{
	return 0;
}

void channel_linger(struct channel *c, int timeout_ms)
{
}
