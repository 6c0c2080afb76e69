/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for one disk, on a file of the test's own, and what tests of the disk do again and again.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_BLK_BLK_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_BLK_BLK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "devices/blk/blk_priv.h"
#include "tests/fake/driver.h"
#include "tests/fake/vm.h"
#include "vmm/x86/layout.h"

#define ALL       UINT64_MAX
#define DRIVER_OK 0xf
#define BROKEN    (DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)
#define GUEST_MEM MIB(16)
#define RING      UINT64_C(0x100000)
#define TABLES    UINT64_C(0x200000)
#define HEADERS   UINT64_C(0x300000)
#define STATUSES  UINT64_C(0x380000)
#define DATA      UINT64_C(0x400000)
#define DISK_LEN  MIB(4)
#define NO_STATUS 0xee
#define TIMED_OUT (-1)

struct disk_guest {
	struct fake_vm *host;
	struct pci_bus *bus; /* the whole can be moved in memory */
	struct blk *blk;
	uint64_t common, notify, config;
	uint64_t features;
	struct fake_driver ring;
	unsigned int n_requests;
	uint64_t status_of[BLK_RING_SIZE]; /* gpa, by head */
};

/* Build and take down */

static inline int disk_guest_try(struct disk_guest *g, const char *path, bool read_only, bool arriving,
				 struct error *err)
{
	*g = (struct disk_guest){ .host = fake_vm_new(), .bus = calloc(1, sizeof(*g->bus)) };
	assert_non_null(g->bus);
	*err = (struct error){ 0 };
	assert_int_equal(memory_init(&g->host->vm.memory, GUEST_MEM, err), 0);
	assert_int_equal(pci_bus_init(g->bus, &g->host->vm, err), 0);
	return blk_create(&g->blk, &g->host->vm, g->bus, path, read_only, arriving, 0, err);
}

static inline void disk_guest_exit(struct disk_guest *g)
{
	fake_driver_exit(&g->ring);
	if (g->blk)
		assert_true(blk_destroy(g->blk, UINT64_MAX));
	pci_bus_exit(g->bus);
	free(g->bus);
	memory_exit(&g->host->vm.memory);
	free(g->host);
	*g = (struct disk_guest){ 0 };
}

static inline void disk_guest_init(struct disk_guest *g, const char *path, bool read_only, bool arriving)
{
	struct error err;

	if (disk_guest_try(g, path, read_only, arriving, &err) < 0)
		fail_msg("%s", err.text);
}

/* Registers */

static inline uint64_t reg_read(struct disk_guest *g, uint64_t addr, unsigned int len)
{
	return fake_vm_mmio_read(g->host, addr, len);
}

static inline void reg_write(struct disk_guest *g, uint64_t addr, uint64_t value, unsigned int len)
{
	fake_vm_mmio_write(g->host, addr, value, len);
}

static inline void find_registers(struct disk_guest *g)
{
	uint64_t bar = fake_config_read(g->host, 1, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	unsigned int cap = fake_config_read(g->host, 1, PCI_CAPABILITY_LIST, 1);

	for (; cap; cap = fake_config_read(g->host, 1, cap + 1, 1)) {
		uint64_t at = bar + fake_config_read(g->host, 1, cap + 8, 4);

		if (fake_config_read(g->host, 1, cap, 1) != PCI_CAP_ID_VNDR)
			continue;
		switch (fake_config_read(g->host, 1, cap + 3, 1)) {
		case VIRTIO_PCI_CAP_COMMON_CFG:
			g->common = at;
			break;
		case VIRTIO_PCI_CAP_DEVICE_CFG:
			g->config = at;
			break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			g->notify = at;
			break;
		}
	}
	assert_true(g->common && g->config && g->notify);
}

static inline uint8_t disk_status(struct disk_guest *g)
{
	return (uint8_t)reg_read(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void disk_reset(struct disk_guest *g)
{
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(disk_status(g), 0);
	fake_driver_exit(&g->ring);
}

static inline void set_up_ring(struct disk_guest *g, uint16_t size, uint64_t desc, bool enable)
{
	struct vring_setup s = {
		.size = size,
		.desc = RING,
		.avail = RING + 0x4000,
		.used = RING + 0x8000,
		.event_idx = virtio_has(g->features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(g->features, VIRTIO_RING_F_INDIRECT_DESC),
	};

	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	assert_int_equal(reg_read(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, 2), BLK_RING_SIZE);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, s.size, 2);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_DESCLO, desc, 4);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_AVAILLO, s.avail, 4);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_USEDLO, s.used, 4);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	fake_driver_init(&g->ring, &g->host->vm.memory, &s);
	if (enable)
		reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

static inline uint64_t disk_offered(struct disk_guest *g)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < 2; i++) {
		reg_write(g, g->common + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		features |= reg_read(g, g->common + VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
	}
	return features;
}

/* From reset to FEATURES_OK with those of @features that are offered. */
static inline void disk_negotiate(struct disk_guest *g, uint64_t features)
{
	find_registers(g);
	disk_reset(g);
	g->features = disk_offered(g) & features;
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1, 1);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 3, 1);
	for (unsigned int i = 0; i < 2; i++) {
		reg_write(g, g->common + VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		reg_write(g, g->common + VIRTIO_PCI_COMMON_GF, g->features >> 32 * i & UINT32_MAX, 4);
	}
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK, 1);
	assert_int_equal(disk_status(g), 3 | VIRTIO_CONFIG_S_FEATURES_OK);
}

static inline void disk_start(struct disk_guest *g, uint64_t features)
{
	disk_negotiate(g, features);
	set_up_ring(g, BLK_RING_SIZE, RING, true);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(disk_status(g), DRIVER_OK);
}

/* Requests */

static inline uint8_t *bytes_at(struct disk_guest *g, uint64_t gpa, uint64_t len)
{
	uint8_t *p = memory_at(&g->host->vm.memory, gpa, len);

	assert_non_null(p);
	return p;
}

static inline void publish(struct disk_guest *g)
{
	if (fake_driver_publish(&g->ring))
		reg_write(g, g->notify, 0, 2);
}

/* A header in guest memory. */
static inline struct virtio_seg new_header(struct disk_guest *g, uint32_t type, uint64_t sector)
{
	struct virtio_seg seg = { HEADERS + 32ull * (g->n_requests % 512), BLK_HEADER_LEN };
	uint8_t *p = bytes_at(g, seg.addr, seg.len);

	put_le32(p, type);
	put_le32(p + 4, 0xffffffff); /* a priority, of which nobody takes note */
	put_le64(p + 8, sector);
	return seg;
}

static inline struct virtio_seg new_status(struct disk_guest *g)
{
	struct virtio_seg seg = { STATUSES + g->n_requests++ % 512, 1 };

	*bytes_at(g, seg.addr, 1) = NO_STATUS;
	return seg;
}

/* Makes a chain available whose last byte is its status. */
static inline int submit(struct disk_guest *g, const struct virtio_seg *segs, unsigned int n_read,
			 unsigned int n_write, bool indirect)
{
	const struct virtio_seg *last = &segs[n_read + n_write - 1];
	int head = indirect ? fake_driver_add_indirect(&g->ring, segs, n_read, n_write, TABLES)
			    : fake_driver_add(&g->ring, segs, n_read, n_write);

	assert_true(head >= 0);
	g->status_of[head] = last->addr + last->len - 1;
	publish(g);
	return head;
}

/* The status of the next request that is answered, and the length that it was given back with. */
static inline int finish_in(struct disk_guest *g, uint32_t *len, int timeout_ms)
{
	struct pollfd irq = { .fd = g->blk->virtio.pci.vectors[1].irq.fd, .events = POLLIN };
	uint64_t count;
	uint16_t head;
	int ret;

	for (;;) {
		ret = fake_driver_get_used(&g->ring, &head, len);
		if (ret == 0 && fake_driver_enable_interrupts(&g->ring))
			ret = fake_driver_get_used(&g->ring, &head, len);
		assert_true(ret >= 0);
		if (ret == 1)
			return *bytes_at(g, g->status_of[head], 1);
		if (poll(&irq, 1, timeout_ms) != 1)
			return TIMED_OUT;
		assert_int_equal(read(irq.fd, &count, sizeof(count)), sizeof(count));
	}
}

static inline int finish(struct disk_guest *g)
{
	uint32_t len;

	return finish_in(g, &len, FAKE_PATIENCE_MS);
}

/* A request for the @len bytes at DATA + @at, or none, in buffers as long as may be: its head. */
static inline int begin(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len)
{
	bool answers = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtio_seg segs[BLK_RING_SIZE];
	unsigned int n = 0;

	segs[n++] = new_header(g, type, sector);
	for (uint32_t done = 0; done < len; n++) {
		segs[n] =
			(struct virtio_seg){ DATA + at + done, (uint32_t)min_u64(len - done, BLK_MAX_SIZE) };
		done += segs[n].len;
	}
	segs[n++] = new_status(g);
	return submit(g, segs, answers ? 1 : n - 1, answers ? n - 1 : 1, false);
}

/* Makes a request, waits for the answer, and returns its status. */
static inline int request(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len)
{
	begin(g, type, sector, at, len);
	return finish(g);
}

static inline int request_range(struct disk_guest *g, uint32_t type, uint64_t sector, uint32_t n_sectors,
				uint32_t flags)
{
	uint8_t *p = bytes_at(g, DATA, BLK_RANGE_LEN);

	put_le64(p, sector);
	put_le32(p + 8, n_sectors);
	put_le32(p + 12, flags);
	return request(g, type, 0, 0, BLK_RANGE_LEN);
}

static inline void fill(struct disk_guest *g, uint64_t at, uint32_t len, unsigned int seed)
{
	uint8_t *p = bytes_at(g, DATA + at, len);

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i * 31 + i / 512 + seed) | 1);
}

/* The host's side of the disk */

static inline void make_disk(const char *path, uint64_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
}

static inline void host_read(const char *path, uint64_t offset, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, len, (off_t)offset), len);
	close(fd);
}

/* State trees */

struct tree {
	void *fdt;
	uint32_t len;
};

static inline struct tree write_tree(struct disk_guest *g, void (*fn)(struct device *, struct state_writer *))
{
	struct state_writer w;
	struct tree t;

	assert_int_equal(state_open_writer(&w), 0);
	fn(&g->blk->device, &w);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	return t;
}

static inline int read_tree(struct disk_guest *g, int (*fn)(struct device *, struct state_node *),
			    const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root;
	int ret;

	*err = (struct error){ 0 };
	ret = state_open(&root, fdt, len, err);
	if (ret == 0)
		ret = fn(&g->blk->device, &root);
	if (ret == 0)
		ret = state_finish(&root);
	assert_true(ret == 0 || err->text[0]);
	return ret;
}

static inline void assert_taken(struct disk_guest *g, int (*fn)(struct device *, struct state_node *),
				struct tree t)
{
	struct error err;

	if (read_tree(g, fn, t.fdt, t.len, &err) < 0)
		fail_msg("%s", err.text);
	free(t.fdt);
}

static inline void assert_refused(struct disk_guest *g, int (*fn)(struct device *, struct state_node *),
				  struct tree t, const char *reason)
{
	struct error err;

	assert_true(read_tree(g, fn, t.fdt, t.len, &err) < 0);
	if (!strstr(err.text, reason))
		fail_msg("'%s' is not in: %s", reason, err.text);
	free(t.fdt);
}

/* Settles with storage that answers at once. */
static inline void settle(struct disk_guest *g)
{
	struct error err = { 0 };
	int ret;

	do {
		ret = blk_device_ops.settle(&g->blk->device, end_of(3000), &err);
	} while (ret == -EAGAIN);
	if (ret < 0)
		fail_msg("%s", err.text);
}

/* Paused, and nothing under way. */
static inline void rest(struct disk_guest *g)
{
	blk_device_ops.pause(&g->blk->device);
	settle(g);
}

/* Memory and driver of @from go on at @to. */
static inline void copy_guest(struct disk_guest *to, struct disk_guest *from)
{
	memcpy(bytes_at(to, 0, GUEST_MEM), bytes_at(from, 0, GUEST_MEM), GUEST_MEM);
	to->common = from->common;
	to->notify = from->notify;
	to->config = from->config;
	to->features = from->features;
	to->n_requests = from->n_requests;
	memcpy(to->status_of, from->status_of, sizeof(to->status_of));
	fake_driver_exit(&to->ring);
	if (from->ring.mem)
		fake_driver_copy(&to->ring, &from->ring, &to->host->vm.memory);
}

#endif
