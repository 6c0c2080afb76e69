/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's disk and its driver: see the header. */
#define _GNU_SOURCE
#include "tests/fault/nic_disk.h"

#include <assert.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fault/nic_vm.h"

#define NIC_DISK_SLOT   2u
#define NIC_DISK_RING   8u
#define NIC_DISK_DESC   UINT64_C(0xc00000)
#define NIC_DISK_AVAIL  UINT64_C(0xc01000)
#define NIC_DISK_USED   UINT64_C(0xc02000)
#define NIC_DISK_HEADER UINT64_C(0xc03000)
#define NIC_DISK_DATA   UINT64_C(0xc04000)
#define NIC_DISK_STATUS UINT64_C(0xc05000)
#define NIC_DISK_PAGES  6u
#define NIC_SECTOR      512u
#define NIC_NO_STATUS   0xee

void nic_disk_init(struct nic_disk *d)
{
	int ret;

	*d = (struct nic_disk){ .fd = memfd_create("disk", MFD_CLOEXEC) };
	ret = ftruncate(d->fd, NIC_DISK_SECTORS * NIC_SECTOR);
	assert(ret == 0);
	(void)ret;
	snprintf(d->path, sizeof(d->path), "/proc/self/fd/%d", d->fd);
}

void nic_disk_exit(struct nic_disk *d)
{
	fake_driver_exit(&d->ring);
	close(d->fd);
}

static void nic_disk_wrong(struct nic_disk *d, const char *why)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&d->wrong, &none, why);
}

/* The driver's start */

static void nic_disk_put(struct nic_disk *d, struct net_guest *here, unsigned int reg, uint64_t value,
			 unsigned int len)
{
	net_guest_write(here, d->common + reg, value, len);
}

static void nic_disk_set_up_ring(struct nic_disk *d, struct net_guest *here)
{
	const struct vring_setup setup = {
		.size = NIC_DISK_RING, .desc = NIC_DISK_DESC, .avail = NIC_DISK_AVAIL, .used = NIC_DISK_USED
	};

	fake_driver_exit(&d->ring);
	fake_driver_init(&d->ring, &here->vm->memory, &setup);
	nic_vm_wrote(here->vm, NIC_DISK_DESC, NIC_DISK_PAGES * PAGE_SIZE);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_SIZE, NIC_DISK_RING, 2);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_DESCLO, NIC_DISK_DESC, 4);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_AVAILLO, NIC_DISK_AVAIL, 4);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_USEDLO, NIC_DISK_USED, 4);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void nic_disk_start(struct nic_disk *d, struct net_guest *here)
{
	const uint8_t driver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint32_t sector = d->newest % NIC_DISK_SECTORS;

	if (d->asked)
		d->forgotten[sector] = d->newest;
	d->asked = false;
	d->common = fake_virtio_structure(here->host, NIC_DISK_SLOT, VIRTIO_PCI_CAP_COMMON_CFG);
	d->notify = fake_virtio_structure(here->host, NIC_DISK_SLOT, VIRTIO_PCI_CAP_NOTIFY_CFG);
	assert(d->common && d->notify);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_STATUS, driver, 1);
	/* VIRTIO_F_VERSION_1 alone. */
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_GF, 1, 4);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_STATUS, driver | VIRTIO_CONFIG_S_FEATURES_OK, 1);
	nic_disk_set_up_ring(d, here);
	nic_disk_put(d, here, VIRTIO_PCI_COMMON_STATUS,
		     driver | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

void nic_disk_follow(struct nic_disk *d, struct net_guest *here)
{
	struct fake_driver old = d->ring;

	fake_driver_copy(&d->ring, &old, &here->vm->memory);
	fake_driver_exit(&old);
}

/* Requests */

static void nic_disk_ask(struct nic_disk *d, struct net_guest *here)
{
	const struct virtio_seg segs[] = { { NIC_DISK_HEADER, 16 },
					   { NIC_DISK_DATA, NIC_SECTOR },
					   { NIC_DISK_STATUS, 1 } };
	uint8_t *header = memory_at(&here->vm->memory, NIC_DISK_HEADER, 16);
	uint8_t *data = memory_at(&here->vm->memory, NIC_DISK_DATA, NIC_SECTOR);
	int head;

	d->newest++;
	put_le32(header, VIRTIO_BLK_T_OUT);
	put_le32(header + 4, 0);
	put_le64(header + 8, d->newest % NIC_DISK_SECTORS);
	for (unsigned int i = 0; i < NIC_SECTOR; i += 4)
		put_le32(data + i, d->newest);
	*(uint8_t *)memory_at(&here->vm->memory, NIC_DISK_STATUS, 1) = NIC_NO_STATUS;
	head = fake_driver_add(&d->ring, segs, 2, 1);
	assert(head >= 0);
	(void)head;
	d->asked = true;
	if (fake_driver_publish(&d->ring))
		net_guest_write(here, d->notify, 0, 2);
	/* All but the used ring, which is the disk's to write. */
	nic_vm_wrote(here->vm, NIC_DISK_DESC, 2 * PAGE_SIZE);
	nic_vm_wrote(here->vm, NIC_DISK_HEADER, 3 * PAGE_SIZE);
}

static void nic_disk_take(struct nic_disk *d, struct net_guest *here)
{
	const uint8_t *status = memory_at(&here->vm->memory, NIC_DISK_STATUS, 1);
	uint16_t head;
	uint32_t len;
	int ret = fake_driver_get_used(&d->ring, &head, &len);

	if (ret < 0)
		nic_disk_wrong(d, "the disk's ring is broken");
	if (ret <= 0)
		return;
	if (*status != VIRTIO_BLK_S_OK)
		nic_disk_wrong(d, "a write to the disk fails");
	d->acknowledged[d->newest % NIC_DISK_SECTORS] = d->newest;
	d->n_written++;
	d->asked = false;
}

void nic_disk_step(struct nic_disk *d, struct net_guest *here)
{
	if (d->asked)
		nic_disk_take(d, here);
	if (!d->asked && !d->quiet)
		nic_disk_ask(d, here);
}

/* The content */

int nic_disk_diff(struct nic_disk *d, uint32_t *number)
{
	uint8_t data[NIC_SECTOR];

	for (unsigned int i = 0; i < NIC_DISK_SECTORS; i++) {
		ssize_t n = pread(d->fd, data, NIC_SECTOR, i * NIC_SECTOR);

		assert(n == NIC_SECTOR);
		(void)n;
		*number = get_le32(data);
		if (*number != d->acknowledged[i] &&
		    (*number < d->acknowledged[i] || *number != d->forgotten[i]))
			return (int)i;
		for (unsigned int at = 4; at < NIC_SECTOR; at += 4) {
			if (get_le32(data + at) != *number)
				return (int)i;
		}
	}
	return -1;
}
