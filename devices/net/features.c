/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The features that a guest is offered on a device, with their requirements and names. */
#include "devices/net/features.h"

#include <errno.h>
#include <stdio.h>

#include "devices/net/config_space.h"
#include "devices/net/cvq/cvq.h"
#include "devices/net/path.h"
#include "devices/virtio/vring.h"
#include "vmm/state.h"

/*
 * Features that change how packets look or what the configuration holds: for them there is nothing to carry
 * but the bit.
 *
 * Features from 64 on are never offered, for vhost-vdpa's ioctls carry features 0 to 63 only (the one for
 * more is vhost-net's alone), and so does struct vdpa. The commands that they permit, RSS contexts and two
 * offloads of UDP tunnels, are in the command table all the same; here struct cvq_limits' features_high and
 * the vnet header of 24 bytes are missing for them.
 */
#define NET_STATELESS                                                                                        \
	(VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |                               \
	 VIRTIO_BIT(VIRTIO_NET_F_MTU) | VIRTIO_BIT(VIRTIO_NET_F_MAC) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |                           \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) |                            \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |                            \
	 VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |                                \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_HOST_USO) | VIRTIO_BIT(VIRTIO_NET_F_SPEED_DUPLEX) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_HDRLEN) | VIRTIO_BIT(VIRTIO_F_VERSION_1))

/* Features of the rings between guest and Ferry: the device has no part in them. */
#define NET_RING_FEATURES                                                                                    \
	(VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |                     \
	 VIRTIO_BIT(VIRTIO_F_RING_RESET))

/* The lists of a NIC's rings get a part of a VM's state, which has STATE_MAX for everything. */
#define NET_MAX_RING_STATE (STATE_MAX / 4)
/* Split rings of this length fit into that, however many there are, unless they are in order. */
#define NET_MIN_RING_LIMIT 2048u
_Static_assert(2 * NET_MIN_RING_LIMIT * (2 * NET_MAX_PAIRS + 1) <= NET_MAX_RING_STATE,
	       "lower NET_MIN_RING_LIMIT: the lists of such rings must fit");

/*
 * Features with their names in the specification and its "Feature bit requirements", and what drivers take
 * for granted beyond those.
 */
static const struct net_feature {
	unsigned int bit;
	const char *name;
	uint64_t needs;  /* all of these */
	uint64_t any_of; /* and one of these at least, if there are some */
} net_feature_table[] = {
	{ VIRTIO_NET_F_CSUM, "CSUM", .needs = 0 },
	{ VIRTIO_NET_F_GUEST_CSUM, "GUEST_CSUM", .needs = 0 },
	{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "CTRL_GUEST_OFFLOADS",
	  .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_MTU, "MTU", .needs = 0 },
	{ VIRTIO_NET_F_MAC, "MAC", .needs = 0 },
	{ VIRTIO_NET_F_GUEST_TSO4, "GUEST_TSO4", .needs = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_TSO6, "GUEST_TSO6", .needs = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_ECN, "GUEST_ECN",
	  .any_of = VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_F_GUEST_UFO, "GUEST_UFO", .needs = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_HOST_TSO4, "HOST_TSO4", .needs = VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_TSO6, "HOST_TSO6", .needs = VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_ECN, "HOST_ECN",
	  .any_of = VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) },
	{ VIRTIO_NET_F_HOST_UFO, "HOST_UFO", .needs = VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_MRG_RXBUF, "MRG_RXBUF", .needs = 0 },
	{ VIRTIO_NET_F_STATUS, "STATUS", .needs = 0 },
	{ VIRTIO_NET_F_CTRL_VQ, "CTRL_VQ", .needs = 0 },
	{ VIRTIO_NET_F_CTRL_RX, "CTRL_RX", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_VLAN, "CTRL_VLAN", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_RX_EXTRA, "CTRL_RX_EXTRA", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_GUEST_ANNOUNCE, "GUEST_ANNOUNCE",
	  .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_STATUS) },
	{ VIRTIO_NET_F_MQ, "MQ", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_MAC_ADDR, "CTRL_MAC_ADDR", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	/* Linux does not check what this one needs, and would send STATS_QUERY without a control queue. */
	{ VIRTIO_NET_F_DEVICE_STATS, "DEVICE_STATS", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_HASH_TUNNEL, "HASH_TUNNEL",
	  .any_of = VIRTIO_BIT(VIRTIO_NET_F_RSS) | VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT) },
	{ VIRTIO_NET_F_VQ_NOTF_COAL, "VQ_NOTF_COAL", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_NOTF_COAL, "NOTF_COAL", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_GUEST_USO4, "GUEST_USO4", .needs = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_USO6, "GUEST_USO6", .needs = VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_HOST_USO, "HOST_USO", .needs = VIRTIO_BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HASH_REPORT, "HASH_REPORT", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_GUEST_HDRLEN, "GUEST_HDRLEN", .needs = 0 },
	{ VIRTIO_NET_F_RSS, "RSS", .needs = VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_SPEED_DUPLEX, "SPEED_DUPLEX", .needs = 0 },
	{ VIRTIO_RING_F_INDIRECT_DESC, "INDIRECT_DESC", .needs = 0 },
	{ VIRTIO_RING_F_EVENT_IDX, "EVENT_IDX", .needs = 0 },
	{ VIRTIO_F_VERSION_1, "VERSION_1", .needs = 0 },
	{ VIRTIO_F_ACCESS_PLATFORM, "ACCESS_PLATFORM", .needs = 0 },
	{ VIRTIO_F_RING_PACKED, "RING_PACKED", .needs = 0 },
	{ VIRTIO_F_IN_ORDER, "IN_ORDER", .needs = 0 },
	{ VIRTIO_F_RING_RESET, "RING_RESET", .needs = 0 },
};

static bool net_feature_holds(const struct net_feature *f, uint64_t features)
{
	return !(f->needs & ~features) && (!f->any_of || features & f->any_of);
}

uint64_t net_features_consistent(uint64_t features)
{
	uint64_t before;

	/* A feature may lack one that went only now. */
	do {
		before = features;
		for (unsigned int i = 0; i < ARRAY_SIZE(net_feature_table); i++) {
			if (!net_feature_holds(&net_feature_table[i], features))
				features &= ~VIRTIO_BIT(net_feature_table[i].bit);
		}
	} while (features != before);
	return features;
}

uint64_t net_features_offer(const struct vdpa *vdpa, unsigned int n_pairs)
{
	uint64_t f = vdpa->features & (NET_STATELESS | cvq_features());

	/* Announcements are Ferry's own, whatever the device knows of them. */
	f |= VIRTIO_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);
	if (vdpa->n_vqs < 3)
		f &= ~VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ);
	if (n_pairs == 1)
		f &= ~VIRTIO_BIT(VIRTIO_NET_F_MQ);
	f &= ~net_space_missing(vdpa->config_len);
	return net_features_consistent(f | NET_RING_FEATURES);
}

/* Whether what is in flight in rings of such a kind can be carried. */
static bool net_rings_fit(const uint16_t *sizes, unsigned int n, uint64_t features)
{
	struct vring_setup setup = vring_setup_of(features);
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < n; i++) {
		setup.size = sizes[i];
		bytes += vring_state_bytes(&setup);
	}
	return bytes <= NET_MAX_RING_STATE;
}

uint64_t net_features_rings(const char *nic, struct vdpa *vdpa, const struct net_config *config,
			    uint16_t *sizes, unsigned int n)
{
	/*
	 * The device has to keep the order by itself. Ferry could keep chains back until older ones are done,
	 * but a packet in several buffers would have others between them then.
	 */
	const uint64_t in_order = vdpa->in_order ? VIRTIO_BIT(VIRTIO_F_IN_ORDER) : 0;
	const uint64_t packed = VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	uint64_t features = in_order;

	while (!net_rings_fit(sizes, n, 0)) {
		for (unsigned int i = 0; i < n; i++)
			sizes[i] = sizes[i] > NET_MIN_RING_LIMIT ? sizes[i] / 2 : sizes[i];
	}
	/* A guest may accept both formats. Hosts of a kind come to the same result, whatever their operators
	 * want. */
	if (net_rings_fit(sizes, n, packed | in_order))
		features |= packed;
	else if (!net_rings_fit(sizes, n, in_order))
		features = 0;
	if (config->in_order_wanted && !(features & in_order))
		log_limited(&vdpa->log_limit, LOG_WARN, "%s: in-order=on has no effect: %s", nic,
			    in_order ? "what is in flight in so long rings would not fit into the state"
				     : "the device does not say that it keeps an order");
	if (config->split_only)
		features &= ~packed;
	return config->any_order ? features & ~in_order : features;
}

/* Bits of the rings and of the transport are not the NIC's. */
static const char *net_feature_prefix(unsigned int bit)
{
	return bit >= VIRTIO_TRANSPORT_F_START && bit < VIRTIO_TRANSPORT_F_END ? "VIRTIO_F_"
									       : "VIRTIO_NET_F_";
}

int net_features_check(const char *nic, const char *guest, uint64_t want, uint64_t have, const char *device,
		       struct error *err)
{
	uint64_t missing = want & ~have;
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(net_feature_table); i++) {
		if (!virtio_has(missing, net_feature_table[i].bit))
			continue;
		missing &= ~VIRTIO_BIT(net_feature_table[i].bit);
		error_add(err, "%s: the guest %s %s%s, which %s does not offer", nic, guest,
			  net_feature_prefix(net_feature_table[i].bit), net_feature_table[i].name, device);
		ret = -ENOTSUP;
	}
	if (missing) {
		error_add(err, "%s: the guest %s features 0x%llx, which %s does not offer", nic, guest,
			  (unsigned long long)missing, device);
		ret = -ENOTSUP;
	}
	return ret;
}

void net_features_names(uint64_t features, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(net_feature_table) && len < size; i++) {
		if (!virtio_has(features, net_feature_table[i].bit))
			continue;
		features &= ~VIRTIO_BIT(net_feature_table[i].bit);
		len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "",
					net_feature_table[i].name);
	}
	if (features && len < size)
		snprintf(text + len, size - len, "%s0x%llx", len > 0 ? ", " : "",
			 (unsigned long long)features);
}
