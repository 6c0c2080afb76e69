// SPDX-License-Identifier: GPL-2.0-or-later
// A guest of one vCPU and a few instructions, in long mode, with its first 2 MiB and its local APIC mapped:
// one a program.
#ifndef FERRY_TESTS_LAB_SMALL_GUEST_H
#define FERRY_TESTS_LAB_SMALL_GUEST_H

#ifndef _GNU_SOURCE
#error "small_guest.h: sched.h has affinities for GNU sources only"
#endif
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "helper.h"

enum {
	GUEST_MEMORY = 1 << 21,
	GUEST_GDT = 0x800,
	GUEST_IDT = 0x1000,
	// The page that code and host share.
	GUEST_COUNTERS = 0x2000,
	GUEST_PML4 = 0x3000,
	GUEST_PDPT = 0x4000,
	GUEST_PD = 0x5000,
	GUEST_CODE = 0x6000,
	GUEST_STACK = 0x10000
};

struct small_guest {
	int vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
};

static inline int ask(int fd, unsigned long request, void *argument)
{
	int ret = ioctl(fd, request, argument);

	if (ret < 0)
		die("KVM");
	return ret;
}

// The calling thread stays on CPU @n.
static inline void to_cpu(int n)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(n, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

static inline void small_guest_tables(const struct small_guest *g)
{
	uint64_t *pml4 = (uint64_t *)(g->memory + GUEST_PML4), *pdpt = (uint64_t *)(g->memory + GUEST_PDPT),
		 *pd = (uint64_t *)(g->memory + GUEST_PD), *gdt = (uint64_t *)(g->memory + GUEST_GDT);

	// The first 2 MiB; and 1 GiB with the local APIC in it.
	pml4[0] = GUEST_PDPT | 3;
	pdpt[0] = GUEST_PD | 3;
	pdpt[3] = 0xc0000000u | 0x83;
	pd[0] = 0x83;
	gdt[1] = 0x00af9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
}

static inline void small_guest_registers(const struct small_guest *g)
{
	struct kvm_segment code = {
		.selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1, .limit = ~0u
	};
	struct kvm_segment data = {
		.selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1, .limit = ~0u
	};
	struct kvm_regs r = { .rip = GUEST_CODE, .rsp = GUEST_STACK, .rflags = 2 };
	struct kvm_sregs s;

	ask(g->vcpu, KVM_GET_SREGS, &s);
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GUEST_GDT;
	s.gdt.limit = 3 * 8 - 1;
	s.idt.base = GUEST_IDT;
	s.idt.limit = 16 * 256 - 1;
	s.cr0 = 0x80000011;
	s.cr3 = GUEST_PML4;
	s.cr4 = 0x20;
	s.efer = 0x500;
	ask(g->vcpu, KVM_SET_SREGS, &s);
	ask(g->vcpu, KVM_SET_REGS, &r);
}

// The handler at @offset within the code for interrupt @vector.
static inline void small_guest_gate(const struct small_guest *g, int vector, uint64_t offset)
{
	uint64_t handler = GUEST_CODE + offset, *gate = (uint64_t *)(g->memory + GUEST_IDT + 16 * vector);

	gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (handler >> 16) << 48;
}

// Ready to run the @len bytes at @code; there until the program ends.
static inline void small_guest_init(struct small_guest *g, const uint8_t *code, size_t len)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_MEMORY };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		die("/dev/kvm");
	g->vm = ask(kvm, KVM_CREATE_VM, NULL);
	ask(g->vm, KVM_CREATE_IRQCHIP, NULL);
	g->memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (g->memory == MAP_FAILED)
		die("mmap");
	region.userspace_addr = (uintptr_t)g->memory;
	ask(g->vm, KVM_SET_USER_MEMORY_REGION, &region);
	g->vcpu = ask(g->vm, KVM_CREATE_VCPU, NULL);
	g->run = mmap(NULL, ask(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL), PROT_READ | PROT_WRITE, MAP_SHARED,
		      g->vcpu, 0);
	if (g->run == MAP_FAILED)
		die("mmap");
	ask(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	ask(g->vcpu, KVM_SET_CPUID2, &cpuid);
	small_guest_tables(g);
	memcpy(g->memory + GUEST_CODE, code, len);
	small_guest_registers(g);
}

#endif
