/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM without KVM for tests of the migration: the functions of vm.h and kvm.h that it calls, a device that
 * records what is done to it, and a guest that writes memory. The gate is the product's. */
#ifndef FERRY_TESTS_FAKE_VM_MIGRATION_H
#define FERRY_TESTS_FAKE_VM_MIGRATION_H

#include "vmm/vm.h"

struct fake_device {
	struct device device;
	uint64_t config; /* Must be the same at both ends. */
	uint64_t warm;   /* Goes ahead. */
	/* How often warm_save() still finds something new. */
	unsigned int changes;
	/* Bytes that warm_save() writes beside it. */
	uint32_t warm_len;
	uint64_t state;
	const char *refuse_accept, *refuse_track, *refuse_warm, *refuse_load;
	/* track() has been called, and untrack() has not. */
	bool tracked;
	struct fake_guest *guest;
	bool paused, arrived, released;
	bool told;  /* arrived() was called, of a guest that runs. */
	bool ready; /* warm_load() and load() came in order. */
	/* The holder of what only one of source and destination can have, NULL if nobody has it; not looked
	 * at if NULL. */
	_Atomic(struct fake_device *) *holder;
	bool keeps; /* release() does not let go of it. */
	unsigned int n_warm_loads;
	/* How often settle() finds no answer yet, while vCPUs run and after pause(), UINT_MAX: there never is
	 * one; or what fails. Called each time, if not NULL. */
	unsigned int n_waits, n_paused_waits;
	const char *fail_settle;
	void (*on_settle)(struct fake_device *f);
	void *opaque;
	unsigned int n_settles;
	bool settled; /* Since pause(). */
};

/* The time that "dev0" says it stood still for, when a migration begins. */
#define FAKE_STILL_NS 1234u

struct fake_guest {
	struct vm vm;
	struct fake_device devices[2];
	uint64_t registers;
	const char *refuse_accept, *refuse_load, *fail_save;
	uint64_t prefaulted; /* Bytes. */

	_Atomic uint64_t *kvm_log;
	_Atomic bool kvm_logging;
	/* Pages that each look at the dirty log finds written, unless the guest is kept back by @calm_at
	 * percent. */
	unsigned int dirty_per_sync;
	/* NULL, or what each look makes of it, in turn. */
	const unsigned int *dirty_bursts;
	unsigned int n_dirty_bursts, next_burst;
	unsigned int calm_at;
	/* The most that a look has found the guest throttled by. */
	_Atomic unsigned int max_throttle;

	/* The thread that writes to the first @writer_pages pages, if there is one. */
	struct gate_thread writer;
	uint8_t leave;
	uint64_t writer_pages;
	/* Protects @n_writes, and tells of each change. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint64_t n_writes;
};

/* Makes a paused guest with devices "dev0" (which has warm state) and "dev1". */
void fake_guest_init(struct fake_guest *g, uint64_t mem, unsigned int cpus);
/* The same on a host that may have no memory for it: -errno, and nothing to undo. */
int fake_guest_try_init(struct fake_guest *g, uint64_t mem, unsigned int cpus, struct error *err);
void fake_guest_exit(struct fake_guest *g);

/* Fills some pages in each part of RAM, leaves most of it holes, and writes zeros to one page. */
void fake_guest_fill(struct fake_guest *g, uint64_t seed);

/* Starts a thread that writes to pages of the first @n_pages until the guest is paused or freed. */
void fake_guest_run_writer(struct fake_guest *g, uint64_t n_pages);

/* Waits until the thread has written @n times more. */
void fake_guest_wait_writes(struct fake_guest *g, uint64_t n);

/* Writes as a guest does, which is none of the sanitizers' business: it marks the page in KVM's log, as KVM
 * would. */
void fake_guest_write(struct fake_guest *g, uint64_t page, uint64_t v);

/* Compares the memory of two guests without filling holes. One thread at a time. */
bool fake_guest_same_memory(const struct fake_guest *a, const struct fake_guest *b);

bool fake_guest_is_paused(struct fake_guest *g);

#endif
