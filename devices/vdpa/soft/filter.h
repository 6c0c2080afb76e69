/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which packets the NIC in software gives to its guest (virtio 1.4, "Packet Receive Filtering", "VLAN
 * Filtering"). Plain data; the values come from commands that ctrl.c has checked. */
#ifndef FERRY_DEVICES_VDPA_SOFT_FILTER_H
#define FERRY_DEVICES_VDPA_SOFT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_N_RX_MODES 6u
#define SOFT_MAX_MACS   4096u /* in each table */
#define SOFT_N_VLANS    4096u

struct soft_filter {
	bool mode[SOFT_N_RX_MODES]; /* index = command of class RX */
	bool by_vlan;               /* VIRTIO_NET_F_CTRL_VLAN is negotiated */
	uint32_t n_unicast, n_multicast;
	uint64_t unicast[SOFT_MAX_MACS]; /* in ascending order */
	uint64_t multicast[SOFT_MAX_MACS];
	uint64_t vlans[SOFT_N_VLANS / 64];
};

/* As a device with these features has it at first. */
void soft_filter_reset(struct soft_filter *f, uint64_t features);

/* Six bytes for each address, SOFT_MAX_MACS at most in each table. */
void soft_filter_set_macs(struct soft_filter *f, const uint8_t *unicast, uint32_t n_unicast,
			  const uint8_t *multicast, uint32_t n_multicast);
void soft_filter_add_vlan(struct soft_filter *f, uint16_t vid);
void soft_filter_remove_vlan(struct soft_filter *f, uint16_t vid);

/* Whether a frame of SOFT_MIN_FRAME bytes at least is for the guest, whose address is @mac. */
bool soft_filter_passes(const struct soft_filter *f, const uint8_t *mac, const uint8_t *frame, uint32_t len);

#endif
