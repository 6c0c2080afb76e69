/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations that the files of the disk share: blk.c (building it, its life), io.c (requests),
 * file.c (the host's file), transfer.c (its bytes), limits.c (what it says of itself),
 * config_space.c (what the guest sees), job.c (work for the migration's thread), migrate.c.
 *
 * Unless said otherwise everything here runs on the disk's thread, which the storage can keep for ever. So
 * nobody else waits for it without an end: a vCPU posts what it wants of it and goes on, the migration's
 * thread posts jobs and waits for them as long as it may.
 */
#ifndef FERRY_DEVICES_BLK_BLK_PRIV_H
#define FERRY_DEVICES_BLK_BLK_PRIV_H

#include <linux/virtio_blk.h>
#include <sys/uio.h>

#include "devices/blk/blk.h"
#include "devices/virtio/pci.h"
#include "devices/virtio/vring.h"

#define BLK_SECTOR_SHIFT 9
#define BLK_SECTOR       512u /* the unit of every number in requests and configuration */
#define BLK_HEADER_LEN   16u  /* struct virtio_blk_outhdr */
#define BLK_RANGE_LEN    16u  /* struct virtio_blk_discard_write_zeroes */

#define BLK_RING_SIZE 256u
#define BLK_MAX_SEGS  (BLK_RING_SIZE - 2u) /* beside header and status */
#define BLK_MAX_SIZE  (1u << 20)           /* bytes of a segment: as long as what Linux asks for at once */

/* One request keeps those waiting that come after it, so it is bounded where the guest's driver knows the
 * bound. Zeroes may have to be written. */
#define BLK_MAX_RANGES               16u /* of a DISCARD */
#define BLK_MAX_ZERO_RANGES          1u
#define BLK_MAX_DISCARD_SECTORS      (1u << 22)
#define BLK_MAX_WRITE_ZEROES_SECTORS (1u << 15)

/* The part of struct virtio_blk_config that Ferry shows: up to write_zeroes_may_unmap. */
#define BLK_CONFIG_LEN 60u

/* The limits of the storage, in bytes. */
struct blk_limits {
	uint32_t block_len;        /* a logical block, which the guest knows */
	uint32_t physical_len;     /* what the storage writes at once; a multiple of @block_len */
	uint32_t alignment_offset; /* where the first such block of the storage begins */
	uint32_t discard_len;      /* what can be given back */
	bool can_direct;           /* there is direct I/O ... */
	uint32_t mem_align;        /* ... for memory at multiples of this */
	uint32_t offset_align;     /* ... and for offsets and lengths that are multiples of this */
};

/* For what direct I/O cannot take as it is. */
#define BLK_BOUNCE_LEN KIB(256)

/* A raw file or a block device: see file.c. */
struct blk_file {
	int fd;
	const char *path;
	bool read_only;
	bool is_device; /* a block device */
	bool direct;    /* not through the host's page cache */
	bool locked;
	uint64_t len;       /* bytes, a multiple of @block_len; of limits.offset_align too if @direct */
	uint32_t block_len; /* bytes of a logical block */
	struct blk_limits limits;
	uint8_t *bounce; /* BLK_BOUNCE_LEN bytes */
	uint8_t *zeroes; /* as many zeroes, which are only read */
	/* The guest's flush is under way, which takes as long as there is much to write back. Any thread. */
	_Atomic bool flushing;
	/* Writing back failed where the guest does not look: its next flush is to fail. Any thread. */
	_Atomic bool unreported;
	struct log_limit log_limit; /* a peer may ask for the same again and again */
};

struct blk;

/* A job that the migration's thread has done by another thread. The storage may keep that for ever, so a job
 * refers to nothing of its caller's. Posted and waited for by the migration's thread alone. */
struct blk_job {
	struct blk *blk;
	struct loop *loop;
	int (*fn)(struct blk *blk, struct error *err);
	struct loop_call call;
	bool posted; /* and not yet seen to be done */
	struct error err;
};

struct blk {
	struct virtio_pci virtio;
	struct device device;
	char name[16];
	struct vm *vm;
	struct loop loop;      /* the disk's thread */
	struct loop sync_loop; /* a thread that writes back beside it */
	struct blk_file file;
	uint64_t offered;
	uint64_t n_sectors;
	uint8_t config[BLK_CONFIG_LEN]; /* never changes once the guest runs */

	/* Calls that the disk's thread lets in between requests. */
	_Atomic unsigned int n_callers;
	/* From pause() to resume(), and for a guest that is still to come. Written by the migration's thread.
	 */
	_Atomic bool paused;

	/* A vCPU's, with the transport's lock; the migration's thread while vCPUs are stopped. */
	bool started;   /* the disk's thread has been given the ring */
	bool resetting; /* and is to give it back: @reset is posted */
	struct loop_call start, reset;

	/* The migration's thread. */
	struct blk_job job, sync_job, release_job;
	bool asking;       /* settle() waits since @asked_ns, with vCPUs running */
	uint64_t asked_ns; /* see now_ns() */
	bool resting;      /* the latest of @job is what pause() wants done */
	bool let_go;       /* save() has begun to give up the lock */

	/* Results of the latest jobs, to be read by the thread that has seen them done. */
	uint64_t fingerprint;

	/* The driver's life: the disk's thread's while @started, else as that. */
	uint64_t features;
	bool broken;   /* the driver broke the ring's rules; until its reset */
	bool has_ring; /* @vring is the driver's */
	bool attached; /* its kicks are watched */
	bool running;  /* it is served */
	struct vring vring;
	struct loop_source kick; /* fd is the transport's */
	struct iovec iov[BLK_RING_SIZE], piece[BLK_RING_SIZE];
	/* The request that was put back, by its head, and how many bytes of the file it was done for. */
	uint16_t half_head;
	uint64_t half_done;
	struct log_limit log_limit;
};

/* blk.c. blk_find_ring() makes @vring of the ring that a driver with @features has put at @place. */
int __must_check blk_find_ring(const struct blk *blk, uint64_t features, const struct virtio_pci_place *place,
			       struct vring *vring, struct error *err);
/* Serves the ring, beginning with what is there; and ends that. */
void blk_attach(struct blk *blk);
void blk_detach(struct blk *blk);
bool blk_features_ok(struct virtio_pci *v, uint64_t features);

/*
 * job.c. Posts a job, the one before it being done; whether it is done by @until_ns; and both, after the
 * one before it: its result, or -ETIMEDOUT where the storage does not answer.
 */
void blk_job_init(struct blk *blk);
void blk_job_post(struct blk_job *job, int (*fn)(struct blk *blk, struct error *err));
bool blk_job_done(struct blk_job *job, uint64_t until_ns);
int __must_check blk_job_run(struct blk_job *job, int (*fn)(struct blk *blk, struct error *err),
			     uint64_t until_ns, struct error *err);

/* io.c. */
void blk_kicked(struct loop_source *src, uint32_t events);
/* Has the ring looked at soon, on the disk's thread. */
void blk_kick_self(struct blk *blk);

/* file.c. Offsets and lengths have been checked against the file's; 0 or -errno. */
int __must_check blk_file_open(struct blk_file *f, const char *path, bool read_only, struct error *err);
void blk_file_close(struct blk_file *f);
/*
 * The lock of an open file description: shared for a disk that is only read, exclusive else. -EAGAIN if
 * somebody has it. On block devices it works within one host, for their locks are the node's.
 */
int __must_check blk_file_lock(struct blk_file *f, struct error *err);
void blk_file_unlock(struct blk_file *f);
/* For the guest: what was written is on the storage. */
int __must_check blk_file_flush(struct blk_file *f);
/* The same for ourselves; a failure is kept for the guest's next flush. Any thread. */
int __must_check blk_file_write_back(struct blk_file *f);
int __must_check blk_file_discard(struct blk_file *f, uint64_t offset, uint64_t len);
int __must_check blk_file_write_zeroes(struct blk_file *f, uint64_t offset, uint64_t len, bool unmap);
/* A number for what the file begins with, by which two hosts can tell different disks. */
int __must_check blk_file_fingerprint(struct blk_file *f, uint64_t *fingerprint);
/* Forgets what this host's page cache knows of the file: another host has written to it. Any thread. */
void blk_file_drop_cache(struct blk_file *f);

/*
 * config_space.c. What is offered, and @config of BLK_CONFIG_LEN bytes for those features. Then of a
 * guest that was shown @missing features of another host's, by name in @err; or @shown, configuration for
 * @offered.
 */
uint64_t blk_offered(const struct blk_file *f);
void blk_config_build(const struct blk_file *f, uint64_t offered, uint8_t *config);
int __must_check blk_features_kept(uint64_t missing, const char *name, struct error *err);
bool blk_config_kept(const struct blk_file *f, uint64_t offered, const uint8_t *shown);

/* transfer.c. Between the file at @offset and @iov, which is used up; aligned or not. */
int __must_check blk_file_transfer(struct blk_file *f, bool write, struct iovec *iov, unsigned int n,
				   uint64_t offset);
/* The first @len bytes of @iov, which is used up as far as that goes: left out, copied to or from @data, or
 * moved into @piece, which has room for as many elements: their number. */
void blk_iov_skip(struct iovec **iov, unsigned int *n, size_t len);
void blk_iov_copy(struct iovec **iov, unsigned int *n, uint8_t *data, size_t len, bool to_iov);
unsigned int blk_iov_cut(struct iovec **iov, unsigned int *n, size_t len, struct iovec *piece);

/* limits.c. Of the file @fd, whose logical blocks have @block_len bytes; what nobody tells is what is
 * safe. */
void blk_limits_ask(int fd, bool is_device, uint32_t block_len, struct blk_limits *l);

/* migrate.c. */
extern const struct device_ops blk_device_ops;

#endif
