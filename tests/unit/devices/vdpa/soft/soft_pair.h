/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two guests with NICs on vDPA devices in software, on one network; one of them is a migration's destination.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_PAIR_H
#define FERRY_TESTS_UNIT_DEVICES_VDPA_SOFT_SOFT_PAIR_H

#include "tests/fake/soft.h"
#include "tests/unit/devices/net/net_fixture.h"

struct pair {
	struct fixture f; /* without fake devices */
	struct soft_net net;
	struct net_guest a, b;
};

/* For a test's setup and teardown: *@state is a struct pair whose guests are not started. */
int build(void **state);
int demolish(void **state);

/* Both threads of a guest's NIC have dealt with everything, whichever way it went. */
void settle(struct net_guest *g);

/* Makes a frame of 100 bytes with this mark. */
void make(uint8_t *frame, const char *to, uint8_t mark);
/* Sends a frame with this mark from the network: whether it reaches the guest. */
bool reaches(struct pair *p, struct net_guest *g, const char *to, uint8_t mark);
/* Has the guest send a frame, which must come to the network; announcements aside. */
void assert_sends(struct pair *p, struct net_guest *g, uint8_t mark);
int command(struct net_guest *g, uint8_t class, uint8_t cmd, const void *data, uint32_t len);

/* Whether the device reads the guest's rings, once both threads have dealt with everything. */
bool passing(struct net_guest *g);
/* Waits until it does, as long as tries some tenths of a second apart need. */
void assert_returns(struct net_guest *g);
/* A migration cannot begin, for this reason: the device goes on with the guest's rings. */
void assert_not_tracked(struct net_guest *g, const char *reason);

#endif
