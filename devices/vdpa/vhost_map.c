/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that a vDPA device of the host's kernel reaches: see the header. */
#include "devices/vdpa/vhost_map.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

/* The header follows virtio.h, because both define the flags of rings. */
#include <linux/vhost.h>

#include "vmm/limits.h"

_Static_assert(sizeof(struct vhost_msg_v2) == 72, "the kernel wants whole messages");

static int check_regions(const struct vhost_map *map, const struct vdpa_region *regions, unsigned int n,
			 struct error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct vdpa_region *r = &regions[i];
		uint64_t last = r->iova + r->len - 1;

		if (r->len == 0 || last < r->iova || r->iova < map->first || last > map->last) {
			error_add(err,
				  "%s: cannot map memory at 0x%" PRIx64 " to 0x%" PRIx64
				  ": the device reaches 0x%" PRIx64 " to 0x%" PRIx64,
				  map->path, r->iova, last, map->first, map->last);
			return -ERANGE;
		}
		/* The kernel would round the region, and map shifted memory without an error. */
		if ((r->iova | r->len | (uintptr_t)r->hva) % PAGE_SIZE != 0) {
			error_add(err, "%s: cannot map memory at 0x%" PRIx64 ": not whole pages", map->path,
				  r->iova);
			return -EINVAL;
		}
	}
	return 0;
}

static int send_message(const struct vhost_map *map, uint64_t asid, const struct vhost_iotlb_msg *iotlb)
{
	struct vhost_msg_v2 msg;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	msg.type = VHOST_IOTLB_MSG_V2;
	msg.asid = (uint32_t)asid;
	msg.iotlb = *iotlb;
	n = write(map->fd, &msg, sizeof(msg));
	if (n < 0)
		return -errno;
	return n == sizeof(msg) ? 0 : -EIO;
}

static int send_batch(const struct vhost_map *map, uint64_t asid, uint8_t type)
{
	const struct vhost_iotlb_msg msg = { .type = type };

	return map->batches ? send_message(map, asid, &msg) : 0;
}

static int send_update(const struct vhost_map *map, const struct vdpa_region *r)
{
	const struct vhost_iotlb_msg msg = {
		.type = VHOST_IOTLB_UPDATE,
		.iova = r->iova,
		.size = r->len,
		.uaddr = (uintptr_t)r->hva,
		.perm = VHOST_ACCESS_RW,
	};

	return send_message(map, r->asid, &msg);
}

static int send_invalidate(const struct vhost_map *map, const struct vdpa_region *r)
{
	const struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_INVALIDATE,
					     .iova = r->iova,
					     .size = r->len };

	return send_message(map, r->asid, &msg);
}

/* The kernel says EFAULT whatever the cause, so the text names the causes there are. */
static int map_error(const struct vhost_map *map, const struct vdpa_region *r, int ret, uint64_t limit,
		     uint64_t needed, struct error *err)
{
	if (limit < needed) {
		error_add(err,
			  "%s: cannot map memory for the device: %" PRIu64
			  " MiB are to be pinned, the limit of "
			  "locked memory is %" PRIu64 " MiB: raise it with \"ulimit -l %" PRIu64
			  "\", or LimitMEMLOCK= in the systemd unit, or run as root",
			  map->path, align_up(needed, MIB(1)) >> 20, limit >> 20,
			  align_up(needed, 1024) >> 10);
		return ret;
	}
	error_add(err,
		  "%s: cannot map %" PRIu64 " MiB at 0x%" PRIx64
		  " for the device: %s. Either its memory lies in "
		  "too many pieces (raise vhost_vdpa.max_iotlb_entries, or use huge pages), or the host is "
		  "out of memory, or its IOMMU refuses: the kernel's log may say which",
		  map->path, align_up(r->len, MIB(1)) >> 20, r->iova, strerror(-ret));
	return ret;
}

/*
 * Whether an earlier region lies in the same address space: a space is done as a whole with its first region.
 */
static bool region_is_done(const struct vdpa_region *regions, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++) {
		if (regions[k].asid == regions[i].asid)
			return true;
	}
	return false;
}

/* MADV_COLLAPSE came with Linux 6.1. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/*
 * The kernel gives up a whole call at the first page that is in use, so a call covers only a few huge pages.
 */
#define MAP_PREPARE_STEP MIB(16)

/*
 * Moves memory into huge pages before the device pins it page by page for good, so that one fault and one
 * entry of an IOMMU or of KVM's tables take the place of 512. Guest RAM is a memfd, which gets huge pages
 * only on request. A host that has none to give, or too old a kernel, goes on with small pages.
 */
static void map_prepare(const struct vdpa_region *r)
{
	/*
	 * The kernel gives up at the first page that somebody is using, such as the guest's kernel being
	 * loaded. A remainder of less than a huge page is left out: the kernel would wait for every CPU, and
	 * make nothing of it.
	 */
	for (uint64_t at = 0; at + HUGE_PAGE_SIZE <= r->len; at += MAP_PREPARE_STEP) {
		uint64_t end = min_u64(at + MAP_PREPARE_STEP, r->len);
		uint8_t *hva = r->hva;

		/*
		 * The kernel collapses only memory that is there, so one page of each huge page is touched.
		 */
		for (uint64_t page = at; page < end; page += HUGE_PAGE_SIZE)
			(void)*(volatile uint8_t *)(hva + page);
		madvise(hva + at, end - at, MADV_COLLAPSE);
	}
}

/* Maps the regions of @asid as a batch of their own, because the kernel has one batch at a time. If one
 * fails, those before it are unmapped in the same batch, so that the device never sees a part. */
static int map_space(const struct vhost_map *map, uint64_t asid, const struct vdpa_region *regions,
		     unsigned int n, struct error *err)
{
	uint64_t needed = limits_pinned(), limit;
	unsigned int n_done = 0;
	int ret;

	for (unsigned int i = 0; i < n; i++)
		needed += regions[i].asid == asid ? regions[i].len : 0;
	/* A parent that pins nothing needs no such limit, but does not say so: map whatever comes of raising
	 * it. */
	limit = limits_raise_memlock(needed);

	ret = send_batch(map, asid, VHOST_IOTLB_BATCH_BEGIN);
	if (ret < 0) {
		error_add(err, "%s: cannot begin to map memory: %s", map->path, strerror(-ret));
		return ret;
	}
	for (; n_done < n && ret == 0; n_done++) {
		if (regions[n_done].asid != asid)
			continue;
		map_prepare(&regions[n_done]);
		ret = send_update(map, &regions[n_done]);
		if (ret < 0) {
			map_error(map, &regions[n_done], ret, limit, needed, err);
			break;
		}
	}
	for (unsigned int i = 0; i < n_done && ret < 0; i++) {
		if (regions[i].asid == asid && send_invalidate(map, &regions[i]) < 0)
			error_add(err, "nor can it be undone at 0x%" PRIx64, regions[i].iova);
	}
	if (send_batch(map, asid, VHOST_IOTLB_BATCH_END) < 0 && ret == 0) {
		error_add(err, "%s: cannot map memory: the batch failed", map->path);
		ret = -EIO;
	}
	return ret;
}

static int unmap_space(const struct vhost_map *map, uint64_t asid, const struct vdpa_region *regions,
		       unsigned int n, struct error *err)
{
	int ret = send_batch(map, asid, VHOST_IOTLB_BATCH_BEGIN);

	if (ret < 0) {
		error_add(err, "%s: cannot begin to unmap memory: %s", map->path, strerror(-ret));
		return ret;
	}
	/*
	 * A region that stays mapped stays pinned, so go on after a failure. A batch that was begun must end.
	 */
	for (unsigned int i = 0; i < n; i++) {
		int each = regions[i].asid == asid ? send_invalidate(map, &regions[i]) : 0;

		if (each < 0) {
			error_add(err, "%s: cannot unmap memory at 0x%" PRIx64 ": %s", map->path,
				  regions[i].iova, strerror(-each));
			ret = each;
		}
	}
	if (send_batch(map, asid, VHOST_IOTLB_BATCH_END) < 0 && ret == 0) {
		error_add(err, "%s: cannot unmap memory: the batch failed", map->path);
		ret = -EIO;
	}
	return ret;
}

int vhost_map_remove(const struct vhost_map *map, const struct vdpa_region *regions, unsigned int n,
		     struct error *err)
{
	int ret = check_regions(map, regions, n, err);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < n; i++) {
		if (!region_is_done(regions, i) && unmap_space(map, regions[i].asid, regions, n, err) < 0)
			ret = -EIO;
	}
	return ret;
}

int vhost_map_add(const struct vhost_map *map, const struct vdpa_region *regions, unsigned int n,
		  struct error *err)
{
	int ret = check_regions(map, regions, n, err);

	for (unsigned int i = 0; i < n && ret == 0; i++) {
		if (region_is_done(regions, i))
			continue;
		ret = map_space(map, regions[i].asid, regions, n, err);
		/* A space that fails takes those before it back, so that none of the regions is mapped. */
		for (unsigned int k = 0; k < i && ret < 0; k++) {
			if (!region_is_done(regions, k) &&
			    unmap_space(map, regions[k].asid, regions, n, err) < 0)
				break;
		}
	}
	return ret;
}

int vhost_map_doorbell(const struct vhost_map *map, unsigned int index, void **page, struct error *err)
{
	/* The kernel refuses a mapping of a doorbell that can be read. */
	void *at = mmap(NULL, PAGE_SIZE, PROT_WRITE, MAP_SHARED, map->fd, (off_t)index * (off_t)PAGE_SIZE);
	int error = errno;

	if (at != MAP_FAILED) {
		*page = at;
		return 0;
	}
	if (error == KERNEL_ENOTSUPP)
		return -ENOTSUP;
	error_add(err, "%s: cannot map the doorbell of queue %u: %s", map->path, index, strerror(error));
	return -error;
}
