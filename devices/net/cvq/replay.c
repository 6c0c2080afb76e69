/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replay, stage by stage: each writes its next command, or returns 0 when it has no more. */
#include "devices/net/cvq/replay.h"

/* Whether the device is to get a value. Where each device has its own default, zero is sent too. */
static bool cvq_replays_value(const struct cvq_replay *r, const struct cvq_row *row)
{
	const struct cvq_value *from = &r->from->values[row->class][row->command];
	const struct cvq_value *to = &r->to->values[row->class][row->command];
	bool equal = memcmp(from->bytes, to->bytes, sizeof(to->bytes)) == 0;

	return row->slot.zero_default ? !equal : to->set && (!from->set || !equal);
}

static uint32_t cvq_replay_values(struct cvq_replay *r, enum cvq_turn turn, uint8_t *cmd)
{
	while (r->index < cvq_n_rows) {
		const struct cvq_row *row = &cvq_rows[r->index++];

		if (row->slot.turn == turn && cvq_replays_value(r, row))
			return cvq_command(cmd, row->class, row->command,
					   r->to->values[row->class][row->command].bytes, row->max);
	}
	return 0;
}

static uint32_t cvq_replay_mac_table(struct cvq_replay *r, uint8_t *cmd)
{
	const struct cvq_store *from = r->from, *to = r->to;

	/* Empty tables are the specification's default, so they are like ones that were never set. */
	if (r->index++ > 0 || (from->n_unicast == to->n_unicast && from->n_multicast == to->n_multicast &&
			       memcmp(from->macs, to->macs, 6 * (to->n_unicast + to->n_multicast)) == 0))
		return 0;
	return cvq_put_macs(cmd, to->macs[0], to->n_unicast, to->macs[to->n_unicast], to->n_multicast);
}

/* The next id from @index on that is in @a and not in @b. */
static uint32_t cvq_replay_vlans(struct cvq_replay *r, const uint64_t *a, const uint64_t *b, uint8_t command,
				 uint8_t *cmd)
{
	while (r->index < CVQ_N_VLANS) {
		uint64_t word = (a[r->index / 64] & ~b[r->index / 64]) >> r->index % 64;
		uint8_t vid[2];

		if (word == 0) {
			r->index = (r->index / 64 + 1) * 64;
			continue;
		}
		r->index += (unsigned int)__builtin_ctzll(word);
		put_le16(vid, (uint16_t)r->index++);
		return cvq_command(cmd, VIRTIO_NET_CTRL_VLAN, command, vid, sizeof(vid));
	}
	return 0;
}

static uint32_t cvq_replay_vlan_del(struct cvq_replay *r, uint8_t *cmd)
{
	return cvq_replay_vlans(r, r->from->vlans, r->to->vlans, VIRTIO_NET_CTRL_VLAN_DEL, cmd);
}

static uint32_t cvq_replay_vlan_add(struct cvq_replay *r, uint8_t *cmd)
{
	return cvq_replay_vlans(r, r->to->vlans, r->from->vlans, VIRTIO_NET_CTRL_VLAN_ADD, cmd);
}

/* The MQ command that came as number @rank, from 0, of those after @sequence. NULL: fewer came. */
static const struct cvq_mq_slot *cvq_mq_after(const struct cvq_store *store, uint64_t sequence,
					      unsigned int rank)
{
	for (unsigned int i = 0; i < CVQ_N_MQ_COMMANDS; i++) {
		const struct cvq_mq_slot *slot = &store->mq[i];
		unsigned int n_before = 0;

		for (unsigned int j = 0; j < CVQ_N_MQ_COMMANDS; j++)
			n_before +=
				store->mq[j].sequence > sequence && store->mq[j].sequence < slot->sequence;
		if (slot->sequence > sequence && n_before == rank)
			return slot;
	}
	return NULL;
}

/*
 * MQ-class commands that came after @from are sent in their order: the last one decides on the steering mode,
 * and some devices forget the hash configuration when the number of pairs is set. A command overwrites the
 * same fields whenever it comes, so that earlier instances do not matter.
 */
static uint32_t cvq_replay_mq(struct cvq_replay *r, uint8_t *cmd)
{
	const struct cvq_mq_slot *slot = cvq_mq_after(r->to, r->from->mq_sequence, r->index);

	/* One pair is what a device has that got no MQ command yet. */
	if (slot == &r->to->mq[VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET] && r->index == 0 &&
	    r->from->mq_sequence == 0 && get_le16(slot->data) == 1)
		slot = cvq_mq_after(r->to, 0, ++r->index);
	r->index++;
	return slot ? cvq_command(cmd, VIRTIO_NET_CTRL_MQ, (uint8_t)(slot - r->to->mq), slot->data, slot->len)
		    : 0;
}

/* No number of pairs may be set while there is a context ("RSS Context"), so then all contexts begin anew. */
static bool cvq_replays_pairs(const struct cvq_replay *r)
{
	return r->to->mq[VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET].sequence > r->from->mq_sequence;
}

static bool cvq_keeps_context(const struct cvq_replay *r, unsigned int i)
{
	return r->from->contexts[i].len && r->to->contexts[i].len && !cvq_replays_pairs(r);
}

static uint32_t cvq_replay_context_del(struct cvq_replay *r, uint8_t *cmd)
{
	while (r->index < CVQ_MAX_CONTEXTS) {
		unsigned int i = r->index++;
		uint8_t id[2];

		if (!r->from->contexts[i].len || cvq_keeps_context(r, i))
			continue;
		put_le16(id, (uint16_t)(i + 1));
		return cvq_command(cmd, VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_DEL, id, sizeof(id));
	}
	return 0;
}

static uint32_t cvq_replay_context_set(struct cvq_replay *r, uint8_t *cmd)
{
	while (r->index < CVQ_MAX_CONTEXTS) {
		unsigned int i = r->index++;
		const struct cvq_context *from = &r->from->contexts[i], *to = &r->to->contexts[i];
		bool kept = cvq_keeps_context(r, i);

		if (!to->len || (kept && from->len == to->len && memcmp(from->data, to->data, to->len) == 0))
			continue;
		return cvq_put_context(cmd, kept ? VIRTIO_NET_CTRL_RSS_CTX_MOD : VIRTIO_NET_CTRL_RSS_CTX_ADD,
				       i + 1, to->data, to->len);
	}
	return 0;
}

static const struct cvq_value *cvq_coal(const struct cvq_store *store, enum cvq_kind kind)
{
	return &store->values[VIRTIO_NET_CTRL_NOTF_COAL][kind];
}

static bool cvq_coal_equal(const struct cvq_value *a, const struct cvq_value *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* The coalescing that is in force for a queue: its own, or that for all of its kind. */
static const struct cvq_value *cvq_coal_of(const struct cvq_store *store, unsigned int queue)
{
	return store->coal_queue[queue].set ? &store->coal_queue[queue] : cvq_coal(store, cvq_kind_of(queue));
}

/*
 * A queue's own coalescing follows that for all of its kind, which overwrites it. The queue must be enabled:
 * a device refuses the command for one that is not, and enabling undoes it. Ferry enables a device's queues
 * before the first command, so the end of the list is late enough.
 */
static uint32_t cvq_replay_coal_queues(struct cvq_replay *r, uint8_t *cmd)
{
	while (r->index < CVQ_MAX_QUEUES) {
		unsigned int queue = r->index++;
		enum cvq_kind kind = cvq_kind_of(queue);
		const struct cvq_value *to_all = cvq_coal(r->to, kind);
		/* Whether TX_SET or RX_SET is part of the replay: the device has its value for the queue
		 * then. */
		bool all_new = !cvq_coal_equal(cvq_coal(r->from, kind), to_all);
		const struct cvq_value *now = all_new ? to_all : cvq_coal_of(r->from, queue);
		const struct cvq_value *then = cvq_coal_of(r->to, queue);
		uint8_t p[12] = { 0 };

		if (cvq_coal_equal(now, then))
			continue;
		put_le16(p, (uint16_t)queue);
		memcpy(p + 4, then->bytes, sizeof(then->bytes));
		return cvq_command(cmd, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, p,
				   sizeof(p));
	}
	return 0;
}

/*
 * The address comes before VLANs, for mlx5_vdpa makes a filter of both when a VLAN is added. Filters come
 * before steering, so that nothing arrives that the guest does not want; tunnels and contexts come behind the
 * steering that they belong to. Entries go before others come, for devices whose tables are small.
 */
static const struct cvq_stage {
	/* A stage is one of the two: values of a turn, or something that is kept in another way. */
	enum cvq_turn turn;
	uint32_t (*next)(struct cvq_replay *r, uint8_t *cmd);
} cvq_stages[] = {
	{ .turn = CVQ_BEFORE_FILTERS },     { .turn = CVQ_WITH_FILTERS },
	{ .next = cvq_replay_mac_table },   { .next = cvq_replay_vlan_del },
	{ .next = cvq_replay_vlan_add },    { .next = cvq_replay_context_del },
	{ .next = cvq_replay_mq },          { .turn = CVQ_AFTER_STEERING },
	{ .next = cvq_replay_context_set }, { .turn = CVQ_LAST },
	{ .next = cvq_replay_coal_queues },
};

void cvq_hold_back(struct cvq_store *to, const struct cvq_store *from)
{
	static const uint8_t modes[] = { VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_CTRL_RX_ALLUNI };
	const struct cvq_value *from_mac = &from->values[VIRTIO_NET_CTRL_MAC][VIRTIO_NET_CTRL_MAC_ADDR_SET];
	struct cvq_value *to_mac = &to->values[VIRTIO_NET_CTRL_MAC][VIRTIO_NET_CTRL_MAC_ADDR_SET];

	if (to_mac->set != from_mac->set ||
	    memcmp(to_mac->bytes, from_mac->bytes, sizeof(to_mac->bytes)) != 0)
		memcpy(to->vlans, from->vlans, sizeof(to->vlans));
	*to_mac = *from_mac;
	memmove(to->macs, to->macs + to->n_unicast, 6 * to->n_multicast);
	to->n_unicast = 0;
	/* One that was never set stays so: no command can bring back what a device does then. Of the others
	 * the value is off. */
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		to->values[VIRTIO_NET_CTRL_RX][modes[i]].bytes[0] = 0;
}

void cvq_replay_init(struct cvq_replay *replay, const struct cvq_store *from, const struct cvq_store *to)
{
	*replay = (struct cvq_replay){ .from = from, .to = to };
}

uint32_t cvq_replay_next(struct cvq_replay *replay, uint8_t *cmd)
{
	for (; replay->stage < ARRAY_SIZE(cvq_stages); replay->stage++, replay->index = 0) {
		const struct cvq_stage *stage = &cvq_stages[replay->stage];
		uint32_t len =
			stage->next ? stage->next(replay, cmd) : cvq_replay_values(replay, stage->turn, cmd);

		if (len > 0)
			return len;
	}
	return 0;
}
