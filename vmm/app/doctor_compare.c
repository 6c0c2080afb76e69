/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The comparison that a destination would make, as far as hosts can be compared without a guest. */
#include "vmm/app/doctor_compare.h"

#include <inttypes.h>

#include "devices/net/features.h"
#include "migration/clock.h"

/* A clock beyond this many microseconds would not fit into nanoseconds of 64 bits. */
#define DOCTOR_CLOCK_MAX_US (UINT64_MAX / 1000u)

static void doctor_compare_version(struct host_report *r, const struct host_facts *theirs, const char *host)
{
	const struct host_facts *ours = &r->facts;

	if (theirs->stream_oldest <= ours->stream_newest && ours->stream_oldest <= theirs->stream_newest)
		host_report_add(r, HOST_OK, "peer version", "", "Ferry %s, which speaks this one's protocol",
				theirs->version);
	else
		host_report_add(
			r, HOST_FAIL, "peer version", "install neighbouring versions",
			"%s has Ferry %s: it speaks versions %u to %u of the protocol, this one %u to %u",
			host, theirs->version, theirs->stream_oldest, theirs->stream_newest,
			ours->stream_oldest, ours->stream_newest);
}

static void doctor_compare_cpu(struct host_report *r, const struct host_facts *theirs, const char *host)
{
	const struct host_facts *ours = &r->facts;
	uint64_t missing =
		ours->cpu.arch_capabilities & ~theirs->cpu.arch_capabilities & ~CPUID_ARCH_CAP_INVERTED;
	struct error err = { 0 };

	if (!ours->has_cpu || !theirs->has_cpu) {
		host_report_add(
			r, HOST_WARN, "peer cpu", "compare what \"ferry cpu\" prints on both",
			"the CPUs cannot be compared: %s does not say what it has, or says it in words "
			"that this Ferry does not know",
			ours->has_cpu ? host : "this host");
		return;
	}
	if (cpuid_compare(&theirs->cpu, &ours->cpu, &err) == 0 && !missing) {
		host_report_add(r, HOST_OK, "peer cpu", "", "its CPUs have all that a guest gets here");
		return;
	}
	if (missing)
		error_add(&err, "bits 0x%" PRIx64 " of MSR ARCH_CAPABILITIES are missing on this host",
			  missing);
	host_report_add(r, HOST_FAIL, "peer cpu",
			"start guests with what both have in common: ferry run --cpu baseline=FILE, made by "
			"\"ferry cpu\"",
			"%s would say: %s", host, err.text);
}

static void doctor_compare_memory(struct host_report *r, const struct host_facts *theirs, const char *host,
				  uint64_t mem)
{
	bool fits = theirs->mem_available >= mem;

	host_report_add(r, fits ? HOST_OK : HOST_FAIL, "peer memory", "",
			"%" PRIu64 " MiB are available%s%s%s, a guest has %" PRIu64 " MiB",
			theirs->mem_available >> 20, fits ? "" : " at ", fits ? "" : host,
			fits ? "" : " alone", mem >> 20);
}

static void doctor_compare_clock(struct host_report *r, const struct host_facts *theirs, const char *host,
				 const struct host_moments *moments)
{
	uint64_t us = min_u64(theirs->clock_us, DOCTOR_CLOCK_MAX_US);
	struct clock_skew skew = clock_compare(us * 1000u, moments->from_us * 1000u, moments->to_us * 1000u);
	enum host_state state = HOST_OK;
	char text[CLOCK_TEXT_MAX];

	if (skew.ns > CONFIG_CLOCK_SKEW * UINT64_C(1000000000))
		state = HOST_FAIL;
	else if (skew.ns > CLOCK_NOTICED_NS)
		state = HOST_WARN;
	if (state == HOST_OK)
		host_report_add(
			r, state, "peer clock", "",
			"no more than a second from this host's, as far as that can be seen over ssh");
	else
		host_report_add(
			r, state, "peer clock", "run chrony, systemd-timesyncd or ntpd on both",
			"the clock of %s is %s this host's: a guest's clock jumps by that, and more than "
			"%u s are refused",
			host, clock_text(text, skew), CONFIG_CLOCK_SKEW);
}

/* Adds the reasons for which no guest on @nic could come to @other, as far as there are some. */
static void doctor_nic_reasons(const struct host_nic *nic, const struct host_nic *other, struct error *err)
{
	if (other->pairs < nic->pairs)
		error_add(err,
			  "%s here has %u queue pairs, %s there has %u (\"vdpa dev add ... max_vqp ...\")",
			  nic->node, nic->pairs, other->node, other->pairs);
	if (other->ring < nic->ring)
		error_add(err, "%s here has rings of %u entries, %s there has %u", nic->node, nic->ring,
			  other->node, other->ring);
	if (other->mtu != nic->mtu)
		error_add(err, "%s here has an MTU of %u, %s there has %u (\"vdpa dev add ... mtu ...\")",
			  nic->node, nic->mtu, other->node, other->mtu);
}

static bool doctor_nic_fits(const struct host_nic *nic, const struct host_nic *other)
{
	struct error err = { 0 };

	doctor_nic_reasons(nic, other, &err);
	return !err.text[0];
}

/* Finds a NIC for one of ours: one without a difference, or else one on which only features differ, or else
 * the first. There is one. */
static const struct host_nic *doctor_match(const struct host_nic *nic, const struct host_facts *theirs)
{
	const struct host_nic *best = NULL;

	for (unsigned int i = 0; i < theirs->n_nics; i++) {
		const struct host_nic *other = &theirs->nics[i];

		if (!doctor_nic_fits(nic, other))
			continue;
		if (!(nic->offered & ~other->offered))
			return other;
		if (!best)
			best = other;
	}
	return best ? best : &theirs->nics[0];
}

static void doctor_compare_nic(struct host_report *r, const struct host_nic *nic,
			       const struct host_facts *theirs)
{
	const struct host_nic *other = doctor_match(nic, theirs);
	char missing[HOST_FOUND_MAX / 2];
	struct error err = { 0 };

	doctor_nic_reasons(nic, other, &err);
	net_features_names(nic->offered & ~other->offered, missing, sizeof(missing));
	if (err.text[0])
		host_report_add(r, HOST_FAIL, "peer NICs", "", "%s", err.text);
	else if (missing[0])
		host_report_add(
			r, HOST_WARN, "peer NICs", "",
			"a guest whose driver uses these features of %s could not move to %s there: %s",
			nic->node, other->node, missing);
	else
		host_report_add(r, HOST_OK, "peer NICs", "", "%s there has all that %s has here", other->node,
				nic->node);
}

static void doctor_compare_nics(struct host_report *r, const struct host_facts *theirs, const char *host)
{
	if (r->facts.n_nics == 0)
		return;
	if (theirs->n_nics == 0) {
		host_report_add(
			r, HOST_FAIL, "peer NICs",
			"make one there with \"vdpa dev add\", and bind it to vhost_vdpa",
			"%s has no vDPA NIC that is free; one that waits in \"ferry receive\" is in use",
			host);
		return;
	}
	for (unsigned int i = 0; i < r->facts.n_nics; i++)
		doctor_compare_nic(r, &r->facts.nics[i], theirs);
}

/* What fails there fails here too, in the peer's words. */
static void doctor_take_fails(struct host_report *r, const struct host_report *peer, const char *host)
{
	if (peer->n_fails == 0) {
		host_report_add(r, HOST_OK, "peer", "", "a guest could run at %s", host);
		return;
	}
	for (unsigned int i = 0; i < peer->n_checks; i++) {
		const struct host_check *check = &peer->checks[i];

		if (check->state == HOST_FAIL)
			host_report_add(r, HOST_FAIL, "peer", check->advice, "at %s: %s: %s", host,
					check->name, check->found);
	}
}

void doctor_compare(struct host_report *r, const struct host_report *peer, const char *host,
		    const struct host_moments *moments, uint64_t mem)
{
	doctor_take_fails(r, peer, host);
	doctor_compare_version(r, &peer->facts, host);
	doctor_compare_cpu(r, &peer->facts, host);
	doctor_compare_memory(r, &peer->facts, host, mem);
	doctor_compare_clock(r, &peer->facts, host, moments);
	doctor_compare_nics(r, &peer->facts, host);
}
