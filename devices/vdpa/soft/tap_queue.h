/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of a TAP interface that somebody else has opened, for the port in tap.c. */
#ifndef FERRY_DEVICES_VDPA_SOFT_TAP_QUEUE_H
#define FERRY_DEVICES_VDPA_SOFT_TAP_QUEUE_H

#include <net/if.h>

#include "vmm/config_net.h"

struct soft_tap_queue {
	char name[IFNAMSIZ]; /* the interface's */
	bool attached;
};

/*
 * Looks whether config->tap_fds[@index] can be the queue of a pair, and makes it not wait. What TUNSETIFF has
 * set stays for ever, so it is refused where it is not what Ferry would have set. 0, or -EINVAL with the
 * reason; the descriptor stays the caller's.
 */
int __must_check soft_tap_queue_look(struct soft_tap_queue *queue, const struct net_config *config,
				     unsigned int index, struct error *err);

#endif
