/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of segmentation, and the features that permit them. */
#include "devices/vdpa/soft/packet.h"

#include "devices/virtio/virtio.h"

/* Debian 12's uapi headers lack this. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* One of the bits of @host permits a kind towards the device, one of the bits of @guest towards the guest. */
static const struct soft_gso {
	uint8_t type;
	uint64_t host, guest;
} soft_gso_types[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4), VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) },
	{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6), VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO), VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) },
	{ VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_BIT(VIRTIO_NET_F_HOST_USO),
	  VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) },
};

static const struct soft_gso *soft_gso_find(uint8_t gso_type)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(soft_gso_types); i++) {
		if (soft_gso_types[i].type == (gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
			return &soft_gso_types[i];
	}
	return NULL;
}

/* Whether the flag for ECN may be set as it is. ECN is no kind of its own, but goes with the two kinds of
 * TCP. */
static bool soft_ecn_allowed(uint8_t gso_type, uint64_t allowed, unsigned int feature)
{
	return !(gso_type & VIRTIO_NET_HDR_GSO_ECN) || virtio_has(allowed, feature);
}

bool soft_gso_to_device(uint8_t gso_type, uint64_t features)
{
	const struct soft_gso *gso = soft_gso_find(gso_type);

	if (!gso)
		return gso_type == VIRTIO_NET_HDR_GSO_NONE;
	return (features & gso->host) && soft_ecn_allowed(gso_type, features, VIRTIO_NET_F_HOST_ECN);
}

bool soft_gso_to_guest(uint8_t gso_type, uint64_t offloads)
{
	const struct soft_gso *gso = soft_gso_find(gso_type);

	if (!gso)
		return gso_type == VIRTIO_NET_HDR_GSO_NONE;
	return (offloads & gso->guest) && soft_ecn_allowed(gso_type, offloads, VIRTIO_NET_F_GUEST_ECN);
}
