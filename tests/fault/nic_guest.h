/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that runs wherever its VM's gate is open: its one vCPU boots, brings the NIC up, sends and receives
 * packets with numbers, and sends control commands on demand, of which it knows what the device has said.
 */
#ifndef FERRY_TESTS_FAULT_NIC_GUEST_H
#define FERRY_TESTS_FAULT_NIC_GUEST_H

#include "tests/fake/net_guest.h"
#include "tests/fault/nic_commands.h"
#include "tests/fault/nic_disk.h"
#include "tests/fault/nic_net.h"

#define NIC_DRIVER_OK 0xfu

struct nic_guest {
	struct nic_net *net;
	uint64_t features; /* that the driver knows */
	uint64_t random;
	struct nic_disk disk;

	/* Of whoever runs the guest, and of anyone while its VMs stand still. */
	struct net_guest *at; /* the VM in which it ran last */
	bool booted;
	struct model_nic model; /* what the device has taken, says the guest */
	struct nic_command cmd; /* of length 0: there is none */
	bool asked;             /* that command is with the NIC */
	bool ordered;           /* as one of those that are wanted */
	bool looks;             /* the configuration has changed */
	uint32_t sent[NIC_NET_PAIRS];
	unsigned int epoch; /* starts of the driver */

	/* Orders; any thread gives them. */
	_Atomic unsigned int n_wanted; /* commands of this family, NIC_N_FAMILIES: of any */
	_Atomic enum nic_family family;
	_Atomic bool no_filters; /* of any but those that change what comes in */
	_Atomic bool open;       /* let everything in, once */
	_Atomic bool quiet;      /* no packets are to be sent */
	_Atomic bool resets, rebinds;

	_Atomic(struct net_guest *)
		runs_in; /* the VM in which it ran last, and for how long since its arrival */
	_Atomic unsigned int n_steps;
	_Atomic unsigned int n_running; /* vCPUs */
	_Atomic unsigned int n_starts;  /* of the driver */
	_Atomic bool dead;              /* the device asks for a reset */
	_Atomic unsigned int n_ok, n_refused;
	_Atomic(const char *) wrong;
};

/* Lets the vCPU into the guest that is in @here now, and out of it. */
void nic_guest_enter(struct nic_guest *g, struct net_guest *here);
void nic_guest_leave(struct nic_guest *g);
/* Runs the guest for a moment. */
void nic_guest_step(struct nic_guest *g);

/* Whether it has done what it was told to, its packets have all been seen, and its writes are answered. Any
 * thread. */
bool nic_guest_done(struct nic_guest *g);
bool nic_guest_sent_all(struct nic_guest *g);
bool nic_guest_stored_all(struct nic_guest *g);

#endif
