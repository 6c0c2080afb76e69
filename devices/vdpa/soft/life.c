/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA NIC in software: how it is built, starts, stops and goes. */
#include "devices/vdpa/soft/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/mac.h"
#include "vmm/shortage.h"

/* What it has whatever its port can do. */
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

#define SOFT_CONFIG(field)  ((unsigned int)offsetof(struct virtio_net_config, field))
#define SOFT_CONFIG_TUNNELS 24u

void soft_config_changed(struct soft_vdpa *sv)
{
	loop_signal(sv->config_call);
}

bool soft_runs(const struct soft_vdpa *sv)
{
	return sv->started && !sv->suspended && !sv->faults.gone &&
	       !(sv->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

bool soft_serves(const struct soft_queue *q)
{
	return q->live && soft_runs(q->sv);
}

void soft_break(struct soft_vdpa *sv, unsigned int queue, const char *why)
{
	log_limited(&sv->log_limit, LOG_WARN, "%s: queue %u: %s", sv->name, queue, why);
	sv->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	soft_port_watch(sv, false);
	soft_config_changed(sv);
}

static void soft_defaults(struct soft_vdpa *sv)
{
	memcpy(sv->config, sv->provisioned_mac, 6);
	sv->offloads = sv->features & SOFT_GUEST_OFFLOADS;
	sv->header_len = virtio_has(sv->features, VIRTIO_NET_F_HASH_REPORT)
				 ? sizeof(struct virtio_net_hdr_v1_hash)
				 : sizeof(struct virtio_net_hdr_v1);
	soft_filter_reset(&sv->filter);
	soft_steering_reset(&sv->steering);
	soft_ctrl_reset(sv);
}

int soft_start_queues(struct soft_vdpa *sv, struct error *err)
{
	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		struct soft_queue *q = &sv->queues[i];
		int ret = 0;

		if (q->set && q->enabled && !q->live)
			ret = soft_queue_start(q);
		if (ret < 0)
			return error_add(err, ret, "%s: cannot serve queue %u: %s", sv->name, i,
					 ret == -EINVAL ? "its ring is not mapped, or misaligned"
							: strerror(-ret));
	}
	return 0;
}

void soft_serve_all(struct soft_vdpa *sv)
{
	soft_port_watch(sv, true);
	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++)
		soft_serve(&sv->queues[i]);
}

int soft_start(struct soft_vdpa *sv, struct error *err)
{
	struct soft_steering steering;
	int ret;

	soft_defaults(sv);
	ret = soft_start_queues(sv, err);
	if (ret < 0)
		return ret;
	steering = sv->steering;
	ret = soft_port_set_offloads(sv, sv->offloads);
	if (ret == 0)
		ret = soft_port_steer(sv, &steering);
	if (ret < 0) {
		soft_port_watch(sv, false);
		return error_add(err, ret, "%s: its interface does not take what the driver has accepted: %s",
				 sv->name, strerror(-ret));
	}
	sv->started = true;
	soft_port_drain(sv);
	soft_serve_all(sv);
	return 0;
}

void soft_reset(struct soft_vdpa *sv)
{
	soft_port_watch(sv, false);
	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		struct soft_queue *q = &sv->queues[i];

		soft_queue_stop(q);
		*q = (struct soft_queue){ .sv = sv, .index = i };
	}
	memset(sv->space_of, 0, sizeof(sv->space_of));
	sv->config_call = -1;
	sv->features = 0;
	sv->status = 0;
	sv->started = sv->suspended = sv->fed = false;
	put_le16(sv->config + SOFT_CONFIG(status),
		 get_le16(sv->config + SOFT_CONFIG(status)) & VIRTIO_NET_S_LINK_UP);
	soft_defaults(sv);
}

/* Building it */

/* What a text says, or one of the addresses that are for anyone to take. */
static int soft_choose_mac(struct soft_vdpa *sv, const struct net_config *config, struct error *err)
{
	uint8_t *mac = sv->provisioned_mac;

	memcpy(mac, config->mac, 6);
	if (config->mac_set)
		return 0;
	if (mac_random(mac) < 0)
		return error_add(err, -EIO, "%s: no random bytes for a MAC address", sv->name);
	return 0;
}

static void soft_describe(struct soft_vdpa *sv)
{
	uint8_t *c = sv->config;

	snprintf(sv->name, sizeof(sv->name), "soft:%s", sv->port->name);
	memcpy(c, sv->provisioned_mac, 6);
	put_le16(c + SOFT_CONFIG(status), VIRTIO_NET_S_LINK_UP);
	put_le16(c + SOFT_CONFIG(max_virtqueue_pairs), (uint16_t)sv->n_pairs);
	put_le16(c + SOFT_CONFIG(mtu), sv->port->mtu);
	c[SOFT_CONFIG(rss_max_key_size)] = SOFT_RSS_KEY;
	put_le16(c + SOFT_CONFIG(rss_max_indirection_table_length), SOFT_RSS_TABLE);
	put_le32(c + SOFT_CONFIG(supported_hash_types), SOFT_HASH_TYPES);
	put_le32(c + SOFT_CONFIG_TUNNELS, SOFT_TUNNEL_TYPES);
	sv->vdpa = (struct vdpa){
		.ops = &soft_ops,
		.name = sv->name,
		.advice = { .mac = "give it mac=",
			    .mtu = sv->port->mtu_advice,
			    .pairs = "give it queues=",
			    .ring = "give it ring=" },
		.features = SOFT_FEATURES | sv->port->features,
		.config_len = SOFT_CONFIG_LEN,
		.n_vqs = 2 * sv->n_pairs + 1,
		.iova_last = UINT64_MAX,
		.maps_persist = true,
		.n_groups = SOFT_N_GROUPS,
		.n_asids = SOFT_N_SPACES,
		.ctrl_apart = true,
		.can_suspend = true,
		.in_order = true,
	};
	if (sv->n_pairs > 1)
		sv->vdpa.features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
}

void soft_set_status_bits(struct soft_vdpa *sv, uint16_t set, uint16_t clear)
{
	uint8_t *p = sv->config + SOFT_CONFIG(status);

	put_le16(p, (uint16_t)((get_le16(p) | set) & ~clear));
	soft_config_changed(sv);
}

static void soft_link_changed(struct loop_source *src, uint32_t events)
{
	soft_port_look(container_of(src, struct soft_port, link)->sources[0].sv);
}

static void soft_link_raised(struct loop_source *src, uint32_t events)
{
	soft_port_look(container_of(src, struct soft_port, raised)->sources[0].sv);
}

static int soft_start_thread(struct soft_vdpa *sv, struct error *err)
{
	int ret = loop_timer_open(&sv->timer, &sv->loop, soft_timer_fired);

	if (ret == 0)
		ret = loop_timer_open(&sv->answer_timer, &sv->loop, soft_ctrl_late);
	if (ret == 0)
		ret = loop_timer_open(&sv->rest, &sv->loop, soft_port_rested);
	/* Sets timers. */
	if (ret == 0)
		soft_defaults(sv);
	for (unsigned int i = 0; i < sv->port->n_sources; i++) {
		sv->port->sources[i].event.fn = soft_port_readable;
		sv->port->sources[i].sv = sv;
	}
	sv->port->link.fn = soft_link_changed;
	sv->port->raised.fn = soft_link_raised;
	if (ret == 0 && sv->port->link.fd >= 0)
		ret = loop_add(&sv->loop, &sv->port->link, EPOLLIN);
	/* By edges: it is writable for as long as it is up. */
	if (ret == 0 && sv->port->raised.fd >= 0)
		ret = loop_add(&sv->loop, &sv->port->raised, EPOLLOUT | EPOLLET);
	if (ret == 0)
		ret = loop_start(&sv->loop, "soft-nic");
	if (ret < 0)
		return error_add(err, ret, "%s: cannot start its thread: %s%s", sv->name, strerror(-ret),
				 shortage_advice(ret));
	return 0;
}

static void soft_free(struct soft_vdpa *sv)
{
	if (sv->port)
		sv->port->ops->close(sv->port);
	loop_timer_close(&sv->timer);
	loop_timer_close(&sv->answer_timer);
	loop_timer_close(&sv->rest);
	loop_exit(&sv->loop);
	free(sv);
}

void soft_close(struct vdpa *vdpa)
{
	struct soft_vdpa *sv = container_of(vdpa, struct soft_vdpa, vdpa);

	loop_join(&sv->loop);
	soft_reset(sv);
	soft_free(sv);
}

int soft_vdpa_open(struct vdpa **out, const struct net_config *config, struct error *err)
{
	struct soft_vdpa *sv = calloc(1, sizeof(*sv));
	int ret;

	if (!sv)
		return error_add(err, -ENOMEM, "no memory for a NIC in software");
	snprintf(sv->name, sizeof(sv->name), "soft:%s", config->tap ? config->tap : config->hub);
	sv->n_pairs = config->n_queues;
	sv->ring_size = config->ring_size;
	sv->config_call = -1;
	for (unsigned int i = 0; i < SOFT_MAX_VQS; i++)
		sv->queues[i] = (struct soft_queue){ .sv = sv, .index = i };
	ret = loop_init(&sv->loop);
	if (ret < 0) {
		free(sv);
		return error_add(err, ret, "cannot make a loop for a NIC in software: %s%s", strerror(-ret),
				 shortage_advice(ret));
	}
	ret = soft_choose_mac(sv, config, err);
	if (ret == 0)
		ret = config->tap ? soft_tap_open(&sv->port, config, err)
				  : soft_hub_open(&sv->port, config, err);
	if (ret == 0) {
		soft_describe(sv);
		sv->vdpa.undo = sv->port->undo.fn ? &sv->port->undo : NULL;
		ret = soft_start_thread(sv, err);
	}
	if (ret < 0) {
		soft_free(sv);
		return ret;
	}
	*out = &sv->vdpa;
	return 0;
}

/* What happens to it */

struct soft_event {
	struct soft_vdpa *sv;
	const struct soft_faults *faults;
	uint16_t set, clear; /* bits of the configuration's status */
};

static int soft_faults_call(void *arg)
{
	const struct soft_event *e = arg;

	e->sv->faults = *e->faults;
	return 0;
}

void soft_vdpa_misbehave(struct vdpa *vdpa, const struct soft_faults *faults)
{
	struct soft_event e = { .sv = container_of(vdpa, struct soft_vdpa, vdpa), .faults = faults };

	loop_call(&e.sv->loop, soft_faults_call, &e);
}

static int soft_status_call(void *arg)
{
	const struct soft_event *e = arg;

	soft_set_status_bits(e->sv, e->set, e->clear);
	return 0;
}

void soft_vdpa_set_link(struct vdpa *vdpa, bool up)
{
	struct soft_event e = { .sv = container_of(vdpa, struct soft_vdpa, vdpa),
				.set = up ? VIRTIO_NET_S_LINK_UP : 0,
				.clear = up ? 0 : VIRTIO_NET_S_LINK_UP };

	loop_call(&e.sv->loop, soft_status_call, &e);
}

void soft_vdpa_announce(struct vdpa *vdpa)
{
	struct soft_event e = { .sv = container_of(vdpa, struct soft_vdpa, vdpa),
				.set = VIRTIO_NET_S_ANNOUNCE };

	loop_call(&e.sv->loop, soft_status_call, &e);
}
