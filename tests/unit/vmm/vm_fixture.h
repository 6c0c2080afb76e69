/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM on the host's real KVM with a guest of a few instructions, and what tests of the VM do with it again
 * and again. Skipped where KVM cannot run a guest. */
#ifndef FERRY_TESTS_UNIT_VMM_VM_FIXTURE_H
#define FERRY_TESTS_UNIT_VMM_VM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <semaphore.h>

#include "vmm/vm.h"

#define MEM  MIB(16)
#define CODE 0x100000u
/* A port of 4 bytes: what the guest writes there arrives in struct probe. */
#define PROBE_IO 0x10u
/* A register whose reads give 1, 2, 3 and so on. */
#define PROBE_MEM 0xd0000000u
/* Long enough for a host that emulates everything, and short of the test's own limit. */
#define WAIT_S 60

/* The devices that the guest talks to. */
struct probe {
	struct vm *vm;
	/* Posted once for each write to PROBE_IO. */
	sem_t written;
	uint32_t value;
	uint32_t n_reads;
	/* The read of PROBE_MEM with this number ends only when somebody pauses the VM; @reading is posted
	 * when it begins. */
	uint32_t pause_at;
	sem_t reading;
};

struct fixture {
	struct vm vm;
	struct probe probe;
};

/* Skips the test where KVM runs no guest. Before anything is allocated: skip() does not come back. */
void need_kvm(void);

/* Makes a VM of MEM bytes and one vCPU that is about to run @code in 32-bit mode; threads are started, and
 * wait. */
struct fixture *make(const void *code, size_t len);
struct fixture *make_sized(const void *code, size_t len, uint64_t mem, unsigned int cpus, bool long_mode);
void destroy(struct fixture *f);

/* Waits for a semaphore, WAIT_S at most. */
void wait_for(sem_t *sem);
/* Waits for the guest's next write to PROBE_IO, and returns the value that was written last. */
uint32_t next_value(struct probe *p);
/* Returns what is in guest memory at @gpa. */
uint32_t guest_u32(struct fixture *f, uint64_t gpa);

/* Return trees of the VM's state and of its description, malloc()ed. */
void *save_tree(struct fixture *f);
void *describe_tree(struct fixture *f);
/* Returns a copy of a tree with room for changes. */
void *edit_tree(const void *fdt);
/* Have the VM load or accept a tree, and return what it says, with the reason in @err. */
int load_tree(struct fixture *f, const void *fdt, struct error *err);
int accept_tree(struct fixture *f, const void *fdt, struct error *err);

/* inc ecx; mov [0x200000], ecx; mov eax, ecx; out PROBE_IO, eax; again */
#define COUNTER_LEN 13
extern const uint8_t counter_code[COUNTER_LEN];
/* again: inc dword [0x200000]; jmp again: never leaves the guest by itself */
#define BUSY_LEN 8
extern const uint8_t busy_code[BUSY_LEN];

/* Makes a guest that writes 1 to PROBE_IO and halts with interrupts on. For each of the vectors 0x40 to 0x42
 * it writes the vector. */
struct fixture *make_irq(void);
/* Signals an interrupt as a device does. */
void signal_irq(const struct irq *irq);
int set_msi(struct vm *vm, struct irq *irq, uint64_t addr, uint32_t data);

#endif
