/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of a TAP interface that somebody else has opened: see the header. */
#include "devices/vdpa/soft/tap_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns what is wrong with the queue, or NULL. */
static const char *tap_queue_fault(const struct net_config *config, int fd, struct ifreq *ifr)
{
	const short needed = IFF_TAP | IFF_VNET_HDR;
	int flags = fcntl(fd, F_GETFL);

	/* Without ioctl(), whose request is an int in musl and an unsigned long in glibc. */
	if (syscall(SYS_ioctl, fd, TUNGETIFF, ifr) < 0)
		return "not an open queue of a TAP interface (TUNSETIFF)";
	if ((ifr->ifr_flags & needed) != needed)
		return "to be opened with IFF_TAP and IFF_VNET_HDR";
	if (config->n_queues > 1 && !(ifr->ifr_flags & IFF_MULTI_QUEUE))
		return "to be opened with IFF_MULTI_QUEUE, as the queue of one pair";
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return "not to be had without waiting (O_NONBLOCK)";
	return NULL;
}

int soft_tap_queue_look(struct soft_tap_queue *queue, const struct net_config *config, unsigned int index,
			struct error *err)
{
	struct ifreq ifr = { 0 };
	int fd = config->tap_fds[index];
	const char *fault = tap_queue_fault(config, fd, &ifr);

	if (fault) {
		error_add(err, "tap=%s: descriptor %d is %s", config->tap, fd, fault);
		return -EINVAL;
	}
	memcpy(queue->name, ifr.ifr_name, sizeof(queue->name));
	queue->name[sizeof(queue->name) - 1] = '\0';
	queue->attached = !(ifr.ifr_flags & IFF_DETACH_QUEUE);
	return 0;
}
