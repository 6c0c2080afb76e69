/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replay's commands at the device: posted in batches, their acks looked at in order. */
#include "devices/net/replay.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "devices/net/cvq/replay.h"

/* How long a replay looks for answers before it asks for a call: about what a call takes to come. */
#define NET_CTRL_LOOK_NS 100000

/* One access gives one value, for the device may write to the ack at any time. */
static uint8_t net_ctrl_ack(struct net_ctrl *ctrl, uint32_t n)
{
	return *(volatile uint8_t *)(ctrl->path->window.hva + ctrl->ack_offset + n);
}

/*
 * Commands that the device has, oldest first: where each of them lies, so that a refusal can be named. New
 * ones follow as old ones are answered, so that the device always has something to do; if the area for them
 * is full, they follow once all are answered.
 */
struct net_batch {
	uint32_t n_posted, n_retired; /* free-running */
	uint32_t n_used;              /* of those that are not retired */
	uint32_t end;                 /* of the last one, in the area */
	bool refused;                 /* the device refused one */
	struct net_batch_command {
		uint32_t offset, len;
		bool used;
	} commands[NET_CTRL_BATCH_MAX];
};

static struct net_batch_command *net_batch_at(struct net_batch *batch, uint32_t n)
{
	return &batch->commands[n % NET_CTRL_BATCH_MAX];
}

/*
 * Posts as many commands as ring and area take. The first one has @pending bytes in ctrl->cmd, where no
 * guest's command is meanwhile; returns the length of the one that is pending there then.
 */
static uint32_t net_batch_post(struct net_ctrl *ctrl, struct net_batch *batch, struct cvq_replay *replay,
			       uint32_t pending)
{
	if (batch->n_posted == batch->n_retired)
		batch->end = 0;
	while (pending > 0 && batch->n_posted - batch->n_retired < NET_CTRL_BATCH_MAX &&
	       batch->end + pending <= NET_CTRL_CMD_BYTES) {
		uint32_t n = batch->n_posted % NET_CTRL_BATCH_MAX;
		const struct net_ctrl_place place = { ctrl->cmd_offset + batch->end, ctrl->ack_offset + n,
						      1 };

		if (net_ctrl_post(ctrl, ctrl->cmd, pending, place, n) < 0)
			break;
		batch->commands[n] = (struct net_batch_command){ .offset = batch->end, .len = pending };
		batch->n_posted++;
		batch->end += pending;
		pending = cvq_replay_next(replay, ctrl->cmd);
	}
	return pending;
}

/* Takes answered commands out of the batch, oldest first, and names the first one that was refused. */
static void net_batch_retire(struct net_ctrl *ctrl, struct net_batch *batch, struct error *err)
{
	char name[CVQ_NAME_MAX];

	while (batch->n_used > 0 && net_batch_at(batch, batch->n_retired)->used) {
		uint32_t n = batch->n_retired++ % NET_CTRL_BATCH_MAX;
		const struct net_batch_command *c = &batch->commands[n];

		batch->n_used--;
		if (batch->refused || net_ctrl_ack(ctrl, n) == VIRTIO_NET_OK)
			continue;
		batch->refused = true;
		cvq_describe(ctrl->path->window.hva + ctrl->cmd_offset + c->offset, c->len, name);
		error_add(err, "the device refused %s", name);
	}
}

/* Takes the answers that are there; returns how many, or -errno. */
static int net_batch_take(struct net_ctrl *ctrl, struct net_batch *batch, struct error *err)
{
	struct svq_used used;
	int ret, n = 0;

	while ((ret = net_ctrl_get_used(ctrl, &used)) == 1) {
		net_batch_at(batch, (uint32_t)used.token)->used = true;
		n++;
	}
	if (ret < 0) {
		error_add(err, "control queue: %s", ctrl->queue->svq.broken);
		return ret;
	}
	batch->n_used += (uint32_t)n;
	return n;
}

/* Looks for answers for a while before it asks for a call: a device that answers at once has more work with a
 * call than with a command. */
static int net_batch_look(struct net_ctrl *ctrl, struct net_batch *batch, struct error *err)
{
	uint64_t end = now_ns() + NET_CTRL_LOOK_NS;
	int n;

	do {
		n = net_batch_take(ctrl, batch, err);
	} while (n == 0 && now_ns() < end);
	return n;
}

/* Shows the device what was posted, and waits for an answer to any of it; to @n of it where the device takes
 * its time. */
static int net_batch_wait(struct net_ctrl *ctrl, struct net_batch *batch, uint32_t n, struct error *err)
{
	struct svq *svq = &ctrl->queue->svq;
	int ret, waited = 0;

	svq_disable_calls(svq);
	if (svq_publish(svq))
		net_queue_kick_device(ctrl->queue);
	ret = net_batch_look(ctrl, batch, err);
	if (ret == 0) {
		if (!svq_enable_calls_after(svq, (uint16_t)n))
			waited = net_ctrl_wait(ctrl, UINT64_MAX);
		ret = net_batch_take(ctrl, batch, err);
	}
	if (ret >= 0 && waited == -ECANCELED) {
		error_add(err, "called off while the device was at its control commands");
		return -ECANCELED;
	}
	return ret < 0 ? ret : 0;
}

/* Sends what @replay has and waits for all answers, also where one of them is a refusal. */
static int net_batch_run(struct net_ctrl *ctrl, struct net_batch *batch, struct cvq_replay *replay,
			 struct error *err)
{
	uint32_t pending = cvq_replay_next(replay, ctrl->cmd);
	uint64_t start_ns = now_ns();

	while (pending > 0 || batch->n_posted != batch->n_retired) {
		uint32_t n;
		int ret;

		/* The time counts from the call's begin: one for each answer would have no end. */
		if (now_ns() >= ctrl->end_ns) {
			error_add(err,
				  "the device has answered %u control commands, and not all, in %" PRIu64
				  " ms",
				  batch->n_retired, (now_ns() - start_ns) / 1000000);
			return -ETIMEDOUT;
		}
		pending = net_batch_post(ctrl, batch, replay, pending);
		n = batch->n_posted - batch->n_retired - batch->n_used;
		/* While one half is looked at and replaced, the other keeps the device busy. */
		if (pending > 0)
			n = (n + 1) / 2;
		/* Where nothing could be posted, a late answer to a question has the ring. */
		ret = net_batch_wait(ctrl, batch, n > 0 ? n : 1, err);
		if (ret < 0)
			return ret;
		net_batch_retire(ctrl, batch, err);
		if (batch->refused)
			pending = 0;
	}
	return batch->refused ? -EIO : 0;
}

int net_replay(struct net_ctrl *ctrl, struct error *err)
{
	struct net_batch batch = { 0 };
	struct cvq_replay replay;
	uint64_t start = now_ns();
	int ret;

	if (!ctrl->queue)
		return 0;
	/* net_batch_post() uses the place of a guest's command. */
	assert(!ctrl->busy);
	cvq_replay_init(&replay, &ctrl->store, &ctrl->target);
	ret = net_batch_run(ctrl, &batch, &replay, err);
	if (ret < 0)
		return ret;
	if (batch.n_posted > 0)
		log_limited(&ctrl->replay_limit, LOG_INFO, "%s: control commands replayed: %u, in %.1f ms",
			    ctrl->nic, batch.n_posted, (double)(now_ns() - start) / 1e6);
	ctrl->store = ctrl->target;
	return 0;
}
