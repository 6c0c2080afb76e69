/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk as a guest's driver sees it: every request, right and wrong, on a file of the host. */
#define _GNU_SOURCE
#include "tests/fake/log.h"
#include "tests/unit/devices/blk/blk_fixture.h"

#include <sys/syscall.h>

/* Calls of the host in their order, taken down in the place of libc's: W write, F flush, H hole, Z zeroes. */
static char calls[256];
static _Atomic unsigned int n_calls;
static _Atomic int fail_flush, fail_write, fail_allocate; /* errno */

static void note(char call)
{
	calls[n_calls++ % sizeof(calls)] = call;
}

static void forget_calls(void)
{
	memset(calls, 0, sizeof(calls));
	n_calls = 0;
}

int fdatasync(int fd)
{
	note('F');
	errno = fail_flush;
	return fail_flush ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	note('W');
	errno = fail_write;
	return fail_write ? -1 : syscall(SYS_pwritev, fd, iov, n, offset, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	note(mode & 2 ? 'H' : 'Z');
	errno = fail_allocate;
	return fail_allocate ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static char path[DISK_PATH];

/* Stands in for limits.c, because nothing is known of this machine's storage, whose direct I/O may want more.
 */
static bool no_direct;

void blk_limits_ask(int fd, bool is_device, uint32_t block_len, struct blk_limits *l)
{
	*l = (struct blk_limits){ .block_len = block_len,
				  .physical_len = 4096,
				  .discard_len = 4096,
				  .can_direct = !no_direct,
				  .mem_align = 4096,
				  .offset_align = 4096 };
}

static int setup_with(void **state, bool direct)
{
	struct disk_guest *g = calloc(1, sizeof(*g));

	no_direct = !direct;
	make_disk(path, "blk", DISK_LEN);
	fail_flush = fail_write = fail_allocate = 0;
	disk_guest_init(g, path, WRITTEN);
	/* The machine's folder may have no direct I/O at all. */
	assert_false(no_direct && g->blk->file.direct);
	disk_start(g, ALL);
	forget_calls();
	*state = g;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, true);
}

static int setup_cached(void **state)
{
	return setup_with(state, false);
}

static int teardown(void **state)
{
	struct disk_guest *g = *state;

	disk_guest_exit(g);
	free(g);
	unlink(path);
	return 0;
}

static void the_guest_sees_a_disk_of_its_length_and_its_bounds(void **state)
{
	struct disk_guest *g = *state;
	char id[VIRTIO_BLK_ID_BYTES + 1] = { 0 };

	assert_int_equal(fake_config_read(g->host, 1, PCI_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(disk_offered(g),
			 VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(28) | VIRTIO_BIT(29) |
				 VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) |
				 VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |
				 VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) |
				 VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(reg_read(g, g->config, 4), DISK_LEN / 512);
	assert_int_equal(reg_read(g, g->config + 4, 4), 0);
	assert_int_equal(reg_read(g, g->config + 8, 4), MIB(1));
	assert_int_equal(reg_read(g, g->config + 12, 4), 254);
	assert_int_equal(reg_read(g, g->config + 20, 4), 512);
	assert_int_equal(reg_read(g, g->config + 40, 4), 16);
	assert_int_equal(reg_read(g, g->config + 48, 4), BLK_MAX_WRITE_ZEROES_SECTORS);
	assert_int_equal(reg_read(g, g->config + 56, 1), 1);

	assert_int_equal(request(g, VIRTIO_BLK_T_GET_ID, 0, 0, 20), VIRTIO_BLK_S_OK);
	memcpy(id, bytes_at(g, DATA, 20), 20);
	assert_string_equal(id, "disk0");
	assert_int_equal(request(g, VIRTIO_BLK_T_GET_ID, 0, 0, 19), VIRTIO_BLK_S_IOERR);
}

static void assert_round_trip(struct disk_guest *g, uint64_t sector, uint64_t at, uint32_t len)
{
	uint8_t *back = malloc(len);

	fill(g, at, len, (unsigned int)(sector + at));
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, sector, at, len), VIRTIO_BLK_S_OK);
	host_read(path, sector * 512, back, len);
	assert_memory_equal(back, bytes_at(g, DATA + at, len), len);
	memset(bytes_at(g, DATA + at, len), 0, len);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, sector, at, len), VIRTIO_BLK_S_OK);
	assert_memory_equal(back, bytes_at(g, DATA + at, len), len);
	free(back);
}

static void what_is_written_is_read_back_aligned_or_not(void **state)
{
	struct disk_guest *g = *state;

	assert_round_trip(g, 0, 0, 512);
	assert_round_trip(g, 7, 4096, 4096);
	assert_round_trip(g, DISK_LEN / 512 - 1, 512, 512);
	assert_round_trip(g, 9, 0, MIB(2));
	/* Direct I/O does not take buffers at odd places, and this one is longer than the bounce buffer. */
	assert_round_trip(g, 3, 1, 512);
	assert_round_trip(g, 3, 3, MIB(1));
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, 0, 0, 0), VIRTIO_BLK_S_OK);
}

/* Header, data and status cut anywhere, in direct and indirect descriptors. */
static void a_request_may_be_cut_into_buffers_anywhere(void **state)
{
	struct disk_guest *g = *state;
	uint8_t back[1024];
	uint32_t len;

	for (unsigned int i = 0; i < 2; i++) {
		struct virtio_seg header = new_header(g, VIRTIO_BLK_T_OUT, 40), status = new_status(g);
		uint8_t *p = bytes_at(g, header.addr, 32);
		struct virtio_seg out[] = { { header.addr, 7 },
					    { header.addr + 7, 9 + 3 },
					    { DATA, 500 },
					    { DATA + 500, 521 },
					    status };

		fill(g, 0, 1024, 77 + i);
		memcpy(p + 16, bytes_at(g, DATA, 3), 3);
		/* The data is 3 bytes behind the header and 1021 at DATA. */
		(i ? submit_indirect : submit)(g, out, 4, 1);
		assert_int_equal(finish_in(g, &len, FAKE_PATIENCE_MS), VIRTIO_BLK_S_OK);
		assert_int_equal(len, 1);
		host_read(path, 40 * 512, back, sizeof(back));
		assert_memory_equal(back, p + 16, 3);
		assert_memory_equal(back + 3, bytes_at(g, DATA, 1021), 1021);

		header = new_header(g, VIRTIO_BLK_T_IN, 40);
		status = new_status(g);
		struct virtio_seg in[] = {
			header, { DATA + 4096, 1 }, { DATA + 8192, 1000 }, { DATA + 16384, 24 }
		};

		(i ? submit_indirect : submit)(g, in, 1, 3);
		assert_int_equal(finish_in(g, &len, FAKE_PATIENCE_MS), VIRTIO_BLK_S_OK);
		assert_int_equal(len, 1025);
		assert_memory_equal(back, bytes_at(g, DATA + 4096, 1), 1);
		assert_memory_equal(back + 1, bytes_at(g, DATA + 8192, 1000), 1000);
		assert_memory_equal(back + 1001, bytes_at(g, DATA + 16384, 23), 23);
	}
}

static void a_request_beyond_the_end_or_for_part_of_a_sector_is_refused(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} wrong[] = {
		{ DISK_LEN / 512, 512 },
		{ DISK_LEN / 512 - 1, 1024 },
		{ UINT64_MAX, 512 },
		{ UINT64_MAX - 1, 1024 },
		{ UINT64_MAX / 512 + 1, 512 },
		{ (uint64_t)1 << 55, 512 },
		{ 0, DISK_LEN + 512 },
		{ 0, 511 },
		{ 0, 513 },
		{ 0, 1 },
	};
	struct disk_guest *g = *state;
	uint8_t back[512], zero[512] = { 0 };

	fill(g, 0, DISK_LEN + 512, 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(request(g, VIRTIO_BLK_T_OUT, wrong[i].sector, 0, wrong[i].len),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(g, VIRTIO_BLK_T_IN, wrong[i].sector, 0, wrong[i].len),
				 VIRTIO_BLK_S_IOERR);
	}
	host_read(path, 0, back, 512);
	assert_memory_equal(back, zero, 512);
	host_read(path, DISK_LEN - 512, back, 512);
	assert_memory_equal(back, zero, 512);
	assert_int_equal(n_calls, 0);
}

static void a_discard_makes_a_hole_and_zeroes_are_read_back(void **state)
{
	static const int errors[] = { 0, EOPNOTSUPP };
	static const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
					  VIRTIO_BLK_T_WRITE_ZEROES };
	struct disk_guest *g = *state;
	uint8_t *back = malloc(MIB(2)), *zero = calloc(1, MIB(2));

	for (unsigned int i = 0; i < 6; i++) {
		bool stays = i / 3 == 1 && types[i % 3] == VIRTIO_BLK_T_DISCARD;

		fail_allocate = 0;
		fill(g, MIB(1), MIB(2), i);
		assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, MIB(1), MIB(2)), VIRTIO_BLK_S_OK);
		fail_allocate = errors[i / 3];
		forget_calls();
		assert_int_equal(request_range(g, types[i % 3], 8, 2000, i % 3 == 2), VIRTIO_BLK_S_OK);
		if (!fail_allocate && types[i % 3] == VIRTIO_BLK_T_DISCARD)
			assert_string_equal(calls, "H");
		host_read(path, 0, back, MIB(2));
		assert_memory_equal(back, bytes_at(g, DATA + MIB(1), 4096), 4096);
		assert_memory_equal(back + 2008 * 512, bytes_at(g, DATA + MIB(1) + 2008 * 512, 4096), 4096);
		if (stays)
			assert_memory_equal(back, bytes_at(g, DATA + MIB(1), MIB(2)), MIB(2));
		else
			assert_memory_equal(back + 4096, zero, 2000 * 512);
	}
	fail_allocate = EIO;
	assert_int_equal(request_range(g, VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(g, VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, 0), VIRTIO_BLK_S_IOERR);
	free(back);
	free(zero);
}

static void ranges_beyond_what_the_driver_was_told_are_refused(void **state)
{
	const uint32_t discard = VIRTIO_BLK_T_DISCARD, zeroes = VIRTIO_BLK_T_WRITE_ZEROES;
	struct disk_guest *g = *state;
	uint8_t *p = bytes_at(g, DATA, 32 * RANGE_LEN);

	assert_int_equal(request_range(g, discard, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request_range(g, zeroes, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request_range(g, discard, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(g, zeroes, 0, BLK_MAX_WRITE_ZEROES_SECTORS + 1, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(g, discard, DISK_LEN / 512 - 1, 2, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(g, zeroes, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(g, zeroes, UINT64_MAX - 7, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(g, discard, 0, 0, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(g, discard, 0, 0, 17), VIRTIO_BLK_S_IOERR);
	memset(p, 0, 32 * RANGE_LEN);
	assert_int_equal(request(g, discard, 0, 0, 17 * RANGE_LEN), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(g, zeroes, 0, 0, 2 * RANGE_LEN), VIRTIO_BLK_S_IOERR);
	assert_int_equal(n_calls, 0);
	/* No range at all is no fault, and as many as there may be are done. */
	assert_int_equal(request(g, discard, 0, 0, 0), VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 16; i++) {
		put_le64(p + i * RANGE_LEN, i * 8);
		put_le32(p + i * RANGE_LEN + 8, 8);
	}
	assert_int_equal(request(g, discard, 0, 0, 16 * RANGE_LEN), VIRTIO_BLK_S_OK);
	assert_string_equal(calls, "HHHHHHHHHHHHHHHH");
}

static void a_flush_reaches_the_storage_in_its_turn(void **state)
{
	struct disk_guest *g = *state;

	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 1, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(request(g, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 2, 0, 512), VIRTIO_BLK_S_OK);
	assert_string_equal(calls, "WWFW");
	fail_flush = EIO;
	assert_int_equal(request(g, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	fail_flush = 0;
	fail_write = ENOSPC;
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	fail_write = 0;
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_OK);

	/* Requests that wait together keep their order. */
	forget_calls();
	for (unsigned int i = 0; i < 12; i++) {
		struct virtio_seg header =
			new_header(g, i % 3 == 2 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_OUT, i);
		struct virtio_seg segs[] = { header, { DATA, 512 }, new_status(g) };

		if (i % 3 == 2)
			segs[1] = segs[2];
		submit(g, segs, i % 3 == 2 ? 1 : 2, 1);
	}
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(finish(g), VIRTIO_BLK_S_OK);
	assert_string_equal(calls, "WWFWWFWWFWWF");
}

static void a_driver_without_flush_finds_each_write_stable(void **state)
{
	struct disk_guest *g = *state;

	disk_start(g, ~VIRTIO_BIT(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_OK);
	assert_string_equal(calls, "WF");
	fail_flush = EIO;
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	/* A request whose feature was not negotiated does not exist. */
	fail_flush = 0;
	disk_start(g, ~(VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(29)));
	assert_int_equal(request_range(g, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request_range(g, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
}

static void a_request_that_makes_no_sense_is_an_error_of_its_own(void **state)
{
	static const uint32_t types[] = { 2, 3, 5, 6, 7, 9, 10, 12, 14, 0x80000000, UINT32_MAX };
	struct disk_guest *g = *state;
	struct virtio_seg header, status;
	uint32_t len;

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(request(g, types[i], 0, 0, 512), VIRTIO_BLK_S_UNSUPP);
	/* A request without a status is given back untouched. */
	header = new_header(g, VIRTIO_BLK_T_FLUSH, 0);
	assert_true(fake_driver_add(&g->ring, &header, 1, 0) >= 0);
	publish(g);
	assert_true(finish_in(g, &len, FAKE_PATIENCE_MS) >= 0);
	assert_int_equal(len, 0);
	/* The header is too short, and not there. */
	header = new_header(g, VIRTIO_BLK_T_FLUSH, 0);
	status = new_status(g);
	struct virtio_seg segs[] = { { header.addr, 15 }, status };
	submit(g, segs, 1, 1);
	assert_int_equal(finish(g), VIRTIO_BLK_S_IOERR);
	submit(g, &segs[1], 0, 1);
	assert_int_equal(finish(g), VIRTIO_BLK_S_IOERR);
	/* A buffer to be written does not go with a write, which then has no data. */
	segs[0] = new_header(g, VIRTIO_BLK_T_OUT, 0);
	segs[1] = (struct virtio_seg){ DATA, 513 };
	submit(g, segs, 1, 1);
	assert_int_equal(finish(g), VIRTIO_BLK_S_OK);
	assert_int_equal(n_calls, 0);

	/* A driver that breaks the ring has to reset the disk. */
	segs[0].addr = GUEST_MEM;
	submit(g, segs, 1, 1);
	assert_int_equal(finish_in(g, &len, 50), TIMED_OUT);
	assert_int_equal(disk_status(g), BROKEN);
	disk_start(g, ALL);
	assert_round_trip(g, 0, 0, 512);
}

/* The ring is not in guest memory, or was not enabled. */
static void a_ring_outside_memory_stops_the_disk_until_the_reset(void **state)
{
	struct disk_guest *g = *state;

	for (unsigned int i = 0; i < 2; i++) {
		disk_negotiate(g, ALL);
		set_up_ring(g, i == 0 ? GUEST_MEM : RING);
		if (i == 0)
			enable_ring(g);
		reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
		assert_int_equal(disk_status(g), i == 0 ? BROKEN : DRIVER_OK);
		reg_write(g, g->notify, 0, 2);
	}
	disk_start(g, ALL);
	assert_round_trip(g, 0, 0, 512);
}

static void pages_that_a_request_fills_are_marked_dirty(void **state)
{
	struct disk_guest *g = *state;
	struct memory *m = &g->host->vm.memory;
	uint64_t *bitmap = calloc(fake_log_words(m), sizeof(*bitmap));

	assert_int_equal(memory_log_start(m), 0);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, 0, 4096 + 512, 8192), VIRTIO_BLK_S_OK);
	fake_log_take(m, bitmap);
	for (uint64_t page = DATA >> PAGE_SHIFT; page < (DATA + 0x10000) >> PAGE_SHIFT; page++) {
		bool touched = page >= (DATA >> PAGE_SHIFT) + 1 && page <= (DATA >> PAGE_SHIFT) + 3;

		assert_int_equal(bitmap[page / 64] >> page % 64 & 1, touched);
	}
	assert_true(bitmap[(STATUSES >> PAGE_SHIFT) / 64] >> (STATUSES >> PAGE_SHIFT) % 64 & 1);
	assert_false(bitmap[(HEADERS >> PAGE_SHIFT) / 64] >> (HEADERS >> PAGE_SHIFT) % 64 & 1);
	free(bitmap);
	memory_log_stop(m);
}

static void a_disk_that_is_only_read_is_never_written(void **state)
{
	struct disk_guest *g = *state, ro = { 0 };
	uint8_t back[512], zero[512] = { 0 };

	disk_guest_exit(g);
	disk_guest_init(&ro, path, READ_ONLY);
	disk_start(&ro, ALL);
	assert_true(virtio_has(ro.features, VIRTIO_BLK_F_RO));
	assert_false(virtio_has(ro.features, VIRTIO_BLK_F_DISCARD));
	fill(&ro, 0, 512, 1);
	assert_int_equal(request(&ro, VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&ro, VIRTIO_BLK_T_OUT, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request_range(&ro, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(&ro, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&ro, VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(bytes_at(&ro, DATA, 512), zero, 512);
	host_read(path, 0, back, 512);
	assert_memory_equal(back, zero, 512);
	disk_guest_exit(&ro);
	disk_guest_init(g, path, WRITTEN);
}

/* The error is neither a signal nor zeroes. */
static void a_file_that_became_shorter_is_an_error_of_the_request(void **state)
{
	struct disk_guest *g = *state;

	assert_int_equal(truncate(path, MIB(1)), 0);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, MIB(1) / 512 - 1, 0, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, 0, 0, 1024), VIRTIO_BLK_S_OK);
}

#define BOTH(test)                                                                                           \
	cmocka_unit_test_setup_teardown(test, setup, teardown),                                              \
		cmocka_unit_test_setup_teardown(test, setup_cached, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_guest_sees_a_disk_of_its_length_and_its_bounds, setup,
						teardown),
		BOTH(what_is_written_is_read_back_aligned_or_not),
		BOTH(a_request_may_be_cut_into_buffers_anywhere),
		BOTH(a_request_beyond_the_end_or_for_part_of_a_sector_is_refused),
		BOTH(a_discard_makes_a_hole_and_zeroes_are_read_back),
		BOTH(ranges_beyond_what_the_driver_was_told_are_refused),
		BOTH(a_flush_reaches_the_storage_in_its_turn),
		cmocka_unit_test_setup_teardown(a_driver_without_flush_finds_each_write_stable, setup,
						teardown),
		BOTH(a_request_that_makes_no_sense_is_an_error_of_its_own),
		cmocka_unit_test_setup_teardown(a_ring_outside_memory_stops_the_disk_until_the_reset, setup,
						teardown),
		BOTH(pages_that_a_request_fills_are_marked_dirty),
		BOTH(a_disk_that_is_only_read_is_never_written),
		BOTH(a_file_that_became_shorter_is_an_error_of_the_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
