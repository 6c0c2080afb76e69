/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a guest's control command, from its ring to the device and back. */
#include "devices/net/ctrl.h"

#include <errno.h>

#include "devices/virtio/transport.h"

static void net_ctrl_arm(struct net_ctrl *ctrl, unsigned int ms)
{
	loop_timer_arm(&ctrl->timer, end_of((int)ms));
}

void net_ctrl_rearm(struct net_ctrl *ctrl)
{
	if (ctrl->busy)
		net_ctrl_arm(ctrl, ctrl->patience.call);
}

/* Counts how the guest's command has ended, and gives its chain back, with as much of the answer as it has
 * room for. */
static void net_ctrl_answer(struct net_ctrl *ctrl, enum net_ctrl_outcome outcome, const uint8_t *reply,
			    uint32_t len)
{
	const struct vring_chain *chain = &ctrl->chain;
	struct net_queue *q = ctrl->queue;
	uint32_t done = vring_chain_write(ctrl->path->memory, chain, 0, reply, len);

	ctrl->outcomes[outcome]++;
	vring_push(&q->vring, chain->head, done);
	if (vring_publish(&q->vring))
		virtio_pci_notify_queue(ctrl->path->virtio, q->guest_index);
}

static void net_ctrl_answer_ack(struct net_ctrl *ctrl, enum net_ctrl_outcome outcome)
{
	const uint8_t ack = outcome == NET_CTRL_DONE ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

	net_ctrl_answer(ctrl, outcome, &ack, 1);
}

/* Sends the guest's command to the device; the guest is answered at once if there is no place for it. */
static void net_ctrl_forward(struct net_ctrl *ctrl, uint32_t reply_len)
{
	const struct net_ctrl_place place = { ctrl->cmd_offset, ctrl->reply_offset, reply_len };

	ctrl->busy = net_ctrl_post(ctrl, ctrl->cmd, ctrl->cmd_len, place, 0) == 0;
	if (!ctrl->busy) {
		net_ctrl_answer_ack(ctrl, NET_CTRL_REFUSED_HERE);
		return;
	}
	net_ctrl_arm(ctrl, ctrl->patience.call);
	net_ctrl_publish(ctrl);
}

/* Copies the command out of guest memory: its length, or 0 if it is longer than any command. */
static uint32_t net_ctrl_gather(struct net_ctrl *ctrl, const struct vring_chain *chain)
{
	if (chain->read_len > CVQ_MAX_COMMAND)
		return 0;
	return vring_chain_read(ctrl->path->memory, chain, 0, ctrl->cmd, chain->read_len);
}

void net_ctrl_show_status(struct net_ctrl *ctrl)
{
	if (net_space_show(ctrl->space))
		virtio_pci_notify_config(ctrl->path->virtio);
}

void net_ctrl_ask_announce(struct net_ctrl *ctrl)
{
	ctrl->space->announcing = true;
	ctrl->changes++;
	net_ctrl_show_status(ctrl);
}

/* ANNOUNCE_ACK takes the status bit back, which is Ferry's own, or the device's, or both. */
static void net_ctrl_announce_ack(struct net_ctrl *ctrl)
{
	if (ctrl->space->announcing) {
		ctrl->space->announcing = false;
		ctrl->changes++;
		net_ctrl_show_status(ctrl);
		if (!ctrl->space->device_announcing) {
			net_ctrl_answer_ack(ctrl, NET_CTRL_DONE);
			return;
		}
	}
	if (ctrl->space->device_announcing)
		net_ctrl_forward(ctrl, 1);
	else
		net_ctrl_answer_ack(ctrl, NET_CTRL_REFUSED_HERE);
}

static enum cvq_verdict net_ctrl_judge(struct net_ctrl *ctrl, const struct vring_chain *chain,
				       struct error *err)
{
	if (net_path_failed(ctrl->path)) {
		error_add(err, "the NIC has stopped");
		return CVQ_REFUSE;
	}
	if (chain->n_write == 0) {
		error_add(err, "the command has no buffer for an answer");
		return CVQ_REFUSE;
	}
	return cvq_check(&ctrl->limits, ctrl->cmd, &ctrl->cmd_len, err);
}

/* Deals with one command: answers it, or leaves it with the device. */
static void net_ctrl_command(struct net_ctrl *ctrl, const struct vring_chain *chain)
{
	struct error err = { 0 };
	enum cvq_verdict verdict;
	uint32_t reply_len;

	ctrl->chain = *chain;
	ctrl->cmd_len = net_ctrl_gather(ctrl, chain);
	verdict = net_ctrl_judge(ctrl, chain, &err);
	ctrl->pass = verdict == CVQ_PASS;
	switch (verdict) {
	case CVQ_REFUSE:
		log_limited(&ctrl->log_limit, LOG_INFO, "%s: the guest's control command was refused: %s",
			    ctrl->nic, err.text);
		net_ctrl_answer_ack(ctrl, NET_CTRL_REFUSED_HERE);
		break;
	case CVQ_ANNOUNCE_ACK:
		net_ctrl_announce_ack(ctrl);
		break;
	case CVQ_FORWARD:
	case CVQ_PASS:
		reply_len = cvq_reply_len(ctrl->cmd, ctrl->cmd_len, chain->write_len);
		if (reply_len > 0)
			net_ctrl_forward(ctrl, reply_len);
		else
			net_ctrl_answer_ack(ctrl, NET_CTRL_REFUSED_HERE);
		break;
	}
}

/* The most commands that are dealt with before other queues have their turn. */
#define NET_CTRL_BUDGET 64u

/* Takes the next chain. Those that a loaded state calls in flight go first: the guest sent them to the
 * source, and this host's device has not seen them. */
static int net_ctrl_next(struct net_queue *q, struct vring_chain *chain)
{
	int head = vring_next_in_flight(&q->vring, -1);

	return head >= 0 ? vring_reread(&q->vring, (uint16_t)head, chain) : vring_pop(&q->vring, chain);
}

void net_ctrl_run(struct net_ctrl *ctrl)
{
	struct net_queue *q = ctrl->queue;
	struct vring_chain chain;
	unsigned int n = 0;
	int ret = 0;

	/* A NIC that has stopped refuses commands, and so still answers them. */
	if (!q->attached || !ctrl->path->open)
		return;
	while (!ctrl->busy && n < NET_CTRL_BUDGET) {
		ret = net_ctrl_next(q, &chain);
		if (ret < 0 || (ret == 0 && !vring_enable_kicks(&q->vring)))
			break;
		if (ret == 0)
			continue;
		net_ctrl_command(ctrl, &chain);
		n++;
	}
	if (n == NET_CTRL_BUDGET)
		loop_signal(q->kick.fd);
	if (ret < 0)
		net_path_fail(ctrl->path, "control queue: %s", q->vring.broken);
}

/* Records a command that the device has accepted, before the guest sees the ack. */
static void net_ctrl_accepted(struct net_ctrl *ctrl)
{
	if (ctrl->cmd[0] == VIRTIO_NET_CTRL_ANNOUNCE) {
		/* The device has taken its bit back, and need not say so by an interrupt. */
		ctrl->space->device_announcing = false;
		net_ctrl_show_status(ctrl);
		return;
	}
	cvq_remember(&ctrl->store, ctrl->cmd, ctrl->cmd_len);
	ctrl->changes++;
	if (cvq_mac(&ctrl->store))
		net_space_set_mac(ctrl->space, cvq_mac(&ctrl->store));
}

static void net_ctrl_log_refused(struct net_ctrl *ctrl)
{
	char name[CVQ_NAME_MAX];

	cvq_describe(ctrl->cmd, ctrl->cmd_len, name);
	log_limited(&ctrl->log_limit, LOG_INFO, "%s: %s refused the guest's %s", ctrl->nic, ctrl->device,
		    name);
}

/* Answers the guest with what the device has written, @used_len bytes. */
static void net_ctrl_pass_answer(struct net_ctrl *ctrl, uint32_t used_len)
{
	uint64_t types = ctrl->stats.types;
	uint32_t len = used_len;

	/* The device could go on writing, so the answer is read once. */
	memcpy(ctrl->reply, ctrl->path->window.hva + ctrl->reply_offset, len);
	if (len == 0)
		ctrl->reply[len++] = VIRTIO_NET_ERR;
	len = cvq_take_reply(&ctrl->stats, &ctrl->limits, ctrl->cmd, ctrl->cmd_len, ctrl->reply, len);
	ctrl->changes += types != ctrl->stats.types;
	if (len == 1)
		net_ctrl_log_refused(ctrl);
	net_ctrl_answer(ctrl, ctrl->reply[0] == VIRTIO_NET_OK ? NET_CTRL_DONE : NET_CTRL_REFUSED, ctrl->reply,
			len);
}

/* Records or logs what the device says to the guest's command, and answers the guest. */
static void net_ctrl_finish(struct net_ctrl *ctrl, const struct svq_used *used)
{
	uint8_t ack = *(volatile uint8_t *)(ctrl->path->window.hva + ctrl->reply_offset);

	if (ctrl->pass) {
		net_ctrl_pass_answer(ctrl, used->len);
	} else if (ack == VIRTIO_NET_OK) {
		net_ctrl_accepted(ctrl);
		net_ctrl_answer_ack(ctrl, NET_CTRL_DONE);
	} else {
		net_ctrl_log_refused(ctrl);
		net_ctrl_answer_ack(ctrl, NET_CTRL_REFUSED);
	}
}

/* Takes the completion of the guest's command out of the shadow ring, if it is there. */
static void net_ctrl_take_answer(struct net_ctrl *ctrl)
{
	struct svq_used used;
	int ret;

	do {
		svq_disable_calls(&ctrl->queue->svq);
		ret = net_ctrl_get_used(ctrl, &used);
	} while (ret == 0 && svq_enable_calls(&ctrl->queue->svq));
	if (ret == 0)
		return;
	if (ret < 0) {
		net_path_fail(ctrl->path, "control queue: %s", ctrl->queue->svq.broken);
		return;
	}
	loop_timer_stop(&ctrl->timer);
	ctrl->busy = false;
	net_ctrl_finish(ctrl, &used);
}

void net_ctrl_complete(struct net_ctrl *ctrl)
{
	if (ctrl->busy && !net_path_failed(ctrl->path))
		net_ctrl_take_answer(ctrl);
}

void net_ctrl_forget(struct net_ctrl *ctrl)
{
	loop_timer_stop(&ctrl->timer);
	ctrl->busy = false;
	ctrl->asking = false;
	ctrl->device_stats = 0;
}

void net_ctrl_abandon(struct net_ctrl *ctrl)
{
	if (!ctrl->busy)
		return;
	loop_timer_stop(&ctrl->timer);
	ctrl->busy = false;
	loop_signal(ctrl->queue->kick.fd);
}

void net_ctrl_expire(struct net_ctrl *ctrl)
{
	char name[CVQ_NAME_MAX];

	if (!ctrl->busy || !net_path_runs(ctrl->path))
		return;
	cvq_describe(ctrl->cmd, ctrl->cmd_len, name);
	net_path_fail(ctrl->path, "the device did not answer %s within %u s", name,
		      ctrl->patience.call / 1000);
}

void net_ctrl_drain(struct net_ctrl *ctrl)
{
	uint64_t end_ns = end_of(NET_CTRL_ASK_MS);

	for (net_ctrl_complete(ctrl); ctrl->busy && !net_path_failed(ctrl->path); net_ctrl_complete(ctrl)) {
		if (net_ctrl_wait(ctrl, end_ns) < 0)
			return;
	}
}
