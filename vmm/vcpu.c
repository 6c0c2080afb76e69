/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual CPU's thread: runs the guest, serves its exits, parks when the VM stands still. */
#define _GNU_SOURCE
#include "vmm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/shortage.h"
#include "vmm/vm.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/platform.h"

/* Only interrupts KVM_RUN; what to do then is in the VM's state. */
static void vcpu_signalled(int signo)
{
}

int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, struct error *err)
{
	struct sigaction action = { .sa_handler = vcpu_signalled };
	void *run;
	int ret;

	*vcpu = (struct vcpu){ .vm = vm, .index = index, .fd = -1 };
	sigaction(VCPU_SIGNAL, &action, NULL);
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (vcpu->fd < 0)
		return error_add(err, -errno, "cannot create vCPU %u: %s%s", index, strerror(errno),
				 shortage_advice(-errno));
	ret = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu->run_size = ret < (int)sizeof(*vcpu->run) ? sizeof(*vcpu->run) : (size_t)ret;
	run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		ret = error_add(err, -errno, "cannot map vCPU %u's run area: %s", index, strerror(errno));
		goto exit_vcpu;
	}
	vcpu->run = run;
	ret = cpu_init_vcpu(vcpu, err);
	if (ret < 0)
		goto exit_vcpu;
	return 0;

exit_vcpu:
	vcpu_exit(vcpu);
	return ret;
}

void vcpu_join(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	bool started;

	/* First nobody kicks it any more: the thread's id ends with it. */
	pthread_mutex_lock(&vm->lock);
	started = vcpu->started;
	vcpu->started = false;
	pthread_mutex_unlock(&vm->lock);
	if (started)
		pthread_join(vcpu->thread, NULL);
}

void vcpu_exit(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	vcpu->run = NULL;
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	vcpu->fd = -1;
}

void vcpu_kick(struct vcpu *vcpu)
{
	/* For a thread that is about to enter the guest: the signal alone would be lost on it. */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, VCPU_SIGNAL);
}

static void vcpu_crashed(struct vcpu *vcpu, const char *what)
{
	struct kvm_regs regs = { 0 };

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		regs.rip = 0;
	log_error("vCPU %u at rip 0x%llx: %s", vcpu->index, (unsigned long long)regs.rip, what);
	vm_end(vcpu->vm, VM_EXIT_CRASHED);
}

/* A string instruction arrives as @count accesses to one port. */
static void vcpu_exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(&vcpu->vm->pio, run->io.port, data, run->io.size);
		else
			bus_write(&vcpu->vm->pio, run->io.port, data, run->io.size);
	}
}

static void vcpu_exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		bus_write(&vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(&vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void vcpu_exit_shutdown(struct vcpu *vcpu)
{
	/* On AMD KVM has made the vCPU anew by now: how it came to this can no more be seen in its registers.
	 */
	if (platform_reset_wanted(vcpu->vm))
		vm_end(vcpu->vm, VM_EXIT_RESET);
	else
		vcpu_crashed(vcpu, "triple fault");
}

static void vcpu_exit_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_end(vcpu->vm, VM_EXIT_POWER_OFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_end(vcpu->vm, VM_EXIT_RESET);
		break;
	default:
		vcpu_crashed(vcpu, "the guest reported a crash to KVM");
	}
}

static void vcpu_exit_fail_entry(struct vcpu *vcpu)
{
	char what[96];

	snprintf(what, sizeof(what), "the host's CPU refused to enter the guest, reason 0x%llx",
		 (unsigned long long)vcpu->run->fail_entry.hardware_entry_failure_reason);
	vcpu_crashed(vcpu, what);
}

static void vcpu_exit_internal_error(struct vcpu *vcpu)
{
	char what[96];

	snprintf(what, sizeof(what), "KVM cannot go on: internal error %u%s", vcpu->run->internal.suberror,
		 vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
			 ? " (an instruction that it cannot emulate)"
			 : "");
	vcpu_crashed(vcpu, what);
}

static void (*const vcpu_exits[])(struct vcpu *vcpu) = {
	[KVM_EXIT_IO] = vcpu_exit_io,
	[KVM_EXIT_MMIO] = vcpu_exit_mmio,
	[KVM_EXIT_SHUTDOWN] = vcpu_exit_shutdown,
	[KVM_EXIT_SYSTEM_EVENT] = vcpu_exit_system_event,
	[KVM_EXIT_FAIL_ENTRY] = vcpu_exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = vcpu_exit_internal_error,
};

/*
 * Runs the guest until somebody kicks. KVM_RUN first completes the access of its previous exit, then looks at
 * immediate_exit: so when it says EINTR, no access is half done.
 */
static void vcpu_run(struct vcpu *vcpu)
{
	char what[96];

	for (;;) {
		uint32_t reason;

		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			/* EAGAIN: an application processor got its INIT. */
			if (errno == EAGAIN)
				continue;
			if (errno == EINTR)
				return;
			snprintf(what, sizeof(what), "KVM_RUN failed: %s", strerror(errno));
			vcpu_crashed(vcpu, what);
			return;
		}
		reason = vcpu->run->exit_reason;
		if (reason >= ARRAY_SIZE(vcpu_exits) || !vcpu_exits[reason]) {
			snprintf(what, sizeof(what), "KVM exit %u is not known", reason);
			vcpu_crashed(vcpu, what);
			return;
		}
		vcpu_exits[reason](vcpu);
	}
}

/* Stays here while the VM stands still; false at its end. */
static bool vcpu_park(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	bool go_on;

	pthread_mutex_lock(&vm->lock);
	/* Before looking: a kick that comes later has changed the state later, too, and makes KVM_RUN return.
	 */
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (vm->paused || vm->throttled || vm->ending) {
		vm->n_parked++;
		if (vm->n_parked == vm->n_started)
			pthread_cond_broadcast(&vm->parked);
		while ((vm->paused || vm->throttled) && !vm->ending)
			pthread_cond_wait(&vm->cond, &vm->lock);
		/* A thread that ends counts as parked for good. */
		if (!vm->ending)
			vm->n_parked--;
	}
	go_on = !vm->ending;
	pthread_mutex_unlock(&vm->lock);
	return go_on;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	while (vcpu_park(vcpu))
		vcpu_run(vcpu);
	return NULL;
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	struct vm *vm = vcpu->vm;
	char name[16];
	sigset_t set, old;
	int ret;

	/* Signals to the process are the main thread's. */
	sigfillset(&set);
	sigdelset(&set, VCPU_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	pthread_mutex_lock(&vm->lock);
	ret = -pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	if (ret == 0) {
		snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
		pthread_setname_np(vcpu->thread, name);
		vcpu->started = true;
		vm->n_started++;
	}
	pthread_mutex_unlock(&vm->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret < 0)
		return error_add(err, ret, "cannot start the thread of vCPU %u: %s%s", vcpu->index,
				 strerror(-ret), shortage_advice(ret));
	return 0;
}
