/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What holds of a NIC between two events: see the header. */
#include "tests/fake/net_phase.h"

#include <assert.h>

/* A thing that holds in a phase, does not, or may. */
enum holds { NO, YES, MAY };

static const struct rule {
	enum holds started; /* the device is at DRIVER_OK */
	enum holds shadow;  /* data queues have shadow rings */
	enum holds open;    /* the guest's rings may be touched */
	enum holds failed;  /* the path has failed */
} rules[] = {
	[NET_PHASE_OFF] = { NO, NO, NO, NO },       [NET_PHASE_WARM] = { YES, YES, NO, NO },
	[NET_PHASE_SHADOW] = { YES, YES, YES, NO }, [NET_PHASE_PASS] = { YES, NO, YES, NO },
	[NET_PHASE_STILL] = { YES, YES, NO, NO },   [NET_PHASE_BROKEN] = { MAY, MAY, MAY, YES },
};

static void check(enum holds holds, bool is)
{
	assert(holds == MAY || is == (holds == YES));
}

void fake_net_check_phase(const struct net *net)
{
	const struct rule *rule = &rules[net->phase];

	check(rule->started, net->backend.started);
	check(rule->open, net->path.open);
	check(rule->failed, net_path_failed(&net->path));
	assert(net->path.live == (net->backend.started && net->phase != NET_PHASE_BROKEN));
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		const struct net_queue *q = &net->queues[i];

		check(rule->shadow, q->svq.size > 0);
		/* The device's doorbell, and the guest's ring without Ferry, are for passthrough alone. */
		assert(!q->doorbell || net->phase == NET_PHASE_PASS);
		assert(!q->attached || net->phase == NET_PHASE_SHADOW || net->phase == NET_PHASE_STILL ||
		       net->phase == NET_PHASE_BROKEN);
		assert(q->held || q->n_held == 0);
	}
	if (net->phase == NET_PHASE_PASS)
		assert(net->pins == 0 && net->backend.mapping == NET_MAP_MEMORY);
}
