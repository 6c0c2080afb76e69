/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA device behind the NIC: mapped, started, reset. */
#include "devices/net/backend.h"

#include <errno.h>

#include "vmm/loop.h"

#define NET_STATUS_DRIVER      (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define NET_STATUS_FEATURES_OK (NET_STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)

int net_backend_check_reach(const struct net_backend *b, struct error *err)
{
	uint64_t last = b->path->window.iova + b->path->window.len - 1;

	if (last <= b->vdpa->iova_last && b->vdpa->iova_first == 0)
		return 0;
	error_add(err,
		  "%s: the device reaches addresses 0x%llx to 0x%llx, this guest needs 0 to 0x%llx: "
		  "give the guest less memory",
		  b->vdpa->name, (unsigned long long)b->vdpa->iova_first,
		  (unsigned long long)b->vdpa->iova_last, (unsigned long long)last);
	return -ERANGE;
}

/* Of the window, what only shadow rings need. */
static struct vdpa_region net_window_region(const struct net_backend *b)
{
	const struct net_window *w = &b->path->window;

	return (struct vdpa_region){ w->iova, b->ctrl_asid ? w->data_len : w->len, w->hva, 0 };
}

/* All that is mapped without it. */
static unsigned int net_regions(const struct net_backend *b,
				struct vdpa_region regions[MEMORY_MAX_REGIONS + 2])
{
	const struct memory *m = b->path->memory;
	const struct net_window *w = &b->path->window;
	unsigned int n = 0;

	for (; n < m->n_regions; n++)
		regions[n] =
			(struct vdpa_region){ m->regions[n].gpa, m->regions[n].len, m->regions[n].hva, 0 };
	if (b->ctrl_asid)
		regions[n++] = (struct vdpa_region){ w->iova + w->data_len, w->len - w->data_len,
						     w->hva + w->data_len, b->ctrl_asid };
	return n;
}

int net_backend_map(struct net_backend *b, enum net_mapping want, struct error *err)
{
	const struct vdpa_ops *ops = b->vdpa->ops;
	struct vdpa_region regions[MEMORY_MAX_REGIONS + 2];
	struct vdpa_region window = net_window_region(b);
	unsigned int n = net_regions(b, regions);
	enum net_mapping had = b->mapping;
	int ret = 0;

	regions[n] = window;
	if (had == NET_MAP_STALE_MEMORY || had == NET_MAP_STALE_WINDOW) {
		ret = ops->unmap(b->vdpa, regions, n + (had == NET_MAP_STALE_WINDOW), err);
		b->mapping = had = NET_MAP_NOTHING;
	}
	if (ret < 0 || had == want)
		return ret;
	if (had == NET_MAP_NOTHING)
		ret = ops->map(b->vdpa, regions, n + (want == NET_MAP_WINDOW), err);
	else if (want == NET_MAP_WINDOW)
		ret = ops->map(b->vdpa, &window, 1, err);
	else
		ret = ops->unmap(b->vdpa, &window, 1, err);
	if (ret == 0)
		b->mapping = want;
	return ret;
}

int net_backend_begin(struct net_backend *b, uint64_t features, enum net_mapping mapping, struct error *err)
{
	const struct vdpa_ops *ops = b->vdpa->ops;
	int ret;

	b->started = true;
	b->features = features;
	ret = net_backend_map(b, mapping, err);
	if (ret == 0)
		ret = ops->set_status(b->vdpa, VIRTIO_CONFIG_S_ACKNOWLEDGE, err);
	if (ret == 0)
		ret = ops->set_status(b->vdpa, NET_STATUS_DRIVER, err);
	if (ret == 0)
		ret = ops->set_features(b->vdpa, features, err);
	if (ret == 0)
		ret = ops->set_status(b->vdpa, NET_STATUS_FEATURES_OK, err);
	return ret;
}

int net_backend_part(struct net_backend *b, unsigned int ctrl, struct error *err)
{
	const struct vdpa_ops *ops = b->vdpa->ops;
	unsigned int group, other;
	int ret;

	if (!b->ctrl_asid)
		return 0;
	ret = ops->vring_group(b->vdpa, ctrl, &group, err);
	for (unsigned int i = 0; ret == 0 && i < b->path->n_data; i++) {
		ret = ops->vring_group(b->vdpa, i, &other, err);
		if (ret == 0 && other == group) {
			error_add(err,
				  "%s: the control queue has no group of its own with these features: "
				  "give mode=shadow",
				  b->vdpa->name);
			ret = -ENOTSUP;
		}
	}
	return ret < 0 ? ret : ops->set_group_asid(b->vdpa, group, b->ctrl_asid, err);
}

int net_backend_set_ring(struct net_backend *b, unsigned int index, const struct vdpa_vring *vring,
			 struct error *err)
{
	int ret;

	loop_take(vring->kick_fd);
	ret = b->vdpa->ops->set_vring(b->vdpa, index, vring, err);
	return ret < 0 ? ret : b->vdpa->ops->enable_vring(b->vdpa, index, true, err);
}

int net_backend_go_live(struct net_backend *b, struct error *err)
{
	int ret = b->vdpa->ops->set_status(b->vdpa, NET_STATUS_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK, err);

	b->path->live = ret == 0;
	return ret;
}

int net_backend_check_alive(struct net_backend *b, struct error *err)
{
	uint8_t status = 0;
	int ret = b->vdpa->ops->get_status(b->vdpa, &status, err);

	if (ret < 0)
		return ret;
	if ((status & VIRTIO_CONFIG_S_NEEDS_RESET) || !(status & VIRTIO_CONFIG_S_DRIVER_OK)) {
		error_add(err, "the device has stopped (status 0x%x)", status);
		return -EIO;
	}
	return 0;
}

int net_backend_suspend(struct net_backend *b, struct error *err)
{
	return b->vdpa->ops->suspend(b->vdpa, err);
}

int net_backend_resume(struct net_backend *b, int ctrl, struct error *err)
{
	int ret = b->vdpa->ops->resume(b->vdpa, err);

	/* mlx5 stops its control queue at a suspension and does not start it again at the end of it. */
	if (ret == 0 && ctrl >= 0)
		ret = b->vdpa->ops->enable_vring(b->vdpa, (unsigned int)ctrl, true, err);
	return ret;
}

int net_backend_reset(struct net_backend *b, struct error *err)
{
	b->path->live = false;
	return b->vdpa->ops->set_status(b->vdpa, 0, err);
}

void net_backend_end(struct net_backend *b)
{
	b->started = b->path->live = false;
	if (b->vdpa->maps_persist)
		return;
	if (b->mapping == NET_MAP_MEMORY)
		b->mapping = NET_MAP_STALE_MEMORY;
	if (b->mapping == NET_MAP_WINDOW)
		b->mapping = NET_MAP_STALE_WINDOW;
}
