/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's control commands, its device, and the record. */
#include "tests/unit/devices/net/cvq/cvq_fixture.h"

const uint8_t factory_mac[6] = { 2, 0, 0, 0, 0, 1 };
uint8_t cmd[CVQ_MAX_COMMAND + 64];
const struct cvq_store fresh;
unsigned int seed;

uint32_t set_cmd(uint8_t class, uint8_t command, const void *payload, uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return len + 2;
}

uint32_t put_rss(uint8_t *p, struct rss rss)
{
	put_le32(p, rss.types);
	put_le16(p + 4, (uint16_t)(rss.n - 1));
	put_le16(p + 6, rss.unclassified);
	for (uint32_t i = 0; i < rss.n; i++)
		put_le16(p + 8 + 2 * i, rss.queue);
	put_le16(p + 8 + 2 * rss.n, rss.max_tx_vq);
	p[10 + 2 * rss.n] = rss.key_len;
	memset(p + 11 + 2 * rss.n, 0x6d, rss.key_len);
	return 11 + 2 * rss.n + rss.key_len;
}

uint32_t put_hash(uint8_t *p, uint32_t types, uint8_t key_len)
{
	memset(p, 0, 13);
	put_le32(p, types);
	p[12] = key_len;
	memset(p + 13, 0x55, key_len);
	return 13u + key_len;
}

uint32_t put_macs(uint8_t *p, uint32_t n_unicast, uint32_t n_multicast)
{
	uint8_t *start = p;

	put_le32(p, n_unicast);
	p += 4;
	for (uint32_t i = 0; i < n_unicast; i++, p += 6)
		memcpy(p, (uint8_t[]){ 2, 0, 0, 1, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	put_le32(p, n_multicast);
	p += 4;
	for (uint32_t i = 0; i < n_multicast; i++, p += 6)
		memcpy(p, (uint8_t[]){ 0x33, 0x33, 0, 2, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	return (uint32_t)(p - start);
}

uint32_t put_context(uint8_t *p, uint16_t id, uint32_t n, uint16_t queue)
{
	memset(p, 0xab, 8);
	put_le16(p, id);
	return 8 + put_rss(p + 8, (struct rss){ 0x3f, n, 0, queue, 4, 40 });
}

struct life *new_life(bool pairs_clear_hash)
{
	struct life *life = malloc(sizeof(*life));

	cvq_reset(&life->store);
	model_nic_init(&life->nic, factory_mac, 0x7ff);
	life->nic.pairs_clear_hash = pairs_clear_hash;
	life->nic.vlan_add_once = true;
	return life;
}

void guest_sends(struct life *life, uint32_t len)
{
	struct error reason = { 0 };

	assert_int_equal(cvq_check(&fake_limits, cmd, &len, &reason), CVQ_FORWARD);
	if (model_nic_command(&life->nic, cmd, len) == 0)
		cvq_remember(&life->store, cmd, len);
}

unsigned int replay(struct model_nic *nic, const struct cvq_store *from, const struct cvq_store *to)
{
	static uint8_t out[CVQ_MAX_COMMAND];
	struct cvq_replay r;
	unsigned int n = 0;
	uint32_t len;

	cvq_replay_init(&r, from, to);
	while ((len = cvq_replay_next(&r, out)) > 0) {
		struct error reason = { 0 };
		static uint8_t copy[CVQ_MAX_COMMAND];

		/* A replayed command is one that a guest might send, and nothing is left to be zeroed. */
		memcpy(copy, out, len);
		assert_int_equal(cvq_check(&fake_limits, out, &len, &reason), CVQ_FORWARD);
		assert_memory_equal(copy, out, len);
		if (model_nic_command(nic, out, len) != 0) {
			char words[CVQ_NAME_MAX];

			cvq_describe(out, len, words);
			fail_msg("the device refuses %s", words);
		}
		n++;
	}
	assert_int_equal(cvq_replay_next(&r, out), 0);
	return n;
}

void assert_carried(const struct life *life)
{
	struct life *there = new_life(life->nic.pairs_clear_hash);
	const char *diff;

	/* A table that is as small as it can be, to see that ids go before others come. */
	there->nic.max_vlans = life->nic.n_vlans;
	replay(&there->nic, &fresh, &life->store);
	diff = model_nic_diff(&life->nic, &there->nic);
	if (diff)
		fail_msg("%s differ", diff);
	free(there);
}

uint32_t set_coal(uint8_t command, uint16_t queue, uint32_t packets, uint32_t usecs)
{
	uint8_t p[12] = { 0 };

	put_le16(p, queue);
	put_le32(p + 4, packets);
	put_le32(p + 8, usecs);
	return command == 2 ? set_cmd(6, 2, p, 12) : set_cmd(6, command, p + 4, 8);
}

uint32_t dice(uint32_t n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % n;
}

uint32_t random_command(void)
{
	static const uint64_t offload_bits[] = { 1, 7, 8, 9, 10, 54, 55, 59 };
	uint8_t p[8 + 6 * 64 + 1100];
	uint16_t id;
	uint32_t len = 0;
	uint64_t mask = 0;

	switch (dice(14)) {
	case 0:
		p[0] = (uint8_t)dice(3);
		return set_cmd(0, (uint8_t)dice(6), p, 1);
	case 1:
		return set_cmd(1, 0, p, put_macs(p, dice(6), dice(6)));
	case 2:
		memcpy(p, (uint8_t[]){ 2, 9, 9, 9, 9, (uint8_t)dice(4) }, 6);
		return set_cmd(1, 1, p, 6);
	case 3:
	case 4:
	case 5:
		put_le16(p, (uint16_t)(dice(3) ? dice(12) * 60 : dice(4096)));
		return set_cmd(2, (uint8_t)(dice(3) == 0), p, 2);
	case 6:
		put_le16(p, (uint16_t)(1 + dice(8)));
		return set_cmd(4, 0, p, 2);
	case 7:
		if (dice(2)) {
			len = put_hash(p, dice(0x200), (uint8_t)dice(41));
			memset(p + 4, (int)dice(256), 8);
			return set_cmd(4, 2, p, len);
		}
		len = put_rss(p,
			      (struct rss){ dice(0x200), 1u << dice(8), (uint16_t)dice(8), (uint16_t)dice(8),
					    (uint16_t)(1 + dice(8)), (uint8_t)dice(41) });
		return set_cmd(4, 1, p, len);
	case 8:
		put_le32(p, dice(0x200));
		return set_cmd(7, 0, p, 4);
	case 9:
	case 10:
		/* Few values, so that they meet. */
		return set_coal((uint8_t)dice(3), (uint16_t)dice(16), dice(3), dice(2));
	case 11:
	case 12:
		id = (uint16_t)(1 + dice(4));
		if (dice(3) > 0)
			return set_cmd(9, (uint8_t)(1 + dice(2)), p,
				       put_context(p, id, 1u << dice(3), (uint16_t)dice(3)));
		put_le16(p, id);
		return set_cmd(9, 3, p, 2);
	default:
		for (unsigned int i = 0; i < ARRAY_SIZE(offload_bits); i++)
			mask |= dice(2) ? VIRTIO_BIT(offload_bits[i]) : 0;
		put_le64(p, mask);
		return set_cmd(5, 0, p, 8);
	}
}
