/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In which receive queue a packet of the vDPA NIC in software belongs, and its hash: Toeplitz over addresses
 * and ports, of the inner packet where the guest has asked for that. */
#include "devices/vdpa/soft/device.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u
#define ETHERTYPE_TEB  0x6558u
#define ETHERTYPE_IPV6 0x86ddu

#define PROTO_HOPOPTS  0u
#define PROTO_IPIP     4u
#define PROTO_TCP      6u
#define PROTO_UDP      17u
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

/* Bits of supported_tunnel_types. */
enum {
	TUNNEL_GRE_2784 = 1 << 0,
	TUNNEL_GRE_2890 = 1 << 1,
	TUNNEL_GRE_7676 = 1 << 2,
	TUNNEL_GRE_UDP = 1 << 3,
	TUNNEL_VXLAN = 1 << 4,
	TUNNEL_VXLAN_GPE = 1 << 5,
	TUNNEL_GENEVE = 1 << 6,
	TUNNEL_IPIP = 1 << 7,
	TUNNEL_NVGRE = 1 << 8,
};

/* Extension headers and VLAN tags, one within the other. */
#define MAX_NESTED 8u

/* Where an IP packet's parts are. */
struct soft_flow {
	const uint8_t *p; /* of the IP header */
	uint32_t len;
	uint8_t version;  /* 4, 6; 0: not IP */
	uint8_t protocol; /* 0 of a fragment: what it carries cannot be told */
	uint32_t payload; /* offset */
};

static uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

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
	if (!(get_be16(f->p + 6) & 0x3fff))
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

static struct soft_flow soft_parse(const uint8_t *frame, uint32_t len)
{
	unsigned int type;
	uint32_t offset = 12;

	for (unsigned int i = 0; i < MAX_NESTED && len >= offset + 2; i++, offset += 4) {
		type = get_be16(frame + offset);
		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ)
			return soft_parse_ip(frame + offset + 2, len - offset - 2, type);
	}
	return (struct soft_flow){ 0 };
}

static bool soft_has_ports(const struct soft_flow *f)
{
	return (f->protocol == PROTO_TCP || f->protocol == PROTO_UDP) && f->len >= f->payload + 4;
}

/* What a tunnel's header says of the packet behind it. */
static struct soft_flow soft_parse_type(const uint8_t *p, uint32_t len, uint32_t header, unsigned int type)
{
	if (len < header)
		return (struct soft_flow){ 0 };
	return type == ETHERTYPE_TEB ? soft_parse(p + header, len - header)
				     : soft_parse_ip(p + header, len - header, type);
}

/* Which of the kinds of GRE over IP of @version a packet is. */
static unsigned int soft_gre_kinds(unsigned int flags, unsigned int type, uint8_t version)
{
	unsigned int kinds;

	/* A key or a sequence number makes it that of RFC 2890; IPv6 inside or outside, that of RFC 7676. */
	if (flags & (GRE_KEY | GRE_SEQUENCE))
		kinds = TUNNEL_GRE_2890;
	else
		kinds = TUNNEL_GRE_2784 | (version == 6 || type == ETHERTYPE_IPV6 ? TUNNEL_GRE_7676 : 0);
	/* RFC 7637: a key alone, and Ethernet. */
	if (type == ETHERTYPE_TEB && (flags & (GRE_KEY | GRE_SEQUENCE | GRE_CHECKSUM)) == GRE_KEY)
		kinds |= TUNNEL_NVGRE;
	return kinds;
}

/* @version: that of the IP packet it is in; 0: it is in UDP. */
static struct soft_flow soft_parse_gre(const uint8_t *p, uint32_t len, uint8_t version, uint32_t tunnels)
{
	unsigned int flags, type;
	uint32_t header = 4;

	if (len < header)
		return (struct soft_flow){ 0 };
	flags = get_be16(p);
	type = get_be16(p + 2);
	header += flags & GRE_CHECKSUM ? 4 : 0;
	header += flags & GRE_KEY ? 4 : 0;
	header += flags & GRE_SEQUENCE ? 4 : 0;
	if ((flags & GRE_VERSION) ||
	    !(tunnels & (version ? soft_gre_kinds(flags, type, version) : TUNNEL_GRE_UDP)))
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
	/* Version 0; behind the header, options in words. */
	if (len < 8 || p[0] >> 6 != 0)
		return (struct soft_flow){ 0 };
	return soft_parse_type(p, len, 8 + 4 * (p[0] & 0x3fu), get_be16(p + 2));
}

static struct soft_flow soft_parse_gre_udp(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	return soft_parse_gre(p, len, 0, tunnels);
}

/* Tunnels by UDP's destination port. */
static const struct soft_udp_tunnel {
	uint16_t port;
	uint32_t kind;
	struct soft_flow (*parse)(const uint8_t *p, uint32_t len, uint32_t tunnels);
} soft_udp_tunnels[] = {
	{ PORT_GRE, TUNNEL_GRE_UDP, soft_parse_gre_udp },
	{ PORT_VXLAN, TUNNEL_VXLAN, soft_parse_vxlan },
	{ PORT_VXLAN_GPE, TUNNEL_VXLAN_GPE, soft_parse_vxlan_gpe },
	{ PORT_GENEVE, TUNNEL_GENEVE, soft_parse_geneve },
};

static struct soft_flow soft_parse_udp(const uint8_t *p, uint32_t len, uint32_t tunnels)
{
	for (unsigned int i = 0; len >= UDP_HEADER && i < ARRAY_SIZE(soft_udp_tunnels); i++) {
		const struct soft_udp_tunnel *t = &soft_udp_tunnels[i];

		if (t->port == get_be16(p + 2) && (tunnels & t->kind))
			return t->parse(p + UDP_HEADER, len - UDP_HEADER, tunnels);
	}
	return (struct soft_flow){ 0 };
}

/* "Inner Header Hash": the packet inside, of version 0 if there is none of an enabled type. */
static struct soft_flow soft_parse_inner(const struct soft_flow *outer, uint32_t tunnels)
{
	const uint8_t *p = outer->p + outer->payload;
	uint32_t len = outer->len - outer->payload;

	if (outer->protocol == PROTO_GRE)
		return soft_parse_gre(p, len, outer->version, tunnels);
	if ((tunnels & TUNNEL_IPIP) && (outer->protocol == PROTO_IPIP || outer->protocol == PROTO_IPV6))
		return soft_parse_ip(p, len, outer->protocol == PROTO_IPIP ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
	if (outer->protocol == PROTO_UDP)
		return soft_parse_udp(p, len, tunnels);
	return (struct soft_flow){ 0 };
}

static uint32_t soft_toeplitz(const uint8_t *key, const uint8_t *data, uint32_t len)
{
	uint64_t window = (uint64_t)key[0] << 56 | (uint64_t)key[1] << 48 | (uint64_t)key[2] << 40 |
			  (uint64_t)key[3] << 32;
	uint32_t hash = 0;

	for (uint32_t i = 0; i < len; i++) {
		window |= (uint64_t)key[i + 4] << 24;
		for (unsigned int bit = 0x80; bit; bit >>= 1) {
			if (data[i] & bit)
				hash ^= (uint32_t)(window >> 32);
			window <<= 1;
		}
	}
	return hash;
}

struct soft_hash soft_hash(const struct soft_steering *s, const uint8_t *frame, uint32_t len)
{
	/* Bits of the hash types by version: IP alone, TCP, UDP follow one another. A report is bit + 1. */
	struct soft_flow f = soft_parse(frame, len), inner;
	uint8_t input[36];
	uint32_t n_addresses, n;
	unsigned int first, bit;

	_Static_assert(SOFT_RSS_KEY >= sizeof(input) + 4, "the key covers what is hashed");
	if (s->tunnel_types && f.version) {
		inner = soft_parse_inner(&f, s->tunnel_types);
		if (inner.version)
			f = inner;
	}
	if (!f.version)
		return (struct soft_hash){ 0 };
	first = f.version == 4 ? 0 : 3;
	n = n_addresses = f.version == 4 ? 8 : 32;
	memcpy(input, f.p + (f.version == 4 ? 12 : 8), n_addresses);
	bit = first;
	if (soft_has_ports(&f)) {
		unsigned int with_ports = first + (f.protocol == PROTO_TCP ? 1 : 2);

		if (s->hash_types >> with_ports & 1) {
			memcpy(input + n, f.p + f.payload, 4);
			n += 4;
			bit = with_ports;
		}
	}
	if (!(s->hash_types >> bit & 1))
		return (struct soft_hash){ 0 };
	return (struct soft_hash){ soft_toeplitz(s->key, input, n), (uint16_t)(bit + 1) };
}

void soft_steering_reset(struct soft_steering *s)
{
	*s = (struct soft_steering){ .n_rx = 1, .n_tx = 1 };
}

/* The same for both directions of a flow. */
static unsigned int soft_bucket(const uint8_t *frame, uint32_t len)
{
	struct soft_flow f = soft_parse(frame, len);
	uint32_t n = f.version == 4 ? 8 : 32;
	const uint8_t *p;
	uint8_t x = 0;

	if (!f.version)
		return SOFT_STEERING_BUCKETS;
	p = f.p + (f.version == 4 ? 12 : 8);
	for (uint32_t i = 0; i < n; i++)
		x ^= p[i];
	for (uint32_t i = 0; i < 4 && soft_has_ports(&f); i++)
		x ^= f.p[f.payload + i];
	return x;
}

void soft_steering_learn(struct soft_vdpa *sv, unsigned int pair, const uint8_t *frame, uint32_t len)
{
	unsigned int bucket;

	if (sv->steering.n_rx < 2 || sv->port->n_sources > 1)
		return;
	bucket = soft_bucket(frame, len);
	if (bucket < SOFT_STEERING_BUCKETS)
		sv->steering.flows[bucket] = (uint8_t)pair;
}

unsigned int soft_steer(const struct soft_vdpa *sv, unsigned int source, const uint8_t *frame, uint32_t len,
			struct soft_hash hash)
{
	const struct soft_steering *s = &sv->steering;
	unsigned int pair = source;

	if (s->rss)
		return hash.report ? s->table[hash.value & s->mask] : s->unclassified;
	/* A TAP with several queues keeps flows in the queue where they were sent. */
	if (sv->port->n_sources == 1 && s->n_rx > 1) {
		unsigned int bucket = soft_bucket(frame, len);

		pair = bucket < SOFT_STEERING_BUCKETS ? s->flows[bucket] : 0;
	}
	return pair < s->n_rx ? pair : 0;
}
