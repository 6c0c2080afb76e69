/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State that KVM holds of vCPUs, interrupt controllers and the clock, saved and loaded by tables. */
#include "vmm/x86/cpu_state.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/state.h"
#include "vmm/vcpu.h"
#include "vmm/x86/cpu_clock.h"
#include "vmm/x86/cpu_model.h"

#define CPU_PART_MAX 1024u

/*
 * State that KVM gives and takes as one struct. It is saved from the first to the last: asking for mp_state
 * and events makes KVM process what is pending, which changes the others. It is loaded from the last to the
 * first: regs clear a pending exception that events bring back, and sregs2 say which mode the local APIC is
 * in.
 */
static const struct cpu_part {
	const char *name;
	uint32_t len;
	unsigned long get, set;
} cpu_parts[] = {
	{ "mp-state", sizeof(struct kvm_mp_state), KVM_GET_MP_STATE, KVM_SET_MP_STATE },
	{ "events", sizeof(struct kvm_vcpu_events), KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS },
	{ "lapic", sizeof(struct kvm_lapic_state), KVM_GET_LAPIC, KVM_SET_LAPIC },
	{ "xcrs", sizeof(struct kvm_xcrs), KVM_GET_XCRS, KVM_SET_XCRS },
	{ "debugregs", sizeof(struct kvm_debugregs), KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS },
	{ "sregs2", sizeof(struct kvm_sregs2), KVM_GET_SREGS2, KVM_SET_SREGS2 },
	{ "regs", sizeof(struct kvm_regs), KVM_GET_REGS, KVM_SET_REGS },
};
_Static_assert(sizeof(struct kvm_lapic_state) <= CPU_PART_MAX, "the largest part");

/* The interrupt controllers of the VM. */
static const struct cpu_chip {
	const char *name;
	uint32_t id;
	uint32_t len;
} cpu_chips[] = {
	{ "pic-master", KVM_IRQCHIP_PIC_MASTER, sizeof(struct kvm_pic_state) },
	{ "pic-slave", KVM_IRQCHIP_PIC_SLAVE, sizeof(struct kvm_pic_state) },
	{ "ioapic", KVM_IRQCHIP_IOAPIC, sizeof(struct kvm_ioapic_state) },
};

/* Reads all MSRs that the list names, or none and adds the reason. */
static int cpu_get_msrs(struct vcpu *vcpu, struct cpu_msr_list *list, struct error *err)
{
	int n = ioctl(vcpu->fd, KVM_GET_MSRS, list);

	if (n < 0)
		return kvm_failed(err, "KVM_GET_MSRS");
	if ((uint32_t)n < list->nmsrs) {
		error_add(err, "KVM does not let MSR 0x%x (%s) of vCPU %u be read", list->entries[n].index,
			  cpu_msr_name(list->entries[n].index), vcpu->index);
		return -EIO;
	}
	return 0;
}

static int cpu_save_msrs(const struct cpu_model *model, struct vcpu *vcpu, struct state_writer *w,
			 struct error *err)
{
	struct cpu_msr_list list = { .nmsrs = model->n_msrs };
	int ret;

	for (unsigned int i = 0; i < model->n_msrs; i++)
		list.entries[i].index = model->msrs[i];
	ret = cpu_get_msrs(vcpu, &list, err);
	if (ret < 0)
		return ret;
	state_put_blob(w, "msrs", list.entries, (uint32_t)(model->n_msrs * sizeof(list.entries[0])));
	return 0;
}

int cpu_save_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct state_writer *w, struct error *err)
{
	uint64_t buf[CPU_PART_MAX / 8];
	int ret = cpu_clock_save_tsc(vcpu, w, err);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_parts); i++) {
		const struct cpu_part *part = &cpu_parts[i];

		memset(buf, 0, sizeof(buf));
		if (ioctl(vcpu->fd, part->get, buf) < 0) {
			error_add(err, "cannot read the %s of vCPU %u: %s", part->name, vcpu->index,
				  strerror(errno));
			return -errno;
		}
		state_put_blob(w, part->name, buf, part->len);
	}
	if (ioctl(vcpu->fd, model->xsave_len > CPU_XSAVE_LEN ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, model->xsave) <
	    0)
		return kvm_failed(err, "KVM_GET_XSAVE");
	state_put_blob(w, "xsave", model->xsave, model->xsave_len);
	return cpu_save_msrs(model, vcpu, w, err);
}

/*
 * Leaves out what the vCPU has already: about an MSR of which it only knows the default KVM writes to the
 * host's log, and a serial console takes milliseconds for a line, with the guest standing still.
 */
static int cpu_drop_equal_msrs(struct vcpu *vcpu, struct cpu_msr_list *list, struct error *err)
{
	struct cpu_msr_list has = *list;
	int ret = cpu_get_msrs(vcpu, &has, err);

	if (ret < 0)
		return ret;
	list->nmsrs = 0;
	for (uint32_t i = 0; i < has.nmsrs; i++) {
		if (list->entries[i].data != has.entries[i].data)
			list->entries[list->nmsrs++] = list->entries[i];
	}
	return 0;
}

static int cpu_load_msrs(const struct cpu_model *model, struct vcpu *vcpu, struct state_node *node)
{
	struct cpu_msr_list saved, list = { 0 };
	const uint8_t *data;
	uint32_t len;
	int n, ret;

	ret = state_get_blob(node, "msrs", 0, sizeof(saved.entries), &data, &len);
	if (ret < 0)
		return ret;
	if (len % sizeof(saved.entries[0])) {
		error_add(node->err, "the msrs of vCPU %u have %u bytes", vcpu->index, len);
		return -EINVAL;
	}
	memcpy(saved.entries, data, len);
	saved.nmsrs = (uint32_t)(len / sizeof(saved.entries[0]));
	for (uint32_t i = 0; i < saved.nmsrs; i++) {
		if (!cpu_has_msr(model, saved.entries[i].index)) {
			error_add(node->err, "MSR 0x%x of vCPU %u is not known here", saved.entries[i].index,
				  vcpu->index);
			return -EINVAL;
		}
	}
	/* The MSRs are set in Ferry's own order; of two values for one the first counts. */
	for (unsigned int i = 0; i < model->n_msrs; i++) {
		uint32_t j = 0;

		while (j < saved.nmsrs && saved.entries[j].index != model->msrs[i])
			j++;
		if (j < saved.nmsrs)
			list.entries[list.nmsrs++] = (struct kvm_msr_entry){ .index = model->msrs[i],
									     .data = saved.entries[j].data };
	}
	ret = cpu_drop_equal_msrs(vcpu, &list, node->err);
	if (ret < 0)
		return ret;
	n = ioctl(vcpu->fd, KVM_SET_MSRS, &list);
	if (n < 0)
		return kvm_failed(node->err, "KVM_SET_MSRS");
	if ((uint32_t)n < list.nmsrs) {
		error_add(node->err, "KVM refuses 0x%llx for MSR 0x%x (%s) of vCPU %u",
			  (unsigned long long)list.entries[n].data, list.entries[n].index,
			  cpu_msr_name(list.entries[n].index), vcpu->index);
		return -EINVAL;
	}
	return 0;
}

static int cpu_refused(struct vcpu *vcpu, struct state_node *node, const char *what)
{
	error_add(node->err, "KVM refuses the saved %s of vCPU %u: %s", what, vcpu->index, strerror(errno));
	return -errno;
}

int cpu_load_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct state_node *node)
{
	uint64_t buf[CPU_PART_MAX / 8];
	const uint8_t *data;
	uint32_t len;
	int ret;

	for (unsigned int i = ARRAY_SIZE(cpu_parts); i-- > 0;) {
		const struct cpu_part *part = &cpu_parts[i];

		ret = state_get_bytes(node, part->name, buf, part->len);
		if (ret < 0)
			return ret;
		if (ioctl(vcpu->fd, part->set, buf) < 0)
			return cpu_refused(vcpu, node, part->name);
	}
	ret = state_get_blob(node, "xsave", CPU_XSAVE_LEN, model->xsave_len, &data, &len);
	if (ret < 0)
		return ret;
	memset(model->xsave, 0, model->xsave_len);
	memcpy(model->xsave, data, len);
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, model->xsave) < 0)
		return cpu_refused(vcpu, node, "xsave");
	ret = cpu_load_msrs(model, vcpu, node);
	return ret < 0 ? ret : cpu_clock_load_tsc(model, vcpu, node);
}

int cpu_save_vm(const struct cpu_model *model, struct state_writer *w, struct error *err)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_chips); i++) {
		struct kvm_irqchip chip = { .chip_id = cpu_chips[i].id };

		if (ioctl(model->kvm->vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return kvm_failed(err, "KVM_GET_IRQCHIP");
		state_put_blob(w, cpu_chips[i].name, &chip.chip, cpu_chips[i].len);
	}
	return cpu_clock_save(model, w, err);
}

int cpu_load_vm(const struct cpu_model *model, const struct vcpu *vcpus, struct state_node *node)
{
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_chips); i++) {
		struct kvm_irqchip chip = { .chip_id = cpu_chips[i].id };

		ret = state_get_bytes(node, cpu_chips[i].name, &chip.chip, cpu_chips[i].len);
		if (ret < 0)
			return ret;
		if (ioctl(model->kvm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0) {
			error_add(node->err, "KVM refuses the saved %s: %s", cpu_chips[i].name,
				  strerror(errno));
			return -errno;
		}
	}
	return cpu_clock_load(model, vcpus, node);
}
