/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations of the NIC in software, each of which is a call to the device's thread. */
#include "devices/vdpa/soft/ops.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "devices/vdpa/soft/life.h"
#include "devices/vdpa/soft/turn.h"

/* Calls to the device's thread */

struct soft_call {
	struct soft *soft;
	int (*fn)(struct soft *soft, void *arg, struct error *err);
	void *arg;
	struct error *err;
};

static int soft_call_run(void *arg)
{
	struct soft_call *call = arg;

	if (call->soft->faults.gone) {
		error_add(call->err, "%s: the device is gone", call->soft->name);
		return -ENODEV;
	}
	return call->fn(call->soft, call->arg, call->err);
}

static int soft_call(struct vdpa *vdpa, int (*fn)(struct soft *, void *, struct error *), void *arg,
		     struct error *err)
{
	struct soft_call call = { .soft = soft_of(vdpa), .fn = fn, .arg = arg, .err = err };

	return loop_call(&call.soft->loop, soft_call_run, &call);
}

/* Features, status, configuration */

static int soft_set_features_call(struct soft *soft, void *arg, struct error *err)
{
	uint64_t features = *(uint64_t *)arg;

	if ((features & ~soft->vdpa.features) || !virtio_has(features, VIRTIO_F_VERSION_1) ||
	    (soft->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		error_add(err, "%s: features 0x%" PRIx64 " of 0x%" PRIx64 " cannot be set in status 0x%x",
			  soft->name, features, soft->vdpa.features, soft->status);
		return -EINVAL;
	}
	soft->features = features;
	return 0;
}

static int soft_vdpa_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	return soft_call(vdpa, soft_set_features_call, &features, err);
}

static int soft_set_status_call(struct soft *soft, void *arg, struct error *err)
{
	uint8_t status = *(uint8_t *)arg, added = status & (uint8_t)~soft->status;
	int ret = 0;

	if (status == 0) {
		soft_reset(soft);
		return 0;
	}
	if ((soft->status & ~status & ~VIRTIO_CONFIG_S_NEEDS_RESET) ||
	    ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FEATURES_OK)) ||
	    ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !virtio_has(soft->features, VIRTIO_F_VERSION_1))) {
		error_add(err, "%s: the device does not take status 0x%x after 0x%x", soft->name, status,
			  soft->status);
		return -EIO;
	}
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		ret = soft_start(soft, err);
	if (ret == 0)
		soft->status = status | (soft->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	return ret;
}

static int soft_vdpa_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	return soft_call(vdpa, soft_set_status_call, &status, err);
}

static int soft_get_status_call(struct soft *soft, void *arg, struct error *err)
{
	*(uint8_t *)arg = soft->status;
	return 0;
}

static int soft_vdpa_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	return soft_call(vdpa, soft_get_status_call, status, err);
}

struct soft_config_read {
	uint32_t offset, len;
	void *buf;
};

static int soft_get_config_call(struct soft *soft, void *arg, struct error *err)
{
	const struct soft_config_read *r = arg;

	if (r->offset > SOFT_CONFIG_LEN || r->len > SOFT_CONFIG_LEN - r->offset) {
		error_add(err, "%s: the device has %u bytes of configuration, not %u at %u", soft->name,
			  SOFT_CONFIG_LEN, r->len, r->offset);
		return -EINVAL;
	}
	memcpy(r->buf, soft->config + r->offset, r->len);
	return 0;
}

static int soft_vdpa_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len,
				struct error *err)
{
	struct soft_config_read r = { offset, len, buf };

	return soft_call(vdpa, soft_get_config_call, &r, err);
}

static int soft_set_config_call_call(struct soft *soft, void *arg, struct error *err)
{
	soft->config_call = *(int *)arg;
	return 0;
}

static int soft_vdpa_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	return soft_call(vdpa, soft_set_config_call_call, &fd, err);
}

/* Mappings */

struct soft_regions {
	const struct vdpa_region *regions;
	unsigned int n;
};

static int soft_map_call(struct soft *soft, void *arg, struct error *err)
{
	const struct soft_regions *batch = arg;

	return soft_spaces_map(&soft->spaces, soft->name, batch->regions, batch->n, err);
}

static int soft_vdpa_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
			 struct error *err)
{
	struct soft_regions batch = { regions, n };

	return soft_call(vdpa, soft_map_call, &batch, err);
}

static int soft_unmap_call(struct soft *soft, void *arg, struct error *err)
{
	const struct soft_regions *batch = arg;
	int ret = soft_spaces_unmap(&soft->spaces, soft->name, batch->regions, batch->n, err);

	soft_check_rings(soft);
	return ret;
}

static int soft_vdpa_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
			   struct error *err)
{
	struct soft_regions batch = { regions, n };

	return soft_call(vdpa, soft_unmap_call, &batch, err);
}

/* Virtqueues */

static int soft_check_index(const struct soft *soft, unsigned int index, struct error *err)
{
	if (index < soft->vdpa.n_vqs)
		return 0;
	error_add(err, "%s: the device has %u queues, there is no queue %u", soft->name, soft->vdpa.n_vqs,
		  index);
	return -EINVAL;
}

static int soft_vdpa_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	*size = index == vdpa->n_vqs - 1 ? SOFT_CTRL_RING_SIZE : soft_of(vdpa)->ring_size;
	return soft_check_index(soft_of(vdpa), index, err);
}

/* An operation on one queue. @fn does it on the device's thread, with the queue that has @index. */
struct soft_vring_call {
	int (*fn)(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
		  struct error *err);
	unsigned int index;
	const struct vdpa_vring *vring;
	bool on;
	int fd;
	void *out;
};

static int soft_vring_run(struct soft *soft, void *arg, struct error *err)
{
	const struct soft_vring_call *c = arg;

	return c->fn(soft, &soft->queues[c->index], c, err);
}

static int soft_on_vring(struct vdpa *vdpa, struct soft_vring_call c, struct error *err)
{
	int ret = soft_check_index(soft_of(vdpa), c.index, err);

	return ret < 0 ? ret : soft_call(vdpa, soft_vring_run, &c, err);
}

static int soft_set_vring_call(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
			       struct error *err)
{
	if (soft->started && (!soft->suspended || soft->faults.refuse_move)) {
		error_add(err, "%s: queue %u is in use", soft->name, c->index);
		return -EBUSY;
	}
	if (soft->faults.base_0 && c->vring->base != 0) {
		error_add(err, "%s: queue %u cannot begin at %u", soft->name, c->index, c->vring->base);
		return -EINVAL;
	}
	if (!is_power_of_2(c->vring->size) || c->vring->size > soft->ring_size) {
		error_add(err, "%s: a ring of %u entries, the largest has %u", soft->name, c->vring->size,
			  soft->ring_size);
		return -EINVAL;
	}
	soft_queue_stop(q);
	q->setup = *c->vring;
	q->set = true;
	return 0;
}

static int soft_vdpa_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			       struct error *err)
{
	return soft_on_vring(
		vdpa, (struct soft_vring_call){ .fn = soft_set_vring_call, .index = index, .vring = vring },
		err);
}

static int soft_enable_vring_call(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
				  struct error *err)
{
	if (c->on)
		return soft_enable(soft, q, err);
	soft_disable(soft, q);
	return 0;
}

static int soft_vdpa_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	return soft_on_vring(
		vdpa, (struct soft_vring_call){ .fn = soft_enable_vring_call, .index = index, .on = on },
		err);
}

static int soft_set_call_call(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
			      struct error *err)
{
	q->setup.call_fd = c->fd;
	return 0;
}

static int soft_vdpa_set_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	return soft_on_vring(
		vdpa, (struct soft_vring_call){ .fn = soft_set_call_call, .index = index, .fd = fd }, err);
}

static int soft_vring_group_call(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
				 struct error *err)
{
	unsigned int ctrl = soft->features ? soft_ctrl_index(soft) : 2 * soft->n_pairs;

	*(unsigned int *)c->out = c->index == ctrl ? SOFT_GROUP_CTRL : SOFT_GROUP_DATA;
	return 0;
}

static int soft_vdpa_vring_group(struct vdpa *vdpa, unsigned int index, unsigned int *group,
				 struct error *err)
{
	return soft_on_vring(
		vdpa, (struct soft_vring_call){ .fn = soft_vring_group_call, .index = index, .out = group },
		err);
}

struct soft_group_call {
	unsigned int group;
	uint64_t asid;
};

static int soft_set_group_asid_call(struct soft *soft, void *arg, struct error *err)
{
	const struct soft_group_call *c = arg;

	if (soft->started && !soft->suspended) {
		error_add(err, "%s: its queues are in use", soft->name);
		return -EBUSY;
	}
	return soft_spaces_set_group(&soft->spaces, soft->name, c->group, c->asid, err);
}

static int soft_vdpa_set_group_asid(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err)
{
	struct soft_group_call c = { group, asid };

	return soft_call(vdpa, soft_set_group_asid_call, &c, err);
}

static int soft_get_vring_base_call(struct soft *soft, struct soft_queue *q, const struct soft_vring_call *c,
				    struct error *err)
{
	if (soft->started && !soft->suspended) {
		error_add(err, "%s: queue %u moves on: suspend the device first", soft->name, c->index);
		return -EBUSY;
	}
	*(uint16_t *)c->out = q->live ? q->vring.last_avail : q->setup.base;
	if (soft->faults.keep_one)
		(*(uint16_t *)c->out)++;
	return 0;
}

static int soft_vdpa_get_vring_base(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err)
{
	return soft_on_vring(
		vdpa, (struct soft_vring_call){ .fn = soft_get_vring_base_call, .index = index, .out = base },
		err);
}

static int soft_suspend_call(struct soft *soft, void *arg, struct error *err)
{
	if (!soft->started) {
		error_add(err, "%s: the device has not been started", soft->name);
		return -EINVAL;
	}
	if (soft->faults.refuse_suspend) {
		error_add(err, "%s: the device does not suspend", soft->name);
		return -EIO;
	}
	soft_suspend(soft);
	return 0;
}

static int soft_vdpa_suspend(struct vdpa *vdpa, struct error *err)
{
	return soft_call(vdpa, soft_suspend_call, NULL, err);
}

static int soft_resume_call(struct soft *soft, void *arg, struct error *err)
{
	if (!soft->suspended) {
		error_add(err, "%s: the device has not been suspended", soft->name);
		return -EINVAL;
	}
	return soft_resume(soft, err);
}

static int soft_vdpa_resume(struct vdpa *vdpa, struct error *err)
{
	return soft_call(vdpa, soft_resume_call, NULL, err);
}

struct soft_look_call {
	struct soft *soft;
	uint32_t us;
	unsigned int n_threads;
};

static int soft_look_call(void *arg)
{
	const struct soft_look_call *c = arg;

	soft_turn_set(c->soft, c->us, c->n_threads);
	return 0;
}

static void soft_vdpa_look(struct vdpa *vdpa, uint32_t us, unsigned int n_threads)
{
	struct soft_look_call c = { .soft = soft_of(vdpa), .us = us, .n_threads = n_threads };

	loop_call(&c.soft->loop, soft_look_call, &c);
}

/* Closing */

void soft_free(struct soft *soft)
{
	soft_life_end(soft);
	if (soft->port)
		soft->port->ops->close(soft->port);
	loop_exit(&soft->loop);
	free(soft);
}

static void soft_vdpa_close(struct vdpa *vdpa)
{
	struct soft *soft = soft_of(vdpa);

	loop_join(&soft->loop);
	soft_free(soft);
}

const struct vdpa_ops soft_ops = {
	.vring_size = soft_vdpa_vring_size,
	.set_features = soft_vdpa_set_features,
	.set_status = soft_vdpa_set_status,
	.get_status = soft_vdpa_get_status,
	.get_config = soft_vdpa_get_config,
	.set_config_call = soft_vdpa_set_config_call,
	.map = soft_vdpa_map,
	.unmap = soft_vdpa_unmap,
	.set_vring = soft_vdpa_set_vring,
	.enable_vring = soft_vdpa_enable_vring,
	.set_vring_call = soft_vdpa_set_call,
	.vring_group = soft_vdpa_vring_group,
	.set_group_asid = soft_vdpa_set_group_asid,
	.suspend = soft_vdpa_suspend,
	.resume = soft_vdpa_resume,
	.get_vring_base = soft_vdpa_get_vring_base,
	.look = soft_vdpa_look,
	.close = soft_vdpa_close,
};
