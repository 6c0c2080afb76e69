/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long the replay of everything that a guest can have set takes: through the NIC's control queue to
 * Ferry's own device, which executes each command. The device's thread and the NIC's take turns on one core
 * or run on two, as the machine has them. Median of several runs.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/net/cvq/replay.h"
#include "devices/net/replay.h"
#include "tests/fake/net_guest.h"
#include "tests/fake/soft.h"
#include "vmm/config.h"

#define RUNS  15u
#define PAIRS 4u

static void remember(struct net *net, struct cvq_store *store, uint8_t class, uint8_t command,
		     const void *data, uint32_t len)
{
	static uint8_t cmd[CVQ_MAX_COMMAND];
	struct error err = { 0 };
	enum cvq_verdict verdict;

	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, data, len);
	len += 2;
	verdict = cvq_check(&net->ctrl.limits, cmd, &len, &err);
	if (verdict != CVQ_FORWARD)
		log_error("class %u command %u: %s", class, command, err.text);
	assert(verdict == CVQ_FORWARD);
	cvq_remember(store, cmd, len);
}

static void remember_vlans(struct net *net, struct cvq_store *store, unsigned int n)
{
	for (uint16_t i = 1; i <= n; i++) {
		uint8_t vlan[2];

		put_le16(vlan, i);
		remember(net, store, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vlan, sizeof(vlan));
	}
}

/* One of each family but the VLANs. */
static void remember_families(struct net *net, struct cvq_store *store)
{
	/* Hash types, table of 4, unclassified, table, all TX queues, 40 bytes of key. */
	static const uint8_t rss[4 + 2 + 2 + 8 + 2 + 1 + 40] = { 0x3f, [4] = 3, [8] = 0, 0,     1, 0, 2,
								 0,    3,       0,       PAIRS, 0, 40 };
	static const uint8_t offloads[8] = { 1 << VIRTIO_NET_F_GUEST_CSUM };
	static const uint8_t coalescing[8] = { 8, [4] = 50 }, queue_coalescing[12] = { 2, [4] = 4, [8] = 20 };
	static uint8_t macs[8 + 6 * 700];
	const uint8_t on = 1;

	put_le32(macs, 350);
	put_le32(macs + 4 + 6 * 350, 350);
	for (unsigned int i = 0; i < 350; i++) {
		memcpy(macs + 4 + 6 * i, (uint8_t[]){ 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i }, 6);
		memcpy(macs + 8 + 6 * (350 + i),
		       (uint8_t[]){ 0x33, 0x33, 0, 1, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	}
	for (uint8_t mode = 0; mode < CVQ_N_RX_MODES; mode++)
		remember(net, store, VIRTIO_NET_CTRL_RX, mode, &on, 1);
	remember(net, store, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\1\2\3\4\5", 6);
	remember(net, store, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, sizeof(macs));
	remember(net, store, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss, sizeof(rss));
	remember(net, store, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, offloads,
		 sizeof(offloads));
	remember(net, store, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, coalescing,
		 sizeof(coalescing));
	remember(net, store, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, coalescing,
		 sizeof(coalescing));
	remember(net, store, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, queue_coalescing,
		 sizeof(queue_coalescing));
}

struct bench {
	struct cvq_store empty, full;
	unsigned int n_commands;
	uint64_t ns[RUNS];
};

static unsigned int count(const struct bench *b)
{
	static uint8_t cmd[CVQ_MAX_COMMAND];
	struct cvq_replay replay;
	unsigned int n = 0;

	cvq_replay_init(&replay, &b->empty, &b->full);
	while (cvq_replay_next(&replay, cmd) > 0)
		n++;
	return n;
}

/* On the NIC's thread. To the device the commands are the same each time: it has what they say already. */
static int run(struct net *net, void *arg)
{
	struct bench *b = arg;
	struct error err = { 0 };

	for (unsigned int i = 0; i < RUNS; i++) {
		uint64_t start;
		int ret;

		net->ctrl.store = b->empty;
		net->ctrl.target = b->full;
		net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
		start = now_ns();
		ret = net_replay(&net->ctrl, &err);
		b->ns[i] = now_ns() - start;
		if (ret < 0)
			log_error("%s", err.text);
		assert(ret == 0);
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, unsigned int n_vlans, bool families)
{
	struct net_guest *g = calloc(1, sizeof(*g));
	struct net_config config = { 0 };
	struct bench *b = calloc(1, sizeof(*b));
	struct soft_net network;
	uint8_t status;
	int ret;

	assert(g && b);
	soft_net_init(&network);
	net_guest_init_on(g, soft_net_device(&network, PAIRS, CONFIG_DEFAULT_RING), &config);
	g->size = 64;
	status = net_guest_start(g, UINT64_MAX);
	assert(status == 0xf);
	cvq_reset(&b->empty);
	cvq_reset(&b->full);
	if (families)
		remember_families(g->net, &b->full);
	remember_vlans(g->net, &b->full, n_vlans);
	b->n_commands = count(b);
	ret = net_call(g->net, run, b);
	assert(ret == 0);
	qsort(b->ns, RUNS, sizeof(b->ns[0]), compare);
	printf("%s: %u commands in %.2f ms, %.0f a second\n", name, b->n_commands,
	       (double)b->ns[RUNS / 2] / 1e6, b->n_commands * 1e9 / (double)b->ns[RUNS / 2]);
	net_guest_exit(g);
	soft_net_exit(&network);
	free(b);
	free(g);
}

int main(void)
{
	log_level = LOG_WARN;
	measure("soft, 300 VLANs", 300, false);
	measure("soft, 4094 VLANs", 4094, false);
	measure("soft, every family", 4094, true);
	return 0;
}
