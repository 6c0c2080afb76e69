/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk's guest that moves from one host to another, as migration/ has devices do it, step by step.
 * Functions fail the test where something is not as it must be.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_BLK_BLK_PAIR_H
#define FERRY_TESTS_UNIT_DEVICES_BLK_BLK_PAIR_H

#include "devices/blk/migrate.h"
#include "tests/unit/devices/blk/blk_fixture.h"
#include "tests/unit/devices/device_tree.h"

struct pair {
	char path[DISK_PATH];
	struct disk_guest a, b; /* source, whose driver runs, and destination */
};

/* For a test's setup and teardown: a file of @len bytes, and both ends on it. */
int pair_setup(void **state, const char *name, uint64_t len);
int pair_teardown(void **state);

/* Have an operation of the disk write a tree; read one that it must take, or refuse: see device_tree.h. The
 * latter two free it. write_warm() is for warm_save, which must have something. */
struct tree write_tree(struct disk_guest *g, tree_write_fn *fn);
struct tree write_warm(struct disk_guest *g);
void assert_taken(struct disk_guest *g, tree_read_fn *fn, struct tree t);
void assert_refused(struct disk_guest *g, tree_read_fn *fn, struct tree t, const char *reason);

/* Settles, on storage that answers at once. */
void settle(struct disk_guest *g);
/* Pauses, until nothing is under way. */
void rest(struct disk_guest *g);
/* Memory and driver of @from go on at @to. */
void copy_guest(struct disk_guest *to, struct disk_guest *from);

/* A migration: before the stop; the stop, with the source's last state; all of it; and back instead. */
void warm(struct pair *p);
struct tree stop(struct pair *p);
void migrate(struct pair *p);
void give_up(struct pair *p);

#endif
