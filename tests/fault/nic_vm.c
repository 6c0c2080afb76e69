/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM without KVM that migrates and resets: what vmm/vm.c, vmm/kvm.c and vmm/x86 do for the two, beside
 * tests/fake/vm.c, which does it for devices. The guest has no registers, and boots from nothing.
 */
#include "tests/fake/log.h"
#include "tests/fault/nic_vm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/x86/acpi.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/platform.h"

static struct fake_vm *nic_vm_of_kvm(struct kvm *kvm)
{
	return container_of(kvm, struct fake_vm, vm.kvm);
}

void nic_vm_wrote(struct vm *vm, uint64_t gpa, uint64_t len)
{
	struct fake_vm *f = container_of(vm, struct fake_vm, vm);

	/* All of it is below the hole, where a page's number is its place in memory. */
	for (uint64_t page = gpa >> PAGE_SHIFT; f->logging && page <= (gpa + len - 1) >> PAGE_SHIFT; page++)
		atomic_fetch_or(&f->written[page / 64], (uint64_t)1 << page % 64);
}

int kvm_log_start(struct kvm *kvm)
{
	struct fake_vm *f = nic_vm_of_kvm(kvm);

	if (!f->written)
		f->written = calloc(fake_log_words(&f->vm.memory), sizeof(*f->written));
	assert(f->written && !f->logging);
	f->logging = true;
	return 0;
}

void kvm_log_stop(struct kvm *kvm)
{
	struct fake_vm *f = nic_vm_of_kvm(kvm);

	f->logging = false;
	for (uint64_t i = 0; f->written && i < fake_log_words(&f->vm.memory); i++)
		f->written[i] = 0;
}

int kvm_log_take(struct kvm *kvm, struct page_set *pages)
{
	struct fake_vm *f = nic_vm_of_kvm(kvm);

	for (uint64_t i = 0; i < fake_log_words(&f->vm.memory); i++)
		page_set_add_word(pages, i, atomic_exchange(&f->written[i], 0));
	return 0;
}

void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len)
{
}

void vm_describe(struct vm *vm, struct state_writer *w)
{
	state_put_u64(w, "memory", vm->memory.size);
	state_put_u32(w, "cpus", vm->n_vcpus);
}

int vm_accept(struct vm *vm, struct state_node *node)
{
	uint64_t mem;
	uint32_t cpus;

	return state_get_u64(node, "memory", vm->memory.size, vm->memory.size, &mem) < 0 ||
			       state_get_u32(node, "cpus", vm->n_vcpus, vm->n_vcpus, &cpus) < 0
		       ? -EINVAL
		       : 0;
}

int vm_save(struct vm *vm, struct state_writer *w, struct error *err)
{
	state_put_u32(w, "registers", 0);
	return 0;
}

int vm_load(struct vm *vm, struct state_node *node)
{
	uint32_t registers;

	return state_get_u32(node, "registers", 0, 0, &registers);
}

/* A guest's beginning */

int vm_power_on(struct vm *vm, struct error *err)
{
	return 0;
}

int platform_power_on(struct memory *m, struct error *err)
{
	return 0;
}

int acpi_write(struct memory *m, unsigned int cpus, unsigned int devices, struct error *err)
{
	return 0;
}

int boot_load(struct memory *m, const struct boot_files *files, struct boot_entry *entry, struct error *err)
{
	*entry = (struct boot_entry){ 0 };
	return 0;
}

int cpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct error *err)
{
	return 0;
}
