/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software on a TAP interface, in a network namespace of the test's own. Skipped where that
 * cannot be had. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fake/soft.h"

#define N_PAIRS 2u
#define TYPE    0x88b5

static bool possible(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0 && unshare(CLONE_NEWNET) == 0;
}

/* The rig of a hub, with a device on a TAP in the place of its own. */
static int setup(void **state)
{
	static const struct net_config config = { .soft = "soft",
						  .tap = "ferry0",
						  .mac_set = true,
						  .mac = SOFT_RIG_MAC,
						  .n_queues = N_PAIRS,
						  .ring_size = CONFIG_DEFAULT_RING };
	struct soft_rig *r;
	struct vdpa_region region;
	struct error err = { 0 };

	*state = NULL;
	if (!possible())
		return 0;
	r = calloc(1, sizeof(*r));
	soft_rig_init(r, N_PAIRS);
	r->vdpa->ops->close(r->vdpa);
	if (soft_vdpa_open(&r->vdpa, &config, &err) < 0)
		fail_msg("%s", err.text);
	region = (struct vdpa_region){ 0, r->mem.size, r->mem.regions[0].hva, 0 };
	assert_int_equal(r->vdpa->ops->map(r->vdpa, &region, 1, &err), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	if (*state)
		soft_rig_exit(*state);
	free(*state);
	return 0;
}

/* The host's end of the interface. */
static int packet_socket(void)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(TYPE),
				    .sll_ifindex = (int)if_nametoindex("ferry0") };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));

	assert_true(fd >= 0 && addr.sll_ifindex > 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void make(uint8_t *frame, uint8_t mark)
{
	static const uint8_t own[6] = SOFT_RIG_MAC;

	memset(frame, mark, 100);
	memcpy(frame, own, 6);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 255;
}

/* From the host to the guest: the pair in which it is. What the host itself says on the interface is passed
 * over. */
static int arrives(struct soft_rig *r, int fd, uint8_t mark)
{
	uint8_t frame[100], in[1600];

	make(frame, mark);
	assert_int_equal(send(fd, frame, sizeof(frame), 0), sizeof(frame));
	for (unsigned int tries = 0; tries < 100; tries++) {
		soft_settle(r);
		for (unsigned int i = 0; i < N_PAIRS; i++) {
			int len = soft_rig_received(r, i, NULL, in, sizeof(in));

			if (len == sizeof(frame) && memcmp(in, frame, sizeof(frame)) == 0)
				return (int)i;
		}
	}
	return -1;
}

static void sends(struct soft_rig *r, int fd, unsigned int pair, uint8_t mark)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint8_t frame[100], in[1600];

	make(frame, mark);
	soft_rig_send(r, pair, NULL, frame, sizeof(frame));
	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(recv(fd, in, sizeof(in), 0), sizeof(frame));
	assert_memory_equal(in, frame, sizeof(frame));
}

static void test_both_ways(void **state)
{
	struct soft_rig *r = *state;
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX & ~VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX));
	for (unsigned int i = 0; i < N_PAIRS; i++)
		soft_rig_post(r, i, 60, 2048);
	fd = packet_socket();
	assert_int_equal(arrives(r, fd, 1), 0);
	sends(r, fd, 0, 2);
	assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_MQ, 0, "\x02\0", 2, NULL, NULL), VIRTIO_NET_OK);
	sends(r, fd, 1, 3);
	assert_true(arrives(r, fd, 4) >= 0);
	assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_MQ, 0, "\x01\0", 2, NULL, NULL), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, fd, 5), 0);
	close(fd);
}

/* What the interface does for the guest follows the guest's command. */
static unsigned int host_checksums(int fd)
{
	struct ethtool_value value = { .cmd = ETHTOOL_GTXCSUM };
	struct ifreq ifr = { .ifr_name = "ferry0" };

	ifr.ifr_data = (void *)&value;
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &ifr), 0);
	return value.data;
}

static void test_offloads(void **state)
{
	struct soft_rig *r = *state;
	uint8_t mask[8] = { 0 };
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	fd = packet_socket();
	assert_int_equal(host_checksums(fd), 1);
	assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8, NULL, NULL),
			 VIRTIO_NET_OK);
	assert_int_equal(host_checksums(fd), 0);
	mask[0] = 2;
	assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8, NULL, NULL),
			 VIRTIO_NET_OK);
	assert_int_equal(host_checksums(fd), 1);
	close(fd);
}

/* The interface goes down and up at the host, and so does the guest's link. */
static void set_up(int fd, bool up)
{
	struct ifreq ifr = { .ifr_name = "ferry0" };

	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
}

static void await_link(struct soft_rig *r, unsigned int status)
{
	struct pollfd pfd = { .fd = r->config_call, .events = POLLIN };
	struct error err = { 0 };
	uint8_t config[2];
	uint64_t count;

	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(read(r->config_call, &count, sizeof(count)), 8);
	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 6, config, 2, &err), 0);
	assert_int_equal(get_le16(config), status);
}

static void test_link(void **state)
{
	struct soft_rig *r = *state;
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	fd = packet_socket();
	set_up(fd, false);
	await_link(r, 0);
	set_up(fd, true);
	await_link(r, VIRTIO_NET_S_LINK_UP);
	soft_rig_post(r, 0, 32, 2048);
	close(fd);
	fd = packet_socket();
	assert_int_equal(arrives(r, fd, 6), 0);
	close(fd);
}

/* What a destination says whose MTU is another one than the guest's. */
static void test_mtu_advice(void **state)
{
	struct soft_rig *r = *state;

	if (!r)
		skip();
	assert_non_null(strstr(r->vdpa->advice.mtu, "ip link set"));
}

static void test_refusals(void **state)
{
	struct net_config config = { .soft = "soft",
				     .tap = "ferry1",
				     .n_queues = 1,
				     .ring_size = CONFIG_DEFAULT_RING,
				     .bridge = "nobridge" };
	struct error err = { 0 };
	struct vdpa *vdpa;

	if (!*state)
		skip();
	assert_true(soft_vdpa_open(&vdpa, &config, &err) < 0);
	assert_non_null(strstr(err.text, "nobridge"));
	err = (struct error){ 0 };
	config.tap = "lo";
	assert_true(soft_vdpa_open(&vdpa, &config, &err) < 0);
	assert_non_null(strstr(err.text, "it is not a TAP interface"));
	err = (struct error){ 0 };
	config.tap = "ferry0";
	assert_true(soft_vdpa_open(&vdpa, &config, &err) < 0);
	assert_non_null(strstr(err.text, "ferry0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu_advice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
