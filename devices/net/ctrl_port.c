/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a control command to the device, and of its answer back. */
#include "devices/net/ctrl_port.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

/* Room for the acks of a replay's commands. */
#define NET_CTRL_ACK_BYTES PAGE_SIZE
/* Room for the answer to the guest's command, for that to a question of Ferry's own, and for the question. */
#define NET_CTRL_REPLY_BYTES align_up(CVQ_MAX_REPLY, PAGE_SIZE)
#define NET_CTRL_ASK_BYTES   PAGE_SIZE

_Static_assert(NET_CTRL_BATCH_MAX <= NET_CTRL_ACK_BYTES, "give each command of a batch its ack");
_Static_assert(CVQ_MAX_STATS_COMMAND <= NET_CTRL_ASK_BYTES, "give the longest question its place");

/* The token of Ferry's own questions; those of other commands count from 0. */
#define NET_CTRL_TOKEN_ASK UINT64_MAX

const struct net_patience net_patience = {
	.call = 10000,
	.still = 1000,
	/* Half of what a source waits for an answer, and half of what it waits with its guest stopped: the
	 * source is to learn the reason. */
	.warm = 30000,
	.load = 5000,
};

void net_ctrl_reserve(struct net_ctrl *ctrl, struct net_window *window)
{
	ctrl->cmd_offset = net_window_reserve(window, NET_CTRL_CMD_BYTES);
	ctrl->ack_offset = net_window_reserve(window, NET_CTRL_ACK_BYTES);
	ctrl->reply_offset = net_window_reserve(window, NET_CTRL_REPLY_BYTES);
	ctrl->ask_offset = net_window_reserve(window, NET_CTRL_ASK_BYTES + NET_CTRL_REPLY_BYTES);
}

int net_ctrl_post(struct net_ctrl *ctrl, const uint8_t *cmd, uint32_t len, struct net_ctrl_place place,
		  uint64_t token)
{
	const struct net_window *window = &ctrl->path->window;
	const struct virtio_seg segs[] = {
		{ window->iova + place.cmd, len },
		{ window->iova + place.reply, place.reply_len },
	};

	memcpy(window->hva + place.cmd, cmd, len);
	/* 0xff is neither ack, so a command whose ack the device does not write counts as refused. */
	memset(window->hva + place.reply, 0xff, place.reply_len);
	return svq_add(&ctrl->queue->svq, segs, 1, 1, token);
}

void net_ctrl_publish(struct net_ctrl *ctrl)
{
	struct net_queue *q = ctrl->queue;

	/* A late answer can be there already: no call will come for it, nor for an answer that follows it. */
	if (svq_enable_calls(&q->svq))
		loop_signal(q->call.fd);
	if (svq_publish(&q->svq))
		net_queue_kick_device(q);
}

int net_ctrl_get_used(struct net_ctrl *ctrl, struct svq_used *used)
{
	int ret;

	while ((ret = svq_get_used(&ctrl->queue->svq, used)) == 1 && used->token == NET_CTRL_TOKEN_ASK)
		ctrl->asking = false;
	return ret;
}

void net_ctrl_limit(struct net_ctrl *ctrl, unsigned int ms)
{
	ctrl->end_ns = end_of((int)ms);
}

int net_ctrl_wait(struct net_ctrl *ctrl, uint64_t end_ns)
{
	struct pollfd fds[] = {
		{ .fd = ctrl->queue->call.fd, .events = POLLIN },
		{ .fd = ctrl->stop_fd, .events = POLLIN },
	};
	int n;

	end_ns = min_u64(end_ns, ctrl->end_ns);
	/* A device that calls again and again without an answer must not get more time. */
	if (now_ns() >= end_ns)
		return -ETIMEDOUT;
	do {
		n = poll(fds, ARRAY_SIZE(fds), ms_until(end_ns));
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -ETIMEDOUT;
	if (fds[1].revents)
		return -ECANCELED;
	loop_take(fds[0].fd);
	return 0;
}

/* Waits for the answer to Ferry's own question: its length, or -errno. */
static int net_ctrl_await(struct net_ctrl *ctrl, uint64_t end_ns)
{
	struct svq *svq = &ctrl->queue->svq;
	struct svq_used used;

	for (;;) {
		int ret;

		svq_disable_calls(svq);
		ret = svq_get_used(svq, &used);
		if (ret < 0)
			return ret;
		if (ret == 1) {
			ctrl->asking = false;
			return (int)used.len;
		}
		if (svq_enable_calls(svq))
			continue;
		ret = net_ctrl_wait(ctrl, end_ns);
		if (ret < 0)
			return ret;
	}
}

int net_ctrl_ask(struct net_ctrl *ctrl, const uint8_t *cmd, uint32_t len, uint64_t end_ns,
		 uint32_t *reply_len, struct error *err)
{
	const struct net_ctrl_place place = { ctrl->ask_offset, ctrl->ask_offset + NET_CTRL_ASK_BYTES,
					      cvq_reply_len(cmd, len, CVQ_MAX_REPLY) };
	char name[CVQ_NAME_MAX];
	int ret;

	assert(!ctrl->busy && len <= NET_CTRL_ASK_BYTES && place.reply_len <= CVQ_MAX_REPLY);
	cvq_describe(cmd, len, name);
	/* The device may still write to the room of the answer. */
	if (ctrl->asking) {
		error_add(err, "the device has not answered %s yet", name);
		return -EBUSY;
	}
	if (net_ctrl_post(ctrl, cmd, len, place, NET_CTRL_TOKEN_ASK) < 0) {
		error_add(err, "the control queue is full");
		return -ENOSPC;
	}
	ctrl->asking = true;
	net_ctrl_publish(ctrl);
	ret = net_ctrl_await(ctrl, end_ns);
	if (ret < 0) {
		error_add(err, "the device did not answer %s: %s", name, strerror(-ret));
		return ret;
	}
	*reply_len = (uint32_t)ret;
	memcpy(ctrl->reply, ctrl->path->window.hva + place.reply, *reply_len);
	if (*reply_len == 0 || ctrl->reply[0] != VIRTIO_NET_OK) {
		error_add(err, "the device refused %s", name);
		return -EIO;
	}
	return 0;
}
