/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software on a TAP interface, in a network namespace of the test's own. Skipped where that
 * cannot be had. */
#define _GNU_SOURCE
#include "devices/vdpa/soft/device.h"
#include "tests/unit/devices/vdpa/soft/soft_host.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_PAIRS 2u
#define TYPE    0x88b5

/* Reads and writes of TAP interfaces that are to fail, and how. */
static struct {
	_Atomic unsigned int n;
	int error;
} bad_reads, bad_writes;

static bool is_tap(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_rdev == makedev(10, 200);
}

/* In the place of the system's, which the sanitizers watch. */
ssize_t read(int fd, void *buf, size_t size)
{
	static ssize_t (*next)(int, void *, size_t);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "read");
	if (bad_reads.n > 0 && is_tap(fd)) {
		bad_reads.n--;
		errno = bad_reads.error;
		return -1;
	}
	return next(fd, buf, size);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	static ssize_t (*next)(int, const struct iovec *, int);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "writev");
	if (bad_writes.n > 0 && is_tap(fd)) {
		bad_writes.n--;
		errno = bad_writes.error;
		return -1;
	}
	return next(fd, iov, n);
}

static const struct net_config tap_config = { .soft = true,
					      .tap = "ferry0",
					      .mac_set = true,
					      .mac = SOFT_RIG_MAC,
					      .n_queues = N_PAIRS,
					      .ring_size = CONFIG_DEFAULT_RING };

/* The rig of a hub, with a device on a TAP in the place of its own. */
static struct soft_rig *setup_on(const struct net_config *config)
{
	struct soft_rig *r;
	struct vdpa_region region;
	struct error err = { 0 };

	r = calloc(1, sizeof(*r));
	soft_rig_init(r, N_PAIRS);
	r->vdpa->ops->close(r->vdpa);
	if (soft_vdpa_open(&r->vdpa, config, &err) < 0)
		fail_msg("%s", err.text);
	region = (struct vdpa_region){ 0, r->mem.size, r->mem.regions[0].hva, 0 };
	assert_int_equal(r->vdpa->ops->map(r->vdpa, &region, 1, &err), 0);
	return r;
}

static int setup(void **state)
{
	*state = host_enter() ? setup_on(&tap_config) : NULL;
	return 0;
}

/* The same, of queues that somebody else has opened. */
static int setup_passed(void **state)
{
	struct net_config config = tap_config;

	*state = NULL;
	if (!host_enter())
		return 0;
	for (unsigned int i = 0; i < N_PAIRS; i++)
		config.tap_fds[i] = host_open_tap(config.tap, IFF_VNET_HDR | IFF_MULTI_QUEUE);
	config.tap = "fd:5:6";
	config.n_tap_fds = N_PAIRS;
	*state = setup_on(&config);
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
static int packet_socket_for(const char *name, uint16_t type)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(type),
				    .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type));

	assert_true(fd >= 0 && addr.sll_ifindex > 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int packet_socket_on(const char *name)
{
	return packet_socket_for(name, TYPE);
}

static int packet_socket(void)
{
	return packet_socket_on("ferry0");
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
	uint64_t start = now_ns();

	make(frame, mark);
	assert_int_equal(send(fd, frame, sizeof(frame), 0), sizeof(frame));
	while (now_ns() - start < FAKE_PATIENCE_MS * UINT64_C(1000000)) {
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
	assert_int_equal(poll(&pfd, 1, FAKE_PATIENCE_MS), 1);
	assert_int_equal(recv(fd, in, sizeof(in), 0), sizeof(frame));
	assert_memory_equal(in, frame, sizeof(frame));
}

static void test_packets_go_both_ways_on_every_pair(void **state)
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

/* Asks the host whether the interface does checksums, which follows the guest's command. */
static unsigned int host_checksums(int fd)
{
	struct ethtool_value value = { .cmd = ETHTOOL_GTXCSUM };
	struct ifreq ifr = { .ifr_name = "ferry0" };

	ifr.ifr_data = (void *)&value;
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &ifr), 0);
	return value.data;
}

static void test_offloads_of_the_interface_follow_the_guests(void **state)
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

/* Segments of 40,000 bytes that are to be cut into pieces of 1,400 further on, if at all. */
static const struct gso {
	uint8_t type, protocol, header, csum_offset;
} gsos[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, 6, 20, 16 },
	{ 5 /* VIRTIO_NET_HDR_GSO_UDP_L4 */, 17, 8, 6 },
};

#define GSO_BYTES 40000u

/* Writes a packet of that kind: its length. */
static uint32_t make_gso(const struct gso *gso, struct virtio_net_hdr_v1 *hdr, uint8_t *frame)
{
	static const uint8_t own[6] = SOFT_RIG_MAC;
	uint32_t len = 34u + gso->header + GSO_BYTES;
	uint8_t *ip = frame + 14, *l4 = ip + 20;

	*hdr = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					   .gso_type = gso->type,
					   .hdr_len = 34u + gso->header,
					   .gso_size = 1400,
					   .csum_start = 34,
					   .csum_offset = gso->csum_offset };
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i >> 8 ^ i);
	memset(frame, 0, 34u + gso->header);
	memcpy(frame, own, 6);
	memcpy(frame + 12, (uint8_t[]){ 8, 0, 0x45, 0, (uint8_t)((len - 14) >> 8), (uint8_t)(len - 14) }, 6);
	ip[8] = 64;
	ip[9] = gso->protocol;
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
	if (gso->protocol == 17)
		memcpy(l4 + 4, (uint8_t[]){ (uint8_t)((GSO_BYTES + 8) >> 8), (uint8_t)(GSO_BYTES + 8) }, 2);
	else
		l4[12] = 0x50;
	return len;
}

static void assert_gso(const struct virtio_net_hdr_v1 *hdr, const struct virtio_net_hdr_v1 *expected)
{
	assert_int_equal(hdr->gso_type, expected->gso_type);
	assert_int_equal(hdr->gso_size, expected->gso_size);
	assert_int_equal(hdr->flags, expected->flags);
	assert_int_equal(hdr->csum_start, expected->csum_start);
	assert_int_equal(hdr->csum_offset, expected->csum_offset);
}

/* A packet from the guest, as the host sees it: a header of 10 bytes and the frame. */
static void gso_leaves(struct soft_rig *r, int fd, const struct gso *gso)
{
	static uint8_t frame[65536], in[10 + 65536];
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct virtio_net_hdr_v1_hash out = { 0 };
	struct virtio_net_hdr_v1 seen = { 0 };
	uint32_t len = make_gso(gso, &out.hdr, frame), header = soft_rig_header(r);
	struct virtio_seg seg = { 0x800000, header + len };

	assert_int_equal(memory_write(&r->mem, 0x800000, &out, header), 0);
	assert_int_equal(memory_write(&r->mem, 0x800000 + header, frame, len), 0);
	assert_true(fake_driver_add(&r->queues[1], &seg, 1, 0) >= 0);
	fake_driver_publish(&r->queues[1]);
	soft_rig_kick(r, 1);
	assert_int_equal(poll(&pfd, 1, FAKE_PATIENCE_MS), 1);
	assert_int_equal(recv(fd, in, sizeof(in), 0), 10 + len);
	memcpy(&seen, in, 10);
	assert_gso(&seen, &out.hdr);
	assert_memory_equal(in + 10, frame, len);
}

/* A packet from the host, as the guest sees it, which the buffers of @buffer bytes are merged for. */
static void gso_arrives(struct soft_rig *r, int fd, const struct gso *gso, uint32_t buffer)
{
	static uint8_t out[10 + 65536], in[65536];
	struct virtio_net_hdr_v1_hash seen = { 0 };
	struct virtio_net_hdr_v1 hdr;
	uint32_t len = make_gso(gso, &hdr, out + 10);
	uint64_t start = now_ns();
	int got = -1;

	memcpy(out, &hdr, 10);
	soft_rig_post(r, 0, (len + 20) / buffer + 1, buffer);
	assert_int_equal(send(fd, out, 10 + len, 0), 10 + len);
	while (got != (int)len && now_ns() - start < FAKE_PATIENCE_MS * UINT64_C(1000000)) {
		soft_settle(r);
		got = soft_rig_received(r, 0, &seen, in, sizeof(in));
	}
	assert_int_equal(got, len);
	assert_gso(&seen.hdr, &hdr);
	assert_memory_equal(in, out + 10, len);
}

static void test_segments_go_through_whole(void **state)
{
	struct soft_rig *r = *state;
	int fd, on = 1;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	fd = packet_socket_for("ferry0", ETH_P_IP);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(gsos); i++) {
		/* Kernels before 6.2 lack segments of UDP. */
		if (gsos[i].type == 5 && !virtio_has(r->vdpa->features, VIRTIO_NET_F_HOST_USO))
			continue;
		gso_leaves(r, fd, &gsos[i]);
		for (unsigned int k = 0; k < 3; k++)
			gso_arrives(r, fd, &gsos[i], 2048);
		gso_arrives(r, fd, &gsos[i], 0x4000);
		gso_arrives(r, fd, &gsos[i], 1024);
	}
	close(fd);
}

static void await_link(struct soft_rig *r, unsigned int status)
{
	struct pollfd pfd = { .fd = r->config_call, .events = POLLIN };
	struct error err = { 0 };
	uint8_t config[2];
	uint64_t count;

	assert_int_equal(poll(&pfd, 1, FAKE_PATIENCE_MS), 1);
	assert_int_equal(read(r->config_call, &count, sizeof(count)), 8);
	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 6, config, 2, &err), 0);
	assert_int_equal(get_le16(config), status);
}

static void test_the_guests_link_follows_the_interface(void **state)
{
	struct soft_rig *r = *state;
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	fd = packet_socket();
	host_set("ferry0", soft_link_lower);
	await_link(r, 0);
	host_set("ferry0", soft_link_raise);
	await_link(r, VIRTIO_NET_S_LINK_UP);
	soft_rig_post(r, 0, 32, 2048);
	close(fd);
	fd = packet_socket();
	assert_int_equal(arrives(r, fd, 6), 0);
	close(fd);
}

/* The advice of a destination whose MTU is another one than the guest's. */
static void test_the_advice_on_the_mtu_is_about_the_tap(void **state)
{
	struct soft_rig *r = *state;

	if (!r)
		skip();
	assert_non_null(strstr(r->vdpa->advice.mtu, "ip link set"));
}

static uint16_t link_status(struct soft_rig *r)
{
	soft_settle(r);
	return host_config16(r->vdpa, 6);
}

static void test_a_renamed_interface_keeps_its_link(void **state)
{
	struct soft_rig *r = *state;
	uint64_t count;
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	soft_rig_post(r, 0, 32, 2048);
	if (!host_rename("ferry0", "web1-eth0")) {
		host_set("ferry0", soft_link_lower);
		await_link(r, 0);
		assert_true(host_rename("ferry0", "web1-eth0"));
		host_set("web1-eth0", soft_link_raise);
		await_link(r, VIRTIO_NET_S_LINK_UP);
	}
	assert_int_equal(link_status(r), VIRTIO_NET_S_LINK_UP);
	fd = packet_socket_on("web1-eth0");
	assert_int_equal(arrives(r, fd, 1), 0);
	sends(r, fd, 0, 2);
	/* An interface that has the name now is none of Ferry's. */
	host_add_tap("ferry0", 0);
	host_set("ferry0", soft_link_raise);
	host_set("ferry0", soft_link_lower);
	host_delete("ferry0");
	assert_int_equal(link_status(r), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(read(r->config_call, &count, sizeof(count)), -1);
	host_set("web1-eth0", soft_link_lower);
	await_link(r, 0);
	host_set("web1-eth0", soft_link_raise);
	await_link(r, VIRTIO_NET_S_LINK_UP);
	close(fd);
}

static void test_an_interface_in_another_namespace_keeps_its_link(void **state)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), away, fd;
	struct soft_rig *r = *state;
	uint8_t frame[100];

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	soft_rig_post(r, 0, 32, 2048);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	away = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	/* The kernel takes it down on the way. */
	host_move("ferry0", away);
	await_link(r, 0);
	assert_int_equal(setns(away, CLONE_NEWNET), 0);
	for (uint8_t mark = 1; mark < 4; mark++) {
		host_set("ferry0", soft_link_raise);
		await_link(r, VIRTIO_NET_S_LINK_UP);
		fd = packet_socket();
		assert_int_equal(arrives(r, fd, mark), 0);
		sends(r, fd, 0, mark);
		close(fd);
		/* Nobody says so there; but no packet passes. */
		host_set("ferry0", soft_link_lower);
		make(frame, mark);
		soft_rig_send(r, 0, NULL, frame, sizeof(frame));
		await_link(r, 0);
	}
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	close(away);
}

static void test_a_deleted_interface_is_gone_for_good(void **state)
{
	struct soft_rig *r = *state;
	struct host_log log = host_log_begin();
	uint8_t frame[100] = { 0 };
	const char *text;
	int fd = -1;

	if (r) {
		soft_rig_start(r, UINT64_MAX & ~VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX));
		soft_rig_post(r, 0, 8, 2048);
		host_delete("ferry0");
		await_link(r, 0);
		/* A new interface with the name is another one, not for this guest. */
		fd = host_open_tap("ferry0", 0);
		host_set("ferry0", soft_link_raise);
		for (unsigned int i = 0; i < 20; i++) {
			soft_rig_send(r, 0, NULL, frame, sizeof(frame));
			soft_rig_post(r, 0, 1, 2048);
			assert_int_equal(link_status(r), 0);
		}
		assert_int_equal(soft_rig_reap(r, 0), 20);
		assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_MQ, 0, "\x02\0", 2, NULL, NULL),
				 VIRTIO_NET_OK);
		/* A guest that starts again has its NIC, without a link. */
		soft_rig_reset(r);
		soft_rig_start(r, UINT64_MAX);
		assert_int_equal(link_status(r), 0);
		close(fd);
	}
	text = host_log_end(&log);
	if (!r)
		skip();
	assert_int_equal(host_log_lines(text), 1);
	assert_non_null(strstr(text, "ferry0 has been deleted"));
}

/* More messages about interfaces than the socket holds, the last of which matters. */
static int overrun(void *arg)
{
	for (unsigned int i = 0; i < 1000; i++)
		host_set_mtu("ferry0", 1400 + i % 2);
	host_set("ferry0", soft_link_lower);
	return 0;
}

static void test_messages_that_are_lost_do_no_harm(void **state)
{
	struct soft_rig *r = *state;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	loop_call(&soft_rig_device(r)->loop, overrun, NULL);
	await_link(r, 0);
	host_set("ferry0", soft_link_raise);
	await_link(r, VIRTIO_NET_S_LINK_UP);
}

static void test_another_mtu_is_said(void **state)
{
	struct soft_rig *r = *state;
	struct host_log log;
	const char *text;

	if (!r)
		skip();
	log = host_log_begin();
	host_set_mtu("ferry0", 9000);
	soft_settle(r);
	text = host_log_end(&log);
	assert_int_equal(host_log_lines(text), 1);
	assert_non_null(strstr(text, "ferry0: its MTU is 9000 now; the guest goes on with 1500"));
	assert_int_equal(host_config16(r->vdpa, 10), 1500);
}

/* The kernel does not do ECN without segments, nor segments without checksums. */
static void test_offloads_that_the_kernel_refuses_are_refused(void **state)
{
	static const uint64_t refused[] = {
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN),
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4),
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN),
		VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN),
	};
	struct soft_rig *r = *state;
	struct host_log log;
	uint8_t mask[8];
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	fd = packet_socket();
	log = host_log_begin();
	for (unsigned int i = 0; i < 400; i++) {
		put_le64(mask, refused[i % ARRAY_SIZE(refused)]);
		if (soft_rig_command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8, NULL, NULL) !=
		    VIRTIO_NET_ERR)
			break;
		assert_int_equal(host_checksums(fd), 1);
	}
	assert_in_range(host_log_lines(host_log_end(&log)), 1, LOG_BURST);
	assert_int_equal(host_checksums(fd), 1);
	put_le64(mask, VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
			       VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN));
	assert_int_equal(soft_rig_command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8, NULL, NULL),
			 VIRTIO_NET_OK);
	close(fd);
}

static void test_an_error_of_one_packet_is_that_packets(void **state)
{
	static const int errors[] = { EINVAL, EFAULT, ENOMEM, EIO, ENOBUFS, EBADMSG };
	struct soft_rig *r = *state;
	uint8_t frame[100];
	int fd;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	soft_rig_post(r, 0, 60, 2048);
	fd = packet_socket();
	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		bad_reads.error = bad_writes.error = errors[i];
		bad_reads.n = 1;
		assert_int_equal(arrives(r, fd, 1), 0);
		assert_int_equal(bad_reads.n, 0);
		assert_int_equal(soft_rig_counter(r, 0, SOFT_DROPS), i + 1);
		bad_writes.n = 1;
		make(frame, 9);
		soft_rig_send(r, 0, NULL, frame, sizeof(frame));
		assert_int_equal(soft_rig_counter(r, 1, SOFT_DROPS), i + 1);
		assert_int_equal(bad_writes.n, 0);
		sends(r, fd, 0, 2);
		assert_int_equal(link_status(r), VIRTIO_NET_S_LINK_UP);
	}
	close(fd);
}

/* So many in a row that the interface is let alone for a while. */
static void test_reception_goes_on_after_errors(void **state)
{
	struct soft_rig *r = *state;
	int fd, pair = -1;

	if (!r)
		skip();
	soft_rig_start(r, UINT64_MAX);
	soft_rig_post(r, 0, 60, 2048);
	fd = packet_socket();
	bad_reads.error = EINVAL;
	bad_reads.n = 1000;
	for (unsigned int i = 0; i < 1000 && pair < 0; i++)
		pair = arrives(r, fd, 1);
	assert_int_equal(pair, 0);
	assert_int_equal(soft_rig_counter(r, 0, SOFT_DROPS), 1000);
	close(fd);
}

static void test_the_kernel_completes_a_name(void **state)
{
	struct vdpa *a, *b;

	if (!*state)
		skip();
	a = host_must_open("tap%d", NULL, 2);
	b = host_must_open("tap%d", NULL, 1);
	assert_string_equal(a->name, "soft:tap0");
	assert_string_equal(b->name, "soft:tap1");
	assert_int_equal(host_link("tap0").tap_queues, 2);
	assert_true(host_link("tap0").up && host_link("tap1").up);
	a->ops->close(a);
	b->ops->close(b);
	assert_false(host_has("tap0") || host_has("tap1"));
}

static void test_an_interface_of_another_process_is_refused(void **state)
{
	int header = 0, several, one;

	if (!*state)
		skip();
	several = host_open_tap("several", IFF_MULTI_QUEUE | IFF_VNET_HDR);
	one = host_open_tap("one", 0);
	host_must_refuse("several", NULL, 2, "another process has it");
	host_must_refuse("one", NULL, 1, "another process has it");
	/* Nor is it touched. */
	assert_int_equal(ioctl(several, TUNGETVNETHDRSZ, &header), 0);
	assert_int_equal(header, 10);
	assert_int_equal(host_link("several").tap_queues, 1);
	assert_false(host_link("several").up || host_link("one").up);
	close(several);
	close(one);
}

static void test_a_lack_of_descriptors_is_said(void **state)
{
	struct rlimit before, few;
	struct vdpa *vdpa;
	struct error err;
	bool said = true;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (!*state) {
		close(fd);
		skip();
	}
	/* Wherever on the way they end. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (few = before, few.rlim_cur = (rlim_t)fd + 1; said; few.rlim_cur++) {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		vdpa = host_open("t0", NULL, 4, &err);
		if (vdpa)
			break;
		said = strstr(err.text, "ulimit -n");
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	if (!said)
		fail_msg("\"%s\" does not say what to do", err.text);
	assert_true(few.rlim_cur > (rlim_t)fd + 8);
	vdpa->ops->close(vdpa);
	close(fd);
}

static void test_what_is_no_tap_of_its_own_is_refused(void **state)
{
	struct net_config config = { .soft = true,
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
		cmocka_unit_test_setup_teardown(test_packets_go_both_ways_on_every_pair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packets_go_both_ways_on_every_pair, setup_passed,
						teardown),
		cmocka_unit_test_setup_teardown(test_offloads_of_the_interface_follow_the_guests, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_segments_go_through_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_guests_link_follows_the_interface, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_advice_on_the_mtu_is_about_the_tap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_renamed_interface_keeps_its_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_interface_in_another_namespace_keeps_its_link, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_deleted_interface_is_gone_for_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages_that_are_lost_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_mtu_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offloads_that_the_kernel_refuses_are_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_error_of_one_packet_is_that_packets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reception_goes_on_after_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_kernel_completes_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_interface_of_another_process_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_lack_of_descriptors_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_tap_of_its_own_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
