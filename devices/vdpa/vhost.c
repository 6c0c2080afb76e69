/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA device of the host's kernel, /dev/vhost-vdpa-N: one function for each ioctl. */
#include "devices/vdpa/vhost_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's uapi headers. */
#ifndef VHOST_VDPA_GET_VRING_SIZE
#define VHOST_VDPA_GET_VRING_SIZE _IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#endif
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7e)
#endif
#ifndef VHOST_BACKEND_F_RESUME
#define VHOST_BACKEND_F_RESUME 0x5
#endif
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif

/* The most of the device's configuration that is read at once. */
#define VHOST_VDPA_MAX_CONFIG 256u

/* How long a device may take to show a status that it was given. */
#define STATUS_TRIES    100u
#define STATUS_RETRY_NS 1000000

#define BACKEND_FEATURES                                                                                     \
	(VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |                \
	 VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_ASID) | VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND) |                      \
	 VIRTIO_BIT(VHOST_BACKEND_F_RESUME) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST))

/* What a device must know to show its queues as they will be. */
#define SIZE_FEATURES                                                                                        \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |                             \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS))

/* 0 or -errno. Not by ioctl(): its request is an int in musl, and an unsigned long in glibc. */
static int request(const struct vhost_vdpa *vv, unsigned long number, void *arg)
{
	return syscall(SYS_ioctl, vv->fd, number, arg) < 0 ? -errno : 0;
}

/* One ioctl; @doing completes "cannot ...". */
static int vhost_vdpa_ioctl(const struct vhost_vdpa *vv, unsigned long number, void *arg, const char *doing,
			    struct error *err)
{
	int ret = request(vv, number, arg);

	if (ret < 0)
		error_add(err, ret, "%s: cannot %s: %s", vv->path, doing, strerror(-ret));
	return ret;
}

/* Features, status, configuration */

static int vhost_vdpa_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	/* Some parents drop bits that they have not offered without a word. */
	if (features & ~vdpa->features)
		return error_add(err, -EINVAL, "%s: the device does not offer features 0x%" PRIx64,
				 vdpa->name, features & ~vdpa->features);
	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_SET_FEATURES, &features, "set the features", err);
}

static int vhost_vdpa_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_GET_STATUS, status, "read the device status",
				err);
}

static int vhost_vdpa_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	const struct timespec retry = { .tv_nsec = STATUS_RETRY_NS };
	uint8_t now = 0;
	int ret = vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_SET_STATUS, &status,
				   "set the device status", err);

	/* The parent's failure is not reported by the ioctl, only by the status. */
	for (unsigned int i = 0; i < STATUS_TRIES && ret == 0; i++) {
		ret = vhost_vdpa_get_status(vdpa, &now, err);
		if (ret == 0 && now == status)
			return 0;
		if (now & VIRTIO_CONFIG_S_FAILED)
			break;
		nanosleep(&retry, NULL);
	}
	if (ret < 0)
		return ret;
	return error_add(err, -EIO,
			 "%s: the device does not take status 0x%x, it shows 0x%x (see the kernel's log)",
			 vdpa->name, status, now);
}

static int vhost_vdpa_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len,
				 struct error *err)
{
	_Alignas(struct vhost_vdpa_config)
		uint8_t arg[sizeof(struct vhost_vdpa_config) + VHOST_VDPA_MAX_CONFIG];
	const struct vhost_vdpa_config header = { .off = offset, .len = len };
	int ret;

	assert(len <= VHOST_VDPA_MAX_CONFIG);
	if (offset > vdpa->config_len || len > vdpa->config_len - offset)
		return error_add(err, -EINVAL, "%s: the device has %u bytes of configuration, not %u at %u",
				 vdpa->name, vdpa->config_len, len, offset);
	memcpy(arg, &header, sizeof(header));
	ret = vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_GET_CONFIG, arg,
			       "read the device's configuration", err);
	if (ret == 0)
		memcpy(buf, arg + sizeof(header), len);
	return ret;
}

static int vhost_vdpa_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_SET_CONFIG_CALL, &fd,
				"set the eventfd of configuration changes", err);
}

/* Virtqueues */

static int vhost_vdpa_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	if (index >= vdpa->n_vqs)
		return error_add(err, -EINVAL, "%s: the device has %u queues, there is no queue %u",
				 vdpa->name, vdpa->n_vqs, index);
	*size = vhost_vdpa_of(vdpa)->sizes[index];
	return 0;
}

static int vring_ioctl(const struct vhost_vdpa *vv, unsigned long number, void *arg, unsigned int index,
		       const char *doing, struct error *err)
{
	int ret = request(vv, number, arg);

	if (ret < 0)
		error_add(err, ret, "%s: cannot %s of queue %u: %s", vv->path, doing, index, strerror(-ret));
	return ret;
}

static int set_vring_state(const struct vhost_vdpa *vv, unsigned long number, unsigned int index,
			   uint32_t num, const char *doing, struct error *err)
{
	struct vhost_vring_state state = { .index = index, .num = num };

	return vring_ioctl(vv, number, &state, index, doing, err);
}

static int set_vring_fd(const struct vhost_vdpa *vv, unsigned long number, unsigned int index, int fd,
			const char *doing, struct error *err)
{
	struct vhost_vring_file file = { .index = index, .fd = fd };

	return vring_ioctl(vv, number, &file, index, doing, err);
}

static int set_vring_addr(const struct vhost_vdpa *vv, unsigned int index, const struct vdpa_vring *vring,
			  struct error *err)
{
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = vring->desc,
		.avail_user_addr = vring->avail,
		.used_user_addr = vring->used,
	};

	return vring_ioctl(vv, VHOST_SET_VRING_ADDR, &addr, index, "set the addresses", err);
}

/* The call eventfd before DRIVER_OK: vp_vdpa takes interrupt vectors then, for the queues that have one. */
static int vhost_vdpa_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
				struct error *err)
{
	struct vhost_vdpa *vv = vhost_vdpa_of(vdpa);
	int ret = set_vring_state(vv, VHOST_SET_VRING_NUM, index, vring->size, "set the size", err);

	if (ret == 0)
		ret = set_vring_state(vv, VHOST_SET_VRING_BASE, index, vring->base, "set the base", err);
	if (ret == 0)
		ret = set_vring_addr(vv, index, vring, err);
	if (ret == 0)
		ret = set_vring_fd(vv, VHOST_SET_VRING_CALL, index, vring->call_fd, "set the call eventfd",
				   err);
	if (ret == 0)
		ret = set_vring_fd(vv, VHOST_SET_VRING_KICK, index, vring->kick_fd, "set the kick eventfd",
				   err);
	return ret;
}

static int vhost_vdpa_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	return set_vring_state(vhost_vdpa_of(vdpa), VHOST_VDPA_SET_VRING_ENABLE, index, on,
			       "set the enable flag", err);
}

static int vhost_vdpa_set_vring_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	return set_vring_fd(vhost_vdpa_of(vdpa), VHOST_SET_VRING_CALL, index, fd, "set the call eventfd",
			    err);
}

static int vhost_vdpa_vring_group(struct vdpa *vdpa, unsigned int index, unsigned int *group,
				  struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret = vring_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_GET_VRING_GROUP, &state, index,
			      "read the group", err);

	*group = state.num;
	return ret;
}

static int vhost_vdpa_set_group_asid(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err)
{
	struct vhost_vring_state state = { .index = group, .num = (uint32_t)asid };

	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_SET_GROUP_ASID, &state,
				"set a group's address space", err);
}

static int vhost_vdpa_suspend(struct vdpa *vdpa, struct error *err)
{
	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_SUSPEND, NULL, "suspend the device", err);
}

static int vhost_vdpa_resume(struct vdpa *vdpa, struct error *err)
{
	return vhost_vdpa_ioctl(vhost_vdpa_of(vdpa), VHOST_VDPA_RESUME, NULL, "resume the device", err);
}

static int vhost_vdpa_get_vring_base(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret = vring_ioctl(vhost_vdpa_of(vdpa), VHOST_GET_VRING_BASE, &state, index, "read the base", err);

	*base = (uint16_t)state.num;
	return ret;
}

/* Opening */

static void vhost_vdpa_close(struct vdpa *vdpa)
{
	struct vhost_vdpa *vv = vhost_vdpa_of(vdpa);

	/* The kernel resets the device and unpins everything. */
	if (vv->fd >= 0)
		close(vv->fd);
	free(vv->sizes);
	free(vv);
}

static const struct vdpa_ops vhost_vdpa_ops = {
	.vring_size = vhost_vdpa_vring_size,
	.set_features = vhost_vdpa_set_features,
	.set_status = vhost_vdpa_set_status,
	.get_status = vhost_vdpa_get_status,
	.get_config = vhost_vdpa_get_config,
	.set_config_call = vhost_vdpa_set_config_call,
	.map = vhost_vdpa_map,
	.unmap = vhost_vdpa_unmap,
	.map_doorbell = vhost_vdpa_map_doorbell,
	.set_vring = vhost_vdpa_set_vring,
	.enable_vring = vhost_vdpa_enable_vring,
	.set_vring_call = vhost_vdpa_set_vring_call,
	.vring_group = vhost_vdpa_vring_group,
	.set_group_asid = vhost_vdpa_set_group_asid,
	.suspend = vhost_vdpa_suspend,
	.resume = vhost_vdpa_resume,
	.get_vring_base = vhost_vdpa_get_vring_base,
	.close = vhost_vdpa_close,
};

static int open_node(struct vhost_vdpa *vv, struct error *err)
{
	static const struct {
		int error;
		const char *text;
	} reasons[] = {
		{ EBUSY, "the device is in use by another process" },
		{ ENOENT,
		  "there is no such device: make one with \"vdpa dev add\", and bind it to vhost_vdpa" },
		{ ENXIO,
		  "the device is gone: make it again with \"vdpa dev add\", and bind it to vhost_vdpa" },
		{ ENODEV,
		  "the device is gone: make it again with \"vdpa dev add\", and bind it to vhost_vdpa" },
		{ EACCES, "permission denied: give your user access to it (chown, chmod, or a udev rule)" },
		{ EPERM, "not permitted: a container must be given the device" },
		{ KERNEL_ENOTSUPP,
		  "the IOMMU before the device is not cache coherent (or there is none): vhost-vdpa "
		  "cannot use it" },
	};
	int error;

	vv->fd = open(vv->path, O_RDWR | O_CLOEXEC);
	if (vv->fd >= 0)
		return 0;
	error = errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].error == error)
			return error_add(err, -error, "cannot open %s: %s", vv->path, reasons[i].text);
	}
	return error_add(err, -error, "cannot open %s: %s", vv->path, strerror(error));
}

/* Whether it is a vhost-vdpa node at all, and a NIC. */
static int check_kind(const struct vhost_vdpa *vv, struct error *err)
{
	uint32_t id = 0;
	int ret = request(vv, VHOST_VDPA_GET_DEVICE_ID, &id);

	if (ret < 0)
		return error_add(err, ret, "%s is not a vhost-vdpa device: %s", vv->path, strerror(-ret));
	if (id != VIRTIO_ID_NET)
		return error_add(err, -ENODEV, "%s is not a NIC, but a virtio device of type %u", vv->path,
				 id);
	return 0;
}

/* Before anything else is sent: they say how messages are read. */
static int set_backend_features(struct vhost_vdpa *vv, struct error *err)
{
	int ret = vhost_vdpa_ioctl(vv, VHOST_GET_BACKEND_FEATURES, &vv->backend_features,
				   "read the backend features", err);

	if (ret < 0)
		return ret;
	if (!virtio_has(vv->backend_features, VHOST_BACKEND_F_IOTLB_MSG_V2))
		return error_add(err, -ENOTSUP, "%s: the kernel is too old: it lacks messages of version 2",
				 vv->path);
	vv->backend_features &= BACKEND_FEATURES;
	return vhost_vdpa_ioctl(vv, VHOST_SET_BACKEND_FEATURES, &vv->backend_features,
				"set the backend features", err);
}

static int read_spaces(struct vhost_vdpa *vv, struct error *err)
{
	uint32_t n_groups = 0, n_asids = 0;
	int ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_GROUP_NUM, &n_groups, "read the number of groups", err);

	if (ret == 0)
		ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_AS_NUM, &n_asids,
				       "read the number of address spaces", err);
	vv->vdpa.n_groups = n_groups;
	vv->vdpa.n_asids = n_asids;
	return ret;
}

static int read_facts(struct vhost_vdpa *vv, struct error *err)
{
	struct vdpa *vdpa = &vv->vdpa;
	struct vhost_vdpa_iova_range range = { 0 };
	uint32_t n_vqs = 0;
	int ret = vhost_vdpa_ioctl(vv, VHOST_GET_FEATURES, &vdpa->features, "read the features", err);

	/* These two came with Linux 5.18. */
	if (ret == 0)
		ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_VQS_COUNT, &n_vqs, "read the number of queues",
				       err);
	if (ret == 0)
		ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_CONFIG_SIZE, &vdpa->config_len,
				       "read the size of the configuration", err);
	if (ret == 0)
		ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_IOVA_RANGE, &range, "read the range of addresses",
				       err);
	if (ret < 0)
		return ret;
	vdpa->n_vqs = n_vqs;
	vdpa->iova_first = range.first;
	vdpa->iova_last = range.last;
	vdpa->maps_persist = virtio_has(vv->backend_features, VHOST_BACKEND_F_IOTLB_PERSIST);
	vdpa->can_suspend = virtio_has(vv->backend_features, VHOST_BACKEND_F_SUSPEND) &&
			    virtio_has(vv->backend_features, VHOST_BACKEND_F_RESUME);
	return virtio_has(vv->backend_features, VHOST_BACKEND_F_IOTLB_ASID) ? read_spaces(vv, err) : 0;
}

/* All parents have a largest size for any queue, some one for each queue too. Split rings have a power of
 * two. */
static int read_size(const struct vhost_vdpa *vv, unsigned int index, uint16_t max, uint16_t *size,
		     struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret = request(vv, VHOST_VDPA_GET_VRING_SIZE, &state);

	if (ret == -ENOTTY || ret == -EOPNOTSUPP)
		state.num = max;
	else if (ret < 0)
		return error_add(err, ret, "%s: cannot read the ring size of queue %u: %s", vv->path, index,
				 strerror(-ret));
	state.num = (uint32_t)min_u64(min_u64(state.num, max), VIRTIO_RING_MAX_SIZE);
	while (state.num & (state.num - 1))
		state.num &= state.num - 1;
	*size = (uint16_t)state.num;
	return 0;
}

/* The control queue is the last one. A device that cannot tell groups has one. */
static bool is_ctrl_apart(struct vhost_vdpa *vv)
{
	struct vhost_vring_state ctrl = { .index = vv->vdpa.n_vqs - 1 };

	if (!virtio_has(vv->vdpa.features, VIRTIO_NET_F_CTRL_VQ) || vv->vdpa.n_groups < 2 ||
	    vv->vdpa.n_asids < 2 || request(vv, VHOST_VDPA_GET_VRING_GROUP, &ctrl) < 0)
		return false;
	for (unsigned int i = 0; i < ctrl.index; i++) {
		struct vhost_vring_state data = { .index = i };

		if (request(vv, VHOST_VDPA_GET_VRING_GROUP, &data) < 0 || data.num == ctrl.num)
			return false;
	}
	return true;
}

/*
 * A device may show the queues of more than one pair, and tell which is the control queue, only when it knows
 * of a driver that has accepted several: QEMU's does. So the sizes, and the groups, are read behind such a
 * negotiation; a device that wants other features as well is asked without. It ends with a reset.
 */
static int read_sizes(struct vhost_vdpa *vv, struct error *err)
{
	struct vdpa *vdpa = &vv->vdpa;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t features = vdpa->features & SIZE_FEATURES;
	uint16_t max;
	int ret = vhost_vdpa_ioctl(vv, VHOST_VDPA_GET_VRING_NUM, &max, "read the size of rings", err);

	if (ret < 0)
		return ret;
	vv->sizes = calloc(vdpa->n_vqs, sizeof(*vv->sizes));
	if (!vv->sizes)
		return error_add(err, -ENOMEM, "no memory for %u queues", vdpa->n_vqs);
	ret = vhost_vdpa_set_status(vdpa, status, err);
	if (ret == 0 && request(vv, VHOST_SET_FEATURES, &features) == 0) {
		status |= VIRTIO_CONFIG_S_FEATURES_OK;
		/* Not taken: the sizes are those of a device without a driver. */
		request(vv, VHOST_VDPA_SET_STATUS, &status);
	}
	for (unsigned int i = 0; i < vdpa->n_vqs && ret == 0; i++)
		ret = read_size(vv, i, max, &vv->sizes[i], err);
	vdpa->ctrl_apart = is_ctrl_apart(vv);
	if (ret == 0)
		ret = vhost_vdpa_set_status(vdpa, 0, err);
	return ret;
}

int vhost_vdpa_open(struct vdpa **out, const char *path, struct error *err)
{
	struct vhost_vdpa *vv = calloc(1, sizeof(*vv) + strlen(path) + 1);
	int ret;

	if (!vv)
		return error_add(err, -ENOMEM, "no memory for %s", path);
	vv->fd = -1;
	strcpy(vv->path, path);
	vv->vdpa = (struct vdpa){
		.ops = &vhost_vdpa_ops,
		.name = vv->path,
		.advice = { .mac = "\"vdpa dev set name ... mac ...\"",
			    .mtu = "make the device with \"vdpa dev add ... mtu ...\"",
			    .pairs = "make the device with \"vdpa dev add ... max_vqp ...\"" },
	};
	ret = open_node(vv, err);
	if (ret == 0)
		ret = check_kind(vv, err);
	if (ret == 0)
		ret = set_backend_features(vv, err);
	if (ret == 0)
		ret = vhost_vdpa_ioctl(vv, VHOST_SET_OWNER, NULL, "take the device", err);
	if (ret == 0)
		ret = read_facts(vv, err);
	if (ret == 0)
		ret = read_sizes(vv, err);
	if (ret < 0) {
		vhost_vdpa_close(&vv->vdpa);
		return ret;
	}
	*out = &vv->vdpa;
	return 0;
}
