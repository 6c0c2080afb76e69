/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtual machine, put together: set-up in stages, description and state. */
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/shortage.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/cpu_model.h"
#include "vmm/x86/cpu_state.h"

static int vm_init_vcpu(struct vm *vm, unsigned int index, struct error *err)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	int ret = vcpu_init(vcpu, err);

	return ret < 0 ? ret : cpu_init_vcpu(vm->cpu, vcpu, err);
}

static int vm_init_vcpus(struct vm *vm, unsigned int cpus, struct error *err)
{
	vm->vcpus = calloc(cpus, sizeof(*vm->vcpus));
	if (!vm->vcpus) {
		error_add(err, "out of memory for %u vCPUs", cpus);
		return -ENOMEM;
	}
	vm->n_vcpus = cpus;
	for (unsigned int i = 0; i < cpus; i++)
		vm->vcpus[i] = (struct vcpu){ .kvm = &vm->kvm,
					      .gate = &vm->gate,
					      .pio = &vm->pio,
					      .mmio = &vm->mmio,
					      .index = i,
					      .host_cpu = -1,
					      .fd = -1 };
	return vm_init_vcpu(vm, 0, err);
}

int vm_begin(struct vm *vm, uint64_t mem, struct error *err)
{
	int ret;

	*vm = (struct vm){ .stop_fd = -1 };
	vm->devices_tail = &vm->devices;
	memory_frame(&vm->memory, mem);
	kvm_init(&vm->kvm, &vm->memory);
	gate_init(&vm->gate, &vm->loop);
	ret = loop_init(&vm->loop);
	if (ret < 0)
		error_add(err, "cannot create an epoll loop: %s%s", strerror(-ret), shortage_advice(ret));
	return ret;
}

int vm_frame(struct vm *vm, const char *kvm, unsigned int cpus, struct error *err)
{
	int ret = kvm_open(&vm->kvm, kvm, cpus, err);

	if (ret == 0)
		ret = cpu_init_vm(&vm->kvm, err);
	if (ret == 0)
		ret = cpu_model_create(&vm->cpu, &vm->kvm, cpus, err);
	if (ret == 0)
		ret = irq_table_init(&vm->irqs, &vm->kvm, err);
	return ret < 0 ? ret : vm_init_vcpus(vm, cpus, err);
}

int vm_fill(struct vm *vm, struct error *err)
{
	return memory_fill(&vm->memory, err);
}

int vm_equip(struct vm *vm, struct error *err)
{
	int ret = kvm_add_memory(&vm->kvm, err);

	for (unsigned int i = 1; ret == 0 && i < vm->n_vcpus; i++)
		ret = vm_init_vcpu(vm, i, err);
	return ret;
}

int vm_init(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err)
{
	int ret = vm_begin(vm, mem, err);

	if (ret == 0)
		ret = vm_frame(vm, "/dev/kvm", cpus, err);
	if (ret == 0)
		ret = vm_fill(vm, err);
	if (ret == 0)
		ret = vm_equip(vm, err);
	if (ret < 0)
		vm_destroy(vm);
	return ret;
}

void vm_destroy(struct vm *vm)
{
	gate_stop(&vm->gate);
	for (unsigned int i = 0; i < vm->n_vcpus; i++)
		vcpu_exit(&vm->vcpus[i]);
	free(vm->vcpus);
	irq_table_exit(&vm->irqs);
	cpu_model_destroy(vm->cpu);
	kvm_exit(&vm->kvm);
	memory_exit(&vm->memory);
	loop_exit(&vm->loop);
	gate_exit(&vm->gate);
	free(vm->power_on);
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->next = NULL;
	*vm->devices_tail = dev;
	vm->devices_tail = &dev->next;
}

int vm_start(struct vm *vm, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < vm->n_vcpus; i++)
		ret = vcpu_start(&vm->vcpus[i], err);
	return ret;
}

void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len)
{
	vcpu_prefault(&vm->vcpus[0], gpa, len);
}

void vm_prefault_present(struct vm *vm, uint64_t max)
{
	const struct memory *m = &vm->memory;

	for (unsigned int i = 0; i < m->n_regions; i++) {
		const struct memory_region *r = &m->regions[i];
		uint64_t start, at = r->offset, end = r->offset + r->len;

		while (max > 0 && at < end && memory_next_data(m, at, end, &start, &at) == 1) {
			uint64_t len = min_u64(min_u64(at, end) - start, max);

			vm_prefault(vm, r->gpa + (start - r->offset), len);
			max -= len;
		}
	}
}

int vm_limit_cpu(struct vm *vm, const struct cpuid_offer *offer, struct error *err)
{
	const struct memory_region *last = &vm->memory.regions[vm->memory.n_regions - 1];
	int ret;

	if (offer->address_bits > 0 && (last->gpa + last->len - 1) >> offer->address_bits) {
		error_add(err, "%u bits of physical address are too few for the guest's memory",
			  offer->address_bits);
		return -EINVAL;
	}
	ret = cpu_model_limit(vm->cpu, offer, err);
	/* The other vCPUs become like the model when vm_equip() makes them. */
	return ret < 0 ? ret : cpu_apply(vm->cpu, &vm->vcpus[0], err);
}

void vm_get_cpu(const struct vm *vm, struct cpuid_offer *offer)
{
	cpu_model_get_offer(vm->cpu, offer);
}

void vm_describe(struct vm *vm, struct state_writer *w)
{
	state_put_u64(w, "memory", vm->memory.size);
	state_put_u32(w, "cpus", vm->n_vcpus);
	cpu_describe(vm->cpu, w);
}

int vm_accept(struct vm *vm, struct state_node *node)
{
	uint64_t mem = 0;
	uint32_t cpus = 0;
	int ret;

	ret = state_get_u64(node, "memory", 0, UINT64_MAX, &mem);
	if (ret < 0)
		return ret;
	ret = state_get_u32(node, "cpus", 0, UINT32_MAX, &cpus);
	if (ret < 0)
		return ret;
	if (mem != vm->memory.size) {
		error_add(node->err, "the VM has %llu bytes of memory here, %llu at the source",
			  (unsigned long long)vm->memory.size, (unsigned long long)mem);
		ret = -EINVAL;
	}
	if (cpus != vm->n_vcpus) {
		error_add(node->err, "the VM has %u vCPUs here, %u at the source", vm->n_vcpus, cpus);
		ret = -EINVAL;
	}
	/* The CPUs are looked at in any case: the peer is to learn all reasons at once. */
	if (cpu_accept(vm->cpu, node) < 0)
		ret = -EINVAL;
	/* vCPUs that are not there yet become like the model when vm_equip() makes them. */
	for (unsigned int i = 0; ret == 0 && i < vm->n_vcpus && vm->vcpus[i].fd >= 0; i++)
		ret = cpu_apply(vm->cpu, &vm->vcpus[i], node->err);
	return ret;
}

int vm_save(struct vm *vm, struct state_writer *w, struct error *err)
{
	/* The VM comes before the vCPUs, because properties come before children in a tree. */
	int ret = cpu_save_vm(vm->cpu, w, err);

	for (unsigned int i = 0; ret == 0 && i < vm->n_vcpus; i++) {
		state_begin_indexed(w, "vcpu", i);
		ret = cpu_save_vcpu(vm->cpu, &vm->vcpus[i], w, err);
		state_end(w);
	}
	return ret;
}

int vm_load(struct vm *vm, struct state_node *node)
{
	struct state_node child;
	int ret;

	for (unsigned int i = 0; i < vm->n_vcpus; i++) {
		ret = state_child_indexed(&child, node, "vcpu", i);
		if (ret == 0)
			ret = cpu_load_vcpu(vm->cpu, &vm->vcpus[i], &child);
		if (ret == 0)
			ret = state_finish(&child);
		if (ret < 0)
			return ret;
	}
	return cpu_load_vm(vm->cpu, vm->vcpus, node);
}

int vm_keep_power_on(struct vm *vm, struct error *err)
{
	struct state_writer w;
	int ret = state_open_writer(&w), closed;

	if (ret == 0)
		ret = vm_save(vm, &w, err);
	closed = state_close(&w, &vm->power_on, &vm->power_on_len);
	if (ret == 0 && closed < 0)
		error_add(err, "cannot keep the state at power-on: %s", strerror(-closed));
	return ret < 0 ? ret : closed;
}

int vm_power_on(struct vm *vm, struct error *err)
{
	struct state_node root;
	int ret = state_open(&root, vm->power_on, vm->power_on_len, err);

	if (ret == 0)
		ret = vm_load(vm, &root);
	return ret < 0 ? ret : state_finish(&root);
}
