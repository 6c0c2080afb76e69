/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A channel whose peer is a buffer, in the place of migration/channel.c: see the header. */
#include "tests/fuzz/channel.h"

#include <assert.h>
#include <errno.h>

static struct fuzz_peer *peer;
static bool taken;

void fuzz_channel_set_peer(struct fuzz_peer *p)
{
	peer = p;
	taken = false;
}

int channel_listen(struct channel_listener *l, const char *address, int cancel_fd, struct error *err)
{
	*l = (struct channel_listener){ .socket = { .fd = 0, .cancel_fd = cancel_fd }, .address = address };
	return 0;
}

/* There is one alone, and then the operator has had enough. */
int channel_take(struct channel_listener *l, struct channel *c, struct error *err)
{
	if (taken) {
		error_add(err, "nobody else comes");
		return -ECANCELED;
	}
	taken = true;
	*c = l->socket;
	return 0;
}

/* The peer comes when it is waited for. */
bool channel_is_pending(const struct channel_listener *l)
{
	return false;
}

void channel_unlisten(struct channel_listener *l)
{
	l->socket.fd = -1;
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
