/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a NIC in software: see the header. */
#include "devices/vdpa/soft/device.h"

void soft_config_changed(struct soft *soft)
{
	loop_signal(soft->config_call);
}

void soft_set_status_bits(struct soft *soft, uint16_t set, uint16_t clear)
{
	uint8_t *p = soft->config + SOFT_CONFIG(status);

	put_le16(p, (uint16_t)((get_le16(p) | set) & ~clear));
	soft_config_changed(soft);
}

void soft_watch(struct soft *soft)
{
	soft_port_watch(soft->port, soft_steering_pairs(&soft->steering));
}

void soft_unwatch(struct soft *soft)
{
	soft_port_watch(soft->port, 0);
}

int soft_steer(struct soft *soft, const struct soft_steering *next)
{
	int ret;

	soft_unwatch(soft);
	ret = soft_port_set_pairs(soft->port, soft_steering_pairs(next));
	if (ret == 0)
		soft->steering = *next;
	soft_watch(soft);
	return ret;
}
