/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A NIC as the command line describes it: the value of --net. */
#ifndef FERRY_VMM_CONFIG_NET_H
#define FERRY_VMM_CONFIG_NET_H

#include "vmm/descriptor.h"
#include "vmm/log.h"
#include "vmm/look.h"
#include "vmm/mac.h"

/* Of a device in software: queue pairs, and the entries that a data queue can have. */
#define CONFIG_MAX_QUEUES   16u
#define CONFIG_MIN_RING     64u
#define CONFIG_MAX_RING     32768u
#define CONFIG_DEFAULT_RING 512u

/* The server of the guest's data queues: the device itself (passthrough), or Ferry (shadow rings). Auto means
 * the device, where it can be taken off them again for a migration. */
enum net_mode { NET_AUTO, NET_SHADOW, NET_PASSTHROUGH };

/* A NIC's backend: a vhost-vdpa device, or Ferry's own in software on a TAP interface or a hub. Strings point
 * into the command line. */
struct net_config {
	const char *vdpa; /* path of a node, or fd:N; NULL with @soft */
	enum net_mode mode;
	/* The guest is not offered packed rings, nor rings whose buffers come back in order. */
	bool split_only, any_order;
	/* The command line asks for them. */
	bool packed_wanted, in_order_wanted;
	/* How long the NIC's thread looks for packets before it sleeps (look.h): microseconds, 0 or
	 * LOOK_AUTO. */
	uint32_t poll_us;
	bool shared_switch; /* with the host that a guest comes from */
	bool soft;          /* Ferry's own device, as follows */
	const char *tap;    /* name of an interface, or fd:N:N...; NULL with @hub */
	/* Of a TAP interface that somebody else has opened: a descriptor for each pair. */
	unsigned int n_tap_fds;
	int tap_fds[CONFIG_MAX_QUEUES];
	const char *bridge; /* NULL: none */
	const char *hub;    /* path of a folder */
	bool mac_set;
	uint8_t mac[MAC_LEN];
	unsigned int n_queues; /* pairs */
	uint16_t ring_size;    /* entries that a data queue has at most */
};

/* The origin of a NIC's guest. One that boots has split rings without an order where nothing else is said;
 * one that arrives has what it had. */
enum net_origin { NET_BOOTS, NET_ARRIVES };

/* Reads "key=value,key=value"; ends each value in @text where its comma was. Returns 0, or -EINVAL with what
 * would be right. */
int __must_check config_net_parse(struct net_config *net, enum net_origin origin, char *text,
				  struct error *err);

/* Finds the descriptors that the NIC is to have in the place of files. 0 or -EINVAL with the reason. */
int __must_check config_net_claim(struct net_config *net, struct descriptors *d, struct error *err);

/* Whether two NICs have one device, which serves one. */
bool config_net_same_device(const struct net_config *a, const struct net_config *b);

#endif
