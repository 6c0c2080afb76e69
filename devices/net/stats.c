/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The counters of a device that ends, and of the one that follows it. */
#include "devices/net/stats.h"

#include <errno.h>
#include <inttypes.h>

/* Without an answer the guest's counters go on from where the guest saw them last. */
void net_stats_read(struct net_ctrl *ctrl)
{
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	struct error err = { 0 };
	uint32_t len, reply_len;

	if (!ctrl->queue || net_path_failed(ctrl->path) || ctrl->busy)
		return;
	len = cvq_stats_request(&ctrl->stats, &ctrl->limits, cmd);
	if (len == 0)
		return;
	if (net_ctrl_ask(ctrl, cmd, len, end_of(NET_CTRL_ASK_MS), &reply_len, &err) < 0 ||
	    cvq_take_reply(&ctrl->stats, &ctrl->limits, cmd, len, ctrl->reply, reply_len) != reply_len)
		log_limited(&ctrl->log_limit, LOG_WARN,
			    "%s: statistics are carried as the guest read them last: %s", ctrl->nic,
			    err.text[0] ? err.text : "the device's answer makes no sense");
}

static int net_stats_query(struct net_ctrl *ctrl, struct error *err)
{
	static const uint8_t cmd[] = { VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY };
	const uint32_t max = 1 + sizeof(ctrl->device_stats);
	uint32_t len;
	int ret = net_ctrl_ask(ctrl, cmd, sizeof(cmd), UINT64_MAX, &len, err);

	if (ret == 0 && len != max) {
		error_add(err, "the device answered STATS_QUERY with %u bytes", len);
		ret = -EIO;
	}
	if (ret == 0)
		ctrl->device_stats = get_le64(ctrl->reply + 1);
	return ret;
}

int net_stats_check(struct net_ctrl *ctrl, struct error *err)
{
	uint64_t missing;
	int ret = 0;

	if (ctrl->stats.types != 0 && ctrl->device_stats == 0)
		ret = net_stats_query(ctrl, err);
	missing = ctrl->stats.types & ~ctrl->device_stats;
	/* The guest's driver would ask for them for ever, and get none. */
	if (ret == 0 && missing) {
		error_add(err, "the device does not count statistics of types 0x%" PRIx64, missing);
		ret = -ENOTSUP;
	}
	return ret;
}

void net_stats_save(struct net_ctrl *ctrl, struct state_writer *w)
{
	if (ctrl->stats.types == 0)
		return;
	state_begin(w, "statistics");
	cvq_stats_save(&ctrl->stats, &ctrl->limits, w);
	state_end(w);
}

int net_stats_rebase(struct net_ctrl *ctrl, uint64_t end_ns, struct error *err)
{
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	uint32_t len = cvq_stats_request(&ctrl->stats, &ctrl->limits, cmd), reply_len;
	int ret;

	if (len == 0)
		return 0;
	ret = net_ctrl_ask(ctrl, cmd, len, end_ns, &reply_len, err);
	if (ret == 0 && !cvq_stats_rebase(&ctrl->stats, &ctrl->limits, cmd, len, ctrl->reply, reply_len)) {
		error_add(err, "the device's answer to STATS_GET makes no sense");
		ret = -EIO;
	}
	return ret;
}

void net_stats_go_on(struct net_ctrl *ctrl)
{
	struct error err = { 0 };

	/* Until the device has answered, it is taken for one that counts from 0. */
	memcpy(ctrl->stats.offset, ctrl->stats.shown, sizeof(ctrl->stats.offset));
	if (net_stats_rebase(ctrl, end_of(NET_CTRL_ASK_MS), &err) < 0)
		log_limited(&ctrl->log_limit, LOG_WARN, "%s: statistics may be too high after a restart: %s",
			    ctrl->nic, err.text);
}
