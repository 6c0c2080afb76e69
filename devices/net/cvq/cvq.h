/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control virtqueue's commands (virtio 1.4, "Network Device / Device Operation / Control Virtqueue"): one
 * const table says what each is, and from it follow the check of a guest's command, the record of what the
 * device has accepted, and the list of commands that brings a fresh device into the recorded state. Plain
 * data and functions on it: no queue, no device, no thread.
 *
 * A command that sets one value of a few bytes is added by a row and, where the specification bounds the
 * value, a check: record, saved state and replay follow from the row. One of another kind also needs a way to
 * be kept (store.h), and with it a part of state.c and a stage of replay.c.
 */
#ifndef FERRY_DEVICES_NET_CVQ_CVQ_H
#define FERRY_DEVICES_NET_CVQ_CVQ_H

#include "devices/net/cvq/stats.h"

enum cvq_verdict {
	CVQ_REFUSE,       /* answer VIRTIO_NET_ERR, the device never sees it */
	CVQ_FORWARD,      /* to the device; on OK, cvq_remember() */
	CVQ_PASS,         /* to the device, and its answer to the guest: cvq_take_reply() */
	CVQ_ANNOUNCE_ACK, /* the announcement is Ferry's own, and so is the answer */
};

/* What a payload is: for messages, and CVQ_BITS, a number of little-endian bytes, for saved state too. */
enum cvq_form {
	CVQ_NAME_ONLY,
	CVQ_NUMBER,
	CVQ_ID,
	CVQ_BITS,
	CVQ_MAC,
	CVQ_COAL,
	CVQ_QUEUE,
	CVQ_COAL_QUEUE,
};

struct cvq_row {
	uint8_t class, command;
	uint8_t feature; /* number of the bit that permits it */
	const char *name;
	enum cvq_verdict verdict;
	uint32_t min, max; /* bytes of payload; without a check every length between is right */
	enum cvq_form form;
	cvq_check_fn *check;           /* of a payload of such a length */
	const struct cvq_reply *reply; /* of what is passed through */
	struct cvq_slot slot;
};

/* One row for each command. Saved state has its properties in the rows' order. */
extern const struct cvq_row cvq_rows[];
extern const unsigned int cvq_n_rows;

/*
 * Decides on a private copy of a command, *@len bytes with the header; a byte of padding that Linux leaves
 * behind a hash key is cut off. Fields that the specification reserves
 * are zeroed in @cmd, for the device and for the record alike (HASH_CONFIG: Linux leaves max_tx_vq in them).
 * Why it is refused goes into @err.
 */
enum cvq_verdict __must_check cvq_check(const struct cvq_limits *limits, uint8_t *cmd, uint32_t *len,
					struct error *err);

/* Records a command that cvq_check() let through and the device has answered with VIRTIO_NET_OK. */
void cvq_remember(struct cvq_store *store, const uint8_t *cmd, uint32_t len);

/*
 * Bytes of the device's answer with its ack, of which a guest that asks for statistics may take less. 0: the
 * @room that the guest has left for it is too small.
 */
uint32_t __must_check cvq_reply_len(const uint8_t *cmd, uint32_t len, uint32_t room);

/*
 * Takes a private copy of the answer to a command for CVQ_PASS, @reply_len bytes and at least the ack, and
 * makes of it what the guest is to see. Returns its length; an answer that does not fit the command becomes
 * an error.
 */
uint32_t __must_check cvq_take_reply(struct cvq_stats *stats, const struct cvq_limits *limits,
				     const uint8_t *cmd, uint32_t len, uint8_t *reply, uint32_t reply_len);

/* The features that the table's rows need and whose state it can therefore carry: the first 64. */
uint64_t cvq_features(void);

/* Words for messages: the name of a command ("VLAN_ADD") and its argument where it is short ("VLAN_ADD 100").
 */
#define CVQ_NAME_MAX 64u
void cvq_describe(const uint8_t *cmd, uint32_t len, char name[CVQ_NAME_MAX]);

#endif
