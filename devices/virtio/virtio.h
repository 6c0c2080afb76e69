/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by all of virtio: buffer segments, limits, and constants that Debian 12's uapi headers lack. */
#ifndef FERRY_DEVICES_VIRTIO_VIRTIO_H
#define FERRY_DEVICES_VIRTIO_VIRTIO_H

#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "vmm/util.h"

/* A piece of a buffer, in the address space that guest and device share: guest memory is at IOVA = gpa. */
struct virtio_seg {
	uint64_t addr;
	uint32_t len;
};

#define VIRTIO_BIT(n) ((uint64_t)1 << (n))

static inline bool virtio_has(uint64_t features, unsigned int bit)
{
	return features >> bit & 1;
}

/* linux/virtio_ring.h has these, and cannot be included: its struct vring is the legacy driver's, ours the
 * device side. */
#define VIRTIO_RING_F_INDIRECT_DESC 28
#define VIRTIO_RING_F_EVENT_IDX     29
#define VRING_DESC_F_NEXT           1u
#define VRING_DESC_F_WRITE          2u
#define VRING_DESC_F_INDIRECT       4u
#define VRING_USED_F_NO_NOTIFY      1u
#define VRING_AVAIL_F_NO_INTERRUPT  1u

/* Whether moving an index from @old to @new passes @event ("Virtqueue Notification Suppression"). All three
 * are free-running. */
static inline bool virtio_need_event(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* Bytes of each part of a split ring of @size entries (virtio 1.4, "Split Virtqueues"), event fields
 * included. */
#define VIRTIO_RING_MAX_SIZE 32768u

static inline uint64_t virtio_desc_bytes(uint16_t size)
{
	return 16ull * size;
}

static inline uint64_t virtio_avail_bytes(uint16_t size)
{
	return 6ull + 2ull * size;
}

static inline uint64_t virtio_used_bytes(uint16_t size)
{
	return 6ull + 8ull * size;
}

/* Virtqueue index of receive and transmit queue @pair, and of the control queue of a device with @n_pairs. */
static inline unsigned int virtio_net_rx(unsigned int pair)
{
	return 2 * pair;
}

static inline unsigned int virtio_net_tx(unsigned int pair)
{
	return 2 * pair + 1;
}

/* Feature bits by number (virtio 1.4, "Network Device / Feature bits"). */
#ifndef VIRTIO_NET_F_GUEST_HDRLEN
#define VIRTIO_NET_F_GUEST_HDRLEN 59
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif
#ifndef VIRTIO_NET_F_NOTF_COAL
#define VIRTIO_NET_F_NOTF_COAL 53
#endif
#ifndef VIRTIO_NET_F_VQ_NOTF_COAL
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif
#ifndef VIRTIO_NET_F_HASH_TUNNEL
#define VIRTIO_NET_F_HASH_TUNNEL 51
#endif
#ifndef VIRTIO_NET_F_DEVICE_STATS
#define VIRTIO_NET_F_DEVICE_STATS 50
#endif

/* Features from 64 on are in a second word, which vhost-vdpa's ioctls and struct vdpa do not have. */
#define VIRTIO_NET_F_RSS_CONTEXT               64
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO      65
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM 66

/* Control commands ("Control Virtqueue"). */
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif
#ifndef VIRTIO_NET_CTRL_HASH_TUNNEL
#define VIRTIO_NET_CTRL_HASH_TUNNEL     7
#define VIRTIO_NET_CTRL_HASH_TUNNEL_SET 0
#endif
#ifndef VIRTIO_NET_CTRL_STATS
#define VIRTIO_NET_CTRL_STATS       8
#define VIRTIO_NET_CTRL_STATS_QUERY 0
#define VIRTIO_NET_CTRL_STATS_GET   1
#endif
#define VIRTIO_NET_CTRL_RSS_CTX         9
#define VIRTIO_NET_CTRL_RSS_CTX_CAP_GET 0
#define VIRTIO_NET_CTRL_RSS_CTX_ADD     1
#define VIRTIO_NET_CTRL_RSS_CTX_MOD     2
#define VIRTIO_NET_CTRL_RSS_CTX_DEL     3

#endif
