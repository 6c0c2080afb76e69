/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control plane of a NIC: the shadow control queue towards the device, the guest's command that is there,
 * and the record of what the device has accepted. ctrl.c serves the guest's commands, replay.c brings the
 * device to a recorded state, stats.c carries its counters; this file has their common way to the device and
 * back.
 *
 * Everything here runs on the NIC's thread, and nothing of it ends the NIC: where the device or the driver
 * breaks the rules, net_path_fail() says so and the owner of the event or call settles it.
 */
#ifndef FERRY_DEVICES_NET_CTRL_PORT_H
#define FERRY_DEVICES_NET_CTRL_PORT_H

#include "devices/net/config_space.h"
#include "devices/net/cvq/cvq.h"
#include "devices/net/queue.h"
#include "vmm/loop_timer.h"

/* The most of Ferry's own commands that are at the device at a time: more than keep any device busy. */
#define NET_CTRL_BATCH_MAX 512u
/* Room in the window for commands, in bytes: the longest one, and some that keep a device busy meanwhile. */
#define NET_CTRL_CMD_BYTES align_up(CVQ_MAX_COMMAND + KIB(16), PAGE_SIZE)

/* How long a device may take for one answer that Ferry can do without, in milliseconds: what the device does
 * not say is guessed, and a vCPU may wait meanwhile. */
#define NET_CTRL_ASK_MS 1000

/*
 * How long a device may take for all that one call asks of it, however many commands that are and whenever it
 * answers each: somebody waits for the NIC's thread meanwhile. In milliseconds.
 */
struct net_patience {
	/* A vCPU waits in a register write, or a migration begins or ends under the running guest. */
	unsigned int call;
	/* The guest stands still for pause(). */
	unsigned int still;
	/* Only a source whose guest runs waits for warm_load(). */
	unsigned int warm;
	/* A source whose guest stands still waits for load(). */
	unsigned int load;
};

extern const struct net_patience net_patience;

/* How a control command of the guest's has ended. */
enum net_ctrl_outcome {
	NET_CTRL_DONE,
	NET_CTRL_REFUSED_HERE, /* the device never saw it */
	NET_CTRL_REFUSED,      /* by the device */
	NET_CTRL_N_OUTCOMES,
};

struct net_ctrl {
	struct net_path *path;
	struct net_queue *queue; /* NULL while the driver has none */
	struct net_space *space;
	const char *nic, *device; /* names, for messages */
	struct net_patience patience;
	/* An eventfd that is readable when the process is to end; -1: there is none. */
	int stop_fd;
	/* When the device's time for the call in hand ends: net_ctrl_limit(). */
	uint64_t end_ns;

	bool busy; /* a guest's command is at the device */
	bool pass; /* the device's answer is the guest's */
	/* The command's chain. No other is popped while it is there, so that the segments stay. */
	struct vring_chain chain;
	/* The one copy of a command that is checked, sent and recorded, and the one copy of its answer: the
	 * device could write to those in the window. */
	uint8_t cmd[CVQ_MAX_COMMAND];
	uint32_t cmd_len;
	uint8_t reply[CVQ_MAX_REPLY];
	/* When the device's time for the guest's command is over. */
	struct loop_timer timer;

	/* The device owes an answer to a question of Ferry's own, whether or not anybody waits for it. */
	bool asking;
	/* Places in the window: commands; acks of a batch, one byte each; the answer to the guest's command;
	 * a question of Ferry's own with its answer behind it. */
	uint64_t cmd_offset, ack_offset, reply_offset, ask_offset;

	struct cvq_limits limits;
	struct cvq_store store;  /* what the device has accepted */
	struct cvq_store target; /* what net_replay() brings it to */
	struct cvq_stats stats;
	/* Types of statistics that the device counts; 0: it was not asked yet. */
	uint64_t device_stats;
	/* Counts changes of the record and of statistics' types, for those who tell others of them. */
	uint64_t changes;
	uint64_t outcomes[NET_CTRL_N_OUTCOMES];
	struct log_limit log_limit;
	struct log_limit replay_limit; /* for each start of the device */
};

/* Reserves the places in the window, before it is made. */
void net_ctrl_reserve(struct net_ctrl *ctrl, struct net_window *window);

/* Places in the window: a command's, and its answer's with its length. */
struct net_ctrl_place {
	uint64_t cmd, reply;
	uint32_t reply_len;
};

/* Puts a command into the shadow ring: 0 or -ENOSPC. The device sees it once net_ctrl_publish() has come. The
 * commands of a replay count their @token from 0, and the guest's command has 0 too: the device never has
 * both. */
int __must_check net_ctrl_post(struct net_ctrl *ctrl, const uint8_t *cmd, uint32_t len,
			       struct net_ctrl_place place, uint64_t token);
void net_ctrl_publish(struct net_ctrl *ctrl);

/* Does what svq_get_used() does, and drops late answers to Ferry's own questions. */
int __must_check net_ctrl_get_used(struct net_ctrl *ctrl, struct svq_used *used);

/* Gives the device @ms milliseconds for everything that the call in hand asks of it, and so bounds the waits
 * for it. Every call that may ask the device something begins with this. */
void net_ctrl_limit(struct net_ctrl *ctrl, unsigned int ms);

/* Waits for the device's call on the control queue, until @end_ns or the end of the call's time: 0,
 * -ETIMEDOUT, or -ECANCELED where the process is to end. */
int __must_check net_ctrl_wait(struct net_ctrl *ctrl, uint64_t end_ns);

/*
 * Asks the device something of Ferry's own, @len bytes at @cmd, and waits until @end_ns. Its answer, ack
 * first and as long as cvq_reply_len() says, is in ctrl->reply then, and its length in @reply_len. Not while
 * a guest's command is at the device.
 */
int __must_check net_ctrl_ask(struct net_ctrl *ctrl, const uint8_t *cmd, uint32_t len, uint64_t end_ns,
			      uint32_t *reply_len, struct error *err);

#endif
