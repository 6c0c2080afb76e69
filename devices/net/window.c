/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's shadow memory. */
#include "devices/net/window.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int net_window_init(struct net_window *w, struct memory *memory, struct error *err)
{
	w->iova = align_up(memory_end(memory), MIB(2));
	w->fd = memory_create_file("ferry-window", w->len);
	if (w->fd < 0) {
		error_add(err, "cannot create shadow memory: %s", strerror(-w->fd));
		return w->fd;
	}
	w->hva = mmap(NULL, w->len, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	if (w->hva == MAP_FAILED) {
		w->hva = NULL;
		error_add(err, "cannot map shadow memory: %s", strerror(errno));
		return -errno;
	}
	memory_hide(memory, w->hva, w->len);
	return 0;
}

void net_window_exit(struct net_window *w)
{
	if (w->hva)
		munmap(w->hva, w->len);
	if (w->fd >= 0)
		close(w->fd);
	w->hva = NULL;
	w->fd = -1;
}
