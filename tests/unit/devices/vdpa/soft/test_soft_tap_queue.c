/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TAP interface whose queues somebody else has opened, as the port of the NIC in software. In a network
 * namespace of the test's own; skipped where that cannot be had. */
#define _GNU_SOURCE
#include "devices/vdpa/soft/device.h"
#include "tests/unit/devices/vdpa/soft/soft_host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int setup(void **state)
{
	static bool host;

	host = host_enter();
	*state = host ? &host : NULL;
	return 0;
}

/* Opens a queue of an interface, which is made if there is none of the name, with these flags alone. */
static int open_queue(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(ifr.ifr_name, name);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

#define QUEUE_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

static void queues_that_somebody_else_opened_are_taken_without_rights(void **state)
{
	struct net_config config = { .soft = true,
				     .tap = "fd:5:6",
				     .n_tap_fds = 2,
				     .tap_fds = { open_queue("ferry2", QUEUE_FLAGS | IFF_MULTI_QUEUE),
						  open_queue("ferry2", QUEUE_FLAGS | IFF_MULTI_QUEUE) },
				     .n_queues = 2,
				     .ring_size = CONFIG_DEFAULT_RING };
	struct error err = { 0 };
	struct vdpa *vdpa;
	int queue = dup(config.tap_fds[0]), header;
	struct ifreq ifr = { 0 };

	if (!*state)
		skip();
	host_set("ferry2", soft_link_raise);
	/* The launcher's user before had one pair. */
	ifr.ifr_flags = IFF_DETACH_QUEUE;
	assert_int_equal(ioctl(config.tap_fds[1], TUNSETQUEUE, &ifr), 0);
	assert_int_equal(seteuid(65534), 0);
	if (soft_vdpa_open(&vdpa, &config, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(vdpa->name, "soft:ferry2");
	assert_true(virtio_has(vdpa->features, VIRTIO_NET_F_GUEST_TSO4));
	assert_int_equal(ioctl(queue, TUNGETVNETHDRSZ, &header), 0);
	assert_int_equal(header, SOFT_PORT_HEADER);
	assert_int_equal(ioctl(config.tap_fds[1], TUNGETIFF, &ifr), 0);
	assert_false(ifr.ifr_flags & IFF_DETACH_QUEUE);
	/* Taken: they are closed with the device. */
	vdpa->ops->close(vdpa);
	assert_int_equal(fcntl(config.tap_fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(config.tap_fds[1], F_GETFD), -1);
	assert_int_equal(seteuid(0), 0);
	close(queue);
}

static void queues_that_cannot_serve_are_refused(void **state)
{
	static const struct {
		const char *name;
		int flags;
		const char *why;
	} t[] = {
		{ "ferry3", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "IFF_TAP and IFF_VNET_HDR" },
		{ "ferry3", IFF_TAP | IFF_NO_PI, "IFF_TAP and IFF_VNET_HDR" },
		{ "ferry3", QUEUE_FLAGS, "to be opened with IFF_MULTI_QUEUE" },
		{ NULL, 0, "not an open queue of a TAP interface" },
		{ "ferry3", QUEUE_FLAGS | IFF_MULTI_QUEUE, "cannot be a queue of ferry3" },
	};

	if (!*state)
		skip();
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		struct net_config config = { .soft = true,
					     .tap = "fd:5:6",
					     .n_tap_fds = 2,
					     .n_queues = 2,
					     .ring_size = CONFIG_DEFAULT_RING };
		struct error err = { 0 };
		struct vdpa *vdpa;
		int other = open_queue("ferry4", QUEUE_FLAGS | IFF_MULTI_QUEUE);

		config.tap_fds[0] =
			t[i].name ? open_queue(t[i].name, t[i].flags) : open("/dev/net/tun", O_RDWR);
		config.tap_fds[1] = other;
		assert_true(soft_vdpa_open(&vdpa, &config, &err) < 0);
		if (!strstr(err.text, t[i].why) || !strstr(err.text, "tap=fd:5:6: descriptor "))
			fail_msg("%u: \"%s\" does not say \"%s\"", i, err.text, t[i].why);
		/* The device closes each that it has looked at. */
		if (fcntl(other, F_GETFD) >= 0)
			close(other);
	}
}

static void packets_with_another_header_are_refused(void **state)
{
	struct net_config config = {
		.soft = true, .tap = "fd:5", .n_tap_fds = 1, .n_queues = 1, .ring_size = CONFIG_DEFAULT_RING
	};
	struct error err = { 0 };
	struct vdpa *vdpa;

	if (!*state)
		skip();
	config.tap_fds[0] = open_queue("ferry7", IFF_TAP | IFF_VNET_HDR);
	assert_int_equal(soft_vdpa_open(&vdpa, &config, &err), -EINVAL);
	assert_non_null(strstr(err.text, "open it with IFF_NO_PI"));
}

static void a_queue_that_is_not_the_only_one_is_refused(void **state)
{
	struct net_config config = {
		.soft = true, .tap = "fd:5", .n_tap_fds = 1, .n_queues = 1, .ring_size = CONFIG_DEFAULT_RING
	};
	struct error err = { 0 };
	struct vdpa *vdpa;
	int other;

	if (!*state)
		skip();
	config.tap_fds[0] = open_queue("ferry5", QUEUE_FLAGS | IFF_MULTI_QUEUE);
	other = open_queue("ferry5", QUEUE_FLAGS | IFF_MULTI_QUEUE);
	assert_int_equal(soft_vdpa_open(&vdpa, &config, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process, or another NIC, has queues of it"));
	close(other);
}

static void an_interface_elsewhere_is_not_one_of_the_same_name_here(void **state)
{
	struct net_config config = {
		.soft = true, .tap = "fd:5", .n_tap_fds = 1, .n_queues = 1, .ring_size = CONFIG_DEFAULT_RING
	};
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), own;
	struct error err = { 0 };
	struct vdpa *vdpa;

	if (!*state)
		skip();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	config.tap_fds[0] = open_queue("ferry6", QUEUE_FLAGS);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	close(here);
	own = open_queue("ferry6", QUEUE_FLAGS);
	assert_true(soft_vdpa_open(&vdpa, &config, &err) < 0);
	assert_non_null(strstr(err.text, "it is in another network namespace than Ferry"));
	close(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(queues_that_somebody_else_opened_are_taken_without_rights, setup),
		cmocka_unit_test_setup(queues_that_cannot_serve_are_refused, setup),
		cmocka_unit_test_setup(packets_with_another_header_are_refused, setup),
		cmocka_unit_test_setup(a_queue_that_is_not_the_only_one_is_refused, setup),
		cmocka_unit_test_setup(an_interface_elsewhere_is_not_one_of_the_same_name_here, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
