/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has become of a guest with a NIC: see the header. */
#define _GNU_SOURCE
#include "tests/fault/nic_judge.h"

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* How long something may take that comes: longer than a machine with other things to do stands still. */
#define NIC_PATIENCE_MS 30000
/* What a guest does before it is looked at. */
#define NIC_STEPS   20u
#define NIC_PACKETS 5u

void nic_is_wrong(struct nic_migration *m, const char *format, ...)
{
	va_list args;

	if (m->result->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(m->result->wrong, sizeof(m->result->wrong), format, args);
	va_end(args);
}

bool nic_wait(struct nic_guest *g, bool (*done)(struct nic_guest *g))
{
	uint64_t end_ns = end_of(NIC_PATIENCE_MS);

	while (!done(g)) {
		if (now_ns() >= end_ns)
			return false;
		poll(NULL, 0, 2);
	}
	return true;
}

bool nic_filters(const struct nic_kind *kind)
{
	return kind->act == NIC_ACT_COMMANDS &&
	       (kind->family == NIC_RX || kind->family == NIC_RX_EXTRA || kind->family == NIC_MAC_ADDR ||
		kind->family == NIC_MAC_TABLE);
}

/* Whether the device in front of @here may have failed the guest, who then may lose packets and have to begin
 * anew. */
static bool nic_has_failed(const struct nic_migration *m, const struct nic_host *here)
{
	switch (m->kind->act) {
	case NIC_ACT_GONE_HERE:
	case NIC_ACT_CALL_HERE:
		return true;
	case NIC_ACT_GONE_THERE:
	case NIC_ACT_CALL_THERE:
		return here == &m->destination;
	default:
		return false;
	}
}

/* Whether the guest's driver begins anew by itself. */
static bool nic_begins_anew(const struct nic_kind *kind)
{
	return kind->act == NIC_ACT_RESET || kind->act == NIC_ACT_REBIND;
}

static void nic_settle_device(struct nic_host *h)
{
	struct error err = { 0 };
	uint8_t status;

	for (unsigned int i = 0; i < 6; i++) {
		int ret = h->device->soft->ops->get_status(h->device->soft, &status, &err);

		(void)ret;
		net_guest_settle(&h->net);
	}
}

static void nic_check_packets(struct nic_migration *m, struct nic_host *here)
{
	const struct nic_guest *g = &m->guest;
	uint64_t end_ns = end_of(NIC_PATIENCE_MS);
	struct nic_count count;

	m->net.sends = false;
	m->guest.quiet = true;
	if (!nic_wait(&m->guest, nic_guest_sent_all))
		nic_is_wrong(m, "of %u and %u packets of the guest %u and %u have come", g->sent[0],
			     g->sent[1], m->net.seen[0], m->net.seen[1]);
	do {
		count = nic_net_count(&m->net, m->first > m->net.excused ? m->first : m->net.excused);
		poll(NULL, 0, count.n_lost ? 5 : 0);
	} while (count.n_lost && now_ns() < end_ns);
	m->result->n_left = count.n_left;
	if (count.n_lost)
		nic_is_wrong(m, "of %u packets to the guest %u are lost, from %u to %u; port learned at %u",
			     m->net.next, count.n_lost, count.first, count.last,
			     m->net.learned[m->net.n_learned - 1]);
	if (count.max > 1)
		nic_is_wrong(m, "a packet to the guest comes twice");
	if (m->net.n_lost && !nic_has_failed(m, here) && !nic_begins_anew(m->kind))
		nic_is_wrong(m, "%u packets of the guest are lost", m->net.n_lost);
	if (m->net.n_wrong)
		nic_is_wrong(m, "a packet has another content");
}

static void nic_check_device(struct nic_migration *m, struct nic_host *here)
{
	const char *diff;

	gate_pause(&here->vm->gate);
	nic_settle_device(here);
	diff = nic_device_diff(here->device, &m->guest.model);
	if (diff)
		nic_is_wrong(m, "the device has other %s than the guest", diff);
	gate_resume(&here->vm->gate);
}

static void nic_check_disk(struct nic_migration *m)
{
	struct nic_disk *d = &m->guest.disk;
	uint32_t number;
	int sector;

	d->quiet = true;
	if (!nic_wait(&m->guest, nic_guest_stored_all)) {
		nic_is_wrong(m, "a write to the disk is not answered");
		return;
	}
	sector = nic_disk_diff(d, &number);
	if (sector >= 0)
		nic_is_wrong(m, "sector %d of the disk has write %u, the guest knows of %u", sector, number,
			     d->acknowledged[sector]);
	if (d->wrong)
		nic_is_wrong(m, "%s", d->wrong);
	d->quiet = false;
}

static bool nic_has_started(struct nic_guest *g)
{
	return nic_guest_done(g) && !g->dead;
}

/* A guest whose device has failed it begins anew on one that is well; always on one that was gone, for none
 * comes back as it was. */
static void nic_recover(struct nic_migration *m, struct nic_host *here)
{
	bool was_gone = m->kind->act == NIC_ACT_GONE_HERE || m->kind->act == NIC_ACT_GONE_THERE;

	m->guest.quiet = true;
	poll(NULL, 0, 100);
	if (was_gone || !nic_has_started(&m->guest) || !nic_guest_sent_all(&m->guest)) {
		m->result->n_rebinds++;
		m->guest.rebinds = true;
		if (!nic_wait(&m->guest, nic_has_started))
			nic_is_wrong(m, "the NIC does not work after its driver's reset");
	}
	m->first = m->net.next;
}

/* Waits until the guest is there, and has sent and received some packets. */
static void nic_wait_for_packets(struct nic_migration *m, const struct nic_host *here)
{
	uint64_t end_ns = end_of(NIC_PATIENCE_MS);
	uint32_t next = m->net.next;

	m->guest.quiet = false;
	m->net.sends = true;
	while (m->guest.runs_in != &here->net || m->guest.n_steps < NIC_STEPS ||
	       m->net.next - next < NIC_PACKETS || m->net.excused == UINT32_MAX) {
		if (now_ns() >= end_ns) {
			nic_is_wrong(m, "no packet comes to the guest");
			return;
		}
		poll(NULL, 0, 2);
	}
}

/* All that the guest had it has, and its NIC works. */
static void nic_check(struct nic_migration *m, struct nic_host *here)
{
	struct nic_guest *g = &m->guest;

	nic_device_heal(here->device);
	if (nic_has_failed(m, here))
		nic_recover(m, here);
	if (!nic_wait(g, nic_guest_done))
		nic_is_wrong(m, "a command is not answered");
	if (g->dead)
		nic_is_wrong(m, "the device asks for a reset");
	if (nic_filters(m->kind)) {
		nic_check_device(m, here);
		g->open = true;
		if (!nic_wait(g, nic_guest_done))
			nic_is_wrong(m, "a command is not answered");
		m->first = m->net.next;
	}
	nic_wait_for_packets(m, here);
	if (!m->result->wrong[0])
		nic_check_packets(m, here);
	if (!m->result->wrong[0])
		nic_check_device(m, here);
	nic_check_disk(m);
	if (g->wrong)
		nic_is_wrong(m, "%s", g->wrong);
	g->quiet = false;
	m->net.sends = true;
}

/* A migration that works, to prove that what went before has left no trace. */
static void nic_retry(struct nic_migration *m)
{
	struct error err = { 0 };
	int pair[2], ret;

	ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	assert(ret == 0);
	(void)ret;
	nic_host_init(&m->second, NIC_DESTINATION, &m->guest, &m->config, m->random);
	nic_host_receive(&m->second, pair[1], -1);
	if (nic_host_migrate(&m->source, pair[0], -1, &err) != SOURCE_MOVED)
		nic_is_wrong(m, "the retry does not move the guest: %s", err.text);
	nic_host_join(&m->second);
	if (m->second.result < 0)
		nic_is_wrong(m, "after the retry the guest runs nowhere");
	if (!m->result->wrong[0])
		nic_check(m, &m->second);
}

static void nic_judge_stayed(struct nic_migration *m)
{
	if (m->destination.result == 0)
		nic_is_wrong(m, "the guest runs twice");
	/* A reset pauses the guest, too. */
	if (m->kind->act == NIC_ACT_RESET && !nic_wait(&m->guest, nic_guest_done))
		nic_is_wrong(m, "the guest does not begin anew");
	if (nic_host_is_paused(&m->source))
		nic_is_wrong(m, "a migration that failed leaves the guest paused");
	if (!m->result->reason[0])
		nic_is_wrong(m, "a migration that failed has no reason");
	if (m->kind->reason && !strstr(m->result->reason, m->kind->reason))
		nic_is_wrong(m, "another reason");
	if (!m->result->wrong[0])
		nic_check(m, &m->source);
	if (m->net.n_twice)
		nic_is_wrong(m, "a packet of the guest goes out twice");
	if (!m->result->wrong[0])
		nic_retry(m);
}

enum nic_outcome nic_judge(struct nic_migration *m, enum source_result result)
{
	struct error err = { 0 };

	/* It would wait for another source. */
	if (result == SOURCE_FAILED)
		eventfd_write(m->leave_fd, 1);
	nic_host_join(&m->destination);
	if (result == SOURCE_FAILED) {
		nic_judge_stayed(m);
		return NIC_STAYED;
	}
	if (!nic_host_is_paused(&m->source))
		nic_is_wrong(m, "the source goes on after COMMIT");
	if (result == SOURCE_UNKNOWN && m->destination.result < 0) {
		if (source_resume(m->source.vm, &err) < 0)
			nic_is_wrong(m, "the guest cannot go on at the source on the operator's word");
		nic_judge_stayed(m);
		return NIC_RESUMED;
	}
	if (m->destination.result < 0)
		nic_is_wrong(m, "the guest runs nowhere");
	/* The last look at a device is when the guest's state has come. */
	if (m->kind->act == NIC_ACT_GONE_THERE && m->near.reached &&
	    (m->near.type < STREAM_STATE || m->near.type == STREAM_BOOT))
		nic_is_wrong(m, "the guest has gone to a device that was gone");
	if (!m->result->wrong[0])
		nic_check(m, &m->destination);
	return result == SOURCE_MOVED ? NIC_MOVED : NIC_RAN_THERE;
}
