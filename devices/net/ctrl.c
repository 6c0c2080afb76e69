/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control queue: a guest's command copied, checked, sent on, recorded and answered. */
#include "devices/net/net_priv.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int net_ctrl_post(struct net *net, const uint8_t *cmd, uint32_t len, struct net_ctrl_place place,
		  uint64_t token)
{
	const struct virtio_seg segs[] = {
		{ net->path.window.iova + place.cmd, len },
		{ net->path.window.iova + place.reply, place.reply_len },
	};

	memcpy(net->path.window.hva + place.cmd, cmd, len);
	/* Neither answer, so that one which the device does not write counts as refused. */
	memset(net->path.window.hva + place.reply, 0xff, place.reply_len);
	return svq_add(&net->ctrl_queue->svq, segs, 1, 1, token);
}

void net_ctrl_publish(struct net *net)
{
	/* For the answers. One can be there already, late: no call will come for it, nor for what follows it.
	 */
	if (svq_enable_calls(&net->ctrl_queue->svq))
		loop_signal(net->ctrl_queue->call.fd);
	if (svq_publish(&net->ctrl_queue->svq))
		net_queue_kick_device(net->ctrl_queue);
}

static void net_ctrl_arm(struct net *net, unsigned int ms)
{
	loop_timer_arm(&net->ctrl.timer, end_of((int)ms));
}

void net_ctrl_rearm(struct net *net)
{
	if (net->ctrl.busy)
		net_ctrl_arm(net, net->patience.call);
}

/* Gives the guest's chain back, with as much of the answer as it has room for. Linux spins until it has it.
 */
static void net_ctrl_answer(struct net *net, const uint8_t *reply, uint32_t len)
{
	const struct vring_chain *chain = &net->ctrl.chain;
	struct net_queue *q = net->ctrl_queue;
	uint32_t done = vring_chain_write(net->path.memory, chain, 0, reply, len);

	vring_push(&q->vring, chain->head, done);
	if (vring_publish(&q->vring))
		virtio_pci_notify_queue(&net->virtio, q->guest_index);
}

static void net_ctrl_answer_ack(struct net *net, uint8_t ack)
{
	net_ctrl_answer(net, &ack, 1);
}

/* Sends the guest's command to the device; it is answered at once if there is no place for it. */
static void net_ctrl_forward(struct net *net, uint32_t reply_len)
{
	const struct net_ctrl_place place = { net->ctrl.cmd_offset, net->ctrl.reply_offset, reply_len };

	net->ctrl.busy = net_ctrl_post(net, net->ctrl.cmd, net->ctrl.cmd_len, place, 0) == 0;
	if (!net->ctrl.busy) {
		net_ctrl_answer_ack(net, VIRTIO_NET_ERR);
		return;
	}
	net_ctrl_arm(net, net->patience.call);
	net_ctrl_publish(net);
}

/* Gathers the readable bytes: their length, or 0 if there are too many. */
static uint32_t net_ctrl_gather(struct net *net, const struct vring_chain *chain)
{
	if (chain->read_len > CVQ_MAX_COMMAND)
		return 0;
	return vring_chain_read(net->path.memory, chain, 0, net->ctrl.cmd, chain->read_len);
}

/* ANNOUNCE_ACK: the bit is Ferry's own, or the device's, or both. */
static void net_ctrl_announce_ack(struct net *net)
{
	if (net->space.announcing) {
		net->space.announcing = false;
		net->changes++;
		net_show_status(net);
		if (!net->space.device_announcing) {
			net_ctrl_answer_ack(net, VIRTIO_NET_OK);
			return;
		}
	}
	if (net->space.device_announcing)
		net_ctrl_forward(net, 1);
	else
		net_ctrl_answer_ack(net, VIRTIO_NET_ERR);
}

static enum cvq_verdict net_ctrl_judge(struct net *net, const struct vring_chain *chain, struct error *err)
{
	if (net_path_failed(&net->path))
		return error_add(err, CVQ_REFUSE, "the NIC has stopped");
	if (chain->n_write == 0)
		return error_add(err, CVQ_REFUSE, "it has nowhere for an answer");
	return cvq_check(&net->limits, net->ctrl.cmd, &net->ctrl.cmd_len, err);
}

/* Deals with one command: answers it, or leaves it with the device. */
static void net_ctrl_command(struct net *net, const struct vring_chain *chain)
{
	struct error err = { 0 };
	enum cvq_verdict verdict;
	uint32_t reply_len;

	net->ctrl.chain = *chain;
	net->ctrl.cmd_len = net_ctrl_gather(net, chain);
	verdict = net_ctrl_judge(net, chain, &err);
	net->ctrl.pass = verdict == CVQ_PASS;
	switch (verdict) {
	case CVQ_REFUSE:
		log_limited(&net->log_limit, LOG_INFO, "%s: the guest's control command was refused: %s",
			    net->name, err.text);
		net_ctrl_answer_ack(net, VIRTIO_NET_ERR);
		break;
	case CVQ_ANNOUNCE_ACK:
		net_ctrl_announce_ack(net);
		break;
	case CVQ_FORWARD:
	case CVQ_PASS:
		reply_len = cvq_reply_len(net->ctrl.cmd, net->ctrl.cmd_len, chain->write_len);
		if (reply_len > 0)
			net_ctrl_forward(net, reply_len);
		else
			net_ctrl_answer_ack(net, VIRTIO_NET_ERR);
		break;
	}
}

/* Commands dealt with before others have their turn. */
#define NET_CTRL_BUDGET 64u

/* The next chain: one that a loaded state calls in flight goes first, since only this host's device has not
 * seen it. */
static int net_ctrl_next(struct net_queue *q, struct vring_chain *chain)
{
	int head = vring_next_in_flight(&q->vring, -1);

	return head >= 0 ? vring_reread(&q->vring, (uint16_t)head, chain) : vring_pop(&q->vring, chain);
}

void net_ctrl_run(struct net *net)
{
	struct net_queue *q = net->ctrl_queue;
	struct vring_chain chain;
	unsigned int n = 0;
	int ret = 0;

	/* Served while the NIC is broken, too: Linux spins until a command is answered. */
	if (!q->attached || !net->path.open)
		return;
	while (!net->ctrl.busy && n < NET_CTRL_BUDGET) {
		ret = net_ctrl_next(q, &chain);
		if (ret < 0 || (ret == 0 && !vring_enable_kicks(&q->vring)))
			break;
		if (ret == 0)
			continue;
		net_ctrl_command(net, &chain);
		n++;
	}
	if (n == NET_CTRL_BUDGET)
		loop_signal(q->kick.fd);
	if (ret < 0)
		net_path_fail(&net->path, "control queue: %s", q->vring.broken);
}

/* What follows from a command that the device has accepted, before the guest sees the ack. */
static void net_ctrl_accepted(struct net *net)
{
	if (net->ctrl.cmd[0] == VIRTIO_NET_CTRL_ANNOUNCE) {
		/* The device has taken its bit back, and need not say so. */
		net->space.device_announcing = false;
		net_show_status(net);
		return;
	}
	cvq_remember(&net->store, net->ctrl.cmd, net->ctrl.cmd_len);
	net->changes++;
	if (cvq_mac(&net->store))
		net_space_set_mac(&net->space, cvq_mac(&net->store));
}

static void net_ctrl_log_refused(struct net *net)
{
	char name[CVQ_NAME_MAX];

	cvq_describe(net->ctrl.cmd, net->ctrl.cmd_len, name);
	log_limited(&net->log_limit, LOG_INFO, "%s: %s refused the guest's %s", net->name, net->vdpa->name,
		    name);
}

/* What the device has written, @used_len bytes of it, to the guest: no more than it had room for. */
static void net_ctrl_pass_answer(struct net *net, uint32_t used_len)
{
	uint64_t types = net->stats.types;
	uint32_t len = used_len;

	/* Once: the device could go on writing. */
	memcpy(net->ctrl.reply, net->path.window.hva + net->ctrl.reply_offset, len);
	if (len == 0)
		net->ctrl.reply[len++] = VIRTIO_NET_ERR;
	len = cvq_take_reply(&net->stats, &net->limits, net->ctrl.cmd, net->ctrl.cmd_len, net->ctrl.reply,
			     len);
	net->changes += types != net->stats.types;
	if (len == 1)
		net_ctrl_log_refused(net);
	net_ctrl_answer(net, net->ctrl.reply, len);
}

/* Records what the device has accepted; tells what it has refused. */
static void net_ctrl_finish(struct net *net, const struct svq_used *used)
{
	uint8_t ack = *(volatile uint8_t *)(net->path.window.hva + net->ctrl.reply_offset);

	if (net->ctrl.pass) {
		net_ctrl_pass_answer(net, used->len);
	} else if (ack == VIRTIO_NET_OK) {
		net_ctrl_accepted(net);
		net_ctrl_answer_ack(net, VIRTIO_NET_OK);
	} else {
		net_ctrl_log_refused(net);
		net_ctrl_answer_ack(net, VIRTIO_NET_ERR);
	}
}

int net_ctrl_get_used(struct net *net, struct svq_used *used)
{
	int ret;

	while ((ret = svq_get_used(&net->ctrl_queue->svq, used)) == 1 && used->token == NET_CTRL_TOKEN_ASK)
		net->ctrl.asking = false;
	return ret;
}

/* Takes the completion of the guest's command, if it is there. */
static void net_ctrl_take_answer(struct net *net)
{
	struct svq_used used;
	int ret;

	do {
		svq_disable_calls(&net->ctrl_queue->svq);
		ret = net_ctrl_get_used(net, &used);
	} while (ret == 0 && svq_enable_calls(&net->ctrl_queue->svq));
	if (ret == 0)
		return;
	if (ret < 0) {
		net_path_fail(&net->path, "control queue: %s", net->ctrl_queue->svq.broken);
		return;
	}
	loop_timer_stop(&net->ctrl.timer);
	net->ctrl.busy = false;
	net_ctrl_finish(net, &used);
}

void net_ctrl_complete(struct net *net)
{
	if (net->ctrl.busy && !net_path_failed(&net->path))
		net_ctrl_take_answer(net);
}

void net_ctrl_kicked(struct loop_source *src, uint32_t events)
{
	struct net_queue *q = container_of(src, struct net_queue, kick);

	if (!loop_take(src->fd))
		return;
	net_ctrl_run(net_of(q));
	net_settle(net_of(q));
}

void net_ctrl_called(struct loop_source *src, uint32_t events)
{
	struct net_queue *q = container_of(src, struct net_queue, call);

	if (!loop_take(src->fd) || !net_path_runs(q->path))
		return;
	net_ctrl_complete(net_of(q));
	net_ctrl_run(net_of(q));
	net_settle(net_of(q));
}

void net_ctrl_abandon(struct net *net)
{
	if (!net->ctrl.busy)
		return;
	loop_timer_stop(&net->ctrl.timer);
	net->ctrl.busy = false;
	/* Its chain is found again, and refused. */
	loop_signal(net->ctrl_queue->kick.fd);
}

void net_ctrl_timed_out(struct loop_timer *timer)
{
	struct net *net = container_of(timer, struct net, ctrl.timer);
	char name[CVQ_NAME_MAX];

	if (!net->ctrl.busy || !net_path_runs(&net->path))
		return;
	cvq_describe(net->ctrl.cmd, net->ctrl.cmd_len, name);
	net_path_fail(&net->path, "the device did not answer %s within %u s", name,
		      net->patience.call / 1000);
	net_settle(net);
}

const struct net_patience net_patience = {
	.call = 10000,
	.still = 1000,
	/* Half of what a source waits for an answer, and half of what it waits with its guest stopped: so
	 * that it learns the reason. */
	.warm = 30000,
	.load = 5000,
};

void net_ctrl_limit(struct net *net, unsigned int ms)
{
	net->ctrl.end_ns = end_of((int)ms);
}

int net_ctrl_wait(struct net *net, uint64_t end_ns)
{
	struct pollfd fds[] = {
		{ .fd = net->ctrl_queue->call.fd, .events = POLLIN },
		{ .fd = net->vm->stop_fd, .events = POLLIN },
	};
	int n;

	end_ns = min_u64(end_ns, net->ctrl.end_ns);
	/* Also where a call is there: one that comes without an answer is no answer. */
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

void net_ctrl_drain(struct net *net)
{
	uint64_t end_ns = end_of(NET_CTRL_ASK_MS);

	for (net_ctrl_complete(net); net->ctrl.busy && !net_path_failed(&net->path); net_ctrl_complete(net)) {
		if (net_ctrl_wait(net, end_ns) < 0)
			return;
	}
}
