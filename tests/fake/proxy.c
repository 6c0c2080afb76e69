/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A man in the middle: see the header. */
#include "tests/fake/proxy.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/socket_bytes.h"

#define PROXY_RECORD_MAX (64u << 20)

static struct sockaddr_un proxy_address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

static void proxy_record(struct proxy *p, const uint8_t *frame, size_t len)
{
	assert(p->n_recorded + len <= PROXY_RECORD_MAX && p->n_frames < ARRAY_SIZE(p->frames));
	p->frames[p->n_frames++] = p->n_recorded;
	memcpy(p->recorded + p->n_recorded, frame, len);
	p->n_recorded += len;
}

/* One frame from @from to @to; false at the end. */
static bool proxy_pass(struct proxy *p, int from, int to, uint8_t *buf)
{
	size_t len, pass;
	bool cut;

	if (!fake_read_all(from, buf, sizeof(struct stream_header)))
		return false;
	len = sizeof(struct stream_header) + get_le32(buf + 4);
	if (len > sizeof(struct stream_header) + (4u << 20) ||
	    !fake_read_all(from, buf + sizeof(struct stream_header), len - sizeof(struct stream_header)))
		return false;
	cut = p->type != 0 && get_le32(buf) == (uint32_t)p->type;
	pass = len;
	if (cut) {
		p->reached = true;
		pass = p->cut == PROXY_BEFORE      ? 0
		       : p->cut == PROXY_IN_HEADER ? 9
		       : p->cut == PROXY_AFTER     ? len
						   : (sizeof(struct stream_header) + len) / 2;
		/* A frame without payload has no middle. */
		if (p->cut == PROXY_IN_PAYLOAD && len == sizeof(struct stream_header))
			pass = len - 1;
	}
	if (from == p->fds[0] && !cut)
		proxy_record(p, buf, len);
	return fake_write_all(to, buf, pass) && !cut;
}

static void proxy_pump(struct proxy *p, int from, int to)
{
	uint8_t *buf = malloc(sizeof(struct stream_header) + (4u << 20));

	while (proxy_pass(p, from, to, buf))
		;
	free(buf);
	shutdown(p->fds[0], SHUT_RDWR);
	shutdown(p->fds[1], SHUT_RDWR);
}

static void *proxy_back(void *arg)
{
	struct proxy *p = arg;

	proxy_pump(p, p->fds[1], p->fds[0]);
	return NULL;
}

static void *proxy_run(void *arg)
{
	struct proxy *p = arg;
	struct sockaddr_un sa = proxy_address(p->to);

	p->fds[0] = accept(p->listen_fd, NULL, NULL);
	do {
		sched_yield();
		if (p->fds[1] >= 0)
			close(p->fds[1]);
		p->fds[1] = socket(AF_UNIX, SOCK_STREAM, 0);
	} while (connect(p->fds[1], (struct sockaddr *)&sa, sizeof(sa)) < 0);
	pthread_create(&p->threads[1], NULL, proxy_back, p);
	proxy_pump(p, p->fds[0], p->fds[1]);
	pthread_join(p->threads[1], NULL);
	close(p->fds[0]);
	close(p->fds[1]);
	return NULL;
}

void proxy_start(struct proxy *p)
{
	struct sockaddr_un sa = proxy_address(p->listen);
	int ret;

	p->recorded = malloc(PROXY_RECORD_MAX);
	p->fds[0] = p->fds[1] = -1;
	unlink(p->listen);
	p->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ret = bind(p->listen_fd, (struct sockaddr *)&sa, sizeof(sa));
	assert(ret == 0);
	ret = listen(p->listen_fd, 1);
	assert(ret == 0);
	(void)ret;
	pthread_create(&p->threads[0], NULL, proxy_run, p);
}

void proxy_join(struct proxy *p)
{
	pthread_join(p->threads[0], NULL);
	close(p->listen_fd);
	unlink(p->listen);
}

void proxy_free(struct proxy *p)
{
	free(p->recorded);
}
