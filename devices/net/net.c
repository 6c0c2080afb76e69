/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building the NIC. */
#define _GNU_SOURCE
#include "devices/net/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/net/ctrl.h"
#include "devices/net/events.h"
#include "devices/net/life.h"
#include "devices/net/migrate.h"
#include "devices/net/features.h"
#include "devices/net/mac.h"
#include "devices/net/passthrough.h"
#include "devices/net/scratch.h"
#include "devices/net/survey.h"
#include "devices/net/turn.h"
#include "devices/net/view.h"
#include "devices/virtio/pci.h"
#include "vmm/shortage.h"
#include "vmm/state.h"

#define NET_PCI_CLASS 0x020000u /* Ethernet */

_Static_assert(2 * NET_MAX_PAIRS <= CVQ_MAX_QUEUES, "every data queue's coalescing and counters");

/* Reads what the device is, and decides what the guest sees. */
static int net_probe(struct net *net, struct error *err)
{
	struct vdpa *vdpa = net->backend.vdpa;
	struct net_space *space = &net->space;
	struct net_survey survey;
	int ret = net_survey(&survey, vdpa, net->name, err);

	if (ret < 0)
		return ret;
	memcpy(space->bytes, survey.config, sizeof(space->bytes));
	net->device_max_pairs = survey.max_pairs;
	net->max_pairs = survey.max_pairs;
	net->possible = survey.possible;
	space->device_features = vdpa->features;
	net_space_take(space, space->bytes, 0);
	net_ctrl_show_status(&net->ctrl);
	return net_mac_choose(space, vdpa, net->name, err);
}

/* A queue's shadow ring, its tables and its scratch buffers. */
static void net_place_queue(struct net *net, unsigned int i)
{
	struct net_window *w = &net->path.window;
	struct net_queue *q = &net->queues[i];

	q->ring_offset = net_window_reserve(w, svq_bytes(net->ring_size));
	if (virtio_has(net->backend.vdpa->features, VIRTIO_RING_F_INDIRECT_DESC))
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
		int ret = net->backend.vdpa->ops->vring_size(net->backend.vdpa, i, &sizes[i], err);

		if (ret < 0)
			return ret;
		if (!is_power_of_2(sizes[i]) || sizes[i] > VIRTIO_RING_MAX_SIZE) {
			error_add(err, "%s: queue %u has a ring of %u entries", net->backend.vdpa->name, i,
				  sizes[i]);
			return -EINVAL;
		}
		net->queues[i].device_size = sizes[i];
		if (sizes[i] > net->ring_size)
			net->ring_size = sizes[i];
	}
	return 0;
}

/* Returns the device, which is the caller's. */
static struct vdpa *net_free(struct net *net)
{
	struct vdpa *vdpa = net->backend.vdpa;

	net_events_exit(net);
	net_window_exit(&net->path.window);
	net_views_exit(net);
	loop_exit(&net->loop);
	net_space_exit(&net->space);
	free(net->arrival);
	free(net);
	return vdpa;
}

/* Decides whether the device may serve the guest's data queues, and says so, or why not. */
static int net_choose_mode(struct net *net, const struct net_config *config, struct error *err)
{
	struct vdpa *vdpa = net->backend.vdpa;
	const char *why = net_pass_obstacle(vdpa, net->possible, config);

	if (why && config->mode == NET_PASSTHROUGH) {
		error_add(err, "%s: %s: no passthrough: %s", net->name, vdpa->name, why);
		return -ENOTSUP;
	}
	if (why) {
		net->pins = NET_PIN_DEVICE;
		net->obstacle = why;
		log_limited(&vdpa->log_limit, LOG_INFO, "%s: %s: shadow rings: %s", net->name, vdpa->name,
			    why);
		return 0;
	}
	if (virtio_has(net->possible, VIRTIO_NET_F_CTRL_VQ))
		net->backend.ctrl_asid = 1;
	log_limited(&vdpa->log_limit, LOG_INFO, "%s: %s: passthrough", net->name, vdpa->name);
	return 0;
}

static struct net *net_alloc(struct vm *vm, struct vdpa *vdpa, unsigned int index)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net)
		return NULL;
	net->backend = (struct net_backend){ .vdpa = vdpa, .path = &net->path };
	net->announce.queue = &net->queues[virtio_net_tx(0)];
	net->announce.space = &net->space;
	net->announce.store = &net->ctrl.store;
	net->ctrl.path = &net->path;
	net->ctrl.space = &net->space;
	net->ctrl.nic = net->name;
	net->ctrl.device = vdpa->name;
	net->ctrl.patience = net_patience;
	net->ctrl.stop_fd = vm->stop_fd;
	net->path = (struct net_path){ .memory = &vm->memory, .virtio = &net->virtio };
	net->path.window.fd = -1;
	net_events_clear(net);
	for (unsigned int i = 0; i < ARRAY_SIZE(net->queues); i++) {
		net->queues[i].path = &net->path;
		net->queues[i].siblings = net->queues;
	}
	snprintf(net->name, sizeof(net->name), "net%u", index);
	net->device = (struct device){ .ops = &net_device_ops, .name = net->name };
	net_space_init(&net->space);
	pthread_mutex_init(&net->left_lock, NULL);
	if (loop_init(&net->loop) < 0) {
		pthread_mutex_destroy(&net->left_lock);
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
		error_add(err, "out of memory for a NIC");
		return -ENOMEM;
	}
	net->shared_switch = config->shared_switch;
	/* A CPU for each vCPU, for each NIC up to this one, and for all the rest. */
	net_turn_init(net, config->poll_us, vm->n_vcpus + index + 2);
	/* In passthrough the NIC's thread sleeps, and the device's own, if it has one, is busy instead. */
	if (vdpa->ops->look)
		vdpa->ops->look(vdpa, config->poll_us, vm->n_vcpus + index + 2);
	ret = net_probe(net, err);
	if (ret < 0)
		goto free_net;
	net->n_slots = 2 * net->max_pairs + (virtio_has(net->possible, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
	ret = net_ring_sizes(net, sizes, err);
	if (ret == 0)
		ret = net_choose_mode(net, config, err);
	if (ret < 0)
		goto free_net;
	net->possible |= net_features_rings(net->name, vdpa, config, sizes, net->n_slots);
	net->offered = net->pins ? net->possible : net_pass_offer(vdpa, net->possible);
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
		error_add(err, "cannot start the thread of %s: %s%s", net->name, strerror(-ret),
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
	vdpa->ops->close(vdpa);
	return ret;
}

static int net_map_call(void *arg)
{
	struct net *net = arg;
	int ret = net_backend_check_reach(&net->backend, &net->map_error);

	return ret < 0 ? ret : net_backend_map(&net->backend, NET_MAP_WINDOW, &net->map_error);
}

void net_map_begin(struct net *net)
{
	loop_post(&net->loop, &net->mapping, net_map_call, net);
}

int net_wait_mapped(struct net *net, struct error *err)
{
	int ret = loop_wait(&net->loop, &net->mapping);

	if (ret < 0) {
		error_add(err, "%s", net->map_error.text);
		return ret;
	}
	return 0;
}

/* Ends what the NIC does; a device that cannot be reset goes on. */
static void net_finish(struct net *net)
{
	loop_join(&net->loop);
	net_end(net);
	virtio_pci_exit(&net->virtio);
}

struct vdpa *net_dismantle(struct net *net)
{
	net_finish(net);
	return net_free(net);
}

void net_destroy(struct net *net)
{
	net_finish(net);
	/* Before the memory that was mapped for the device is given up. */
	net->backend.vdpa->ops->close(net->backend.vdpa);
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
