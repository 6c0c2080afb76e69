/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver of the vDPA NIC in software: see the header. */
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

int setup(void **state)
{
	struct soft_rig *r = calloc(1, sizeof(*r));

	soft_rig_init(r, SOFT_RIG_PAIRS);
	*state = r;
	return 0;
}

int teardown(void **state)
{
	soft_rig_exit(*state);
	free(*state);
	return 0;
}

int command(struct soft_rig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	return soft_rig_command(r, class, cmd, data, len, NULL, NULL);
}

const uint8_t vector_ipv4[8] = { 66, 9, 149, 187, 161, 142, 100, 80 };
const uint8_t vector_ports[4] = { 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 };

uint32_t put_ipv4(uint8_t *p, uint8_t protocol, const uint8_t *ports)
{
	memset(p, 0, 60);
	p[0] = 0x45;
	p[9] = protocol;
	memcpy(p + 12, vector_ipv4, 8);
	memcpy(p + 20, ports, 4);
	return 60;
}

uint32_t put_eth(uint8_t *frame, unsigned int ethertype)
{
	static const uint8_t mac[6] = SOFT_RIG_MAC;

	memset(frame, 0, 14);
	memcpy(frame, mac, 6);
	frame[6] = 2;
	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	return 14;
}

uint32_t ipv4_frame(uint8_t *frame, uint8_t protocol, const uint8_t *ports)
{
	return put_eth(frame, 0x0800) + put_ipv4(frame + 14, protocol, ports);
}

int arrives(struct soft_rig *r, const uint8_t *frame, uint32_t len, struct virtio_net_hdr_v1_hash *hdr)
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

void post_all(struct soft_rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < r->n_pairs; i++)
		soft_rig_post(r, i, n, 1024);
}
