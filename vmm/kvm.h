/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM's VM: its file descriptors, the slots of guest memory with their dirty log, pages of a host's device
 * before the guest, and doorbells. Interrupts are in irq.h, vCPUs in vcpu.h, and what only x86 has in
 * vmm/x86.
 *
 *	kvm_init -> kvm_open -> kvm_add_memory -> kvm_log_start <-> kvm_log_stop ... -> kvm_exit
 */
#ifndef FERRY_VMM_KVM_H
#define FERRY_VMM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>

#include "vmm/log.h"
#include "vmm/memory.h"

/* Pages of host's devices that can be before the guest at once: a doorbell of each queue of a few NICs. KVM
 * has slots for 32764. */
#define KVM_MAX_PAGES 256u

struct kvm {
	/* Descriptors of /dev/kvm and of the VM; -1 if not open. */
	int fd;
	int vm_fd;
	struct memory *memory;
	/* The log of one slot, for the thread that reads the dirty log; NULL while that is off. */
	uint64_t *dirty_bitmap;
	/* The log's pages are protected anew by a call of its own, for those alone that were written. */
	bool log_by_hand;
	/* Limits messages about what a guest can make KVM refuse again and again. */
	struct log_limit log_limit;
	/* Protects @pages. */
	pthread_mutex_t lock;
	/* The gpa of each page, 0 for none. The slot of a page is its place here; behind them come those of
	 * guest memory. */
	uint64_t pages[KVM_MAX_PAGES];
};

/* A capability that a host's KVM must offer, and its name for the operator. */
struct kvm_cap {
	int cap;
	const char *name;
};

/* Checks whether a VM can be had on this host: KVM is there, at @device (/dev/kvm, or fd:N, see
 * descriptor.h), and has what Ferry needs on every processor. Keeps nothing open. -errno, with every
 * capability that is missing in @err. */
int __must_check kvm_check_host(const char *device, struct error *err);

/* Prepares @kvm; nothing is open yet. kvm_exit() is to be called from here on, whatever fails. @memory must
 * outlive it. */
void kvm_init(struct kvm *kvm, struct memory *memory);
void kvm_exit(struct kvm *kvm);

/* Opens @device, as above, and creates a VM that has no memory yet and can have @cpus vCPUs. -errno with one
 * clear message about what the host's set-up lacks. */
int __must_check kvm_open(struct kvm *kvm, const char *device, unsigned int cpus, struct error *err);

/* Checks that all of @caps are there: -ENOTSUP where one is not, with every one that is missing in @err. Once
 * /dev/kvm is open. */
int __must_check kvm_check_caps(const struct kvm *kvm, const struct kvm_cap *caps, unsigned int n_caps,
				struct error *err);

/* Gives KVM the guest memory, which is there by now. This can take seconds where the host has no second level
 * of paging in hardware; meanwhile other threads may write the memory. */
int __must_check kvm_add_memory(struct kvm *kvm, struct error *err);

/*
 * Makes @fd, an eventfd, be signalled by guest writes of any value to the 2-byte register at @addr of the
 * MMIO bus, and takes that back. -errno of KVM: -EEXIST if the register has one, -ENOSPC if there are too
 * many. Any thread.
 */
int __must_check kvm_add_ioeventfd(struct kvm *kvm, uint64_t addr, int fd);
void kvm_del_ioeventfd(struct kvm *kvm, uint64_t addr, int fd);

/*
 * Puts a page of a host's device, @hva, before the guest at @gpa, in the place of the MMIO bus and of an
 * ioeventfd there; they are back once it is unmapped, which must come before the page goes. It is no guest
 * memory: no device of the VM's reaches it, and no log covers it. -ENOSPC: too many. Any thread.
 */
int __must_check kvm_map_page(struct kvm *kvm, uint64_t gpa, void *hva);
void kvm_unmap_page(struct kvm *kvm, uint64_t gpa);

/*
 * KVM's log of the pages that vCPUs write, off at first. kvm_log_take() adds what was written since the last
 * call to @pages, a set of memory_pages() pages. 0 or -errno. One thread.
 */
int __must_check kvm_log_start(struct kvm *kvm);
void kvm_log_stop(struct kvm *kvm);
int __must_check kvm_log_take(struct kvm *kvm, struct page_set *pages);

/* Adds "@what failed: " and the reason to @err, after an ioctl() whose errno is still there.
 * Returns -errno. */
int kvm_failed(struct error *err, const char *what);

#endif
