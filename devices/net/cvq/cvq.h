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
#include "devices/net/cvq/words.h"

enum cvq_verdict {
	/* The guest gets VIRTIO_NET_ERR, and the device never sees the command. */
	CVQ_REFUSE,
	/* The device gets the command; if it accepts that, cvq_remember() follows. */
	CVQ_FORWARD,
	/* The device gets the command, and the guest its answer: cvq_take_reply(). */
	CVQ_PASS,
	/* The announcement is Ferry's own, and so is the answer. */
	CVQ_ANNOUNCE_ACK,
};

/* Forms of a payload, by which messages print it. CVQ_BITS is a little-endian number, also in saved state. */
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
	/* Bytes of payload; without a check every length between is right. */
	uint32_t min, max;
	enum cvq_form form;
	cvq_check_fn *check;           /* of a payload of such a length */
	const struct cvq_reply *reply; /* of what is passed through */
	struct cvq_slot slot;
	/* What is recorded, in words, and what that is called: cvq_tell(). NULL: another row's words say it,
	 * or nothing is recorded. */
	const char *told_as;
	cvq_words_fn *words;
};

/* One row for each command. Saved state has its properties in the rows' order. */
extern const struct cvq_row cvq_rows[];
extern const unsigned int cvq_n_rows;

/*
 * Decides on a private copy of a command, *@len bytes with the header. Reserved fields are zeroed in @cmd and
 * padding is cut off, for the device and for the record alike. Every reason of a refusal goes into @err.
 */
enum cvq_verdict __must_check cvq_check(const struct cvq_limits *limits, uint8_t *cmd, uint32_t *len,
					struct error *err);

/* Records a command that cvq_check() let through and the device has answered with VIRTIO_NET_OK. */
void cvq_remember(struct cvq_store *store, const uint8_t *cmd, uint32_t len);

/*
 * How long the device's answer to a checked command is, with its ack. A guest that asks for statistics may
 * have less room than that; for other answers 0 means that the guest's @room, in bytes, is too small.
 */
uint32_t __must_check cvq_reply_len(const uint8_t *cmd, uint32_t len, uint32_t room);

/*
 * Takes a private copy of the answer to a command for CVQ_PASS, @reply_len bytes and at least the ack, and
 * makes of it what the guest is to see. Returns its length; an answer that does not fit the command becomes
 * an error.
 */
uint32_t __must_check cvq_take_reply(struct cvq_stats *stats, const struct cvq_limits *limits,
				     const uint8_t *cmd, uint32_t len, uint8_t *reply, uint32_t reply_len);

/* The features below 64 that permit a row: what they bring is carried. */
uint64_t cvq_features(void);

/* The longest text of cvq_describe(), with its end. */
#define CVQ_NAME_MAX 64u

/* Tells the whole record in words: a list for each row that has some, in the rows' order. */
void cvq_tell(const struct cvq_store *store, struct facts *f);

/* Describes a command for messages: by its name ("VLAN_ADD") and, where that is short, its argument
 * ("VLAN_ADD 100"). Any bytes have a description. */
void cvq_describe(const uint8_t *cmd, uint32_t len, char name[CVQ_NAME_MAX]);

#endif
