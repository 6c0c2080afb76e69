/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software on a bridge of the host: which one, and that nothing of the host changes by it. In
 * a network namespace of the test's own; skipped where that, or a bridge, cannot be had. */
#define _GNU_SOURCE
#include "tests/unit/devices/vdpa/soft/soft_host.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define UPLINK UINT64_C(0xd85ed3000001)
#define MTU_AT 10 /* in the device's configuration */

/* A bridge as the system's tools leave it, with the host's address from its uplink, whose interface is a TAP.
 */
static int setup(void **state)
{
	static int uplink;

	*state = NULL;
	if (!host_enter() || !host_add_bridge("br0"))
		return 0;
	uplink = host_open_tap("uplink", 0);
	host_set_address("uplink", UPLINK);
	host_set_master("uplink", "br0");
	host_set("br0", soft_link_raise);
	assert_true(host_link("br0").address == UPLINK);
	*state = &uplink;
	return 0;
}

static int teardown(void **state)
{
	if (*state)
		close(*(int *)*state);
	return 0;
}

static void close_device(struct vdpa *vdpa)
{
	vdpa->ops->close(vdpa);
}

static void test_a_port_of_another_bridge_is_refused(void **state)
{
	if (!*state)
		skip();
	assert_true(host_add_bridge("br1"));
	host_add_tap("t0", 0);
	host_set_master("t0", "br0");
	host_must_refuse("t0", "br1", 1, "t0 is a port of br0, not of br1");
	assert_int_equal(host_link("t0").master, host_link("br0").index);
	assert_false(host_link("t0").up);
}

static void test_a_port_of_the_bridge_that_is_named_stays_one(void **state)
{
	if (!*state)
		skip();
	host_add_tap("t0", 0);
	host_set_master("t0", "br0");
	close_device(host_must_open("t0", "br0", 1));
	assert_int_equal(host_link("t0").master, host_link("br0").index);
}

static void test_a_port_of_something_else_is_refused(void **state)
{
	if (!*state)
		skip();
	host_add_tap("t0", 0);
	host_must_refuse("t0", "nobridge", 1, "there is no bridge nobridge");
	host_must_refuse("t0", "lo", 1, "lo is not a bridge");
	host_must_refuse("t0", "uplink", 1, "uplink is not a bridge of Linux, it is of type tun");
	host_must_refuse("t0", "t0", 1, "t0 is not a bridge");
	/* A TAP that Ferry made goes again. */
	host_must_refuse("t1", "nobridge", 1, "there is no bridge nobridge");
	assert_false(host_has("t1"));
}

/* The address is drawn anew each time. */
static void test_a_new_port_never_has_the_lowest_address(void **state)
{
	static const uint64_t uplinks[] = { UPLINK,         0x000000000100, 0xfcfffffffffe,
					    0xfe0000000000, 0xfe5400123456, 0xfefffffffffe };

	if (!*state)
		skip();
	for (unsigned int i = 0; i < ARRAY_SIZE(uplinks); i++) {
		host_set_address("uplink", uplinks[i]);
		for (unsigned int k = 0; k < (i == 0 ? 20 : 5); k++) {
			struct host_log log = host_log_begin();
			struct vdpa *vdpa = host_must_open("t0", "br0", 1);

			assert_string_equal(host_log_end(&log), "");
			assert_true(host_link("br0").address == uplinks[i]);
			assert_true(host_link("t0").address > uplinks[i]);
			assert_true(host_link("t0").address >> 40 == 0xfe);
			close_device(vdpa);
			assert_true(host_link("br0").address == uplinks[i]);
		}
	}
}

static void test_a_new_port_is_above_other_guests_ports(void **state)
{
	struct vdpa *vdpas[8];

	if (!*state)
		skip();
	/* No uplink: the first port's address is the bridge's. */
	host_set_master("uplink", NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(vdpas); i++) {
		vdpas[i] = host_must_open("tap%d", "br0", 1);
		assert_true(host_link("br0").address == host_link("tap0").address);
	}
	for (unsigned int i = ARRAY_SIZE(vdpas); i-- > 0;) {
		assert_true(host_link("br0").address == host_link("tap0").address);
		close_device(vdpas[i]);
	}
}

static void test_an_address_that_changes_the_bridges_is_said(void **state)
{
	struct host_log log;
	struct vdpa *vdpa;
	const char *text;

	if (!*state)
		skip();
	host_add_tap("t0", 0);
	host_set_address("t0", 0x020000000001);
	log = host_log_begin();
	vdpa = host_must_open("t0", "br0", 1);
	text = host_log_end(&log);
	assert_int_equal(host_log_lines(text), 1);
	assert_non_null(strstr(text, "is now 02:00:00:00:00:01, that of its new port t0, and was "
				     "d8:5e:d3:00:00:01"));
	assert_true(host_link("t0").address == 0x020000000001);
	close_device(vdpa);
	assert_true(host_link("br0").address == UPLINK);
	/* With an address of its own a bridge has no other. */
	host_set_address("br0", 0x0a0000000001);
	log = host_log_begin();
	close_device(host_must_open("t0", "br0", 1));
	assert_string_equal(host_log_end(&log), "");
}

static void test_a_new_port_has_the_bridges_mtu(void **state)
{
	struct vdpa *vdpa;

	if (!*state)
		skip();
	host_set_mtu("uplink", 9000);
	assert_int_equal(host_link("br0").mtu, 9000);
	vdpa = host_must_open("t0", "br0", 2);
	assert_int_equal(host_link("br0").mtu, 9000);
	assert_int_equal(host_link("t0").mtu, 9000);
	assert_int_equal(host_config16(vdpa, MTU_AT), 9000);
	assert_true(virtio_has(vdpa->features, VIRTIO_NET_F_MTU));
	close_device(vdpa);
	assert_int_equal(host_link("br0").mtu, 9000);
}

static void test_an_old_interface_has_the_bridges_mtu_for_as_long(void **state)
{
	static const uint32_t mtus[] = { 9000, 1280 };
	struct vdpa *vdpa;

	if (!*state)
		skip();
	host_add_tap("t0", 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(mtus); i++) {
		host_set_mtu("uplink", mtus[i]);
		vdpa = host_must_open("t0", "br0", 1);
		assert_int_equal(host_link("br0").mtu, mtus[i]);
		assert_int_equal(host_config16(vdpa, MTU_AT), mtus[i]);
		close_device(vdpa);
		assert_int_equal(host_link("br0").mtu, mtus[i]);
		assert_int_equal(host_link("t0").mtu, 1500);
	}
}

static unsigned int tap_header(const char *name, unsigned int flags)
{
	int fd = host_open_tap(name, flags | IFF_VNET_HDR), header = 0;

	assert_int_equal(ioctl(fd, TUNGETVNETHDRSZ, &header), 0);
	close(fd);
	return (unsigned int)header;
}

static void test_an_interface_that_was_there_is_left_as_it_was(void **state)
{
	if (!*state)
		skip();
	for (unsigned int n_queues = 1; n_queues <= 2; n_queues++) {
		unsigned int flags = n_queues > 1 ? IFF_MULTI_QUEUE : 0;
		struct soft_link before, after;

		host_add_tap("t0", flags);
		before = host_link("t0");
		close_device(host_must_open("t0", "br0", n_queues));
		after = host_link("t0");
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(tap_header("t0", flags), 10);
		/* Also where it is refused on the way. */
		host_must_refuse("t0", "nobridge", n_queues, "nobridge");
		after = host_link("t0");
		assert_memory_equal(&before, &after, sizeof(before));
		host_delete_tap("t0", flags);
	}
}

/* The process ends without closing it: see guard.h. What is closed after all is closed as ever. */
static void test_a_forced_end_leaves_it_as_it_was(void **state)
{
	struct soft_link before, after;
	struct vdpa *vdpa;

	if (!*state)
		skip();
	host_add_tap("t0", 0);
	before = host_link("t0");
	vdpa = host_must_open("t0", "br0", 1);
	assert_int_equal(host_link("t0").master, host_link("br0").index);
	assert_non_null(vdpa->undo);
	vdpa->undo->fn(vdpa->undo);
	after = host_link("t0");
	assert_int_equal(after.master, 0);
	assert_int_equal(after.mtu, before.mtu);
	assert_int_equal(after.up, before.up);
	close_device(vdpa);
	after = host_link("t0");
	assert_memory_equal(&before, &after, sizeof(before));
	host_delete_tap("t0", 0);
}

static void test_what_the_operator_has_changed_meanwhile_stays(void **state)
{
	struct vdpa *vdpa;

	if (!*state)
		skip();
	assert_true(host_add_bridge("br1"));
	host_add_tap("t0", 0);
	host_set_mtu("uplink", 9000);
	vdpa = host_must_open("t0", "br0", 1);
	host_set_master("t0", "br1");
	host_set_mtu("t0", 1400);
	close_device(vdpa);
	assert_int_equal(host_link("t0").master, host_link("br1").index);
	assert_int_equal(host_link("t0").mtu, 1400);
}

static void test_another_interface_with_the_name_is_left_alone(void **state)
{
	struct vdpa *vdpa;

	if (!*state)
		skip();
	host_add_tap("t0", 0);
	vdpa = host_must_open("t0", "br0", 1);
	host_set("t0", soft_link_lower);
	assert_true(host_rename("t0", "t9"));
	host_add_tap("t0", 0);
	host_set_master("t0", "br0");
	host_set("t0", soft_link_raise);
	close_device(vdpa);
	assert_int_equal(host_link("t9").master, 0);
	assert_int_equal(host_link("t0").master, host_link("br0").index);
	assert_true(host_link("t0").up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_port_of_another_bridge_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_port_of_the_bridge_that_is_named_stays_one, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_port_of_something_else_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_new_port_never_has_the_lowest_address, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_new_port_is_above_other_guests_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_address_that_changes_the_bridges_is_said, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_new_port_has_the_bridges_mtu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_old_interface_has_the_bridges_mtu_for_as_long, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_forced_end_leaves_it_as_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_interface_that_was_there_is_left_as_it_was, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_the_operator_has_changed_meanwhile_stays, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_another_interface_with_the_name_is_left_alone, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
