/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics of the NIC in software (virtio 1.4, "Device Statistics"): replies made of its counters. */
#ifndef FERRY_DEVICES_VDPA_SOFT_STATS_H
#define FERRY_DEVICES_VDPA_SOFT_STATS_H

#include "devices/vdpa/soft/device.h"

/*
 * Write the reply of STATS_QUERY, which has 8 bytes, and of STATS_GET with the payload @request, to @reply.
 * Return its length, or -1 if the request is wrong. The reply of STATS_GET ends where @size bytes have no
 * room for one more structure.
 */
int soft_stats_query(const struct soft *soft, uint8_t *reply);
int soft_stats_get(const struct soft *soft, const uint8_t *request, uint32_t len, uint8_t *reply,
		   uint32_t size);

#endif
