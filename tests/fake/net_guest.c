/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for the NIC: see the header. */
#include "tests/fake/net_guest.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fake/net_phase.h"
#include "vmm/x86/layout.h"

#define RINGS      UINT64_C(0x100000) /* 64 KiB for each queue */
#define RING_AVAIL 0x4000u
#define RING_USED  0x8000u
#define LONG_RINGS UINT64_C(0x800000) /* those of more than N_BUFFERS entries, 1 MiB for each queue */
#define LONG_AVAIL 0x80000u
#define LONG_USED  0xa0000u
#define BUFFERS    UINT64_C(0x200000) /* 1 MiB for each queue: */
#define N_BUFFERS  256u               /* so many of NET_GUEST_BUFFER bytes, and the commands */
#define COMMANDS   UINT64_C(0xf00000)
#define ACKS       UINT64_C(0xff0000)

/* Registers */

uint64_t net_guest_read(struct net_guest *g, uint64_t addr, unsigned int len)
{
	return fake_vm_mmio_read(g->host, addr, len);
}

void net_guest_write(struct net_guest *g, uint64_t addr, uint64_t value, unsigned int len)
{
	fake_vm_mmio_write(g->host, addr, value, len);
}

static uint32_t config_read(struct net_guest *g, unsigned int reg)
{
	return fake_config_read(g->host, 1, reg, 4);
}

static void enable_msix(struct net_guest *g, uint8_t cap, uint64_t bar)
{
	uint32_t control = config_read(g, cap);
	uint64_t table = bar + (config_read(g, cap + PCI_MSIX_TABLE) & PCI_MSIX_TABLE_OFFSET);

	for (unsigned int i = 0; i <= (control >> 16 & PCI_MSIX_FLAGS_QSIZE); i++) {
		net_guest_write(g, table + 16 * i, LAYOUT_LAPIC, 4);
		net_guest_write(g, table + 16 * i + 8, i, 4);
		net_guest_write(g, table + 16 * i + 12, 0, 4);
	}
	fake_config_write(g->host, 1, cap + PCI_MSIX_FLAGS, 2, control >> 16 | PCI_MSIX_FLAGS_ENABLE);
}

static void find_registers(struct net_guest *g)
{
	uint64_t bar = config_read(g, PCI_BASE_ADDRESS_0) & PCI_BASE_ADDRESS_MEM_MASK;
	uint8_t cap = (uint8_t)config_read(g, PCI_CAPABILITY_LIST);

	for (; cap; cap = (uint8_t)(config_read(g, cap) >> 8)) {
		uint32_t head = config_read(g, cap);

		if ((head & 0xff) == PCI_CAP_ID_MSIX)
			enable_msix(g, cap, bar);
		if ((head & 0xff) != PCI_CAP_ID_VNDR)
			continue;
		if (head >> 24 == VIRTIO_PCI_CAP_COMMON_CFG)
			g->common = bar + config_read(g, cap + 8);
		if (head >> 24 == VIRTIO_PCI_CAP_DEVICE_CFG)
			g->config = bar + config_read(g, cap + 8);
		if (head >> 24 == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			g->notify = bar + config_read(g, cap + 8);
			g->notify_multiplier = config_read(g, cap + 16);
		}
	}
	assert(g->common && g->config && g->notify);
}

void net_guest_init(struct net_guest *g, struct fake_vdpa *vdpa, const struct net_config *config)
{
	net_guest_init_on(g, &vdpa->vdpa, config);
	g->vdpa = vdpa;
}

void net_guest_init_on(struct net_guest *g, struct vdpa *vdpa, const struct net_config *config)
{
	struct error err = { 0 };
	int ret;

	*g = (struct net_guest){ .host = fake_vm_new() };
	g->vm = &g->host->vm;
	ret = memory_init(&g->vm->memory, NET_GUEST_MEM, &err);
	assert(ret == 0);
	ret = pci_bus_init(&g->bus, g->vm, &err);
	assert(ret == 0);
	ret = net_create(&g->net, g->vm, &g->bus, vdpa, 0, config, &err);
	if (ret == 0) {
		net_map_begin(g->net);
		ret = net_wait_mapped(g->net, &err);
	}
	if (ret < 0)
		log_error("%s", err.text);
	assert(ret == 0);
}

void net_guest_exit(struct net_guest *g)
{
	for (unsigned int i = 0; i < NET_GUEST_VQS; i++)
		fake_driver_exit(&g->queues[i]);
	net_destroy(g->net);
	pci_bus_exit(&g->bus);
	memory_exit(&g->vm->memory);
	free(g->host);
}

/* Bringing it up */

uint8_t net_guest_status(struct net_guest *g)
{
	return (uint8_t)net_guest_read(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static uint8_t add_status(struct net_guest *g, uint8_t bits)
{
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, net_guest_status(g) | bits, 1);
	return net_guest_status(g);
}

void net_guest_reset(struct net_guest *g)
{
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert(net_guest_status(g) == 0);
	for (unsigned int i = 0; i < NET_GUEST_VQS; i++)
		fake_driver_exit(&g->queues[i]);
	g->n_queues = 0;
}

uint64_t net_guest_offered(struct net_guest *g)
{
	uint64_t features = 0;

	if (!g->common)
		find_registers(g);
	for (unsigned int i = 0; i < 2; i++) {
		net_guest_write(g, g->common + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		features |= net_guest_read(g, g->common + VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
	}
	return features;
}

uint8_t net_guest_negotiate(struct net_guest *g, uint64_t features)
{
	g->features = net_guest_offered(g) & features;
	net_guest_reset(g);
	add_status(g, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	add_status(g, VIRTIO_CONFIG_S_DRIVER);
	for (unsigned int i = 0; i < 2; i++) {
		net_guest_write(g, g->common + VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		net_guest_write(g, g->common + VIRTIO_PCI_COMMON_GF, g->features >> 32 * i & UINT32_MAX, 4);
	}
	return add_status(g, VIRTIO_CONFIG_S_FEATURES_OK);
}

unsigned int net_guest_ctrl(const struct net_guest *g)
{
	return g->n_queues - 1;
}

static void set_up_queue(struct net_guest *g, unsigned int i)
{
	struct vring_setup s = {
		.desc = RINGS + 0x10000 * i,
		.avail = RINGS + 0x10000 * i + RING_AVAIL,
		.used = RINGS + 0x10000 * i + RING_USED,
		.event_idx = virtio_has(g->features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(g->features, VIRTIO_RING_F_INDIRECT_DESC),
		.packed = virtio_has(g->features, VIRTIO_F_RING_PACKED),
		.in_order = virtio_has(g->features, VIRTIO_F_IN_ORDER),
	};
	uint16_t size;

	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, i, 2);
	size = (uint16_t)net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, 2);
	s.size = g->size && g->size < size ? g->size : size;
	assert(s.size > 0);
	if (s.size > N_BUFFERS) {
		s.desc = LONG_RINGS + MIB(1) * i;
		s.avail = s.desc + LONG_AVAIL;
		s.used = s.desc + LONG_USED;
	}
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, s.size, 2);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_DESCLO, s.desc, 4);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_AVAILLO, s.avail, 4);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_USEDLO, s.used, 4);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_MSIX, i + 1, 2);
	assert(net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_MSIX, 2) == i + 1);
	fake_driver_init(&g->queues[i], &g->vm->memory, &s);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void net_guest_set_up_queues(struct net_guest *g)
{
	const uint64_t pairs = VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS);
	unsigned int n_pairs = (unsigned int)net_guest_read(g, g->config + 8, 2);

	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_MSIX, 0, 2);
	g->n_queues = g->features & pairs ? 2 * n_pairs : 2;
	if (virtio_has(g->features, VIRTIO_NET_F_CTRL_VQ))
		g->n_queues++;
	for (unsigned int i = 0; i < g->n_queues; i++) {
		if (i != g->skipped || i == 0)
			set_up_queue(g, i);
	}
}

uint8_t net_guest_start(struct net_guest *g, uint64_t features)
{
	uint8_t status = net_guest_negotiate(g, features);

	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return status;
	net_guest_set_up_queues(g);
	return add_status(g, VIRTIO_CONFIG_S_DRIVER_OK);
}

void net_guest_reset_queue(struct net_guest *g, unsigned int queue)
{
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	assert(net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_RESET, 2) == 0);
	assert(net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2) == 0);
	fake_driver_exit(&g->queues[queue]);
}

void net_guest_enable_queue(struct net_guest *g, unsigned int queue)
{
	set_up_queue(g, queue);
}

/* Events */

static int settle(struct net *net, void *arg)
{
	fake_net_check_phase(net);
	return 0;
}

void net_guest_settle(struct net_guest *g)
{
	/* A call may be taken in the same round as an event that was signalled before it, and come first; the
	 * next call is a round later. What is dealt with may signal the next event. */
	for (unsigned int i = 0; i < 6; i++)
		net_call(g->net, settle, NULL);
}

void net_guest_kick(struct net_guest *g, unsigned int queue)
{
	net_guest_write(g, g->notify + (uint64_t)queue * g->notify_multiplier, queue, 2);
}

static int interrupt_fd(const struct net_guest *g, unsigned int queue)
{
	return g->net->virtio.pci.vectors[queue == NET_GUEST_CONFIG ? 0 : queue + 1].irq.fd;
}

unsigned int net_guest_interrupts(struct net_guest *g, unsigned int queue)
{
	uint64_t count;

	return read(interrupt_fd(g, queue), &count, sizeof(count)) == sizeof(count) ? (unsigned int)count : 0;
}

/* Packets */

static uint32_t header_len(const struct net_guest *g)
{
	return virtio_has(g->features, VIRTIO_NET_F_HASH_REPORT) ? 20 : 12;
}

uint64_t net_guest_last_buffer(const struct net_guest *g, unsigned int queue)
{
	return BUFFERS + MIB(1) * queue +
	       (uint64_t)((g->n_buffers[queue] - 1) % N_BUFFERS) * NET_GUEST_BUFFER;
}

static uint64_t next_buffer(struct net_guest *g, unsigned int queue)
{
	g->n_buffers[queue]++;
	return net_guest_last_buffer(g, queue);
}

static void publish(struct net_guest *g, unsigned int queue)
{
	if (fake_driver_publish(&g->queues[queue]))
		net_guest_kick(g, queue);
}

unsigned int net_guest_post(struct net_guest *g, unsigned int pair, unsigned int n, uint32_t len)
{
	unsigned int queue = 2 * pair, i;

	for (i = 0; i < n; i++) {
		struct virtio_seg seg = { next_buffer(g, queue), len };
		int head = fake_driver_add(&g->queues[queue], &seg, 0, 1);

		if (head < 0)
			break;
		g->buffer_of[queue][head] = seg.addr;
	}
	publish(g, queue);
	return i;
}

int net_guest_received(struct net_guest *g, unsigned int pair, void *data, uint32_t size)
{
	uint32_t header = header_len(g), total = 0, len;
	unsigned int queue = 2 * pair, n = 1;
	uint8_t *packet = calloc(1, header + size);
	uint16_t head;

	assert(packet);
	for (unsigned int i = 0; i < n; i++) {
		int ret = fake_driver_get_used(&g->queues[queue], &head, &len);
		const uint8_t *p;

		assert(ret >= 0 && (ret == 1 || i == 0));
		if (ret == 0) {
			free(packet);
			return -1;
		}
		assert(total + len <= header + size);
		p = memory_at(&g->vm->memory, g->buffer_of[queue][head], NET_GUEST_BUFFER);
		memcpy(packet + total, p, len);
		total += len;
		if (i == 0 && virtio_has(g->features, VIRTIO_NET_F_MRG_RXBUF))
			n = get_le16(packet + 10);
	}
	assert(total >= header);
	memcpy(data, packet + header, total - header);
	free(packet);
	fake_driver_enable_interrupts(&g->queues[queue]);
	return (int)(total - header);
}

bool net_guest_send(struct net_guest *g, unsigned int pair, const void *data, uint32_t len)
{
	unsigned int queue = 2 * pair + 1;
	struct virtio_seg seg = { next_buffer(g, queue), header_len(g) + len };
	uint8_t *p = memory_at(&g->vm->memory, seg.addr, seg.len);

	assert(seg.len <= NET_GUEST_BUFFER);
	memset(p, 0, header_len(g));
	memcpy(p + header_len(g), data, len);
	if (fake_driver_add(&g->queues[queue], &seg, 1, 0) < 0)
		return false;
	publish(g, queue);
	return true;
}

unsigned int net_guest_reap(struct net_guest *g, unsigned int pair)
{
	unsigned int n = 0;
	uint16_t head;
	uint32_t len;
	int ret;

	do {
		while ((ret = fake_driver_get_used(&g->queues[2 * pair + 1], &head, &len)) == 1)
			n++;
		assert(ret == 0);
	} while (fake_driver_enable_interrupts(&g->queues[2 * pair + 1]));
	return n;
}

/* Commands */

void net_guest_command_begin(struct net_guest *g, uint8_t class, uint8_t command, const void *data,
			     uint32_t len)
{
	const struct virtio_seg segs[] = { { COMMANDS, 2 }, { COMMANDS + 16, len }, { ACKS, 1 } };
	const struct virtio_seg bare[] = { segs[0], segs[2] };
	struct fake_driver *q = &g->queues[net_guest_ctrl(g)];
	uint8_t *p = memory_at(&g->vm->memory, COMMANDS, 16 + (uint64_t)len);
	int head;

	p[0] = class;
	p[1] = command;
	if (len > 0)
		memcpy(p + 16, data, len);
	*(uint8_t *)memory_at(&g->vm->memory, ACKS, 1) = 0xee;
	head = len > 0 ? fake_driver_add(q, segs, 2, 1) : fake_driver_add(q, bare, 1, 1);
	assert(head >= 0);
	publish(g, net_guest_ctrl(g));
}

int net_guest_command_end(struct net_guest *g, int timeout_ms)
{
	struct fake_driver *q = &g->queues[net_guest_ctrl(g)];
	struct pollfd irq = { .fd = interrupt_fd(g, net_guest_ctrl(g)), .events = POLLIN };
	uint16_t head;
	uint32_t len;
	int ret;

	for (;;) {
		ret = fake_driver_get_used(q, &head, &len);
		if (ret == 0 && fake_driver_enable_interrupts(q))
			ret = fake_driver_get_used(q, &head, &len);
		assert(ret >= 0);
		if (ret == 1)
			break;
		if (poll(&irq, 1, timeout_ms) != 1)
			return -1;
		net_guest_interrupts(g, net_guest_ctrl(g));
	}
	assert(len == 1);
	return *(const uint8_t *)memory_at(&g->vm->memory, ACKS, 1);
}

int net_guest_command(struct net_guest *g, uint8_t class, uint8_t command, const void *data, uint32_t len)
{
	net_guest_command_begin(g, class, command, data, len);
	return net_guest_command_end(g, FAKE_PATIENCE_MS);
}

uint32_t net_guest_ask(struct net_guest *g, uint8_t class, uint8_t command, const void *data, uint32_t len,
		       uint8_t *reply, uint32_t room)
{
	struct virtio_seg segs[8] = { { COMMANDS, 2 + len } };
	struct fake_driver *q = &g->queues[net_guest_ctrl(g)];
	uint8_t *p = memory_at(&g->vm->memory, COMMANDS, 2 + (uint64_t)len);
	uint8_t *answer = memory_at(&g->vm->memory, ACKS, room);
	uint32_t used = 0, at = 0;
	uint16_t head, n = 1;

	p[0] = class;
	p[1] = command;
	if (len > 0)
		memcpy(p + 2, data, len);
	memset(answer, 0xee, room);
	for (uint32_t piece = 1; at < room; piece *= 7) {
		segs[n].addr = ACKS + at;
		segs[n].len = n == 7 || piece > room - at ? room - at : piece;
		at += segs[n++].len;
	}
	assert(fake_driver_add(q, segs, 1, (uint16_t)(n - 1)) >= 0);
	publish(g, net_guest_ctrl(g));
	for (unsigned int i = 0; fake_driver_get_used(q, &head, &used) == 0; i++) {
		assert(i < 3000);
		poll(NULL, 0, 1);
	}
	fake_driver_enable_interrupts(q);
	memcpy(reply, answer, room);
	return used;
}

/* Moving */

/* What @from has written, into memory that is new: to touch the rest takes most of a test's time. */
static void copy_memory(struct memory *to, const struct memory *from)
{
	uint64_t start, at = 0;

	while (memory_next_data(from, at, UINT64_MAX, &start, &at) == 1)
		memcpy(to->regions[0].hva + start, from->regions[0].hva + start, at - start);
}

void net_guest_copy(struct net_guest *to, struct net_guest *from)
{
	copy_memory(&to->vm->memory, &from->vm->memory);
	net_guest_copy_driver(to, from);
}

void net_guest_copy_driver(struct net_guest *to, struct net_guest *from)
{
	to->common = from->common;
	to->notify = from->notify;
	to->config = from->config;
	to->notify_multiplier = from->notify_multiplier;
	to->features = from->features;
	to->n_queues = from->n_queues;
	memcpy(to->n_buffers, from->n_buffers, sizeof(to->n_buffers));
	memcpy(to->buffer_of, from->buffer_of, sizeof(to->buffer_of));
	for (unsigned int i = 0; i < NET_GUEST_VQS; i++) {
		fake_driver_exit(&to->queues[i]);
		if (from->queues[i].mem)
			fake_driver_copy(&to->queues[i], &from->queues[i], &to->vm->memory);
	}
}
