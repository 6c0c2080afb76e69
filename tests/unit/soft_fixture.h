/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver of the vDPA NIC in software, and frames for it. */
#ifndef FERRY_TESTS_UNIT_SOFT_FIXTURE_H
#define FERRY_TESTS_UNIT_SOFT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "devices/soft_priv.h"
#include "tests/fake/soft.h"

#define BIT   VIRTIO_BIT
#define ALL   UINT64_MAX
#define NO_EV (~BIT(VIRTIO_RING_F_EVENT_IDX))

enum { MQ = VIRTIO_NET_CTRL_MQ, COAL = 6, TUNNEL = 7, STATS = 8 };

static inline int setup(void **state)
{
	struct soft_rig *r = calloc(1, sizeof(*r));

	soft_rig_init(r, SOFT_RIG_PAIRS);
	*state = r;
	return 0;
}

static inline int teardown(void **state)
{
	soft_rig_exit(*state);
	free(*state);
	return 0;
}

static inline int command(struct soft_rig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	return soft_rig_command(r, class, cmd, data, len, NULL, NULL);
}

/* Frames: Ethernet and IP, with the addresses of the published test vectors of the hash. */

static const uint8_t vector_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static const uint8_t vector_ipv4[8] = { 66, 9, 149, 187, 161, 142, 100, 80 };
static const uint8_t vector_ipv6[32] = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0,
					 0,    0,    0,    0,    0x07, 0x3f, 0xfe, 0x25, 1, 2, 0,
					 0,    0x03, 0,    0,    0,    0,    0,    0,    0, 1 };
static const uint8_t vector_ports[4] = { 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 };

static inline uint32_t put_ipv4(uint8_t *p, uint8_t protocol, const uint8_t *ports)
{
	memset(p, 0, 60);
	p[0] = 0x45;
	p[9] = protocol;
	memcpy(p + 12, vector_ipv4, 8);
	memcpy(p + 20, ports, 4);
	return 60;
}

static inline uint32_t put_eth(uint8_t *frame, unsigned int ethertype)
{
	static const uint8_t mac[6] = SOFT_RIG_MAC;

	memset(frame, 0, 14);
	memcpy(frame, mac, 6);
	frame[6] = 2;
	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	return 14;
}

static inline uint32_t ipv4_frame(uint8_t *frame, uint8_t protocol, const uint8_t *ports)
{
	return put_eth(frame, 0x0800) + put_ipv4(frame + 14, protocol, ports);
}

static inline uint32_t ipv6_frame(uint8_t *frame, uint8_t protocol)
{
	put_eth(frame, 0x86dd);
	memset(frame + 14, 0, 80);
	frame[14] = 0x60;
	/* Behind an extension header of 16 bytes. */
	frame[14 + 6] = 60;
	memcpy(frame + 14 + 8, vector_ipv6, 32);
	frame[14 + 40] = protocol;
	frame[14 + 41] = 1;
	memcpy(frame + 14 + 56, vector_ports, 4);
	return 94;
}

/* Sends to the guest; the pair whose queue has it, or -1. */
static inline int arrives(struct soft_rig *r, const uint8_t *frame, uint32_t len,
			  struct virtio_net_hdr_v1_hash *hdr)
{
	uint8_t in[512];
	int pair = -1;

	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	for (unsigned int i = 0; i < r->n_pairs; i++) {
		if (soft_rig_received(r, i, hdr, in, sizeof(in)) != (int)len)
			continue;
		assert_int_equal(pair, -1);
		assert_memory_equal(in, frame, len);
		pair = (int)i;
	}
	return pair;
}

static inline void post_all(struct soft_rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < r->n_pairs; i++)
		soft_rig_post(r, i, n, 1024);
}

#endif
