/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of control commands share. */
#ifndef FERRY_DEVICES_NET_CVQ_CVQ_PRIV_H
#define FERRY_DEVICES_NET_CVQ_CVQ_PRIV_H

#include "devices/net/cvq/cvq.h"

/* Puts a command together in @cmd; returns its length. */
static inline uint32_t cvq_command(uint8_t *cmd, uint8_t class, uint8_t command, const void *payload,
				   uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return 2 + len;
}

/* The same of an RSS context, whose configuration is @len bytes. */
static inline uint32_t cvq_put_context(uint8_t *cmd, uint8_t command, unsigned int id, const void *config,
				       uint32_t len)
{
	uint8_t head[8] = { 0 };

	put_le16(head, (uint16_t)id);
	cvq_command(cmd, VIRTIO_NET_CTRL_RSS_CTX, command, head, sizeof(head));
	memcpy(cmd + 2 + sizeof(head), config, len);
	return 2 + (uint32_t)sizeof(head) + len;
}

/* The answer to a command that is passed through. */
struct cvq_reply {
	uint32_t len; /* bytes behind the ack; 0: as many as the command asks for, cvq_stats_len() */
	/* Makes of the device's answer, without ack, the guest's. False: it is none to this command. */
	bool (*take)(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *p, uint32_t len,
		     uint8_t *reply, uint32_t reply_len);
};

extern const struct cvq_reply cvq_stats_query, cvq_stats_get;
bool cvq_check_stats(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err);
uint32_t cvq_stats_len(const uint8_t *p, uint32_t len);

#endif
