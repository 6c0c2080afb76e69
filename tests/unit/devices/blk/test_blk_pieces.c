/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One request and the bounds on what it asks the storage for at once. */
#define _GNU_SOURCE
#include "tests/unit/devices/blk/blk_fixture.h"

#include <sys/syscall.h>

/* The longest write at once, and how many there were; seen in the place of libc's call. */
static _Atomic uint64_t most;
static _Atomic unsigned int n_writes;

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	uint64_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	most = max_u64(most, len);
	n_writes++;
	return syscall(SYS_pwritev, fd, iov, n, offset, 0);
}

static char path[DISK_PATH];

static int setup(void **state)
{
	struct disk_guest *g = calloc(1, sizeof(*g));

	make_disk(path, "blk-pieces", 2 * DISK_LEN);
	disk_guest_init(g, path, WRITTEN);
	disk_start(g, ALL);
	most = n_writes = 0;
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct disk_guest *g = *state;

	disk_guest_exit(g);
	free(g);
	unlink(path);
	return 0;
}

/* @len bytes from DATA on to sector 3, in one buffer. */
static int write_at_once(struct disk_guest *g, uint32_t len)
{
	struct virtio_seg segs[] = { new_header(g, VIRTIO_BLK_T_OUT, 3), { DATA, len }, new_status(g) };

	submit(g, segs, 2, 1);
	return finish(g);
}

static void a_buffer_longer_than_the_driver_was_told_is_refused(void **state)
{
	struct disk_guest *g = *state;

	assert_true(virtio_has(g->features, VIRTIO_BLK_F_SIZE_MAX));
	assert_int_equal(write_at_once(g, BLK_MAX_SIZE), VIRTIO_BLK_S_OK);
	n_writes = 0;
	assert_int_equal(write_at_once(g, BLK_MAX_SIZE + 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(write_at_once(g, MIB(8)), VIRTIO_BLK_S_IOERR);
	assert_int_equal(n_writes, 0);
	assert_int_equal(request(g, VIRTIO_BLK_T_OUT, 0, 0, MIB(2)), VIRTIO_BLK_S_OK);
}

/* The driver comes from a Ferry which did not offer the limit. */
static void a_driver_that_knows_no_limit_is_served_in_pieces(void **state)
{
	struct disk_guest *g = *state;
	const uint32_t len = MIB(7);
	uint8_t *back = malloc(len);

	disk_start(g, ~VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX));
	fill(g, 0, len, 3);
	assert_int_equal(write_at_once(g, len), VIRTIO_BLK_S_OK);
	assert_in_range(most, 1, MIB(1));
	assert_true(n_writes >= 7);
	host_read(path, 3 * 512, back, len);
	assert_memory_equal(back, bytes_at(g, DATA, len), len);
	memset(bytes_at(g, DATA, len), 0, len);
	assert_int_equal(request(g, VIRTIO_BLK_T_IN, 3, 0, len), VIRTIO_BLK_S_OK);
	assert_memory_equal(back, bytes_at(g, DATA, len), len);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_buffer_longer_than_the_driver_was_told_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_driver_that_knows_no_limit_is_served_in_pieces, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
