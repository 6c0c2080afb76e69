/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's driver for the NIC, in a VM without KVM: finds its registers in the capabilities, brings it up
 * and moves packets and commands. Interrupts are counted in the eventfds that KVM would have.
 */
#ifndef FERRY_TESTS_FAKE_NET_GUEST_H
#define FERRY_TESTS_FAKE_NET_GUEST_H

#include "devices/net/fault.h"
#include "devices/net/net.h"
#include "devices/net/nic.h"
#include "tests/fake/driver.h"
#include "tests/fake/vdpa.h"
#include "tests/fake/vm.h"

#define NET_GUEST_MEM    MIB(16)
#define NET_GUEST_BUFFER 2048u /* bytes of a buffer */
#define NET_GUEST_PAIRS  4u
#define NET_GUEST_VQS    (2 * NET_GUEST_PAIRS + 1)

struct net_guest {
	struct fake_vm *host;
	struct vm *vm; /* of it */
	struct pci_bus bus;
	struct net *net;
	struct fake_vdpa *vdpa;

	uint64_t common, notify, config; /* addresses on the MMIO bus */
	uint32_t notify_multiplier;
	uint64_t features;
	unsigned int n_queues; /* that the driver has set up, the control queue the last if there is one */
	struct fake_driver queues[NET_GUEST_VQS];
	unsigned int skipped; /* a queue that the driver does not set up, if not 0 */
	uint16_t size; /* of rings that the driver asks for; 0: the most there can be; the functions for
			  packets take rings of 256 */
	unsigned int n_buffers[NET_GUEST_VQS];  /* given out, round and round */
	uint64_t buffer_of[NET_GUEST_VQS][256]; /* by head */
};

/* Builds VM and NIC around @vdpa. */
void net_guest_init(struct net_guest *g, struct fake_vdpa *vdpa, const struct net_config *config);
/* On any device with up to NET_GUEST_PAIRS, which is the NIC's then. */
void net_guest_init_on(struct net_guest *g, struct vdpa *vdpa, const struct net_config *config);
void net_guest_exit(struct net_guest *g);

uint64_t net_guest_read(struct net_guest *g, uint64_t addr, unsigned int len);
void net_guest_write(struct net_guest *g, uint64_t addr, uint64_t value, unsigned int len);
uint8_t net_guest_status(struct net_guest *g);

/* From reset to DRIVER_OK with those of @features that are offered; the status then. */
uint8_t net_guest_start(struct net_guest *g, uint64_t features);
/* The steps of it. */
uint8_t net_guest_negotiate(struct net_guest *g, uint64_t features);
void net_guest_set_up_queues(struct net_guest *g);
void net_guest_reset(struct net_guest *g);

/* One queue reset, its buffers forgotten; and set up again with g->size. */
void net_guest_reset_queue(struct net_guest *g, unsigned int queue);
void net_guest_enable_queue(struct net_guest *g, unsigned int queue);

unsigned int net_guest_ctrl(const struct net_guest *g);
uint64_t net_guest_offered(struct net_guest *g);

/* Waits until the NIC's thread has dealt with everything that was signalled before. */
void net_guest_settle(struct net_guest *g);

void net_guest_kick(struct net_guest *g, unsigned int queue);
/* Interrupts of a queue, or of configuration changes (NET_GUEST_CONFIG), since the last call. */
#define NET_GUEST_CONFIG UINT16_MAX
unsigned int net_guest_interrupts(struct net_guest *g, unsigned int queue);

/* Gives the NIC @n receive buffers of @len bytes; returns how many it took. Kicks if that is wanted. */
unsigned int net_guest_post(struct net_guest *g, unsigned int pair, unsigned int n, uint32_t len);
/* Takes a packet that has arrived, without vnet header, put together if it has several buffers: its length,
 * or -1. */
int net_guest_received(struct net_guest *g, unsigned int pair, void *data, uint32_t size);
bool net_guest_send(struct net_guest *g, unsigned int pair, const void *data, uint32_t len);
/* Where the buffer is that the queue was given last. */
uint64_t net_guest_last_buffer(const struct net_guest *g, unsigned int queue);
/* Takes the sent packets' buffers back: how many. */
unsigned int net_guest_reap(struct net_guest *g, unsigned int pair);

/* A command: VIRTIO_NET_OK, VIRTIO_NET_ERR, or -1 if there was no answer within two seconds. */
int net_guest_command(struct net_guest *g, uint8_t class, uint8_t command, const void *data, uint32_t len);
/* The same in two steps: the command is with the NIC, and its answer. */
void net_guest_command_begin(struct net_guest *g, uint8_t class, uint8_t command, const void *data,
			     uint32_t len);
int net_guest_command_end(struct net_guest *g, int timeout_ms);
/* A command with @room bytes for its answer, the ack apart from the rest and the rest in pieces, as a driver
 * may lay it out: the used length; 0xee where nothing was written. */
uint32_t net_guest_ask(struct net_guest *g, uint8_t class, uint8_t command, const void *data, uint32_t len,
		       uint8_t *reply, uint32_t room);

/* The guest's memory and driver as they are at @from go on at @to, whose device is loaded apart; or the
 * driver alone, where memory has come by itself. */
void net_guest_copy(struct net_guest *to, struct net_guest *from);
void net_guest_copy_driver(struct net_guest *to, struct net_guest *from);

#endif
