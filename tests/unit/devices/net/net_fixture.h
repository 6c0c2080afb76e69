/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One guest with a NIC, or two of which one is a migration's destination, and what tests of the NIC do with
 * them again and again. */
#ifndef FERRY_TESTS_UNIT_DEVICES_NET_NET_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_NET_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "devices/net/migrate.h"
#include "tests/fake/net_guest.h"
#include "tests/unit/devices/device_tree.h"

#define ALL       UINT64_MAX
#define BIT       VIRTIO_BIT
#define DRIVER_OK 0xf
#define BROKEN    (DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)

struct fixture {
	struct net_guest *a, *b; /* source and destination */
	struct fake_vdpa *va, *vb;
};

/* The configuration of every NIC that is built from now on. */
extern struct net_config fixture_config;

/* Makes a device, and a guest with a NIC in front of it. free_guest() frees both, where there are some. */
struct net_guest *build_guest(const struct fake_vdpa_spec *spec, struct fake_vdpa **vdpa);
void free_guest(struct net_guest **g, struct fake_vdpa **vdpa);

/* Makes the fixture's source or destination anew. */
void build_a(struct fixture *f, const struct fake_vdpa_spec *spec);
void build_b(struct fixture *f, const struct fake_vdpa_spec *spec);

/* For cmocka: a fixture with a source in front of the default device, and no destination. */
int setup(void **state);
int teardown(void **state);

/* The source's driver runs with these features, and the device has buffers of its first receive queue. */
void start_a(struct fixture *f, uint64_t features);

/* Sends a control command, which must be taken. */
void assert_command(struct net_guest *g, uint8_t class, uint8_t number, const void *data, uint32_t len);
/* How many control commands the device has been sent. */
unsigned int commands(struct fake_vdpa *v);

/* State trees of the guest's NIC: see device_tree.h. The tree is taken, or refused, and freed either way. */

struct device *device_of(struct net_guest *g);

struct tree write_tree(struct net_guest *g, tree_write_fn *fn);
struct tree write_warm(struct net_guest *g, bool first);
int read_tree(struct net_guest *g, tree_read_fn *fn, const void *fdt, uint32_t len, struct error *err);
int take_tree(struct net_guest *g, tree_read_fn *fn, struct tree t, struct error *err);
void assert_taken(struct net_guest *g, tree_read_fn *fn, struct tree t);
void assert_refused(struct net_guest *g, tree_read_fn *fn, struct tree t, const char *reason);

/* A migration's steps, each of which must succeed: migrate() is all of them. */

void track(struct net_guest *g, bool on);
void warm(struct fixture *f);
void stop_and_load(struct fixture *f);
void commit(struct fixture *f);
void migrate(struct fixture *f);
/* After a migration the destination is the next one's source. */
void swap(struct fixture *f);

/* Both devices filter and steer alike. */
void assert_same_device(struct fixture *f);
/* After stop_and_load(): what was saved is what would be saved again. */
void assert_saved_alike(struct fixture *f);

/* Packets */

/* Whether a frame is one of Ferry's own, from any address and on any VLAN. */
bool is_announcement(const uint8_t *frame, int len);
/* Takes the announcements that wait in the device's ring; how many. */
unsigned int drain_announcements(struct fake_vdpa *v);
/* The next packet that the guest sends, without announcements, which come when their time has come; its
 * length. */
int sent(struct fake_vdpa *v, unsigned int pair, uint8_t *data, uint32_t size);
/* Sends one packet each way, with data of its own, and looks whether each arrives. */
void exchange(struct net_guest *g, struct fake_vdpa *v, unsigned int pair, uint8_t mark);

/* Runs the tests with guests that have split rings, and with packed ones. */
int run_formats(const struct CMUnitTest *tests, size_t n);

#endif
