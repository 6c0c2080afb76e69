/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the parts of a packet are that tell its flow: IP below VLAN tags and extension headers, and the
 * packet inside of a tunnel (virtio 1.4, "Inner Header Hash"). Plain functions on bytes of the network, which
 * are hostile: nothing behind @len is read. */
#ifndef FERRY_DEVICES_VDPA_SOFT_FLOW_H
#define FERRY_DEVICES_VDPA_SOFT_FLOW_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of protocols that have ports. */
#define SOFT_PROTO_TCP 6u
#define SOFT_PROTO_UDP 17u

/* Bits of enabled_tunnel_types. */
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
#define SOFT_TUNNEL_TYPES 0x1ffu /* all that there are */

/* Source and destination address follow one another, as the ports do. */
struct soft_flow {
	const uint8_t *p; /* of the IP header */
	uint32_t len;
	uint8_t version;  /* 4, 6; 0: not IP */
	uint8_t protocol; /* 0 of a fragment: what it carries cannot be told */
	uint32_t payload; /* offset */
};

/* The packet in a frame of Ethernet. */
struct soft_flow soft_flow_parse(const uint8_t *frame, uint32_t len);
/* The packet inside of @outer, which is IP; of version 0 if that is no tunnel of one of the types @tunnels.
 */
struct soft_flow soft_flow_parse_inner(const struct soft_flow *outer, uint32_t tunnels);

/* Both addresses of a packet that is IP, @n bytes. */
static inline const uint8_t *soft_flow_addresses(const struct soft_flow *f, uint32_t *n)
{
	*n = f->version == 4 ? 8 : 32;
	return f->p + (f->version == 4 ? 12 : 8);
}

/* Both ports, 4 bytes; NULL if it has none. */
static inline const uint8_t *soft_flow_ports(const struct soft_flow *f)
{
	if ((f->protocol != SOFT_PROTO_TCP && f->protocol != SOFT_PROTO_UDP) || f->len < f->payload + 4)
		return NULL;
	return f->p + f->payload;
}

#endif
