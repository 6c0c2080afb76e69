/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtual machine: the KVM VM with its interrupt controllers, guest RAM, the two buses, the vCPUs and
 * their gate, and the list of devices.
 */
#ifndef FERRY_VMM_VM_H
#define FERRY_VMM_VM_H

#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/gate.h"
#include "vmm/irq.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"
#include "vmm/memory.h"
#include "vmm/vcpu.h"

struct boot_files;
struct events;
struct cpu_model;
struct cpuid_offer;

struct vm {
	struct memory memory;
	struct bus pio;
	struct bus mmio;
	/* The main thread runs it. */
	struct loop loop;
	struct gate gate;
	struct kvm kvm;
	struct irq_table irqs;
	struct cpu_model *cpu;
	unsigned int n_vcpus;
	struct vcpu *vcpus;
	/* Devices that the board's ACPI tables are to name, a set of enum config_device. */
	unsigned int board;
	struct device *devices;
	struct device **devices_tail;
	/* Readable once the process is to end, -1 for never: whoever waits for a host's device watches it.
	 * The VM does not own it; set before devices are there. */
	int stop_fd;
	/* Taken by source_migrate(), given back when the guest goes on here; and for the time of a reset. */
	_Atomic bool migrating;
	/* Who is told of what happens to the guest, or NULL: set before vCPUs run, and another's. */
	struct events *events;
	/* What the guest boots from, the main thread's; NULL where it cannot boot. */
	struct boot_files *boot;
	/* State of all that is KVM's before the guest first ran: vm_keep_power_on(). */
	void *power_on;
	uint32_t power_on_len;
};

/*
 * Opens /dev/kvm and creates a VM with @mem bytes and @cpus vCPUs whose threads wait; registers are unset.
 * One clear message in @err for what a host's set-up lacks. vm_destroy() undoes it, and is not called while
 * the loop runs, nor where vm_init() has failed.
 */
int __must_check vm_init(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err);
void vm_destroy(struct vm *vm);

/*
 * The parts of vm_init(), for a guest that is yet to be compared. vm_begin() has next to nothing, and a frame
 * of memory (memory.h). vm_frame() adds what costs the same for any size: KVM's VM, and of the vCPUs the
 * first, which can be asked what they are like here; devices can be added. vm_fill() makes memory, any time
 * after vm_begin(), which costs next to nothing yet, and another thread may write it then. vm_equip() gives
 * it to KVM, whose tables for it can take seconds where it has no second level of paging in hardware, and
 * makes the other vCPUs, as vm_accept() has made the first; meanwhile another thread may write memory, and
 * call vm_prefault(). Where one fails vm_destroy() is still to be called.
 */
int __must_check vm_begin(struct vm *vm, uint64_t mem, struct error *err);
int __must_check vm_frame(struct vm *vm, const char *kvm, unsigned int cpus, struct error *err);
int __must_check vm_fill(struct vm *vm, struct error *err);
int __must_check vm_equip(struct vm *vm, struct error *err);

/*
 * Limits the guest to the CPU features of @offer (vmm/x86/cpuid.h), after vm_frame() and before vm_equip().
 * -errno, with each feature that the host lacks by name in @err.
 */
int __must_check vm_limit_cpu(struct vm *vm, const struct cpuid_offer *offer, struct error *err);

/* Returns the CPU features that the guest has, all that this host has to offer unless it was limited. */
void vm_get_cpu(const struct vm *vm, struct cpuid_offer *offer);

/* Appends to the device list: the order of saving and loading. Before the VM runs. */
void vm_add_device(struct vm *vm, struct device *dev);

/* Starts the vCPU threads, parked. Once, after the devices are there. */
int __must_check vm_start(struct vm *vm, struct error *err);

/* Does as vcpu_prefault() does, on the first vCPU, before vCPUs run. */
void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len);

/* Enters all of guest memory that is there, pinned for a device or written by Ferry: from its beginning, up
 * to @max bytes, whole pages. */
void vm_prefault_present(struct vm *vm, uint64_t max);

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

/*
 * Keeps the state as vm_save() writes it now, after vm_equip() and before anything is loaded or run; and
 * makes it so again, while the vCPUs stand still. The clock goes on meanwhile. -errno with the reason.
 */
int __must_check vm_keep_power_on(struct vm *vm, struct error *err);
int __must_check vm_power_on(struct vm *vm, struct error *err);

#endif
