/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAC addresses: which an interface can have, and one for who has none. */
#include "vmm/mac.h"

#include <errno.h>
#include <sys/random.h>

#define MAC_GROUP 0x01u /* in the first byte: an address of many, or of anyone's choice */
#define MAC_LOCAL 0x02u

bool mac_valid(const uint8_t mac[MAC_LEN])
{
	static const uint8_t zero[MAC_LEN];

	return !(mac[0] & MAC_GROUP) && memcmp(mac, zero, MAC_LEN) != 0;
}

int mac_random(uint8_t mac[MAC_LEN])
{
	if (getrandom(mac, MAC_LEN, 0) != MAC_LEN)
		return -EIO;
	mac[0] = (uint8_t)((mac[0] & ~MAC_GROUP) | MAC_LOCAL);
	return 0;
}
