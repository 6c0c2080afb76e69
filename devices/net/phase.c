/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The phases of a NIC's life, as a table. */
#include "devices/net/phase.h"

#include <assert.h>

#include "vmm/util.h"

static const char *const net_phase_names[] = {
	[NET_PHASE_OFF] = "off",          [NET_PHASE_WARM] = "warm",   [NET_PHASE_SHADOW] = "shadow rings",
	[NET_PHASE_PASS] = "passthrough", [NET_PHASE_STILL] = "still", [NET_PHASE_BROKEN] = "broken",
};

static const struct net_phase_row {
	enum net_phase from;
	enum net_step step;
	enum net_phase to;
} net_phase_table[] = {
	{ NET_PHASE_OFF, NET_STEP_WARM, NET_PHASE_WARM },
	{ NET_PHASE_OFF, NET_STEP_SHADOW, NET_PHASE_SHADOW },
	{ NET_PHASE_OFF, NET_STEP_PASS, NET_PHASE_PASS },
	/* A device that refuses to start for its driver; and a driver that arrives with a NIC that was
	   broken. */
	{ NET_PHASE_OFF, NET_STEP_BREAK, NET_PHASE_BROKEN },
	{ NET_PHASE_OFF, NET_STEP_END, NET_PHASE_OFF },

	{ NET_PHASE_WARM, NET_STEP_ARRIVE, NET_PHASE_STILL },
	{ NET_PHASE_WARM, NET_STEP_BREAK, NET_PHASE_BROKEN },
	{ NET_PHASE_WARM, NET_STEP_END, NET_PHASE_OFF },

	/* The device has been started again, as for the reset of one ring. */
	{ NET_PHASE_SHADOW, NET_STEP_SHADOW, NET_PHASE_SHADOW },
	{ NET_PHASE_SHADOW, NET_STEP_PASS, NET_PHASE_PASS },
	{ NET_PHASE_SHADOW, NET_STEP_PAUSE, NET_PHASE_STILL },
	{ NET_PHASE_SHADOW, NET_STEP_BREAK, NET_PHASE_BROKEN },
	{ NET_PHASE_SHADOW, NET_STEP_END, NET_PHASE_OFF },

	{ NET_PHASE_PASS, NET_STEP_SHADOW, NET_PHASE_SHADOW },
	{ NET_PHASE_PASS, NET_STEP_BREAK, NET_PHASE_BROKEN },
	{ NET_PHASE_PASS, NET_STEP_END, NET_PHASE_OFF },

	{ NET_PHASE_STILL, NET_STEP_RESUME, NET_PHASE_SHADOW },
	{ NET_PHASE_STILL, NET_STEP_BREAK, NET_PHASE_BROKEN },
	{ NET_PHASE_STILL, NET_STEP_END, NET_PHASE_OFF },

	{ NET_PHASE_BROKEN, NET_STEP_END, NET_PHASE_OFF },
};

int net_phase_after(enum net_phase from, enum net_step step)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(net_phase_table); i++) {
		if (net_phase_table[i].from == from && net_phase_table[i].step == step)
			return (int)net_phase_table[i].to;
	}
	return -1;
}

void net_phase_step(enum net_phase *phase, enum net_step step, const char *name, struct log_limit *limit)
{
	int to = net_phase_after(*phase, step);

	assert(to >= 0);
	if ((enum net_phase)to != *phase)
		log_limited(limit, LOG_DEBUG, "%s: %s -> %s", name, net_phase_names[*phase],
			    net_phase_names[to]);
	*phase = (enum net_phase)to;
}
