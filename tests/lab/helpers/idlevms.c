// SPDX-License-Identifier: GPL-2.0-or-later
// Holds two idle VMs open in L1, one with and one without an interrupt controller in the kernel.
//
// KVM patches its code when the first such VM comes and when the last one goes; under TCG another CPU may
// then run a stale breakpoint. As long as these two exist nothing is patched.

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int idle_vm(int kvm, int irqchip)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || (irqchip && ioctl(vm, KVM_CREATE_IRQCHIP, 0)))
		return -1;
	return ioctl(vm, KVM_CREATE_VCPU, 0);
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR);

	if (kvm < 0 || idle_vm(kvm, 0) < 0 || idle_vm(kvm, 1) < 0) {
		perror("idlevms: /dev/kvm");
		return 1;
	}
	for (;;)
		pause();
}
