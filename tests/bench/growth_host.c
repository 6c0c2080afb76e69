/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host without KVM for a guest of any size: see the header. */
#include "tests/bench/growth_host.h"

#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "migration/clock.h"
#include "migration/compare.h"
#include "migration/incoming.h"
#include "migration/source.h"
#include "vmm/x86/layout.h"

#define GROWTH_MEM       MIB(64)
#define GROWTH_FILLED    MIB(4) /* of memory that is not the NICs', for a first pass */
#define GROWTH_RING      64u
#define GROWTH_BUFFERS   60u
#define GROWTH_BUFFER    2048u
#define GROWTH_DRIVER_OK 0xfu
#define GROWTH_VECTOR    41u
/* Offsets in the page of a ring of GROWTH_RING entries, and of the answer in that of a command. */
#define GROWTH_AVAIL 0x400u
#define GROWTH_USED  0x800u
#define GROWTH_ACK   0x7000u
#define GROWTH_ROOM  0x8000u

/* The guest's driver */

static uint64_t growth_read(struct growth_host *h, uint64_t addr, unsigned int len)
{
	return fake_vm_mmio_read(h->fake, addr, len);
}

static void growth_write(struct growth_host *h, uint64_t addr, uint64_t value, unsigned int len)
{
	fake_vm_mmio_write(h->fake, addr, value, len);
}

static uint64_t growth_take_memory(struct growth_host *h, uint64_t len)
{
	uint64_t gpa = h->next;

	h->next += (len + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	assert(h->next <= GROWTH_MEM);
	return gpa;
}

static void growth_enable_msix(struct growth_host *h, unsigned int slot)
{
	unsigned int cap = fake_config_capability(h->fake, slot, PCI_CAP_ID_MSIX, 0);
	uint32_t control = fake_config_read(h->fake, slot, cap + PCI_MSIX_FLAGS, 2);
	uint64_t table =
		(fake_config_read(h->fake, slot, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK) +
		(fake_config_read(h->fake, slot, cap + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_OFFSET);

	for (unsigned int i = 0; i <= (control & PCI_MSIX_FLAGS_QSIZE); i++) {
		growth_write(h, table + 16 * i, LAYOUT_LAPIC, 4);
		growth_write(h, table + 16 * i + 8, GROWTH_VECTOR, 4);
		growth_write(h, table + 16 * i + 12, 0, 4);
	}
	fake_config_write(h->fake, slot, cap + PCI_MSIX_FLAGS, 2, control | PCI_MSIX_FLAGS_ENABLE);
}

static void growth_find_registers(struct growth_host *h, struct growth_nic *n, unsigned int slot)
{
	unsigned int cap = fake_config_capability(h->fake, slot, PCI_CAP_ID_VNDR, 0);

	while (fake_config_read(h->fake, slot, cap + 3, 1) != VIRTIO_PCI_CAP_NOTIFY_CFG)
		cap = fake_config_capability(h->fake, slot, PCI_CAP_ID_VNDR,
					     fake_config_read(h->fake, slot, cap + 1, 1));
	n->notify_multiplier = fake_config_read(h->fake, slot, cap + 16, 4);
	n->common = fake_virtio_structure(h->fake, slot, VIRTIO_PCI_CAP_COMMON_CFG);
	n->notify = fake_virtio_structure(h->fake, slot, VIRTIO_PCI_CAP_NOTIFY_CFG);
	n->config = fake_virtio_structure(h->fake, slot, VIRTIO_PCI_CAP_DEVICE_CFG);
	growth_enable_msix(h, slot);
}

static void growth_negotiate(struct growth_host *h, struct growth_nic *n)
{
	growth_write(h, n->common + VIRTIO_PCI_COMMON_STATUS, 3, 1);
	for (unsigned int i = 0; i < 2; i++) {
		growth_write(h, n->common + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		growth_write(h, n->common + VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		growth_write(h, n->common + VIRTIO_PCI_COMMON_GF,
			     growth_read(h, n->common + VIRTIO_PCI_COMMON_DF, 4) &
				     ~(i ? (uint64_t)VIRTIO_BIT(VIRTIO_F_RING_PACKED - 32) |
						       VIRTIO_BIT(VIRTIO_F_IN_ORDER - 32)
					 : 0),
			     4);
	}
	growth_write(h, n->common + VIRTIO_PCI_COMMON_STATUS, 0xb, 1);
}

static void growth_set_up_queue(struct growth_host *h, struct growth_nic *n, unsigned int i)
{
	uint64_t at = growth_take_memory(h, PAGE_SIZE);
	const struct vring_setup s = { .size = GROWTH_RING,
				       .desc = at,
				       .avail = at + GROWTH_AVAIL,
				       .used = at + GROWTH_USED,
				       .event_idx = true,
				       .indirect = true };

	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_SELECT, i, 2);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_SIZE, s.size, 2);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_DESCLO, s.desc, 4);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_AVAILLO, s.avail, 4);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_USEDLO, s.used, 4);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_MSIX, i + 1, 2);
	fake_driver_init(&n->queues[i], &h->vm->memory, &s);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

static void growth_publish(struct growth_host *h, struct growth_nic *n, unsigned int i)
{
	if (fake_driver_publish(&n->queues[i]))
		growth_write(h, n->notify + (uint64_t)i * n->notify_multiplier, i, 2);
}

static void growth_post(struct growth_host *h, struct growth_nic *n, unsigned int i)
{
	uint64_t at = growth_take_memory(h, GROWTH_BUFFERS * GROWTH_BUFFER);

	for (unsigned int k = 0; k < GROWTH_BUFFERS; k++) {
		struct virtio_seg seg = { at + (uint64_t)k * GROWTH_BUFFER, GROWTH_BUFFER };
		int head = fake_driver_add(&n->queues[i], &seg, 0, 1);

		assert(head >= 0);
		(void)head;
	}
	growth_publish(h, n, i);
}

static void growth_start(struct growth_host *h, struct growth_nic *n, unsigned int slot)
{
	uint64_t status;

	growth_find_registers(h, n, slot);
	growth_negotiate(h, n);
	n->n_queues = 2 * h->size.n_pairs + 1;
	for (unsigned int i = 0; i < n->n_queues; i++)
		growth_set_up_queue(h, n, i);
	growth_write(h, n->common + VIRTIO_PCI_COMMON_STATUS, GROWTH_DRIVER_OK, 1);
	status = growth_read(h, n->common + VIRTIO_PCI_COMMON_STATUS, 1);
	assert(status == GROWTH_DRIVER_OK);
	(void)status;
	for (unsigned int i = 0; i < h->size.n_pairs; i++)
		growth_post(h, n, 2 * i);
	n->command = growth_take_memory(h, GROWTH_ROOM);
}

static void growth_command(struct growth_host *h, struct growth_nic *n, uint8_t class, uint8_t command,
			   const void *data, uint32_t len)
{
	const struct virtio_seg segs[] = { { n->command, 2 + len }, { n->command + GROWTH_ACK, 1 } };
	struct fake_driver *q = &n->queues[n->n_queues - 1];
	uint8_t *p = memory_at(&h->vm->memory, n->command, GROWTH_ROOM);
	uint16_t head;
	uint32_t used;
	int ret;

	p[0] = class;
	p[1] = command;
	memcpy(p + 2, data, len);
	p[GROWTH_ACK] = 0xee;
	ret = fake_driver_add(q, segs, 1, 1);
	assert(ret >= 0);
	growth_publish(h, n, n->n_queues - 1);
	/* As Linux's driver does. */
	while ((ret = fake_driver_get_used(q, &head, &used)) == 0)
		sched_yield();
	assert(ret == 1 && p[GROWTH_ACK] == VIRTIO_NET_OK);
}

static void growth_set_macs(struct growth_host *h, struct growth_nic *n)
{
	static uint8_t macs[8 + 6 * 1024];
	unsigned int half = h->size.n_macs / 2;

	put_le32(macs, half);
	put_le32(macs + 4 + 6 * half, half);
	for (unsigned int i = 0; i < half; i++) {
		memcpy(macs + 4 + 6 * i, (uint8_t[]){ 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, 6);
		memcpy(macs + 8 + 6 * (half + i),
		       (uint8_t[]){ 0x33, 0x33, 0, 1, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	}
	growth_command(h, n, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, 8 + 12 * half);
}

void growth_host_boot(struct growth_host *h)
{
	struct growth_nic *first = &h->nics[0];
	uint8_t pairs[2];

	/* Pages that are neither holes nor zeros. */
	for (uint64_t at = 0; at < GROWTH_FILLED; at += 8)
		put_le64(memory_at(&h->vm->memory, at, 8), at * 0x9e3779b97f4a7c15u);
	h->next = GROWTH_FILLED;
	put_le16(pairs, (uint16_t)h->size.n_pairs);
	for (unsigned int i = 0; i < h->size.n_nics; i++) {
		growth_start(h, &h->nics[i], 1 + i);
		if (h->size.n_pairs > 1)
			growth_command(h, &h->nics[i], VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				       pairs, 2);
	}
	for (uint16_t vlan = 1; vlan <= h->size.n_vlans; vlan++) {
		uint8_t id[2];

		put_le16(id, vlan);
		growth_command(h, first, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, id, 2);
	}
	growth_set_macs(h, first);
}

/* The host */

static struct vdpa *growth_device(struct growth_nic *n, struct soft_net *network, unsigned int n_pairs)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;

	if (n_pairs <= CONFIG_MAX_QUEUES)
		return soft_net_device(network, n_pairs, CONFIG_DEFAULT_RING);
	spec.n_pairs = n_pairs;
	n->fake = fake_vdpa_new(&spec);
	return &n->fake->vdpa;
}

static void growth_add_nic(struct growth_host *h, struct soft_net *network, unsigned int index)
{
	const struct net_config config = { .mode = NET_SHADOW };
	struct growth_nic *n = &h->nics[index];
	struct vdpa *vdpa = growth_device(n, network, h->size.n_pairs);
	struct error err = { 0 };
	int ret = net_create(&n->net, h->vm, &h->bus, vdpa, index, &config, &err);

	if (ret == 0) {
		net_map_begin(n->net);
		ret = net_wait_mapped(n->net, &err);
	}
	if (ret < 0)
		log_error("%s", err.text);
	assert(ret == 0);
}

void growth_host_init(struct growth_host *h, struct soft_net *network, const struct growth_size *size)
{
	struct error err = { 0 };
	int ret;

	*h = (struct growth_host){ .fake = fake_vm_new(), .size = *size };
	h->vm = &h->fake->vm;
	h->vm->n_vcpus = 1;
	ret = memory_init(&h->vm->memory, GROWTH_MEM, &err);
	if (ret == 0)
		ret = pci_bus_init(&h->bus, h->vm, &err);
	if (ret == 0)
		ret = loop_init(&h->vm->loop);
	assert(ret == 0 && size->n_nics <= GROWTH_MAX_NICS);
	for (unsigned int i = 0; i < size->n_nics; i++)
		growth_add_nic(h, network, i);
}

void growth_host_exit(struct growth_host *h)
{
	gate_stop(&h->vm->gate);
	for (unsigned int i = 0; i < h->size.n_nics; i++) {
		struct growth_nic *n = &h->nics[i];

		for (unsigned int k = 0; k < ARRAY_SIZE(n->queues); k++)
			fake_driver_exit(&n->queues[k]);
		net_destroy(n->net);
		if (n->fake)
			fake_vdpa_free(n->fake);
	}
	loop_exit(&h->vm->loop);
	gate_exit(&h->vm->gate);
	pci_bus_exit(&h->bus);
	memory_exit(&h->vm->memory);
	free((void *)h->fake->written);
	free(h->fake);
}

/* The move */

struct growth_arrival {
	struct growth_host *h;
	int fd, cancel_fd;
};

static int growth_take(struct growth_host *h, struct destination *d, struct error *err)
{
	int ret = compare_hello(d, h->vm, err);

	if (ret == 0)
		ret = destination_ready(d, err);
	if (ret < 0)
		destination_refuse(d, err);
	else
		ret = incoming_run(d, h->vm, NULL, err);
	destination_close(d);
	return ret;
}

static void *growth_arrive(void *arg)
{
	struct growth_arrival *a = arg;
	struct arrivals arrivals;
	const struct destination_config config = { .arrivals = &arrivals,
						   .cancel_fd = a->cancel_fd,
						   .clock_skew_ns = UINT64_MAX };
	struct error err = { 0 };
	struct destination d;
	int ret = arrivals_init(&arrivals, "", &err);

	assert(ret == 0);
	arrivals_open(&arrivals);
	ret = arrivals_push(&arrivals, a->fd, realtime_ns(), NULL, &err);
	if (ret == 0)
		ret = destination_accept(&d, &config, &err);
	if (ret == 0)
		ret = growth_take(a->h, &d, &err);
	if (ret < 0)
		log_error("destination: %s", err.text);
	assert(ret == 0);
	arrivals_close(&arrivals, "");
	arrivals_exit(&arrivals);
	return NULL;
}

void growth_host_move(struct growth_host *from, struct growth_host *to, struct report *report)
{
	struct source_config config = {
		.to = "there", .cancel_fd = -1, .changed_fd = -1, .downtime_limit_ns = 300000000
	};
	struct growth_arrival arrival = { .h = to, .cancel_fd = -1 };
	enum source_result result;
	struct error err = { 0 };
	pthread_t thread;
	int pair[2], ret;

	ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	assert(ret == 0);
	config.fd = pair[0];
	arrival.fd = pair[1];
	ret = pthread_create(&thread, NULL, growth_arrive, &arrival);
	assert(ret == 0);
	result = source_migrate(from->vm, &config, report, &err);
	if (result != SOURCE_MOVED)
		log_error("source: %s", err.text);
	assert(result == SOURCE_MOVED);
	pthread_join(thread, NULL);
}
