/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One migration of a guest with a NIC that meets a fault, from the guest's start to the retry. */
#ifndef FERRY_TESTS_FAULT_NIC_RUN_H
#define FERRY_TESTS_FAULT_NIC_RUN_H

#include "tests/fault/link.h"
#include "tests/fault/nic_host.h"

/* What happens at a random instant, or is so from the beginning. */
enum nic_act {
	NIC_ACT_NOTHING,
	NIC_ACT_COMMANDS, /* the guest changes what its device has been told */
	NIC_ACT_RESET,
	NIC_ACT_REBIND,
	NIC_ACT_GONE_HERE,
	NIC_ACT_GONE_THERE,
	NIC_ACT_SLOW_HERE,
	NIC_ACT_SLOW_THERE,
	NIC_ACT_REFUSES,   /* the destination's device, a command */
	NIC_ACT_CALL_HERE, /* one of the calls to the source's device fails */
	NIC_ACT_CALL_THERE,
	NIC_ACT_SUSPEND, /* the source's device does not suspend */
	NIC_ACT_BASE,    /* or does not say where its rings are */
};

struct nic_kind {
	const char *name;
	enum nic_act act;
	enum nic_family family;
	const char *reason; /* that a migration which fails for this alone gives; NULL: any */
};

enum nic_outcome {
	NIC_STAYED,
	NIC_MOVED,
	NIC_RESUMED,
	NIC_RAN_THERE,
	NIC_N_OUTCOMES,
};

struct nic_result {
	_Atomic bool ended;
	enum nic_outcome outcome;
	bool reached; /* the instant */
	unsigned int n_twice, n_left, n_sent, n_got, n_stored, n_ok, n_refused, n_rebinds;
	int line; /* enum link_fault */
	int at;   /* enum stream_type */
	char wrong[ERROR_TEXT_MAX];
	char reason[ERROR_TEXT_MAX];
};

/* Runs in a process of its own. */
void nic_run(const struct nic_kind *kind, uint64_t seed, struct nic_result *result);

#endif
