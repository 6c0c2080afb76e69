/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine: the KVM VM with its interrupt controllers, guest RAM, the two buses, the vCPUs and
 * their gate, and the list of devices.
 */
#ifndef FERRY_VMM_VM_H
#define FERRY_VMM_VM_H

#include <pthread.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/gate.h"
#include "vmm/log.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/vcpu.h"

#define VM_MAX_GSI   1024u
#define VM_MAX_PAGES 256u

struct cpu_model; /* vmm/x86/cpu.c */

struct vm {
	int kvm_fd;
	int fd;
	struct memory memory;
	struct bus pio;
	struct bus mmio;
	struct loop loop; /* the main thread's */
	struct gate gate;
	struct device *devices;
	struct device **devices_tail;
	/* Readable once the process is to end, -1 for never: whoever waits for a host's device watches it.
	 * Not the VM's; set before devices are there. */
	int stop_fd;

	unsigned int n_vcpus;
	struct vcpu *vcpus;

	struct cpu_model *cpu;      /* what all vCPUs have in common */
	uint64_t *dirty_bitmap;     /* of one memory slot, while the dirty log is on */
	struct log_limit log_limit; /* of what a guest can have KVM refuse */
	_Atomic bool migrating;     /* taken by source_migrate(), given back when the guest goes on here */

	pthread_mutex_t lock; /* everything below */
	bool gsi_used[VM_MAX_GSI];
	uint64_t pages[VM_MAX_PAGES]; /* gpa, 0: free; the slot is its place behind those of guest memory */
	struct kvm_irq_routing *routing;
};

/*
 * Opens /dev/kvm and creates a VM with @mem bytes and @cpus vCPUs whose threads wait; registers are unset.
 * One clear message in @err for what a host's set-up lacks. vm_destroy() undoes it, and is not called while
 * the loop runs, nor where vm_init() has failed.
 */
int __must_check vm_init(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err);
void vm_destroy(struct vm *vm);

/*
 * The parts of vm_init(), for a guest that is yet to be compared. The frame has what costs the same for any
 * size: KVM's VM, a frame of memory (memory.h), and of the vCPUs the first, which can be asked what they are
 * like here; devices can be added. vm_fill() makes memory, which costs next to nothing yet. vm_equip() gives
 * it to KVM, whose tables for it can take seconds where it has no second level of paging in hardware, and
 * makes the other vCPUs, as vm_accept() has made the first; meanwhile another thread may write memory, and
 * call vm_prefault(). Where one fails vm_destroy() is still to be called.
 */
int __must_check vm_frame(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err);
int __must_check vm_fill(struct vm *vm, struct error *err);
int __must_check vm_equip(struct vm *vm, struct error *err);

/* Appends to the device list: the order of saving and loading. Before the VM runs. */
void vm_add_device(struct vm *vm, struct device *dev);

/* Starts the vCPU threads, parked. Once, after the devices are there. */
int __must_check vm_start(struct vm *vm, struct error *err);

/* An eventfd that is signalled by guest writes of any value to the 2-byte register at @addr of the MMIO bus.
 * Any thread. */
int __must_check vm_add_ioeventfd(struct vm *vm, uint64_t addr, int fd);
void vm_del_ioeventfd(struct vm *vm, uint64_t addr, int fd);

/*
 * Puts a page of a host's device, @hva, before the guest at @gpa, in the place of the MMIO bus and of an
 * ioeventfd there; they are back once it is unmapped, which must come before the page goes. Not guest memory:
 * no device of the VM's reaches it, and no log covers it. -ENOSPC: too many. Any thread.
 */
int __must_check vm_map_page(struct vm *vm, uint64_t gpa, void *hva);
void vm_unmap_page(struct vm *vm, uint64_t gpa);

/*
 * An interrupt of a device that is sent by writing to an eventfd, without a thread of Ferry's between. Owned
 * by the caller. Its message can be changed at any time; while it is masked (vm_irq_mask(), and at first)
 * signals stay in the eventfd and are delivered, as one, at unmasking. Unmasked without a message it drops
 * them. Calls for one vm_irq come one at a time, on any thread.
 */
struct vm_irq {
	int fd; /* eventfd: signal by writing 1 */
	unsigned int gsi;
	uint64_t msi_addr;
	uint32_t msi_data;
	bool attached; /* to KVM: unmasked */
};

int __must_check vm_init_irqs(struct vm *vm, struct error *err); /* vm_init()'s part */
int __must_check vm_irq_init(struct vm *vm, struct vm_irq *irq);
void vm_irq_exit(struct vm *vm, struct vm_irq *irq);

/* The messages of several interrupts, all of them or, on an error, none. */
struct vm_msi {
	struct vm_irq *irq;
	uint64_t addr;
	uint32_t data;
};

int __must_check vm_irq_set_msis(struct vm *vm, const struct vm_msi *msis, unsigned int n);

int __must_check vm_irq_unmask(struct vm *vm, struct vm_irq *irq); /* connects; delivers what is pending */
void vm_irq_mask(struct vm *vm, struct vm_irq *irq);

/* Sets the level of an interrupt line of the IOAPIC (0 to 23). Any thread. */
void vm_irq_line(struct vm *vm, unsigned int gsi, bool high);

/* Whether a VM can be had on this host: KVM is there, and has what Ferry needs. Nothing is kept. */
int __must_check vm_check_host(struct error *err);

/* What a host's KVM must offer: every capability missing is named in @err. */
struct vm_cap {
	int cap;
	const char *name;
};
int __must_check vm_check_caps(const struct vm *vm, const struct vm_cap *caps, unsigned int n_caps,
			       struct error *err);

/*
 * Enters guest memory [gpa, gpa + len), whole pages that have passed memory_at(), into KVM's second-level
 * page tables, which all vCPUs share: a guest that has just arrived would else take a fault for every page
 * that it touches first. Allocates what is not there yet. Linux 6.11; nothing where KVM cannot, or does not
 * have that memory yet. Before the vCPUs run.
 */
void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len);

/* The same for what is there of all guest memory: pinned for a device, or written by Ferry. From its
 * beginning, up to @max bytes, whole pages. */
void vm_prefault_present(struct vm *vm, uint64_t max);

/* KVM's dirty log, off by default. vm_dirty_log() ORs what was written since the last call into a bitmap of
 * memory.h. One thread. */
int __must_check vm_dirty_log_start(struct vm *vm);
void vm_dirty_log_stop(struct vm *vm);
int __must_check vm_dirty_log(struct vm *vm, uint64_t *bitmap);

/*
 * Description (memory size, vCPU count, CPU features, clock rates), and state of everything that is KVM's:
 * vCPUs, interrupt controllers, clock. As in device.h: describe/accept before, save/load while paused.
 * vm_accept() of a host that cannot run such vCPUs says every feature that is missing by name; on success the
 * vCPUs, which have not run yet, are like the source's. Written into the current node ("memory" u64 bytes,
 * "cpus" u32, CPU features), read from @node; opening and finishing it is the caller's.
 */
void vm_describe(struct vm *vm, struct state_writer *w);
int __must_check vm_accept(struct vm *vm, struct state_node *node);
int __must_check vm_save(struct vm *vm, struct state_writer *w, struct error *err);
int __must_check vm_load(struct vm *vm, struct state_node *node);

#endif
