/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of a packet that tell its flow: IP below VLAN tags and extension headers, and the packet inside
 * of a tunnel (virtio 1.4, "Inner Header Hash"). Plain functions on bytes of the network, which are hostile:
 * no byte behind @len is read.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_FLOW_H
#define FERRY_DEVICES_VDPA_SOFT_FLOW_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of protocols that have ports. */
#define SOFT_PROTO_TCP 6u
#define SOFT_PROTO_UDP 17u

/* The values are bits of enabled_tunnel_types. */
enum {
	SOFT_TUNNEL_GRE_2784 = 1 << 0,
	SOFT_TUNNEL_GRE_2890 = 1 << 1,
	SOFT_TUNNEL_GRE_7676 = 1 << 2,
	SOFT_TUNNEL_GRE_UDP = 1 << 3,
	SOFT_TUNNEL_VXLAN = 1 << 4,
	SOFT_TUNNEL_VXLAN_GPE = 1 << 5,
	SOFT_TUNNEL_GENEVE = 1 << 6,
	SOFT_TUNNEL_IPIP = 1 << 7,
	SOFT_TUNNEL_NVGRE = 1 << 8,
};
#define SOFT_TUNNEL_TYPES 0x1ffu /* all that the specification has */

/* Source and destination address follow one another, as the ports do. */
struct soft_flow {
	const uint8_t *p; /* the IP header */
	uint32_t len;
	uint8_t version; /* 4, 6; 0: not IP */
	/* A fragment has 0, because what it carries cannot be told. */
	uint8_t protocol;
	uint32_t payload; /* offset from @p */
};

/* Finds the IP packet in a frame of Ethernet. */
struct soft_flow soft_flow_parse(const uint8_t *frame, uint32_t len);
/* Finds the IP packet inside of @outer, which is IP. The result has version 0 if @outer is no tunnel of one
 * of the types in @tunnels. */
struct soft_flow soft_flow_parse_inner(const struct soft_flow *outer, uint32_t tunnels);

/* Returns both addresses of a packet that is IP, *@n bytes. */
static inline const uint8_t *soft_flow_addresses(const struct soft_flow *f, uint32_t *n)
{
	*n = f->version == 4 ? 8 : 32;
	return f->p + (f->version == 4 ? 12 : 8);
}

/* Returns both ports, 4 bytes, or NULL if the packet has none. */
static inline const uint8_t *soft_flow_ports(const struct soft_flow *f)
{
	if ((f->protocol != SOFT_PROTO_TCP && f->protocol != SOFT_PROTO_UDP) || f->len < f->payload + 4)
		return NULL;
	return f->p + f->payload;
}

#endif
