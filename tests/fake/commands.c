/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The catalogue of control commands. */
#include "tests/fake/commands.h"

const struct cvq_limits fake_limits = {
	.features = UINT64_MAX,
	.features_high = UINT64_MAX,
	.max_pairs = 8,
	.rss_max_key = 40,
	.rss_max_table = 128,
	.hash_types = 0x1ff,
	.tunnel_types = 0x1ff,
	.device_ctrl = 16,
};

const struct fake_command fake_commands[] = {
	{ 0, 0, 18, true, "RX_PROMISC", 1, "\1", "RX_PROMISC 1" },
	{ 0, 1, 18, true, "RX_ALLMULTI", 1, "\0", "RX_ALLMULTI 0" },
	{ 0, 2, 20, true, "RX_ALLUNI", 1, "\1", "RX_ALLUNI 1" },
	{ 0, 3, 20, true, "RX_NOMULTI", 1, "\1", "RX_NOMULTI 1" },
	{ 0, 4, 20, true, "RX_NOUNI", 1, "\1", "RX_NOUNI 1" },
	{ 0, 5, 20, true, "RX_NOBCAST", 1, "\1", "RX_NOBCAST 1" },
	{ 1, 0, 18, true, "MAC_TABLE_SET", 8, "\0\0\0\0\0\0\0", "MAC_TABLE_SET" },
	{ 1, 0, 18, true, "MAC_TABLE_SET", 20, "\1\0\0\0\2\0\0\0\0\1\1\0\0\0\63\63\0\0\0\1",
	  "MAC_TABLE_SET" },
	{ 1, 1, 23, true, "MAC_ADDR_SET", 6, "\2\3\4\5\6\177", "MAC_ADDR_SET 02:03:04:05:06:7f" },
	{ 2, 0, 19, true, "VLAN_ADD", 2, "\144\0", "VLAN_ADD 100" },
	{ 2, 1, 19, true, "VLAN_DEL", 2, "\376\17", "VLAN_DEL 4094" },
	{ 3, 0, 21, false, "ANNOUNCE_ACK", 0, "", "ANNOUNCE_ACK" },
	{ 4, 0, 22, true, "MQ_VQ_PAIRS_SET", 2, "\2\0", "MQ_VQ_PAIRS_SET 2" },
	{ 4, 2, 57, true, "MQ_HASH_CONFIG", 15, "\1\0\0\0\0\0\0\0\0\0\0\0\2kk", "MQ_HASH_CONFIG" },
	{ 4, 1, 60, true, "MQ_RSS_CONFIG", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk", "MQ_RSS_CONFIG" },
	{ 5, 0, 2, true, "GUEST_OFFLOADS_SET", 8, "\0\0\0\0\0\0\0", "GUEST_OFFLOADS_SET 0x0" },
	{ 6, 0, 53, true, "NOTF_COAL_TX_SET", 8, "\20\0\0\0\10\1\0\0", "NOTF_COAL_TX_SET 16 packets 264 us" },
	{ 6, 1, 53, true, "NOTF_COAL_RX_SET", 8, "\377\377\377\377\0\0\0\0",
	  "NOTF_COAL_RX_SET 4294967295 packets 0 us" },
	{ 6, 2, 52, true, "NOTF_COAL_VQ_SET", 12, "\3\0\0\0\1\0\0\0\2\0\0\0",
	  "NOTF_COAL_VQ_SET queue 3 1 packets 2 us" },
	{ 6, 3, 52, false, "NOTF_COAL_VQ_GET", 4, "\1\0\0\0", "NOTF_COAL_VQ_GET queue 1" },
	{ 7, 0, 51, true, "HASH_TUNNEL_SET", 4, "\1\1\0\0", "HASH_TUNNEL_SET 0x101" },
	{ 8, 0, 50, false, "STATS_QUERY", 0, "", "STATS_QUERY" },
	{ 8, 1, 50, false, "STATS_GET", 16, "\1\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0", "STATS_GET" },
	{ 9, 0, 64, false, "RSS_CTX_CAP_GET", 0, "", "RSS_CTX_CAP_GET" },
	{ 9, 1, 64, true, "RSS_CTX_ADD", 23, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\2\0\2kk",
	  "RSS_CTX_ADD 1" },
	{ 9, 2, 64, true, "RSS_CTX_MOD", 23, "\10\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\2\0\2kk",
	  "RSS_CTX_MOD 8" },
	{ 9, 3, 64, true, "RSS_CTX_DEL", 2, "\3\0", "RSS_CTX_DEL 3" },
};

const unsigned int fake_n_commands = ARRAY_SIZE(fake_commands);
