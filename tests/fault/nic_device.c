/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA device that is slow, or fails: see the header. */
#include "tests/fault/nic_device.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "devices/vdpa/soft/device.h"
#include "tests/fault/nic_random.h"

static struct nic_device *nic_device_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct nic_device, vdpa);
}

static bool nic_counts_down(_Atomic unsigned int *n)
{
	unsigned int v = *n;

	while (v > 0 && !atomic_compare_exchange_weak(n, &v, v - 1))
		;
	return v == 1;
}

/* What each call begins with. */
static int nic_called(struct nic_device *d, enum nic_call which, struct error *err)
{
	unsigned int ms = d->max_ms;
	bool fails = nic_counts_down(&d->fails[NIC_CALL_ANY]);

	if (ms > 0)
		poll(NULL, 0, (int)(nic_random(&d->random) % (ms + 1)));
	if (which != NIC_CALL_ANY)
		fails |= nic_counts_down(&d->fails[which]);
	if (!fails)
		return 0;
	d->n_failed++;
	error_add(err, "%s: the call fails", d->vdpa.name);
	return -EIO;
}

#define NIC_FORWARD(which, call)                                                                             \
	do {                                                                                                 \
		struct nic_device *d = nic_device_of(vdpa);                                                  \
		const struct vdpa_ops *ops = d->soft->ops;                                                   \
		int ret = nic_called(d, which, err);                                                         \
                                                                                                             \
		return ret < 0 ? ret : ops->call;                                                            \
	} while (0)

static int nic_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, vring_size(d->soft, index, size, err));
}

static int nic_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_features(d->soft, features, err));
}

static int nic_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_status(d->soft, status, err));
}

static int nic_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, get_status(d->soft, status, err));
}

static int nic_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, get_config(d->soft, offset, buf, len, err));
}

static int nic_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_config_call(d->soft, fd, err));
}

static int nic_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, map(d->soft, regions, n, err));
}

static int nic_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, unmap(d->soft, regions, n, err));
}

static int nic_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			 struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_vring(d->soft, index, vring, err));
}

static int nic_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, enable_vring(d->soft, index, on, err));
}

static int nic_set_vring_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_vring_call(d->soft, index, fd, err));
}

static int nic_vring_group(struct vdpa *vdpa, unsigned int index, unsigned int *group, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, vring_group(d->soft, index, group, err));
}

static int nic_set_group_asid(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, set_group_asid(d->soft, group, asid, err));
}

static int nic_suspend(struct vdpa *vdpa, struct error *err)
{
	NIC_FORWARD(NIC_CALL_SUSPEND, suspend(d->soft, err));
}

static int nic_resume(struct vdpa *vdpa, struct error *err)
{
	NIC_FORWARD(NIC_CALL_ANY, resume(d->soft, err));
}

static int nic_get_vring_base(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err)
{
	NIC_FORWARD(NIC_CALL_BASE, get_vring_base(d->soft, index, base, err));
}

static void nic_close(struct vdpa *vdpa)
{
	struct nic_device *d = nic_device_of(vdpa);

	d->soft->ops->close(d->soft);
	free(d);
}

static const struct vdpa_ops nic_ops = {
	.vring_size = nic_vring_size,
	.set_features = nic_set_features,
	.set_status = nic_set_status,
	.get_status = nic_get_status,
	.get_config = nic_get_config,
	.set_config_call = nic_set_config_call,
	.map = nic_map,
	.unmap = nic_unmap,
	.set_vring = nic_set_vring,
	.enable_vring = nic_enable_vring,
	.set_vring_call = nic_set_vring_call,
	.vring_group = nic_vring_group,
	.set_group_asid = nic_set_group_asid,
	.suspend = nic_suspend,
	.resume = nic_resume,
	.get_vring_base = nic_get_vring_base,
	.close = nic_close,
};

struct nic_device *nic_device_new(struct vdpa *soft, uint64_t seed)
{
	struct nic_device *d = calloc(1, sizeof(*d));

	assert(d);
	d->soft = soft;
	d->vdpa = *soft;
	d->vdpa.ops = &nic_ops;
	d->random = seed;
	return d;
}

void nic_device_heal(struct nic_device *d)
{
	d->max_ms = 0;
	for (unsigned int i = 0; i < NIC_N_CALLS; i++)
		d->fails[i] = 0;
	soft_vdpa_misbehave(d->soft, &(struct soft_faults){ 0 });
}

/* What the device was told */

static int nic_compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool nic_same_macs(const uint64_t *has, uint32_t n_has, const uint8_t (*macs)[6], unsigned int n)
{
	static uint64_t keys[SOFT_MAX_MACS];

	if (n_has != n)
		return false;
	for (unsigned int i = 0; i < n; i++)
		keys[i] = soft_mac_key(macs[i]);
	qsort(keys, n, sizeof(*keys), nic_compare_keys);
	return memcmp(keys, has, n * sizeof(*keys)) == 0;
}

static const char *nic_filter_diff(const struct soft *soft, const struct model_nic *m)
{
	const struct soft_filter *f = &soft->filter;

	for (unsigned int i = 0; i < SOFT_N_RX_MODES; i++) {
		/* A device that was told nothing lets everything in. */
		bool mode = m->modes[i] == MODEL_UNKNOWN ? i == VIRTIO_NET_CTRL_RX_PROMISC : m->modes[i] != 0;

		if (f->mode[i] != mode)
			return "RX modes";
	}
	if (memcmp(soft->config + SOFT_CONFIG(mac), m->mac, 6) != 0)
		return "MAC";
	if (!nic_same_macs(f->unicast, f->n_unicast, m->unicast, m->n_unicast))
		return "unicast table";
	if (!nic_same_macs(f->multicast, f->n_multicast, m->multicast, m->n_multicast))
		return "multicast table";
	for (unsigned int vid = 0; vid < SOFT_N_VLANS; vid++) {
		if ((f->vlans[vid / 64] >> vid % 64 & 1) != m->vlans[vid])
			return "VLANs";
	}
	return NULL;
}

static const char *nic_steering_diff(const struct soft *soft, const struct model_nic *m)
{
	const struct soft_steering *s = &soft->steering;
	uint8_t key[SOFT_RSS_KEY] = { 0 };

	if (s->rss != (m->steering == MODEL_RSS) || s->n_tx != m->pairs || (!s->rss && s->n_rx != m->pairs))
		return "queue pairs";
	if (s->rss && (s->mask != m->rss_len - 1 || s->unclassified != m->unclassified))
		return "RSS";
	for (unsigned int i = 0; s->rss && i < m->rss_len; i++) {
		if (s->table[i] != m->rss[i])
			return "RSS table";
	}
	memcpy(key, m->hash_key, min_u64(m->hash_key_len, sizeof(key)));
	if (s->hash_types != m->hash_types || memcmp(s->key, key, sizeof(key)) != 0)
		return "hash";
	if (s->tunnel_types != model_nic_value(m, VIRTIO_NET_CTRL_HASH_TUNNEL, 0))
		return "hash of tunnels";
	return NULL;
}

const char *nic_device_diff(struct nic_device *d, const struct model_nic *m)
{
	const struct soft *soft = container_of(d->soft, struct soft, vdpa);
	const char *diff = nic_filter_diff(soft, m);

	if (!diff)
		diff = nic_steering_diff(soft, m);
	if (!diff && soft->offloads != model_nic_value(m, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0))
		diff = "offloads";
	for (unsigned int i = 0; !diff && i < 2 * soft->n_pairs; i++) {
		if (soft->queues[i].coalesce.max_packets != m->coal[i][0] ||
		    soft->queues[i].coalesce.max_usecs != m->coal[i][1])
			diff = "coalescing";
	}
	return diff;
}
