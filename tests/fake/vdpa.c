/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA NIC for tests: see the header. */
#define _GNU_SOURCE
#include "tests/fake/vdpa.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/net/cvq/cvq.h"

#define BIT VIRTIO_BIT

const struct fake_vdpa_spec fake_vdpa_default = {
	.name = "/dev/fake-vdpa",
	.features = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
		    BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MAC) |
		    BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
		    BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
		    BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) |
		    BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		    BIT(VIRTIO_NET_F_HASH_REPORT) | BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_NOTF_COAL) |
		    BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | BIT(VIRTIO_NET_F_DEVICE_STATS) |
		    BIT(VIRTIO_NET_F_HASH_TUNNEL) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) |
		    BIT(VIRTIO_RING_F_EVENT_IDX),
	.n_pairs = 2,
	.ring_size = 64,
	.ctrl_ring_size = 64,
	.mtu = 1500,
	.mac = { 0x52, 0x54, 0, 0, 0, 1 },
	.rss_max_table = 128,
	.tunnel_types = 0x1ff,
	.stats_types = 0x1000f000f,
	.maps_persist = true,
};

const struct fake_vdpa_spec fake_vdpa_plain = {
	.name = "/dev/plain",
	.features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_STATUS) |
		    BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_RING_F_EVENT_IDX),
	.n_pairs = 1,
	.ring_size = 64,
	.ctrl_ring_size = 64,
	.mtu = 1500,
	.mac = { 0x52, 0x54, 0, 0, 0, 1 },
};

static struct fake_vdpa *fake_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct fake_vdpa, vdpa);
}

static int fake_gone(struct fake_vdpa *f, struct error *err)
{
	if (f->faults.gone) {
		error_add(err, "%s: the device is gone", f->spec.name);
		return -ENODEV;
	}
	return 0;
}

static void fake_signal(int fd)
{
	uint64_t one = 1;

	assert(write(fd, &one, sizeof(one)) == sizeof(one));
}

/* Returns the host address of a device's address, and asserts that all bytes are mapped. */
static void *fake_at(struct fake_vdpa *f, uint64_t iova, uint64_t len)
{
	assert(!f->maps_lost && len > 0);
	for (unsigned int i = 0; i < f->n_regions; i++) {
		const struct vdpa_region *r = &f->regions[i];

		if (iova >= r->iova && iova - r->iova < r->len && len <= r->len - (iova - r->iova))
			return (uint8_t *)r->hva + (iova - r->iova);
	}
	assert(!"an address is not mapped");
	return NULL;
}

unsigned int fake_vdpa_ctrl_index(const struct fake_vdpa *f)
{
	return f->features & (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS)) ? 2 * f->spec.n_pairs : 2;
}

uint32_t fake_vdpa_header_len(const struct fake_vdpa *f)
{
	return virtio_has(f->features, VIRTIO_NET_F_HASH_REPORT) ? 20 : 12;
}

/* Control commands */

/* Returns the bytes of the answer. */
static uint32_t fake_execute(struct fake_vdpa *f, const uint8_t *cmd, uint32_t len, uint8_t *reply)
{
	f->n_commands++;
	reply[0] = VIRTIO_NET_OK;
	if (f->faults.refuse_class == cmd[0] || f->faults.refuse_nth == f->n_commands) {
		reply[0] = f->faults.bad_ack >= 0 ? (uint8_t)f->faults.bad_ack : VIRTIO_NET_ERR;
		return 1;
	}
	if (cmd[0] == VIRTIO_NET_CTRL_ANNOUNCE) {
		put_le16(f->config + 6, get_le16(f->config + 6) & (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
		return 1;
	}
	len = model_nic_answer(&f->nic, cmd, len, reply);
	if (len == 1 && reply[0] == VIRTIO_NET_OK)
		memcpy(f->config, f->nic.mac, 6);
	return len;
}

static void fake_command(struct fake_vdpa *f, struct fake_vdpa_queue *q, const struct fake_element *e)
{
	static _Thread_local uint8_t cmd[CVQ_MAX_COMMAND];
	static _Thread_local uint8_t reply[MODEL_MAX_REPLY];
	uint32_t len = 0;

	assert(e->read_len <= sizeof(cmd) && e->n_write == 1);
	for (unsigned int i = 0; i < e->n_read; i++) {
		memcpy(cmd + len, fake_at(f, e->segs[i].addr, e->segs[i].len), e->segs[i].len);
		len += e->segs[i].len;
	}
	len = fake_execute(f, cmd, len, reply);
	assert(len <= e->segs[e->n_read].len);
	memcpy(fake_at(f, e->segs[e->n_read].addr, len), reply, len);
	assert(f->n_held < ARRAY_SIZE(f->held));
	f->held[f->n_held].id = f->faults.bad_ctrl_id ? q->ring.size : e->head;
	f->held[f->n_held++].len = f->faults.bare_ack ? 1 : len;
	f->faults.bad_ctrl_id = false;
}

static void fake_answer(struct fake_vdpa *f, struct fake_vdpa_queue *q)
{
	for (unsigned int i = 0; i < f->n_held; i++) {
		const struct fake_vdpa_held *h = &f->held[f->faults.reverse ? f->n_held - 1 - i : i];

		fake_device_complete(&q->ring, h->id, h->len);
	}
	f->n_held = 0;
	if (fake_device_publish(&q->ring)) {
		q->n_calls++;
		fake_signal(q->vring.call_fd);
	}
}

static void fake_serve_ctrl(struct fake_vdpa *f)
{
	struct fake_vdpa_queue *q = &f->queues[fake_vdpa_ctrl_index(f)];
	struct fake_element e;
	int ret;

	if (f->faults.gone || !q->live)
		return;
	do {
		fake_device_disable_kicks(&q->ring);
		while ((ret = fake_device_take(&q->ring, &e)) == 1) {
			q->n_taken++;
			fake_command(f, q, &e);
			if (f->faults.answer_ms == 0 || f->faults.hold)
				continue;
			fake_vdpa_unlock(f);
			poll(NULL, 0, f->faults.answer_ms);
			fake_vdpa_lock(f);
			fake_answer(f, q);
		}
		assert(ret == 0);
	} while (fake_device_enable_kicks(&q->ring));
	if (!f->faults.hold)
		fake_answer(f, q);
}

static void *fake_ctrl_thread(void *arg)
{
	struct fake_vdpa *f = arg;
	struct pollfd fds[2];
	uint64_t count;

	fake_vdpa_lock(f);
	fds[0] = (struct pollfd){ .fd = f->ctrl_stop, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = f->queues[fake_vdpa_ctrl_index(f)].vring.kick_fd, .events = POLLIN };
	fake_vdpa_unlock(f);
	while (poll(fds, 2, -1) > 0 && !fds[0].revents) {
		if (read(fds[1].fd, &count, sizeof(count)) < 0)
			continue;
		fake_vdpa_lock(f);
		fake_serve_ctrl(f);
		fake_vdpa_unlock(f);
	}
	return NULL;
}

/* Life */

static const uint8_t *fake_table_at(void *opaque, uint64_t addr, uint64_t len)
{
	return fake_at(opaque, addr, len);
}

static unsigned int fake_waiting(struct fake_vdpa_queue *q)
{
	uint16_t first = q->ring.last_avail;
	struct fake_element e;
	unsigned int n = 0;

	while (fake_device_take(&q->ring, &e) == 1)
		n++;
	q->ring.last_avail = first;
	return n;
}

/* The caller empties an eventfd before it is given for kicks. */
static void fake_assert_no_kick(const struct fake_vdpa_queue *q)
{
	struct pollfd kick = { .fd = q->vring.kick_fd, .events = POLLIN };

	assert(poll(&kick, 1, 0) == 0);
}

static void fake_start(struct fake_vdpa *f)
{
	for (unsigned int i = 0; i < f->vdpa.n_vqs; i++) {
		struct fake_vdpa_queue *q = &f->queues[i];
		uint16_t size = q->vring.size;

		if (!q->set || !q->enabled)
			continue;
		fake_assert_no_kick(q);
		fake_device_init(&q->ring, fake_at(f, q->vring.desc, virtio_desc_bytes(size)),
				 fake_at(f, q->vring.avail, virtio_avail_bytes(size)),
				 fake_at(f, q->vring.used, virtio_used_bytes(size)), size,
				 virtio_has(f->features, VIRTIO_RING_F_EVENT_IDX));
		q->ring.last_avail = q->ring.used_idx = q->ring.published = q->vring.base;
		if (virtio_has(f->features, VIRTIO_RING_F_INDIRECT_DESC)) {
			q->ring.table_at = fake_table_at;
			q->ring.opaque = f;
		}
		q->live = true;
		q->n_at_start = fake_waiting(q);
	}
	model_nic_init(&f->nic, f->config, f->features & (BIT(1) | BIT(7) | BIT(8)));
	f->nic.n_data = fake_vdpa_ctrl_index(f);
	f->nic.stats_types = f->spec.stats_types;
	for (unsigned int i = 0; i < MODEL_MAX_QUEUES; i++) {
		for (unsigned int k = 0; k < 16; k++)
			f->nic.counters[i][k] = f->spec.counted;
	}
	f->n_commands = 0;
	f->n_held = 0;
	if (virtio_has(f->features, VIRTIO_NET_F_CTRL_VQ)) {
		assert(f->queues[fake_vdpa_ctrl_index(f)].live);
		f->ctrl_running = true;
		assert(pthread_create(&f->ctrl_thread, NULL, fake_ctrl_thread, f) == 0);
	}
}

static void fake_stop(struct fake_vdpa *f)
{
	uint64_t count;

	if (f->ctrl_running) {
		fake_signal(f->ctrl_stop);
		fake_vdpa_unlock(f);
		pthread_join(f->ctrl_thread, NULL);
		fake_vdpa_lock(f);
		assert(read(f->ctrl_stop, &count, sizeof(count)) == sizeof(count));
	}
	f->ctrl_running = false;
	for (unsigned int i = 0; i < FAKE_VDPA_MAX_VQS; i++) {
		if (f->queues[i].live && f->faults.last_moment)
			fake_device_publish(&f->queues[i].ring);
		if (f->queues[i].live)
			fake_device_exit(&f->queues[i].ring);
		f->queues[i] = (struct fake_vdpa_queue){ 0 };
	}
	f->features = 0;
	f->config_call = -1;
	f->n_resets++;
	f->maps_lost = !f->spec.maps_persist && f->n_regions > 0;
	memcpy(f->config, f->spec.mac, 6);
}

static int fake_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	assert(index < vdpa->n_vqs);
	*size = index == 2 * f->spec.n_pairs ? f->spec.ctrl_ring_size : f->spec.ring_size;
	return fake_gone(f, err);
}

static int fake_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	assert((features & ~vdpa->features) == 0 && virtio_has(features, VIRTIO_F_VERSION_1));
	fake_vdpa_lock(f);
	assert(f->status == (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
	f->features = features;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);
	uint8_t old;
	int ret;

	fake_vdpa_lock(f);
	old = f->status;
	ret = fake_gone(f, err);
	assert(status == 0 || (old & ~VIRTIO_CONFIG_S_NEEDS_RESET & ~status) == 0);
	if (ret == 0 && f->faults.refuse_features_ok && (status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		error_add(err, "%s: status 0x%x was not taken", f->spec.name, status);
		ret = -EIO;
	}
	if (status == 0) {
		f->status = 0;
		fake_stop(f);
	} else if (ret == 0) {
		f->status = status;
		if ((status & ~old) & VIRTIO_CONFIG_S_DRIVER_OK)
			fake_start(f);
	}
	fake_vdpa_unlock(f);
	return ret;
}

static int fake_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	*status = f->status;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	assert(offset <= FAKE_VDPA_CONFIG && len <= FAKE_VDPA_CONFIG - offset);
	fake_vdpa_lock(f);
	memcpy(buf, f->config + offset, len);
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	f->config_call = fd;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);
	int ret = fake_gone(f, err);

	if (ret == 0 && f->faults.refuse_map) {
		error_add(err, "%s: cannot map memory", f->spec.name);
		ret = -ENOMEM;
	}
	fake_vdpa_lock(f);
	assert(f->n_regions + n <= FAKE_VDPA_REGIONS);
	for (unsigned int i = 0; i < n && ret == 0; i++) {
		assert((regions[i].iova | regions[i].len | (uintptr_t)regions[i].hva) % PAGE_SIZE == 0);
		for (unsigned int k = 0; k < f->n_regions; k++)
			assert(regions[i].iova + regions[i].len <= f->regions[k].iova ||
			       f->regions[k].iova + f->regions[k].len <= regions[i].iova);
		f->regions[f->n_regions++] = regions[i];
	}
	f->maps_lost = false;
	fake_vdpa_unlock(f);
	return ret;
}

static int fake_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = 0;

		while (k < f->n_regions && memcmp(&regions[i], &f->regions[k], sizeof(*regions)) != 0)
			k++;
		assert(k < f->n_regions);
		f->regions[k] = f->regions[--f->n_regions];
	}
	f->maps_lost = f->maps_lost && f->n_regions > 0;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			  struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	assert(index < vdpa->n_vqs && is_power_of_2(vring->size) && !f->queues[index].set);
	assert((f->status & VIRTIO_CONFIG_S_FEATURES_OK) && !(f->status & VIRTIO_CONFIG_S_DRIVER_OK));
	/* As QEMU's NIC: without MQ its control queue, with what that can take, is where a pair was. */
	assert(vring->size <=
	       (index == fake_vdpa_ctrl_index(f) ? f->spec.ctrl_ring_size : f->spec.ring_size));
	f->queues[index].vring = *vring;
	f->queues[index].set = true;
	fake_assert_no_kick(&f->queues[index]);
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	assert(index < vdpa->n_vqs && f->queues[index].set);
	f->queues[index].enabled = on;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_set_vring_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	assert(index < vdpa->n_vqs && f->queues[index].set);
	f->queues[index].vring.call_fd = fd;
	fake_vdpa_unlock(f);
	return fake_gone(f, err);
}

static int fake_map_doorbell(struct vdpa *vdpa, unsigned int index, void **page, struct error *err)
{
	int fd = fake_of(vdpa)->doorbells;

	if (fd < 0)
		return -ENOTSUP;
	*page = mmap(NULL, PAGE_SIZE, PROT_WRITE, MAP_SHARED, fd, (off_t)(index * PAGE_SIZE));
	assert(*page != MAP_FAILED);
	return 0;
}

static void fake_close(struct vdpa *vdpa)
{
	struct fake_vdpa *f = fake_of(vdpa);

	fake_vdpa_lock(f);
	/* Whether or not it could be reset, the device has memory until now. */
	for (unsigned int i = 0; i < f->n_regions; i++)
		assert(msync(f->regions[i].hva, f->regions[i].len, MS_ASYNC) == 0);
	fake_stop(f);
	f->closed = true;
	fake_vdpa_unlock(f);
}

static const struct vdpa_ops fake_ops = {
	.vring_size = fake_vring_size,
	.set_features = fake_set_features,
	.set_status = fake_set_status,
	.get_status = fake_get_status,
	.get_config = fake_get_config,
	.set_config_call = fake_set_config_call,
	.map = fake_map,
	.unmap = fake_unmap,
	.set_vring = fake_set_vring,
	.enable_vring = fake_enable_vring,
	.set_vring_call = fake_set_vring_call,
	.map_doorbell = fake_map_doorbell,
	.close = fake_close,
};

struct fake_vdpa *fake_vdpa_new(const struct fake_vdpa_spec *spec)
{
	struct fake_vdpa *f = calloc(1, sizeof(*f));

	assert(f && spec->n_pairs <= FAKE_VDPA_MAX_PAIRS);
	f->spec = *spec;
	f->faults.refuse_class = -1;
	f->faults.bad_ack = -1;
	f->vdpa = (struct vdpa){
		.ops = &fake_ops,
		.name = f->spec.name,
		.advice = { .mac = "move the switch", .mtu = "turn the screw", .pairs = "pull the lever" },
		.features = spec->features,
		.config_len = FAKE_VDPA_CONFIG,
		.n_vqs = 2 * spec->n_pairs + (virtio_has(spec->features, VIRTIO_NET_F_CTRL_VQ) ? 1 : 0),
		.iova_last = UINT64_MAX,
		.maps_persist = spec->maps_persist,
		.in_order = spec->in_order,
	};
	memcpy(f->config, spec->mac, 6);
	put_le16(f->config + 6, VIRTIO_NET_S_LINK_UP);
	put_le16(f->config + 8, (uint16_t)spec->n_pairs);
	put_le16(f->config + 10, spec->mtu);
	f->config[17] = 40;
	put_le16(f->config + 18, spec->rss_max_table);
	put_le32(f->config + 20, 0x3f);
	put_le32(f->config + 24, spec->tunnel_types);
	f->config_call = -1;
	f->doorbells = -1;
	if (spec->doorbells) {
		f->doorbells = memfd_create("doorbells", MFD_CLOEXEC);
		assert(f->doorbells >= 0);
		assert(ftruncate(f->doorbells, (off_t)(FAKE_VDPA_MAX_VQS * PAGE_SIZE)) == 0);
	}
	pthread_mutex_init(&f->lock, NULL);
	f->ctrl_stop = eventfd(0, EFD_CLOEXEC);
	assert(f->ctrl_stop >= 0);
	return f;
}

void fake_vdpa_free(struct fake_vdpa *f)
{
	assert(f->closed);
	close(f->ctrl_stop);
	if (f->doorbells >= 0)
		close(f->doorbells);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Functions for tests */

bool fake_vdpa_take(struct fake_vdpa *f, unsigned int queue, struct fake_element *e)
{
	struct fake_vdpa_queue *q = &f->queues[queue];
	struct pollfd kick = { .events = POLLIN };
	uint64_t count;
	int ret;

	do {
		fake_vdpa_lock(f);
		assert(q->live);
		kick.fd = q->vring.kick_fd;
		fake_device_disable_kicks(&q->ring);
		ret = fake_device_take(&q->ring, e);
		if (ret == 0 && fake_device_enable_kicks(&q->ring))
			ret = fake_device_take(&q->ring, e);
		assert(ret >= 0);
		q->n_taken += (unsigned int)ret;
		fake_vdpa_unlock(f);
	} while (ret == 0 && poll(&kick, 1, 1000) == 1 && read(kick.fd, &count, sizeof(count)) > 0);
	return ret == 1;
}

void fake_vdpa_use(struct fake_vdpa *f, unsigned int queue, uint32_t id, uint32_t len)
{
	fake_vdpa_lock(f);
	fake_device_complete(&f->queues[queue].ring, id, len);
	fake_vdpa_unlock(f);
}

void fake_vdpa_publish(struct fake_vdpa *f, unsigned int queue)
{
	struct fake_vdpa_queue *q = &f->queues[queue];

	fake_vdpa_lock(f);
	if (fake_device_publish(&q->ring)) {
		q->n_calls++;
		fake_signal(q->vring.call_fd);
	}
	fake_vdpa_unlock(f);
}

/* Copies bytes into a list of segments, or out of it. */
static void fake_copy(struct fake_vdpa *f, const struct virtio_seg *segs, unsigned int n, uint8_t *data,
		      uint32_t len, bool write)
{
	fake_vdpa_lock(f);
	for (unsigned int i = 0; i < n && len > 0; i++) {
		uint32_t part = (uint32_t)min_u64(segs[i].len, len);
		void *p = fake_at(f, segs[i].addr, part);

		memcpy(write ? p : data, write ? data : p, part);
		data += part;
		len -= part;
	}
	fake_vdpa_unlock(f);
	assert(len == 0);
}

void fake_vdpa_write(struct fake_vdpa *f, const struct virtio_seg *segs, unsigned int n, const void *data,
		     uint32_t len)
{
	fake_copy(f, segs, n, (uint8_t *)data, len, true);
}

bool fake_vdpa_receive(struct fake_vdpa *f, unsigned int pair, const void *data, uint32_t len)
{
	unsigned int queue = 2 * pair, n = 0;
	uint32_t total = fake_vdpa_header_len(f) + len, done = 0;
	uint8_t *packet = calloc(1, total);
	struct fake_device *ring = &f->queues[queue].ring;
	struct fake_element e;
	uint64_t room = 0;
	uint16_t first;

	assert(packet && f->queues[queue].live);
	memcpy(packet + fake_vdpa_header_len(f), data, len);
	fake_vdpa_lock(f);
	first = ring->last_avail;
	while (room < total && fake_device_take(ring, &e) == 1) {
		room += e.write_len;
		n++;
	}
	ring->last_avail = first;
	fake_vdpa_unlock(f);
	if (room < total || (n > 1 && !virtio_has(f->features, VIRTIO_NET_F_MRG_RXBUF))) {
		free(packet);
		return false;
	}
	put_le16(packet + 10, (uint16_t)n);
	while (n-- > 0) {
		uint32_t part;

		assert(fake_vdpa_take(f, queue, &e));
		part = (uint32_t)min_u64(e.write_len, total - done);
		fake_vdpa_write(f, e.segs + e.n_read, e.n_write, packet + done, part);
		fake_vdpa_use(f, queue, e.head, part);
		done += part;
	}
	fake_vdpa_publish(f, queue);
	free(packet);
	return true;
}

int fake_vdpa_sent(struct fake_vdpa *f, unsigned int pair, void *data, uint32_t size)
{
	uint32_t header_len = fake_vdpa_header_len(f);
	unsigned int queue = 2 * pair + 1;
	struct fake_element e;
	uint8_t *packet;
	uint32_t len;

	if (!fake_vdpa_take(f, queue, &e))
		return -1;
	len = (uint32_t)e.read_len;
	assert(len >= header_len && len - header_len <= size && e.n_write == 0);
	packet = malloc(len);
	assert(packet);
	fake_copy(f, e.segs, e.n_read, packet, len, false);
	memcpy(data, packet + header_len, len - header_len);
	free(packet);
	fake_vdpa_use(f, queue, e.head, 0);
	fake_vdpa_publish(f, queue);
	return (int)(len - header_len);
}

unsigned int fake_vdpa_waiting(struct fake_vdpa *f, unsigned int queue)
{
	unsigned int n;

	fake_vdpa_lock(f);
	assert(f->queues[queue].live);
	n = fake_waiting(&f->queues[queue]);
	fake_vdpa_unlock(f);
	return n;
}

void fake_vdpa_release(struct fake_vdpa *f)
{
	fake_vdpa_lock(f);
	f->faults.hold = false;
	if (f->queues[fake_vdpa_ctrl_index(f)].live)
		fake_answer(f, &f->queues[fake_vdpa_ctrl_index(f)]);
	fake_vdpa_unlock(f);
}

void fake_vdpa_set_config_status(struct fake_vdpa *f, uint16_t status)
{
	fake_vdpa_lock(f);
	put_le16(f->config + 6, status);
	if (f->config_call >= 0)
		fake_signal(f->config_call);
	fake_vdpa_unlock(f);
}

void fake_vdpa_needs_reset(struct fake_vdpa *f)
{
	fake_vdpa_lock(f);
	f->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	fake_signal(f->config_call);
	fake_vdpa_unlock(f);
}
