// SPDX-License-Identifier: GPL-2.0-or-later
// Loaded into the QEMU that runs L1: its VMRUN leaves nothing pending behind an interrupt that it has
// injected, and its FPU changes no other CPU's flags.
//
// target/i386/tcg/system/svm_helper.c: helper_vmrun() delivers an injected interrupt itself, but leaves its
// vector in the CPU's exception_index. If the CPU's thread is kicked before the guest's next #VMEXIT, the
// loop takes that for an exception: the handler runs once more, also where interrupts are off. The other
// kinds of events are delivered by that loop, so the function does not return from them: behind it nothing is
// pending.
//
// target/i386/tcg/system/fpu_helper.c: whatever CPU loads a state of the FPU without an error in it calls
// cpu_clear_ignne(), which clears a flag in the first CPU's hflags2 by a plain read, change and write. What
// the first CPU's own thread changes there meanwhile is lost or comes back: behind a #VMEXIT nested paging is
// on, so that the host's next instruction is a nested page fault and the host's registers are saved as the
// guest's; or in the guest it is off; or interrupts are held off for good. The flag is for software that has
// FPU errors reported by interrupt 13, as no 64-bit kernel does: never set, it need not be cleared.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

// What such a program exports for its modules.
struct helper_info {
	void (*func)(void *env, int aflag, int next_eip_addend);
};

#pragma weak helper_info_vmrun
#pragma weak qemu_get_cpu
#pragma weak cpu_loop_exit_noexc
#pragma weak cpu_clear_ignne
extern struct helper_info helper_info_vmrun;
extern void *qemu_get_cpu(int index);
extern _Noreturn void cpu_loop_exit_noexc(void *cpu);
extern void cpu_clear_ignne(void);

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

// Makes a function that takes and returns nothing one that does nothing: its callers are in the same program,
// so that none of them would come to another one of that name.
static int make_empty(void (*function)(void))
{
	static const uint8_t ret = 0xc3;
	uint8_t *code = (uint8_t *)(uintptr_t)function;
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = code - (uintptr_t)code % size;

	if (mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
		return -1;
	*code = ret;
	return mprotect(page, size, PROT_READ | PROT_EXEC);
}

__attribute__((constructor)) static void begin(void)
{
	if (!&helper_info_vmrun || !qemu_get_cpu || !cpu_loop_exit_noexc || !cpu_clear_ignne) {
		fprintf(stderr, "vmrun: this QEMU is unlike those known: nested guests may fail\n");
		return;
	}
	vmrun = helper_info_vmrun.func;
	helper_info_vmrun.func = vmrun_once;
	if (make_empty(cpu_clear_ignne) < 0)
		perror("vmrun: cpu_clear_ignne() stays as it is: nested guests may fail");
}
