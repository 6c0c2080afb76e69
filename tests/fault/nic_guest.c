/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest with a NIC: see the header. */
#include "tests/fault/nic_guest.h"

#include <assert.h>

#include "devices/vdpa/soft/packet.h"
#include "tests/fault/nic_random.h"
#include "tests/fault/nic_vm.h"

#define NIC_COMMAND_AT UINT64_C(0xe00000)
#define NIC_REPLY_AT   UINT64_C(0xe10000)
#define NIC_NO_ACK     0xeeu
#define NIC_BUFFERS    60u /* receive buffers of a queue */
#define NIC_WINDOW     3u  /* packets of a queue on their way, because the switch takes ten */

static void nic_wrong(struct nic_guest *g, const char *why)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&g->wrong, &none, why);
}

/* Pages that a driver may have written in its rings. A packed ring is written by both sides. */
static void nic_wrote_rings(struct nic_guest *g)
{
	for (unsigned int i = 0; i < g->at->n_queues; i++) {
		const struct fake_driver *q = &g->at->queues[i];

		if (!q->mem)
			continue;
		nic_vm_wrote(g->at->vm, q->setup.desc, 16ull * q->setup.size);
		nic_vm_wrote(g->at->vm, q->setup.avail, q->setup.packed ? 4 : 6 + 2ull * q->setup.size);
	}
}

/* The driver's life */

static void nic_post(struct nic_guest *g, unsigned int pair, unsigned int n)
{
	net_guest_post(g->at, pair, n, NET_GUEST_BUFFER);
}

static void nic_start(struct nic_guest *g)
{
	static const uint8_t mac[6] = SOFT_RIG_MAC;
	uint8_t status = net_guest_start(g->at, g->features);

	g->dead = status != NIC_DRIVER_OK;
	model_nic_init(&g->model, mac, g->at->features & SOFT_GUEST_OFFLOADS);
	g->model.n_data = 2 * NIC_NET_PAIRS;
	g->asked = g->looks = false;
	g->cmd.len = 0;
	g->epoch++;
	memset(g->sent, 0, sizeof(g->sent));
	if (!g->dead) {
		for (unsigned int i = 0; i < NIC_NET_PAIRS; i++) {
			nic_post(g, i, NIC_BUFFERS);
			/* A ring's other part begins at zero, too. */
			nic_vm_wrote(g->at->vm, g->at->queues[2 * i].setup.used, PAGE_SIZE);
			nic_vm_wrote(g->at->vm, g->at->queues[2 * i + 1].setup.used, PAGE_SIZE);
		}
		nic_vm_wrote(g->at->vm, g->at->queues[net_guest_ctrl(g->at)].setup.used, PAGE_SIZE);
	}
	nic_wrote_rings(g);
	g->net->excused = UINT32_MAX;
	g->booted = true;
	g->n_starts++;
}

void nic_guest_enter(struct nic_guest *g, struct net_guest *here)
{
	if (g->n_running++ != 0)
		nic_wrong(g, "the guest runs twice");
	if (g->at != here) {
		if (g->at && g->booted) {
			net_guest_copy_driver(here, g->at);
			nic_disk_follow(&g->disk, here);
		}
		g->at = here;
	}
	g->n_steps = 0;
	g->runs_in = here;
	if (!g->booted) {
		here->common = 0;
		nic_disk_start(&g->disk, here);
		nic_start(g);
	}
}

void nic_guest_leave(struct nic_guest *g)
{
	g->n_running--;
}

/* Commands */

static bool nic_asks(const struct nic_command *c)
{
	return c->bytes[0] == VIRTIO_NET_CTRL_STATS ||
	       (c->bytes[0] == VIRTIO_NET_CTRL_NOTF_COAL && c->bytes[1] == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET);
}

static void nic_ask(struct nic_guest *g)
{
	struct virtio_seg segs[4] = { { NIC_COMMAND_AT, 2 }, { NIC_COMMAND_AT + 2, g->cmd.len - 2 } };
	struct fake_driver *q = &g->at->queues[net_guest_ctrl(g->at)];
	uint16_t n = g->cmd.len > 2 ? 2 : 1, n_write = nic_asks(&g->cmd) ? 2 : 1;
	int head;

	memcpy(memory_at(&g->at->vm->memory, NIC_COMMAND_AT, g->cmd.len), g->cmd.bytes, g->cmd.len);
	memset(memory_at(&g->at->vm->memory, NIC_REPLY_AT, NIC_REPLY_MAX), NIC_NO_ACK, NIC_REPLY_MAX);
	nic_vm_wrote(g->at->vm, NIC_COMMAND_AT, g->cmd.len);
	nic_vm_wrote(g->at->vm, NIC_REPLY_AT, NIC_REPLY_MAX);
	segs[n] = (struct virtio_seg){ NIC_REPLY_AT, 1 };
	segs[n + 1] = (struct virtio_seg){ NIC_REPLY_AT + 1, NIC_REPLY_MAX - 1 };
	head = fake_driver_add(q, segs, n, n_write);
	assert(head >= 0);
	(void)head;
	if (fake_driver_publish(q))
		net_guest_kick(g->at, net_guest_ctrl(g->at));
	g->asked = true;
}

static void nic_check_values(struct nic_guest *g, const uint8_t *values)
{
	unsigned int queue = get_le16(g->cmd.bytes + 2);

	if (get_le32(values) != g->model.coal[queue][0] || get_le32(values + 4) != g->model.coal[queue][1])
		nic_wrong(g, "the device names another coalescing than the guest has set");
}

static void nic_answered(struct nic_guest *g, uint32_t len)
{
	const uint8_t *reply = memory_at(&g->at->vm->memory, NIC_REPLY_AT, NIC_REPLY_MAX);

	g->asked = false;
	g->n_wanted -= g->ordered;
	if (len == 0 || reply[0] > VIRTIO_NET_ERR) {
		nic_wrong(g, "a command comes back without an answer");
		return;
	}
	if (reply[0] == VIRTIO_NET_ERR) {
		g->n_refused++;
		return;
	}
	g->n_ok++;
	if (g->cmd.bytes[0] == 9)
		nic_wrong(g, "a command is taken that was not negotiated");
	else if (nic_asks(&g->cmd) && g->cmd.bytes[0] == VIRTIO_NET_CTRL_NOTF_COAL)
		nic_check_values(g, reply + 1);
	else if (!nic_asks(&g->cmd) && g->cmd.bytes[0] != VIRTIO_NET_CTRL_ANNOUNCE &&
		 model_nic_command(&g->model, g->cmd.bytes, g->cmd.len) != VIRTIO_NET_OK)
		nic_wrong(g, "a command is taken that is wrong");
}

static void nic_take_answer(struct nic_guest *g)
{
	struct fake_driver *q = &g->at->queues[net_guest_ctrl(g->at)];
	uint16_t head;
	uint32_t len;
	int ret = fake_driver_get_used(q, &head, &len);

	if (ret == 0 && fake_driver_enable_interrupts(q))
		ret = fake_driver_get_used(q, &head, &len);
	if (ret < 0)
		nic_wrong(g, "the control queue's ring is broken");
	else if (ret == 1)
		nic_answered(g, len);
}

static enum nic_family nic_choose(struct nic_guest *g)
{
	enum nic_family family = g->family;

	if (family < NIC_N_FAMILIES)
		return family;
	do {
		family = (enum nic_family)(nic_random(&g->random) % NIC_N_FAMILIES);
	} while (g->no_filters && (family == NIC_RX || family == NIC_RX_EXTRA));
	return family;
}

static bool nic_pair_is_idle(struct nic_guest *g, unsigned int pair)
{
	return g->sent[pair] == (g->net->epoch == g->epoch ? g->net->seen[pair] : 0);
}

/* Returns whether the second pair may be sent on: not while it may be taken away. */
static bool nic_command(struct nic_guest *g)
{
	if (g->asked) {
		nic_take_answer(g);
		if (!g->asked)
			g->cmd.len = 0;
		return g->cmd.bytes[0] != VIRTIO_NET_CTRL_MQ;
	}
	if (g->open) {
		g->cmd = (struct nic_command){ .len = 3, .bytes = { 0, 0, 1 } };
		g->ordered = g->open = false;
		nic_ask(g);
		return true;
	}
	if (g->n_wanted == 0)
		return true;
	if (g->cmd.len == 0)
		nic_command_make(&g->cmd, nic_choose(g), g->at->features, &g->random);
	if (g->cmd.bytes[0] == VIRTIO_NET_CTRL_MQ && !nic_pair_is_idle(g, 1))
		return false;
	g->ordered = true;
	nic_ask(g);
	return g->cmd.bytes[0] != VIRTIO_NET_CTRL_MQ;
}

/* Packets */

static void nic_receive(struct nic_guest *g, unsigned int pair)
{
	uint8_t frame[2048];
	int len;

	while ((len = net_guest_received(g->at, pair, frame, sizeof(frame))) >= 0) {
		nic_net_got(g->net, frame, len);
		nic_post(g, pair, 1);
	}
}

static void nic_send(struct nic_guest *g, unsigned int pair)
{
	uint32_t seen = g->net->epoch == g->epoch ? g->net->seen[pair] : 0;
	uint8_t frame[NIC_FRAME_MAX];
	uint32_t len;

	if (g->quiet || g->sent[pair] - seen >= NIC_WINDOW)
		return;
	len = nic_frame_make(frame, g->model.mac, 'T', pair, g->epoch, g->sent[pair]);
	if (!net_guest_send(g->at, pair, frame, len))
		return;
	nic_vm_wrote(g->at->vm, net_guest_last_buffer(g->at, 2 * pair + 1), NET_GUEST_BUFFER);
	g->sent[pair]++;
}

/* The device's own words: that it is broken, or that the guest is to announce itself. */
static void nic_look(struct nic_guest *g)
{
	g->looks |= net_guest_interrupts(g->at, NET_GUEST_CONFIG) > 0;
	if (!g->looks || g->asked)
		return;
	g->looks = false;
	g->dead = net_guest_status(g->at) != NIC_DRIVER_OK;
	if (g->dead || !(net_guest_read(g->at, g->at->config + 6, 2) & VIRTIO_NET_S_ANNOUNCE))
		return;
	nic_command_make(&g->cmd, NIC_ANNOUNCE, 0, &g->random);
	g->ordered = false;
	nic_ask(g);
}

static void nic_exchange(struct nic_guest *g)
{
	bool all = nic_command(g);

	for (unsigned int i = 0; i < NIC_NET_PAIRS; i++) {
		nic_receive(g, i);
		if (i < g->model.pairs && (all || i == 0))
			nic_send(g, i);
		net_guest_reap(g->at, i);
	}
	nic_wrote_rings(g);
}

void nic_guest_step(struct nic_guest *g)
{
	g->n_steps++;
	if (g->resets) {
		g->booted = false;
		g->resets = false;
		gate_reset(&g->at->vm->gate);
		return;
	}
	if (g->rebinds) {
		nic_start(g);
		g->rebinds = false;
	}
	nic_disk_step(&g->disk, g->at);
	if (g->at->n_queues == 0)
		return;
	nic_look(g);
	if (!g->dead)
		nic_exchange(g);
	else if (g->asked)
		nic_take_answer(g);
}

bool nic_guest_done(struct nic_guest *g)
{
	return !g->n_wanted && !g->open && !g->resets && !g->rebinds && g->booted && !g->asked;
}

bool nic_guest_stored_all(struct nic_guest *g)
{
	return !g->disk.asked;
}

bool nic_guest_sent_all(struct nic_guest *g)
{
	return nic_pair_is_idle(g, 0) && nic_pair_is_idle(g, 1);
}
