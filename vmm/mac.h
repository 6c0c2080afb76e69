/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MAC addresses, in the order of the wire. */
#ifndef FERRY_VMM_MAC_H
#define FERRY_VMM_MAC_H

#include "vmm/util.h"

#define MAC_LEN 6u

/* Whether an interface can have @mac as its own: of one station, not of a group, and not zero. Linux brings
 * no interface up that has another. */
bool mac_valid(const uint8_t mac[MAC_LEN]);

/* Makes a random address, of those that are for anyone to take (locally administered). 0, or -EIO without
 * random bytes. */
int __must_check mac_random(uint8_t mac[MAC_LEN]);

/* Format and arguments for printing an address. */
#define MAC_FORMAT  "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(m) (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]

#endif
