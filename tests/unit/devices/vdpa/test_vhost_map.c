/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of a vDPA device of the host's kernel, by the messages that its node gets. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/vdpa/vhost_map.h"

/* The header follows virtio.h, because both define the flags of rings. */
#include <linux/vhost.h>

#define MAX_MESSAGES 32u
#define N_PAGES      4u
#define BASE         UINT64_C(0x100000)

/* The node takes messages, of which one may fail. */
static struct {
	int fd;
	unsigned int n, fail_at; /* from 1; 0: none */
	struct vhost_msg_v2 messages[MAX_MESSAGES];
} node;

static uint8_t memory[N_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

ssize_t write(int fd, const void *buf, size_t len)
{
	static ssize_t (*next)(int, const void *, size_t);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "write");
	if (fd != node.fd)
		return next(fd, buf, len);
	if (len != sizeof(node.messages[0]) || node.n == MAX_MESSAGES)
		abort();
	memcpy(&node.messages[node.n++], buf, len);
	if (node.n == node.fail_at) {
		errno = EFAULT;
		return -1;
	}
	return (ssize_t)len;
}

static int setup(void **state)
{
	node.n = node.fail_at = 0;
	node.fd = eventfd(0, EFD_CLOEXEC);
	return node.fd < 0;
}

static int teardown(void **state)
{
	close(node.fd);
	node.fd = -1;
	return 0;
}

static struct vhost_map a_map(void)
{
	return (struct vhost_map){
		.fd = node.fd, .path = "node", .first = BASE, .last = 2 * BASE - 1, .batches = true
	};
}

/* Makes a region of one page. */
static struct vdpa_region page(unsigned int i, uint64_t asid)
{
	return (struct vdpa_region){ BASE + i * PAGE_SIZE, PAGE_SIZE, memory + i * PAGE_SIZE, asid };
}

static void assert_message(unsigned int i, uint8_t type, uint32_t asid, uint64_t iova)
{
	assert_true(i < node.n);
	assert_int_equal(node.messages[i].type, VHOST_IOTLB_MSG_V2);
	assert_int_equal(node.messages[i].asid, asid);
	assert_int_equal(node.messages[i].iotlb.type, type);
	assert_int_equal(node.messages[i].iotlb.iova, iova);
}

/* Returns the pages that are mapped after all messages, one bit each. The message that failed has no effect.
 */
static unsigned int mapped(uint32_t asid)
{
	unsigned int pages = 0;

	for (unsigned int i = 0; i < node.n; i++) {
		const struct vhost_msg_v2 *m = &node.messages[i];
		unsigned int bit = 1u << (m->iotlb.iova - BASE) / PAGE_SIZE % N_PAGES;

		if (m->asid != asid || i + 1 == node.fail_at)
			continue;
		if (m->iotlb.type == VHOST_IOTLB_UPDATE)
			pages |= bit;
		else if (m->iotlb.type == VHOST_IOTLB_INVALIDATE)
			pages &= ~bit;
	}
	return pages;
}

static void test_a_region_out_of_the_devices_reach_is_refused(void **state)
{
	static const struct vdpa_region regions[] = {
		{ BASE - PAGE_SIZE, PAGE_SIZE, memory, 0 },
		{ 2 * BASE - PAGE_SIZE, 2 * PAGE_SIZE, memory, 0 },
		{ UINT64_MAX - PAGE_SIZE + 1, 2 * PAGE_SIZE, memory, 0 },
		{ BASE, 0, memory, 0 },
	};
	const struct vhost_map map = a_map();

	for (unsigned int i = 0; i < ARRAY_SIZE(regions); i++) {
		struct error err = { 0 };

		assert_int_equal(vhost_map_add(&map, &regions[i], 1, &err), -ERANGE);
		assert_non_null(strstr(err.text, "the device reaches 0x100000 to 0x1fffff"));
	}
	assert_int_equal(node.n, 0);
}

static void test_a_region_that_is_not_made_of_whole_pages_is_refused(void **state)
{
	static const struct vdpa_region regions[] = {
		{ BASE + 1, PAGE_SIZE, memory, 0 },
		{ BASE, PAGE_SIZE - 1, memory, 0 },
		{ BASE, PAGE_SIZE, memory + 8, 0 },
	};
	const struct vhost_map map = a_map();
	struct error err = { 0 };

	for (unsigned int i = 0; i < ARRAY_SIZE(regions); i++) {
		assert_int_equal(vhost_map_add(&map, &regions[i], 1, &err), -EINVAL);
		assert_int_equal(vhost_map_remove(&map, &regions[i], 1, &err), -EINVAL);
	}
	assert_int_equal(node.n, 0);
}

static void test_each_address_space_is_mapped_in_a_batch_of_its_own(void **state)
{
	const struct vdpa_region regions[] = { page(0, 0), page(1, 1), page(2, 0) };
	const struct vhost_map map = a_map();
	struct error err = { 0 };

	assert_int_equal(vhost_map_add(&map, regions, ARRAY_SIZE(regions), &err), 0);
	assert_int_equal(node.n, 7);
	assert_message(0, VHOST_IOTLB_BATCH_BEGIN, 0, 0);
	assert_message(1, VHOST_IOTLB_UPDATE, 0, regions[0].iova);
	assert_int_equal(node.messages[1].iotlb.uaddr, (uintptr_t)memory);
	assert_int_equal(node.messages[1].iotlb.size, PAGE_SIZE);
	assert_int_equal(node.messages[1].iotlb.perm, VHOST_ACCESS_RW);
	assert_message(2, VHOST_IOTLB_UPDATE, 0, regions[2].iova);
	assert_message(3, VHOST_IOTLB_BATCH_END, 0, 0);
	assert_message(4, VHOST_IOTLB_BATCH_BEGIN, 1, 0);
	assert_message(5, VHOST_IOTLB_UPDATE, 1, regions[1].iova);
	assert_message(6, VHOST_IOTLB_BATCH_END, 1, 0);
}

static void test_a_kernel_without_batches_is_sent_none(void **state)
{
	const struct vdpa_region regions[] = { page(0, 0), page(1, 0) };
	struct vhost_map map = a_map();
	struct error err = { 0 };

	map.batches = false;
	assert_int_equal(vhost_map_add(&map, regions, ARRAY_SIZE(regions), &err), 0);
	assert_int_equal(vhost_map_remove(&map, regions, ARRAY_SIZE(regions), &err), 0);
	assert_int_equal(node.n, 4);
	assert_int_equal(mapped(0), 0);
}

/* Every message that begins a batch or maps a region may fail. After a failed end of a batch the kernel does
 * not say what is mapped. */
static void test_a_mapping_that_fails_leaves_nothing_mapped(void **state)
{
	const struct vdpa_region regions[] = { page(0, 0), page(1, 1), page(2, 0), page(3, 1) };
	static const unsigned int failing[] = { 1, 2, 3, 5, 6, 7 };
	const struct vhost_map map = a_map();

	for (unsigned int i = 0; i < ARRAY_SIZE(failing); i++) {
		struct error err = { 0 };

		node.n = 0;
		node.fail_at = failing[i];
		assert_true(vhost_map_add(&map, regions, ARRAY_SIZE(regions), &err) < 0);
		assert_string_not_equal(err.text, "");
		assert_int_equal(mapped(0), 0);
		assert_int_equal(mapped(1), 0);
	}
}

static void test_what_can_be_unmapped_is_after_a_failure(void **state)
{
	const struct vdpa_region regions[] = { page(0, 0), page(1, 0), page(2, 1) };
	const struct vhost_map map = a_map();
	struct error err = { 0 };

	assert_int_equal(vhost_map_add(&map, regions, ARRAY_SIZE(regions), &err), 0);
	/* The first message of the removal begins a batch, the second unmaps the first page. */
	node.fail_at = node.n + 2;
	assert_true(vhost_map_remove(&map, regions, ARRAY_SIZE(regions), &err) < 0);
	assert_int_equal(mapped(0), 1);
	assert_int_equal(mapped(1), 0);
}

static void test_a_doorbell_that_cannot_be_mapped_is_said(void **state)
{
	struct vhost_map map = a_map();
	struct error err = { 0 };
	void *doorbell = NULL;

	/* An eventfd has no pages. */
	assert_int_equal(vhost_map_doorbell(&map, 3, &doorbell, &err), -ENODEV);
	assert_non_null(strstr(err.text, "cannot map the doorbell of queue 3"));
	assert_null(doorbell);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_region_out_of_the_devices_reach_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_region_that_is_not_made_of_whole_pages_is_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_address_space_is_mapped_in_a_batch_of_its_own,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_kernel_without_batches_is_sent_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_mapping_that_fails_leaves_nothing_mapped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_can_be_unmapped_is_after_a_failure, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_doorbell_that_cannot_be_mapped_is_said, setup,
						teardown),
	};

	node.fd = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
