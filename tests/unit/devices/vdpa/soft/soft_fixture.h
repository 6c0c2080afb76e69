/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver of the vDPA NIC in software, and frames for it. */
#ifndef FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "devices/vdpa/soft/device.h"
#include "devices/vdpa/soft/flow.h"
#include "tests/fake/soft.h"

#define BIT   VIRTIO_BIT
#define ALL   UINT64_MAX
#define NO_EV (~BIT(VIRTIO_RING_F_EVENT_IDX))

/* Classes of commands, by the specification's numbers. */
enum { MQ = VIRTIO_NET_CTRL_MQ, COAL = 6, TUNNEL = 7, STATS = 8 };

/* For a test's setup and teardown: *@state is a struct soft_rig with SOFT_RIG_PAIRS, not started. */
int setup(void **state);
int teardown(void **state);

/* A command without a reply: its ack, or -1 if there is none. */
int command(struct soft_rig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len);
/* @n buffers of 1024 bytes in each receive queue. */
void post_all(struct soft_rig *r, unsigned int n);

/* Addresses and ports of the published test vectors of the hash. */
extern const uint8_t vector_ipv4[8];
extern const uint8_t vector_ports[4];

/* Write headers with the vectors' addresses, and the driver's MAC address. The bytes written. */
uint32_t put_eth(uint8_t *frame, unsigned int ethertype);
uint32_t put_ipv4(uint8_t *p, uint8_t protocol, const uint8_t *ports);
uint32_t ipv4_frame(uint8_t *frame, uint8_t protocol, const uint8_t *ports);

/* Sends a frame to the guest: the pair whose queue has it, and its header, or -1. */
int arrives(struct soft_rig *r, const uint8_t *frame, uint32_t len, struct virtio_net_hdr_v1_hash *hdr);

#endif
