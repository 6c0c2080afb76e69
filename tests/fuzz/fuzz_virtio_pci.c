/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest's accesses to the NIC, registers and memory, with the vDPA device in software behind it, on
 * one thread. The model: what the NIC has taken from a ring is held or with the device, and nothing else is;
 * the status is one that there is; no loop turns for ever; every page that was written is in the log or is a
 * buffer that the NIC still has; a guest that is moved goes on, and its saved state is the same there->
 */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/net_priv.h"
#include "devices/soft_vdpa.h"
#include "tests/fake/vm.h"
#include "tests/fuzz/loop.h"
#include "tests/fuzz/port.h"

#define MEM       KIB(256)
#define N_PAGES   (MEM / PAGE_SIZE)
#define N_PAIRS   2u
#define N_QUEUES  (2 * N_PAIRS + 1)
#define RINGS     UINT64_C(0x1000) /* three pages for each queue */
#define TABLES    UINT64_C(0x10000)
#define BUFFERS   UINT64_C(0x12000)
#define COMMON    0x0000u
#define BAR_BYTES MIB(1)
#define NOTIFY    0x3000u
#define SLOT      1u

/* The driver's end of a queue. */
struct queue {
	uint16_t size;
	bool packed;
	uint16_t next;
	bool wrap;
};

struct host {
	struct fake_vm *fake;
	struct pci_bus bus;
	struct vdpa *vdpa;
	struct vdpa_ops ops; /* its own, but for one */
	struct net *net;
};

struct rig {
	struct host *host;
	uint64_t bar;
	struct queue queues[N_QUEUES];
	unsigned int ctrl;
	bool tampered; /* the driver has done what can make a load refuse what was saved */
};

static uint8_t shadow[MEM];

static struct device *device_of(const struct host *h)
{
	return &h->net->device;
}

/* Registers */

static void reg_write(struct rig *r, uint64_t offset, uint64_t v, unsigned int len)
{
	fake_vm_mmio_write(r->host->fake, r->bar + offset, v, len);
}

static uint64_t reg_read(struct rig *r, uint64_t offset, unsigned int len)
{
	return fake_vm_mmio_read(r->host->fake, r->bar + offset, len);
}

/* Short rings: most of the time would go into those of the device's own size. */
static int vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	*size = index == 2 * N_PAIRS ? 16 : 64;
	return 0;
}

static struct host *build(void)
{
	const struct net_config config = { .soft = "soft",
					   .mode = NET_SHADOW,
					   .hub = "fuzz",
					   .mac_set = true,
					   .mac = { 2, 0, 0, 0, 0, 1 },
					   .n_queues = N_PAIRS,
					   .ring_size = CONFIG_DEFAULT_RING };
	struct host *h = calloc(1, sizeof(*h));
	struct error err = { 0 };
	int ret;

	assert(h);
	h->fake = fake_vm_new();
	ret = memory_init(&h->fake->vm.memory, MEM, &err);
	assert(ret == 0);
	ret = memory_log_start(&h->fake->vm.memory);
	assert(ret == 0);
	ret = pci_bus_init(&h->bus, &h->fake->vm, &err);
	assert(ret == 0);
	ret = soft_vdpa_open(&h->vdpa, &config, &err);
	assert(ret == 0);
	h->ops = *h->vdpa->ops;
	h->ops.vring_size = vring_size;
	h->vdpa->ops = &h->ops;
	ret = net_create(&h->net, &h->fake->vm, &h->bus, h->vdpa, 0, &config, &err);
	assert(ret == 0);
	net_map_begin(h->net);
	ret = net_wait_mapped(h->net, &err);
	assert(ret == 0);
	return h;
}

static void destroy(struct host *h)
{
	net_destroy(h->net);
	pci_bus_exit(&h->bus);
	memory_exit(&h->fake->vm.memory);
	free(h->fake);
	free(h);
}

/* Memory */

static uint8_t *guest(const struct rig *r)
{
	return r->host->fake->vm.memory.regions[0].hva;
}

static void put(struct rig *r, uint64_t gpa, const void *data, uint32_t len)
{
	if (gpa >= MEM || len > MEM - gpa)
		return;
	memcpy(guest(r) + gpa, data, len);
	memcpy(shadow + gpa, data, len);
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

static void add_chain(struct rig *r, struct input *in)
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

static void kick(struct rig *r, unsigned int index)
{
	reg_write(r, NOTIFY + 0x1000ull * index, index, 2);
}

/* A command as a driver sends it, with any bytes. */
static void add_command(struct rig *r, struct input *in)
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
	kick(r, r->ctrl);
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

/* The pages in which the NIC still has a buffer, so that they may have been written in part. */
static void find_in_flight(const struct host *h, bool pages[N_PAGES])
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

	find_in_flight(r->host, pages);
	reg_write(r, offset, v, len);
	for (uint64_t page = 0; page < N_PAGES; page++) {
		if (pages[page] || r->tampered)
			memcpy(shadow + page * PAGE_SIZE, guest(r) + page * PAGE_SIZE, PAGE_SIZE);
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

		memset(guest(r) + gpa, 0, PAGE_SIZE);
		memset(shadow + gpa, 0, PAGE_SIZE);
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

static void bring_up(struct rig *r, struct input *in)
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

static void reset_queue(struct rig *r, struct input *in)
{
	unsigned int index = input_u8(in) % N_QUEUES;

	reg_write(r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
	take_back(r, COMMON + VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	if (input_u8(in) % 4 == 0)
		return;
	set_up_queue(r, in, index);
}

/* Any register of the common configuration, in its natural width or another. */
static void write_common(struct rig *r, struct input *in)
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

static void access_bar(struct rig *r, struct input *in)
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

static void access_config(struct rig *r, struct input *in)
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

static void write_memory(struct rig *r, struct input *in)
{
	uint8_t data[16], len = input_u8(in) % sizeof(data) + 1u;
	uint64_t gpa = input_u8(in) % 2 ? BUFFERS + input_u16(in) : RINGS + input_u16(in) % (15 * PAGE_SIZE);

	r->tampered = true;
	input_bytes(in, data, len);
	put(r, gpa, data, len);
}

/* What else happens */

static void receive(struct input *in)
{
	uint8_t packet[2048] = { 0 };
	uint16_t len = input_u16(in) % sizeof(packet), given = input_u8(in);

	input_bytes(in, packet, min_u64(given, sizeof(packet)));
	/* To us, to all, or to whatever it says. */
	if (given & 1)
		memcpy(packet + 12, given & 2 ? "\2\0\0\0\0\1" : "\xff\xff\xff\xff\xff\xff", 6);
	fuzz_port_send(packet, len);
}

static void misbehave(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in);
	struct soft_faults faults = {
		.gone = how == 0xff,
		.refuse_nth = how & 1 ? input_u8(in) : 0,
		.delay_ms = how & 2 ? input_u8(in) : 0,
		.reverse = how & 4,
		.bad_ctrl_id = how & 8,
		.bad_data_id = how & 16,
	};

	soft_vdpa_misbehave(r->host->vdpa, &faults);
}

/* Migration */

static void save(const void *arg, struct state_writer *w)
{
	struct host *h = (struct host *)(uintptr_t)arg;

	net_device_ops.save(device_of(h), w);
}

static void describe(const void *arg, struct state_writer *w)
{
	struct host *h = (struct host *)(uintptr_t)arg;

	net_device_ops.describe(device_of(h), w);
}

static void warm_save(const void *arg, struct state_writer *w)
{
	struct host *h = (struct host *)(uintptr_t)arg;
	int ret = net_device_ops.warm_save(device_of(h), w, true);

	assert(ret == 1);
}

static int load(struct host *h, int (*fn)(struct device *dev, struct state_node *node),
		const struct fuzz_tree *t, struct error *err)
{
	struct state_node root;
	int ret = state_open(&root, t->fdt, t->len, err);

	if (ret == 0)
		ret = fn(device_of(h), &root);
	if (ret == 0)
		ret = state_finish(&root);
	assert(ret == 0 || err->text[0]);
	return ret;
}

/* With the NIC paused: what the guest did not write itself is logged. */
static void check_log(struct rig *r)
{
	uint64_t log[(N_PAGES + 63) / 64] = { 0 };
	bool in_flight[N_PAGES] = { 0 };

	find_in_flight(r->host, in_flight);
	memory_log_take(&r->host->fake->vm.memory, log);
	for (uint64_t page = 0; page < N_PAGES; page++) {
		uint8_t *now = guest(r) + page * PAGE_SIZE, *was = shadow + page * PAGE_SIZE;

		if (memcmp(now, was, PAGE_SIZE) == 0)
			continue;
		assert(log[page / 64] >> page % 64 & 1 || r->tampered || in_flight[page]);
		memcpy(was, now, PAGE_SIZE);
	}
}

static void move(struct rig *r)
{
	struct error err = { 0 };
	struct fuzz_tree config, warm, before, after;
	struct host *there = build();
	int ret;

	config = fuzz_save(describe, r->host);
	ret = load(there, net_device_ops.accept, &config, &err);
	assert(ret == 0);
	warm = fuzz_save(warm_save, r->host);
	ret = load(there, net_device_ops.warm_load, &warm, &err);
	assert(ret == 0);
	fuzz_loops_settle();
	net_device_ops.pause(device_of(r->host));
	check_log(r);
	memcpy(there->fake->vm.memory.regions[0].hva, guest(r), MEM);
	before = fuzz_save(save, r->host);
	ret = load(there, net_device_ops.load, &before, &err);
	assert(ret == 0 || r->tampered);
	if (ret == 0) {
		after = fuzz_save(save, there);
		assert(fuzz_tree_same(&before, &after));
		free(after.fdt);
		net_device_ops.resume(device_of(there), true);
		net_device_ops.release(device_of(r->host));
		destroy(r->host);
		r->host = there;
	} else {
		net_device_ops.release(device_of(there));
		destroy(there);
		net_device_ops.resume(device_of(r->host), false);
	}
	free(config.fdt);
	free(warm.fdt);
	free(before.fdt);
}

static void pause_and_resume(struct rig *r)
{
	struct fuzz_tree first, second;

	net_device_ops.pause(device_of(r->host));
	check_log(r);
	first = fuzz_save(save, r->host);
	fuzz_loops_settle();
	second = fuzz_save(save, r->host);
	assert(fuzz_tree_same(&first, &second));
	free(first.fdt);
	free(second.fdt);
	net_device_ops.resume(device_of(r->host), false);
}

/* Chains of an in-order ring that are done and wait for an older one. */
static unsigned int n_done(const struct vring *vr)
{
	unsigned int n = 0;

	for (unsigned int i = 0; vr->done && i < vr->setup.size; i++)
		n += vr->done[i].done;
	return n;
}

static void check(const struct rig *r)
{
	const struct net *net = r->host->net;

	assert(virtio_pci_status_legal(net->virtio.status));
	if (!net->active || net->broken)
		return;
	for (unsigned int i = 0; i < net->n_data; i++) {
		const struct net_queue *q = &net->queues[i];
		unsigned int own = q->n_scratch + (i == 1 && net->announce.in_flight);

		if (!q->held || !net->running)
			continue;
		assert(q->svq.n_in_flight >= own);
		assert(q->vring.n_in_flight - n_done(&q->vring) == q->n_held + (q->svq.n_in_flight - own));
	}
}

static void step(struct rig *r, struct input *in)
{
	uint8_t op = input_u8(in);

	switch (op % 24) {
	case 0:
	case 1:
		bring_up(r, in);
		break;
	case 2:
		write_common(r, in);
		break;
	case 3:
		access_bar(r, in);
		break;
	case 4:
		access_config(r, in);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		add_chain(r, in);
		break;
	case 9:
	case 10:
	case 11:
		add_command(r, in);
		break;
	case 12:
	case 13:
		kick(r, input_u8(in) % N_QUEUES);
		break;
	case 14:
		fuzz_advance(input_u16(in) * UINT64_C(1000));
		break;
	case 15:
		fuzz_advance(input_u8(in) * UINT64_C(100000000));
		break;
	case 16:
	case 17:
		receive(in);
		break;
	case 18:
		reset_queue(r, in);
		break;
	case 19:
		write_memory(r, in);
		break;
	case 20:
		move(r);
		break;
	case 21:
		pause_and_resume(r);
		break;
	case 22:
		if (input_u8(in) % 2)
			soft_vdpa_announce(r->host->vdpa);
		else
			soft_vdpa_set_link(r->host->vdpa, input_u8(in) % 2);
		break;
	default:
		misbehave(r, in);
		break;
	}
	/* The threads are slow, sometimes. */
	if (op < 192)
		fuzz_loops_settle();
	check(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct rig r = { 0 };

	fuzz_time(true);
	memset(shadow, 0, sizeof(shadow));
	r.host = build();
	r.bar = fake_config_read(r.host->fake, SLOT, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	for (unsigned int n = 0; in.len > 0 && n < 200; n++)
		step(&r, &in);
	fuzz_loops_settle();
	destroy(r.host);
	fuzz_time(false);
	return 0;
}
