/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line between two hosts: see the header. */
#include "tests/fault/link.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fake/socket_bytes.h"

#define LINK_FRAME_MAX (sizeof(struct stream_header) + (16u << 20))

struct link_thread {
	struct link *link;
	enum link_way way;
};

/* A byte a millisecond from @place on, for as long as the fault lasts; how many. */
static size_t link_drip(struct link *l, int to, const uint8_t *buf, size_t len)
{
	size_t n = 0;

	while (n < len && n < l->ms && !l->ends && fake_write_all(to, buf + n, 1)) {
		poll(NULL, 0, 1);
		n++;
	}
	return n;
}

/* Passes on the frame at which the fault is; false where nothing follows on this way. */
static bool link_fault_at(struct link *l, enum link_way way, int to, uint8_t *buf, size_t len)
{
	size_t place = l->place % (len + 1);

	l->type = (int)get_le32(buf);
	l->way = way;
	if (l->fault == LINK_FLIP)
		buf[place % len] ^= (uint8_t)(1u << (l->place / len % 8));
	if (!fake_write_all(to, buf, place))
		return false;
	l->reached = true;
	switch (l->fault) {
	case LINK_CUT:
	case LINK_HALF:
		return false;
	case LINK_STALL:
		poll(NULL, 0, (int)l->ms);
		break;
	case LINK_DRIP:
		place += link_drip(l, to, buf + place, len - place);
		break;
	case LINK_CALL:
		l->act(l->opaque);
		break;
	case LINK_WELL:
	case LINK_FLIP:
		break;
	}
	return fake_write_all(to, buf + place, len - place);
}

static bool link_is_here(struct link *l, enum link_way way, unsigned int frame, int type)
{
	if (l->fault == LINK_WELL || l->reached)
		return false;
	return l->at_type ? type == l->at_type : way == l->way && frame == l->frame;
}

static bool link_pass(struct link *l, enum link_way way, int from, int to, uint8_t *buf)
{
	size_t len = sizeof(struct stream_header);
	unsigned int frame;

	if (!fake_read_all(from, buf, len))
		return false;
	len += get_le32(buf + 4);
	assert(len <= LINK_FRAME_MAX);
	if (!fake_read_all(from, buf + sizeof(struct stream_header), len - sizeof(struct stream_header)))
		return false;
	frame = l->n_frames[way]++;
	if (l->edit)
		l->edit(l, way, buf);
	if (link_is_here(l, way, frame, (int)get_le32(buf))) {
		if (!link_fault_at(l, way, to, buf, len))
			return false;
	} else if (!fake_write_all(to, buf, len)) {
		return false;
	}
	if (get_le32(buf) == STREAM_COMMIT)
		l->committed = true;
	if (get_le32(buf) == STREAM_RUNNING)
		l->running = true;
	return true;
}

static void *link_run(void *arg)
{
	struct link_thread *t = arg;
	struct link *l = t->link;
	int from = l->fds[t->way], to = l->fds[!t->way];
	uint8_t *buf = malloc(LINK_FRAME_MAX);

	assert(buf);
	while (link_pass(l, t->way, from, to, buf))
		;
	free(buf);
	/* A line that is half dead looks well to who listens on it. */
	if (l->reached && l->fault == LINK_HALF && t->way == l->way) {
		free(t);
		return NULL;
	}
	shutdown(from, SHUT_RDWR);
	shutdown(to, SHUT_RDWR);
	free(t);
	return NULL;
}

void link_start(struct link *l, int source, int destination)
{
	l->begun = true;
	l->fds[LINK_THERE] = source;
	l->fds[LINK_BACK] = destination;
	for (enum link_way way = 0; way < LINK_N_WAYS; way++) {
		struct link_thread *t = malloc(sizeof(*t));
		int ret;

		assert(t);
		*t = (struct link_thread){ .link = l, .way = way };
		ret = pthread_create(&l->threads[way], NULL, link_run, t);
		assert(ret == 0);
		(void)ret;
	}
}

void link_join(struct link *l)
{
	l->ends = true;
	for (enum link_way way = 0; way < LINK_N_WAYS; way++)
		shutdown(l->fds[way], SHUT_RDWR);
	for (enum link_way way = 0; way < LINK_N_WAYS; way++)
		pthread_join(l->threads[way], NULL);
	for (enum link_way way = 0; way < LINK_N_WAYS; way++)
		close(l->fds[way]);
}
