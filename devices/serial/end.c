/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A descriptor at the host's end of the serial port, of any kind, and watching it. */
#include "devices/serial/end.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

void serial_end_init(struct serial_end *e, struct loop *loop,
		     void (*fn)(struct loop_source *src, uint32_t events))
{
	*e = (struct serial_end){ .loop = loop, .src = { .fd = -1, .fn = fn } };
}

void serial_end_open(struct serial_end *e, int fd)
{
	struct stat st;
	int ret = -EBADF;

	e->src.fd = fd;
	if (fd < 0 || fstat(fd, &st) < 0)
		st.st_mode = 0;
	e->is_fifo = S_ISFIFO(st.st_mode);
	e->is_socket = S_ISSOCK(st.st_mode);
	if (fd >= 0)
		ret = loop_add(e->loop, &e->src, 0);
	e->watched = ret == 0;
	e->events = 0;
	/* Any other error is a shortage, which serial_end_watch() meets again. */
	e->always_ready = ret == -EPERM;
}

void serial_end_close(struct serial_end *e)
{
	if (e->watched)
		loop_del(e->loop, &e->src);
	if (e->src.fd >= 0)
		close(e->src.fd);
	e->src.fd = -1;
	e->watched = false;
}

int serial_end_watch(struct serial_end *e, uint32_t events)
{
	bool watch = events && !e->always_ready;
	int ret = 0;

	if (e->src.fd < 0 || (e->watched == watch && e->events == events))
		return 0;
	if (e->watched)
		loop_del(e->loop, &e->src);
	if (watch)
		ret = loop_add(e->loop, &e->src, events);
	e->watched = watch && ret == 0;
	e->events = events;
	return ret;
}
