/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The address that a NIC's device gives it, and the one that a NIC gets whose device has none. */
#include "devices/net/net_priv.h"

#include <errno.h>

#include "vmm/mac.h"

int net_choose_mac(struct net *net, struct error *err)
{
	uint8_t *mac = net->config + offsetof(struct virtio_net_config, mac);

	if (!virtio_has(net->vdpa->features, VIRTIO_NET_F_MAC)) {
		/* The driver chooses. What the field holds is nobody's address. */
		memset(mac, 0, MAC_LEN);
	} else if (!mac_valid(mac)) {
		uint8_t own[MAC_LEN];

		if (mac_random(own) < 0)
			return error_add(err, -EIO, "%s: no random bytes for a MAC address", net->name);
		log_warn("%s: %s has the MAC address " MAC_FORMAT
			 ", which no interface can have: the guest gets " MAC_FORMAT
			 ", unless it brings its own (%s)",
			 net->name, net->vdpa->name, MAC_ARGS(mac), MAC_ARGS(own), net->vdpa->advice.mac);
		memcpy(mac, own, MAC_LEN);
		net->chosen_mac = true;
	}
	memcpy(net->provisioned_mac, mac, MAC_LEN);
	return 0;
}

/* Checks an address that was shown to the guest as its own; without VIRTIO_NET_F_MAC zero stands for none. */
int net_check_mac(const struct net *net, const char *which, const uint8_t *mac, uint64_t offered,
		  struct error *err)
{
	static const uint8_t none[MAC_LEN];

	if (mac_valid(mac) ||
	    (!virtio_has(offered, VIRTIO_NET_F_MAC) && memcmp(mac, none, sizeof(none)) == 0))
		return 0;
	return error_add(err, -EINVAL,
			 "%s: the guest's %sMAC address is " MAC_FORMAT ", which no interface can have",
			 net->name, which, MAC_ARGS(mac));
}
