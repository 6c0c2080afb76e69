/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for one disk, on a file of the test's own. */
#include "tests/unit/devices/blk/blk_fixture.h"

#include <poll.h>

#include "tests/fake/vm.h"

int disk_guest_try(struct disk_guest *g, const char *path, unsigned int how, struct error *err)
{
	const struct blk_setup setup = { .path = path,
					 .read_only = how & READ_ONLY,
					 .arriving = how & ARRIVING };

	*g = (struct disk_guest){ .path = path, .host = fake_vm_new(), .bus = calloc(1, sizeof(*g->bus)) };
	assert_non_null(g->bus);
	*err = (struct error){ 0 };
	assert_int_equal(memory_init(&g->host->vm.memory, GUEST_MEM, err), 0);
	assert_int_equal(pci_bus_init(g->bus, &g->host->vm, err), 0);
	return blk_create(&g->blk, &g->host->vm, g->bus, &setup, err);
}

void disk_guest_exit(struct disk_guest *g)
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

void disk_guest_init(struct disk_guest *g, const char *path, unsigned int how)
{
	struct error err;

	if (disk_guest_try(g, path, how, &err) < 0)
		fail_msg("%s", err.text);
}

uint64_t reg_read(struct disk_guest *g, uint64_t addr, unsigned int len)
{
	return fake_vm_mmio_read(g->host, addr, len);
}

void reg_write(struct disk_guest *g, uint64_t addr, uint64_t value, unsigned int len)
{
	fake_vm_mmio_write(g->host, addr, value, len);
}

static void find_registers(struct disk_guest *g)
{
	g->common = fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_COMMON_CFG);
	g->config = fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_DEVICE_CFG);
	g->notify = fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_NOTIFY_CFG);
	assert_true(g->common && g->config && g->notify);
}

uint8_t disk_status(struct disk_guest *g)
{
	return (uint8_t)reg_read(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

void disk_reset(struct disk_guest *g)
{
	const uint64_t end_ns = end_of(FAKE_PATIENCE_MS);

	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	/* As drivers do (virtio 1.2, 2.4.2): the device may have a request to end first. */
	while (disk_status(g) != 0 && now_ns() < end_ns)
		poll(NULL, 0, 1);
	assert_int_equal(disk_status(g), 0);
	fake_driver_exit(&g->ring);
}

void set_up_ring(struct disk_guest *g, uint64_t desc)
{
	struct vring_setup s = {
		.size = BLK_RING_SIZE,
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
}

void enable_ring(struct disk_guest *g)
{
	reg_write(g, g->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

uint64_t disk_offered(struct disk_guest *g)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < 2; i++) {
		reg_write(g, g->common + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		features |= reg_read(g, g->common + VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
	}
	return features;
}

void disk_negotiate(struct disk_guest *g, uint64_t features)
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

void disk_start(struct disk_guest *g, uint64_t features)
{
	disk_negotiate(g, features);
	set_up_ring(g, RING);
	enable_ring(g);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(disk_status(g), DRIVER_OK);
}

uint8_t *bytes_at(struct disk_guest *g, uint64_t gpa, uint64_t len)
{
	uint8_t *p = memory_at(&g->host->vm.memory, gpa, len);

	assert_non_null(p);
	return p;
}

void publish(struct disk_guest *g)
{
	if (fake_driver_publish(&g->ring))
		reg_write(g, g->notify, 0, 2);
}

struct virtio_seg new_header(struct disk_guest *g, uint32_t type, uint64_t sector)
{
	struct virtio_seg seg = { HEADERS + 32ull * (g->n_requests % 512), HEADER_LEN };
	uint8_t *p = bytes_at(g, seg.addr, seg.len);

	put_le32(p, type);
	put_le32(p + 4, 0xffffffff); /* a priority, of which nobody takes note */
	put_le64(p + 8, sector);
	return seg;
}

struct virtio_seg new_status(struct disk_guest *g)
{
	struct virtio_seg seg = { STATUSES + g->n_requests++ % 512, 1 };

	*bytes_at(g, seg.addr, 1) = NO_STATUS;
	return seg;
}

static int submitted(struct disk_guest *g, int head, const struct virtio_seg *last)
{
	assert_true(head >= 0);
	g->status_of[head] = last->addr + last->len - 1;
	publish(g);
	return head;
}

int submit(struct disk_guest *g, const struct virtio_seg *segs, unsigned int n_read, unsigned int n_write)
{
	return submitted(g, fake_driver_add(&g->ring, segs, n_read, n_write), &segs[n_read + n_write - 1]);
}

int submit_indirect(struct disk_guest *g, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write)
{
	return submitted(g, fake_driver_add_indirect(&g->ring, segs, n_read, n_write, TABLES),
			 &segs[n_read + n_write - 1]);
}

int finish_in(struct disk_guest *g, uint32_t *len, int timeout_ms)
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

int finish(struct disk_guest *g)
{
	uint32_t len;

	return finish_in(g, &len, FAKE_PATIENCE_MS);
}

int begin(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len)
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
	return submit(g, segs, answers ? 1 : n - 1, answers ? n - 1 : 1);
}

int request(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len)
{
	begin(g, type, sector, at, len);
	return finish(g);
}

int request_range(struct disk_guest *g, uint32_t type, uint64_t sector, uint32_t n_sectors, uint32_t flags)
{
	uint8_t *p = bytes_at(g, DATA, RANGE_LEN);

	put_le64(p, sector);
	put_le32(p + 8, n_sectors);
	put_le32(p + 12, flags);
	return request(g, type, 0, 0, RANGE_LEN);
}

void fill(struct disk_guest *g, uint64_t at, uint32_t len, unsigned int seed)
{
	uint8_t *p = bytes_at(g, DATA + at, len);

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)((i * 31 + i / 512 + seed) | 1);
}

void make_disk_at(const char *path, uint64_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
}

void make_disk(char path[DISK_PATH], const char *name, uint64_t len)
{
	snprintf(path, DISK_PATH, "/var/tmp/ferry-%s-%d", name, (int)getpid());
	make_disk_at(path, len);
}

void host_read(const char *path, uint64_t offset, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, len, (off_t)offset), len);
	close(fd);
}

void assert_works(struct disk_guest *g, uint64_t sector)
{
	uint8_t back[4096];

	fill(g, 0, sizeof(back), (unsigned int)sector);
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, sector, 0, sizeof(back)), VIRTIO_BLK_S_OK);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, sector, 8192, sizeof(back)), VIRTIO_BLK_S_OK);
	assert_int_equal(request(g, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_memory_equal(bytes_at(g, DATA, 4096), bytes_at(g, DATA + 8192, 4096), 4096);
	host_read(g->path, sector * 512, back, sizeof(back));
	assert_memory_equal(bytes_at(g, DATA, 4096), back, 4096);
}
