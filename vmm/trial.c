/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The trial's guest: see the header. */
#include "vmm/trial.h"

#include <cpuid.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/config.h"
#include "vmm/vm.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpu.h"

#define TRIAL_CODE 0x10000u
#define TRIAL_PORT 0x10u

/* A guest asks the CPU, too, where KVM's answer does not reach it. */
static bool trial_cpu_has_bmi2(void)
{
	unsigned int eax, ebx = 0, ecx, edx;

	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_BMI2);
}

static int trial_enter(struct vm *vm, struct error *err)
{
	/* shlx %eax,%eax,%edx, of BMI2; out %al,$TRIAL_PORT */
	static const uint8_t code[] = { 0xc4, 0xe2, 0x79, 0xf7, 0xd0, 0xe6, TRIAL_PORT };
	const struct boot_entry entry = { .rip = trial_cpu_has_bmi2() ? TRIAL_CODE : TRIAL_CODE + 5 };
	int ret = memory_write(&vm->memory, TRIAL_CODE, code, sizeof(code));

	return ret < 0 ? ret : cpu_set_entry(&vm->vcpus[0], &entry, err);
}

static int trial_go(const struct vcpu *vcpu, struct error *err)
{
	const struct kvm_run *run = vcpu->run;

	if (ioctl(vcpu->fd, KVM_RUN, 0) < 0)
		return kvm_failed(err, "KVM_RUN");
	if (run->exit_reason == KVM_EXIT_IO && run->io.port == TRIAL_PORT)
		return 0;
	error_add(err, "KVM does not run an instruction that kernels are made of (shlx): exit %u",
		  run->exit_reason);
	return -ENOTSUP;
}

int trial_run(struct error *err)
{
	struct vm vm;
	int ret = vm_begin(&vm, CONFIG_MIN_MEM, err);

	if (ret == 0)
		ret = vm_frame(&vm, CONFIG_KVM, 1, err);
	if (ret == 0)
		ret = vm_fill(&vm, err);
	if (ret == 0)
		ret = vm_equip(&vm, err);
	if (ret == 0)
		ret = trial_enter(&vm, err);
	if (ret == 0)
		ret = trial_go(&vm.vcpus[0], err);
	vm_destroy(&vm);
	return ret;
}
