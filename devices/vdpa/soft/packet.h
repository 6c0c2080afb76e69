/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the NIC in software: Ethernet's header, MAC addresses as numbers, and which segmentation is
 * permitted. Plain functions, any thread. */
#ifndef FERRY_DEVICES_VDPA_SOFT_PACKET_H
#define FERRY_DEVICES_VDPA_SOFT_PACKET_H

#include <stdbool.h>
#include <stdint.h>

/* A frame that is looked at has Ethernet's header at least. */
#define SOFT_MIN_FRAME 14u

#define SOFT_ETHERTYPE_VLAN 0x8100u

/* A guest can take these offloads, and turn them off and on by command. */
#define SOFT_GUEST_OFFLOADS                                                                                  \
	(VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_HDRLEN))

static inline uint16_t soft_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* A MAC address as a number, its first byte highest. */
static inline uint64_t soft_mac_key(const uint8_t *mac)
{
	return (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 | (uint64_t)mac[2] << 24 |
	       (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];
}

/*
 * @gso_type is the field of a packet's header. Whether a driver that has accepted @features may ask the
 * device for this segmentation; and whether a guest that takes @offloads may be given a packet with it.
 */
bool soft_gso_to_device(uint8_t gso_type, uint64_t features);
bool soft_gso_to_guest(uint8_t gso_type, uint64_t offloads);

#endif
