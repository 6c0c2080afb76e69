/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The oracle for control commands: class and command by number, as in the specification's tables. */
#include "tests/fake/model_nic.h"

#include <string.h>

#define ACK_OK  0
#define ACK_ERR 1

static unsigned int le(const uint8_t *p, unsigned int n_bytes)
{
	unsigned int v = 0;

	while (n_bytes-- > 0)
		v = v << 8 | p[n_bytes];
	return v;
}

/* Commands of a single number, of which the last one counts. */
static const struct {
	uint8_t class, command, len;
	const char *name;
} model_values[] = {
	{ 5, 0, 8, "offloads" },
	{ 7, 0, 4, "tunnel types" },
};

_Static_assert(sizeof(model_values) / sizeof(model_values[0]) <= MODEL_MAX_VALUES, "raise MODEL_MAX_VALUES");

#define N_VALUES (sizeof(model_values) / sizeof(model_values[0]))

/* N_VALUES: it is none of these. */
static unsigned int model_find_value(uint8_t class, uint8_t command)
{
	unsigned int i = 0;

	while (i < N_VALUES && (model_values[i].class != class || model_values[i].command != command))
		i++;
	return i;
}

uint64_t model_nic_value(const struct model_nic *nic, uint8_t class, uint8_t command)
{
	return nic->values[model_find_value(class, command)];
}

static uint8_t model_set_value(struct model_nic *nic, unsigned int i, const uint8_t *p, uint32_t len)
{
	if (len != model_values[i].len)
		return ACK_ERR;
	nic->values[i] = le(p, 4) | (len == 8 ? (uint64_t)le(p + 4, 4) << 32 : 0);
	return ACK_OK;
}

void model_nic_init(struct model_nic *nic, const uint8_t mac[6], uint64_t offloads)
{
	memset(nic, 0, sizeof(*nic));
	memset(nic->modes, MODEL_UNKNOWN, sizeof(nic->modes));
	memcpy(nic->mac, mac, 6);
	nic->pairs = 1;
	nic->values[model_find_value(5, 0)] = offloads;
	nic->n_data = MODEL_MAX_QUEUES - 1;
	nic->stats_types = 0x1000f000f;
}

static uint8_t model_macs(struct model_nic *nic, const uint8_t *p, uint32_t len)
{
	uint64_t n_unicast, n_multicast;

	if (len < 8)
		return ACK_ERR;
	n_unicast = le(p, 4);
	if (8 + 6 * n_unicast > len || n_unicast > MODEL_MAX_MACS)
		return ACK_ERR;
	n_multicast = le(p + 4 + 6 * n_unicast, 4);
	if (8 + 6 * (n_unicast + n_multicast) != len || n_multicast > MODEL_MAX_MACS)
		return ACK_ERR;
	nic->n_unicast = (unsigned int)n_unicast;
	nic->n_multicast = (unsigned int)n_multicast;
	memcpy(nic->unicast, p + 4, 6 * n_unicast);
	memcpy(nic->multicast, p + 8 + 6 * n_unicast, 6 * n_multicast);
	return ACK_OK;
}

static uint8_t model_vlan(struct model_nic *nic, bool add, unsigned int vid)
{
	if (vid >= 4096)
		return ACK_ERR;
	if (add && nic->vlans[vid] && nic->vlan_add_once)
		return ACK_ERR;
	if (add && !nic->vlans[vid] && nic->max_vlans && nic->n_vlans == nic->max_vlans)
		return ACK_ERR;
	if (add != nic->vlans[vid])
		nic->n_vlans = add ? nic->n_vlans + 1 : nic->n_vlans - 1;
	nic->vlans[vid] = add;
	return ACK_OK;
}

static uint8_t model_hash(struct model_nic *nic, uint32_t types, const uint8_t *key, unsigned int key_len)
{
	nic->hash_types = types;
	nic->hash_key_len = key_len;
	memset(nic->hash_key, 0, sizeof(nic->hash_key));
	memcpy(nic->hash_key, key, key_len);
	return ACK_OK;
}

static uint8_t model_pairs(struct model_nic *nic, unsigned int pairs)
{
	static const uint8_t none[1];

	/* The driver's duty, and what a device may insist on. */
	if (nic->n_contexts > 0 && !nic->easy_contexts)
		return ACK_ERR;
	nic->steering = MODEL_PAIRS;
	nic->pairs = pairs;
	return nic->pairs_clear_hash ? model_hash(nic, 0, none, 0) : ACK_OK;
}

/* Whether that is a configuration of exactly @len bytes. */
static bool model_rss_ok(const uint8_t *p, uint32_t len)
{
	uint32_t n;

	if (len < 8)
		return false;
	n = le(p + 4, 2) + 1;
	return len >= 8 + 2 * n + 3 && len == 8 + 2 * n + 3 + p[8 + 2 * n + 2];
}

static uint8_t model_context(struct model_nic *nic, unsigned int command, const uint8_t *p, uint32_t len)
{
	static const uint8_t reserved[6];
	unsigned int id = len < 2 ? 0 : le(p, 2);

	if (id < 1 || id > MODEL_MAX_CONTEXTS)
		return ACK_ERR;
	if (!nic->easy_contexts && (nic->context_len[id] == 0) != (command == 1))
		return ACK_ERR;
	if (command == 3 && len == 2) {
		nic->context_len[id] = 0;
		nic->n_contexts--;
		return ACK_OK;
	}
	if (command > 2 || len < 8 || len - 8 > sizeof(nic->contexts[id]) ||
	    memcmp(p + 2, reserved, sizeof(reserved)) != 0 || !model_rss_ok(p + 8, len - 8))
		return ACK_ERR;
	nic->context_len[id] = len - 8;
	memcpy(nic->contexts[id], p + 8, len - 8);
	nic->n_contexts += command == 1;
	return ACK_OK;
}

static uint8_t model_rss(struct model_nic *nic, const uint8_t *p, uint32_t len)
{
	unsigned int n, key_len;

	if (!model_rss_ok(p, len))
		return ACK_ERR;
	n = le(p + 4, 2) + 1;
	key_len = p[8 + 2 * n + 2];
	nic->steering = MODEL_RSS;
	nic->rss_len = n;
	nic->unclassified = le(p + 6, 2);
	for (unsigned int i = 0; i < n; i++)
		nic->rss[i] = (uint16_t)le(p + 8 + 2 * i, 2);
	nic->pairs = le(p + 8 + 2 * n, 2);
	return model_hash(nic, le(p, 4), p + 8 + 2 * n + 3, key_len);
}

static uint8_t model_hash_config(struct model_nic *nic, const uint8_t *p, uint32_t len)
{
	static const uint8_t reserved[8];

	if (len < 13 || len != 13u + p[12] || memcmp(p + 4, reserved, 8) != 0)
		return ACK_ERR;
	return model_hash(nic, le(p, 4), p + 13, p[12]);
}

/* Index 0 for transmit queues, the odd ones, as the commands are numbered. */
static unsigned int model_kind(unsigned int queue)
{
	return queue % 2 == 0;
}

void model_nic_reset_queue(struct model_nic *nic, unsigned int queue)
{
	memcpy(nic->coal[queue], nic->coal_kind[model_kind(queue)], sizeof(nic->coal[queue]));
}

static uint8_t model_coal(struct model_nic *nic, unsigned int kind, const uint8_t *p)
{
	nic->coal_kind[kind][0] = le(p, 4);
	nic->coal_kind[kind][1] = le(p + 4, 4);
	for (unsigned int queue = 0; queue < MODEL_MAX_QUEUES; queue++) {
		if (model_kind(queue) == kind)
			model_nic_reset_queue(nic, queue);
	}
	return ACK_OK;
}

static uint8_t model_coal_queue(struct model_nic *nic, const uint8_t *p)
{
	if (le(p, 2) >= nic->n_data || le(p + 2, 2) != 0)
		return ACK_ERR;
	nic->coal[le(p, 2)][0] = le(p + 4, 4);
	nic->coal[le(p, 2)][1] = le(p + 8, 4);
	return ACK_OK;
}

uint8_t model_nic_command(struct model_nic *nic, const uint8_t *cmd, uint32_t len)
{
	const uint8_t *p = cmd + 2;
	unsigned int i;

	nic->n_commands++;
	if (len < 2)
		return ACK_ERR;
	len -= 2;
	i = model_find_value(cmd[0], cmd[1]);
	if (i < N_VALUES)
		return model_set_value(nic, i, p, len);
	if (cmd[0] == 0 && cmd[1] < 6 && len == 1) {
		nic->modes[cmd[1]] = p[0] != 0;
		return ACK_OK;
	}
	if (cmd[0] == 1 && cmd[1] == 0)
		return model_macs(nic, p, len);
	if (cmd[0] == 1 && cmd[1] == 1 && len == 6) {
		memcpy(nic->mac, p, 6);
		return ACK_OK;
	}
	if (cmd[0] == 2 && cmd[1] < 2 && len == 2)
		return model_vlan(nic, cmd[1] == 0, le(p, 2));
	if (cmd[0] == 4 && cmd[1] == 0 && len == 2)
		return model_pairs(nic, le(p, 2));
	if (cmd[0] == 4 && cmd[1] == 1)
		return model_rss(nic, p, len);
	if (cmd[0] == 4 && cmd[1] == 2)
		return model_hash_config(nic, p, len);
	if (cmd[0] == 6 && cmd[1] < 2 && len == 8)
		return model_coal(nic, cmd[1], p);
	if (cmd[0] == 6 && cmd[1] == 2 && len == 12)
		return model_coal_queue(nic, p);
	if (cmd[0] == 9 && cmd[1] > 0)
		return model_context(nic, cmd[1], p, len);
	return ACK_ERR;
}

static void put(uint8_t *p, uint64_t v, unsigned int n_bytes)
{
	for (; n_bytes > 0; n_bytes--, v >>= 8)
		*p++ = (uint8_t)v;
}

static uint32_t model_coal_get(struct model_nic *nic, const uint8_t *p, uint8_t *reply)
{
	uint8_t *values = nic->ack_last ? reply : reply + 1;

	reply[0] = ACK_ERR;
	if (le(p, 2) >= nic->n_data)
		return 1;
	put(values, nic->coal[le(p, 2)][0], 4);
	put(values + 4, nic->coal[le(p, 2)][1], 4);
	reply[nic->ack_last ? 8 : 0] = ACK_OK;
	return 9;
}

/* The specification's table of types: which, of what queue, where its counters begin, how many. */
static const struct {
	uint8_t type;
	char queue;
	uint8_t first, n;
} model_types[] = { { 0, 'r', 0, 6 },  { 1, 'r', 6, 4 },   { 2, 'r', 10, 4 },
		    { 3, 'r', 14, 2 }, { 16, 't', 0, 6 },  { 17, 't', 6, 2 },
		    { 18, 't', 8, 6 }, { 19, 't', 14, 2 }, { 32, 'c', 0, 2 } };

static uint32_t model_stats_item(struct model_nic *nic, const uint8_t *p, uint8_t *reply)
{
	unsigned int queue = le(p, 2);
	char kind = queue == nic->n_data ? 'c' : queue % 2 ? 't' : 'r';
	uint64_t types = le(p + 8, 4) | (uint64_t)le(p + 12, 4) << 32;
	uint32_t at = 0;

	if (queue > nic->n_data)
		return 0;
	for (unsigned int i = 0; i < sizeof(model_types) / sizeof(model_types[0]); i++) {
		if (!(types >> model_types[i].type & 1))
			continue;
		types &= ~((uint64_t)1 << model_types[i].type);
		if (model_types[i].queue != kind || !(nic->stats_types >> model_types[i].type & 1))
			return 0;
		put(reply + at, model_types[i].type, 2);
		put(reply + at + 2, queue, 4);
		put(reply + at + 6, 8 + 8u * model_types[i].n, 2);
		at += 8;
		for (unsigned int k = 0; k < model_types[i].n; k++, at += 8)
			put(reply + at, nic->counters[queue][model_types[i].first + k], 8);
	}
	return types ? 0 : at;
}

static uint32_t model_stats(struct model_nic *nic, const uint8_t *p, uint32_t len, uint8_t *reply)
{
	uint32_t at = 1;

	reply[0] = ACK_ERR;
	if (len == 0 || len % 16 != 0)
		return 1;
	for (uint32_t i = 0; i < len; i += 16) {
		uint32_t n = model_stats_item(nic, p + i, reply + at);

		if (n == 0)
			return 1;
		at += n;
	}
	reply[0] = ACK_OK;
	if (nic->stats_fault == MODEL_STATS_EMPTY_ITEM)
		put(reply + 1 + 6, 0, 2);
	if (nic->stats_fault == MODEL_STATS_LONG_ITEM)
		put(reply + 1 + 6, 0xfff8, 2);
	if (nic->stats_fault == MODEL_STATS_OTHER_TYPE)
		reply[1] = 77;
	if (nic->stats_fault == MODEL_STATS_OTHER_QUEUE)
		put(reply + 1 + 2, 0xffff, 2);
	return nic->stats_fault == MODEL_STATS_SHORT ? at - 1 : at;
}

uint32_t model_nic_answer(struct model_nic *nic, const uint8_t *cmd, uint32_t len, uint8_t *reply)
{
	nic->counters[nic->n_data][0]++;
	if (len == 6 && cmd[0] == 6 && cmd[1] == 3) {
		nic->n_commands++;
		return model_coal_get(nic, cmd + 2, reply);
	}
	if (len == 2 && cmd[0] == 9 && cmd[1] == 0) {
		nic->n_commands++;
		put(nic->ack_last ? reply : reply + 1, MODEL_MAX_CONTEXTS, 2);
		reply[nic->ack_last ? 2 : 0] = ACK_OK;
		return 3;
	}
	if (len == 2 && cmd[0] == 8 && cmd[1] == 0) {
		nic->n_commands++;
		reply[0] = ACK_OK;
		put(reply + 1, nic->stats_types, 8);
		return 9;
	}
	if (len > 2 && cmd[0] == 8 && cmd[1] == 1) {
		nic->n_commands++;
		return model_stats(nic, cmd + 2, len - 2, reply);
	}
	reply[0] = model_nic_command(nic, cmd, len);
	return 1;
}

const char *model_nic_diff(const struct model_nic *a, const struct model_nic *b)
{
	if (memcmp(a->modes, b->modes, sizeof(a->modes)) != 0)
		return "RX modes";
	if (memcmp(a->mac, b->mac, sizeof(a->mac)) != 0)
		return "MAC";
	if (a->n_unicast != b->n_unicast || memcmp(a->unicast, b->unicast, 6 * a->n_unicast) != 0)
		return "unicast table";
	if (a->n_multicast != b->n_multicast || memcmp(a->multicast, b->multicast, 6 * a->n_multicast) != 0)
		return "multicast table";
	if (memcmp(a->vlans, b->vlans, sizeof(a->vlans)) != 0)
		return "VLANs";
	if (a->steering != b->steering || a->pairs != b->pairs)
		return "steering";
	if (a->steering == MODEL_RSS && (a->rss_len != b->rss_len || a->unclassified != b->unclassified ||
					 memcmp(a->rss, b->rss, 2 * a->rss_len) != 0))
		return "RSS table";
	if (a->hash_types != b->hash_types || a->hash_key_len != b->hash_key_len ||
	    memcmp(a->hash_key, b->hash_key, a->hash_key_len) != 0)
		return "hash";
	for (unsigned int i = 0; i < N_VALUES; i++) {
		if (a->values[i] != b->values[i])
			return model_values[i].name;
	}
	for (unsigned int id = 1; id <= MODEL_MAX_CONTEXTS; id++) {
		if (a->context_len[id] != b->context_len[id] ||
		    memcmp(a->contexts[id], b->contexts[id], a->context_len[id]) != 0)
			return "RSS contexts";
	}
	if (memcmp(a->coal_kind, b->coal_kind, sizeof(a->coal_kind)) != 0)
		return "coalescing";
	if (memcmp(a->coal, b->coal, sizeof(a->coal)) != 0)
		return "coalescing of queues";
	return NULL;
}
