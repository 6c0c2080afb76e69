/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter of received packets, by modes, MAC addresses and VLANs: see the header. */
#include "devices/vdpa/soft/filter.h"

#include <stdlib.h>
#include <string.h>

#include "devices/vdpa/soft/packet.h"
#include "devices/virtio/virtio.h"

static int soft_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void soft_filter_reset(struct soft_filter *f, uint64_t features)
{
	memset(f, 0, sizeof(*f));
	f->by_vlan = virtio_has(features, VIRTIO_NET_F_CTRL_VLAN);
	/* The specification has no default, so a driver that does not know the commands, or has not sent them
	 * yet, gets every packet. */
	f->mode[VIRTIO_NET_CTRL_RX_PROMISC] = true;
}

static uint32_t soft_take_macs(uint64_t *table, const uint8_t *macs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		table[i] = soft_mac_key(macs + 6 * i);
	qsort(table, n, sizeof(*table), soft_compare);
	return n;
}

void soft_filter_set_macs(struct soft_filter *f, const uint8_t *unicast, uint32_t n_unicast,
			  const uint8_t *multicast, uint32_t n_multicast)
{
	f->n_unicast = soft_take_macs(f->unicast, unicast, n_unicast);
	f->n_multicast = soft_take_macs(f->multicast, multicast, n_multicast);
}

void soft_filter_add_vlan(struct soft_filter *f, uint16_t vid)
{
	f->vlans[vid / 64] |= UINT64_C(1) << vid % 64;
}

void soft_filter_remove_vlan(struct soft_filter *f, uint16_t vid)
{
	f->vlans[vid / 64] &= ~(UINT64_C(1) << vid % 64);
}

static bool soft_has_mac(const uint64_t *table, uint32_t n, uint64_t mac)
{
	return bsearch(&mac, table, n, sizeof(*table), soft_compare);
}

static bool soft_vlan_passes(const struct soft_filter *f, const uint8_t *frame, uint32_t len)
{
	unsigned int vid;

	if (!f->by_vlan || len < 16 || soft_be16(frame + 12) != SOFT_ETHERTYPE_VLAN)
		return true;
	vid = soft_be16(frame + 14) & 0xfff;
	return f->vlans[vid / 64] >> vid % 64 & 1;
}

static bool soft_is_multicast(const uint8_t *mac)
{
	return mac[0] & 1;
}

bool soft_filter_passes(const struct soft_filter *f, const uint8_t *mac, const uint8_t *frame, uint32_t len)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint64_t to = soft_mac_key(frame);

	if (f->mode[VIRTIO_NET_CTRL_RX_PROMISC])
		return true;
	if (!soft_vlan_passes(f, frame, len))
		return false;
	if (memcmp(frame, broadcast, sizeof(broadcast)) == 0)
		return !f->mode[VIRTIO_NET_CTRL_RX_NOBCAST];
	if (soft_is_multicast(frame))
		return !f->mode[VIRTIO_NET_CTRL_RX_NOMULTI] &&
		       (f->mode[VIRTIO_NET_CTRL_RX_ALLMULTI] ||
			soft_has_mac(f->multicast, f->n_multicast, to));
	return !f->mode[VIRTIO_NET_CTRL_RX_NOUNI] &&
	       (f->mode[VIRTIO_NET_CTRL_RX_ALLUNI] || memcmp(frame, mac, 6) == 0 ||
		soft_has_mac(f->unicast, f->n_unicast, to));
}
