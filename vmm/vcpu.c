/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual CPU's thread: it runs the guest, serves its exits, and waits at the gate. */
#define _GNU_SOURCE
#include "vmm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/bus.h"
#include "vmm/kvm.h"
#include "vmm/shortage.h"
#include "vmm/x86/platform.h"

int vcpu_init(struct vcpu *vcpu, struct error *err)
{
	void *run;
	int ret;

	vcpu->fd = ioctl(vcpu->kvm->vm_fd, KVM_CREATE_VCPU, vcpu->index);
	if (vcpu->fd < 0) {
		error_add(err, "cannot create vCPU %u: %s%s", vcpu->index, strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	ret = ioctl(vcpu->kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu->run_size = ret < (int)sizeof(*vcpu->run) ? sizeof(*vcpu->run) : (size_t)ret;
	run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		error_add(err, "cannot map vCPU %u's run area: %s", vcpu->index, strerror(errno));
		ret = -errno;
		vcpu_exit(vcpu);
		return ret;
	}
	vcpu->run = run;
	vcpu->thread.leave = &vcpu->run->immediate_exit;
	return 0;
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

static void vcpu_crashed(struct vcpu *vcpu, const char *what)
{
	struct kvm_regs regs = { 0 };

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		regs.rip = 0;
	log_error("vCPU %u at rip 0x%llx: %s", vcpu->index, (unsigned long long)regs.rip, what);
	gate_end(vcpu->gate, VM_EXIT_CRASHED);
}

/* A string instruction arrives as @count accesses to one port. */
static void vcpu_exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(vcpu->pio, run->io.port, data, run->io.size);
		else
			bus_write(vcpu->pio, run->io.port, data, run->io.size);
	}
}

static void vcpu_exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		bus_write(vcpu->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(vcpu->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void vcpu_exit_shutdown(struct vcpu *vcpu)
{
	/* On AMD KVM has made the vCPU anew by now, so that its registers no longer show how it
	 * came to this. */
	if (platform_reset_wanted(vcpu->kvm->memory))
		gate_reset(vcpu->gate);
	else
		vcpu_crashed(vcpu, "triple fault");
}

static void vcpu_exit_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		gate_end(vcpu->gate, VM_EXIT_POWER_OFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		gate_reset(vcpu->gate);
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
			/* EAGAIN: an application processor has got its INIT. */
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

/* Tells a guest with kvm-clock that it stood still, so that its watchdogs do not take that for a lockup. */
static void vcpu_notify_paused(struct vcpu *vcpu)
{
	/* EINVAL where the guest has no kvm-clock: then there is nothing to tell. */
	if (ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0) < 0)
		return;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	while (gate_pass(vcpu->gate, &vcpu->thread)) {
		if (vcpu->thread.was_paused)
			vcpu_notify_paused(vcpu);
		vcpu_run(vcpu);
	}
	return NULL;
}

static int vcpu_pin(struct vcpu *vcpu, struct error *err)
{
	int ret = gate_pin(&vcpu->thread, (unsigned int)vcpu->host_cpu);

	if (ret < 0) {
		error_add(err, "cannot put vCPU %u on CPU %d of the host: %s", vcpu->index, vcpu->host_cpu,
			  ret == -EINVAL ? "there is none, or this process may not have it" : strerror(-ret));
		return ret;
	}
	return 0;
}

int vcpu_start(struct vcpu *vcpu, struct error *err)
{
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	ret = gate_start(vcpu->gate, &vcpu->thread, name, vcpu_thread, vcpu);
	if (ret < 0) {
		error_add(err, "cannot start the thread of vCPU %u: %s%s", vcpu->index, strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return vcpu->host_cpu < 0 ? 0 : vcpu_pin(vcpu, err);
}

/* Since Linux 6.11; the headers that Ferry is built with may be older. */
#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory {
	__u64 gpa;
	__u64 size;
	__u64 flags;
	__u64 padding[5];
};
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

void vcpu_prefault(struct vcpu *vcpu, uint64_t gpa, uint64_t len)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = len };
	int ret;

	/* KVM moves the range along, also where a signal stops it. Memory that it cannot enter costs the
	 * guest a fault. */
	do {
		ret = ioctl(vcpu->fd, KVM_PRE_FAULT_MEMORY, &range);
	} while (range.size > 0 && (ret == 0 || errno == EINTR));
}
