// SPDX-License-Identifier: GPL-2.0-or-later
// Whether KVM's guests here get an interrupt where they have switched interrupts off: irqtwice COUNT
//
// A guest of one vCPU, half the time with interrupts off, gets COUNT interrupts while another thread makes
// the machine's CPUs halt for a moment, again and again. Prints how many came, and how many of them within
// code that runs with interrupts off: on a machine that works, none.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "small_guest.h"

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

static volatile bool over;

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
	struct kvm_msi msi = { .address_lo = LAPIC, .data = VECTOR };
	uint64_t count = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	struct small_guest small;
	volatile uint64_t *seen;
	pthread_t guest, other;

	if (count == 0)
		die("irqtwice COUNT");
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = nothing }, NULL);
	small_guest_init(&small, guest_code, guest_end - guest_code);
	small_guest_gate(&small, VECTOR, guest_handler - guest_code);
	seen = (uint64_t *)(small.memory + GUEST_COUNTERS);
	pthread_create(&guest, NULL, run, &small.vcpu);
	pthread_create(&other, NULL, disturb, NULL);
	while (!seen[2])
		sched_yield();
	for (uint64_t n = 0; n < count; n++) {
		uint64_t before = seen[0];

		ask(small.vm, KVM_SIGNAL_MSI, &msi);
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
