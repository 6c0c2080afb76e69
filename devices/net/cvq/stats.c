/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests for device statistics, and their answers. */
#include "devices/net/cvq/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* struct virtio_net_ctrl_queue_stats's items: queue, reserved, types. */
#define STATS_ITEM  16u
#define STATS_TYPES 8u

/* struct virtio_net_stats_reply_hdr, and counters of 8 bytes behind it. */
#define STATS_HEADER  8u
#define STATS_QUEUE   2u
#define STATS_SIZE    6u
#define STATS_COUNTER 8u

/* The longest name of a counter, with its NUL. */
#define STATS_NAME_MAX 24u

/* Rows of struct cvq_stats. */
#define STATS_CTRL_ROW CVQ_MAX_QUEUES

enum cvq_stats_kind { STATS_TX = CVQ_TX, STATS_RX = CVQ_RX, STATS_CTRL = CVQ_N_KINDS };

static const struct cvq_stats_type {
	uint8_t type; /* number, and bit in a request */
	uint8_t kind;
	uint8_t first, n;  /* counters */
	uint64_t any_of;   /* features; 0: none is needed */
	const char *names; /* with a blank behind each: one pointer takes less than six */
} cvq_stats_table[] = {
	{ 32, STATS_CTRL, 0, 2, 0, "commands commandsOk " },
	{ 0, STATS_RX, 0, 6, 0, "rxNotifications rxPackets rxBytes rxInterrupts rxDrops rxDropOverruns " },
	{ 1, STATS_RX, 6, 4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM),
	  "rxCsumValid rxNeedsCsum rxCsumNone rxCsumBad " },
	{ 2, STATS_RX, 10, 4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6),
	  "rxGsoPackets rxGsoBytes rxGsoPacketsCoalesced rxGsoBytesCoalesced " },
	{ 3, STATS_RX, 14, 2, 0, "rxRatelimitPackets rxRatelimitBytes " },
	{ 16, STATS_TX, 0, 6, 0, "txNotifications txPackets txBytes txInterrupts txDrops txDropMalformed " },
	{ 17, STATS_TX, 6, 2, VIRTIO_BIT(VIRTIO_NET_F_CSUM), "txCsumNone txNeedsCsum " },
	{ 18, STATS_TX, 8, 6,
	  VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |
		  VIRTIO_BIT(VIRTIO_NET_F_HOST_USO),
	  "txGsoPackets txGsoBytes txGsoSegments txGsoSegmentsBytes txGsoPacketsNoseg txGsoBytesNoseg " },
	{ 19, STATS_TX, 14, 2, 0, "txRatelimitPackets txRatelimitBytes " },
};

/* Types that a kind of queue has with the negotiated features. */
static uint64_t cvq_stats_types_of(const struct cvq_limits *limits, enum cvq_stats_kind kind)
{
	uint64_t types = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_stats_table); i++) {
		const struct cvq_stats_type *t = &cvq_stats_table[i];

		if (t->kind == kind && (t->any_of == 0 || limits->features & t->any_of))
			types |= VIRTIO_BIT(t->type);
	}
	return types;
}

uint64_t cvq_stats_types(const struct cvq_limits *limits)
{
	return cvq_stats_types_of(limits, STATS_TX) | cvq_stats_types_of(limits, STATS_RX) |
	       cvq_stats_types_of(limits, STATS_CTRL);
}

static bool cvq_stats_has_queue(const struct cvq_limits *limits, unsigned int index, unsigned int ctrl)
{
	return index == ctrl || (index < 2u * limits->max_pairs && index < CVQ_MAX_QUEUES);
}

static enum cvq_stats_kind cvq_stats_kind_of(unsigned int index, unsigned int ctrl)
{
	return index == ctrl ? STATS_CTRL : (enum cvq_stats_kind)cvq_kind_of(index);
}

/* The device would refuse a request as a whole that is not as the specification wants it. In the device's
 * copy the control queue has its index there: the device may have more queues than the guest sees. */
bool cvq_check_stats(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	unsigned int ctrl = 2u * limits->max_pairs;

	if (*len % STATS_ITEM != 0) {
		error_add(err, "STATS_GET has %u bytes, not a multiple of %u", *len, STATS_ITEM);
		return false;
	}
	for (uint32_t i = 0; i < *len; i += STATS_ITEM) {
		unsigned int index = get_le16(p + i);
		uint64_t types = get_le64(p + i + STATS_TYPES);

		if (!cvq_stats_has_queue(limits, index, ctrl)) {
			error_add(err, "STATS_GET: there is no queue %u, the last is %u", index, ctrl);
			return false;
		}
		if (types & ~cvq_stats_types_of(limits, cvq_stats_kind_of(index, ctrl))) {
			error_add(err, "STATS_GET: queue %u has no types 0x%" PRIx64, index, types);
			return false;
		}
		memset(p + i, 0, STATS_TYPES);
		put_le16(p + i, index == ctrl ? limits->device_ctrl : (uint16_t)index);
	}
	return true;
}

uint32_t cvq_stats_len(const uint8_t *p, uint32_t len)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < len; i += STATS_ITEM) {
		for (unsigned int k = 0; k < ARRAY_SIZE(cvq_stats_table); k++) {
			if (virtio_has(get_le64(p + i + STATS_TYPES), cvq_stats_table[k].type))
				total += STATS_HEADER + STATS_COUNTER * cvq_stats_table[k].n;
		}
	}
	return total;
}

/* An item of an answer, and the row that its counters belong to. */
struct cvq_stats_item {
	unsigned int row;
	const struct cvq_stats_type *type;
	uint32_t len;
};

/* Reads the item at @p, where @len bytes are left. False: it is none. */
static bool cvq_stats_parse(const struct cvq_limits *limits, const uint8_t *p, uint32_t len,
			    struct cvq_stats_item *item)
{
	unsigned int index;

	if (len < STATS_HEADER)
		return false;
	index = get_le16(p + STATS_QUEUE);
	item->len = get_le16(p + STATS_SIZE);
	if (!cvq_stats_has_queue(limits, index, limits->device_ctrl))
		return false;
	item->row = index == limits->device_ctrl ? STATS_CTRL_ROW : index;
	for (unsigned int k = 0; k < ARRAY_SIZE(cvq_stats_table); k++) {
		item->type = &cvq_stats_table[k];
		if (item->type->type == p[0] &&
		    item->type->kind == cvq_stats_kind_of(index, limits->device_ctrl))
			return item->len == STATS_HEADER + STATS_COUNTER * item->type->n && item->len <= len;
	}
	return false;
}

static bool cvq_stats_take_query(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *p,
				 uint32_t len, uint8_t *reply, uint32_t reply_len)
{
	uint64_t types;

	if (reply_len != sizeof(types))
		return false;
	/* The guest must not learn of types whose counters cannot be carried. */
	types = get_le64(reply) & cvq_stats_types(limits);
	put_le64(reply, types);
	stats->types |= types;
	return true;
}

/* Linux would read on behind an answer that is too short, and for ever in one with an item of length 0. */
static bool cvq_stats_take_get(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *p,
			       uint32_t len, uint8_t *reply, uint32_t reply_len)
{
	struct cvq_stats_item item;

	if (reply_len != cvq_stats_len(p, len))
		return false;
	for (uint32_t at = 0; at < reply_len; at += item.len) {
		if (!cvq_stats_parse(limits, reply + at, reply_len - at, &item))
			return false;
		if (item.row == STATS_CTRL_ROW)
			put_le16(reply + at + STATS_QUEUE, (uint16_t)(2 * limits->max_pairs));
		for (unsigned int k = 0; k < item.type->n; k++) {
			uint8_t *counter = reply + at + STATS_HEADER + STATS_COUNTER * k;
			unsigned int column = item.type->first + k;

			stats->shown[item.row][column] = get_le64(counter) + stats->offset[item.row][column];
			put_le64(counter, stats->shown[item.row][column]);
		}
		stats->types |= VIRTIO_BIT(item.type->type);
	}
	return true;
}

const struct cvq_reply cvq_stats_query = { .len = 8, .take = cvq_stats_take_query };
const struct cvq_reply cvq_stats_get = { .take = cvq_stats_take_get };

bool cvq_stats_rebase(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *cmd,
		      uint32_t len, const uint8_t *reply, uint32_t reply_len)
{
	struct cvq_stats_item item;

	if (reply_len < 1 || reply[0] != VIRTIO_NET_OK || reply_len - 1 != cvq_stats_len(cmd + 2, len - 2))
		return false;
	for (uint32_t at = 1; at < reply_len; at += item.len) {
		if (!cvq_stats_parse(limits, reply + at, reply_len - at, &item))
			return false;
		for (unsigned int k = 0; k < item.type->n; k++) {
			unsigned int column = item.type->first + k;

			stats->offset[item.row][column] =
				stats->shown[item.row][column] -
				get_le64(reply + at + STATS_HEADER + STATS_COUNTER * k);
		}
	}
	return true;
}

uint32_t cvq_stats_request(const struct cvq_stats *stats, const struct cvq_limits *limits,
			   uint8_t cmd[CVQ_MAX_STATS_COMMAND])
{
	unsigned int ctrl = 2u * limits->max_pairs;
	uint32_t len = 2;

	cmd[0] = VIRTIO_NET_CTRL_STATS;
	cmd[1] = VIRTIO_NET_CTRL_STATS_GET;
	for (unsigned int index = 0; index <= ctrl; index++) {
		uint64_t types = stats->types & cvq_stats_types_of(limits, cvq_stats_kind_of(index, ctrl));

		if (types == 0)
			continue;
		memset(cmd + len, 0, STATS_TYPES);
		put_le16(cmd + len, index == ctrl ? limits->device_ctrl : (uint16_t)index);
		put_le64(cmd + len + STATS_TYPES, types);
		len += STATS_ITEM;
	}
	return len > 2 ? len : 0;
}

/* Saved state has every row that the guest can have seen, the control queue's last. */

#define STATS_ROW_LEN (8u * CVQ_MAX_COUNTERS)

static uint32_t cvq_stats_n_rows(const struct cvq_limits *limits)
{
	return 2u * limits->max_pairs + 1;
}

static unsigned int cvq_stats_row(const struct cvq_limits *limits, uint32_t i)
{
	return i == 2u * limits->max_pairs ? STATS_CTRL_ROW : i;
}

/* The sum over all queues. */
static uint64_t cvq_stats_sum(const struct cvq_stats *stats, const struct cvq_limits *limits,
			      const struct cvq_stats_type *t, unsigned int column)
{
	uint64_t sum = 0;

	if (t->kind == STATS_CTRL)
		return stats->shown[STATS_CTRL_ROW][column];
	for (unsigned int i = 0; i < 2u * limits->max_pairs; i++) {
		if (cvq_kind_of(i) == (enum cvq_kind)t->kind)
			sum += stats->shown[i][column];
	}
	return sum;
}

void cvq_stats_tell(const struct cvq_stats *stats, const struct cvq_limits *limits, struct facts *f)
{
	if (stats->types == 0)
		return;
	facts_object(f, "deviceStatistics");
	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_stats_table); i++) {
		const struct cvq_stats_type *t = &cvq_stats_table[i];
		const char *at = t->names;

		for (unsigned int k = 0; k < t->n && virtio_has(stats->types, t->type); k++) {
			const int len = (int)strcspn(at, " ");
			char name[STATS_NAME_MAX];

			snprintf(name, sizeof(name), "%.*s", len, at);
			facts_number(f, name, cvq_stats_sum(stats, limits, t, t->first + k));
			at += len + 1;
		}
	}
	facts_object_end(f);
}

void cvq_stats_save(const struct cvq_stats *stats, const struct cvq_limits *limits, struct state_writer *w)
{
	uint8_t counters[STATS_ROW_LEN * (CVQ_MAX_QUEUES + 1)];
	uint32_t n = cvq_stats_n_rows(limits);

	for (uint32_t i = 0; i < n; i++) {
		for (unsigned int k = 0; k < CVQ_MAX_COUNTERS; k++)
			put_le64(counters + STATS_ROW_LEN * i + 8 * k,
				 stats->shown[cvq_stats_row(limits, i)][k]);
	}
	state_put_blob(w, "counters", counters, STATS_ROW_LEN * n);
}

int cvq_stats_load(struct cvq_stats *stats, const struct cvq_limits *limits, struct state_node *node)
{
	uint32_t n = cvq_stats_n_rows(limits), len;
	const uint8_t *counters;
	int ret = state_get_blob(node, "counters", STATS_ROW_LEN * n, STATS_ROW_LEN * n, &counters, &len);

	for (uint32_t i = 0; ret == 0 && i < n; i++) {
		unsigned int row = cvq_stats_row(limits, i);

		for (unsigned int k = 0; k < CVQ_MAX_COUNTERS; k++)
			stats->shown[row][k] = stats->offset[row][k] =
				get_le64(counters + STATS_ROW_LEN * i + 8 * k);
	}
	return ret;
}
