// SPDX-License-Identifier: GPL-2.0-or-later
// Whether KVM's guests here get through their exits while another CPU loads FPU state: lostflags COUNT
//
// A guest of one vCPU on the first CPU leaves for its host COUNT times, while a thread on the second CPU
// loads the FPU's environment, again and again. Prints how the guest ended: on a machine that works, by its
// own last instruction.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>

#include "small_guest.h"

enum { LAST_PORT = 0x77 };

extern const uint8_t guest_code[], guest_end[];
asm("	.pushsection .rodata\n"
    "guest_code:\n"
    "	mov	0x2000, %r8\n"
    "1:	xor	%eax, %eax\n"
    "	cpuid\n"
    "	dec	%r8\n"
    "	jnz	1b\n"
    "	out	%al, $0x77\n"
    "guest_end:\n"
    "	.popsection\n");

static volatile bool over;

static void *load(void *unused)
{
	uint32_t environment[7];

	to_cpu(1);
	asm volatile("fnstenv %0" : "=m"(environment));
	while (!over)
		asm volatile("fldenv %0" : : "m"(environment));
	return unused;
}

int main(int argc, char **argv)
{
	uint64_t count = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	struct small_guest guest;
	pthread_t other;
	bool whole;

	if (count == 0)
		die("lostflags COUNT");
	small_guest_init(&guest, guest_code, guest_end - guest_code);
	memcpy(guest.memory + GUEST_COUNTERS, &count, sizeof(count));
	pthread_create(&other, NULL, load, NULL);
	to_cpu(0);
	ask(guest.vcpu, KVM_RUN, NULL);
	over = true;
	pthread_join(other, NULL);
	whole = guest.run->exit_reason == KVM_EXIT_IO && guest.run->io.port == LAST_PORT;
	printf("exit reason %u, %s\n", guest.run->exit_reason, whole ? "as it should" : "not as it should");
	return !whole;
}
