/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The limits that the disk finds out about real storage, and a real block device of 4096-byte sectors where
 * one can be made. */
#define _GNU_SOURCE
#include "tests/unit/devices/blk/blk_fixture.h"

#include <dlfcn.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The answer of the kernel to statx(): UINT32_MAX in @mem leaves the answer out, as kernels before 6.1 do. */
static struct {
	uint32_t mem, offset;
} answer;

#define STATX_ANSWER_MASK   0    /* stx_mask */
#define STATX_ANSWER_MEM    0x98 /* stx_dio_mem_align */
#define STATX_ANSWER_OFFSET 0x9c
#define STATX_DIO           0x2000u

static bool real; /* asks the kernel */

long syscall(long number, ...)
{
	long (*next)(long number, ...) = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
	va_list args;
	long a[6];

	va_start(args, number);
	for (unsigned int i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_statx && !real) {
		uint8_t *stx = (uint8_t *)a[4];

		put_le32(stx + STATX_ANSWER_MASK, 0x7ff | (answer.mem == UINT32_MAX ? 0 : STATX_DIO));
		put_le32(stx + STATX_ANSWER_MEM, answer.mem);
		put_le32(stx + STATX_ANSWER_OFFSET, answer.offset);
		return 0;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void a_file_is_used_as_the_kernel_says(void **state)
{
	static const struct {
		uint32_t mem, offset;
		bool direct;
		uint32_t to_mem, to_offset;
	} answers[] = {
		{ 512, 512, true, 512, 512 },
		{ 4, 4096, true, 4, 4096 },
		{ 4096, 65536, true, 4096, 65536 },
		/* The kernel says nothing, and every storage takes this. */
		{ UINT32_MAX, UINT32_MAX, true, 4096, 4096 },
		/* There is no direct I/O, or the answer makes no sense. */
		{ 0, 0, false, 0, 0 },
		{ 512, 131072, false, 512, 131072 },
		{ 8192, 512, false, 8192, 512 },
		{ 513, 512, false, 513, 512 },
		{ 512, 520, false, 512, 520 },
	};
	struct blk_limits l;

	real = false;
	for (unsigned int i = 0; i < ARRAY_SIZE(answers); i++) {
		answer.mem = answers[i].mem;
		answer.offset = answers[i].offset;
		blk_limits_ask(0, false, 512, &l);
		assert_int_equal(l.can_direct, answers[i].direct);
		assert_int_equal(l.mem_align, answers[i].to_mem);
		assert_int_equal(l.offset_align, answers[i].to_offset);
		/* A file's blocks are the same at every host. */
		assert_int_equal(l.block_len, 512);
		assert_int_equal(l.physical_len, 4096);
		assert_int_equal(l.alignment_offset, 0);
		assert_int_equal(l.discard_len, 4096);
	}
}

/* A loop device over @file with sectors of 4096 bytes, whose last close() is its end: its descriptor and
 * @path, or -1 where there can be none. */
static int make_loop(const char *file, char *path, size_t size)
{
	struct loop_config config = { .block_size = 4096,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd, loop = -1;
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (control >= 0)
		close(control);
	if (n < 0)
		return -1;
	snprintf(path, size, "/dev/loop%d", n);
	fd = open(file, O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)fd;
	loop = open(path, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) < 0) {
		close(loop);
		loop = -1;
	}
	close(fd);
	return loop;
}

static void a_real_device_of_4096_byte_sectors_serves_any_sector(void **state)
{
	char file[DISK_PATH], path[32];
	struct disk_guest g;
	uint8_t *model = calloc(1, 65536);
	int loop;

	real = true;
	make_disk(file, "blk-loop", DISK_LEN);
	loop = make_loop(file, path, sizeof(path));
	if (loop < 0) {
		unlink(file);
		free(model);
		skip();
	}
	disk_guest_init(&g, path, WRITTEN);
	close(loop);
	disk_start(&g, ALL);
	assert_int_equal(reg_read(&g, g.config, 4), DISK_LEN / 512);
	assert_int_equal(reg_read(&g, g.config + 20, 4), 4096);
	assert_true(g.blk->file.direct);
	for (unsigned int i = 0; i < 60; i++) {
		uint64_t sector = i * 7 % 120;

		fill(&g, 0, 1024, i);
		assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, sector, 0, 1024), VIRTIO_BLK_S_OK);
		memcpy(model + sector * 512, bytes_at(&g, DATA, 1024), 1024);
		if (i % 5 == 0) {
			assert_int_equal(request_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, sector + 1, 6, i % 2),
					 VIRTIO_BLK_S_OK);
			memset(model + (sector + 1) * 512, 0, 6 * 512);
		}
		assert_int_equal(request_range(&g, VIRTIO_BLK_T_DISCARD, 1000 + i, i, 0), VIRTIO_BLK_S_OK);
	}
	assert_int_equal(request(&g, VIRTIO_BLK_T_IN, 0, 0, 65536), VIRTIO_BLK_S_OK);
	assert_memory_equal(bytes_at(&g, DATA, 65536), model, 65536);
	disk_guest_exit(&g);
	unlink(file);
	free(model);
}

static bool make_file_system(const char *loop, const char *at)
{
	char command[128];

	snprintf(command, sizeof(command), "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q %s 2> /dev/null", loop);
	/* The mount is in a namespace of this thread, and goes with it. */
	return system(command) == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mkdir(at, 0700) == 0 &&
	       mount(loop, at, "ext4", 0, NULL) == 0;
}

/* The sectors are written, because a hole can be read in any way. */
static void a_sparse_file_over_larger_sectors_takes_any_sector(void **state)
{
	char file[DISK_PATH], path[32], at[64], disk[80];
	uint8_t back[2048] = { 0 };
	struct error err = { 0 };
	struct disk_guest g;
	int loop;

	real = true;
	snprintf(at, sizeof(at), "/var/tmp/ferry-blk-at-%d", (int)getpid());
	snprintf(disk, sizeof(disk), "%s/disk", at);
	make_disk(file, "blk-fs", MIB(16));
	loop = make_loop(file, path, sizeof(path));
	if (loop < 0 || !make_file_system(path, at)) {
		if (loop >= 0)
			close(loop);
		rmdir(at);
		unlink(file);
		skip();
	}
	/* A mounted device is not to be written by anybody else. Some kernels see to that themselves. */
	assert_int_equal(blk_check(path, false, &err), -EBUSY);
	assert_int_equal(blk_check(path, true, &err), 0);
	make_disk_at(disk, DISK_LEN);
	disk_guest_init(&g, disk, WRITTEN);
	disk_start(&g, ALL);
	fill(&g, 0, 512, 7);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 1, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 2, 1, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 2, 1, 0), VIRTIO_BLK_S_OK);
	assert_true(g.blk->file.direct);
	fill(&g, 0, 512, 7);
	host_read(disk, 512, back, 512);
	assert_memory_equal(back, bytes_at(&g, DATA, 512), 512);
	assert_int_equal(request(&g, VIRTIO_BLK_T_IN, 0, 4096, 2048), VIRTIO_BLK_S_OK);
	memmove(back + 512, back, 512);
	memset(back, 0, 512);
	assert_memory_equal(bytes_at(&g, DATA + 4096, 2048), back, 2048);
	disk_guest_exit(&g);
	assert_int_equal(umount(at), 0);
	close(loop);
	rmdir(at);
	unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_used_as_the_kernel_says),
		cmocka_unit_test(a_real_device_of_4096_byte_sectors_serves_any_sector),
		cmocka_unit_test(a_sparse_file_over_larger_sectors_takes_any_sector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
