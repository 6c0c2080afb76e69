/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses packets as far as steering and hashing need: see the header. */
#include "devices/vdpa/soft/flow.h"

#include "devices/vdpa/soft/packet.h"
#include "vmm/util.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_QINQ 0x88a8u
#define ETHERTYPE_TEB  0x6558u
#define ETHERTYPE_IPV6 0x86ddu

#define PROTO_HOPOPTS  0u
#define PROTO_IPIP     4u
#define PROTO_IPV6     41u
#define PROTO_ROUTING  43u
#define PROTO_FRAGMENT 44u
#define PROTO_GRE      47u
#define PROTO_DSTOPTS  60u

#define PORT_GRE       4754u
#define PORT_VXLAN     4789u
#define PORT_VXLAN_GPE 4790u
#define PORT_GENEVE    6081u

#define UDP_HEADER 8u

#define GRE_CHECKSUM 0x8000u
#define GRE_KEY      0x2000u
#define GRE_SEQUENCE 0x1000u
#define GRE_VERSION  0x0007u

/* At most eight extension headers or VLAN tags are followed: well-meant packets have fewer, and a hostile one
 * costs no more than that. */
#define MAX_NESTED 8u

static void soft_parse_ipv4(struct soft_flow *f)
{
	uint32_t header;

	if (f->len < 20 || f->p[0] >> 4 != 4)
		return;
	header = 4u * (f->p[0] & 15u);
	if (header < 20 || header > f->len)
		return;
	f->version = 4;
	f->payload = header;
	if (!(soft_be16(f->p + 6) & 0x3fff))
		f->protocol = f->p[9];
}

static void soft_parse_ipv6(struct soft_flow *f)
{
	uint32_t offset = 40;
	uint8_t next;

	if (f->len < 40 || f->p[0] >> 4 != 6)
		return;
	f->version = 6;
	next = f->p[6];
	for (unsigned int i = 0; i < MAX_NESTED && next != PROTO_FRAGMENT; i++) {
		if (next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_DSTOPTS) {
			if (offset <= f->len) {
				f->protocol = next;
				f->payload = offset;
			}
			return;
		}
		if (f->len < offset + 8)
			return;
		next = f->p[offset];
		offset += 8u * (f->p[offset + 1] + 1u);
	}
}

static struct soft_flow soft_parse_ip(const uint8_t *p, uint32_t len, unsigned int ethertype)
{
	struct soft_flow f = { .p = p, .len = len };

	if (ethertype == ETHERTYPE_IPV4)
		soft_parse_ipv4(&f);
	else if (ethertype == ETHERTYPE_IPV6)
		soft_parse_ipv6(&f);
	return f;
}

struct soft_flow soft_flow_parse(const uint8_t *frame, uint32_t len)
{
	unsigned int type;
	uint32_t offset = 12;

	for (unsigned int i = 0; i < MAX_NESTED && len >= offset + 2; i++, offset += 4) {
		type = soft_be16(frame + offset);
		if (type != SOFT_ETHERTYPE_VLAN && type != ETHERTYPE_QINQ)
			return soft_parse_ip(frame + offset + 2, len - offset - 2, type);
	}
	return (struct soft_flow){ 0 };
}

/* Parses what follows a tunnel's header of @header bytes, as its @type says. */
static struct soft_flow soft_parse_type(const uint8_t *p, uint32_t len, uint32_t header, unsigned int type)
{
	if (len < header)
		return (struct soft_flow){ 0 };
	return type == ETHERTYPE_TEB ? soft_flow_parse(p + header, len - header)
				     : soft_parse_ip(p + header, len - header, type);
}

/* Returns the kinds of GRE over IP of @version that a packet is. */
static unsigned int soft_gre_kinds(unsigned int flags, unsigned int type, uint8_t version)
{
	unsigned int kinds;

	/*
	 * A key or a sequence number makes a header one of RFC 2890; IPv6 inside or outside, one of RFC 7676.
	 */
	if (flags & (GRE_KEY | GRE_SEQUENCE))
		kinds = SOFT_TUNNEL_GRE_2890;
	else
		kinds = SOFT_TUNNEL_GRE_2784 |
			(version == 6 || type == ETHERTYPE_IPV6 ? SOFT_TUNNEL_GRE_7676 : 0);
	/* NVGRE, RFC 7637, has a key alone, and Ethernet inside. */
	if (type == ETHERTYPE_TEB && (flags & (GRE_KEY | GRE_SEQUENCE | GRE_CHECKSUM)) == GRE_KEY)
		kinds |= SOFT_TUNNEL_NVGRE;
	return kinds;
}

/* @version is that of the IP packet which GRE lies in; 0: it lies in UDP. */
static struct soft_flow soft_parse_gre(const uint8_t *p, uint32_t len, uint8_t version, uint32_t tunnels)
{
	unsigned int flags, type;
	uint32_t header = 4;

	if (len < header)
		return (struct soft_flow){ 0 };
	flags = soft_be16(p);
	type = soft_be16(p + 2);
	header += flags & GRE_CHECKSUM ? 4 : 0;
	header += flags & GRE_KEY ? 4 : 0;
	header += flags & GRE_SEQUENCE ? 4 : 0;
	if ((flags & GRE_VERSION) ||
	    !(tunnels & (version ? soft_gre_kinds(flags, type, version) : SOFT_TUNNEL_GRE_UDP)))
		return (struct soft_flow){ 0 };
	return soft_parse_type(p, len, header, type);
}

static struct soft_flow soft_parse_vxlan(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	return soft_parse_type(p, len, 8, ETHERTYPE_TEB);
}

static struct soft_flow soft_parse_vxlan_gpe(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	static const uint16_t types[] = { 0, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_TEB };
	const uint8_t has_next = 0x04;

	if (len < 8 || !(p[0] & has_next) || p[3] >= ARRAY_SIZE(types))
		return (struct soft_flow){ 0 };
	return soft_parse_type(p, len, 8, types[p[3]]);
}

static struct soft_flow soft_parse_geneve(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	/* Options follow the header of version 0; their length is in words. */
	if (len < 8 || p[0] >> 6 != 0)
		return (struct soft_flow){ 0 };
	return soft_parse_type(p, len, 8 + 4 * (p[0] & 0x3fu), soft_be16(p + 2));
}

static struct soft_flow soft_parse_gre_udp(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	return soft_parse_gre(p, len, 0, tunnels);
}

/* Tunnels are known by UDP's destination port. */
static const struct soft_udp_tunnel {
	uint16_t port;
	uint32_t kind;
	struct soft_flow (*parse)(const uint8_t *p, uint32_t len, uint32_t tunnels);
} soft_udp_tunnels[] = {
	{ PORT_GRE, SOFT_TUNNEL_GRE_UDP, soft_parse_gre_udp },
	{ PORT_VXLAN, SOFT_TUNNEL_VXLAN, soft_parse_vxlan },
	{ PORT_VXLAN_GPE, SOFT_TUNNEL_VXLAN_GPE, soft_parse_vxlan_gpe },
	{ PORT_GENEVE, SOFT_TUNNEL_GENEVE, soft_parse_geneve },
};

static struct soft_flow soft_parse_udp(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	for (unsigned int i = 0; len >= UDP_HEADER && i < ARRAY_SIZE(soft_udp_tunnels); i++) {
		const struct soft_udp_tunnel *t = &soft_udp_tunnels[i];

		if (t->port == soft_be16(p + 2) && (tunnels & t->kind))
			return t->parse(p + UDP_HEADER, len - UDP_HEADER, tunnels);
	}
	return (struct soft_flow){ 0 };
}

struct soft_flow soft_flow_parse_inner(const struct soft_flow *outer, uint32_t tunnels)
{
	const uint8_t *p = outer->p + outer->payload;
	uint32_t len = outer->len - outer->payload;

	if (outer->protocol == PROTO_GRE)
		return soft_parse_gre(p, len, outer->version, tunnels);
	if ((tunnels & SOFT_TUNNEL_IPIP) && (outer->protocol == PROTO_IPIP || outer->protocol == PROTO_IPV6))
		return soft_parse_ip(p, len, outer->protocol == PROTO_IPIP ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	if (outer->protocol == SOFT_PROTO_UDP)
		return soft_parse_udp(p, len, tunnels);
	return (struct soft_flow){ 0 };
}
