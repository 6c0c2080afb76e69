/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fields of the NIC's configuration space, and what a guest may see of them. */
#include "devices/net/config_space.h"

/* linux/virtio_net.h lacks the field supported_tunnel_types. */
#define NET_CONFIG_TUNNEL_TYPES 24u

_Static_assert(NET_CONFIG_FIELD(mac) == 0, "virtio_net_config");
_Static_assert(NET_CONFIG_FIELD(status) == 6, "virtio_net_config");
_Static_assert(NET_CONFIG_FIELD(max_virtqueue_pairs) == 8, "virtio_net_config");
_Static_assert(NET_CONFIG_FIELD(duplex) + 1 == NET_CONFIG_FIELD(speed) + NET_CONFIG_SPEED_LEN,
	       "virtio_net_config");
_Static_assert(NET_CONFIG_FIELD(rss_max_key_size) == 17, "virtio_net_config");
_Static_assert(NET_CONFIG_FIELD(supported_hash_types) + 4 == NET_CONFIG_TUNNEL_TYPES, "virtio_net_config");
_Static_assert(NET_CONFIG_TUNNEL_TYPES + 4 == NET_CONFIG_LEN, "virtio_net_config");

/* Fields that bound what a driver may ask for. A driver that has seen them can go on with another device
 * where the relation holds, or without the features. */
static const struct net_field {
	uint8_t offset, len;
	/* How this device's field must be, beside the one that the guest has seen. */
	enum { NET_NOT_LESS, NET_INCLUDES, NET_SAME } here;
	uint64_t features;
} net_fields[] = {
	{ NET_CONFIG_FIELD(mtu), 2, NET_SAME, VIRTIO_BIT(VIRTIO_NET_F_MTU) },
	{ NET_CONFIG_FIELD(rss_max_key_size), 1, NET_NOT_LESS,
	  VIRTIO_BIT(VIRTIO_NET_F_RSS) | VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT) },
	{ NET_CONFIG_FIELD(rss_max_indirection_table_length), 2, NET_NOT_LESS, VIRTIO_BIT(VIRTIO_NET_F_RSS) },
	{ NET_CONFIG_FIELD(supported_hash_types), 4, NET_INCLUDES,
	  VIRTIO_BIT(VIRTIO_NET_F_RSS) | VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT) },
	{ NET_CONFIG_TUNNEL_TYPES, 4, NET_INCLUDES, VIRTIO_BIT(VIRTIO_NET_F_HASH_TUNNEL) },
};

static uint32_t net_field_of(const uint8_t bytes[NET_CONFIG_LEN], const struct net_field *field)
{
	const uint8_t *p = bytes + field->offset;

	return field->len == 1 ? p[0] : field->len == 2 ? get_le16(p) : get_le32(p);
}

static bool net_field_fits(const struct net_field *field, uint32_t here, uint32_t there)
{
	switch (field->here) {
	case NET_NOT_LESS:
		return here >= there;
	case NET_INCLUDES:
		return !(there & ~here);
	case NET_SAME:
		break;
	}
	return here == there;
}

uint64_t net_space_missing(uint32_t len)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(net_fields); i++)
		features |= net_fields[i].offset + net_fields[i].len > len ? net_fields[i].features : 0;
	return features;
}

uint64_t net_space_misfits(const struct net_space *space, const uint8_t other[NET_CONFIG_LEN])
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(net_fields); i++) {
		const struct net_field *field = &net_fields[i];

		if (!net_field_fits(field, net_field_of(space->bytes, field), net_field_of(other, field)))
			features |= field->features;
	}
	return features;
}

struct cvq_limits net_space_limits(const struct net_space *space, uint64_t features)
{
	const uint8_t *bytes = space->bytes;

	return (struct cvq_limits){
		.features = features,
		.rss_max_key = bytes[NET_CONFIG_FIELD(rss_max_key_size)],
		.rss_max_table = get_le16(bytes + NET_CONFIG_FIELD(rss_max_indirection_table_length)),
		.hash_types = get_le32(bytes + NET_CONFIG_FIELD(supported_hash_types)),
		.tunnel_types = get_le32(bytes + NET_CONFIG_TUNNEL_TYPES),
	};
}

void net_space_init(struct net_space *space)
{
	pthread_mutex_init(&space->lock, NULL);
}

void net_space_exit(struct net_space *space)
{
	pthread_mutex_destroy(&space->lock);
}

void net_space_read(struct net_space *space, uint32_t offset, void *data, uint32_t len)
{
	pthread_mutex_lock(&space->lock);
	memcpy(data, space->bytes + offset, len);
	pthread_mutex_unlock(&space->lock);
}

void net_space_replace(struct net_space *space, const uint8_t bytes[NET_CONFIG_LEN])
{
	pthread_mutex_lock(&space->lock);
	memcpy(space->bytes, bytes, NET_CONFIG_LEN);
	pthread_mutex_unlock(&space->lock);
}

void net_space_get_mac(struct net_space *space, uint8_t mac[6])
{
	net_space_read(space, NET_CONFIG_FIELD(mac), mac, 6);
}

void net_space_set_mac(struct net_space *space, const uint8_t mac[6])
{
	pthread_mutex_lock(&space->lock);
	memcpy(space->bytes + NET_CONFIG_FIELD(mac), mac, 6);
	pthread_mutex_unlock(&space->lock);
}

void net_space_take(struct net_space *space, const uint8_t bytes[NET_CONFIG_LEN], uint64_t features)
{
	uint16_t status = get_le16(bytes + NET_CONFIG_FIELD(status));

	memcpy(space->link_speed, bytes + NET_CONFIG_FIELD(speed), NET_CONFIG_SPEED_LEN);
	space->link_up =
		!virtio_has(space->device_features, VIRTIO_NET_F_STATUS) || status & VIRTIO_NET_S_LINK_UP;
	space->device_announcing =
		virtio_has(features & space->device_features, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
		status & VIRTIO_NET_S_ANNOUNCE;
}

bool net_space_show(struct net_space *space)
{
	uint8_t *speed = space->bytes + NET_CONFIG_FIELD(speed);
	uint8_t *shown = space->bytes + NET_CONFIG_FIELD(status);
	uint16_t status = space->link_up ? VIRTIO_NET_S_LINK_UP : 0;
	bool changed;

	if (space->announcing || space->device_announcing)
		status |= VIRTIO_NET_S_ANNOUNCE;
	pthread_mutex_lock(&space->lock);
	changed = get_le16(shown) != status;
	put_le16(shown, status);
	if (virtio_has(space->device_features, VIRTIO_NET_F_SPEED_DUPLEX)) {
		changed |= memcmp(speed, space->link_speed, NET_CONFIG_SPEED_LEN) != 0;
		memcpy(speed, space->link_speed, NET_CONFIG_SPEED_LEN);
	}
	pthread_mutex_unlock(&space->lock);
	return changed;
}
