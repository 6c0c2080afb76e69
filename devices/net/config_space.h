/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC's configuration space (virtio 1.4, "Network Device / Device configuration layout"), as the guest
 * sees it: what the device tells, with the MAC address, the link's state and the request to announce as Ferry
 * has them. The NIC's thread alone writes; vCPUs read.
 */
#ifndef FERRY_DEVICES_NET_CONFIG_SPACE_H
#define FERRY_DEVICES_NET_CONFIG_SPACE_H

#include <pthread.h>

#include "devices/net/cvq/checks.h"
#include "devices/virtio/virtio.h"

/* The part of struct virtio_net_config that Ferry shows, in bytes: up to supported_tunnel_types. */
#define NET_CONFIG_LEN 28u
/* Speed and duplex, which lie side by side. */
#define NET_CONFIG_SPEED_LEN 5u

#define NET_CONFIG_FIELD(field) ((unsigned int)offsetof(struct virtio_net_config, field))

struct net_space {
	pthread_mutex_t lock; /* bytes */
	uint8_t bytes[NET_CONFIG_LEN];
	uint64_t device_features; /* which fields the device has */
	uint8_t provisioned_mac[6];
	/* Ferry has chosen the address, for the device has none that an interface can have. */
	bool chosen_mac;
	bool link_up;
	uint8_t link_speed[NET_CONFIG_SPEED_LEN]; /* the device's, where it tells */
	bool announcing;                          /* Ferry has raised the bit ANNOUNCE */
	bool device_announcing;                   /* the device has */
};

void net_space_init(struct net_space *space);
void net_space_exit(struct net_space *space);

/* Copies @len bytes from @offset on, which are within the space. Any thread. */
void net_space_read(struct net_space *space, uint32_t offset, void *data, uint32_t len);
/* Shows @bytes, another host's, in place of the device's from now on. */
void net_space_replace(struct net_space *space, const uint8_t bytes[NET_CONFIG_LEN]);

void net_space_get_mac(struct net_space *space, uint8_t mac[6]);
void net_space_set_mac(struct net_space *space, const uint8_t mac[6]);

/* Takes the fields that a device changes by itself, its status and the speed of its link, out of @bytes.
 * @features are those that the guest has negotiated. What the guest sees changes by net_space_show(). */
void net_space_take(struct net_space *space, const uint8_t bytes[NET_CONFIG_LEN], uint64_t features);
/* Shows the guest the state of the link and of announcements. Returns whether that has changed: then the
 * guest is to get an interrupt. */
bool __must_check net_space_show(struct net_space *space);

/* Limits of control commands by the configuration: all of struct cvq_limits but numbers of queues. */
struct cvq_limits net_space_limits(const struct net_space *space, uint64_t features);
/* Features whose fields lie beyond the first @len bytes: a device with a space so short does not say what its
 * limits are. */
uint64_t net_space_missing(uint32_t len);
/* Features that a guest which has been shown the fields of @other cannot have with those of @space. */
uint64_t net_space_misfits(const struct net_space *space, const uint8_t other[NET_CONFIG_LEN]);

#endif
