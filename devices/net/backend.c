/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA device's life behind the NIC: mapped, started, stopped. */
#include "devices/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/mac.h"

/* Set towards the device whenever it offers them: what addresses there are is between Ferry and the device.
 */
#define NET_DEVICE_FEATURES (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM))

#define NET_STATUS_DRIVER (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)

static bool net_has_pairs(uint64_t features)
{
	return features & (VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS));
}

static void net_plan_queue(struct net *net, struct net_queue *q, unsigned int guest_index,
			   unsigned int device_index)
{
	q->guest_index = guest_index;
	q->device_index = device_index;
	q->kick.fd = net->virtio.queues[guest_index].kick_fd;
	q->kick.fn = net_queue_kicked;
	q->call.fn = net_queue_called;
}

unsigned int net_n_data(const struct net *net, uint64_t features)
{
	return net_has_pairs(features) ? 2 * net->max_pairs : 2;
}

/* Index of the control queue on the device (section "Virtqueues"): it follows the most pairs there can be,
 * and the device may have more than the guest sees. */
static unsigned int net_device_ctrl(const struct net *net, uint64_t features)
{
	return net_has_pairs(features) ? 2 * net->device_max_pairs : 2;
}

struct cvq_limits net_limits(const struct net *net, uint64_t features)
{
	struct cvq_limits limits = net_space_limits(&net->space, features);

	limits.max_pairs = (uint16_t)(net_n_data(net, features) / 2);
	if (virtio_has(features, VIRTIO_NET_F_CTRL_VQ))
		limits.device_ctrl = (uint16_t)net_device_ctrl(net, features);
	return limits;
}

void net_plan(struct net *net, uint64_t features)
{
	net->path.features = features;
	net->path.n_data = net_n_data(net, features);
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_plan_queue(net, &net->queues[i], i, i);
	net->ctrl.queue = NULL;
	if (virtio_has(features, VIRTIO_NET_F_CTRL_VQ)) {
		net->ctrl.queue = &net->queues[net->n_slots - 1];
		net_plan_queue(net, net->ctrl.queue, net->path.n_data, net_device_ctrl(net, features));
		net->ctrl.queue->kick.fn = net_ctrl_kicked;
		net->ctrl.queue->call.fn = net_ctrl_called;
	}
	net->path.header_len = virtio_has(features, VIRTIO_NET_F_HASH_REPORT)
				       ? sizeof(struct virtio_net_hdr_v1_hash)
				       : sizeof(struct virtio_net_hdr_v1);
	net->ctrl.limits = net_limits(net, features);
}

uint64_t net_device_features(const struct net *net, uint64_t features)
{
	const uint64_t ring = VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	uint64_t own = NET_DEVICE_FEATURES;

	/* The guest's rings may become the device's, without another negotiation. */
	if (net->may_pass && !net_pass_misfit(net, features))
		own |= features & ring;
	else
		own |= ring;
	/* Otherwise format, event suppression, indirect tables, order and resets of the guest's rings say
	 * nothing about the device's. */
	features &= ~(VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
		      VIRTIO_BIT(VIRTIO_F_RING_RESET) | ring);
	return net->vdpa->features & (features | own);
}

/* Of the window, what only shadow rings need. */
static struct vdpa_region net_window_region(const struct net *net)
{
	const struct net_window *w = &net->path.window;

	return (struct vdpa_region){ w->iova, net->ctrl_asid ? w->data_len : w->len, w->hva, 0 };
}

static unsigned int net_regions(struct net *net, struct vdpa_region regions[MEMORY_MAX_REGIONS + 2])
{
	const struct memory *m = net->path.memory;
	const struct net_window *w = &net->path.window;
	unsigned int n = 0;

	for (; n < m->n_regions; n++)
		regions[n] =
			(struct vdpa_region){ m->regions[n].gpa, m->regions[n].len, m->regions[n].hva, 0 };
	if (net->ctrl_asid)
		regions[n++] = (struct vdpa_region){ w->iova + w->data_len, w->len - w->data_len,
						     w->hva + w->data_len, net->ctrl_asid };
	return n;
}

int net_map(struct net *net, struct error *err)
{
	const struct vdpa_ops *ops = net->vdpa->ops;
	struct vdpa_region regions[MEMORY_MAX_REGIONS + 2];
	struct vdpa_region window = net_window_region(net);
	unsigned int n = net_regions(net, regions);
	bool want = !net->passing;
	int ret = 0;

	if (net->maps_stale) {
		if (net->window_mapped)
			regions[n] = window;
		ret = ops->unmap(net->vdpa, regions, n + net->window_mapped, err);
		net->mapped = net->window_mapped = false;
	}
	net->maps_stale = false;
	if (ret < 0)
		return ret;
	if (!net->mapped) {
		if (want)
			regions[n] = window;
		ret = ops->map(net->vdpa, regions, n + want, err);
		net->mapped = ret == 0;
		net->window_mapped = ret == 0 && want;
	} else if (want != net->window_mapped) {
		ret = want ? ops->map(net->vdpa, &window, 1, err) : ops->unmap(net->vdpa, &window, 1, err);
		net->window_mapped = ret == 0 ? want : net->window_mapped;
	}
	return ret;
}

struct net_queue *net_nth_queue(struct net *net, unsigned int n)
{
	if (n < net->path.n_data)
		return &net->queues[n];
	return n == net->path.n_data ? net->ctrl.queue : NULL;
}

static int net_shadow_ring(struct net *net, struct net_queue *q, struct vdpa_vring *vring, struct error *err)
{
	uint16_t size = net->queues[q->device_index].device_size;
	uint8_t *mem = net->path.window.hva + q->ring_offset;
	int ret;

	/* Sizes were asked for when the control queue was behind all pairs. Without MQ it is where a pair had
	 * its rings, and may still take no more than before: QEMU's NIC wants a reset then. */
	if (q == net->ctrl.queue) {
		size = (uint16_t)min_u64(size, net->queues[2 * net->device_max_pairs].device_size);
		/* A command takes two descriptors. */
		if (size < 2)
			return error_add(err, -EINVAL, "%s: the control queue has a ring of %u entries",
					 net->vdpa->name, size);
	}
	memset(mem, 0, svq_bytes(size));
	ret = svq_init(&q->svq, mem, net->path.window.iova + q->ring_offset, size,
		       virtio_has(net->device_features, VIRTIO_RING_F_EVENT_IDX));
	if (ret == 0 && virtio_has(net->device_features, VIRTIO_RING_F_INDIRECT_DESC))
		ret = svq_use_tables(&q->svq, net->path.window.hva + q->table_offset,
				     net->path.window.iova + q->table_offset);
	if (ret < 0)
		return error_add(err, ret, "out of memory for a shadow ring of %u entries", size);
	*vring = (struct vdpa_vring){
		.size = size,
		.desc = q->svq.desc_iova,
		.avail = q->svq.avail_iova,
		.used = q->svq.used_iova,
		.kick_fd = q->device_kick,
		.call_fd = q->call.fd,
	};
	return 0;
}

int net_set_queue(struct net *net, struct net_queue *q, struct error *err)
{
	struct vdpa_vring vring = { .kick_fd = -1, .call_fd = -1 };
	int ret = 0;

	if (net->passing && q != net->ctrl.queue)
		vring = net_pass_vring(q);
	else
		ret = net_shadow_ring(net, q, &vring, err);
	/* The kernel passes on at once what was signalled before, and the counter keeps it. */
	if (ret == 0)
		loop_take(vring.kick_fd);
	if (ret == 0)
		ret = net->vdpa->ops->set_vring(net->vdpa, q->device_index, &vring, err);
	if (ret == 0)
		ret = net->vdpa->ops->enable_vring(net->vdpa, q->device_index, true, err);
	return ret;
}

static int net_start_queue(struct net *net, struct net_queue *q, struct error *err)
{
	int ret = net_set_queue(net, q, err);

	if (ret == 0 && loop_add(&net->loop, &q->call, NET_QUEUE_EVENTS) < 0)
		ret = error_add(err, -ENOMEM, "cannot watch a queue's call");
	return ret;
}

/* The control queue into its own address space, where there is one: a reset has put it back. */
static int net_part_spaces(struct net *net, struct error *err)
{
	const struct vdpa_ops *ops = net->vdpa->ops;
	unsigned int ctrl, data;
	int ret;

	if (!net->ctrl_asid || !net->ctrl.queue)
		return 0;
	ret = ops->vring_group(net->vdpa, net->ctrl.queue->device_index, &ctrl, err);
	for (unsigned int i = 0; ret == 0 && i < net->path.n_data; i++) {
		ret = ops->vring_group(net->vdpa, net->queues[i].device_index, &data, err);
		if (ret == 0 && data == ctrl)
			ret = error_add(err, -ENOTSUP,
					"%s: the control queue has no group of its own with these features: "
					"give mode=shadow",
					net->vdpa->name);
	}
	return ret < 0 ? ret : ops->set_group_asid(net->vdpa, ctrl, net->ctrl_asid, err);
}

/* What the device has by itself: its MAC address can differ from the one that the guest has been shown. */
static int net_store_default(struct net *net, struct error *err)
{
	uint8_t guest_mac[6], mac[6];
	int ret;

	cvq_reset(&net->ctrl.store);
	if (!virtio_has(net->path.features, VIRTIO_NET_F_MAC))
		return 0;
	ret = net->vdpa->ops->get_config(net->vdpa, 0, mac, sizeof(mac), err);
	if (ret < 0)
		return ret;
	if (virtio_has(net->path.features, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		cvq_set_mac(&net->ctrl.store, mac);
		return 0;
	}
	net_space_get_mac(&net->space, guest_mac);
	/* A device without one does not tell this guest's packets by it, or lets none through: no address
	 * that Ferry could have chosen is better. */
	if (memcmp(mac, guest_mac, sizeof(mac)) == 0 || (net->space.chosen_mac && !mac_valid(mac)))
		return 0;
	return error_add(err, -EINVAL,
			 "the guest's MAC address is " MAC_FORMAT ", the device's is " MAC_FORMAT
			 " and cannot be set by this driver (%s)",
			 MAC_ARGS(guest_mac), MAC_ARGS(mac), net->vdpa->advice.mac);
}

void net_target_default(struct net *net)
{
	uint8_t mac[6];

	cvq_reset(&net->ctrl.target);
	if (virtio_has(net->path.features, VIRTIO_NET_F_MAC) &&
	    virtio_has(net->path.features, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		net_space_get_mac(&net->space, mac);
		cvq_set_mac(&net->ctrl.target, mac);
	}
}

static int net_go_live(struct net *net, struct error *err)
{
	struct net_queue *q;
	int ret = net->vdpa->ops->set_status(
		net->vdpa, NET_STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK, err);

	if (ret < 0)
		return ret;
	net->path.live = true;
	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++)
		net_queue_kick_device(q);
	return 0;
}

int net_start(struct net *net, uint64_t features, int (*fill)(struct net *net, struct error *err),
	      struct error *err)
{
	const struct vdpa_ops *ops = net->vdpa->ops;
	struct net_queue *q;
	int ret;

	net->started = true;
	net->device_features = net_device_features(net, features);
	ret = net_map(net, err);
	if (ret == 0)
		ret = ops->set_status(net->vdpa, VIRTIO_CONFIG_S_ACKNOWLEDGE, err);
	if (ret == 0)
		ret = ops->set_status(net->vdpa, NET_STATUS_DRIVER, err);
	if (ret == 0)
		ret = ops->set_features(net->vdpa, net->device_features, err);
	if (ret == 0)
		ret = ops->set_status(net->vdpa, NET_STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK, err);
	if (ret == 0)
		ret = net_part_spaces(net, err);
	for (unsigned int i = 0; ret == 0 && (q = net_nth_queue(net, i)); i++)
		ret = net_start_queue(net, q, err);
	if (ret == 0)
		ret = ops->set_config_call(net->vdpa, net->config_call.fd, err);
	if (ret == 0)
		ret = fill(net, err);
	if (ret == 0)
		ret = net_go_live(net, err);
	if (ret == 0)
		ret = net_store_default(net, err);
	if (ret < 0)
		net_stop(net);
	else
		/* The link can have changed while nobody was to be told. */
		loop_signal(net->config_call.fd);
	return ret;
}

int net_reset_device(struct net *net, struct error *err)
{
	net->path.live = false;
	return net->vdpa->ops->set_status(net->vdpa, 0, err);
}

void net_stop(struct net *net)
{
	struct error err = { 0 };

	if (!net->started)
		return;
	if (net_reset_device(net, &err) < 0)
		log_limited(&net->log_limit, LOG_ERROR, "%s: cannot reset the device: %s", net->name,
			    err.text);
	net_take_down(net);
}

void net_take_down(struct net *net)
{
	struct net_queue *q;

	net_close_doorbells(net);
	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++) {
		/* Not watched, if starting failed before it: then there is nothing to take back. */
		loop_del(&net->loop, &q->call);
		net_scratch_stop(q);
		svq_exit(&q->svq);
		q->svq = (struct svq){ 0 };
	}
	net_ctrl_forget(&net->ctrl);
	net->started = net->path.live = false;
	net->passing = false;
	/* The reset may have taken the mappings from the device but not from vhost: only a new start for both
	 * is the same for all. It waits for the next start, for it takes long and a guest may have just left.
	 */
	net->maps_stale = net->mapped && !net->vdpa->maps_persist;
}

void net_settle(struct net *net)
{
	struct error err = { 0 };

	if (!net_path_failed(&net->path) || net->broken)
		return;
	log_limited(&net->stop_limit, LOG_WARN, "%s: stopped until the guest's driver resets it: %s",
		    net->name, net->path.fault);
	net->broken = true;
	net->changes++;
	net_close_doorbells(net);
	/* Rings stay until the driver's reset, and so does what the control queue holds. */
	if (net->started && net_reset_device(net, &err) < 0)
		log_limited(&net->log_limit, LOG_ERROR, "%s: cannot reset the device: %s", net->name,
			    err.text);
	virtio_pci_needs_reset(&net->virtio);
	net_ctrl_abandon(&net->ctrl);
}
