/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, names, addresses and words of the command line, read from text. Plain functions, any thread. */
#ifndef FERRY_VMM_CONFIG_TEXT_H
#define FERRY_VMM_CONFIG_TEXT_H

#include "vmm/mac.h"

/* Reads "512M", "5G", plain bytes; binary units K M G T. -EINVAL for anything else and for what
 * does not fit. */
int __must_check config_parse_size(const char *text, uint64_t *bytes);

/* Reads an address that an interface can have, see mac_valid(), as 12 digits with colons. -EINVAL for
 * anything else. */
int __must_check config_parse_mac(const char *text, uint8_t mac[MAC_LEN]);

/* Finds @text among @n words. Returns its index, or -EINVAL. */
int __must_check config_parse_word(const char *text, const char *const *words, unsigned int n);

/* Whether @name can be a VM's. It becomes a file's name: letters, digits, '-', '_' and '.', not first '.', 1
 * to 64 characters. */
bool config_name_valid(const char *name);

/* Whether @port is a number from 1 to 65535, in digits alone. */
bool config_port_valid(const char *port);

/* Characters of an interface's name: IFNAMSIZ less the NUL. */
#define CONFIG_MAX_IFNAME 15u
/* Whether Linux takes @name for an interface. */
bool config_ifname_valid(const char *name);
/* Whether @name has a %d, which the kernel completes with the first number that is free. */
bool config_ifname_is_pattern(const char *name);

#endif
