/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a packet costs the thread of the vDPA NIC in software: between a driver of the tests' and a hub of
 * sockets, or a TAP interface in a network namespace of this program's own. By that thread's CPU time, system
 * calls included; the driver and the network's other end are on another thread.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/vdpa/soft/device.h"
#include "tests/fake/soft.h"

#define FRAMES     UINT64_C(0x800000)
#define MAX_ROUNDS 65536u

struct bench {
	struct soft_rig rig;
	bool tap, receive;
	uint32_t len; /* of a frame; more than an Ethernet frame's: a segment of TCP */
	unsigned int batch;
	int fd; /* the network's other end */
	uint8_t packet[12 + 65536];
	uint64_t rounds[MAX_ROUNDS];
	unsigned int n_rounds;
};

static uint64_t device_ns(struct bench *b)
{
	struct timespec t;
	clockid_t clock;

	assert(pthread_getcpuclockid(soft_rig_device(&b->rig)->loop.thread, &clock) == 0);
	assert(clock_gettime(clock, &t) == 0);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A namespace in which nobody sends but this program. False: there is none to be had. */
static bool enter(void)
{
	FILE *f;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	f = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w");
	if (f) {
		fputs("1", f);
		fclose(f);
	}
	return true;
}

static void make_packet(struct bench *b)
{
	static const uint8_t own[6] = SOFT_RIG_MAC;
	struct virtio_net_hdr_v1 *hdr = (struct virtio_net_hdr_v1 *)b->packet;
	uint8_t *frame = b->packet + 12, *ip = frame + 14;

	memset(b->packet, 0, sizeof(b->packet));
	memcpy(frame, own, 6);
	memcpy(frame + 12, "\x08\0\x45", 3);
	put_le16(ip + 2, htons((uint16_t)(b->len - 14)));
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
	ip[20 + 12] = 0x50;
	if (b->len > 1514)
		*hdr = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						   .hdr_len = 54,
						   .gso_size = 1448,
						   .csum_start = 34,
						   .csum_offset = 16 };
}

static void open_tap(struct bench *b)
{
	const struct net_config config = { .soft = true,
					   .tap = "bench0",
					   .mac_set = true,
					   .mac = SOFT_RIG_MAC,
					   .n_queues = 1,
					   .ring_size = 256 };
	struct sockaddr_ll addr = { .sll_family = AF_PACKET };
	struct vdpa_region region;
	struct error err = { 0 };
	int on = 1, ret;

	b->rig.vdpa->ops->close(b->rig.vdpa);
	ret = soft_vdpa_open(&b->rig.vdpa, &config, &err);
	if (ret < 0)
		fprintf(stderr, "%s\n", err.text);
	assert(ret == 0);
	region = (struct vdpa_region){ 0, b->rig.mem.size, b->rig.mem.regions[0].hva, 0 };
	ret = b->rig.vdpa->ops->map(b->rig.vdpa, &region, 1, &err);
	assert(ret == 0);
	b->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	addr.sll_ifindex = (int)if_nametoindex("bench0");
	assert(b->fd >= 0 && bind(b->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	assert(setsockopt(b->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0);
}

/* Connects a socket to the device's, which is in the hub's folder beside the tests'. */
static void open_hub(struct bench *b)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	DIR *dir = opendir(b->rig.net.folder);
	struct dirent *entry;

	b->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert(b->fd >= 0 && dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "port-test") == 0)
			continue;
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%.40s", b->rig.net.folder, entry->d_name);
		assert(connect(b->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	}
	closedir(dir);
}

/* To the guest, all at once. */
static void network_sends(struct bench *b)
{
	struct iovec iov[2] = { { b->packet, b->tap ? 10 : 12 }, { b->packet + 12, b->len } };
	struct mmsghdr out[64] = { 0 };
	unsigned int done = 0;

	for (unsigned int i = 0; i < b->batch; i++)
		out[i].msg_hdr = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 2 };
	while (done < b->batch) {
		int n = sendmmsg(b->fd, out, b->batch - done, 0);

		assert(n > 0);
		done += (unsigned int)n;
	}
}

static void take_frames(struct bench *b)
{
	while (!b->tap && soft_net_receive(&b->rig.net, NULL, b->packet + 12, 65536, 0) >= 0)
		;
}

static void await(struct bench *b, unsigned int queue, unsigned int n)
{
	struct fake_driver *d = &b->rig.queues[queue];
	uint16_t head;
	uint32_t len;

	while (n > 0) {
		struct pollfd pfd = { .fd = b->rig.call[queue], .events = POLLIN };

		poll(&pfd, 1, 1000);
		loop_take(pfd.fd);
		while (fake_driver_get_used(d, &head, &len) == 1)
			n--;
		fake_driver_enable_interrupts(d);
	}
}

static void send_round(struct bench *b)
{
	for (unsigned int i = 0; i < b->batch; i++) {
		struct virtio_seg seg = { FRAMES, 12 + b->len };

		assert(fake_driver_add(&b->rig.queues[1], &seg, 1, 0) >= 0);
	}
	fake_driver_publish(&b->rig.queues[1]);
	soft_rig_kick(&b->rig, 1);
	await(b, 1, b->batch);
	take_frames(b);
}

static void receive_round(struct bench *b)
{
	unsigned int each = b->len > 2036 ? (b->len + 12 + 2047) / 2048 : 1;

	for (unsigned int i = 0; i < each * b->batch; i++) {
		struct virtio_seg seg = { FRAMES + 2048 * i, 2048 };

		assert(fake_driver_add(&b->rig.queues[0], &seg, 0, 1) >= 0);
	}
	fake_driver_publish(&b->rig.queues[0]);
	soft_rig_kick(&b->rig, 0);
	soft_settle(&b->rig);
	network_sends(b);
	await(b, 0, each * b->batch);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void start(struct bench *b, bool hash)
{
	uint64_t features = UINT64_MAX & ~VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT);
	static uint8_t rss[4 + 2 + 2 + 2 + 2 + 1 + 40] = { [0] = 0x3f };

	b->rig.size = 256;
	soft_rig_start(&b->rig, features);
	assert(memory_write(&b->rig.mem, FRAMES, b->packet, 12 + b->len) == 0);
	/* One entry in the table, the first queue, and a key of 40 bytes. */
	rss[10] = 1;
	rss[12] = 40;
	for (unsigned int i = 13; i < sizeof(rss); i++)
		rss[i] = (uint8_t)(i * 37);
	if (hash)
		assert(soft_rig_command(&b->rig, VIRTIO_NET_CTRL_MQ, 1, rss, sizeof(rss), NULL, NULL) ==
		       VIRTIO_NET_OK);
}

static void measure(const char *name, struct bench *b, bool hash, double seconds)
{
	uint64_t end;

	soft_rig_init(&b->rig, 1);
	if (b->tap)
		open_tap(b);
	else
		open_hub(b);
	make_packet(b);
	start(b, hash);
	end = now_ns() + (uint64_t)(seconds * 1e9);
	while (now_ns() < end && b->n_rounds < MAX_ROUNDS) {
		uint64_t before = device_ns(b);

		if (b->receive)
			receive_round(b);
		else
			send_round(b);
		soft_settle(&b->rig);
		b->rounds[b->n_rounds++] = device_ns(b) - before;
	}
	qsort(b->rounds, b->n_rounds, sizeof(b->rounds[0]), compare);
	printf("%s: %.1f ns a packet\n", name, (double)b->rounds[b->n_rounds / 2] / b->batch);
	fflush(stdout);
	close(b->fd);
	soft_rig_exit(&b->rig);
}

/* nic [NAME [SECONDS]]: every case, or those with NAME in theirs, each so long. */
int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool tap, receive, hash;
		uint32_t len;
		unsigned int batch;
	} cases[] = {
		{ "hub tx", false, false, false, 60, 8 },
		{ "hub rx", false, true, false, 60, 8 },
		{ "tap tx batch 1", true, false, false, 60, 1 },
		{ "tap rx batch 1", true, true, false, 60, 1 },
		{ "tap tx", true, false, false, 60, 32 },
		{ "tap rx", true, true, false, 60, 32 },
		{ "tap rx hashed", true, true, true, 60, 32 },
		{ "tap tx segments", true, false, false, 60054, 4 },
		{ "tap rx segments", true, true, false, 60054, 4 },
	};
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.3;
	bool alone = enter();

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *b;

		if ((argc > 1 && !strstr(cases[i].name, argv[1])) || (cases[i].tap && !alone))
			continue;
		b = calloc(1, sizeof(*b));
		assert(b);
		b->tap = cases[i].tap;
		b->receive = cases[i].receive;
		b->len = cases[i].len;
		b->batch = cases[i].batch;
		measure(cases[i].name, b, cases[i].hash, seconds);
		free(b);
	}
	return 0;
}
