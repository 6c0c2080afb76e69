/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults of the device or the driver stop the NIC, at the end of the event that found them. */
#include "devices/net/fault.h"

#include "devices/net/ctrl.h"
#include "devices/net/passthrough.h"

void net_break(struct net *net)
{
	struct error err = { 0 };

	log_limited(&net->stop_limit, LOG_WARN, "%s: stopped until the guest's driver resets it: %s",
		    net->name, net->path.fault);
	net_step(net, NET_STEP_BREAK);
	net->changes++;
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_pass_close_doorbell(&net->queues[i]);
	/* The rings stay until the driver's reset: the guest's control commands are still answered. */
	if (net->backend.started && net_backend_reset(&net->backend, &err) < 0)
		log_limited(&net->log_limit, LOG_ERROR, "%s: cannot reset the device: %s", net->name,
			    err.text);
	virtio_pci_needs_reset(&net->virtio);
	net_ctrl_abandon(&net->ctrl);
}

struct net_thread_call {
	struct net *net;
	int (*fn)(struct net *net, void *arg);
	void *arg;
};

static int net_thread_call(void *arg)
{
	const struct net_thread_call *call = arg;
	int ret = call->fn(call->net, call->arg);

	net_settle(call->net);
	return ret;
}

int net_call(struct net *net, int (*fn)(struct net *net, void *arg), void *arg)
{
	struct net_thread_call call = { .net = net, .fn = fn, .arg = arg };

	return loop_call(&net->loop, net_thread_call, &call);
}
