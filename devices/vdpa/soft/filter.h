/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter of packets that the NIC in software gives to its guest (virtio 1.4, "Packet Receive Filtering",
 * "VLAN Filtering"). Plain data; the values come from commands that ctrl.c has checked.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_FILTER_H
#define FERRY_DEVICES_VDPA_SOFT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_N_RX_MODES 6u
#define SOFT_MAX_MACS   4096u /* in each table */
#define SOFT_N_VLANS    4096u

struct soft_filter {
	bool mode[SOFT_N_RX_MODES]; /* index = command of class RX */
	bool by_vlan;               /* the driver filters by VLAN */
	uint32_t n_unicast, n_multicast;
	uint64_t unicast[SOFT_MAX_MACS]; /* in ascending order */
	uint64_t multicast[SOFT_MAX_MACS];
	uint64_t vlans[SOFT_N_VLANS / 64];
};

/* Sets the state at DRIVER_OK of a device whose driver has accepted @features. */
void soft_filter_reset(struct soft_filter *f, uint64_t features);

/* Takes both tables in place of the old ones. An address has six bytes, a table SOFT_MAX_MACS addresses at
 * most. */
void soft_filter_set_macs(struct soft_filter *f, const uint8_t *unicast, uint32_t n_unicast,
			  const uint8_t *multicast, uint32_t n_multicast);
void soft_filter_add_vlan(struct soft_filter *f, uint16_t vid);
void soft_filter_remove_vlan(struct soft_filter *f, uint16_t vid);

/* Whether the guest, whose address is @mac, gets a frame of SOFT_MIN_FRAME bytes at least. */
bool soft_filter_passes(const struct soft_filter *f, const uint8_t *mac, const uint8_t *frame, uint32_t len);

#endif
