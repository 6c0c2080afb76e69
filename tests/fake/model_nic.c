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

void model_nic_init(struct model_nic *nic, const uint8_t mac[6], uint64_t offloads)
{
	memset(nic, 0, sizeof(*nic));
	memset(nic->modes, MODEL_UNKNOWN, sizeof(nic->modes));
	memcpy(nic->mac, mac, 6);
	nic->pairs = 1;
	nic->offloads = offloads;
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

	nic->steering = MODEL_PAIRS;
	nic->pairs = pairs;
	return nic->pairs_clear_hash ? model_hash(nic, 0, none, 0) : ACK_OK;
}

static uint8_t model_rss(struct model_nic *nic, const uint8_t *p, uint32_t len)
{
	unsigned int n, key_len;

	if (len < 8)
		return ACK_ERR;
	n = le(p + 4, 2) + 1;
	if (len < 8 + 2 * n + 3)
		return ACK_ERR;
	key_len = p[8 + 2 * n + 2];
	if (len != 8 + 2 * n + 3 + key_len)
		return ACK_ERR;
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

uint8_t model_nic_command(struct model_nic *nic, const uint8_t *cmd, uint32_t len)
{
	const uint8_t *p = cmd + 2;

	nic->n_commands++;
	if (len < 2)
		return ACK_ERR;
	len -= 2;
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
	if (cmd[0] == 5 && cmd[1] == 0 && len == 8) {
		nic->offloads = le(p, 4) | (uint64_t)le(p + 4, 4) << 32;
		return ACK_OK;
	}
	return ACK_ERR;
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
	return a->offloads != b->offloads ? "offloads" : NULL;
}
