/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Driver and network of the NIC in software: see the header. */
#define _GNU_SOURCE
#include "tests/fake/soft.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/vdpa/soft/device.h"

#define RIG_MEM     MIB(16)
#define RIG_BUFFERS UINT64_C(0x200000) /* 1 MiB for each queue, 64 of them */
#define RIG_BUFFER  0x4000u
#define RIG_COMMAND UINT64_C(0xe00000)
#define RIG_REPLY   UINT64_C(0xf00000)

/* The network */

void soft_net_init(struct soft_net *n)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(n->folder, "/tmp/ferry-hub-XXXXXX");
	assert(mkdtemp(n->folder));
	snprintf(n->self, sizeof(n->self), "%s/port-test", n->folder);
	strcpy(addr.sun_path, n->self);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert(n->fd >= 0 && bind(n->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
}

void soft_net_exit(struct soft_net *n)
{
	close(n->fd);
	unlink(n->self);
	assert(rmdir(n->folder) == 0);
}

void soft_net_send(struct soft_net *n, const void *hdr, const void *frame, uint32_t len)
{
	static const uint8_t zero[12];
	struct iovec iov[2] = { { (void *)(hdr ? hdr : zero), 12 }, { (void *)frame, len } };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_name = &addr, .msg_namelen = sizeof(addr)
	};
	DIR *dir = opendir(n->folder);
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "port-test") == 0)
			continue;
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%.40s", n->folder, entry->d_name);
		/* A device that has not been started takes only a few frames. */
		assert(sendmsg(n->fd, &msg, MSG_DONTWAIT) == (ssize_t)len + 12 || errno == EAGAIN);
	}
	closedir(dir);
}

int soft_net_receive(struct soft_net *n, void *hdr, void *frame, uint32_t size, int timeout_ms)
{
	struct pollfd pfd = { .fd = n->fd, .events = POLLIN };
	uint8_t header[12];
	struct iovec iov[2] = { { hdr ? hdr : header, 12 }, { frame, size } };
	ssize_t len;

	if (poll(&pfd, 1, timeout_ms) != 1)
		return -1;
	len = readv(n->fd, iov, 2);
	assert(len >= 12);
	return (int)len - 12;
}

struct vdpa *soft_net_device(struct soft_net *n, unsigned int n_pairs, uint16_t ring_size)
{
	struct net_config config = { .soft = true,
				     .hub = n->folder,
				     .mac_set = true,
				     .mac = SOFT_RIG_MAC,
				     .n_queues = n_pairs,
				     .ring_size = ring_size };
	struct error err = { 0 };
	struct vdpa *vdpa;
	int ret = soft_vdpa_open(&vdpa, &config, &err);

	if (ret < 0)
		log_error("%s", err.text);
	assert(ret == 0);
	return vdpa;
}

/* The driver */

uint64_t soft_rig_ring(unsigned int index)
{
	return 0x100000 + 0x10000ull * index;
}

unsigned int soft_rig_ctrl(const struct soft_rig *r)
{
	return virtio_has(r->features, VIRTIO_NET_F_MQ) || virtio_has(r->features, VIRTIO_NET_F_RSS)
		       ? 2 * r->n_pairs
		       : 2;
}

uint32_t soft_rig_header(const struct soft_rig *r)
{
	return virtio_has(r->features, VIRTIO_NET_F_HASH_REPORT) ? 20 : 12;
}

void soft_rig_init(struct soft_rig *r, unsigned int n_pairs)
{
	struct error err = { 0 };
	struct vdpa_region region;
	int ret;

	*r = (struct soft_rig){ .n_pairs = n_pairs, .size = 64 };
	soft_net_init(&r->net);
	r->vdpa = soft_net_device(&r->net, n_pairs, CONFIG_DEFAULT_RING);
	ret = memory_init(&r->mem, RIG_MEM, &err);
	assert(ret == 0);
	region = (struct vdpa_region){ 0, RIG_MEM, r->mem.regions[0].hva, 0 };
	ret = r->vdpa->ops->map(r->vdpa, &region, 1, &err);
	assert(ret == 0);
	for (unsigned int i = 0; i < SOFT_RIG_VQS; i++) {
		r->kick[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		r->call[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert(r->kick[i] >= 0 && r->call[i] >= 0);
	}
	r->config_call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void soft_rig_exit(struct soft_rig *r)
{
	r->vdpa->ops->close(r->vdpa);
	for (unsigned int i = 0; i < SOFT_RIG_VQS; i++) {
		fake_driver_exit(&r->queues[i]);
		close(r->kick[i]);
		close(r->call[i]);
	}
	close(r->config_call);
	memory_exit(&r->mem);
	soft_net_exit(&r->net);
}

void soft_rig_set_vring(struct soft_rig *r, unsigned int index)
{
	struct error err = { 0 };
	struct vdpa_vring vring = {
		.size = r->size,
		.base = r->base[index],
		.desc = soft_rig_ring(index),
		.avail = soft_rig_ring(index) + 0x4000,
		.used = soft_rig_ring(index) + 0x8000,
		.kick_fd = r->kick[index],
		.call_fd = r->call[index],
	};
	int ret = r->vdpa->ops->set_vring(r->vdpa, index, &vring, &err);

	if (ret == 0)
		ret = r->vdpa->ops->enable_vring(r->vdpa, index, true, &err);
	if (ret < 0)
		log_error("%s", err.text);
	assert(ret == 0);
}

void soft_rig_start(struct soft_rig *r, uint64_t features)
{
	const struct vdpa_ops *ops = r->vdpa->ops;
	struct error err = { 0 };
	unsigned int n;
	int ret;

	r->features = (features & r->vdpa->features) | VIRTIO_BIT(VIRTIO_F_VERSION_1);
	n = soft_rig_ctrl(r) + (virtio_has(r->features, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0);
	assert(ops->set_status(r->vdpa, 1, &err) == 0 && ops->set_status(r->vdpa, 3, &err) == 0);
	assert(ops->set_features(r->vdpa, r->features, &err) == 0 && ops->set_status(r->vdpa, 11, &err) == 0);
	for (unsigned int i = 0; i < n; i++) {
		const struct vring_setup setup = {
			.size = r->size,
			.desc = soft_rig_ring(i),
			.avail = soft_rig_ring(i) + 0x4000,
			.used = soft_rig_ring(i) + 0x8000,
			.event_idx = virtio_has(r->features, VIRTIO_RING_F_EVENT_IDX),
			.indirect = virtio_has(r->features, VIRTIO_RING_F_INDIRECT_DESC),
		};

		fake_driver_init(&r->queues[i], &r->mem, &setup);
		if (r->base[i])
			fake_driver_start_at(&r->queues[i], r->base[i]);
		soft_rig_set_vring(r, i);
	}
	assert(ops->set_config_call(r->vdpa, r->config_call, &err) == 0);
	ret = ops->set_status(r->vdpa, 15, &err);
	if (ret < 0)
		log_error("%s", err.text);
	assert(ret == 0);
}

void soft_rig_reset(struct soft_rig *r)
{
	struct error err = { 0 };

	assert(r->vdpa->ops->set_status(r->vdpa, 0, &err) == 0);
	for (unsigned int i = 0; i < SOFT_RIG_VQS; i++) {
		fake_driver_exit(&r->queues[i]);
		r->next_buffer[i] = 0;
		soft_rig_calls(r, i);
	}
}

void soft_settle(struct soft_rig *r)
{
	struct error err = { 0 };
	uint8_t status;

	/* Events are served in the order in which they came; the second call comes after what the first
	 * found. */
	for (unsigned int i = 0; i < 3; i++) {
		int ret = r->vdpa->ops->get_status(r->vdpa, &status, &err);

		(void)ret;
	}
}

void soft_rig_kick(struct soft_rig *r, unsigned int index)
{
	uint64_t one = 1;

	assert(write(r->kick[index], &one, sizeof(one)) == sizeof(one));
}

unsigned int soft_rig_calls(struct soft_rig *r, unsigned int index)
{
	uint64_t count = 0;

	return read(r->call[index], &count, sizeof(count)) > 0 ? (unsigned int)count : 0;
}

struct soft *soft_rig_device(struct soft_rig *r)
{
	return container_of(r->vdpa, struct soft, vdpa);
}

uint64_t soft_rig_counter(struct soft_rig *r, unsigned int queue, unsigned int which)
{
	soft_settle(r);
	return soft_rig_device(r)->queues[queue].counters[which];
}

static uint64_t next_buffer(struct soft_rig *r, unsigned int index)
{
	return RIG_BUFFERS + 0x100000ull * index + RIG_BUFFER * (uint64_t)(r->next_buffer[index]++ % 64);
}

void soft_rig_post(struct soft_rig *r, unsigned int pair, unsigned int n, uint32_t len)
{
	unsigned int index = 2 * pair;

	while (n-- > 0) {
		struct virtio_seg seg = { next_buffer(r, index), len };
		int head = fake_driver_add(&r->queues[index], &seg, 0, 1);

		assert(head >= 0 && head < 64);
		r->buffer_of[index][head] = seg.addr;
	}
	if (fake_driver_publish(&r->queues[index]))
		soft_rig_kick(r, index);
}

int soft_rig_received(struct soft_rig *r, unsigned int pair, void *hdr, void *frame, uint32_t size)
{
	uint32_t header_len = soft_rig_header(r), len, total = 0;
	unsigned int index = 2 * pair, n = 1;
	static uint8_t packet[1 << 17];
	uint16_t head;

	for (unsigned int i = 0; i < n; i++) {
		int ret = fake_driver_get_used(&r->queues[index], &head, &len);

		assert(ret >= 0 && (ret == 1 || i == 0));
		if (ret == 0)
			return -1;
		assert(memory_read(&r->mem, r->buffer_of[index][head], packet + total, len) == 0);
		total += len;
		if (i == 0) {
			assert(len >= header_len);
			n = get_le16(packet + 10);
		}
	}
	assert(total - header_len <= size);
	if (hdr)
		memcpy(hdr, packet, header_len);
	memcpy(frame, packet + header_len, total - header_len);
	return (int)(total - header_len);
}

void soft_rig_send(struct soft_rig *r, unsigned int pair, const void *hdr, const void *frame, uint32_t len)
{
	static const uint8_t zero[20];
	unsigned int index = 2 * pair + 1;
	uint64_t at = next_buffer(r, index);
	/* Header and frame share the first piece, for the device to find that out. */
	struct virtio_seg segs[2] = { { at, soft_rig_header(r) + 4 },
				      { at + soft_rig_header(r) + 4, len - 4 } };

	assert(memory_write(&r->mem, at, hdr ? hdr : zero, soft_rig_header(r)) == 0);
	assert(memory_write(&r->mem, at + soft_rig_header(r), frame, len) == 0);
	assert(fake_driver_add(&r->queues[index], segs, 2, 0) >= 0);
	if (fake_driver_publish(&r->queues[index]))
		soft_rig_kick(r, index);
}

unsigned int soft_rig_reap(struct soft_rig *r, unsigned int pair)
{
	unsigned int n = 0;
	uint16_t head;
	uint32_t len;

	while (fake_driver_get_used(&r->queues[2 * pair + 1], &head, &len) == 1)
		n++;
	return n;
}

int soft_rig_command(struct soft_rig *r, uint8_t class, uint8_t command, const void *data, uint32_t len,
		     void *reply, uint32_t *reply_len)
{
	const uint8_t head[2] = { class, command };
	struct virtio_seg segs[4] = {
		{ RIG_COMMAND, 2 }, { RIG_COMMAND + 2, len }, { RIG_REPLY, 1 }, { RIG_REPLY + 1, 8192 }
	};
	struct fake_driver *q = &r->queues[soft_rig_ctrl(r)];
	struct pollfd pfd = { .fd = r->call[soft_rig_ctrl(r)], .events = POLLIN };
	uint8_t ack = 0xff;
	uint16_t id;
	uint32_t used;

	assert(memory_write(&r->mem, RIG_COMMAND, head, 2) == 0);
	if (len == 0)
		segs[1] = segs[0];
	else
		assert(memory_write(&r->mem, RIG_COMMAND + 2, data, len) == 0);
	assert(fake_driver_add(q, len ? segs : segs + 1, len ? 2 : 1, reply ? 2 : 1) >= 0);
	soft_rig_calls(r, soft_rig_ctrl(r));
	fake_driver_enable_interrupts(q);
	if (fake_driver_publish(q))
		soft_rig_kick(r, soft_rig_ctrl(r));
	if (poll(&pfd, 1, FAKE_PATIENCE_MS) != 1 || fake_driver_get_used(q, &id, &used) != 1)
		return -1;
	assert(memory_read(&r->mem, RIG_REPLY, &ack, 1) == 0 && used >= 1);
	if (reply) {
		*reply_len = used - 1;
		assert(used == 1 || memory_read(&r->mem, RIG_REPLY + 1, reply, used - 1) == 0);
	} else {
		assert(used == 1);
	}
	return ack;
}
