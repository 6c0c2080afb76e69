/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device statistics over a device's end, that of a migration's source or of a restart: what it has counted is
 * read, and the next device goes on from there. */
#include "devices/net/net_priv.h"

#include <errno.h>
#include <inttypes.h>

/* Asks for every counter that the guest knows of: the answer is in net->ctrl.reply. */
static int net_stats_ask(struct net *net, const uint8_t *cmd, uint32_t len, uint64_t end_ns,
			 uint32_t *reply_len, struct error *err)
{
	return net_ctrl_ask(net, cmd, len, cvq_reply_len(cmd, len, CVQ_MAX_REPLY), end_ns, reply_len, err);
}

/* Without an answer the guest's counters go on from where it saw them last. */
void net_stats_read(struct net *net)
{
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	struct error err = { 0 };
	uint32_t len, reply_len;

	if (!net->ctrl_queue || net_path_failed(&net->path) || net->ctrl.busy)
		return;
	len = cvq_stats_request(&net->stats, &net->limits, cmd);
	if (len == 0)
		return;
	if (net_stats_ask(net, cmd, len, end_of(NET_CTRL_ASK_MS), &reply_len, &err) < 0 ||
	    cvq_take_reply(&net->stats, &net->limits, cmd, len, net->ctrl.reply, reply_len) != reply_len)
		log_limited(&net->log_limit, LOG_WARN,
			    "%s: statistics are carried as the guest read them last: %s", net->name,
			    err.text[0] ? err.text : "the device's answer makes no sense");
}

static int net_stats_query(struct net *net, struct error *err)
{
	static const uint8_t cmd[] = { VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY };
	const uint32_t max = 1 + sizeof(net->device_stats);
	uint32_t len;
	int ret = net_ctrl_ask(net, cmd, sizeof(cmd), max, UINT64_MAX, &len, err);

	if (ret == 0 && len != max)
		ret = error_add(err, -EIO, "the device answered STATS_QUERY with %u bytes", len);
	if (ret == 0)
		net->device_stats = get_le64(net->ctrl.reply + 1);
	return ret;
}

int net_stats_check(struct net *net, struct error *err)
{
	uint64_t missing;
	int ret = 0;

	if (net->stats.types != 0 && net->device_stats == 0)
		ret = net_stats_query(net, err);
	missing = net->stats.types & ~net->device_stats;
	/* Its driver asks for them for ever, and then gets none. */
	if (ret == 0 && missing)
		ret = error_add(err, -ENOTSUP, "the device does not count statistics of types 0x%" PRIx64,
				missing);
	return ret;
}

void net_stats_save(struct net *net, struct state_writer *w)
{
	if (!net->active || net_path_failed(&net->path) || net->stats.types == 0)
		return;
	state_begin(w, "statistics");
	cvq_stats_save(&net->stats, &net->limits, w);
	state_end(w);
}

int net_stats_rebase(struct net *net, uint64_t end_ns, struct error *err)
{
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	uint32_t len = cvq_stats_request(&net->stats, &net->limits, cmd), reply_len;
	int ret;

	if (len == 0)
		return 0;
	ret = net_stats_ask(net, cmd, len, end_ns, &reply_len, err);
	if (ret == 0 && !cvq_stats_rebase(&net->stats, &net->limits, cmd, len, net->ctrl.reply, reply_len))
		ret = error_add(err, -EIO, "its answer to STATS_GET makes no sense");
	return ret;
}

void net_stats_go_on(struct net *net)
{
	struct error err = { 0 };

	/* Until it has answered it is one that counts from 0. */
	memcpy(net->stats.offset, net->stats.shown, sizeof(net->stats.offset));
	if (net_stats_rebase(net, end_of(NET_CTRL_ASK_MS), &err) < 0)
		log_limited(&net->log_limit, LOG_WARN, "%s: statistics may be too high after a restart: %s",
			    net->name, err.text);
}
