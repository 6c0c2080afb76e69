/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM's clock and the vCPUs' TSCs across a migration. Both advance by the time that passes between the
 * hosts' readings of the time of day. A guest compares the two, so they have to advance by the same: the TSC
 * is carried as an offset to the host's TSC at the very moment for which KVM tells the clock
 * (Documentation/virt/kvm/devices/vcpu.rst, "KVM_VCPU_TSC_OFFSET").
 */
#include "vmm/x86/cpu_clock.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/state.h"
#include "vmm/vcpu.h"
#include "vmm/x86/cpu_model.h"

static int cpu_clock_tsc_offset(const struct vcpu *vcpu, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset,
	};

	return ioctl(vcpu->fd, request, &attr) < 0 ? -errno : 0;
}

int cpu_clock_save_tsc(const struct vcpu *vcpu, struct state_writer *w, struct error *err)
{
	uint64_t offset;
	int ret = cpu_clock_tsc_offset(vcpu, KVM_GET_DEVICE_ATTR, &offset);

	if (ret < 0) {
		error_add(err, "cannot read the TSC offset of vCPU %u: %s", vcpu->index, strerror(-ret));
		return ret;
	}
	state_put_u64(w, "tsc-offset", offset);
	return 0;
}

int cpu_clock_load_tsc(struct cpu_model *model, const struct vcpu *vcpu, struct state_node *node)
{
	return state_get_u64(node, "tsc-offset", 0, UINT64_MAX, &model->tsc_offset[vcpu->index]);
}

int cpu_clock_save(const struct cpu_model *model, struct state_writer *w, struct error *err)
{
	struct kvm_clock_data clock = { 0 };

	if (ioctl(model->kvm->vm_fd, KVM_GET_CLOCK, &clock) < 0)
		return kvm_failed(err, "KVM_GET_CLOCK");
	/* KVM tells the time of day only where its clock is the host's TSC. */
	if (!(clock.flags & KVM_CLOCK_REALTIME))
		clock.realtime = realtime_ns();
	state_put_u64(w, "clock", clock.clock);
	state_put_u64(w, "realtime", clock.realtime);
	state_put_u64(w, "host-tsc",
		      (clock.flags & KVM_CLOCK_HOST_TSC) && !model->tsc_scaled ? clock.host_tsc : 0);
	return 0;
}

/* The guest armed its deadline by the TSC as it was then: writing the same value arms it anew. */
static int cpu_clock_rearm_deadline(const struct cpu_model *model, const struct vcpu *vcpu)
{
	struct cpu_msr_list list = { .nmsrs = 1, .entries[0].index = CPU_MSR_TSC_DEADLINE };

	if (!cpu_has_msr(model, CPU_MSR_TSC_DEADLINE))
		return 0;
	return ioctl(vcpu->fd, KVM_GET_MSRS, &list) == 1 && ioctl(vcpu->fd, KVM_SET_MSRS, &list) == 1 ? 0
												      : -EIO;
}

/* Makes the TSCs go on where the source's were: @src and @dst tell the clock with the host's TSC, there and
 * here. */
static int cpu_clock_set_tscs(const struct cpu_model *model, const struct vcpu *vcpus,
			      const struct kvm_clock_data *src, const struct kvm_clock_data *dst)
{
	/* The arithmetic is modulo 2^64, as the TSC counts; the clock's difference is the downtime. */
	__extension__ unsigned __int128 passed =
		(unsigned __int128)(dst->clock - src->clock) * model->tsc_khz;
	uint64_t change = src->host_tsc - dst->host_tsc + (uint64_t)(passed / 1000000u);
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < model->n_vcpus; i++) {
		uint64_t offset = model->tsc_offset[i] + change;

		ret = cpu_clock_tsc_offset(&vcpus[i], KVM_SET_DEVICE_ATTR, &offset);
		if (ret == 0)
			ret = cpu_clock_rearm_deadline(model, &vcpus[i]);
	}
	return ret;
}

int cpu_clock_load(const struct cpu_model *model, const struct vcpu *vcpus, struct state_node *node)
{
	struct kvm_clock_data src = { .flags = KVM_CLOCK_REALTIME }, dst = { 0 };
	uint64_t ns, realtime, host_tsc;
	int ret;

	ret = state_get_u64(node, "clock", 0, INT64_MAX, &ns);
	if (ret == 0)
		ret = state_get_u64(node, "realtime", 0, INT64_MAX, &realtime);
	if (ret == 0)
		ret = state_get_u64(node, "host-tsc", 0, UINT64_MAX, &host_tsc);
	if (ret != 0)
		return ret;
	src.clock = ns;
	src.realtime = realtime;
	src.host_tsc = host_tsc;
	/* KVM adds the time that has passed since, by the hosts' times of day. */
	if (ioctl(model->kvm->vm_fd, KVM_SET_CLOCK, &src) < 0) {
		error_add(node->err, "KVM refuses the saved clock: %s", strerror(errno));
		return -errno;
	}
	if (ioctl(model->kvm->vm_fd, KVM_GET_CLOCK, &dst) < 0)
		return kvm_failed(node->err, "KVM_GET_CLOCK");
	/* Where one of the hosts does not keep time by its TSC, the TSCs stay as they were saved: its guest
	 * does not keep time by them either. */
	if (!host_tsc || !(dst.flags & KVM_CLOCK_HOST_TSC) || dst.clock < src.clock || model->tsc_scaled)
		return 0;
	ret = cpu_clock_set_tscs(model, vcpus, &src, &dst);
	if (ret < 0) {
		error_add(node->err, "KVM refuses the TSC of a vCPU: %s", strerror(-ret));
		return ret;
	}
	return 0;
}
