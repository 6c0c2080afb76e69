/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest's accesses to the NIC, registers and memory, with the vDPA device in software behind it, on
 * one thread. The model: what the NIC has taken from a ring is held or with the device, and nothing else is;
 * the status is one that there is; no loop turns for ever; every page that was written is in the log or is a
 * buffer that the NIC still has; a guest that is moved goes on, and its saved state is the same there.
 */
#include "tests/fuzz/driver.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "devices/net/migrate.h"
#include "devices/vdpa/soft/soft.h"
#include "devices/virtio/pci_status.h"
#include "tests/fake/log.h"
#include "tests/fake/net_phase.h"
#include "tests/fuzz/loop.h"
#include "tests/fuzz/port.h"

static struct device *device_of(const struct host *h)
{
	return &h->net->device;
}

/* Short rings: most of the time would go into those of the device's own size. */
static int vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	*size = index == 2 * N_PAIRS ? 16 : 64;
	return 0;
}

static struct host *build(void)
{
	const struct net_config config = { .soft = true,
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
	fuzz_port_fail(how == 0xff ? 0 : how >> 5);
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

	driver_find_in_flight(r->host, in_flight);
	fake_log_take(&r->host->fake->vm.memory, log);
	for (uint64_t page = 0; page < N_PAGES; page++) {
		uint8_t *now = driver_memory(r) + page * PAGE_SIZE, *was = r->shadow + page * PAGE_SIZE;

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
	memcpy(there->fake->vm.memory.regions[0].hva, driver_memory(r), MEM);
	before = fuzz_save(save, r->host);
	ret = load(there, net_device_ops.load, &before, &err);
	assert(ret == 0 || r->tampered);
	if (ret == 0) {
		after = fuzz_save(save, there);
		assert(fuzz_tree_same(&before, &after));
		free(after.fdt);
		net_device_ops.resume(device_of(there), DEVICE_ARRIVED);
		net_device_ops.arrived(device_of(there));
		net_device_ops.release(device_of(r->host));
		destroy(r->host);
		r->host = there;
	} else {
		net_device_ops.release(device_of(there));
		destroy(there);
		net_device_ops.resume(device_of(r->host), DEVICE_STAYED);
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
	net_device_ops.resume(device_of(r->host), DEVICE_STAYED);
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
	fake_net_check_phase(net);
	if (net->phase == NET_PHASE_OFF || net->phase == NET_PHASE_BROKEN)
		return;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		const struct net_queue *q = &net->queues[i];
		unsigned int own = q->scratch.n + (unsigned int)__builtin_popcount(q->announced);

		if (!q->held || !net_path_runs(&net->path))
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
		driver_bring_up(r, in);
		break;
	case 2:
		driver_write_common(r, in);
		break;
	case 3:
		driver_access_bar(r, in);
		break;
	case 4:
		driver_access_config(r, in);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		driver_add_chain(r, in);
		break;
	case 9:
	case 10:
	case 11:
		driver_add_command(r, in);
		break;
	case 12:
	case 13:
		driver_kick(r, input_u8(in) % N_QUEUES);
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
		driver_reset_queue(r, in);
		break;
	case 19:
		driver_write_memory(r, in);
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
	fuzz_port_fail(0);
	r.host = build();
	r.bar = fake_config_read(r.host->fake, SLOT, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	for (unsigned int n = 0; in.len > 0 && n < 200; n++)
		step(&r, &in);
	fuzz_loops_settle();
	destroy(r.host);
	fuzz_time(false);
	return 0;
}
