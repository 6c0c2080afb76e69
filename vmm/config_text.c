/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, names, addresses and words of the command line. */
#include "vmm/config_text.h"

#include <errno.h>
#include <stdlib.h>

int config_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	uint64_t v = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	if (*text) {
		const char *unit = strchr(units, *text);

		if (!unit || text[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (v > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

int config_parse_mac(const char *text, uint8_t mac[MAC_LEN])
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";

	if (strlen(text) != 3 * MAC_LEN - 1)
		return -EINVAL;
	for (unsigned int i = 0; i < MAC_LEN; i++) {
		const char *high = strchr(digits, text[3 * i]), *low = strchr(digits, text[3 * i + 1]);

		if (!high || !low || (i < MAC_LEN - 1 && text[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)((high - digits) % 16 << 4 | (low - digits) % 16);
	}
	return mac_valid(mac) ? 0 : -EINVAL;
}

int config_parse_word(const char *text, const char *const *words, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0)
			return (int)i;
	}
	return -EINVAL;
}

bool config_name_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t len = strlen(name);

	return len >= 1 && len <= 64 && name[0] != '.' && strspn(name, allowed) == len;
}

bool config_port_valid(const char *port)
{
	size_t len = strlen(port);
	unsigned long v;

	if (len < 1 || len > 5 || strspn(port, "0123456789") != len)
		return false;
	v = strtoul(port, NULL, 10);
	return v >= 1 && v <= UINT16_MAX;
}

bool config_ifname_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= ' ' || c == 0x7f || c == '/' || c == ':')
			return false;
	}
	return len >= 1 && len <= CONFIG_MAX_IFNAME && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

bool config_ifname_is_pattern(const char *name)
{
	const char *percent = strchr(name, '%');

	return percent && percent[1] == 'd' && !strchr(percent + 1, '%');
}
