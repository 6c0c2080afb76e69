/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's side of the connection: it takes a source's HELLO, and answers it. */
#ifndef FERRY_MIGRATION_DESTINATION_H
#define FERRY_MIGRATION_DESTINATION_H

#include "migration/arrivals.h"
#include "migration/report.h"
#include "migration/stream.h"
#include "vmm/vm.h"

/* Bounds of a guest's description: a uint64_t has a bit for each device that was seen, and a name is a node's
 * in a state tree. */
#define DESTINATION_MAX_DEVICES 64u
#define DESTINATION_NAME_MAX    63u

struct destination_config {
	struct arrivals *arrivals; /* sources come out of it */
	int cancel_fd;             /* see channel.h */
	/* How far the source's clock may be from this host's; UINT64_MAX: by anything. */
	uint64_t clock_skew_ns;
};

struct destination {
	struct channel channel;
	struct stream stream;
	void *hello; /* config tree, checked as a whole */
	uint32_t hello_len;
	uint64_t mem;
	unsigned int cpus;
	bool check; /* the guest stays where it is, and the source asks whether it could come */
	uint64_t clock_skew_ns;
	/* Of this host's clock (clock.h): the HELLO was said after the one, and came with the other. */
	uint64_t accepted, arrived;
	/* STATE_MAX bytes for the payload in hand, from destination_ready() to destination_drop_tree(). */
	void *tree;
	/* What has become of the connection, from its HELLO on; and when it came, see now_ns(). */
	struct report report;
	uint64_t start_ns;
};

/*
 * The order: destination_accept(), compare_hello() before anything is taken for the guest,
 * destination_ready() before what takes longer the larger the guest is, and incoming_run(). Where one of the
 * two in the middle fails the caller says so with destination_refuse(). destination_close() ends it all.
 */

/*
 * Waits for a source, whoever else comes meanwhile and says something else or nothing, and takes its HELLO:
 * memory size and vCPU count are known then, within the bounds of what can be built at all. The arrivals
 * are the caller's to open and to close, and how that connection ends is the caller's to settle. On an error
 * there is nothing to close.
 */
int __must_check destination_accept(struct destination *d, const struct destination_config *config,
				    struct error *err);

/* Says READY, with memory in hand for the state that comes. The VM has its memory, and need not have more. To
 * a check that is all: the VM needs no memory, and destination_close() follows. */
int __must_check destination_ready(struct destination *d, struct error *err);

/* Tells the source why this host cannot take the guest. */
void destination_refuse(struct destination *d, const struct error *err);

/* The guest runs here, or (a reason is given) it does not come: completes the report. */
void destination_report_end(struct destination *d, const struct error *reason);

/* Hangs up, and frees what the functions above took. */
void destination_close(struct destination *d);

/* The memory for trees is not needed any more. */
void destination_drop_tree(struct destination *d);

/* Reads from a HELLO whether it is a check. */
int __must_check destination_read_check(struct destination *d, struct state_node *root);

/* Returns which of enum config_device the source has, as a set: the guest gets those here, too. After
 * destination_accept(). */
unsigned int destination_devices(const struct destination *d);

/* Finds a device of @vm by name, and its number in the list of devices. NULL if there is none. */
struct device *destination_find_device(struct vm *vm, const char *name, unsigned int *index);

#endif
