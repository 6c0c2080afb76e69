/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a guest with a NIC has what it had, after a migration that met a fault, and a retry that moves it.
 */
#ifndef FERRY_TESTS_FAULT_NIC_JUDGE_H
#define FERRY_TESTS_FAULT_NIC_JUDGE_H

#include "tests/fault/nic_run.h"

struct nic_migration {
	const struct nic_kind *kind;
	struct nic_result *result;
	uint64_t random;
	struct net_config config;
	struct nic_net net;
	struct nic_guest guest;
	struct nic_host source, destination, second;
	struct link near, far;
	int cancel_fd, leave_fd;
	/* Of packets to the guest: those that a filter does not let in are not counted. */
	uint32_t first;
};

/* Waits for @done; false if that never comes. */
bool nic_wait(struct nic_guest *g, bool (*done)(struct nic_guest *g));
/* Whether the guest's commands change what comes in. */
bool nic_filters(const struct nic_kind *kind);
/* Says what is wrong, if that is the first thing. */
__attribute__((format(printf, 2, 3))) void nic_is_wrong(struct nic_migration *m, const char *format, ...);

/* Judges the source's @result; the destination ends by itself, or by the leave_fd. Afterwards the guest runs,
 * and nobody migrates it. */
enum nic_outcome nic_judge(struct nic_migration *m, enum source_result result);

#endif
