/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two sides of the vDPA NIC in software for tests: its driver, with rings in memory of its own, and the
 * network, a port of its hub. After soft_settle() everything that was sent or kicked before has had its
 * effect.
 */
#ifndef FERRY_TESTS_FAKE_SOFT_H
#define FERRY_TESTS_FAKE_SOFT_H

#include "devices/vdpa/soft/soft.h"
#include "tests/fake/driver.h"

#define SOFT_RIG_PAIRS 4u
#define SOFT_RIG_VQS   (2 * SOFT_RIG_PAIRS + 1)
#define SOFT_RIG_MAC                                                                                         \
	{                                                                                                    \
		0x52, 0x54, 0, 0, 0, 1                                                                       \
	}

/* The network. */
struct soft_net {
	char folder[64];
	char self[108];
	int fd;
};

void soft_net_init(struct soft_net *n);
void soft_net_exit(struct soft_net *n);
/* Sends a frame to all devices, behind the vnet header @hdr (NULL: zeros). */
void soft_net_send(struct soft_net *n, const void *hdr, const void *frame, uint32_t len);
/* Waits for up to @timeout_ms for the next frame that a device has sent. Returns its length, or -1. */
int soft_net_receive(struct soft_net *n, void *hdr, void *frame, uint32_t size, int timeout_ms);
struct vdpa *soft_net_device(struct soft_net *n, unsigned int n_pairs, uint16_t ring_size);

/* The driver. */
struct soft_rig {
	struct soft_net net;
	struct vdpa *vdpa;
	struct memory mem;
	uint64_t features;
	unsigned int n_pairs;
	uint16_t size; /* of rings */
	int kick[SOFT_RIG_VQS], call[SOFT_RIG_VQS], config_call;
	uint16_t base[SOFT_RIG_VQS];
	struct fake_driver queues[SOFT_RIG_VQS];
	uint32_t next_buffer[SOFT_RIG_VQS];
	uint64_t buffer_of[SOFT_RIG_VQS][64]; /* by the head of its chain */
};

void soft_rig_init(struct soft_rig *r, unsigned int n_pairs);
void soft_rig_exit(struct soft_rig *r);
/* Takes the device to DRIVER_OK with these features, as far as it offers them, and VERSION_1; rings have
 * r->size. */
void soft_rig_start(struct soft_rig *r, uint64_t features);
void soft_rig_reset(struct soft_rig *r);
/* Does the steps of soft_rig_start() for one queue that a suspended device needs again. */
void soft_rig_set_vring(struct soft_rig *r, unsigned int index);
void soft_settle(struct soft_rig *r);

unsigned int soft_rig_ctrl(const struct soft_rig *r);
uint32_t soft_rig_header(const struct soft_rig *r);
uint64_t soft_rig_ring(unsigned int index);
void soft_rig_kick(struct soft_rig *r, unsigned int index);
unsigned int soft_rig_calls(struct soft_rig *r, unsigned int index);

void soft_rig_post(struct soft_rig *r, unsigned int pair, unsigned int n, uint32_t len);
/*
 * Takes a packet that has arrived, put together from its buffers, and its header unless @hdr is NULL. Returns
 * its length without header, or -1.
 */
int soft_rig_received(struct soft_rig *r, unsigned int pair, void *hdr, void *frame, uint32_t size);
void soft_rig_send(struct soft_rig *r, unsigned int pair, const void *hdr, const void *frame, uint32_t len);
/* Takes back the buffers of packets that were sent. Returns how many there were. */
unsigned int soft_rig_reap(struct soft_rig *r, unsigned int pair);

/* The device's own state, and a counter of one of its queues (enum soft_counter) once it has settled. */
struct soft *soft_rig_device(struct soft_rig *r);
uint64_t soft_rig_counter(struct soft_rig *r, unsigned int queue, unsigned int which);

/* Sends a command and waits. Returns the ack, or -1 if there is none. The bytes behind the ack go to @reply,
 * their number to *@reply_len. */
int soft_rig_command(struct soft_rig *r, uint8_t class, uint8_t command, const void *data, uint32_t len,
		     void *reply, uint32_t *reply_len);

#endif
