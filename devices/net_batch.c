/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ferry's own commands on the control queue: recorded state sent to a device, many at a time, and questions.
 */
#include "devices/net_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* The device writes it: one access, one value. */
static uint8_t net_ctrl_ack(struct net *net, uint32_t n)
{
	return *(volatile uint8_t *)(net->window.hva + net->ctrl.ack_offset + n);
}

/* A batch of the replay: where each command lies, so that a refusal can be named. */
struct net_batch {
	uint32_t n;
	uint32_t offset[NET_CTRL_BATCH_MAX];
	uint32_t len[NET_CTRL_BATCH_MAX];
};

/* Posts as many commands as ring and area take, beginning with the @pending bytes at @next; returns what is
 * pending then. */
static uint32_t net_batch_post(struct net *net, struct net_batch *batch, struct cvq_replay *replay,
			       uint8_t *next, uint32_t pending)
{
	uint32_t offset = 0;

	batch->n = 0;
	while (pending > 0 && batch->n < NET_CTRL_BATCH_MAX && offset + pending <= NET_CTRL_CMD_BYTES) {
		const struct net_ctrl_place place = { net->ctrl.cmd_offset + offset,
						      net->ctrl.ack_offset + batch->n, 1 };

		if (net_ctrl_post(net, next, pending, place, batch->n) < 0)
			break;
		batch->offset[batch->n] = offset;
		batch->len[batch->n++] = pending;
		offset += pending;
		pending = cvq_replay_next(replay, next);
	}
	net_ctrl_publish(net);
	return pending;
}

/* Waits until all of the batch has been answered, and well. */
static int net_batch_wait(struct net *net, const struct net_batch *batch, struct error *err)
{
	struct svq *svq = &net->ctrl_queue->svq;
	char name[CVQ_NAME_MAX];
	struct svq_used used;
	uint32_t n_done = 0;
	int ret;

	while (n_done < batch->n) {
		svq_disable_calls(svq);
		while ((ret = net_ctrl_get_used(net, &used)) == 1)
			n_done++;
		if (ret < 0)
			return error_add(err, ret, "control queue: %s", svq->broken);
		if (n_done == batch->n || svq_enable_calls(svq))
			continue;
		if (net_ctrl_wait(net, NET_CTRL_TIMEOUT_MS) < 0)
			return error_add(err, -ETIMEDOUT,
					 "the device did not answer control commands within %d s",
					 NET_CTRL_TIMEOUT_MS / 1000);
	}
	for (uint32_t n = 0; n < batch->n; n++) {
		if (net_ctrl_ack(net, n) == VIRTIO_NET_OK)
			continue;
		cvq_describe(net->window.hva + net->ctrl.cmd_offset + batch->offset[n], batch->len[n], name);
		return error_add(err, -EIO, "the device refused %s", name);
	}
	return 0;
}

int net_ctrl_apply(struct net *net, struct error *err)
{
	struct net_batch batch;
	struct cvq_replay replay;
	uint8_t *next;
	uint32_t pending;
	int ret = 0;

	if (!net->ctrl_queue)
		return 0;
	next = malloc(CVQ_MAX_COMMAND);
	if (!next)
		return error_add(err, -ENOMEM, "out of memory for control commands");
	cvq_replay_init(&replay, &net->store, &net->target);
	pending = cvq_replay_next(&replay, next);
	while (ret == 0 && pending > 0) {
		pending = net_batch_post(net, &batch, &replay, next, pending);
		ret = net_batch_wait(net, &batch, err);
	}
	free(next);
	if (ret == 0)
		net->store = net->target;
	return ret;
}

/* Waits for the answer to Ferry's own question: its length, or -errno. */
static int net_ctrl_await(struct net *net, int timeout_ms)
{
	uint64_t end = now_ns() + (uint64_t)timeout_ms * 1000000;
	struct svq *svq = &net->ctrl_queue->svq;
	struct svq_used used;

	for (;;) {
		uint64_t now = now_ns();
		int ret;

		svq_disable_calls(svq);
		ret = svq_get_used(svq, &used);
		if (ret < 0)
			return ret;
		if (ret == 1) {
			net->ctrl.asking = false;
			return (int)used.len;
		}
		if (svq_enable_calls(svq))
			continue;
		if (now >= end || net_ctrl_wait(net, (int)((end - now) / 1000000) + 1) < 0)
			return -ETIMEDOUT;
	}
}

int net_ctrl_ask(struct net *net, const uint8_t *cmd, uint32_t len, uint32_t max, int timeout_ms,
		 uint32_t *reply_len, struct error *err)
{
	const struct net_ctrl_place place = { net->ctrl.ask_offset, net->ctrl.ask_offset + NET_CTRL_ASK_BYTES,
					      max };
	char name[CVQ_NAME_MAX];
	int ret;

	assert(!net->ctrl.busy && len <= NET_CTRL_ASK_BYTES && max <= CVQ_MAX_REPLY);
	cvq_describe(cmd, len, name);
	/* The room for it may still be written to. */
	if (net->ctrl.asking)
		return error_add(err, -EBUSY, "the device has not answered %s yet", name);
	if (net_ctrl_post(net, cmd, len, place, NET_CTRL_TOKEN_ASK) < 0)
		return error_add(err, -ENOSPC, "the control queue is full");
	net->ctrl.asking = true;
	net_ctrl_publish(net);
	ret = net_ctrl_await(net, timeout_ms);
	if (ret < 0)
		return error_add(err, ret, "the device did not answer %s: %s", name, strerror(-ret));
	*reply_len = (uint32_t)ret;
	memcpy(net->ctrl.reply, net->window.hva + place.reply, *reply_len);
	if (*reply_len == 0 || net->ctrl.reply[0] != VIRTIO_NET_OK)
		return error_add(err, -EIO, "the device refused %s", name);
	return 0;
}
