/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What holds of a NIC between two events, by its phase. */
#ifndef FERRY_TESTS_FAKE_NET_PHASE_H
#define FERRY_TESTS_FAKE_NET_PHASE_H

#include "devices/net/nic.h"

/* Asserts it, on the NIC's thread, or while no thread runs its loop. */
void fake_net_check_phase(const struct net *net);

#endif
