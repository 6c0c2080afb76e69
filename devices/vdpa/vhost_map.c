/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vDPA device of the host's kernel reaches of memory: messages to its IOTLB, by address space; and its
 * doorbells.
 */
#include "devices/vdpa/vhost_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/limits.h"

_Static_assert(sizeof(struct vhost_msg_v2) == 72, "the kernel wants whole messages");

static int check_regions(const struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
			 struct error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct vdpa_region *r = &regions[i];
		uint64_t last = r->iova + r->len - 1;

		if (r->len == 0 || last < r->iova || r->iova < vdpa->iova_first || last > vdpa->iova_last)
			return error_add(err, -ERANGE,
					 "%s: cannot map memory at 0x%" PRIx64 " to 0x%" PRIx64
					 ": the device reaches 0x%" PRIx64 " to 0x%" PRIx64,
					 vdpa->name, r->iova, last, vdpa->iova_first, vdpa->iova_last);
		/* The kernel would round, and map shifted memory without an error. */
		if ((r->iova | r->len | (uintptr_t)r->hva) % PAGE_SIZE != 0)
			return error_add(err, -EINVAL,
					 "%s: cannot map memory at 0x%" PRIx64 ": not whole pages",
					 vdpa->name, r->iova);
	}
	return 0;
}

static int send_message(const struct vhost_vdpa *vv, uint64_t asid, const struct vhost_iotlb_msg *iotlb)
{
	struct vhost_msg_v2 msg;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	msg.type = VHOST_IOTLB_MSG_V2;
	msg.asid = (uint32_t)asid;
	msg.iotlb = *iotlb;
	n = write(vv->fd, &msg, sizeof(msg));
	if (n < 0)
		return -errno;
	return n == sizeof(msg) ? 0 : -EIO;
}

static int send_batch(const struct vhost_vdpa *vv, uint64_t asid, uint8_t type)
{
	const struct vhost_iotlb_msg msg = { .type = type };

	return virtio_has(vv->backend_features, VHOST_BACKEND_F_IOTLB_BATCH) ? send_message(vv, asid, &msg)
									     : 0;
}

static int send_update(const struct vhost_vdpa *vv, const struct vdpa_region *r)
{
	const struct vhost_iotlb_msg msg = {
		.type = VHOST_IOTLB_UPDATE,
		.iova = r->iova,
		.size = r->len,
		.uaddr = (uintptr_t)r->hva,
		.perm = VHOST_ACCESS_RW,
	};

	return send_message(vv, r->asid, &msg);
}

static int send_invalidate(const struct vhost_vdpa *vv, const struct vdpa_region *r)
{
	const struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_INVALIDATE,
					     .iova = r->iova,
					     .size = r->len };

	return send_message(vv, r->asid, &msg);
}

/* The kernel says EFAULT whatever the cause, so the text holds the causes there are. */
static int map_error(const struct vhost_vdpa *vv, const struct vdpa_region *r, int ret, uint64_t limit,
		     uint64_t needed, struct error *err)
{
	if (limit < needed)
		return error_add(err, ret,
				 "%s: cannot map memory for the device: %" PRIu64
				 " MiB are to be pinned, the limit of "
				 "locked memory is %" PRIu64 " MiB: raise it with \"ulimit -l %" PRIu64
				 "\", or LimitMEMLOCK= in the systemd unit, or run as root",
				 vv->path, align_up(needed, MIB(1)) >> 20, limit >> 20,
				 align_up(needed, 1024) >> 10);
	return error_add(
		err, ret,
		"%s: cannot map %" PRIu64 " MiB at 0x%" PRIx64
		" for the device: %s. Either its memory lies in "
		"too many pieces (raise vhost_vdpa.max_iotlb_entries, or use huge pages), or the host is "
		"out of memory, or its IOMMU refuses: the kernel's log may say which",
		vv->path, align_up(r->len, MIB(1)) >> 20, r->iova, strerror(-ret));
}

/* Whether an earlier region is in the same address space: it has taken this one along. */
static bool region_is_done(const struct vdpa_region *regions, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++) {
		if (regions[k].asid == regions[i].asid)
			return true;
	}
	return false;
}

/* Linux 6.1. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define MAP_PREPARE_STEP MIB(16)

/*
 * Has memory in huge pages before the device pins it, page by page, for good: one fault and one entry of an
 * IOMMU or of KVM's tables in the place of 512. Guest RAM is a memfd, and those get huge pages by default
 * only when asked so. Where the host has none to give, or too old a kernel, small ones do.
 */
static void map_prepare(const struct vdpa_region *r)
{
	/*
	 * The kernel gives up at the first page that somebody is using, such as the guest's kernel being
	 * loaded. Of less than a huge page it makes nothing, but only after waiting for every CPU.
	 */
	for (uint64_t at = 0; at + HUGE_PAGE_SIZE <= r->len; at += MAP_PREPARE_STEP) {
		uint64_t end = min_u64(at + MAP_PREPARE_STEP, r->len);
		uint8_t *hva = r->hva;

		/* It makes no huge page of nothing. */
		for (uint64_t page = at; page < end; page += HUGE_PAGE_SIZE)
			(void)*(volatile uint8_t *)(hva + page);
		madvise(hva + at, end - at, MADV_COLLAPSE);
	}
}

/* Those of @asid, as a batch of their own: the kernel has one at a time. All that were mapped before one that
 * fails are unmapped in the same batch, so that the device never sees a part. */
static int map_space(struct vhost_vdpa *vv, uint64_t asid, const struct vdpa_region *regions, unsigned int n,
		     struct error *err)
{
	uint64_t needed = limits_pinned(), limit;
	unsigned int n_done = 0;
	int ret;

	for (unsigned int i = 0; i < n; i++)
		needed += regions[i].asid == asid ? regions[i].len : 0;
	/* Parents that do not pin have no need of it, and do not say so: whatever comes of it, try. */
	limit = limits_raise_memlock(needed);

	ret = send_batch(vv, asid, VHOST_IOTLB_BATCH_BEGIN);
	if (ret < 0)
		return error_add(err, ret, "%s: cannot begin to map memory: %s", vv->path, strerror(-ret));
	for (; n_done < n && ret == 0; n_done++) {
		if (regions[n_done].asid != asid)
			continue;
		map_prepare(&regions[n_done]);
		ret = send_update(vv, &regions[n_done]);
		if (ret < 0) {
			map_error(vv, &regions[n_done], ret, limit, needed, err);
			break;
		}
	}
	for (unsigned int i = 0; i < n_done && ret < 0; i++) {
		if (regions[i].asid == asid && send_invalidate(vv, &regions[i]) < 0)
			error_add(err, ret, "nor can it be undone at 0x%" PRIx64, regions[i].iova);
	}
	if (send_batch(vv, asid, VHOST_IOTLB_BATCH_END) < 0 && ret == 0)
		ret = error_add(err, -EIO, "%s: cannot map memory: the batch failed", vv->path);
	return ret;
}

static int unmap_space(struct vhost_vdpa *vv, uint64_t asid, const struct vdpa_region *regions,
		       unsigned int n, struct error *err)
{
	int ret = send_batch(vv, asid, VHOST_IOTLB_BATCH_BEGIN);

	if (ret < 0)
		return error_add(err, ret, "%s: cannot begin to unmap memory: %s", vv->path, strerror(-ret));
	/* All of them, after one that failed too: what is left stays pinned. A batch that was begun must end.
	 */
	for (unsigned int i = 0; i < n; i++) {
		int each = regions[i].asid == asid ? send_invalidate(vv, &regions[i]) : 0;

		if (each < 0)
			ret = error_add(err, each, "%s: cannot unmap memory at 0x%" PRIx64 ": %s", vv->path,
					regions[i].iova, strerror(-each));
	}
	if (send_batch(vv, asid, VHOST_IOTLB_BATCH_END) < 0 && ret == 0)
		ret = error_add(err, -EIO, "%s: cannot unmap memory: the batch failed", vv->path);
	return ret;
}

int vhost_vdpa_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	int ret = check_regions(vdpa, regions, n, err);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < n; i++) {
		if (!region_is_done(regions, i) &&
		    unmap_space(vhost_vdpa_of(vdpa), regions[i].asid, regions, n, err) < 0)
			ret = -EIO;
	}
	return ret;
}

int vhost_vdpa_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	struct vhost_vdpa *vv = vhost_vdpa_of(vdpa);
	int ret = check_regions(vdpa, regions, n, err);

	for (unsigned int i = 0; i < n && ret == 0; i++) {
		if (region_is_done(regions, i))
			continue;
		ret = map_space(vv, regions[i].asid, regions, n, err);
		/* None of them, then: the spaces before it as well. */
		for (unsigned int k = 0; k < i && ret < 0; k++) {
			if (!region_is_done(regions, k) &&
			    unmap_space(vv, regions[k].asid, regions, n, err) < 0)
				break;
		}
	}
	return ret;
}

int vhost_vdpa_map_doorbell(struct vdpa *vdpa, unsigned int index, void **page, struct error *err)
{
	/* The kernel refuses a mapping that can be read. */
	void *at = mmap(NULL, PAGE_SIZE, PROT_WRITE, MAP_SHARED, vhost_vdpa_of(vdpa)->fd,
			(off_t)index * (off_t)PAGE_SIZE);
	int error = errno;

	if (at != MAP_FAILED) {
		*page = at;
		return 0;
	}
	if (error == KERNEL_ENOTSUPP)
		return -ENOTSUP;
	return error_add(err, -error, "%s: cannot map the doorbell of queue %u: %s", vdpa->name, index,
			 strerror(error));
}
