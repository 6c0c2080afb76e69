/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building the NIC, and what the guest sees of it: configuration and status. */
#define _GNU_SOURCE
#include "devices/net/net_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/shortage.h"
#include "vmm/state.h"

#define NET_PCI_CLASS 0x020000u /* Ethernet */

_Static_assert(2 * NET_MAX_PAIRS <= CVQ_MAX_QUEUES, "every data queue's coalescing and counters");

void net_show_status(struct net *net)
{
	if (net_space_show(&net->space) && net->active)
		virtio_pci_notify_config(&net->virtio);
}

void net_device_config_changed(struct loop_source *src, uint32_t events)
{
	struct net *net = container_of(src, struct net, config_call);
	struct error err = { 0 };
	uint8_t config[NET_CONFIG_LEN] = { 0 }, device_status;

	if (!loop_take(src->fd))
		return;
	if (net->vdpa->ops->get_config(net->vdpa, 0, config,
				       (uint32_t)min_u64(net->vdpa->config_len, NET_CONFIG_LEN), &err) < 0) {
		log_limited(&net->log_limit, LOG_WARN, "%s: %s", net->name, err.text);
		return;
	}
	net_space_take(&net->space, config, net->path.features);
	net_show_status(net);
	if (net->started && !net_path_failed(&net->path) &&
	    net->vdpa->ops->get_status(net->vdpa, &device_status, &err) == 0 &&
	    device_status & VIRTIO_CONFIG_S_NEEDS_RESET)
		net_path_fail(&net->path, "the device needs a reset");
	net_settle(net);
}

static void net_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	net_space_read(&container_of(v, struct net, virtio)->space, offset, data, len);
}

static bool net_features_ok(struct virtio_pci *v, uint64_t features)
{
	return net_features_consistent(features) == features;
}

void net_ctrl_kicked(struct loop_source *src, uint32_t events)
{
	struct net *net = net_of(container_of(src, struct net_queue, kick));

	if (!loop_take(src->fd))
		return;
	net_ctrl_run(&net->ctrl);
	net_settle(net);
}

void net_ctrl_called(struct loop_source *src, uint32_t events)
{
	struct net *net = net_of(container_of(src, struct net_queue, call));

	if (!loop_take(src->fd) || !net_path_runs(&net->path))
		return;
	net_ctrl_complete(&net->ctrl);
	net_ctrl_run(&net->ctrl);
	net_settle(net);
}

void net_ctrl_timed_out(struct loop_timer *timer)
{
	struct net *net = container_of(timer, struct net, ctrl.timer);

	net_ctrl_expire(&net->ctrl);
	net_settle(net);
}

int net_apply(struct net *net, struct error *err)
{
	int ret = net_replay(&net->ctrl, err);

	/* Packets that came before the device steered them are steered anew. */
	if (ret == 0 && net->ctrl.queue)
		net_kick_receivers(net);
	return ret;
}

struct net_thread_call {
	struct net *net;
	int (*fn)(struct net *net, void *arg);
	void *arg;
};

static int net_thread_call(void *arg)
{
	const struct net_thread_call *call = arg;
	int ret = call->fn(call->net, call->arg);

	net_settle(call->net);
	return ret;
}

int net_call(struct net *net, int (*fn)(struct net *net, void *arg), void *arg)
{
	struct net_thread_call call = { .net = net, .fn = fn, .arg = arg };

	return loop_call(&net->loop, net_thread_call, &call);
}

static int net_driver_ok_call(struct net *net, void *arg)
{
	struct error err = { 0 };
	int ret;

	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net_plan(net, net->virtio.accepted);
	net->generation++;
	net->changes++;
	net->active = true;
	net->stays = false;
	ret = net_find_rings(net, &err);
	net->passing = ret == 0 && net_can_pass(net);
	net_target_default(net);
	if (ret == 0)
		ret = net_start(net, net->virtio.accepted, net_fill, &err);
	if (ret == 0)
		ret = net_apply(net, &err);
	if (ret < 0) {
		log_limited(&net->stop_limit, LOG_ERROR, "%s: cannot start the NIC for the guest: %s",
			    net->name, err.text);
		net_stop(net);
		net_path_fail(&net->path, "%s", err.text);
		net->broken = true;
	}
	/* Broken or not: a driver that waits for the answer to a command gets one. */
	net_attach(net);
	net_return_later(net);
	return ret;
}

static int net_driver_ok(struct virtio_pci *v)
{
	return net_call(container_of(v, struct net, virtio), net_driver_ok_call, NULL);
}

static int net_reset_call(struct net *net, void *arg)
{
	net_announce_stop(net);
	net_detach(net);
	net_stop(net);
	cvq_reset(&net->ctrl.store);
	memset(&net->ctrl.stats, 0, sizeof(net->ctrl.stats));
	net->active = false;
	net->broken = false;
	net->path.fault[0] = '\0';
	net->space.announcing = false;
	net->path.features = 0;
	net->changes++;
	net_space_set_mac(&net->space, net->space.provisioned_mac);
	net_show_status(net);
	return 0;
}

static void net_reset(struct virtio_pci *v)
{
	net_call(container_of(v, struct net, virtio), net_reset_call, NULL);
}

static int net_queue_reset_call(struct net *net, void *arg)
{
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net_reset_ring(net, *(unsigned int *)arg);
	return 0;
}

static void net_queue_reset(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_reset_call, &index);
}

static int net_queue_enable_call(struct net *net, void *arg)
{
	net_enable_ring(net, *(unsigned int *)arg);
	return 0;
}

static void net_queue_enable(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_enable_call, &index);
}

static int net_queue_vector_call(struct net *net, void *arg)
{
	net_pass_vector(net, *(unsigned int *)arg);
	return 0;
}

static void net_queue_vector(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_vector_call, &index);
}

static const struct virtio_ops net_virtio_ops = {
	.config_read = net_config_read,
	.features_ok = net_features_ok,
	.driver_ok = net_driver_ok,
	.reset = net_reset,
	.queue_reset = net_queue_reset,
	.queue_enable = net_queue_enable,
	.queue_vector = net_queue_vector,
};

/* Reads what the device is, and decides what the guest sees. */
static int net_probe(struct net *net, struct error *err)
{
	struct vdpa *vdpa = net->vdpa;
	struct net_space *space = &net->space;
	uint32_t len = (uint32_t)min_u64(vdpa->config_len, NET_CONFIG_LEN);
	uint8_t *table;
	int ret;

	if (!virtio_has(vdpa->features, VIRTIO_F_VERSION_1))
		return error_add(err, -ENOTSUP, "%s: the device is a legacy one (no VIRTIO_F_VERSION_1)",
				 vdpa->name);
	if (vdpa->n_vqs < 2)
		return error_add(err, -EINVAL, "%s: the device has %u virtqueues, a NIC needs 2", vdpa->name,
				 vdpa->n_vqs);
	ret = vdpa->ops->get_config(vdpa, 0, space->bytes, len, err);
	if (ret < 0)
		return ret;
	net->device_max_pairs = 1;
	if (vdpa->features & (VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS)))
		net->device_max_pairs = get_le16(space->bytes + NET_CONFIG_FIELD(max_virtqueue_pairs));
	if (net->device_max_pairs < 1 || net->device_max_pairs > NET_MAX_PAIRS)
		return error_add(err, -EINVAL, "%s: the device has %u queue pairs, Ferry takes 1 to %u",
				 vdpa->name, net->device_max_pairs, NET_MAX_PAIRS);
	if (vdpa->n_vqs < 2 * net->device_max_pairs + 1 && net->device_max_pairs > 1) {
		/* With MQ or RSS the control queue would have an index that this device node does not reach.
		 */
		log_warn("%s: %u queue pairs but only %u virtqueues: used with one pair, without MQ and RSS",
			 vdpa->name, net->device_max_pairs, vdpa->n_vqs);
		vdpa->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS));
		net->device_max_pairs = 1;
	}
	/* A table that the guest can set must be one that can be carried. */
	table = space->bytes + NET_CONFIG_FIELD(rss_max_indirection_table_length);
	put_le16(table, (uint16_t)min_u64(get_le16(table), CVQ_MAX_RSS_TABLE));
	net->max_pairs = net->device_max_pairs;
	put_le16(space->bytes + NET_CONFIG_FIELD(max_virtqueue_pairs), (uint16_t)net->max_pairs);
	space->device_features = vdpa->features;
	net_space_take(space, space->bytes, 0);
	net_show_status(net);
	net->possible = net_features_offer(vdpa, net->device_max_pairs);
	return net_mac_choose(space, vdpa, net->name, err);
}

int net_check_reach(const struct net *net, struct error *err)
{
	uint64_t last = net->path.window.iova + net->path.window.len - 1;

	if (last <= net->vdpa->iova_last && net->vdpa->iova_first == 0)
		return 0;
	return error_add(err, -ERANGE,
			 "%s: the device reaches addresses 0x%llx to 0x%llx, this guest needs 0 to 0x%llx: "
			 "give the guest less memory",
			 net->vdpa->name, (unsigned long long)net->vdpa->iova_first,
			 (unsigned long long)net->vdpa->iova_last, (unsigned long long)last);
}

/* A queue's shadow ring, its tables and its scratch buffers. */
static void net_place_queue(struct net *net, unsigned int i)
{
	struct net_window *w = &net->path.window;
	struct net_queue *q = &net->queues[i];

	q->ring_offset = net_window_reserve(w, svq_bytes(net->ring_size));
	if (virtio_has(net->vdpa->features, VIRTIO_RING_F_INDIRECT_DESC))
		q->table_offset = net_window_reserve(w, svq_table_bytes(net->ring_size));
	if (i % 2 == 0 && i < 2 * net->max_pairs)
		q->scratch.offset = net_window_reserve(w, net_scratch_bytes());
}

/* The window: the data queues and the announcement; the control queue with its commands and acks. */
static int net_lay_out(struct net *net, struct error *err)
{
	struct net_window *w = &net->path.window;
	unsigned int i = 0;

	for (; i < 2 * net->max_pairs; i++)
		net_place_queue(net, i);
	net->announce.offset = net_window_reserve(w, PAGE_SIZE);
	net_window_end_data(w);
	if (i < net->n_slots)
		net_place_queue(net, i);
	net_ctrl_reserve(&net->ctrl, w);
	return net_window_init(w, net->path.memory, err);
}

/* The largest ring of each queue that the guest sees; all shadow rings get room for the largest of them. */
static int net_ring_sizes(struct net *net, uint16_t *sizes, struct error *err)
{
	for (unsigned int i = 0; i < net->n_slots; i++) {
		int ret = net->vdpa->ops->vring_size(net->vdpa, i, &sizes[i], err);

		if (ret < 0)
			return ret;
		if (!is_power_of_2(sizes[i]) || sizes[i] > VIRTIO_RING_MAX_SIZE)
			return error_add(err, -EINVAL, "%s: queue %u has a ring of %u entries",
					 net->vdpa->name, i, sizes[i]);
		net->queues[i].device_size = sizes[i];
		if (sizes[i] > net->ring_size)
			net->ring_size = sizes[i];
	}
	return 0;
}

static int net_events_init(struct net *net, struct error *err)
{
	int ret;

	net->config_call = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
						 .fn = net_device_config_changed };
	ret = net->config_call.fd < 0 ? -errno : loop_add(&net->loop, &net->config_call, EPOLLIN);
	if (ret == 0)
		ret = loop_timer_open(&net->ctrl.timer, &net->loop, net_ctrl_timed_out);
	if (ret == 0)
		ret = loop_timer_open(&net->announce.timer, &net->loop, net_announce_timer);
	if (ret == 0)
		ret = loop_timer_open(&net->pass_timer, &net->loop, net_return_timer);
	if (ret < 0)
		return error_add(err, ret, "cannot create an eventfd or timer: %s%s", strerror(-ret),
				 shortage_advice(ret));
	for (unsigned int i = 0; i < net->n_slots; i++) {
		net->queues[i].call.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		net->queues[i].device_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (net->queues[i].call.fd < 0 || net->queues[i].device_kick < 0)
			return error_add(err, -errno, "cannot create an eventfd: %s%s", strerror(errno),
					 shortage_advice(-errno));
	}
	return 0;
}

static void net_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void net_free(struct net *net)
{
	for (unsigned int i = 0; i < net->n_slots; i++) {
		net_close(net->queues[i].call.fd);
		net_close(net->queues[i].device_kick);
	}
	net_close(net->config_call.fd);
	loop_timer_close(&net->ctrl.timer);
	loop_timer_close(&net->announce.timer);
	loop_timer_close(&net->pass_timer);
	if (net->vdpa)
		net->vdpa->ops->close(net->vdpa);
	net_window_exit(&net->path.window);
	loop_exit(&net->loop);
	net_space_exit(&net->space);
	free(net);
}

static struct net *net_alloc(struct vm *vm, struct vdpa *vdpa, unsigned int index)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net)
		return NULL;
	net->vm = vm;
	net->vdpa = vdpa;
	net->ctrl.path = &net->path;
	net->ctrl.space = &net->space;
	net->ctrl.nic = net->name;
	net->ctrl.device = vdpa->name;
	net->ctrl.patience = net_patience;
	net->ctrl.stop_fd = vm->stop_fd;
	net->path = (struct net_path){ .memory = &vm->memory, .virtio = &net->virtio };
	net->path.window.fd = -1;
	net->config_call.fd = -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(net->queues); i++) {
		net->queues[i].path = &net->path;
		net->queues[i].siblings = net->queues;
		net->queues[i].call.fd = net->queues[i].device_kick = -1;
	}
	snprintf(net->name, sizeof(net->name), "net%u", index);
	net->device = (struct device){ .ops = &net_device_ops, .name = net->name };
	net_space_init(&net->space);
	if (loop_init(&net->loop) < 0) {
		net_space_exit(&net->space);
		free(net);
		return NULL;
	}
	return net;
}

int net_create(struct net **out, struct vm *vm, struct pci_bus *bus, struct vdpa *vdpa, unsigned int index,
	       const struct net_config *config, struct error *err)
{
	uint16_t sizes[2 * NET_MAX_PAIRS + 1];
	struct net *net = net_alloc(vm, vdpa, index);
	int ret;

	if (!net) {
		vdpa->ops->close(vdpa);
		return error_add(err, -ENOMEM, "out of memory for a NIC");
	}
	net->shared_switch = config->shared_switch;
	ret = net_probe(net, err);
	if (ret < 0)
		goto free_net;
	net->n_slots = 2 * net->max_pairs + (virtio_has(net->possible, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
	ret = net_ring_sizes(net, sizes, err);
	if (ret == 0)
		ret = net_choose_mode(net, config, err);
	if (ret < 0)
		goto free_net;
	net->possible |= net_features_rings(net->name, net->vdpa, config, sizes, net->n_slots);
	net->offered = net_offer_now(net);
	ret = net_lay_out(net, err);
	if (ret == 0)
		ret = net_events_init(net, err);
	if (ret < 0)
		goto free_net;
	ret = virtio_pci_init(&net->virtio, bus,
			      &(struct virtio_pci_setup){ .ops = &net_virtio_ops,
							  .device_type = VIRTIO_ID_NET,
							  .class_code = NET_PCI_CLASS,
							  .config_len = NET_CONFIG_LEN,
							  .offered = net->offered,
							  .n_queues = net->n_slots,
							  .max_sizes = sizes },
			      err);
	if (ret < 0)
		goto free_net;
	ret = loop_start(&net->loop, net->name);
	if (ret < 0) {
		error_add(err, ret, "cannot start the thread of %s: %s%s", net->name, strerror(-ret),
			  shortage_advice(ret));
		goto exit_virtio;
	}
	vm_add_device(vm, &net->device);
	*out = net;
	return 0;

exit_virtio:
	virtio_pci_exit(&net->virtio);
free_net:
	net_free(net);
	return ret;
}

static int net_map_call(void *arg)
{
	struct net *net = arg;
	int ret = net_check_reach(net, &net->map_error);

	return ret < 0 ? ret : net_map(net, &net->map_error);
}

void net_map_begin(struct net *net)
{
	loop_post(&net->loop, &net->mapping, net_map_call, net);
}

int net_wait_mapped(struct net *net, struct error *err)
{
	int ret = loop_wait(&net->loop, &net->mapping);

	return ret < 0 ? error_add(err, ret, "%s", net->map_error.text) : 0;
}

void net_destroy(struct net *net)
{
	loop_join(&net->loop);
	net_announce_stop(net);
	net_detach(net);
	net_stop(net);
	virtio_pci_exit(&net->virtio);
	net_free(net);
}

unsigned int net_descriptors(const struct vdpa *vdpa)
{
	/* Of each queue the guest's kick, the device's kick and call, and an interrupt. */
	const unsigned int of_queue = 4;
	/* The loop and its wake-up, timers, the window, the interrupt of the config space. */
	const unsigned int of_nic = 12;

	return (unsigned int)min_u64(vdpa->n_vqs, 2 * NET_MAX_PAIRS + 1) * of_queue + of_nic;
}
