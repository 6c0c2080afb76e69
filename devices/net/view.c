/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of a NIC's state, and the way in which other threads get one. */
#include "devices/net/view.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/net/mode.h"
#include "devices/net/passthrough.h"

/* Views at a time that nobody waits for any more: a NIC with so many answers nobody. */
#define NET_MAX_VIEWS 4u

/* Says in the log's words why the NIC serves the rings itself, NULL where nothing is to be said. */
static const char *net_view_reason(const struct net *net)
{
	const char *misfit;

	if (net->phase == NET_PHASE_BROKEN)
		return net->path.fault;
	if (net->pins & NET_PIN_DEVICE)
		return net->obstacle;
	if (net->phase == NET_PHASE_OFF || net->phase == NET_PHASE_PASS)
		return NULL;
	if (net->pins & NET_PIN_MIGRATION || net->phase != NET_PHASE_SHADOW)
		return "a migration has to know which memory is written";
	misfit = net_pass_misfit(net->backend.vdpa, net->path.features);
	if (misfit)
		return misfit;
	if (net->pins & NET_PIN_DRIVER)
		return net->stays;
	return net_can_pass(net) ? "until the device has nothing in flight out of order"
				 : "the driver has not enabled all of its queues";
}

static void net_view_queue(struct net_queue_view *v, const struct net_queue *q, enum net_phase phase)
{
	*v = (struct net_queue_view){ .counts = q->counts };
	if (q->held)
		v->guest_size = q->vring.setup.size;
	if (phase != NET_PHASE_OFF)
		v->device_size = q->svq.size;
}

static void net_view_queues(struct net_view *v, struct net *net)
{
	struct net_queue *q;

	if (net->phase == NET_PHASE_OFF)
		return;
	while ((q = net_nth_queue(net, v->n_queues)))
		net_view_queue(&v->queues[v->n_queues++], q, net->phase);
}

/* On the NIC's thread. */
static int net_view_take(void *arg)
{
	struct net_view *v = arg;
	struct net *net = v->net;
	const char *why = net_view_reason(net);

	v->phase = net->phase;
	snprintf(v->why, sizeof(v->why), "%s", why ? why : "");
	v->features = net->phase != NET_PHASE_OFF ? net->path.features : 0;
	v->offered = net->offered;
	memcpy(v->config, net->space.bytes, sizeof(v->config));
	v->link_up = net->space.link_up;
	v->asked_to_announce = net->space.announcing;
	v->announcements = net->announce.by_guest ? 0 : net->announce.n_left;
	v->n_pairs = net->max_pairs;
	v->n_data = net->path.n_data;
	v->has_ctrl = net->ctrl.queue;
	memcpy(v->outcomes, net->ctrl.outcomes, sizeof(v->outcomes));
	net_view_queues(v, net);
	if (v->of != NET_VIEW_ALL)
		return 0;
	v->limits = net->ctrl.limits;
	v->store = net->ctrl.store;
	v->stats = net->ctrl.stats;
	return 0;
}

/* Frees the calls among those that nobody waits for that the loop is done with; returns how many are left. */
static unsigned int net_views_reap(struct net *net)
{
	unsigned int n = 0;

	for (struct net_left_call **at = &net->left; *at;) {
		struct net_left_call *left = *at;

		if (!loop_wait_until(&net->loop, &left->call, 0)) {
			at = &left->next;
			n++;
			continue;
		}
		*at = left->next;
		net_view_free(container_of(left, struct net_view, left));
	}
	return n;
}

static unsigned int net_views_left(struct net *net)
{
	unsigned int n;

	pthread_mutex_lock(&net->left_lock);
	n = net_views_reap(net);
	pthread_mutex_unlock(&net->left_lock);
	return n;
}

static void net_view_leave(struct net_view *v)
{
	struct net *net = v->net;

	pthread_mutex_lock(&net->left_lock);
	v->left.next = net->left;
	net->left = &v->left;
	pthread_mutex_unlock(&net->left_lock);
}

struct net_view *net_view_ask(struct net *net, enum net_view_of of, uint64_t until_ns, struct error *err)
{
	struct net_view *v = net_views_left(net) < NET_MAX_VIEWS ? calloc(1, sizeof(*v)) : NULL;

	if (!v) {
		error_add(err, "%s: its thread does not answer, or memory is short", net->name);
		return NULL;
	}
	v->net = net;
	v->of = of;
	loop_post(&net->loop, &v->left.call, net_view_take, v);
	if (loop_wait_until(&net->loop, &v->left.call, until_ns))
		return v;
	net_view_leave(v);
	error_add(err, "%s: its thread does not answer: it waits for the device", net->name);
	return NULL;
}

void net_view_free(struct net_view *v)
{
	free(v);
}

void net_views_exit(struct net *net)
{
	unsigned int n = net_views_reap(net);

	assert(n == 0 && "end the loop first");
	(void)n;
	pthread_mutex_destroy(&net->left_lock);
}
