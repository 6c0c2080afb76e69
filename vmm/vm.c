/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM VM: set-up, stopping and going on, KVM's dirty log, state. */
#define _GNU_SOURCE
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/shortage.h"
#include "vmm/x86/cpu.h"

#define VM_CAP(cap)                                                                                          \
	{                                                                                                    \
		KVM_CAP_##cap, "KVM_CAP_" #cap                                                               \
	}

static const struct vm_cap vm_caps[] = {
	VM_CAP(USER_MEMORY), VM_CAP(IRQCHIP),        VM_CAP(IRQ_ROUTING),
	VM_CAP(IRQFD),       VM_CAP(IOEVENTFD),      VM_CAP(MP_STATE),
	VM_CAP(SYNC_MMU),    VM_CAP(IMMEDIATE_EXIT), VM_CAP(DESTROY_MEMORY_REGION_WORKS),
};

static const struct {
	int error;
	const char *help;
} vm_open_help[] = {
	{ ENOENT,
	  "load the module kvm_intel or kvm_amd, and switch virtualization on in the machine's firmware" },
	{ ENODEV,
	  "load the module kvm_intel or kvm_amd, and switch virtualization on in the machine's firmware" },
	{ ENXIO,
	  "load the module kvm_intel or kvm_amd, and switch virtualization on in the machine's firmware" },
	{ EACCES, "add the user to the group kvm, or run as root" },
	{ EPERM, "the sandbox or container that Ferry runs in must allow the device" },
	{ EMFILE, "raise \"ulimit -n\"" },
};

static int vm_open_kvm(struct vm *vm, struct error *err)
{
	int version;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0) {
		int ret = -errno;
		const char *help = NULL;

		for (unsigned int i = 0; i < ARRAY_SIZE(vm_open_help); i++) {
			if (vm_open_help[i].error == -ret)
				help = vm_open_help[i].help;
		}
		return error_add(err, ret, "cannot open /dev/kvm: %s%s%s", strerror(-ret), help ? ": " : "",
				 help ? help : "");
	}
	version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return error_add(err, -ENOTSUP,
				 "/dev/kvm speaks version %d of KVM's interface, Ferry version %d", version,
				 KVM_API_VERSION);
	return 0;
}

int vm_check_caps(const struct vm *vm, const struct vm_cap *caps, unsigned int n_caps, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < n_caps; i++) {
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, caps[i].cap) <= 0)
			ret = error_add(err, -ENOTSUP, "this host's KVM lacks %s", caps[i].name);
	}
	return ret;
}

int vm_check_host(struct error *err)
{
	struct vm vm = { .kvm_fd = -1 };
	int ret = vm_open_kvm(&vm, err);

	if (ret == 0)
		ret = vm_check_caps(&vm, vm_caps, ARRAY_SIZE(vm_caps), err);
	if (vm.kvm_fd >= 0)
		close(vm.kvm_fd);
	return ret;
}

static int vm_create(struct vm *vm, unsigned int cpus, struct error *err)
{
	int max, ret;

	ret = vm_check_caps(vm, vm_caps, ARRAY_SIZE(vm_caps), err);
	if (ret < 0)
		return ret;
	max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && cpus > (unsigned int)max)
		return error_add(err, -EINVAL, "%u vCPUs are more than the %d that this host's KVM allows",
				 cpus, max);
	do {
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		return error_add(err, -errno, "cannot create a VM: %s%s", strerror(errno),
				 errno == EBUSY ? " (another hypervisor holds the CPU's virtualization)"
						: shortage_advice(-errno));
	return 0;
}

static int vm_set_slot(struct vm *vm, unsigned int slot, uint32_t flags)
{
	const struct memory_region *r = &vm->memory.regions[slot];
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len,
		.userspace_addr = (uintptr_t)r->hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int vm_set_page(struct vm *vm, unsigned int i, uint64_t gpa, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = MEMORY_MAX_REGIONS + i,
		.guest_phys_addr = gpa,
		.memory_size = hva ? PAGE_SIZE : 0,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* Its place, or that of a free one for 0; VM_MAX_PAGES if there is none. Under the lock. */
static unsigned int vm_find_page(const struct vm *vm, uint64_t gpa)
{
	unsigned int i = 0;

	while (i < VM_MAX_PAGES && vm->pages[i] != gpa)
		i++;
	return i;
}

int vm_map_page(struct vm *vm, uint64_t gpa, void *hva)
{
	int ret = -ENOSPC;
	unsigned int i;

	pthread_mutex_lock(&vm->lock);
	i = vm_find_page(vm, 0);
	if (i < VM_MAX_PAGES)
		ret = vm_set_page(vm, i, gpa, hva);
	if (ret == 0)
		vm->pages[i] = gpa;
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

void vm_unmap_page(struct vm *vm, uint64_t gpa)
{
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&vm->lock);
	i = vm_find_page(vm, gpa);
	if (i < VM_MAX_PAGES) {
		ret = vm_set_page(vm, i, gpa, NULL);
		vm->pages[i] = 0;
	}
	pthread_mutex_unlock(&vm->lock);
	if (ret < 0)
		log_limited(&vm->log_limit, LOG_ERROR, "cannot take a page from the guest at 0x%llx: %s",
			    (unsigned long long)gpa, strerror(-ret));
}

static int vm_set_slots(struct vm *vm, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < vm->memory.n_regions; i++) {
		ret = vm_set_slot(vm, i, 0);
		if (ret < 0)
			error_add(err, ret, "cannot give %llu bytes of memory to the VM: %s",
				  (unsigned long long)vm->memory.regions[i].len, strerror(-ret));
	}
	return ret;
}

static int vm_init_vcpus(struct vm *vm, unsigned int cpus, struct error *err)
{
	vm->vcpus = calloc(cpus, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		return error_add(err, -ENOMEM, "cannot allocate %u vCPUs", cpus);
	for (unsigned int i = 0; i < cpus; i++)
		vm->vcpus[i] = (struct vcpu){ .vm = vm, .fd = -1 };
	/* Known before the first is made: it is part of their topology. */
	vm->n_vcpus = cpus;
	return vcpu_init(&vm->vcpus[0], vm, 0, err);
}

int vm_frame(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err)
{
	int ret;

	*vm = (struct vm){ .kvm_fd = -1, .fd = -1, .loop.epoll_fd = -1, .stop_fd = -1 };
	vm->devices_tail = &vm->devices;
	memory_frame(&vm->memory, mem);
	pthread_mutex_init(&vm->lock, NULL);
	gate_init(&vm->gate, &vm->loop);
	ret = loop_init(&vm->loop);
	if (ret < 0)
		error_add(err, ret, "cannot create an epoll loop: %s%s", strerror(-ret),
			  shortage_advice(ret));
	if (ret == 0)
		ret = vm_open_kvm(vm, err);
	if (ret == 0)
		ret = vm_create(vm, cpus, err);
	if (ret == 0)
		ret = cpu_init_vm(vm, err);
	if (ret == 0)
		ret = vm_init_irqs(vm, err);
	return ret < 0 ? ret : vm_init_vcpus(vm, cpus, err);
}

int vm_fill(struct vm *vm, struct error *err)
{
	return memory_fill(&vm->memory, err);
}

int vm_equip(struct vm *vm, struct error *err)
{
	int ret = vm_set_slots(vm, err);

	for (unsigned int i = 1; ret == 0 && i < vm->n_vcpus; i++)
		ret = vcpu_init(&vm->vcpus[i], vm, i, err);
	return ret;
}

int vm_init(struct vm *vm, uint64_t mem, unsigned int cpus, struct error *err)
{
	int ret = vm_frame(vm, mem, cpus, err);

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
	cpu_exit_vm(vm);
	free(vm->routing);
	free(vm->dirty_bitmap);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	memory_exit(&vm->memory);
	loop_exit(&vm->loop);
	gate_exit(&vm->gate);
	pthread_mutex_destroy(&vm->lock);
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

/* Linux 6.11; the headers that Ferry is built with may be older. */
#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory {
	__u64 gpa;
	__u64 size;
	__u64 flags;
	__u64 padding[5];
};
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = len };
	int ret;

	/* KVM moves the range along, also where a signal stops it. What it can not do costs the guest a
	 * fault. */
	do {
		ret = ioctl(vm->vcpus[0].fd, KVM_PRE_FAULT_MEMORY, &range);
	} while (range.size > 0 && (ret == 0 || errno == EINTR));
}

void vm_prefault_present(struct vm *vm, uint64_t max)
{
	const struct memory *m = &vm->memory;

	for (unsigned int i = 0; i < m->n_regions; i++) {
		const struct memory_region *r = &m->regions[i];
		uint64_t start, at = r->offset, end = r->offset + r->len;

		while (max > 0 && at < end && memory_next_data(m, at, &start, &at) == 1 && start < end) {
			uint64_t len = min_u64(min_u64(at, end) - start, max);

			vm_prefault(vm, r->gpa + (start - r->offset), len);
			max -= len;
		}
	}
}

int vm_dirty_log_start(struct vm *vm)
{
	uint64_t len = 0;
	int ret = 0;

	for (unsigned int i = 0; i < vm->memory.n_regions; i++)
		len = max_u64(len, vm->memory.regions[i].len);
	vm->dirty_bitmap = calloc(((len >> PAGE_SHIFT) + 63) / 64, sizeof(*vm->dirty_bitmap));
	if (!vm->dirty_bitmap)
		return -ENOMEM;
	for (unsigned int i = 0; ret == 0 && i < vm->memory.n_regions; i++)
		ret = vm_set_slot(vm, i, KVM_MEM_LOG_DIRTY_PAGES);
	if (ret < 0)
		vm_dirty_log_stop(vm);
	return ret;
}

void vm_dirty_log_stop(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->memory.n_regions; i++) {
		if (vm_set_slot(vm, i, 0) < 0)
			log_error("cannot switch KVM's dirty log off: %s", strerror(errno));
	}
	free(vm->dirty_bitmap);
	vm->dirty_bitmap = NULL;
}

/* ORs @n_words of @src into @dst from bit @first on. */
static void vm_or_bits(uint64_t *dst, uint64_t first, const uint64_t *src, uint64_t n_words)
{
	unsigned int shift = first % 64;

	dst += first / 64;
	for (uint64_t i = 0; i < n_words; i++) {
		if (!src[i])
			continue;
		dst[i] |= src[i] << shift;
		/* Bits beyond the slot are zero, so this stays within @dst. */
		if (shift > 0 && src[i] >> (64 - shift))
			dst[i + 1] |= src[i] >> (64 - shift);
	}
}

int vm_dirty_log(struct vm *vm, uint64_t *bitmap)
{
	for (unsigned int i = 0; i < vm->memory.n_regions; i++) {
		const struct memory_region *r = &vm->memory.regions[i];
		struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = vm->dirty_bitmap };

		if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
			return -errno;
		vm_or_bits(bitmap, r->offset >> PAGE_SHIFT, vm->dirty_bitmap,
			   ((r->len >> PAGE_SHIFT) + 63) / 64);
	}
	return 0;
}

void vm_describe(struct vm *vm, struct state_writer *w)
{
	state_put_u64(w, "memory", vm->memory.size);
	state_put_u32(w, "cpus", vm->n_vcpus);
	cpu_describe(vm, w);
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
	if (mem != vm->memory.size)
		ret = error_add(node->err, -EINVAL,
				"the VM has %llu bytes of memory here, %llu at the source",
				(unsigned long long)vm->memory.size, (unsigned long long)mem);
	if (cpus != vm->n_vcpus)
		ret = error_add(node->err, -EINVAL, "the VM has %u vCPUs here, %u at the source", vm->n_vcpus,
				cpus);
	/* The CPUs are looked at in any case: the peer is to learn all reasons at once. */
	return cpu_accept(vm, node) < 0 ? -EINVAL : ret;
}

int vm_save(struct vm *vm, struct state_writer *w, struct error *err)
{
	/* Properties come before children in a tree. */
	int ret = cpu_save_vm(vm, w, err);

	for (unsigned int i = 0; ret == 0 && i < vm->n_vcpus; i++) {
		state_begin_indexed(w, "vcpu", i);
		ret = cpu_save_vcpu(&vm->vcpus[i], w, err);
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
			ret = cpu_load_vcpu(&vm->vcpus[i], &child);
		if (ret == 0)
			ret = state_finish(&child);
		if (ret < 0)
			return ret;
	}
	/* After the vCPUs: the IOAPIC's pending interrupts go to their local APICs, the clock starts last. */
	return cpu_load_vm(vm, node);
}
