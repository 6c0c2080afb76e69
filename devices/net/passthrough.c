/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data queues that are the device's own. */
#include "devices/net/passthrough.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/virtio/pci.h"
#include "devices/virtio/vring_handover.h"

#define NET_RING_OF_DEVICE (VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))

const char *net_pass_obstacle(const struct vdpa *vdpa, uint64_t possible, const struct net_config *config)
{
	if (config->mode == NET_SHADOW)
		return "as asked for";
	if (config->packed_wanted)
		return "packed rings are asked for";
	/* The guest could name the control queue's memory in a descriptor. */
	if (virtio_has(possible, VIRTIO_NET_F_CTRL_VQ) && !vdpa->ctrl_apart)
		return "one address space for data and control queues";
	if (config->mode == NET_AUTO && !vdpa->can_suspend)
		return "the device cannot be suspended, to go over to them for a migration";
	return NULL;
}

uint64_t net_pass_offer(const struct vdpa *vdpa, uint64_t possible)
{
	return possible & ~(VIRTIO_BIT(VIRTIO_F_RING_PACKED) | (NET_RING_OF_DEVICE & ~vdpa->features));
}

const char *net_pass_misfit(const struct vdpa *vdpa, uint64_t features)
{
	if (virtio_has(features, VIRTIO_F_RING_PACKED))
		return "the guest has packed rings";
	if (features & NET_RING_OF_DEVICE & ~vdpa->features)
		return "the guest's rings have features that the device lacks";
	return NULL;
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

int net_pass_set_vector(struct vdpa *vdpa, struct net_queue *q, struct error *err)
{
	return vdpa->ops->set_vring_call(vdpa, q->device_index, net_pass_call(q), err);
}

int net_pass_open_doorbell(struct vdpa *vdpa, struct net_queue *q, struct error *err)
{
	void *page = NULL;
	int ret;

	if (q->doorbell)
		return 0;
	if (!vdpa->ops->map_doorbell)
		return -ENOTSUP;
	ret = vdpa->ops->map_doorbell(vdpa, q->device_index, &page, err);
	if (ret < 0)
		return ret;
	/*
	 * A page that is there already can be read by the guest, too: an access that finds none ends the VM.
	 */
	*(volatile uint16_t *)page = (uint16_t)q->device_index;
	ret = virtio_pci_map_doorbell(q->path->virtio, q->guest_index, page);
	if (ret < 0) {
		munmap(page, PAGE_SIZE);
		error_add(err, "%s", strerror(-ret));
		return ret;
	}
	q->doorbell = page;
	return 0;
}

void net_pass_close_doorbell(struct net_queue *q)
{
	if (!q->doorbell)
		return;
	virtio_pci_unmap_doorbell(q->path->virtio, q->guest_index);
	munmap(q->doorbell, PAGE_SIZE);
	q->doorbell = NULL;
}
