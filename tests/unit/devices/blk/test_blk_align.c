/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk on storage that takes less than a guest may ask for: larger blocks, other alignments, no holes. */
#define _GNU_SOURCE
#include "tests/unit/devices/blk/blk_fixture.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* A storage in the place of limits.c and of libc's calls: what it says of itself, and what it takes. */
static struct blk_limits said;
static _Atomic uint32_t takes; /* offsets, lengths and memory of direct I/O */
static _Atomic bool is_device; /* a block device with sectors of @takes bytes */
static _Atomic uint64_t device_len;
static _Atomic int fail_write, fail_allocate; /* errno */
static _Atomic unsigned int n_discards, n_allocations;

void blk_limits_ask(int fd, bool device, uint32_t block_len, struct blk_limits *l)
{
	*l = said;
	l->block_len = block_len;
}

static bool refuses(int fd, const struct iovec *iov, int n, off_t offset)
{
	uint64_t bits = (uint64_t)offset;

	if (!(fcntl(fd, F_GETFL) & O_DIRECT))
		return false;
	for (int i = 0; i < n; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return bits % takes != 0;
}

/* The kernel cuts a write at the limit on the size of files before it looks at the alignment. */
static bool refuses_rest(int fd, const struct iovec *iov, int n, off_t offset)
{
	uint64_t end = (uint64_t)offset;
	struct rlimit limit;

	for (int i = 0; i < n; i++)
		end += iov[i].iov_len;
	return fcntl(fd, F_GETFL) & O_DIRECT && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       limit.rlim_cur > (uint64_t)offset && limit.rlim_cur < end && limit.rlim_cur % takes != 0;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	errno = fail_write ? fail_write : EINVAL;
	return fail_write || refuses(fd, iov, n, offset) || refuses_rest(fd, iov, n, offset)
		       ? -1
		       : syscall(SYS_pwritev, fd, iov, n, offset, 0);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	errno = EINVAL;
	return refuses(fd, iov, n, offset) ? -1 : syscall(SYS_preadv, fd, iov, n, offset, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	n_allocations++;
	errno = fail_allocate ? fail_allocate : EINVAL;
	if (fail_allocate || (is_device && (offset | len) % takes != 0))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fstat(int fd, struct stat *st)
{
	int ret = (int)syscall(SYS_fstat, fd, st);

	if (ret == 0 && is_device && S_ISREG(st->st_mode))
		st->st_mode ^= S_IFREG ^ S_IFBLK;
	return ret;
}

/* Answers as a block device, and makes a hole for a discard. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (!is_device)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	if (request == BLKGETSIZE64) {
		*(uint64_t *)arg = device_len;
		return 0;
	}
	if (request == BLKSSZGET) {
		*(int *)arg = (int)takes;
		return 0;
	}
	if (request == BLKDISCARD) {
		const uint64_t *range = arg;

		n_discards++;
		errno = EINVAL;
		if ((range[0] | range[1]) % takes != 0)
			return -1;
		return (int)syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range[0],
				    range[1]);
	}
	errno = ENOTTY;
	return -1;
}

static char path[DISK_PATH];

static void storage(uint32_t says, uint32_t does, bool device)
{
	said = (struct blk_limits){ .physical_len = 4096,
				    .discard_len = 4096,
				    .can_direct = says > 0,
				    .mem_align = says,
				    .offset_align = says };
	takes = does;
	is_device = device;
	device_len = DISK_LEN;
}

static int setup(void **state)
{
	make_disk(path, "blk-align", DISK_LEN);
	fail_write = fail_allocate = 0;
	n_discards = n_allocations = 0;
	return 0;
}

static int teardown(void **state)
{
	is_device = false;
	unlink(path);
	return 0;
}

static void start(struct disk_guest *g)
{
	disk_guest_init(g, path, WRITTEN);
	disk_start(g, ALL);
}

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

/* Writes, zeroes, discards of any sectors, against a copy of what the disk has to hold. */
static void assert_keeps_every_sector(struct disk_guest *g, unsigned int seed)
{
	uint8_t *model = malloc(MIB(1)), *disk = malloc(MIB(1));

	host_read(path, 0, model, MIB(1));
	for (unsigned int i = 0; i < 200; i++) {
		uint32_t n = 1 + next_random(&seed) % (i % 8 == 0 ? 1000 : 20);
		uint64_t sector = next_random(&seed) % (2048 - n), at = next_random(&seed) % 3 * 512 + i % 2;
		unsigned int what = next_random(&seed) % 4;

		if (what == 0) {
			assert_int_equal(request_range(g, VIRTIO_BLK_T_WRITE_ZEROES, sector, n, i / 2 % 2),
					 VIRTIO_BLK_S_OK);
			memset(model + sector * 512, 0, n * 512ull);
			continue;
		}
		fill(g, at, n * 512, i);
		assert_int_equal(request(g, VIRTIO_BLK_T_OUT, sector, at, n * 512), VIRTIO_BLK_S_OK);
		memcpy(model + sector * 512, bytes_at(g, DATA + at, n * 512), n * 512ull);
		memset(bytes_at(g, DATA + at, n * 512), 0, n * 512ull);
		assert_int_equal(request(g, VIRTIO_BLK_T_IN, sector, at, n * 512), VIRTIO_BLK_S_OK);
		assert_memory_equal(bytes_at(g, DATA + at, n * 512), model + sector * 512, n * 512ull);
	}
	host_read(path, 0, disk, MIB(1));
	assert_memory_equal(disk, model, MIB(1));
	free(disk);
	free(model);
}

static void a_sector_within_a_larger_block_is_written_and_its_neighbours_stay(void **state)
{
	struct disk_guest g;
	uint8_t back[1536], zero[512] = { 0 };

	storage(4096, 4096, false);
	start(&g);
	fill(&g, 0, 512, 3);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 1, 0, 512), VIRTIO_BLK_S_OK);
	host_read(path, 0, back, sizeof(back));
	assert_memory_equal(back, zero, 512);
	assert_memory_equal(back + 512, bytes_at(&g, DATA, 512), 512);
	assert_memory_equal(back + 1024, zero, 512);
	assert_keeps_every_sector(&g, 1);
	/* The last sector is written, too, and the file stays as long as it was. */
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, DISK_LEN / 512 - 1, 0, 512), VIRTIO_BLK_S_OK);
	disk_guest_exit(&g);
}

static void storage_that_takes_less_than_it_says_is_still_served(void **state)
{
	struct disk_guest g;

	storage(512, 4096, false);
	start(&g);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 0, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 1, 0, 512), VIRTIO_BLK_S_OK);
	assert_false(g.blk->file.direct);
	disk_guest_exit(&g);
	make_disk_at(path, DISK_LEN);
	start(&g);
	assert_keeps_every_sector(&g, 2);
	disk_guest_exit(&g);
}

static void storage_without_direct_io_goes_through_the_page_cache(void **state)
{
	struct disk_guest g;

	storage(0, 4096, false);
	start(&g);
	assert_false(g.blk->file.direct);
	assert_keeps_every_sector(&g, 3);
	disk_guest_exit(&g);
}

static void memory_may_be_less_aligned_than_the_file(void **state)
{
	struct disk_guest g;

	storage(4096, 1, false);
	said.mem_align = 4;
	start(&g);
	assert_keeps_every_sector(&g, 4);
	disk_guest_exit(&g);
}

static void a_file_that_ends_within_a_block_keeps_its_length(void **state)
{
	struct disk_guest g;
	struct stat st;

	assert_int_equal(truncate(path, DISK_LEN + 512), 0);
	storage(4096, 4096, false);
	start(&g);
	assert_int_equal(reg_read(&g, g.config, 4), DISK_LEN / 512 + 1);
	fill(&g, 0, 1024, 9);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, DISK_LEN / 512 - 1, 0, 1024), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&g, VIRTIO_BLK_T_IN, DISK_LEN / 512 - 1, 4096, 1024), VIRTIO_BLK_S_OK);
	assert_memory_equal(bytes_at(&g, DATA, 1024), bytes_at(&g, DATA + 4096, 1024), 1024);
	assert_int_equal(request_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, DISK_LEN / 512, 1, 0), VIRTIO_BLK_S_OK);
	disk_guest_exit(&g);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, DISK_LEN + 512);
}

static void a_device_of_larger_sectors_says_what_it_is_and_serves_any(void **state)
{
	struct disk_guest g;

	storage(4096, 4096, true);
	said.physical_len = 16384;
	said.alignment_offset = 8192;
	said.discard_len = 65536;
	start(&g);
	assert_int_equal(reg_read(&g, g.config, 4), DISK_LEN / 512);
	assert_int_equal(reg_read(&g, g.config + 20, 4), 4096);
	assert_int_equal(reg_read(&g, g.config + 24, 1), 2);
	assert_int_equal(reg_read(&g, g.config + 25, 1), 2);
	assert_int_equal(reg_read(&g, g.config + 26, 2), 4);
	assert_int_equal(reg_read(&g, g.config + 28, 4), 0);
	assert_int_equal(reg_read(&g, g.config + 44, 4), 128);
	assert_keeps_every_sector(&g, 5);
	/* A device that has no zeroes of its own is written. */
	fail_allocate = EOPNOTSUPP;
	make_disk_at(path, DISK_LEN);
	assert_keeps_every_sector(&g, 6);
	disk_guest_exit(&g);
}

static void a_device_that_ends_within_a_block_is_used_up_to_that(void **state)
{
	struct disk_guest g;

	storage(4096, 4096, true);
	device_len = DISK_LEN - 512;
	start(&g);
	assert_int_equal(reg_read(&g, g.config, 8), (DISK_LEN - 4096) / 512);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, (DISK_LEN - 4096) / 512 - 1, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, (DISK_LEN - 4096) / 512, 0, 512), VIRTIO_BLK_S_IOERR);
	disk_guest_exit(&g);
}

/* A device knows only whole blocks, so that parts of them stay. */
static void a_discard_that_is_not_aligned_does_what_is_whole(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t n;
		bool asked;
	} ranges[] = { { 1, 6, false }, { 1, 7, false }, { 7, 2, false }, { 3, 13, true }, { 8, 8, true } };
	struct disk_guest g;
	uint8_t back[8192], zero[4096] = { 0 };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(ranges); i++) {
		bool device = i % 2;

		storage(4096, 4096, device);
		start(&g);
		fill(&g, 8192, 8192, i);
		assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 0, 8192, 8192), VIRTIO_BLK_S_OK);
		n_discards = n_allocations = 0;
		assert_int_equal(
			request_range(&g, VIRTIO_BLK_T_DISCARD, ranges[i / 2].sector, ranges[i / 2].n, 0),
			VIRTIO_BLK_S_OK);
		assert_int_equal(n_discards, device && ranges[i / 2].asked);
		assert_int_equal(n_allocations, !device);
		host_read(path, 0, back, sizeof(back));
		assert_memory_equal(back, bytes_at(&g, DATA + 8192, 512 * ranges[i / 2].sector),
				    512 * ranges[i / 2].sector);
		if (ranges[i / 2].asked)
			assert_memory_equal(back + 4096, zero, 4096);
		else if (device)
			assert_memory_equal(back, bytes_at(&g, DATA + 8192, 8192), 8192);
		disk_guest_exit(&g);
	}
}

/* An errno has one meaning: Ferry goes another way where the storage cannot do something, and not where it
 * failed. */
static void an_error_of_the_storage_is_that_requests_alone(void **state)
{
	static const int errors[] = { ENOSPC, EDQUOT, EFBIG, EIO, EOPNOTSUPP, EPERM, ENOMEM };
	struct disk_guest g;

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		int error = errors[i / 2];

		storage(i % 2 ? 512 : 0, 512, false);
		start(&g);
		fail_write = error;
		assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 8, 0, 4096), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 8, 1, 4096), VIRTIO_BLK_S_IOERR);
		fail_write = 0;
		fail_allocate = error;
		assert_int_equal(request_range(&g, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0),
				 error == EOPNOTSUPP ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		assert_int_equal(request_range(&g, VIRTIO_BLK_T_DISCARD, 8, 8, 0),
				 error == EOPNOTSUPP ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		fail_allocate = 0;
		assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, 8, 0, 4096), VIRTIO_BLK_S_OK);
		assert_int_equal(disk_status(&g), DRIVER_OK);
		disk_guest_exit(&g);
	}
}

static void a_write_beyond_the_file_size_limit_is_an_error_of_its_own(void **state)
{
	struct rlimit limit = { 0 }, low = { .rlim_cur = MIB(1), .rlim_max = RLIM_INFINITY };
	struct disk_guest g;

	storage(0, 512, false);
	start(&g);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	low.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(2) / 512, 0, 4096), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(1) / 512 - 8, 0, 8192), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(1) / 512 - 8, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&g, VIRTIO_BLK_T_IN, MIB(2) / 512, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	disk_guest_exit(&g);
}

/* The kernel says that the rest of the write is not aligned, which is no reason to leave direct I/O. */
static void a_limit_within_a_block_says_nothing_of_the_storage(void **state)
{
	struct rlimit limit = { 0 }, low;
	struct disk_guest g;
	bool direct;

	storage(4096, 4096, false);
	start(&g);
	direct = g.blk->file.direct;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	low = (struct rlimit){ .rlim_cur = MIB(1) + 1024, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(1) / 512, 0, 8192), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(1) / 512, 1, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(g.blk->file.direct, direct);
	assert_int_equal(request(&g, VIRTIO_BLK_T_OUT, MIB(1) / 512 - 8, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	disk_guest_exit(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_sector_within_a_larger_block_is_written_and_its_neighbours_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(storage_that_takes_less_than_it_says_is_still_served, setup,
						teardown),
		cmocka_unit_test_setup_teardown(storage_without_direct_io_goes_through_the_page_cache, setup,
						teardown),
		cmocka_unit_test_setup_teardown(memory_may_be_less_aligned_than_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_ends_within_a_block_keeps_its_length, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_device_of_larger_sectors_says_what_it_is_and_serves_any,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_that_ends_within_a_block_is_used_up_to_that, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_discard_that_is_not_aligned_does_what_is_whole, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_error_of_the_storage_is_that_requests_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_write_beyond_the_file_size_limit_is_an_error_of_its_own,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_within_a_block_says_nothing_of_the_storage, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
