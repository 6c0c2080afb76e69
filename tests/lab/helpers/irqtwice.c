// SPDX-License-Identifier: GPL-2.0-or-later
// Whether KVM's guests here get an interrupt where they have switched interrupts off: irqtwice COUNT
//
// A guest of one vCPU, half the time with interrupts off, gets COUNT interrupts while another thread makes
// the machine's CPUs halt for a moment, again and again. Prints how many came, and how many of them within
// code that runs with interrupts off: on a machine that works, none.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helper.h"

enum {
	MEMORY = 1 << 21,
	GDT = 0x800,
	IDT = 0x1000,
	COUNTERS = 0x2000,
	PML4 = 0x3000,
	PDPT = 0x4000,
	PD = 0x5000,
	CODE = 0x6000,
	STACK = 0x10000
};
enum { VECTOR = 0x40, LAPIC = 0xfee00000u };

// Counters are at 0x2000: interrupts, those that came with interrupts off, and whether its local APIC takes
// any.
extern const uint8_t guest_code[], guest_handler[], guest_end[];
asm("	.pushsection .rodata\n"
    "guest_code:\n"
    "	mov	$0xfee000f0, %edi\n"
    "	movl	$0x1ff, (%rdi)\n"
    "	movl	$1, 0x2010\n"
    "1:	cli\n"
    "	mov	$300, %ecx\n"
    "2:	dec	%ecx\n"
    "	jnz	2b\n"
    "	sti\n"
    "	mov	$300, %ecx\n"
    "3:	dec	%ecx\n"
    "	jnz	3b\n"
    "	jmp	1b\n"
    "guest_handler:\n"
    "	push	%rdi\n"
    "	lock incq 0x2000\n"
    "	testl	$0x200, 24(%rsp)\n"
    "	jnz	4f\n"
    "	lock incq 0x2008\n"
    "4:	mov	$0xfee000b0, %edi\n"
    "	movl	$0, (%rdi)\n"
    "	pop	%rdi\n"
    "	iretq\n"
    "guest_end:\n"
    "	.popsection\n");

static uint8_t *memory;
static volatile bool over;

static int ask(int fd, unsigned long request, void *argument)
{
	int ret = ioctl(fd, request, argument);

	if (ret < 0)
		die("KVM");
	return ret;
}

static void to_cpu(int n)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(n, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

// An atomic access across a cache line's end: an emulator carries it out while all CPUs stand still.
static void *disturb(void *unused)
{
	static uint8_t lines[128] __attribute__((aligned(64)));

	to_cpu(1);
	while (!over) {
		asm volatile("lock incl %0" : "+m"(*(uint32_t *)(lines + 62)));
		usleep(1);
	}
	return unused;
}

static void tables(void)
{
	uint64_t *pml4 = (uint64_t *)(memory + PML4), *pdpt = (uint64_t *)(memory + PDPT),
		 *pd = (uint64_t *)(memory + PD);
	uint64_t *gdt = (uint64_t *)(memory + GDT), handler = CODE + (guest_handler - guest_code),
		 *gate = (uint64_t *)(memory + IDT + 16 * VECTOR);

	// The first 2 MiB; and 1 GiB with the local APIC in it.
	pml4[0] = PDPT | 3;
	pdpt[0] = PD | 3;
	pdpt[3] = 0xc0000000u | 0x83;
	pd[0] = 0x83;
	gdt[1] = 0x00af9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
	gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (handler >> 16) << 48;
	memcpy(memory + CODE, guest_code, guest_end - guest_code);
}

static void registers(int vcpu)
{
	struct kvm_segment code = {
		.selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1, .limit = ~0u
	};
	struct kvm_segment data = {
		.selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1, .limit = ~0u
	};
	struct kvm_regs r = { .rip = CODE, .rsp = STACK, .rflags = 2 };
	struct kvm_sregs s;

	ask(vcpu, KVM_GET_SREGS, &s);
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GDT;
	s.gdt.limit = 3 * 8 - 1;
	s.idt.base = IDT;
	s.idt.limit = 16 * 256 - 1;
	s.cr0 = 0x80000011;
	s.cr3 = PML4;
	s.cr4 = 0x20;
	s.efer = 0x500;
	ask(vcpu, KVM_SET_SREGS, &s);
	ask(vcpu, KVM_SET_REGS, &r);
}

static void *run(void *argument)
{
	int vcpu = *(int *)argument;

	to_cpu(0);
	while (!over) {
		if (ioctl(vcpu, KVM_RUN, 0) == 0) {
			fprintf(stderr, "irqtwice: the guest ended\n");
			exit(2);
		}
		if (errno != EINTR)
			die("KVM_RUN");
	}
	return NULL;
}

static void nothing(int signal)
{
	(void)signal;
}

int main(int argc, char **argv)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	struct kvm_msi msi = { .address_lo = LAPIC, .data = VECTOR };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu;
	uint64_t count = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	volatile uint64_t *seen;
	pthread_t guest, other;

	if (kvm < 0 || count == 0)
		die("irqtwice COUNT, with /dev/kvm");
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = nothing }, NULL);
	vm = ask(kvm, KVM_CREATE_VM, NULL);
	ask(vm, KVM_CREATE_IRQCHIP, NULL);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	region.userspace_addr = (uintptr_t)memory;
	ask(vm, KVM_SET_USER_MEMORY_REGION, &region);
	vcpu = ask(vm, KVM_CREATE_VCPU, NULL);
	ask(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	ask(vcpu, KVM_SET_CPUID2, &cpuid);
	tables();
	registers(vcpu);
	seen = (uint64_t *)(memory + COUNTERS);
	pthread_create(&guest, NULL, run, &vcpu);
	pthread_create(&other, NULL, disturb, NULL);
	while (!seen[2])
		sched_yield();
	for (uint64_t n = 0; n < count; n++) {
		uint64_t before = seen[0];

		ask(vm, KVM_SIGNAL_MSI, &msi);
		while (seen[0] == before)
			sched_yield();
	}
	over = true;
	for (bool ended = false; !ended; usleep(1000)) {
		pthread_kill(guest, SIGUSR1);
		ended = pthread_tryjoin_np(guest, NULL) == 0;
	}
	pthread_join(other, NULL);
	printf("interrupts %llu, with interrupts off %llu\n", (unsigned long long)seen[0],
	       (unsigned long long)seen[1]);
	return seen[1] > 0;
}
