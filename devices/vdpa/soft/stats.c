/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of the statistics commands: see the header. */
#include "devices/vdpa/soft/stats.h"

/* The payload of STATS_GET is a list of items: le16 index, reserved bytes, le64 types. */
#define STATS_REQUEST 16u
#define STATS_HEADER  8u
#define STATS_CVQ     32u

/* A row for each type of statistics, by the number of its bit. The values are @n counters of a queue, from
 * @first on. */
static const struct soft_stats_type {
	uint8_t type;
	bool tx;
	uint8_t first, n;
	uint64_t needs; /* one of these features, if any */
} soft_stats_types[] = {
	{ 0, false, SOFT_NOTIFICATIONS, 6, 0 },
	{ 1, false, SOFT_RX_CSUM_VALID, 4, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ 2, false, SOFT_RX_GSO_PACKETS, 4,
	  VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ 3, false, 14, 2, 0 },
	{ 16, true, SOFT_NOTIFICATIONS, 6, 0 },
	{ 17, true, SOFT_TX_CSUM_NONE, 2, VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ 18, true, SOFT_TX_GSO_PACKETS, 6,
	  VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) |
		  VIRTIO_BIT(VIRTIO_NET_F_HOST_USO) },
	{ 19, true, 14, 2, 0 },
};

static bool soft_stats_has(const struct soft *soft, const struct soft_stats_type *t)
{
	return t->needs == 0 || (soft->features & t->needs);
}

int soft_stats_query(const struct soft *soft, uint8_t *reply)
{
	uint64_t types = VIRTIO_BIT(STATS_CVQ);

	for (unsigned int i = 0; i < ARRAY_SIZE(soft_stats_types); i++) {
		if (soft_stats_has(soft, &soft_stats_types[i]))
			types |= VIRTIO_BIT(soft_stats_types[i].type);
	}
	put_le64(reply, types);
	return 8;
}

/* Writes one structure. Returns its length, or 0 if there is no room for it. */
static uint32_t soft_stats_put(uint8_t *reply, uint32_t room, unsigned int type, uint16_t index,
			       const uint64_t *counters, unsigned int n)
{
	uint32_t len = STATS_HEADER + 8 * n;

	if (len > room)
		return 0;
	memset(reply, 0, STATS_HEADER);
	reply[0] = (uint8_t)type;
	put_le16(reply + 2, index);
	put_le16(reply + 6, (uint16_t)len);
	for (unsigned int i = 0; i < n; i++)
		put_le64(reply + STATS_HEADER + 8 * i, counters[i]);
	return len;
}

/*
 * Writes all types of one item. Returns the bytes written, or -1. The reply ends where there is no more room.
 */
static int soft_stats_item(const struct soft *soft, uint16_t index, uint64_t types, uint8_t *reply,
			   uint32_t room)
{
	const uint64_t commands[] = { soft->n_commands, soft->n_accepted };
	const struct soft_queue *q = &soft->queues[index];
	uint32_t len = 0, added;

	if (index == soft_ctrl_index(soft)) {
		if (types != VIRTIO_BIT(STATS_CVQ))
			return -1;
		return (int)soft_stats_put(reply, room, STATS_CVQ, index, commands, ARRAY_SIZE(commands));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(soft_stats_types); i++) {
		const struct soft_stats_type *t = &soft_stats_types[i];

		if (!virtio_has(types, t->type))
			continue;
		if (t->tx != soft_is_tx(q) || !soft_stats_has(soft, t))
			return -1;
		types &= ~VIRTIO_BIT(t->type);
		added = soft_stats_put(reply + len, room - len, t->type, index, q->counters + t->first, t->n);
		len += added;
		if (added == 0)
			room = len;
	}
	return types ? -1 : (int)len;
}

int soft_stats_get(const struct soft *soft, const uint8_t *request, uint32_t len, uint8_t *reply,
		   uint32_t size)
{
	uint32_t done = 0;

	if (len % STATS_REQUEST != 0)
		return -1;
	for (uint32_t i = 0; i < len; i += STATS_REQUEST) {
		uint16_t index = get_le16(request + i);
		int ret;

		if (index > soft_ctrl_index(soft))
			return -1;
		ret = soft_stats_item(soft, index, get_le64(request + i + 8), reply + done, size - done);
		if (ret < 0)
			return -1;
		done += (uint32_t)ret;
	}
	return (int)done;
}
