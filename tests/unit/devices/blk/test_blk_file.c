/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file behind a disk: what can be one, and who may have it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/devices/blk/blk_fixture.h"

static char path[DISK_PATH];

static int setup(void **state)
{
	make_disk(path, "blk-file", DISK_LEN);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return 0;
}

static void assert_not_opened(const char *at, unsigned int how, const char *reason)
{
	struct disk_guest g;
	struct error err;

	assert_true(disk_guest_try(&g, at, how, &err) < 0);
	if (!strstr(err.text, reason) || strchr(err.text, '\n'))
		fail_msg("'%s' is not in: %s", reason, err.text);
	disk_guest_exit(&g);
}

static void a_disk_has_one_writer_or_any_number_of_readers(void **state)
{
	struct disk_guest writer, readers[2];

	disk_guest_init(&writer, path, WRITTEN);
	assert_not_opened(path, WRITTEN, "is locked by another process that uses it");
	assert_not_opened(path, READ_ONLY, "is locked by another process that writes it");
	/* A guest that is still to come leaves the lock to load(). */
	disk_guest_init(&readers[0], path, ARRIVING);
	disk_guest_exit(&readers[0]);
	disk_guest_exit(&writer);
	disk_guest_init(&readers[0], path, READ_ONLY);
	disk_guest_init(&readers[1], path, READ_ONLY);
	assert_not_opened(path, WRITTEN, "is locked");
	disk_guest_exit(&readers[0]);
	assert_not_opened(path, WRITTEN, "is locked");
	disk_guest_exit(&readers[1]);
}

static void what_cannot_be_a_disk_is_refused_with_the_reason(void **state)
{
	char fifo[DISK_PATH + 8];

	assert_not_opened("/nowhere/disk", WRITTEN, "cannot open the disk /nowhere/disk: No such file");
	assert_not_opened("/var/tmp", WRITTEN, "the disk /var/tmp is a directory");
	assert_not_opened("/var/tmp", READ_ONLY, "the disk /var/tmp is a directory");
	assert_not_opened("/dev/null", WRITTEN, "/dev/null is not a file");
	snprintf(fifo, sizeof(fifo), "%s-fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_not_opened(fifo, READ_ONLY, "is not a file");
	unlink(fifo);
	assert_int_equal(truncate(path, 0), 0);
	assert_not_opened(path, WRITTEN, "is empty");
	assert_int_equal(truncate(path, 513), 0);
	assert_not_opened(path, WRITTEN, "has 513 bytes, which is not a multiple of 512");
}

static void a_passed_descriptor_serves_one_guest_after_the_other(void **state)
{
	struct disk_guest g;
	char text[16];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	snprintf(text, sizeof(text), "fd:%d", fd);
	for (unsigned int i = 0; i < 2; i++) {
		disk_guest_init(&g, text, WRITTEN);
		assert_not_opened(path, WRITTEN, "is locked by another process that uses it");
		disk_guest_exit(&g);
		/* The descriptor is open still, without the guest's lock. */
		disk_guest_init(&g, path, WRITTEN);
		disk_guest_exit(&g);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_disk_has_one_writer_or_any_number_of_readers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_a_disk_is_refused_with_the_reason, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_passed_descriptor_serves_one_guest_after_the_other, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
