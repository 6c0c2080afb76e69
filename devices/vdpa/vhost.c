/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA device of the host's kernel, /dev/vhost-vdpa-N: one function for each ioctl. */
#include "devices/vdpa/vhost.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/vdpa/vhost_map.h"
#include "vmm/descriptor.h"

/* The header follows virtio.h, because both define the flags of rings. */
#include <linux/vhost.h>

/* Debian 12's uapi headers lack these. */
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

/* The most bytes of the device's configuration that are read at once: vdpa.h promises callers no more. */
#define VHOST_VDPA_MAX_CONFIG 256u

/* A device is given 100 ms to show a status: hardware behind a slow bus answers in some, and start-up waits
 * for it. */
#define STATUS_TRIES    100u
#define STATUS_RETRY_NS 1000000

#define BACKEND_FEATURES                                                                                     \
	(VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_BATCH) |                \
	 VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_ASID) | VIRTIO_BIT(VHOST_BACKEND_F_SUSPEND) |                      \
	 VIRTIO_BIT(VHOST_BACKEND_F_RESUME) | VIRTIO_BIT(VHOST_BACKEND_F_IOTLB_PERSIST))

/* The features that a driver has to accept before a device shows its queues as they will be. */
#define SIZE_FEATURES                                                                                        \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |                             \
	 VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS))

struct vhost {
	struct vdpa vdpa;
	struct vhost_map map; /* with the node's descriptor */
	uint64_t backend_features;
	uint16_t *sizes; /* of the largest rings, by queue */
	char path[];
};

static struct vhost *vhost_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct vhost, vdpa);
}

/* Returns 0 or -errno. The system call is made without ioctl(), whose request is an int in musl and an
 * unsigned long in glibc. */
static int vhost_request(const struct vhost *vhost, unsigned long number, void *arg)
{
	return syscall(SYS_ioctl, vhost->map.fd, number, arg) < 0 ? -errno : 0;
}

/* Makes one request; @doing completes "cannot ...". */
static int vhost_ioctl(const struct vhost *vhost, unsigned long number, void *arg, const char *doing,
		       struct error *err)
{
	int ret = vhost_request(vhost, number, arg);

	if (ret < 0)
		error_add(err, "%s: cannot %s: %s", vhost->path, doing, strerror(-ret));
	return ret;
}

/* Features, status, configuration */

static int vhost_set_features(struct vdpa *vdpa, uint64_t features, struct error *err)
{
	/* A parent may drop bits that it has not offered without a word, so they are refused here. */
	if (features & ~vdpa->features) {
		error_add(err, "%s: the device does not offer features 0x%" PRIx64, vdpa->name,
			  features & ~vdpa->features);
		return -EINVAL;
	}
	return vhost_ioctl(vhost_of(vdpa), VHOST_SET_FEATURES, &features, "set the features", err);
}

static int vhost_get_status(struct vdpa *vdpa, uint8_t *status, struct error *err)
{
	return vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_GET_STATUS, status, "read the device status", err);
}

static int vhost_set_status(struct vdpa *vdpa, uint8_t status, struct error *err)
{
	const struct timespec retry = { .tv_nsec = STATUS_RETRY_NS };
	uint8_t now = 0;
	int ret = vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_SET_STATUS, &status, "set the device status", err);

	/* The parent's failure is not reported by the ioctl, only by the status. */
	for (unsigned int i = 0; i < STATUS_TRIES && ret == 0; i++) {
		ret = vhost_get_status(vdpa, &now, err);
		if (ret == 0 && now == status)
			return 0;
		if (now & VIRTIO_CONFIG_S_FAILED)
			break;
		nanosleep(&retry, NULL);
	}
	if (ret < 0)
		return ret;
	error_add(err, "%s: the device does not take status 0x%x, it shows 0x%x (see the kernel's log)",
		  vdpa->name, status, now);
	return -EIO;
}

static int vhost_get_config(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err)
{
	_Alignas(struct vhost_vdpa_config)
		uint8_t arg[sizeof(struct vhost_vdpa_config) + VHOST_VDPA_MAX_CONFIG];
	const struct vhost_vdpa_config header = { .off = offset, .len = len };
	int ret;

	assert(len <= VHOST_VDPA_MAX_CONFIG);
	if (offset > vdpa->config_len || len > vdpa->config_len - offset) {
		error_add(err, "%s: the device has %u bytes of configuration, not %u at %u", vdpa->name,
			  vdpa->config_len, len, offset);
		return -EINVAL;
	}
	memcpy(arg, &header, sizeof(header));
	ret = vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_GET_CONFIG, arg, "read the device's configuration", err);
	if (ret == 0)
		memcpy(buf, arg + sizeof(header), len);
	return ret;
}

static int vhost_set_config_call(struct vdpa *vdpa, int fd, struct error *err)
{
	return vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_SET_CONFIG_CALL, &fd,
			   "set the eventfd of configuration changes", err);
}

/* Virtqueues */

static int vhost_vring_size(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err)
{
	if (index >= vdpa->n_vqs) {
		error_add(err, "%s: the device has %u queues, there is no queue %u", vdpa->name, vdpa->n_vqs,
			  index);
		return -EINVAL;
	}
	*size = vhost_of(vdpa)->sizes[index];
	return 0;
}

static int vhost_vring_ioctl(const struct vhost *vhost, unsigned long number, void *arg, unsigned int index,
			     const char *doing, struct error *err)
{
	int ret = vhost_request(vhost, number, arg);

	if (ret < 0)
		error_add(err, "%s: cannot %s of queue %u: %s", vhost->path, doing, index, strerror(-ret));
	return ret;
}

static int vhost_set_vring_state(const struct vhost *vhost, unsigned long number, unsigned int index,
				 uint32_t num, const char *doing, struct error *err)
{
	struct vhost_vring_state state = { .index = index, .num = num };

	return vhost_vring_ioctl(vhost, number, &state, index, doing, err);
}

static int vhost_set_vring_fd(const struct vhost *vhost, unsigned long number, unsigned int index, int fd,
			      const char *doing, struct error *err)
{
	struct vhost_vring_file file = { .index = index, .fd = fd };

	return vhost_vring_ioctl(vhost, number, &file, index, doing, err);
}

static int vhost_set_vring_addr(const struct vhost *vhost, unsigned int index, const struct vdpa_vring *vring,
				struct error *err)
{
	struct vhost_vring_addr addr = {
		.index = index,
		.desc_user_addr = vring->desc,
		.avail_user_addr = vring->avail,
		.used_user_addr = vring->used,
	};

	return vhost_vring_ioctl(vhost, VHOST_SET_VRING_ADDR, &addr, index, "set the addresses", err);
}

/* The call eventfd is set before DRIVER_OK because vp_vdpa then takes interrupt vectors for the queues that
 * have one. */
static int vhost_set_vring(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			   struct error *err)
{
	struct vhost *vhost = vhost_of(vdpa);
	int ret = vhost_set_vring_state(vhost, VHOST_SET_VRING_NUM, index, vring->size, "set the size", err);

	if (ret == 0)
		ret = vhost_set_vring_state(vhost, VHOST_SET_VRING_BASE, index, vring->base, "set the base",
					    err);
	if (ret == 0)
		ret = vhost_set_vring_addr(vhost, index, vring, err);
	if (ret == 0)
		ret = vhost_set_vring_fd(vhost, VHOST_SET_VRING_CALL, index, vring->call_fd,
					 "set the call eventfd", err);
	if (ret == 0)
		ret = vhost_set_vring_fd(vhost, VHOST_SET_VRING_KICK, index, vring->kick_fd,
					 "set the kick eventfd", err);
	return ret;
}

static int vhost_enable_vring(struct vdpa *vdpa, unsigned int index, bool on, struct error *err)
{
	return vhost_set_vring_state(vhost_of(vdpa), VHOST_VDPA_SET_VRING_ENABLE, index, on,
				     "set the enable flag", err);
}

static int vhost_set_vring_call(struct vdpa *vdpa, unsigned int index, int fd, struct error *err)
{
	return vhost_set_vring_fd(vhost_of(vdpa), VHOST_SET_VRING_CALL, index, fd, "set the call eventfd",
				  err);
}

static int vhost_vring_group(struct vdpa *vdpa, unsigned int index, unsigned int *group, struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret = vhost_vring_ioctl(vhost_of(vdpa), VHOST_VDPA_GET_VRING_GROUP, &state, index,
				    "read the group", err);

	*group = state.num;
	return ret;
}

static int vhost_set_group_asid(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err)
{
	struct vhost_vring_state state = { .index = group, .num = (uint32_t)asid };

	return vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_SET_GROUP_ASID, &state, "set a group's address space",
			   err);
}

static int vhost_suspend(struct vdpa *vdpa, struct error *err)
{
	return vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_SUSPEND, NULL, "suspend the device", err);
}

static int vhost_resume(struct vdpa *vdpa, struct error *err)
{
	return vhost_ioctl(vhost_of(vdpa), VHOST_VDPA_RESUME, NULL, "resume the device", err);
}

static int vhost_get_vring_base(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret =
		vhost_vring_ioctl(vhost_of(vdpa), VHOST_GET_VRING_BASE, &state, index, "read the base", err);

	*base = (uint16_t)state.num;
	return ret;
}

/* Memory */

static int vhost_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err)
{
	return vhost_map_add(&vhost_of(vdpa)->map, regions, n, err);
}

static int vhost_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
		       struct error *err)
{
	return vhost_map_remove(&vhost_of(vdpa)->map, regions, n, err);
}

static int vhost_doorbell(struct vdpa *vdpa, unsigned int index, void **page, struct error *err)
{
	return vhost_map_doorbell(&vhost_of(vdpa)->map, index, page, err);
}

/* Opening */

static void vhost_close(struct vdpa *vdpa)
{
	struct vhost *vhost = vhost_of(vdpa);

	/* The kernel resets the device and unpins everything. */
	if (vhost->map.fd >= 0)
		close(vhost->map.fd);
	free(vhost->sizes);
	free(vhost);
}

static const struct vdpa_ops vhost_ops = {
	.vring_size = vhost_vring_size,
	.set_features = vhost_set_features,
	.set_status = vhost_set_status,
	.get_status = vhost_get_status,
	.get_config = vhost_get_config,
	.set_config_call = vhost_set_config_call,
	.map = vhost_map,
	.unmap = vhost_unmap,
	.map_doorbell = vhost_doorbell,
	.set_vring = vhost_set_vring,
	.enable_vring = vhost_enable_vring,
	.set_vring_call = vhost_set_vring_call,
	.vring_group = vhost_vring_group,
	.set_group_asid = vhost_set_group_asid,
	.suspend = vhost_suspend,
	.resume = vhost_resume,
	.get_vring_base = vhost_get_vring_base,
	.close = vhost_close,
};

static int vhost_open_node(struct vhost *vhost, struct error *err)
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

	vhost->map.fd = descriptor_take(vhost->path, O_RDWR | O_CLOEXEC);
	if (vhost->map.fd >= 0)
		return 0;
	error = errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].error == error) {
			error_add(err, "cannot open %s: %s", vhost->path, reasons[i].text);
			return -error;
		}
	}
	error_add(err, "cannot open %s: %s", vhost->path, strerror(error));
	return -error;
}

/* Refuses a file that is no vhost-vdpa node, and a device that is no NIC. */
static int vhost_check_kind(const struct vhost *vhost, struct error *err)
{
	uint32_t id = 0;
	int ret = vhost_request(vhost, VHOST_VDPA_GET_DEVICE_ID, &id);

	if (ret < 0) {
		error_add(err, "%s is not a vhost-vdpa device: %s", vhost->path, strerror(-ret));
		return ret;
	}
	if (id != VIRTIO_ID_NET) {
		error_add(err, "%s is not a NIC, but a virtio device of type %u", vhost->path, id);
		return -ENODEV;
	}
	return 0;
}

/* Backend features are set before any message is sent because they say how the kernel reads messages. */
static int vhost_set_backend_features(struct vhost *vhost, struct error *err)
{
	int ret = vhost_ioctl(vhost, VHOST_GET_BACKEND_FEATURES, &vhost->backend_features,
			      "read the backend features", err);

	if (ret < 0)
		return ret;
	if (!virtio_has(vhost->backend_features, VHOST_BACKEND_F_IOTLB_MSG_V2)) {
		error_add(err, "%s: the kernel is too old: it lacks messages of version 2", vhost->path);
		return -ENOTSUP;
	}
	vhost->backend_features &= BACKEND_FEATURES;
	vhost->map.batches = virtio_has(vhost->backend_features, VHOST_BACKEND_F_IOTLB_BATCH);
	return vhost_ioctl(vhost, VHOST_SET_BACKEND_FEATURES, &vhost->backend_features,
			   "set the backend features", err);
}

static int vhost_read_spaces(struct vhost *vhost, struct error *err)
{
	uint32_t n_groups = 0, n_asids = 0;
	int ret = vhost_ioctl(vhost, VHOST_VDPA_GET_GROUP_NUM, &n_groups, "read the number of groups", err);

	if (ret == 0)
		ret = vhost_ioctl(vhost, VHOST_VDPA_GET_AS_NUM, &n_asids, "read the number of address spaces",
				  err);
	vhost->vdpa.n_groups = n_groups;
	vhost->vdpa.n_asids = n_asids;
	return ret;
}

static int vhost_read_facts(struct vhost *vhost, struct error *err)
{
	struct vdpa *vdpa = &vhost->vdpa;
	struct vhost_vdpa_iova_range range = { 0 };
	uint32_t n_vqs = 0;
	int ret = vhost_ioctl(vhost, VHOST_GET_FEATURES, &vdpa->features, "read the features", err);

	/* The numbers of queues and of bytes of configuration can be asked for since Linux 5.18. */
	if (ret == 0)
		ret = vhost_ioctl(vhost, VHOST_VDPA_GET_VQS_COUNT, &n_vqs, "read the number of queues", err);
	if (ret == 0)
		ret = vhost_ioctl(vhost, VHOST_VDPA_GET_CONFIG_SIZE, &vdpa->config_len,
				  "read the size of the configuration", err);
	if (ret == 0)
		ret = vhost_ioctl(vhost, VHOST_VDPA_GET_IOVA_RANGE, &range, "read the range of addresses",
				  err);
	if (ret < 0)
		return ret;
	vdpa->n_vqs = n_vqs;
	vdpa->iova_first = range.first;
	vdpa->iova_last = range.last;
	vhost->map.first = range.first;
	vhost->map.last = range.last;
	vdpa->maps_persist = virtio_has(vhost->backend_features, VHOST_BACKEND_F_IOTLB_PERSIST);
	vdpa->can_suspend = virtio_has(vhost->backend_features, VHOST_BACKEND_F_SUSPEND) &&
			    virtio_has(vhost->backend_features, VHOST_BACKEND_F_RESUME);
	return virtio_has(vhost->backend_features, VHOST_BACKEND_F_IOTLB_ASID) ? vhost_read_spaces(vhost, err)
									       : 0;
}

/* Every parent has one largest size for all queues, and some have one for each queue too. The size of a split
 * ring is a power of two, so it is rounded down to one. */
static int vhost_read_size(const struct vhost *vhost, unsigned int index, uint16_t max, uint16_t *size,
			   struct error *err)
{
	struct vhost_vring_state state = { .index = index };
	int ret = vhost_request(vhost, VHOST_VDPA_GET_VRING_SIZE, &state);

	if (ret == -ENOTTY || ret == -EOPNOTSUPP)
		state.num = max;
	else if (ret < 0) {
		error_add(err, "%s: cannot read the ring size of queue %u: %s", vhost->path, index,
			  strerror(-ret));
		return ret;
	}
	state.num = (uint32_t)min_u64(min_u64(state.num, max), VIRTIO_RING_MAX_SIZE);
	while (state.num & (state.num - 1))
		state.num &= state.num - 1;
	*size = (uint16_t)state.num;
	return 0;
}

/* The control queue is the device's last one. A device that cannot tell a queue's group has one group. */
static bool vhost_is_ctrl_apart(struct vhost *vhost)
{
	struct vhost_vring_state ctrl = { .index = vhost->vdpa.n_vqs - 1 };

	if (!virtio_has(vhost->vdpa.features, VIRTIO_NET_F_CTRL_VQ) || vhost->vdpa.n_groups < 2 ||
	    vhost->vdpa.n_asids < 2 || vhost_request(vhost, VHOST_VDPA_GET_VRING_GROUP, &ctrl) < 0)
		return false;
	for (unsigned int i = 0; i < ctrl.index; i++) {
		struct vhost_vring_state data = { .index = i };

		if (vhost_request(vhost, VHOST_VDPA_GET_VRING_GROUP, &data) < 0 || data.num == ctrl.num)
			return false;
	}
	return true;
}

/*
 * A device may show the queues of more than one pair, and tell which is the control queue, only when it knows
 * of a driver that has accepted several: QEMU's does. So the sizes, and the groups, are read behind such a
 * negotiation; a device that wants other features as well is asked without. It ends with a reset.
 */
static int vhost_read_sizes(struct vhost *vhost, struct error *err)
{
	struct vdpa *vdpa = &vhost->vdpa;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint64_t features = vdpa->features & SIZE_FEATURES;
	uint16_t max;
	int ret = vhost_ioctl(vhost, VHOST_VDPA_GET_VRING_NUM, &max, "read the size of rings", err);

	if (ret < 0)
		return ret;
	vhost->sizes = calloc(vdpa->n_vqs, sizeof(*vhost->sizes));
	if (!vhost->sizes) {
		error_add(err, "out of memory for %u queues", vdpa->n_vqs);
		return -ENOMEM;
	}
	ret = vhost_set_status(vdpa, status, err);
	if (ret == 0 && vhost_request(vhost, VHOST_SET_FEATURES, &features) == 0) {
		status |= VIRTIO_CONFIG_S_FEATURES_OK;
		/* A device that refuses it shows the sizes that it has without a driver. */
		vhost_request(vhost, VHOST_VDPA_SET_STATUS, &status);
	}
	for (unsigned int i = 0; i < vdpa->n_vqs && ret == 0; i++)
		ret = vhost_read_size(vhost, i, max, &vhost->sizes[i], err);
	vdpa->ctrl_apart = vhost_is_ctrl_apart(vhost);
	if (ret == 0)
		ret = vhost_set_status(vdpa, 0, err);
	return ret;
}

int vhost_open(struct vdpa **out, const char *path, struct error *err)
{
	struct vhost *vhost = calloc(1, sizeof(*vhost) + strlen(path) + 1);
	int ret;

	if (!vhost) {
		error_add(err, "out of memory for %s", path);
		return -ENOMEM;
	}
	strcpy(vhost->path, path);
	vhost->map = (struct vhost_map){ .fd = -1, .path = vhost->path };
	vhost->vdpa = (struct vdpa){
		.ops = &vhost_ops,
		.name = vhost->path,
		.advice = { .mac = "\"vdpa dev set name ... mac ...\"",
			    .mtu = "make the device with \"vdpa dev add ... mtu ...\"",
			    .pairs = "make the device with \"vdpa dev add ... max_vqp ...\"" },
	};
	ret = vhost_open_node(vhost, err);
	if (ret == 0)
		ret = vhost_check_kind(vhost, err);
	if (ret == 0)
		ret = vhost_set_backend_features(vhost, err);
	if (ret == 0)
		ret = vhost_ioctl(vhost, VHOST_SET_OWNER, NULL, "take the device", err);
	if (ret == 0)
		ret = vhost_read_facts(vhost, err);
	if (ret == 0)
		ret = vhost_read_sizes(vhost, err);
	if (ret < 0) {
		vhost_close(&vhost->vdpa);
		return ret;
	}
	*out = &vhost->vdpa;
	return 0;
}
