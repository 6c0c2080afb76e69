/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host: a VM whose NIC is the product's, in front of the product's vDPA device in software, with the guest
 * in it or to come. Resets of the guest are carried out as in the program. */
#ifndef FERRY_TESTS_FAULT_NIC_HOST_H
#define FERRY_TESTS_FAULT_NIC_HOST_H

#include "migration/source.h"
#include "tests/fault/nic_device.h"
#include "tests/fault/nic_guest.h"
#include "vmm/reset.h"
#include "vmm/x86/boot_files.h"

struct nic_host {
	struct net_guest net;
	struct vm *vm; /* of it */
	struct nic_device *device;
	struct blk *disk; /* NULL once it is gone, as with a process */
	struct nic_guest *guest;
	struct reset reset;
	struct boot_files boot;
	struct gate_thread vcpu;
	uint8_t leave;

	/* Of a destination: its thread, and what came of it. */
	pthread_t thread;
	int fd, cancel_fd;
	int result;
	struct error err;
};

/* Builds the host of a guest that stands still, in it or, for a destination, still elsewhere. */
enum nic_role { NIC_SOURCE, NIC_DESTINATION };
void nic_host_init(struct nic_host *h, enum nic_role role, struct nic_guest *guest,
		   const struct net_config *config, uint64_t seed);
void nic_host_exit(struct nic_host *h);

/* Takes a migration that comes over @fd, until @cancel_fd; nic_host_join() waits for its end. */
void nic_host_receive(struct nic_host *h, int fd, int cancel_fd);
void nic_host_join(struct nic_host *h);
enum source_result nic_host_migrate(struct nic_host *h, int fd, int cancel_fd, struct error *err);

bool nic_host_is_paused(struct nic_host *h);

#endif
