/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of control commands as saved state: the rows' properties, in the rows' order. Loading makes
 * commands of them again, which go through the same check and the same record as a guest's.
 */
#include "devices/net/cvq/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* An element of "coalescing-queues": VQ_SET's payload, of each queue that has a value of its own, in the
 * queues' order. */
#define CVQ_COAL_QUEUE_LEN 12u

/* More than a guest can count to, and far from a wrap. */
#define CVQ_MAX_SEQUENCE ((uint64_t)1 << 62)

#define CVQ_PROPERTY_MAX 32u

struct cvq_loader {
	const struct cvq_limits *limits;
	struct error *err;
	struct cvq_store *store;
	uint8_t *cmd;
};

/* The command of @len bytes in @l->cmd. */
static int cvq_load_command(struct cvq_loader *l, uint32_t len)
{
	if (cvq_check(l->limits, l->cmd, &len, l->err) != CVQ_FORWARD)
		return -EINVAL;
	cvq_remember(l->store, l->cmd, len);
	return 0;
}

static int cvq_load_payload(struct cvq_loader *l, const struct cvq_row *row, const void *p, uint32_t len)
{
	return cvq_load_command(l, cvq_command(l->cmd, row->class, row->command, p, len));
}

/* Values */

static void cvq_save_value(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w)
{
	const struct cvq_value *value = &store->values[row->class][row->command];

	if (!value->set)
		return;
	if (row->form != CVQ_BITS)
		state_put_blob(w, row->slot.property, value->bytes, row->max);
	else if (row->max == 4)
		state_put_u32(w, row->slot.property, get_le32(value->bytes));
	else
		state_put_u64(w, row->slot.property, get_le64(value->bytes));
}

static int cvq_get_value(const struct cvq_row *row, struct state_node *node, uint8_t *p)
{
	/* A default that every device has is not saved. */
	const unsigned int min = row->slot.zero_default ? 1 : 0;
	uint32_t bits;
	uint64_t long_bits;
	int ret;

	if (row->form != CVQ_BITS)
		return state_get_bytes(node, row->slot.property, p, row->max);
	if (row->max == 4) {
		ret = state_get_u32(node, row->slot.property, min, UINT32_MAX, &bits);
		if (ret == 0)
			put_le32(p, bits);
	} else {
		ret = state_get_u64(node, row->slot.property, min, UINT64_MAX, &long_bits);
		if (ret == 0)
			put_le64(p, long_bits);
	}
	return ret;
}

static int cvq_load_value(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	uint8_t p[sizeof(l->store->values[0][0].bytes)];
	int ret;

	if (!state_has(node, row->slot.property))
		return 0;
	ret = cvq_get_value(row, node, p);
	return ret < 0 ? ret : cvq_load_payload(l, row, p, row->max);
}

/* Modes of class RX: all of them in one property, a byte each */

enum cvq_tristate { CVQ_NEVER, CVQ_OFF, CVQ_ON };

static void cvq_save_modes(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w)
{
	uint8_t modes[CVQ_N_RX_MODES];

	for (unsigned int i = 0; i < CVQ_N_RX_MODES; i++) {
		const struct cvq_value *value = &store->values[row->class][i];

		modes[i] = !value->set ? CVQ_NEVER : value->bytes[0] ? CVQ_ON : CVQ_OFF;
	}
	state_put_blob(w, row->slot.property, modes, sizeof(modes));
}

static int cvq_load_modes(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	uint8_t modes[CVQ_N_RX_MODES];
	int ret = state_get_bytes(node, row->slot.property, modes, sizeof(modes));

	for (uint8_t i = 0; ret == 0 && i < CVQ_N_RX_MODES; i++) {
		uint8_t on = modes[i] == CVQ_ON;

		if (modes[i] > CVQ_ON) {
			error_add(l->err, "RX mode %u is %u, the largest value is %u", i, modes[i], CVQ_ON);
			ret = -EINVAL;
		} else if (modes[i] != CVQ_NEVER)
			ret = cvq_load_command(l, cvq_command(l->cmd, row->class, i, &on, 1));
	}
	return ret;
}

/* MAC tables and VLANs */

static void cvq_save_macs(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w)
{
	if (!store->mac_table_set)
		return;
	state_put_blob(w, "mac-unicast", store->macs, 6 * store->n_unicast);
	state_put_blob(w, "mac-multicast", store->macs[store->n_unicast], 6 * store->n_multicast);
}

static int cvq_load_macs(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	uint32_t unicast_len = 0, multicast_len = 0;
	const uint8_t *unicast = NULL, *multicast = NULL;
	int ret;

	if (!state_has(node, "mac-unicast") && !state_has(node, "mac-multicast"))
		return 0;
	ret = state_get_blob(node, "mac-unicast", 0, 6 * CVQ_MAX_MACS, &unicast, &unicast_len);
	if (ret == 0)
		ret = state_get_blob(node, "mac-multicast", 0, 6 * CVQ_MAX_MACS - unicast_len, &multicast,
				     &multicast_len);
	if (ret != 0)
		return ret;
	if (unicast_len % 6 != 0 || multicast_len % 6 != 0) {
		error_add(l->err, "MAC tables of %u and %u bytes, an address has 6", unicast_len,
			  multicast_len);
		return -EINVAL;
	}
	return cvq_load_command(l,
				cvq_put_macs(l->cmd, unicast, unicast_len / 6, multicast, multicast_len / 6));
}

static void cvq_save_vlans(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w)
{
	uint8_t vlans[CVQ_N_VLANS / 8];

	for (unsigned int i = 0; i < ARRAY_SIZE(store->vlans); i++)
		put_le64(vlans + 8 * i, store->vlans[i]);
	state_put_blob(w, row->slot.property, vlans, sizeof(vlans));
}

/*
 * VLANs do not become one command each, for a guest stands still meanwhile: whatever the record can hold is
 * in range, and whether there may be a VLAN at all is asked once.
 */
static int cvq_load_vlans(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	uint8_t vlans[CVQ_N_VLANS / 8], vid[2] = { 0 };
	int ret = state_get_bytes(node, row->slot.property, vlans, sizeof(vlans));
	uint64_t any = 0;
	uint32_t len;

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < ARRAY_SIZE(l->store->vlans); i++) {
		l->store->vlans[i] = get_le64(vlans + 8 * i);
		any |= l->store->vlans[i];
	}
	len = cvq_command(l->cmd, row->class, row->command, vid, sizeof(vid));
	if (any != 0 && cvq_check(l->limits, l->cmd, &len, l->err) != CVQ_FORWARD)
		return -EINVAL;
	return 0;
}

/* MQ-class commands: a property for the payload, and one with "-sequence" behind its name */

static void cvq_sequence_name(const struct cvq_row *row, char name[CVQ_PROPERTY_MAX])
{
	snprintf(name, CVQ_PROPERTY_MAX, "%s-sequence", row->slot.property);
}

static void cvq_save_mq(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w)
{
	const struct cvq_mq_slot *slot = &store->mq[row->command];
	char sequence_name[CVQ_PROPERTY_MAX];

	if (slot->sequence == 0)
		return;
	cvq_sequence_name(row, sequence_name);
	state_put_u64(w, sequence_name, slot->sequence);
	state_put_blob(w, row->slot.property, slot->data, slot->len);
}

/* Two commands cannot have come at the same time; rows before @row are loaded. */
static int cvq_check_sequence(struct cvq_loader *l, const struct cvq_row *row, uint64_t sequence)
{
	char name[CVQ_PROPERTY_MAX], other_name[CVQ_PROPERTY_MAX];

	for (const struct cvq_row *other = cvq_rows; other < row; other++) {
		if (other->slot.keep != CVQ_KEEP_MQ || l->store->mq[other->command].sequence != sequence)
			continue;
		cvq_sequence_name(row, name);
		cvq_sequence_name(other, other_name);
		error_add(l->err, "%s and %s are both %" PRIu64, name, other_name, sequence);
		return -EINVAL;
	}
	return 0;
}

static int cvq_load_mq(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	char sequence_name[CVQ_PROPERTY_MAX];
	const uint8_t *payload = NULL;
	uint64_t sequence = 0, last = l->store->mq_sequence;
	uint32_t len = 0;
	int ret;

	cvq_sequence_name(row, sequence_name);
	if (!state_has(node, row->slot.property) && !state_has(node, sequence_name))
		return 0;
	ret = state_get_u64(node, sequence_name, 1, CVQ_MAX_SEQUENCE, &sequence);
	if (ret == 0)
		ret = state_get_blob(node, row->slot.property, 1, CVQ_MAX_MQ_COMMAND - 2, &payload, &len);
	if (ret == 0)
		ret = cvq_check_sequence(l, row, sequence);
	if (ret == 0)
		ret = cvq_load_payload(l, row, payload, len);
	if (ret < 0)
		return ret;
	l->store->mq[row->command].sequence = sequence;
	l->store->mq_sequence = max_u64(last, sequence);
	return 0;
}

/* RSS contexts: a property for each, with its id in its name */

static void cvq_context_name(const struct cvq_row *row, unsigned int i, char name[CVQ_PROPERTY_MAX])
{
	snprintf(name, CVQ_PROPERTY_MAX, "%s-%u", row->slot.property, i + 1);
}

static void cvq_save_contexts(const struct cvq_store *store, const struct cvq_row *row,
			      struct state_writer *w)
{
	for (unsigned int i = 0; i < CVQ_MAX_CONTEXTS; i++) {
		char name[CVQ_PROPERTY_MAX];

		cvq_context_name(row, i, name);
		if (store->contexts[i].len > 0)
			state_put_blob(w, name, store->contexts[i].data, store->contexts[i].len);
	}
}

static int cvq_load_contexts(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	int ret = 0;

	for (unsigned int i = 0; i < CVQ_MAX_CONTEXTS; i++) {
		char name[CVQ_PROPERTY_MAX];
		const uint8_t *config = NULL;
		uint32_t len = 0;
		int context_ret;

		cvq_context_name(row, i, name);
		if (!state_has(node, name))
			continue;
		context_ret = state_get_blob(node, name, 1, CVQ_MAX_MQ_COMMAND - 2, &config, &len);
		if (context_ret == 0)
			context_ret = cvq_load_command(
				l, cvq_put_context(l->cmd, row->command, i + 1, config, len));
		ret = context_ret < 0 ? context_ret : ret;
	}
	return ret;
}

/* Coalescing of single queues: one property for all that have a value of their own. Its row is behind those
 * of TX_SET and RX_SET, which undo it. */

static void cvq_save_coal_queues(const struct cvq_store *store, const struct cvq_row *row,
				 struct state_writer *w)
{
	uint8_t queues[CVQ_COAL_QUEUE_LEN * CVQ_MAX_QUEUES] = { 0 };
	uint32_t len = 0;

	for (unsigned int i = 0; i < CVQ_MAX_QUEUES; i++) {
		const struct cvq_value *value = &store->coal_queue[i];

		if (!value->set)
			continue;
		put_le16(queues + len, (uint16_t)i);
		memcpy(queues + len + 4, value->bytes, sizeof(value->bytes));
		len += CVQ_COAL_QUEUE_LEN;
	}
	if (len > 0)
		state_put_blob(w, row->slot.property, queues, len);
}

static int cvq_load_coal_queues(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node)
{
	const uint8_t *p = NULL;
	uint32_t len = 0;
	int last = -1, ret;

	if (!state_has(node, row->slot.property))
		return 0;
	ret = state_get_blob(node, row->slot.property, CVQ_COAL_QUEUE_LEN,
			     CVQ_COAL_QUEUE_LEN * CVQ_MAX_QUEUES, &p, &len);
	if (ret == 0 && len % CVQ_COAL_QUEUE_LEN != 0) {
		error_add(l->err, "coalescing of queues in %u bytes, each has %u", len, CVQ_COAL_QUEUE_LEN);
		ret = -EINVAL;
	}
	for (uint32_t i = 0; ret == 0 && i < len; i += CVQ_COAL_QUEUE_LEN) {
		if (get_le16(p + i) <= last || get_le16(p + i + 2) != 0) {
			error_add(l->err, "coalescing of queue %u after that of queue %d", get_le16(p + i),
				  last);
			return -EINVAL;
		}
		last = get_le16(p + i);
		ret = cvq_load_payload(l, row, p + i, CVQ_COAL_QUEUE_LEN);
	}
	return ret;
}

/* Index: enum cvq_keep. */
static const struct cvq_part {
	void (*save)(const struct cvq_store *store, const struct cvq_row *row, struct state_writer *w);
	int (*load)(struct cvq_loader *l, const struct cvq_row *row, struct state_node *node);
} cvq_parts[] = {
	[CVQ_KEEP_VALUE] = { cvq_save_value, cvq_load_value },
	[CVQ_KEEP_MODE] = { cvq_save_modes, cvq_load_modes },
	[CVQ_KEEP_COAL] = { cvq_save_value, cvq_load_value },
	[CVQ_KEEP_COAL_QUEUE] = { cvq_save_coal_queues, cvq_load_coal_queues },
	[CVQ_KEEP_MACS] = { cvq_save_macs, cvq_load_macs },
	[CVQ_KEEP_VLANS] = { cvq_save_vlans, cvq_load_vlans },
	[CVQ_KEEP_MQ] = { cvq_save_mq, cvq_load_mq },
	[CVQ_KEEP_CONTEXT] = { cvq_save_contexts, cvq_load_contexts },
};

void cvq_save(const struct cvq_store *store, struct state_writer *w)
{
	for (unsigned int i = 0; i < cvq_n_rows; i++) {
		if (cvq_rows[i].slot.property)
			cvq_parts[cvq_rows[i].slot.keep].save(store, &cvq_rows[i], w);
	}
}

int cvq_load(struct cvq_store *store, uint8_t cmd[CVQ_MAX_COMMAND], const struct cvq_limits *limits,
	     struct state_node *node)
{
	struct cvq_loader l = { .limits = limits, .err = node->err, .store = store, .cmd = cmd };
	int ret = 0;

	cvq_reset(store);
	/* Each of them, whatever fails: the peer is to learn every reason at once. */
	for (unsigned int i = 0; i < cvq_n_rows; i++) {
		const struct cvq_row *row = &cvq_rows[i];
		int row_ret = row->slot.property ? cvq_parts[row->slot.keep].load(&l, row, node) : 0;

		ret = row_ret < 0 ? row_ret : ret;
	}
	if (ret < 0)
		cvq_reset(store);
	return ret;
}
