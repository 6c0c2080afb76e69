/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The address that a NIC's device gives it, and the one that a NIC gets whose device has none. */
#include "devices/net/mac.h"

#include <errno.h>

#include "vmm/mac.h"

int net_mac_choose(struct net_space *space, struct vdpa *vdpa, const char *nic, struct error *err)
{
	uint8_t *mac = space->bytes + NET_CONFIG_FIELD(mac);

	if (!virtio_has(vdpa->features, VIRTIO_NET_F_MAC)) {
		/* The driver chooses. What the field holds is nobody's address. */
		memset(mac, 0, MAC_LEN);
	} else if (!mac_valid(mac)) {
		uint8_t own[MAC_LEN];

		if (mac_random(own) < 0) {
			error_add(err, "%s: no random bytes for a MAC address", nic);
			return -EIO;
		}
		log_limited(&vdpa->log_limit, LOG_WARN,
			    "%s: %s has the MAC address " MAC_FORMAT
			    ", which no interface can have: the guest gets " MAC_FORMAT
			    ", unless it brings its own (%s)",
			    nic, vdpa->name, MAC_ARGS(mac), MAC_ARGS(own), vdpa->advice.mac);
		memcpy(mac, own, MAC_LEN);
		space->chosen_mac = true;
	}
	memcpy(space->provisioned_mac, mac, MAC_LEN);
	return 0;
}

int net_mac_check(const char *nic, const char *what, const uint8_t mac[6], uint64_t offered,
		  struct error *err)
{
	static const uint8_t none[MAC_LEN];

	if (mac_valid(mac) ||
	    (!virtio_has(offered, VIRTIO_NET_F_MAC) && memcmp(mac, none, sizeof(none)) == 0))
		return 0;
	error_add(err, "%s: the guest's %s is " MAC_FORMAT ", which no interface can have", nic, what,
		  MAC_ARGS(mac));
	return -EINVAL;
}
