// SPDX-License-Identifier: GPL-2.0-or-later
// Loaded into the QEMU that runs L1: its VMRUN leaves nothing pending behind an interrupt that it has
// injected.
//
// target/i386/tcg/system/svm_helper.c: helper_vmrun() delivers an injected interrupt itself, but leaves its
// vector in the CPU's exception_index. If the CPU's thread is kicked before the guest's next #VMEXIT, the
// loop takes that for an exception: the handler runs once more, also where interrupts are off. The other
// kinds of events are delivered by that loop, so the function does not return from them: behind it nothing is
// pending.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// What such a program exports for its modules.
struct helper_info {
	void (*func)(void *env, int aflag, int next_eip_addend);
};

#pragma weak helper_info_vmrun
#pragma weak qemu_get_cpu
#pragma weak cpu_loop_exit_noexc
extern struct helper_info helper_info_vmrun;
extern void *qemu_get_cpu(int index);
extern _Noreturn void cpu_loop_exit_noexc(void *cpu);

static void (*vmrun)(void *env, int aflag, int next_eip_addend);

// A CPU's registers, which generated code knows it by, are a part of the CPU itself.
static void *cpu_of(const void *env)
{
	void *cpu, *found = NULL;

	for (int i = 0; (cpu = qemu_get_cpu(i)) != NULL; i++) {
		if ((uintptr_t)cpu < (uintptr_t)env && (uintptr_t)cpu > (uintptr_t)found)
			found = cpu;
	}
	return found;
}

static void vmrun_once(void *env, int aflag, int next_eip_addend)
{
	vmrun(env, aflag, next_eip_addend);
	// On to the guest with no exception pending.
	cpu_loop_exit_noexc(cpu_of(env));
}

__attribute__((constructor)) static void begin(void)
{
	if (!&helper_info_vmrun || !qemu_get_cpu || !cpu_loop_exit_noexc) {
		fprintf(stderr,
			"vmrun: this QEMU is unlike those known: nested guests may get interrupts twice\n");
		return;
	}
	vmrun = helper_info_vmrun.func;
	helper_info_vmrun.func = vmrun_once;
}
