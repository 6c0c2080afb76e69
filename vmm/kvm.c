/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's VM: file descriptors, slots of memory, the dirty log, doorbells. */
#define _GNU_SOURCE
#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/descriptor.h"
#include "vmm/shortage.h"

static const struct kvm_cap kvm_caps[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_SYNC_MMU, "KVM_CAP_SYNC_MMU" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS" },
};

/* Advice to the operator by the error of open("/dev/kvm"). */
static const struct {
	int error;
	const char *help;
} kvm_open_help[] = {
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

static int kvm_open_device(struct kvm *kvm, const char *device, struct error *err)
{
	int version;

	kvm->fd = descriptor_open(device, O_RDWR | O_CLOEXEC);
	if (kvm->fd < 0) {
		int ret = -errno;
		const char *help = NULL;

		for (unsigned int i = 0; i < ARRAY_SIZE(kvm_open_help); i++) {
			if (kvm_open_help[i].error == -ret)
				help = kvm_open_help[i].help;
		}
		error_add(err, "cannot open %s: %s%s%s", device, strerror(-ret), help ? ": " : "",
			  help ? help : "");
		return ret;
	}
	version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		error_add(err,
			  "%s speaks version %d of KVM's interface (-1: it is not KVM's file), Ferry version "
			  "%d",
			  device, version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	return 0;
}

int kvm_check_caps(const struct kvm *kvm, const struct kvm_cap *caps, unsigned int n_caps, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < n_caps; i++) {
		if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, caps[i].cap) <= 0) {
			error_add(err, "this host's KVM lacks %s", caps[i].name);
			ret = -ENOTSUP;
		}
	}
	return ret;
}

/* Opens @device, which must have what Ferry needs on every processor. */
static int kvm_open_checked(struct kvm *kvm, const char *device, struct error *err)
{
	int ret = kvm_open_device(kvm, device, err);

	return ret < 0 ? ret : kvm_check_caps(kvm, kvm_caps, ARRAY_SIZE(kvm_caps), err);
}

int kvm_check_host(const char *device, struct error *err)
{
	struct kvm kvm;
	int ret;

	kvm_init(&kvm, NULL);
	ret = kvm_open_checked(&kvm, device, err);
	kvm_exit(&kvm);
	return ret;
}

void kvm_init(struct kvm *kvm, struct memory *memory)
{
	*kvm = (struct kvm){ .fd = -1, .vm_fd = -1, .memory = memory };
	pthread_mutex_init(&kvm->lock, NULL);
}

void kvm_exit(struct kvm *kvm)
{
	free(kvm->dirty_bitmap);
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->fd >= 0)
		close(kvm->fd);
	pthread_mutex_destroy(&kvm->lock);
}

int kvm_open(struct kvm *kvm, const char *device, unsigned int cpus, struct error *err)
{
	int max, ret;

	ret = kvm_open_checked(kvm, device, err);
	if (ret < 0)
		return ret;
	max = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && cpus > (unsigned int)max) {
		error_add(err, "%u vCPUs are more than the %d that this host's KVM allows", cpus, max);
		return -EINVAL;
	}
	do {
		kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
	} while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0) {
		error_add(err, "cannot create a VM: %s%s", strerror(errno),
			  errno == EBUSY ? " (another hypervisor holds the CPU's virtualization)"
					 : shortage_advice(-errno));
		return -errno;
	}
	return 0;
}

static int kvm_set_slot(struct kvm *kvm, unsigned int slot, uint32_t flags)
{
	const struct memory_region *r = &kvm->memory->regions[slot];
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len,
		.userspace_addr = (uintptr_t)r->hva,
	};

	return ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int kvm_set_page(struct kvm *kvm, unsigned int i, uint64_t gpa, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = MEMORY_MAX_REGIONS + i,
		.guest_phys_addr = gpa,
		.memory_size = hva ? PAGE_SIZE : 0,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* Returns the place of the page at @gpa, or a free one for 0; KVM_MAX_PAGES if there is none. Under
 * the lock. */
static unsigned int kvm_find_page(const struct kvm *kvm, uint64_t gpa)
{
	unsigned int i = 0;

	while (i < KVM_MAX_PAGES && kvm->pages[i] != gpa)
		i++;
	return i;
}

int kvm_map_page(struct kvm *kvm, uint64_t gpa, void *hva)
{
	int ret = -ENOSPC;
	unsigned int i;

	pthread_mutex_lock(&kvm->lock);
	i = kvm_find_page(kvm, 0);
	if (i < KVM_MAX_PAGES)
		ret = kvm_set_page(kvm, i, gpa, hva);
	if (ret == 0)
		kvm->pages[i] = gpa;
	pthread_mutex_unlock(&kvm->lock);
	return ret;
}

void kvm_unmap_page(struct kvm *kvm, uint64_t gpa)
{
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&kvm->lock);
	i = kvm_find_page(kvm, gpa);
	if (i < KVM_MAX_PAGES) {
		ret = kvm_set_page(kvm, i, gpa, NULL);
		kvm->pages[i] = 0;
	}
	pthread_mutex_unlock(&kvm->lock);
	if (ret < 0)
		log_limited(&kvm->log_limit, LOG_ERROR, "cannot take a page from the guest at 0x%llx: %s",
			    (unsigned long long)gpa, strerror(-ret));
}

int kvm_add_memory(struct kvm *kvm, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < kvm->memory->n_regions; i++) {
		ret = kvm_set_slot(kvm, i, 0);
		if (ret < 0)
			error_add(err, "cannot give %llu bytes of memory to the VM: %s",
				  (unsigned long long)kvm->memory->regions[i].len, strerror(-ret));
	}
	return ret;
}

static int kvm_set_ioeventfd(struct kvm *kvm, uint64_t addr, int fd, uint32_t flags)
{
	struct kvm_ioeventfd io = { .addr = addr, .len = 2, .fd = fd, .flags = flags };

	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

int kvm_add_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
	return kvm_set_ioeventfd(kvm, addr, fd, 0);
}

void kvm_del_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
	int ret = kvm_set_ioeventfd(kvm, addr, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);

	if (ret < 0)
		log_limited(&kvm->log_limit, LOG_ERROR, "cannot take back the doorbell at 0x%llx: %s",
			    (unsigned long long)addr, strerror(-ret));
}

int kvm_log_start(struct kvm *kvm)
{
	uint64_t len = 0;
	int ret = 0;

	for (unsigned int i = 0; i < kvm->memory->n_regions; i++)
		len = max_u64(len, kvm->memory->regions[i].len);
	kvm->dirty_bitmap = calloc(((len >> PAGE_SHIFT) + 63) / 64, sizeof(*kvm->dirty_bitmap));
	if (!kvm->dirty_bitmap)
		return -ENOMEM;
	for (unsigned int i = 0; ret == 0 && i < kvm->memory->n_regions; i++)
		ret = kvm_set_slot(kvm, i, KVM_MEM_LOG_DIRTY_PAGES);
	if (ret < 0)
		kvm_log_stop(kvm);
	return ret;
}

void kvm_log_stop(struct kvm *kvm)
{
	for (unsigned int i = 0; i < kvm->memory->n_regions; i++) {
		if (kvm_set_slot(kvm, i, 0) < 0)
			log_error("cannot switch KVM's dirty log off: %s", strerror(errno));
	}
	free(kvm->dirty_bitmap);
	kvm->dirty_bitmap = NULL;
}

int kvm_log_take(struct kvm *kvm, struct page_set *pages)
{
	for (unsigned int i = 0; i < kvm->memory->n_regions; i++) {
		const struct memory_region *r = &kvm->memory->regions[i];
		struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = kvm->dirty_bitmap };

		if (ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
			return -errno;
		/* KVM leaves the bits beyond the slot's end at zero. */
		page_set_add_bits(pages, r->offset >> PAGE_SHIFT, kvm->dirty_bitmap,
				  ((r->len >> PAGE_SHIFT) + 63) / 64);
	}
	return 0;
}

int kvm_failed(struct error *err, const char *what)
{
	error_add(err, "%s failed: %s", what, strerror(errno));
	return -errno;
}
