/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's driver for one disk, on a file of the test's own, and what tests of the disk do again and again.
 * Functions fail the test where something is not as it must be.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_BLK_BLK_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_BLK_BLK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <unistd.h>

#include "devices/blk/blk.h"
#include "devices/blk/disk.h"
#include "tests/fake/driver.h"
#include "tests/fake/vm.h"

#define ALL        UINT64_MAX
#define DRIVER_OK  0xf
#define BROKEN     (DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)
#define GUEST_MEM  MIB(16)
#define RING       UINT64_C(0x100000)
#define TABLES     UINT64_C(0x200000)
#define HEADERS    UINT64_C(0x300000)
#define STATUSES   UINT64_C(0x380000)
#define DATA       UINT64_C(0x400000)
#define DISK_LEN   MIB(4)
#define DISK_PATH  64 /* room for a path */
#define HEADER_LEN 16u
#define RANGE_LEN  16u /* of a DISCARD or WRITE_ZEROES */
#define NO_STATUS  0xee
#define TIMED_OUT  (-1)

struct disk_guest {
	const char *path; /* the test's */
	struct fake_vm *host;
	struct pci_bus *bus; /* the whole can be moved in memory */
	struct blk *blk;
	uint64_t common, notify, config; /* gpa of the transport's structures */
	uint64_t features;
	struct fake_driver ring;
	unsigned int n_requests;
	uint64_t status_of[BLK_RING_SIZE]; /* gpa, by head */
};

/* Ways to build a disk, to be combined. */
enum { WRITTEN = 0, READ_ONLY = 1, ARRIVING = 2 };

/* Make a file of @len zeroes, to be unlinked: anew at @path; and with a name of this process's own, which
 * @path becomes. */
void make_disk_at(const char *path, uint64_t len);
void make_disk(char path[DISK_PATH], const char *name, uint64_t len);
void host_read(const char *path, uint64_t offset, void *data, size_t len);

/* Builds a guest with a disk. disk_guest_try() returns blk_create()'s error, and the guest is to be ended all
 * the same. */
int disk_guest_try(struct disk_guest *g, const char *path, unsigned int how, struct error *err);
void disk_guest_init(struct disk_guest *g, const char *path, unsigned int how);
void disk_guest_exit(struct disk_guest *g);

uint64_t reg_read(struct disk_guest *g, uint64_t addr, unsigned int len);
void reg_write(struct disk_guest *g, uint64_t addr, uint64_t value, unsigned int len);
uint8_t disk_status(struct disk_guest *g);
uint64_t disk_offered(struct disk_guest *g);

/* A driver's start, with those of @features that are offered: up to FEATURES_OK, and as a whole. */
void disk_negotiate(struct disk_guest *g, uint64_t features);
void disk_start(struct disk_guest *g, uint64_t features);
void disk_reset(struct disk_guest *g);
/* The ring's place in the registers, its descriptors at @desc; and that it is there. */
void set_up_ring(struct disk_guest *g, uint64_t desc);
void enable_ring(struct disk_guest *g);

uint8_t *bytes_at(struct disk_guest *g, uint64_t gpa, uint64_t len);
/* Fills @len bytes at DATA + @at with what depends on @seed, and has no zeroes. */
void fill(struct disk_guest *g, uint64_t at, uint32_t len, unsigned int seed);

/* A request's parts in guest memory. */
struct virtio_seg new_header(struct disk_guest *g, uint32_t type, uint64_t sector);
struct virtio_seg new_status(struct disk_guest *g);

/* Make a chain available whose last byte is its status: its head. */
int submit(struct disk_guest *g, const struct virtio_seg *segs, unsigned int n_read, unsigned int n_write);
int submit_indirect(struct disk_guest *g, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write);
/* Makes what the driver has added visible, and kicks if the disk wants that. */
void publish(struct disk_guest *g);

/* The status of the next request that is answered, with the length that it was given back with; or TIMED_OUT.
 * And without the length, as patient as may be. */
int finish_in(struct disk_guest *g, uint32_t *len, int timeout_ms);
int finish(struct disk_guest *g);

/* Begins a request for the @len bytes at DATA + @at, or none, in buffers as long as may be: its head. */
int begin(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len);
/* Make a request, wait for the answer, and return its status; the second is of a DISCARD or WRITE_ZEROES. */
int request(struct disk_guest *g, uint32_t type, uint64_t sector, uint64_t at, uint32_t len);
int request_range(struct disk_guest *g, uint32_t type, uint64_t sector, uint32_t n_sectors, uint32_t flags);

/* Writes through the guest, flushes, and reads back what the guest and the file have. */
void assert_works(struct disk_guest *g, uint64_t sector);

#endif
