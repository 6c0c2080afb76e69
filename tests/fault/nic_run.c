/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One migration of a guest with a NIC that meets a fault: see the header. */
#define _GNU_SOURCE
#include "tests/fault/nic_run.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/nic_judge.h"
#include "tests/fault/nic_random.h"

/* Frames of a migration of such a guest, at most: where a fault may be. */
#define NIC_FRAMES_THERE 40u
#define NIC_FRAMES_BACK  8u
#define NIC_MAX_COMMANDS 8u

static uint64_t nic_draw(struct nic_migration *m, uint64_t n)
{
	return nic_random(&m->random) % n;
}

/* The beginning */

static void nic_plan(struct nic_migration *m)
{
	static const uint64_t whims[] = { VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX),
					  VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC),
					  VIRTIO_BIT(VIRTIO_F_RING_PACKED), VIRTIO_BIT(VIRTIO_F_IN_ORDER) };

	m->config = (struct net_config){ .mode = nic_draw(m, 2) ? NET_SHADOW : NET_AUTO,
					 .split_only = nic_draw(m, 2),
					 .any_order = nic_draw(m, 2) };
	/* Suspending is for devices that have the guest's rings. */
	if (m->kind->act == NIC_ACT_SUSPEND || m->kind->act == NIC_ACT_BASE)
		m->config = (struct net_config){ .mode = NET_AUTO, .split_only = true };
	m->guest.features = UINT64_MAX;
	for (unsigned int i = 0; i < ARRAY_SIZE(whims); i++)
		m->guest.features &= nic_draw(m, 3) ? UINT64_MAX : ~whims[i];
}

static bool nic_begin(struct nic_migration *m)
{
	nic_net_init(&m->net);
	m->guest.net = &m->net;
	m->guest.random = nic_random(&m->random);
	m->guest.family = NIC_N_FAMILIES;
	m->guest.no_filters = !nic_filters(m->kind);
	m->guest.n_wanted = (unsigned int)nic_draw(m, 12);
	nic_disk_init(&m->guest.disk);
	nic_host_init(&m->source, NIC_SOURCE, &m->guest, &m->config, m->random);
	gate_resume(&m->source.vm->gate);
	if (!nic_wait(&m->guest, nic_guest_done) || m->guest.dead)
		return false;
	m->net.sends = true;
	poll(NULL, 0, (int)nic_draw(m, 30));
	return true;
}

/* The fault */

static void nic_misbehave(struct nic_host *h, struct soft_faults faults)
{
	soft_vdpa_misbehave(h->device->soft, &faults);
}

/* On the link's thread, at the instant. */
static void nic_act(void *opaque)
{
	struct nic_migration *m = opaque;

	switch (m->kind->act) {
	case NIC_ACT_COMMANDS:
		m->guest.family = m->kind->family;
		m->guest.n_wanted += 1 + (unsigned int)nic_draw(m, NIC_MAX_COMMANDS);
		if (m->kind->family == NIC_ANNOUNCE)
			soft_vdpa_announce(m->source.device->soft);
		break;
	case NIC_ACT_RESET:
		m->guest.resets = true;
		break;
	case NIC_ACT_REBIND:
		m->guest.rebinds = true;
		break;
	case NIC_ACT_GONE_HERE:
		nic_misbehave(&m->source, (struct soft_faults){ .gone = true });
		break;
	case NIC_ACT_GONE_THERE:
		nic_misbehave(&m->destination, (struct soft_faults){ .gone = true });
		break;
	default:
		break;
	}
	/* It may happen before the frame goes on. */
	poll(NULL, 0, (int)nic_draw(m, 3));
}

/* What is so from the beginning of the migration. */
static void nic_prepare(struct nic_migration *m)
{
	unsigned int n = 1 + (unsigned int)nic_draw(m, 30), ms = 1 + (unsigned int)nic_draw(m, 40);

	switch (m->kind->act) {
	case NIC_ACT_SLOW_HERE:
		m->source.device->max_ms = ms;
		nic_misbehave(&m->source, (struct soft_faults){ .delay_ms = 2 * ms });
		break;
	case NIC_ACT_SLOW_THERE:
		m->destination.device->max_ms = ms;
		nic_misbehave(&m->destination, (struct soft_faults){ .delay_ms = 2 * ms });
		break;
	case NIC_ACT_REFUSES:
		nic_misbehave(&m->destination, (struct soft_faults){ .refuse_nth = 1 + n % 12 });
		break;
	case NIC_ACT_CALL_HERE:
		m->source.device->fails[NIC_CALL_ANY] = n;
		break;
	case NIC_ACT_CALL_THERE:
		m->destination.device->fails[NIC_CALL_ANY] = 2 * n;
		break;
	case NIC_ACT_SUSPEND:
		m->source.device->fails[NIC_CALL_SUSPEND] = 1;
		break;
	case NIC_ACT_BASE:
		m->source.device->fails[NIC_CALL_BASE] = 1 + n % 4;
		break;
	default:
		break;
	}
}

static void nic_cancel(void *opaque)
{
	struct nic_migration *m = opaque;

	eventfd_write(m->cancel_fd, 1);
}

static void nic_place(struct nic_migration *m, struct link *l)
{
	if (nic_draw(m, 2))
		l->at_type = (int)nic_draw(m, STREAM_N_TYPES - 1) + 1;
	l->way = nic_draw(m, 4) ? LINK_THERE : LINK_BACK;
	l->frame = (unsigned int)nic_draw(m, l->way == LINK_THERE ? NIC_FRAMES_THERE : NIC_FRAMES_BACK);
	l->place = nic_random(&m->random) >> 1;
	l->ms = (unsigned int)nic_draw(m, 100);
	l->opaque = m;
}

/* Two lines one behind the other: on the near one the guest or a device acts, the far one has a fault of its
 * own. */
static void nic_plan_line(struct nic_migration *m)
{
	static const enum link_fault faults[] = { LINK_WELL, LINK_CUT, LINK_STALL, LINK_CALL };
	bool plain = m->kind->reason || nic_draw(m, 2);

	nic_place(m, &m->near);
	nic_place(m, &m->far);
	m->near.fault = LINK_CALL;
	m->near.act = nic_act;
	m->far.fault = plain ? LINK_WELL : faults[nic_draw(m, ARRAY_SIZE(faults))];
	m->far.act = nic_cancel;
	m->result->line = m->far.fault;
}

static void nic_pair(int pair[2])
{
	int ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	(void)ret;
}

static enum source_result nic_move(struct nic_migration *m, struct error *err)
{
	int source[2], between[2], destination[2];

	nic_pair(source);
	nic_pair(between);
	nic_pair(destination);
	nic_plan_line(m);
	nic_host_init(&m->destination, NIC_DESTINATION, &m->guest, &m->config, m->random);
	nic_prepare(m);
	nic_host_receive(&m->destination, destination[1], m->leave_fd);
	link_start(&m->far, between[1], destination[0]);
	link_start(&m->near, source[1], between[0]);
	return nic_host_migrate(&m->source, source[0], m->cancel_fd, err);
}

static void nic_end(struct nic_migration *m)
{
	link_join(&m->near);
	link_join(&m->far);
	nic_host_exit(&m->source);
	nic_host_exit(&m->destination);
	if (m->second.vm)
		nic_host_exit(&m->second);
	nic_disk_exit(&m->guest.disk);
	nic_net_exit(&m->net);
	close(m->cancel_fd);
	close(m->leave_fd);
}

static void nic_tell(struct nic_migration *m)
{
	struct nic_result *r = m->result;

	r->reached = m->near.reached || m->kind->act >= NIC_ACT_SLOW_HERE;
	r->at = m->near.type;
	r->n_twice = m->net.n_twice;
	for (uint32_t i = 0; i < m->net.next; i++)
		r->n_got += m->net.got[i];
	r->n_sent = m->net.seen[0] + m->net.seen[1];
	r->n_ok = m->guest.n_ok;
	r->n_refused = m->guest.n_refused;
	r->n_stored = m->guest.disk.n_written;
}

void nic_run(const struct nic_kind *kind, uint64_t seed, struct nic_result *result)
{
	static struct nic_migration m;
	enum source_result moved;
	struct error err = { 0 };

	m = (struct nic_migration){ .kind = kind, .result = result, .random = seed };
	m.cancel_fd = eventfd(0, EFD_CLOEXEC);
	m.leave_fd = eventfd(0, EFD_CLOEXEC);
	nic_plan(&m);
	if (!nic_begin(&m)) {
		nic_is_wrong(&m, "the guest does not start");
		return;
	}
	moved = nic_move(&m, &err);
	snprintf(result->reason, sizeof(result->reason), "%s", err.text);
	result->outcome = nic_judge(&m, moved);
	nic_tell(&m);
	nic_end(&m);
	result->ended = true;
}
