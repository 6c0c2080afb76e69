/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passthrough: data queues that are the device's own. It reads the guest's rings, the guest's kicks go to it
 * and its interrupts to the guest, eventfd to eventfd. */
#include "devices/net/net_priv.h"

#include <errno.h>
#include <sys/mman.h>

#include "devices/virtio/vring_handover.h"

#define NET_RING_OF_DEVICE (VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))

/* Why Ferry has to serve the data queues; NULL: it need not. */
static const char *net_pass_obstacle(const struct net *net, const struct net_config *config)
{
	if (config->mode == NET_SHADOW)
		return "as asked for";
	if (config->packed_text && !config->split_only)
		return "packed rings are asked for";
	/* The guest could name the control queue's memory in a descriptor. */
	if (virtio_has(net->possible, VIRTIO_NET_F_CTRL_VQ) && !net->vdpa->ctrl_apart)
		return "one address space for data and control queues";
	if (config->mode == NET_AUTO && !net->vdpa->can_suspend)
		return "the device cannot be suspended, to go over to them for a migration";
	return NULL;
}

int net_choose_mode(struct net *net, const struct net_config *config, struct error *err)
{
	const char *why = net_pass_obstacle(net, config);

	if (why && config->mode == NET_PASSTHROUGH)
		return error_add(err, -ENOTSUP, "%s: %s: no passthrough: %s", net->name, net->vdpa->name,
				 why);
	net->may_pass = !why;
	if (net->may_pass && virtio_has(net->possible, VIRTIO_NET_F_CTRL_VQ))
		net->ctrl_asid = 1;
	if (why)
		log_info("%s: %s: shadow rings: %s", net->name, net->vdpa->name, why);
	else
		log_info("%s: %s: passthrough", net->name, net->vdpa->name);
	return 0;
}

uint64_t net_offer_now(const struct net *net)
{
	if (!net->may_pass)
		return net->possible;
	return net->possible &
	       ~(VIRTIO_BIT(VIRTIO_F_RING_PACKED) | (NET_RING_OF_DEVICE & ~net->vdpa->features));
}

const char *net_pass_misfit(const struct net *net, uint64_t features)
{
	if (virtio_has(features, VIRTIO_F_RING_PACKED))
		return "the guest has packed rings";
	if (features & NET_RING_OF_DEVICE & ~net->vdpa->features)
		return "the guest's rings have features that the device lacks";
	return NULL;
}

bool net_can_pass(const struct net *net)
{
	if (!net->may_pass || net->stays || net->tracking || net_pass_misfit(net, net->path.features))
		return false;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (!net->queues[i].held)
			return false;
	}
	return true;
}

/* Where a queue's interrupts go: to KVM, or through Ferry's hands where the driver has set no vector. */
static int net_pass_call(struct net_queue *q)
{
	int fd = virtio_pci_queue_call(q->path->virtio, q->guest_index);

	return fd >= 0 ? fd : q->call.fd;
}

struct vdpa_vring net_pass_vring(struct net_queue *q)
{
	const struct vring_setup *s = &q->vring.setup;

	return (struct vdpa_vring){
		.size = s->size,
		.base = vring_base(&q->vring),
		.desc = s->desc,
		.avail = s->avail,
		.used = s->used,
		.kick_fd = q->kick.fd,
		.call_fd = net_pass_call(q),
	};
}

void net_pass_vector(struct net *net, unsigned int guest_index)
{
	struct net_queue *q =
		net->passing && !net_path_failed(&net->path) ? net_guest_queue(net, guest_index) : NULL;
	struct error err = { 0 };

	if (!q || q == net->ctrl.queue)
		return;
	if (net->vdpa->ops->set_vring_call(net->vdpa, q->device_index, net_pass_call(q), &err) < 0)
		net_path_fail(&net->path, "the device does not take another interrupt for queue %u: %s",
			      guest_index, err.text);
}

/* Without it the guest's kicks go through KVM and an eventfd, which is no error. */
static void net_open_doorbell(struct net_queue *q)
{
	struct net *net = net_of(q);
	struct error err = { 0 };
	void *page = NULL;
	int ret = net->vdpa->ops->map_doorbell(net->vdpa, q->device_index, &page, &err);

	if (ret == 0) {
		/* A page that is there already can be read by the guest, too: an access that finds none ends
		 * the VM. */
		*(volatile uint16_t *)page = (uint16_t)q->device_index;
		ret = virtio_pci_map_doorbell(&net->virtio, q->guest_index, page);
		if (ret == 0)
			q->doorbell = page;
		else
			munmap(page, PAGE_SIZE);
	}
	if (ret < 0 && ret != -ENOTSUP)
		log_limited(&net->log_limit, LOG_WARN, "%s: queue %u without a doorbell: %s", net->name,
			    q->guest_index, err.text[0] ? err.text : strerror(-ret));
}

void net_pass_go(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];

		if (net->vdpa->ops->map_doorbell && !q->doorbell)
			net_open_doorbell(q);
		loop_signal(q->kick.fd);
	}
}

void net_close_doorbells(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];

		if (!q->doorbell)
			continue;
		virtio_pci_unmap_doorbell(&net->virtio, q->guest_index);
		munmap(q->doorbell, PAGE_SIZE);
		q->doorbell = NULL;
	}
}
