/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The opening of the NIC in software, and the events that tests have happen to it: see the header. */
#include "devices/vdpa/soft/soft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/vdpa/soft/flow.h"
#include "devices/vdpa/soft/hub.h"
#include "devices/vdpa/soft/life.h"
#include "devices/vdpa/soft/ops.h"
#include "devices/vdpa/soft/tap.h"
#include "devices/vdpa/soft/turn.h"
#include "vmm/mac.h"
#include "vmm/shortage.h"

/* The device has these features whatever its port can do. */
#define SOFT_FEATURES                                                                                        \
	(VIRTIO_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | VIRTIO_BIT(VIRTIO_NET_F_MTU) |                       \
	 VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |                                 \
	 VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN) |                             \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |                  \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | VIRTIO_BIT(VIRTIO_NET_F_DEVICE_STATS) |                    \
	 VIRTIO_BIT(VIRTIO_NET_F_HASH_TUNNEL) | VIRTIO_BIT(VIRTIO_NET_F_VQ_NOTF_COAL) |                      \
	 VIRTIO_BIT(VIRTIO_NET_F_NOTF_COAL) | VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_HDRLEN) | VIRTIO_BIT(VIRTIO_NET_F_RSS) |                              \
	 VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |                             \
	 VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC))

/* Takes the address that @config gives, or one of those that are for anyone to take. */
static int soft_choose_mac(struct soft *soft, const struct net_config *config, struct error *err)
{
	uint8_t *mac = soft->provisioned_mac;

	memcpy(mac, config->mac, 6);
	if (config->mac_set)
		return 0;
	if (mac_random(mac) < 0) {
		error_add(err, "%s: no random bytes for a MAC address", soft->name);
		return -EIO;
	}
	return 0;
}

static void soft_describe(struct soft *soft)
{
	uint8_t *c = soft->config;

	snprintf(soft->name, sizeof(soft->name), "soft:%s", soft->port->name);
	memcpy(c, soft->provisioned_mac, 6);
	put_le16(c + SOFT_CONFIG(status), VIRTIO_NET_S_LINK_UP);
	put_le16(c + SOFT_CONFIG(max_virtqueue_pairs), (uint16_t)soft->n_pairs);
	put_le16(c + SOFT_CONFIG(mtu), soft->port->mtu);
	c[SOFT_CONFIG(rss_max_key_size)] = SOFT_RSS_KEY;
	put_le16(c + SOFT_CONFIG(rss_max_indirection_table_length), SOFT_RSS_TABLE);
	put_le32(c + SOFT_CONFIG(supported_hash_types), SOFT_HASH_TYPES);
	put_le32(c + SOFT_CONFIG_TUNNELS, SOFT_TUNNEL_TYPES);
	soft->vdpa = (struct vdpa){
		.ops = &soft_ops,
		.name = soft->name,
		.advice = { .mac = "give it mac=",
			    .mtu = soft->port->mtu_advice,
			    .pairs = "give it queues=",
			    .ring = "give it ring=" },
		.features = SOFT_FEATURES | soft->port->features,
		.config_len = SOFT_CONFIG_LEN,
		.n_vqs = 2 * soft->n_pairs + 1,
		.iova_last = UINT64_MAX,
		.maps_persist = true,
		.n_groups = SOFT_N_GROUPS,
		.n_asids = SOFT_N_SPACES,
		.ctrl_apart = true,
		.can_suspend = true,
		.in_order = true,
	};
	if (soft->n_pairs > 1)
		soft->vdpa.features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
}

static int soft_begin(struct soft *soft, struct error *err)
{
	int ret = soft_life_begin(soft);

	soft_turn_init(soft);
	if (ret == 0)
		ret = loop_start(&soft->loop, "soft-nic");
	if (ret < 0) {
		error_add(err, "%s: cannot start its thread: %s%s", soft->name, strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

int soft_vdpa_open(struct vdpa **out, const struct net_config *config, struct error *err)
{
	struct soft *soft = calloc(1, sizeof(*soft));
	int ret;

	if (!soft) {
		error_add(err, "out of memory for a NIC in software");
		return -ENOMEM;
	}
	snprintf(soft->name, sizeof(soft->name), "soft:%s", config->tap ? config->tap : config->hub);
	soft->n_pairs = config->n_queues;
	soft->ring_size = config->ring_size;
	soft->config_call = -1;
	for (unsigned int i = 0; i < SOFT_MAX_VQS; i++)
		soft_queue_init(&soft->queues[i], i, &soft->alarm);
	ret = loop_init(&soft->loop);
	if (ret < 0) {
		free(soft);
		error_add(err, "cannot make a loop for a NIC in software: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	ret = soft_choose_mac(soft, config, err);
	if (ret == 0)
		ret = config->tap ? soft_tap_open(&soft->port, config, err)
				  : soft_hub_open(&soft->port, config, err);
	if (ret == 0) {
		soft_describe(soft);
		soft->vdpa.undo = soft->port->undo.fn ? &soft->port->undo : NULL;
		ret = soft_begin(soft, err);
	}
	if (ret < 0) {
		soft_free(soft);
		return ret;
	}
	*out = &soft->vdpa;
	return 0;
}

/* Events for tests */

struct soft_event {
	struct soft *soft;
	const struct soft_faults *faults;
	uint16_t set, clear; /* bits of the configuration's status */
};

static int soft_faults_call(void *arg)
{
	const struct soft_event *e = arg;

	e->soft->faults = *e->faults;
	return 0;
}

void soft_vdpa_misbehave(struct vdpa *vdpa, const struct soft_faults *faults)
{
	struct soft_event e = { .soft = soft_of(vdpa), .faults = faults };

	loop_call(&e.soft->loop, soft_faults_call, &e);
}

static int soft_status_call(void *arg)
{
	const struct soft_event *e = arg;

	soft_set_status_bits(e->soft, e->set, e->clear);
	return 0;
}

void soft_vdpa_set_link(struct vdpa *vdpa, bool up)
{
	struct soft_event e = { .soft = soft_of(vdpa),
				.set = up ? VIRTIO_NET_S_LINK_UP : 0,
				.clear = up ? 0 : VIRTIO_NET_S_LINK_UP };

	loop_call(&e.soft->loop, soft_status_call, &e);
}

void soft_vdpa_announce(struct vdpa *vdpa)
{
	struct soft_event e = { .soft = soft_of(vdpa), .set = VIRTIO_NET_S_ANNOUNCE };

	loop_call(&e.soft->loop, soft_status_call, &e);
}
