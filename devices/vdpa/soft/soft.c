/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA NIC in software: its operations, each of which runs on the device's own thread. */
#include "devices/vdpa/soft/device.h"

#include <errno.h>
#include <inttypes.h>

static struct soft_vdpa *soft_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct soft_vdpa, vdpa);
}

/* Calls to the device's thread */

struct soft_call {
	struct soft_vdpa *sv;
	int (*fn)(struct soft_vdpa *sv, void *arg, struct error *err);
	void *arg;
	struct error *err;
};

static int soft_call_run(void *arg)
{
	struct soft_call *call = arg;

	if (call->sv->faults.gone)
		return error_add(call->err, -ENODEV, "%s: the device is gone", call->sv->name);
	return call->fn(call->sv, call->arg, call->err);
}

static int soft_call(struct vdpa *vdpa, int (*fn)(struct soft_vdpa *, void *, struct error *), void *arg,
		     struct error *err)
{
	struct soft_call call = { .sv = soft_of(vdpa), .fn = fn, .arg = arg, .err = err };

	return loop_call(&call.sv->loop, soft_call_run, &call);
}

/* Features, status, configuration */

static int soft_set_features_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	uint64_t features = *(uint64_t *)arg;

	if ((features & ~sv->vdpa.features) || !virtio_has(features, VIRTIO_F_VERSION_1) ||
	    (sv->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return error_add(err, -EINVAL,
				 "%s: features 0x%" PRIx64 " of 0x%" PRIx64 " cannot be set in status 0x%x",
				 sv->name, features, sv->vdpa.features, sv->status);
	sv->features = features;
	return 0;
}

static int soft_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	return soft_call(vdpa, soft_set_features_call, &features, err);
}

static int soft_set_status_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	uint8_t status = *(uint8_t *)arg, added = status & (uint8_t)~sv->status;
	int ret = 0;

	if (status == 0) {
		soft_reset(sv);
		return 0;
	}
	if ((sv->status & ~status & ~VIRTIO_CONFIG_S_NEEDS_RESET) ||
	    ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FEATURES_OK)) ||
	    ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !virtio_has(sv->features, VIRTIO_F_VERSION_1)))
		return error_add(err, -EIO, "%s: the device does not take status 0x%x after 0x%x", sv->name,
				 status, sv->status);
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		ret = soft_start(sv, err);
	if (ret == 0)
		sv->status = status | (sv->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	return ret;
}

static int soft_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	return soft_call(vdpa, soft_set_status_call, &status, err);
}

static int soft_get_status_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	*(uint8_t *)arg = sv->status;
	return 0;
}

static int soft_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	return soft_call(vdpa, soft_get_status_call, status, err);
}

struct soft_config_read {
	uint32_t offset, len;
	void *buf;
};

static int soft_get_config_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_config_read *r = arg;

	if (r->offset > SOFT_CONFIG_LEN || r->len > SOFT_CONFIG_LEN - r->offset)
		return error_add(err, -EINVAL, "%s: the device has %u bytes of configuration, not %u at %u",
				 sv->name, SOFT_CONFIG_LEN, r->len, r->offset);
	memcpy(r->buf, sv->config + r->offset, r->len);
	return 0;
}

static int soft_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err)
{
	struct soft_config_read r = { offset, len, buf };

	return soft_call(vdpa, soft_get_config_call, &r, err);
}

static int soft_set_config_call_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	sv->config_call = *(int *)arg;
	return 0;
}

static int soft_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	return soft_call(vdpa, soft_set_config_call_call, &fd, err);
}

/* Mappings */

struct soft_regions {
	const struct vdpa_region *regions;
	unsigned int n;
};

static const char *soft_map_one(struct soft_vdpa *sv, const struct vdpa_region *r)
{
	struct memory *space;

	if (r->asid >= SOFT_N_SPACES)
		return "there is no such address space";
	if (r->len == 0 || r->iova + r->len - 1 < r->iova)
		return "that is not a range of addresses";
	space = &sv->spaces[r->asid];
	for (unsigned int i = 0; i < space->n_regions; i++) {
		const struct memory_region *other = &space->regions[i];

		if (r->iova < other->gpa + other->len && other->gpa < r->iova + r->len)
			return "something is mapped there already";
	}
	if (space->n_regions == MEMORY_MAX_REGIONS)
		return "the device takes no more regions";
	space->regions[space->n_regions++] =
		(struct memory_region){ .gpa = r->iova, .len = r->len, .hva = r->hva };
	return NULL;
}

static int soft_map_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_regions *batch = arg;
	unsigned int before[SOFT_N_SPACES];

	for (unsigned int i = 0; i < SOFT_N_SPACES; i++)
		before[i] = sv->spaces[i].n_regions;
	for (unsigned int i = 0; i < batch->n; i++) {
		const struct vdpa_region *r = &batch->regions[i];
		const char *why = soft_map_one(sv, r);

		if (!why)
			continue;
		for (unsigned int k = 0; k < SOFT_N_SPACES; k++)
			sv->spaces[k].n_regions = before[k];
		return error_add(err, -EINVAL,
				 "%s: cannot map %" PRIu64 " bytes at 0x%" PRIx64 " (address space %" PRIu64
				 "): %s",
				 sv->name, r->len, r->iova, r->asid, why);
	}
	return 0;
}

static int soft_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	struct soft_regions batch = { regions, n };

	return soft_call(vdpa, soft_map_call, &batch, err);
}

static bool soft_unmap_one(struct soft_vdpa *sv, const struct vdpa_region *r)
{
	struct memory *space = &sv->spaces[r->asid < SOFT_N_SPACES ? r->asid : 0];

	for (unsigned int i = 0; r->asid < SOFT_N_SPACES && i < space->n_regions; i++) {
		if (space->regions[i].gpa != r->iova || space->regions[i].len != r->len)
			continue;
		space->regions[i] = space->regions[--space->n_regions];
		return true;
	}
	return false;
}

/* Rings are reached by their host addresses: none may be served whose memory is not the device's any more. */
static void soft_check_rings(struct soft_vdpa *sv)
{
	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		struct soft_queue *q = &sv->queues[i];
		const struct vring_setup *s = &q->vring.setup;

		if (!q->live || (memory_at(q->vring.mem, s->desc, virtio_desc_bytes(s->size)) &&
				 memory_at(q->vring.mem, s->avail, virtio_avail_bytes(s->size)) &&
				 memory_at(q->vring.mem, s->used, virtio_used_bytes(s->size))))
			continue;
		soft_queue_stop(q);
		/* A suspended device waits for new addresses. */
		if (!sv->suspended)
			soft_break(sv, i, "its ring is not mapped any more");
	}
}

static int soft_unmap_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_regions *batch = arg;
	int ret = 0;

	for (unsigned int i = 0; i < batch->n; i++) {
		if (!soft_unmap_one(sv, &batch->regions[i]))
			ret = error_add(err, -ENOENT, "%s: nothing is mapped at 0x%" PRIx64, sv->name,
					batch->regions[i].iova);
	}
	soft_check_rings(sv);
	return ret;
}

static int soft_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	struct soft_regions batch = { regions, n };

	return soft_call(vdpa, soft_unmap_call, &batch, err);
}

/* Virtqueues */

static int soft_check_index(const struct soft_vdpa *sv, unsigned int index, struct error *err)
{
	if (index < sv->vdpa.n_vqs)
		return 0;
	return error_add(err, -EINVAL, "%s: the device has %u queues, there is no queue %u", sv->name,
			 sv->vdpa.n_vqs, index);
}

static int soft_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	*size = index == vdpa->n_vqs - 1 ? SOFT_CTRL_RING_SIZE : soft_of(vdpa)->ring_size;
	return soft_check_index(soft_of(vdpa), index, err);
}

struct soft_vring_call {
	unsigned int index;
	const struct vdpa_vring *vring;
	uint64_t asid;
	bool on;
	int fd;
	void *out;
};

static int soft_set_vring_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;
	struct soft_queue *q = &sv->queues[c->index];

	if (sv->started && (!sv->suspended || sv->faults.refuse_move))
		return error_add(err, -EBUSY, "%s: queue %u is in use", sv->name, c->index);
	if (sv->faults.base_0 && c->vring->base != 0)
		return error_add(err, -EINVAL, "%s: queue %u cannot begin at %u", sv->name, c->index,
				 c->vring->base);
	if (!is_power_of_2(c->vring->size) || c->vring->size > sv->ring_size)
		return error_add(err, -EINVAL, "%s: a ring of %u entries, the largest has %u", sv->name,
				 c->vring->size, sv->ring_size);
	soft_queue_stop(q);
	q->setup = *c->vring;
	q->set = true;
	return 0;
}

static int soft_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			  struct error *err)
{
	struct soft_vring_call c = { .index = index, .vring = vring };
	int ret = soft_check_index(soft_of(vdpa), index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_set_vring_call, &c, err);
}

static int soft_enable_vring_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;
	int ret = 0;

	sv->queues[c->index].enabled = c->on;
	if (!c->on) {
		soft_queue_stop(&sv->queues[c->index]);
	} else if (sv->started && !sv->suspended) {
		ret = soft_start_queues(sv, err);
		soft_serve(&sv->queues[c->index]);
	}
	return ret;
}

static int soft_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	struct soft_vring_call c = { .index = index, .on = on };
	int ret = soft_check_index(soft_of(vdpa), index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_enable_vring_call, &c, err);
}

static int soft_set_call_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;

	sv->queues[c->index].setup.call_fd = c->fd;
	return 0;
}

static int soft_set_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	struct soft_vring_call c = { .index = index, .fd = fd };
	int ret = soft_check_index(soft_of(vdpa), index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_set_call_call, &c, err);
}

static int soft_vring_group_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;
	unsigned int ctrl = sv->features ? soft_ctrl_index(sv) : 2 * sv->n_pairs;

	*(unsigned int *)c->out = c->index == ctrl ? SOFT_GROUP_CTRL : SOFT_GROUP_DATA;
	return 0;
}

static int soft_vring_group(struct vdpa *vdpa, unsigned int index, unsigned int *group, struct error *err)
{
	struct soft_vring_call c = { .index = index, .out = group };
	int ret = soft_check_index(soft_of(vdpa), index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_vring_group_call, &c, err);
}

static int soft_set_group_asid_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;

	if (c->index >= SOFT_N_GROUPS || c->asid >= SOFT_N_SPACES)
		return error_add(err, -EINVAL, "%s: there is no group %u, or no address space %" PRIu64,
				 sv->name, c->index, c->asid);
	if (sv->started && !sv->suspended)
		return error_add(err, -EBUSY, "%s: its queues are in use", sv->name);
	sv->space_of[c->index] = (unsigned int)c->asid;
	return 0;
}

static int soft_set_group_asid(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err)
{
	struct soft_vring_call c = { .index = group, .asid = asid };

	return soft_call(vdpa, soft_set_group_asid_call, &c, err);
}

static int soft_get_vring_base_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;
	const struct soft_queue *q = &sv->queues[c->index];

	if (sv->started && !sv->suspended)
		return error_add(err, -EBUSY, "%s: queue %u moves on: suspend the device first", sv->name,
				 c->index);
	*(uint16_t *)c->out = q->live ? q->vring.last_avail : q->setup.base;
	if (sv->faults.keep_one)
		(*(uint16_t *)c->out)++;
	return 0;
}

static int soft_get_vring_base(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err)
{
	struct soft_vring_call c = { .index = index, .out = base };
	int ret = soft_check_index(soft_of(vdpa), index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_get_vring_base_call, &c, err);
}

static int soft_suspend_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	if (!sv->started)
		return error_add(err, -EINVAL, "%s: the device has not been started", sv->name);
	if (sv->faults.refuse_suspend)
		return error_add(err, -EIO, "%s: the device does not suspend", sv->name);
	soft_ctrl_flush(sv);
	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		struct soft_queue *q = &sv->queues[i];

		soft_queue_flush(q);
		/* Its buffers may be others when it goes on, or come a moment later: no reason to drop what
		 * comes meanwhile. */
		if (q->live && i % 2 == 0 && i != soft_ctrl_index(sv))
			sv->fed |= vring_has_avail(&q->vring);
	}
	soft_port_watch(sv, false);
	sv->suspended = true;
	return 0;
}

static int soft_suspend(struct vdpa *vdpa, struct error *err)
{
	return soft_call(vdpa, soft_suspend_call, NULL, err);
}

static int soft_resume_call(struct soft_vdpa *sv, void *arg, struct error *err)
{
	int ret;

	if (!sv->suspended)
		return error_add(err, -EINVAL, "%s: the device has not been suspended", sv->name);
	ret = soft_start_queues(sv, err);
	if (ret < 0)
		return ret;
	sv->suspended = false;
	soft_serve_all(sv);
	return 0;
}

static int soft_resume(struct vdpa *vdpa, struct error *err)
{
	return soft_call(vdpa, soft_resume_call, NULL, err);
}

const struct vdpa_ops soft_ops = {
	.vring_size = soft_vring_size,
	.set_features = soft_set_features,
	.set_status = soft_set_status,
	.get_status = soft_get_status,
	.get_config = soft_get_config,
	.set_config_call = soft_set_config_call,
	.map = soft_map,
	.unmap = soft_unmap,
	.set_vring = soft_set_vring,
	.enable_vring = soft_enable_vring,
	.set_vring_call = soft_set_call,
	.vring_group = soft_vring_group,
	.set_group_asid = soft_set_group_asid,
	.suspend = soft_suspend,
	.resume = soft_resume,
	.get_vring_base = soft_get_vring_base,
	.close = soft_close,
};
