/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the function with its capabilities, and its BAR. */
#include "devices/virtio/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/pci/msix.h"
#include "devices/pci/state.h"
#include "devices/virtio/pci_common.h"
#include "devices/virtio/pci_status.h"
#include "vmm/loop.h"
#include "vmm/shortage.h"

#define VIRTIO_PCI_VENDOR 0x1af4
/* The device type is added to both. From 0x40 on a subsystem ID is that of a modern device. */
#define VIRTIO_PCI_DEVICE    0x1040
#define VIRTIO_PCI_SUBSYSTEM 0x0040

/* The layout of the one BAR. MSI-X has pages of its own, and so has each queue's notification, which can
 * become a doorbell. */
#define VIRTIO_PCI_BAR 0u
#define BAR_LEN        MIB(1)
#define BAR_COMMON     0x0000u
#define BAR_ISR        0x0100u
#define BAR_CONFIG     0x0200u
#define BAR_MSIX       0x1000u
#define BAR_PBA        0x2000u
#define BAR_NOTIFY     0x3000u
#define NOTIFY_BYTES   4096u /* notify_off_multiplier */

#define COMMON_BYTES (VIRTIO_PCI_COMMON_Q_RESET + 2u)
#define ISR_BYTES    1u

_Static_assert(BAR_NOTIFY + VIRTIO_PCI_MAX_QUEUES * NOTIFY_BYTES == BAR_LEN, "a page for each queue");
_Static_assert(BAR_CONFIG + VIRTIO_PCI_MAX_CONFIG == BAR_MSIX, "configuration ends at the next page");
_Static_assert((VIRTIO_PCI_MAX_QUEUES + 1) * 16 <= BAR_PBA - BAR_MSIX, "a vector for each queue");

/* The BAR. In all of these, @offset counts from the region. */

static void isr_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len)
{
	uint8_t isr = atomic_exchange(&v->isr, 0);

	memset(data, 0, len);
	memcpy(data, &isr, sizeof(isr));
}

static void config_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len)
{
	if (offset >= v->config_len || len > v->config_len - offset)
		return;
	pthread_mutex_lock(&v->lock);
	v->ops->config_read(v, (uint32_t)offset, data, len);
	pthread_mutex_unlock(&v->lock);
}

static void msix_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len)
{
	pci_msix_table_read(&v->pci, offset, data, len);
}

static void msix_write(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len)
{
	pci_msix_table_write(&v->pci, offset, data, len);
}

static void pba_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len)
{
	pci_msix_pba_read(&v->pci, offset, data, len);
}

/* A notification that does not meet the ioeventfd: of another width, or by way of the window in configuration
 * space. */
static void notify_write(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len)
{
	if (offset / NOTIFY_BYTES < v->n_queues)
		loop_signal(v->queues[offset / NOTIFY_BYTES].kick_fd);
}

static const struct bar_region {
	uint32_t offset, len;
	void (*read)(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len);
	void (*write)(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len);
} bar_regions[] = {
	{ BAR_COMMON, COMMON_BYTES, virtio_pci_common_read, virtio_pci_common_write },
	{ BAR_ISR, ISR_BYTES, isr_read, NULL },
	{ BAR_CONFIG, VIRTIO_PCI_MAX_CONFIG, config_read, NULL },
	{ BAR_MSIX, BAR_PBA - BAR_MSIX, msix_read, msix_write },
	{ BAR_PBA, BAR_NOTIFY - BAR_PBA, pba_read, NULL },
	{ BAR_NOTIFY, BAR_LEN - BAR_NOTIFY, NULL, notify_write },
};

static const struct bar_region *bar_find(uint64_t offset)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(bar_regions); i++) {
		if (offset >= bar_regions[i].offset && offset - bar_regions[i].offset < bar_regions[i].len)
			return &bar_regions[i];
	}
	return NULL;
}

static void bar_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	const struct bar_region *region = bar_find(offset);

	if (region && region->read)
		region->read(opaque, offset - region->offset, data, len);
}

static void bar_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	const struct bar_region *region = bar_find(offset);

	if (region && region->write)
		region->write(opaque, offset - region->offset, data, len);
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

/* Building */

static uint8_t add_capability(struct virtio_pci *v, uint8_t type, uint32_t offset, uint32_t len,
			      uint8_t cap_len)
{
	/* Room for the longest. What follows struct virtio_pci_cap in the others is set by the caller. */
	uint8_t cap[sizeof(struct virtio_pci_cfg_cap)] = { PCI_CAP_ID_VNDR };

	cap[offsetof(struct virtio_pci_cap, cap_len)] = cap_len;
	cap[offsetof(struct virtio_pci_cap, cfg_type)] = type;
	cap[offsetof(struct virtio_pci_cap, bar)] = VIRTIO_PCI_BAR;
	put_le32(cap + offsetof(struct virtio_pci_cap, offset), offset);
	put_le32(cap + offsetof(struct virtio_pci_cap, length), len);
	return pci_function_add_capability(&v->pci, cap, cap_len);
}

static void add_capabilities(struct virtio_pci *v)
{
	const uint8_t len = sizeof(struct virtio_pci_cap);

	add_capability(v, VIRTIO_PCI_CAP_COMMON_CFG, BAR_COMMON, COMMON_BYTES, len);
	v->notify_cap = add_capability(v, VIRTIO_PCI_CAP_NOTIFY_CFG, BAR_NOTIFY, v->n_queues * NOTIFY_BYTES,
				       sizeof(struct virtio_pci_notify_cap));
	put_le32(
		&v->pci.config[v->notify_cap + offsetof(struct virtio_pci_notify_cap, notify_off_multiplier)],
		NOTIFY_BYTES);
	add_capability(v, VIRTIO_PCI_CAP_ISR_CFG, BAR_ISR, ISR_BYTES, len);
	if (v->config_len > 0)
		add_capability(v, VIRTIO_PCI_CAP_DEVICE_CFG, BAR_CONFIG, v->config_len, len);
	pci_function_add_window(
		&v->pci, add_capability(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(struct virtio_pci_cfg_cap)));
}

/*
 * A driver resets its device before it takes bus mastering away. A kernel that another one takes the place of
 * (kexec) does not: it takes it away, and what the device still wrote would be in memory that is used anew.
 */
static void master_lost(struct pci_function *pci)
{
	struct virtio_pci *v = container_of(pci, struct virtio_pci, pci);

	pthread_mutex_lock(&v->lock);
	if (v->status != 0)
		virtio_pci_reset(v);
	pthread_mutex_unlock(&v->lock);
}

static uint64_t notify_addr(const struct virtio_pci *v, unsigned int queue)
{
	return v->pci.bar_base[VIRTIO_PCI_BAR] + BAR_NOTIFY + queue * NOTIFY_BYTES;
}

int virtio_pci_map_doorbell(struct virtio_pci *v, unsigned int index, void *page)
{
	return kvm_map_page(&v->pci.vm->kvm, notify_addr(v, index), page);
}

void virtio_pci_unmap_doorbell(struct virtio_pci *v, unsigned int index)
{
	kvm_unmap_page(&v->pci.vm->kvm, notify_addr(v, index));
}

static void remove_queues(struct virtio_pci *v)
{
	for (unsigned int i = 0; i < v->n_built; i++) {
		kvm_del_ioeventfd(&v->pci.vm->kvm, notify_addr(v, i), v->queues[i].kick_fd);
		close(v->queues[i].kick_fd);
	}
	free(v->queues);
	v->queues = NULL;
	v->n_built = 0;
}

static int add_queue(struct virtio_pci *v, unsigned int index, uint16_t max_size, struct error *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int ret;

	if (fd < 0) {
		error_add(err, "cannot create an eventfd for queue %u: %s%s", index, strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	ret = kvm_add_ioeventfd(&v->pci.vm->kvm, notify_addr(v, index), fd);
	if (ret < 0) {
		close(fd);
		error_add(err, "cannot have KVM signal the kicks of queue %u: %s", index, strerror(-ret));
		return ret;
	}
	v->queues[index] = (struct virtio_queue){ .max_size = max_size, .size = max_size, .kick_fd = fd };
	v->queues[index].vector = VIRTIO_MSI_NO_VECTOR;
	v->n_built++;
	return 0;
}

static int add_queues(struct virtio_pci *v, unsigned int n, const uint16_t *max_sizes, struct error *err)
{
	int ret = 0;

	v->queues = calloc(n, sizeof(*v->queues));
	if (!v->queues) {
		error_add(err, "out of memory for %u virtqueues", n);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < n && ret == 0; i++)
		ret = add_queue(v, i, max_sizes[i], err);
	if (ret < 0)
		remove_queues(v);
	return ret;
}

int virtio_pci_init(struct virtio_pci *v, struct pci_bus *bus, const struct virtio_pci_setup *setup,
		    struct error *err)
{
	const struct pci_ids ids = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE + setup->device_type),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_SUBSYSTEM + setup->device_type),
		.revision = 1,
		.class_code = setup->class_code,
	};
	int ret;

	assert(setup->n_queues > 0 && setup->n_queues <= VIRTIO_PCI_MAX_QUEUES &&
	       setup->config_len <= VIRTIO_PCI_MAX_CONFIG);
	*v = (struct virtio_pci){ .ops = setup->ops, .config_len = setup->config_len };
	v->offered = setup->offered;
	v->config_vector = VIRTIO_MSI_NO_VECTOR;
	v->n_queues = setup->n_queues;
	ret = pci_bus_add(bus, &v->pci, &ids, err);
	if (ret < 0)
		return ret;
	ret = pci_bus_add_bar(bus, &v->pci, VIRTIO_PCI_BAR, BAR_LEN, &bar_ops, v, err);
	if (ret < 0)
		goto remove_pci;
	ret = pci_msix_init(&v->pci, setup->n_queues + 1, VIRTIO_PCI_BAR, BAR_MSIX, BAR_PBA, err);
	if (ret < 0)
		goto remove_pci;
	ret = add_queues(v, setup->n_queues, setup->max_sizes, err);
	if (ret < 0)
		goto remove_pci;
	add_capabilities(v);
	pthread_mutex_init(&v->lock, NULL);
	v->pci.master_lost = master_lost;
	return 0;

remove_pci:
	pci_bus_remove(&v->pci);
	return ret;
}

void virtio_pci_exit(struct virtio_pci *v)
{
	remove_queues(v);
	pci_bus_remove(&v->pci);
	pthread_mutex_destroy(&v->lock);
}

bool virtio_pci_power_on(struct virtio_pci *v)
{
	bool done;

	pthread_mutex_lock(&v->lock);
	if (v->resetting)
		virtio_pci_end_reset(v);
	else
		virtio_pci_reset(v);
	done = !v->resetting;
	if (done) {
		v->config_generation = 0;
		v->config_changed = false;
		pci_reset(&v->pci);
	}
	pthread_mutex_unlock(&v->lock);
	return done;
}

void virtio_pci_limit(struct virtio_pci *v, unsigned int n_queues, const uint16_t *max_sizes,
		      uint64_t offered)
{
	assert(n_queues > 0 && n_queues <= v->n_queues);
	pthread_mutex_lock(&v->lock);
	v->offered = offered;
	v->n_queues = n_queues;
	for (unsigned int i = 0; i < n_queues; i++) {
		assert(max_sizes[i] <= VIRTIO_RING_MAX_SIZE);
		v->queues[i].max_size = max_sizes[i];
		v->queues[i].size = max_sizes[i];
	}
	put_le32(&v->pci.config[v->notify_cap + offsetof(struct virtio_pci_cap, length)],
		 n_queues * NOTIFY_BYTES);
	pci_msix_limit(&v->pci, n_queues + 1);
	pthread_mutex_unlock(&v->lock);
}
