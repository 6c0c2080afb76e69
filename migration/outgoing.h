/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration away from here, as all of its stages see it: the connection, whom to tell how far it is, and
 * whether to go on. All of it is on the thread of the migration. 0, or -errno with the reason in @err.
 */
#ifndef FERRY_MIGRATION_OUTGOING_H
#define FERRY_MIGRATION_OUTGOING_H

#include "migration/compress.h"
#include "migration/stream.h"
#include "vmm/vm.h"

/* Limit for an answer while the guest runs: it loses nothing by waiting, and a peer that has gone is noticed
 * at once. */
#define OUTGOING_RUNNING_TIMEOUT_MS 60000

struct outgoing {
	struct vm *vm;
	const struct source_config *config;
	struct report *report;
	struct channel channel;
	struct stream stream;
	struct compress compress;
	uint64_t start_ns;
	/* When the operator's time is up, see now_ns(); UINT64_MAX: never. */
	uint64_t end_ns;
	/* When what was sent last has had its time, at the bandwidth that is allowed. */
	uint64_t paced_ns;
	bool vm_paused; /* set and cleared by source.c */
};

/* Tells the caller of source_migrate() how far it is, unless the guest stands still. */
void outgoing_progress(struct outgoing *o);

/* Checks that there is still a guest, and that it goes on as it is: 0, or -ESHUTDOWN. */
int __must_check outgoing_check_vm(struct outgoing *o, struct error *err);

/* Checks that the operator's time is not up: 0, or -ETIME, said in words by source.c. */
int __must_check outgoing_check_time(const struct outgoing *o);

/* Checks that it makes sense to go on: here, at the destination, and for the operator, also for the time that
 * he gave. */
int __must_check outgoing_check(struct outgoing *o, struct error *err);

/*
 * Waits, after @bytes were sent, for as long as keeps the average within the operator's bandwidth, and does
 * what outgoing_check() does meanwhile. Adds what it waited to *@waited_ns. Not while the guest stands still.
 */
int __must_check outgoing_pace(struct outgoing *o, uint64_t bytes, uint64_t *waited_ns, struct error *err);

/* Closes @w's tree and sends it as one frame. */
int __must_check outgoing_send_tree(struct outgoing *o, enum stream_type type, uint64_t arg,
				    struct state_writer *w, struct error *err);

/* Waits until the devices have settled, or @deadline_ns: then -ETIMEDOUT, with the device's name in @err. */
int __must_check outgoing_settle(struct outgoing *o, uint64_t deadline_ns, struct error *err);

#endif
