/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that look random and come again with the same seed. */
#ifndef FERRY_TESTS_FAULT_NIC_RANDOM_H
#define FERRY_TESTS_FAULT_NIC_RANDOM_H

#include <stdint.h>

static inline uint64_t nic_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

#endif
