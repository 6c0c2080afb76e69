/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue's ring is what the driver has accepted and where the driver has put it, or is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "devices/virtio/pci_ring.h"

#define RAM MIB(1)

static const struct virtio_pci_place place = {
	.size = 8,
	.enabled = 1,
	.desc = 0x1000,
	.driver = 0x2004,
	.device = 0x3008,
};

static int setup(void **state)
{
	struct memory *mem = calloc(1, sizeof(*mem));
	struct error err = { 0 };

	assert_non_null(mem);
	assert_int_equal(memory_init(mem, RAM, &err), 0);
	*state = mem;
	return 0;
}

static int teardown(void **state)
{
	memory_exit(*state);
	free(*state);
	return 0;
}

static void a_ring_lies_where_the_driver_has_put_it(void **state)
{
	struct memory *mem = *state;
	struct error err = { 0 };
	struct vring vr;

	assert_int_equal(virtio_pci_find_ring(&vr, mem, 0, &place, 0, &err), 0);
	assert_int_equal(vr.setup.size, 8);
	assert_ptr_equal(vr.desc, memory_at(mem, 0x1000, 1));
	assert_ptr_equal(vr.avail, memory_at(mem, 0x2004, 1));
	assert_ptr_equal(vr.used, memory_at(mem, 0x3008, 1));
	assert_false(vr.setup.event_idx || vr.setup.indirect || vr.setup.packed || vr.setup.in_order);
	vring_exit(&vr);
}

static void each_ring_feature_makes_its_own_difference(void **state)
{
	static const unsigned int bits[] = { VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
					     VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER };
	struct memory *mem = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++) {
		struct error err = { 0 };
		struct vring vr;

		assert_int_equal(virtio_pci_find_ring(&vr, mem, 0, &place, VIRTIO_BIT(bits[i]), &err), 0);
		assert_int_equal(vr.setup.event_idx, i == 0);
		assert_int_equal(vr.setup.indirect, i == 1);
		assert_int_equal(vr.setup.packed, i == 2);
		assert_int_equal(vr.setup.in_order, i == 3);
		vring_exit(&vr);
	}
}

static void refuses(struct memory *mem, struct virtio_pci_place wrong, int ret)
{
	struct error err = { 0 };
	struct vring vr;

	assert_int_equal(virtio_pci_find_ring(&vr, mem, 7, &wrong, 0, &err), ret);
	assert_non_null(strstr(err.text, "queue 7: the driver's ring is not in guest memory, or misaligned"));
}

static void a_ring_that_cannot_be_is_refused_with_its_queue(void **state)
{
	struct virtio_pci_place wrong = place;

	wrong.desc = 0x1008;
	refuses(*state, wrong, -EINVAL);
	wrong = place;
	wrong.size = 0;
	refuses(*state, wrong, -EINVAL);
	wrong = place;
	wrong.device = RAM - 4;
	refuses(*state, wrong, -EFAULT);
	wrong = place;
	wrong.driver = UINT64_MAX - 1;
	refuses(*state, wrong, -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ring_lies_where_the_driver_has_put_it, setup, teardown),
		cmocka_unit_test_setup_teardown(each_ring_feature_makes_its_own_difference, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_that_cannot_be_is_refused_with_its_queue, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
