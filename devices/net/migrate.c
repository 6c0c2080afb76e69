/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's part in a migration: what a destination must match, what a source sends ahead while the guest
 * runs, and with it; arrive.c has what a destination does with that. */
#include "devices/net/migrate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "devices/net/arrive.h"
#include "devices/net/ctrl.h"
#include "devices/net/cvq/state.h"
#include "devices/net/fault.h"
#include "devices/net/forward.h"
#include "devices/net/life.h"
#include "devices/net/mode.h"
#include "devices/net/features.h"
#include "devices/net/mac.h"
#include "devices/net/serve.h"
#include "devices/net/stats.h"
#include "devices/net/tell.h"
#include "devices/virtio/pci.h"
#include "devices/virtio/pci_state.h"

/* Milliseconds, of the time that the guest stands still, for a device to send what it has: far more than one
 * needs whose link is up, and little for a guest. */
#define NET_FLUSH_MS 20

static int net_describe_call(struct net *net, void *arg)
{
	struct state_writer *w = arg;
	uint8_t sizes[2 * (2 * NET_MAX_PAIRS + 1)];

	for (unsigned int i = 0; i < net->virtio.n_queues; i++)
		put_le16(sizes + 2 * i, net->virtio.queues[i].max_size);
	state_put_u32(w, "queue-pairs", net->max_pairs);
	state_put_blob(w, "queue-sizes", sizes, 2 * net->virtio.n_queues);
	state_put_u64(w, "offered", net->offered);
	state_put_u64(w, "negotiated", net->phase != NET_PHASE_OFF ? net->path.features : 0);
	state_put_blob(w, "provisioned-mac", net->space.provisioned_mac, 6);
	state_put_blob(w, "config", net->space.bytes, NET_CONFIG_LEN);
	return 0;
}

static void net_describe(struct device *dev, struct state_writer *w)
{
	net_call(container_of(dev, struct net, device), net_describe_call, w);
}

/* The NIC that the source has shown its guest. */
struct net_description {
	uint32_t n_pairs;
	uint64_t offered, negotiated;
	const uint8_t *sizes;
	uint32_t n_queues;
	uint8_t config[NET_CONFIG_LEN];
	uint8_t mac[6];
};

static int net_read_description(const struct net *net, struct net_description *d, struct state_node *node)
{
	uint32_t len;

	if (state_get_u32(node, "queue-pairs", 1, NET_MAX_PAIRS, &d->n_pairs) < 0 ||
	    state_get_u64(node, "offered", 0, UINT64_MAX, &d->offered) < 0 ||
	    state_get_u64(node, "negotiated", 0, UINT64_MAX, &d->negotiated) < 0 ||
	    state_get_blob(node, "queue-sizes", 4, 2 * (2 * NET_MAX_PAIRS + 1), &d->sizes, &len) < 0 ||
	    state_get_bytes(node, "provisioned-mac", d->mac, sizeof(d->mac)) < 0 ||
	    state_get_bytes(node, "config", d->config, NET_CONFIG_LEN) < 0)
		return -EINVAL;
	d->n_queues = len / 2;
	if (len % 2 != 0 ||
	    d->n_queues != 2 * d->n_pairs + (virtio_has(d->offered, VIRTIO_NET_F_CTRL_VQ) ? 1u : 0u)) {
		error_add(node->err, "%u queue pairs have %u bytes of queue sizes", d->n_pairs, len);
		return -EINVAL;
	}
	if (net_mac_check(net->name, "provisioned MAC address", d->mac, d->offered, node->err) < 0 ||
	    net_mac_check(net->name, "MAC address", d->config + NET_CONFIG_FIELD(mac), d->offered,
			  node->err) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < d->n_queues; i++) {
		if (!is_power_of_2(get_le16(d->sizes + 2 * i))) {
			error_add(node->err, "queue %u has up to %u entries, not a power of two", i,
				  get_le16(d->sizes + 2 * i));
			return -EINVAL;
		}
	}
	/* The field is the source's device's; the guest has the pairs that its number of queues says. */
	put_le16(d->config + NET_CONFIG_FIELD(max_virtqueue_pairs), (uint16_t)d->n_pairs);
	return state_finish(node);
}

/* The source's features without those for which this device's limits are too small. */
static uint64_t net_fitting_features(struct net *net, const struct net_description *d)
{
	uint64_t misfits = net_space_misfits(&net->space, d->config);

	/* A driver that uses the MTU gets a better reason from net_check_queues(). */
	misfits &= ~(d->negotiated & VIRTIO_BIT(VIRTIO_NET_F_MTU));
	return net_features_consistent(d->offered & net->possible & ~misfits);
}

/*
 * Features that the guest's driver has accepted must be here, and the control queue, for a driver can count
 * its queues. Others that it was offered it cannot have kept: a driver reads the register before it accepts,
 * and may accept less the next time.
 */
static int net_check_offered(struct net *net, const struct net_description *d, uint64_t offered,
			     struct error *err)
{
	uint64_t ctrl_vq = d->offered & VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ);
	uint64_t unused = d->offered & ~(d->negotiated | ctrl_vq);
	struct error withdrawn = { 0 };
	int ret = net_features_check(net->name, "uses", d->negotiated, offered, net->backend.vdpa->name, err);

	if (net_features_check(net->name, "has been shown", ctrl_vq & ~d->negotiated, offered,
			       net->backend.vdpa->name, err) < 0)
		ret = -ENOTSUP;
	if (ret == 0 && net_features_check(net->name, "has been shown but does not use", unused, offered,
					   net->backend.vdpa->name, &withdrawn) < 0)
		log_limited(&net->log_limit, LOG_INFO, "%s", withdrawn.text);
	return ret;
}

/* The control queue's ring is between the guest and Ferry: a command takes two descriptors of the device's,
 * however many it had. One reason for all queues: with many of them there would be no room for others. */
static int net_check_sizes(struct net *net, const struct net_description *d, struct error *err)
{
	const char *advice = net->backend.vdpa->advice.ring;
	unsigned int first = 0, n = 0;
	char others[32] = "";

	for (unsigned int i = 0; i < 2 * d->n_pairs && i < 2 * net->device_max_pairs; i++) {
		if (get_le16(d->sizes + 2 * i) > net->queues[i].device_size && n++ == 0)
			first = i;
	}
	if (n == 0)
		return 0;
	if (n > 1)
		snprintf(others, sizeof(others), ", and %u like it", n - 1);
	error_add(err, "%s: queue %u has up to %u entries, %s takes %u%s%s%s%s", net->name, first,
		  get_le16(d->sizes + 2 * first), net->backend.vdpa->name, net->queues[first].device_size,
		  others, advice ? " (" : "", advice ? advice : "", advice ? ")" : "");
	return -ENOTSUP;
}

/* Checks the number and sizes of queues that the guest was shown, and its MTU. */
static int net_check_queues(struct net *net, const struct net_description *d, struct error *err)
{
	uint16_t here = get_le16(net->space.bytes + NET_CONFIG_FIELD(mtu));
	uint16_t there = get_le16(d->config + NET_CONFIG_FIELD(mtu));
	int ret = net_check_sizes(net, d, err);

	if (d->n_pairs > net->device_max_pairs) {
		error_add(err, "%s: the guest's NIC has %u queue pairs, %s has %u (%s)", net->name,
			  d->n_pairs, net->backend.vdpa->name, net->device_max_pairs,
			  net->backend.vdpa->advice.pairs);
		ret = -ENOTSUP;
	}
	if (virtio_has(d->negotiated, VIRTIO_NET_F_MTU) && here != there) {
		error_add(err, "%s: the guest's MTU is %u, %s has %u (%s)", net->name, there,
			  net->backend.vdpa->name, here, net->backend.vdpa->advice.mtu);
		ret = -ENOTSUP;
	}
	return ret;
}

static int net_accept_call(struct net *net, void *arg)
{
	struct state_node *node = arg;
	struct net_description d = { 0 };
	uint16_t sizes[2 * NET_MAX_PAIRS + 1];
	uint64_t offered;
	int ret;

	ret = net_read_description(net, &d, node);
	if (ret < 0)
		return ret;
	offered = net_fitting_features(net, &d);
	ret = net_check_offered(net, &d, offered, node->err);
	if (net_check_queues(net, &d, node->err) < 0)
		ret = -ENOTSUP;
	if (net_backend_check_reach(&net->backend, node->err) < 0)
		ret = -ERANGE;
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < d.n_queues; i++)
		sizes[i] = get_le16(d.sizes + 2 * i);
	net->max_pairs = d.n_pairs;
	net->offered = offered;
	memcpy(net->space.provisioned_mac, d.mac, sizeof(d.mac));
	net->space.chosen_mac = false;
	net_space_replace(&net->space, d.config);
	net_ctrl_show_status(&net->ctrl);
	virtio_pci_limit(&net->virtio, 2 * d.n_pairs + (virtio_has(offered, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0),
			 sizes, offered);
	return 0;
}

static int net_accept(struct device *dev, struct state_node *node)
{
	return net_call(container_of(dev, struct net, device), net_accept_call, node);
}

struct net_track {
	uint64_t *still_ns;
	struct error *err;
};

static int net_track_call(struct net *net, void *arg)
{
	const struct net_track *track = arg;
	int ret;

	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	ret = net_leave(net, track->still_ns, track->err);
	if (ret == 0)
		net->pins |= NET_PIN_MIGRATION;
	else
		net->pins &= ~(unsigned int)NET_PIN_MIGRATION;
	return ret;
}

static int net_track(struct device *dev, uint64_t *still_ns, struct error *err)
{
	struct net_track track = { still_ns, err };

	return net_call(container_of(dev, struct net, device), net_track_call, &track);
}

static int net_untrack_call(struct net *net, void *arg)
{
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net->pins &= ~(unsigned int)NET_PIN_MIGRATION;
	net_return_at_once(net);
	return 0;
}

static void net_untrack(struct device *dev)
{
	net_call(container_of(dev, struct net, device), net_untrack_call, NULL);
}

static void net_put_warm(struct net *net, struct state_writer *w)
{
	bool active = net->phase != NET_PHASE_OFF && net->phase != NET_PHASE_BROKEN;
	uint8_t mac[6];

	state_put_u32(w, "active", active);
	if (!active)
		return;
	net_space_get_mac(&net->space, mac);
	state_put_u64(w, "generation", net->generation);
	state_put_u64(w, "features", net->path.features);
	state_put_blob(w, "mac", mac, sizeof(mac));
	if (net->ctrl.stats.types)
		state_put_u64(w, "statistics", net->ctrl.stats.types);
	state_begin(w, "cvq");
	cvq_save(&net->ctrl.store, w);
	state_end(w);
}

struct net_warm_save {
	struct state_writer *w;
	bool first;
};

static int net_warm_save_call(struct net *net, void *arg)
{
	struct net_warm_save *save = arg;

	if (!save->first && net->warm_saved == net_changes(net))
		return 0;
	net->warm_saved = net_changes(net);
	net_put_warm(net, save->w);
	return 1;
}

static int net_warm_load_call(struct net *net, void *arg)
{
	return net_arrive_warm(net, arg);
}

static int net_warm_load(struct device *dev, struct state_node *node)
{
	return net_call(container_of(dev, struct net, device), net_warm_load_call, node);
}

static int net_load_call(struct net *net, void *arg)
{
	return net_arrive(net, arg);
}

static int net_load(struct device *dev, struct state_node *node)
{
	return net_call(container_of(dev, struct net, device), net_load_call, node);
}

static int net_warm_save(struct device *dev, struct state_writer *w, bool first)
{
	struct net_warm_save save = { .w = w, .first = first };

	return net_call(container_of(dev, struct net, device), net_warm_save_call, &save);
}

static int net_pause_call(struct net *net, void *arg)
{
	uint64_t end_ns;

	net_ctrl_limit(&net->ctrl, net->ctrl.patience.still);
	net->path.open = false;
	if (net->phase == NET_PHASE_OFF || net->phase == NET_PHASE_BROKEN)
		return 0;
	/* Not from passthrough: net_track() came first. */
	net_step(net, NET_STEP_PAUSE);
	if (net->ctrl.queue)
		net_ctrl_drain(&net->ctrl);
	net_stats_read(&net->ctrl);
	end_ns = end_of(NET_FLUSH_MS);
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_queue_flush(&net->queues[i], end_ns);
	return 0;
}

static void net_pause(struct device *dev)
{
	net_call(container_of(dev, struct net, device), net_pause_call, NULL);
}

/* Writes the rings by slot: a slot that the negotiated features do not let exist has none. */
static int net_save_call(struct net *net, void *arg)
{
	struct state_writer *w = arg;

	state_put_u32(w, "announcing", net->space.announcing);
	state_begin(w, "warm");
	net_put_warm(net, w);
	state_end(w);
	if (net->phase != NET_PHASE_OFF && net->phase != NET_PHASE_BROKEN)
		net_stats_save(&net->ctrl, w);
	virtio_pci_save(&net->virtio, w);
	for (unsigned int i = 0; i < net->n_slots; i++) {
		struct net_queue *q = &net->queues[i];

		if (!q->held || net->phase == NET_PHASE_BROKEN)
			continue;
		state_begin_indexed(w, "ring", q->guest_index);
		vring_save(&q->vring, w);
		state_end(w);
	}
	return 0;
}

static void net_save(struct device *dev, struct state_writer *w)
{
	net_call(container_of(dev, struct net, device), net_save_call, w);
}

/* Tells the network where the guest is now, and asks the guest to do so itself if it can. */
static void net_tell_network(struct net *net)
{
	if (net_path_failed(&net->path))
		return;
	net_announce_start(&net->announce);
	if (virtio_has(net->path.features, VIRTIO_NET_F_GUEST_ANNOUNCE))
		net_ctrl_ask_announce(&net->ctrl);
}

static int net_resume_call(struct net *net, void *arg)
{
	bool arrived = *(enum device_resume *)arg == DEVICE_ARRIVED;

	if (net->phase == NET_PHASE_OFF)
		return 0;
	net->path.open = true;
	if (net->phase == NET_PHASE_BROKEN) {
		/* A command may have come while none was looked at. */
		if (net->ctrl.queue)
			net_ctrl_run(&net->ctrl);
		return 0;
	}
	net_step(net, NET_STEP_RESUME);
	if (arrived) {
		net_attach(net);
	} else {
		net_serve_all(net);
		if (net->ctrl.queue)
			net_ctrl_rearm(&net->ctrl);
	}
	/* A signal may have been on its way when state was saved. One too many does no harm, but one for each
	 * queue is work for a guest that has waited long enough. */
	for (unsigned int i = 0; i < net->n_slots; i++) {
		struct net_queue *q = &net->queues[i];

		if (q->held && vring_interrupt_due(&q->vring))
			virtio_pci_notify_queue(&net->virtio, q->guest_index);
	}
	if (arrived)
		virtio_pci_notify_config(&net->virtio);
	return 0;
}

static int net_arrived_call(struct net *net, void *arg)
{
	net_arrive_end(net);
	/* The guest runs, and its driver may have begun anew. */
	if (net->phase == NET_PHASE_SHADOW) {
		net_tell_network(net);
		net_return_later(net);
	}
	return 0;
}

static void net_arrived(struct device *dev)
{
	net_call(container_of(dev, struct net, device), net_arrived_call, NULL);
}

static void net_resume(struct device *dev, enum device_resume as)
{
	net_call(container_of(dev, struct net, device), net_resume_call, &as);
}

static int net_release_call(struct net *net, void *arg)
{
	net_arrive_end(net);
	net_end(net);
	return 0;
}

static void net_release(struct device *dev)
{
	net_call(container_of(dev, struct net, device), net_release_call, NULL);
}

static int net_power_on(struct device *dev, uint64_t until_ns)
{
	/* The NIC's own thread resets it before it returns. */
	return virtio_pci_power_on(&container_of(dev, struct net, device)->virtio) ? 0 : -EAGAIN;
}

const struct device_ops net_device_ops = {
	.describe = net_describe,
	.accept = net_accept,
	.track = net_track,
	.untrack = net_untrack,
	.warm_save = net_warm_save,
	.warm_load = net_warm_load,
	.pause = net_pause,
	.save = net_save,
	.load = net_load,
	.resume = net_resume,
	.arrived = net_arrived,
	.release = net_release,
	.reset = net_power_on,
	.tell = net_tell,
	.measure = net_measure,
};
