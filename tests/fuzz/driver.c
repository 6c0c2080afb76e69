/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver of a hostile guest: see the header. */
#include "tests/fuzz/driver.h"

#include <linux/pci_regs.h>

#define RINGS     UINT64_C(0x1000) /* three pages for each queue */
#define TABLES    UINT64_C(0x10000)
#define BUFFERS   UINT64_C(0x12000)
#define COMMON    0x0000u
#define BAR_BYTES MIB(1)
#define NOTIFY    0x3000u

/* Registers */

static void reg_write(struct rig *r, uint64_t offset, uint64_t v, unsigned int len)
{
	fake_vm_mmio_write(r->host->fake, r->bar + offset, v, len);
}

static uint64_t reg_read(struct rig *r, uint64_t offset, unsigned int len)
{
	return fake_vm_mmio_read(r->host->fake, r->bar + offset, len);
}

/* Memory */

uint8_t *driver_memory(const struct rig *r)
{
	return r->host->fake->vm.memory.regions[0].hva;
}

static void put(struct rig *r, uint64_t gpa, const void *data, uint32_t len)
{
	if (gpa >= MEM || len > MEM - gpa)
		return;
	memcpy(driver_memory(r) + gpa, data, len);
	memcpy(r->shadow + gpa, data, len);
}

static void put_u16(struct rig *r, uint64_t gpa, uint16_t v)
{
	uint8_t data[2];

	put_le16(data, v);
	put(r, gpa, data, sizeof(data));
}

static void put_desc(struct rig *r, uint64_t gpa, uint64_t addr, uint32_t len, uint16_t word12,
		     uint16_t word14)
{
	uint8_t data[16];

	put_le64(data, addr);
	put_le32(data + 8, len);
	put_le16(data + 12, word12);
	put_le16(data + 14, word14);
	put(r, gpa, data, sizeof(data));
}

/* Rings */

static uint64_t ring_part(unsigned int queue, unsigned int part)
{
	return RINGS + (3 * queue + part) * PAGE_SIZE;
}

static void put_ring_desc(struct rig *r, unsigned int index, unsigned int i, uint64_t addr, uint32_t len,
			  uint16_t flags, uint16_t head)
{
	struct queue *q = &r->queues[index];

	if (q->packed) {
		put_desc(r, ring_part(index, 0) + 16ull * q->next, addr, len, head,
			 (uint16_t)(flags | (q->wrap ? 0x80 : 0x8000)));
		q->wrap ^= q->next + 1 == q->size;
		q->next = (uint16_t)((q->next + 1) % q->size);
	} else {
		uint16_t place = (uint16_t)((head + i) % q->size);

		put_desc(r, ring_part(index, 0) + 16ull * place, addr, len, flags,
			 (uint16_t)((place + 1) % q->size));
	}
}

static void offer(struct rig *r, unsigned int index, uint16_t head)
{
	struct queue *q = &r->queues[index];

	if (q->packed)
		return;
	put_u16(r, ring_part(index, 1) + 4 + 2ull * (q->next % q->size), head);
	q->next++;
	put_u16(r, ring_part(index, 1) + 2, q->next);
}

static uint64_t pick_buffer(struct input *in)
{
	uint8_t how = input_u8(in);

	if (how == 0xff)
		return input_u64(in);
	return how == 0xfe ? MEM - 4 : BUFFERS + (input_u16(in) & 0x1fff) * 16ull;
}

static uint32_t pick_len(struct input *in)
{
	uint8_t how = input_u8(in);

	return how == 0xff ? input_u32(in) : how < 0x80 ? how : 1526;
}

void driver_add_chain(struct rig *r, struct input *in)
{
	unsigned int index = input_u8(in) % N_QUEUES, n = input_u8(in) % 4 + 1u;
	uint8_t shape = input_u8(in), n_read = input_u8(in);
	struct queue *q = &r->queues[index];
	uint16_t head;

	if (q->size == 0)
		return;
	n = n > q->size ? q->size : n;
	head = (uint16_t)((shape & 0x80 ? shape : q->next) % q->size);
	/* Receive queues get what can be written, transmit queues what cannot, mostly. */
	n_read = n_read >= 0xf0 ? n_read % 4 : index % 2 ? 4 : 0;
	if (shape % 8 == 7) {
		uint64_t table = TABLES + 64ull * (head % 64);

		for (unsigned int i = 0; i < n; i++)
			put_desc(r, table + 16 * i, pick_buffer(in), pick_len(in),
				 q->packed ? 0 : (uint16_t)((i + 1 < n) | (i >= n_read) << 1),
				 q->packed ? (uint16_t)((i >= n_read) << 1) : (uint16_t)(i + 1));
		put_ring_desc(r, index, 0, table, 16 * n, 4, head);
	} else {
		for (unsigned int i = 0; i < n; i++) {
			uint64_t addr = pick_buffer(in);

			put_ring_desc(r, index, i, addr, pick_len(in),
				      (uint16_t)((i + 1 < n) | (i >= n_read) << 1), head);
		}
	}
	offer(r, index, head);
}

void driver_kick(struct rig *r, unsigned int index)
{
	reg_write(r, NOTIFY + 0x1000ull * index, index, 2);
}

void driver_add_command(struct rig *r, struct input *in)
{
	struct queue *q = &r->queues[r->ctrl];
	uint8_t cmd[64], len = input_u8(in) % 56;
	uint32_t room = input_u8(in);
	uint64_t at = BUFFERS + 0x20000 + 256ull * (q->next % 16);
	uint16_t head;

	if (q->size < 2)
		return;
	head = (uint16_t)(q->next * (q->packed ? 1 : 2) % q->size);
	input_bytes(in, cmd, len + 2u);
	cmd[0] %= 10;
	cmd[1] %= 6;
	put(r, at, cmd, len + 2u);
	put_ring_desc(r, r->ctrl, 0, at, len + 2u, 1, head);
	put_ring_desc(r, r->ctrl, 1, at + 128, room % 64 + 1, 2, head);
	offer(r, r->ctrl, head);
	driver_kick(r, r->ctrl);
}

/* A driver's life */

/* The pages that the device may write for this chain. */
static void add_pages(const struct vring_chain *chain, bool pages[N_PAGES])
{
	for (unsigned int k = chain->n_read; k < (unsigned int)chain->n_read + chain->n_write; k++) {
		const struct virtio_seg *seg = &chain->segs[k];

		for (uint64_t at = seg->addr; at < seg->addr + seg->len;
		     at = (at / PAGE_SIZE + 1) * PAGE_SIZE)
			pages[at / PAGE_SIZE] = true;
	}
}

void driver_find_in_flight(const struct host *h, bool pages[N_PAGES])
{
	for (unsigned int i = 0; i < h->net->n_slots; i++) {
		struct net_queue *q = &h->net->queues[i];

		if (!q->held)
			continue;
		for (int head = vring_next_in_flight(&q->vring, -1); head >= 0;
		     head = vring_next_in_flight(&q->vring, head)) {
			const char *broken = q->vring.broken;
			struct vring_chain chain;
			int ret = vring_reread(&q->vring, (uint16_t)head, &chain);

			q->vring.broken = broken;
			/* The driver has changed it since: it can be anywhere. */
			if (ret != 1) {
				memset(pages, true, N_PAGES);
				return;
			}
			add_pages(&chain, pages);
		}
	}
}

/* The driver takes back, by writing to a register, what the NIC has: nobody logs what is in it. */
static void take_back(struct rig *r, uint64_t offset, uint64_t v, unsigned int len)
{
	bool pages[N_PAGES] = { 0 };

	driver_find_in_flight(r->host, pages);
	reg_write(r, offset, v, len);
	for (uint64_t page = 0; page < N_PAGES; page++) {
		if (pages[page] || r->tampered)
			memcpy(r->shadow + page * PAGE_SIZE, driver_memory(r) + page * PAGE_SIZE, PAGE_SIZE);
	}
}

static void set_up_queue(struct rig *r, struct input *in, unsigned int index)
{
	uint8_t how = input_u8(in);
	struct queue *q = &r->queues[index];
	uint16_t size = (uint16_t)(q->packed ? how % 64 + 1 : 1u << how % 7);

	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	/* What is zeroed here is in use. */
	r->tampered |= reg_read(r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 1;
	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, size, 2);
	for (unsigned int part = 0; part < 3; part++) {
		uint64_t gpa = ring_part(index, part);

		memset(driver_memory(r) + gpa, 0, PAGE_SIZE);
		memset(r->shadow + gpa, 0, PAGE_SIZE);
		reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_DESCLO + 8 * part, gpa, 4);
	}
	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, index + 1, 2);
	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, how != 0xff, 2);
	size = (uint16_t)reg_read(r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2);
	*q = (struct queue){ .size = size <= 64 ? size : 0, .packed = q->packed, .wrap = true };
}

static void status_write(struct rig *r, uint8_t status)
{
	reg_write(r, COMMON + VIRTIO_PCI_COMMON_STATUS, status, 1);
}

void driver_bring_up(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in);
	uint64_t features = how & 1 ? input_u64(in) | VIRTIO_BIT(VIRTIO_F_VERSION_1) : UINT64_MAX,
		 offered = 0;
	unsigned int n;

	if (how & 2)
		features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	take_back(r, COMMON + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	r->tampered = false;
	status_write(r, 1);
	status_write(r, 3);
	for (unsigned int i = 0; i < 2; i++) {
		reg_write(r, COMMON + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		offered |= reg_read(r, COMMON + VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
	}
	features &= offered;
	for (unsigned int i = 0; i < 2; i++) {
		reg_write(r, COMMON + VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		reg_write(r, COMMON + VIRTIO_PCI_COMMON_GF, features >> 32 * i & UINT32_MAX, 4);
	}
	status_write(r, 0xb);
	r->ctrl = features & (VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS)) ? 2 * N_PAIRS : 2;
	n = r->ctrl + (virtio_has(features, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
	memset(r->queues, 0, sizeof(r->queues));
	for (unsigned int i = 0; i < n; i++) {
		r->queues[i].packed = virtio_has(features, VIRTIO_F_RING_PACKED);
		set_up_queue(r, in, i);
	}
	status_write(r, 0xf);
}

void driver_reset_queue(struct rig *r, struct input *in)
{
	unsigned int index = input_u8(in) % N_QUEUES;

	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	take_back(r, COMMON + VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	if (input_u8(in) % 4 == 0)
		return;
	set_up_queue(r, in, index);
}

void driver_write_common(struct rig *r, struct input *in)
{
	static const uint8_t registers[][2] = { { 0, 4 },  { 8, 4 },  { 12, 4 }, { 16, 2 },
						{ 20, 1 }, { 22, 2 }, { 24, 2 }, { 26, 2 },
						{ 28, 2 }, { 32, 4 }, { 36, 4 }, { 40, 4 },
						{ 44, 4 }, { 48, 4 }, { 52, 4 }, { 58, 2 } };
	uint8_t which = input_u8(in);
	const uint8_t *reg = registers[which % ARRAY_SIZE(registers)];

	r->tampered = true;
	reg_write(r, COMMON + reg[0], which & 0x80 ? input_u32(in) : input_u8(in), which & 0x40 ? 1 : reg[1]);
}

void driver_access_bar(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in);
	unsigned int len = 1u << how % 4;
	uint64_t offset = input_u32(in) % (how & 16 ? BAR_BYTES : 0x3000), v = input_u64(in);

	r->tampered = true;
	if (offset + len > BAR_BYTES)
		return;
	if (how & 32)
		reg_write(r, offset, v, len);
	else
		reg_read(r, offset, len);
}

void driver_access_config(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in), reg = input_u8(in);
	unsigned int len = 1u << how % 3;

	reg &= (uint8_t) ~(len - 1);
	r->tampered = true;
	if (how & 16)
		fake_config_write(r->host->fake, how & 0x80 ? how % 4 : SLOT, reg, len, input_u32(in));
	else
		fake_config_read(r->host->fake, how & 0x80 ? how % 4 : SLOT, reg, len);
}

void driver_write_memory(struct rig *r, struct input *in)
{
	uint8_t data[16], len = input_u8(in) % sizeof(data) + 1u;
	uint64_t gpa = input_u8(in) % 2 ? BUFFERS + input_u16(in) : RINGS + input_u16(in) % (15 * PAGE_SIZE);

	r->tampered = true;
	input_bytes(in, data, len);
	put(r, gpa, data, len);
}
