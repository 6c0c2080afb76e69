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

/* To look at the log is a mere copy then, without a change to all of it. Since Linux 5.0. */
static bool kvm_want_log_by_hand(struct kvm *kvm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				      .args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE };

	return ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
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
	kvm->log_by_hand = kvm_want_log_by_hand(kvm);
	return 0;
}

/* The longest slot of memory, but for guests that would have more than this many: a look at the log of a slot
 * is a copy that should stay in a CPU's cache. */
#define KVM_SLOT_LEN  GIB(8)
#define KVM_MAX_SLOTS 128u

/* A slot of guest memory: one after the other, KVM_MAX_PAGES is the first. */
struct kvm_slot {
	uint32_t n;
	unsigned int region;
	uint64_t at, len; /* within the region */
};

/* Moves on to the next slot, or from a zeroed one to the first. False: there is none. */
static bool kvm_next_slot(const struct kvm *kvm, struct kvm_slot *s)
{
	const struct memory *m = kvm->memory;
	uint64_t max_len = KVM_SLOT_LEN;

	while (max_len * KVM_MAX_SLOTS < m->size)
		max_len *= 2;
	s->n = s->n ? s->n + 1 : KVM_MAX_PAGES;
	s->at += s->len;
	if (s->region < m->n_regions && s->at == m->regions[s->region].len) {
		s->region++;
		s->at = 0;
	}
	if (s->region == m->n_regions)
		return false;
	s->len = min_u64(max_len, m->regions[s->region].len - s->at);
	return true;
}

static int kvm_set_slot(struct kvm *kvm, const struct kvm_slot *s, uint32_t flags)
{
	const struct memory_region *r = &kvm->memory->regions[s->region];
	struct kvm_userspace_memory_region region = {
		.slot = s->n,
		.flags = flags,
		.guest_phys_addr = r->gpa + s->at,
		.memory_size = s->len,
		.userspace_addr = (uintptr_t)r->hva + s->at,
	};

	return ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int kvm_set_page(struct kvm *kvm, unsigned int i, uint64_t gpa, void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = i,
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
	struct kvm_slot slot = { 0 };
	int ret = 0;

	while (ret == 0 && kvm_next_slot(kvm, &slot)) {
		ret = kvm_set_slot(kvm, &slot, 0);
		if (ret < 0)
			error_add(err, "cannot give %llu bytes of memory to the VM: %s",
				  (unsigned long long)slot.len, strerror(-ret));
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
	struct kvm_slot slot = { 0 };
	uint64_t len = 0;
	int ret = 0;

	while (kvm_next_slot(kvm, &slot))
		len = max_u64(len, slot.len);
	kvm->dirty_bitmap = calloc(((len >> PAGE_SHIFT) + 63) / 64, sizeof(*kvm->dirty_bitmap));
	if (!kvm->dirty_bitmap)
		return -ENOMEM;
	slot = (struct kvm_slot){ 0 };
	while (ret == 0 && kvm_next_slot(kvm, &slot))
		ret = kvm_set_slot(kvm, &slot, KVM_MEM_LOG_DIRTY_PAGES);
	if (ret < 0)
		kvm_log_stop(kvm);
	return ret;
}

void kvm_log_stop(struct kvm *kvm)
{
	struct kvm_slot slot = { 0 };

	while (kvm_next_slot(kvm, &slot)) {
		if (kvm_set_slot(kvm, &slot, 0) < 0)
			log_error("cannot switch KVM's dirty log off: %s", strerror(errno));
	}
	free(kvm->dirty_bitmap);
	kvm->dirty_bitmap = NULL;
}

/* Has KVM notice the next write to each page whose bit is set in the @n_words of the log. */
static int kvm_log_clear(struct kvm *kvm, const struct kvm_slot *s, uint64_t n_words)
{
	const uint64_t *words = kvm->dirty_bitmap;
	struct kvm_clear_dirty_log clear = { .slot = s->n };
	uint64_t first = 0, end = n_words;

	while (first < end && !words[first])
		first++;
	while (end > first && !words[end - 1])
		end--;
	if (first == end)
		return 0;
	clear.first_page = first * 64;
	clear.num_pages = (uint32_t)(min_u64(end * 64, s->len >> PAGE_SHIFT) - first * 64);
	clear.dirty_bitmap = kvm->dirty_bitmap + first;
	return ioctl(kvm->vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0 ? -errno : 0;
}

static int kvm_log_take_slot(struct kvm *kvm, const struct kvm_slot *s, struct page_set *pages)
{
	uint64_t offset = kvm->memory->regions[s->region].offset + s->at;
	uint64_t n_words = ((s->len >> PAGE_SHIFT) + 63) / 64;
	struct kvm_dirty_log log = { .slot = s->n, .dirty_bitmap = kvm->dirty_bitmap };

	/* A page that was written is there. */
	if (!memory_has_data(kvm->memory, offset, offset + s->len))
		return 0;
	if (ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return -errno;
	/* KVM leaves the bits beyond the slot's end at zero. */
	page_set_add_bits(pages, offset >> PAGE_SHIFT, kvm->dirty_bitmap, n_words);
	return kvm->log_by_hand ? kvm_log_clear(kvm, s, n_words) : 0;
}

int kvm_log_take(struct kvm *kvm, struct page_set *pages)
{
	struct kvm_slot slot = { 0 };
	int ret = 0;

	while (ret == 0 && kvm_next_slot(kvm, &slot))
		ret = kvm_log_take_slot(kvm, &slot, pages);
	return ret;
}

int kvm_failed(struct error *err, const char *what)
{
	error_add(err, "%s failed: %s", what, strerror(errno));
	return -errno;
}
