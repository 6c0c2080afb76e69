/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the common configuration structure as a table of registers. */
#include "devices/virtio/pci_common.h"

#include "devices/virtio/pci_status.h"

static uint32_t read_status(struct virtio_pci *v, unsigned int arg)
{
	return v->status;
}

static void write_status(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	virtio_pci_write_status(v, value);
}

/* Registers of a queue are those of the selected one; a queue without a size does not exist. */

static struct virtio_queue *selected_queue(struct virtio_pci *v)
{
	if (v->queue_select >= v->n_queues || v->queues[v->queue_select].max_size == 0)
		return NULL;
	return &v->queues[v->queue_select];
}

/* The selected queue, for a register that is fixed once a queue is enabled. */
static struct virtio_queue *selected_queue_to_set_up(struct virtio_pci *v)
{
	struct virtio_queue *q = selected_queue(v);

	if (q && !q->enabled)
		return q;
	log_limited(&v->log_limit, LOG_WARN, "PCI slot %u: the driver sets up queue %u, which is %s: ignored",
		    v->pci.slot, v->queue_select, q ? "enabled" : "not there");
	return NULL;
}

/* A vector that is not there reads back as none. */
static uint16_t vector_or_none(const struct virtio_pci *v, uint32_t value)
{
	return value < v->pci.n_vectors ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

static uint32_t read_u32(struct virtio_pci *v, unsigned int arg)
{
	uint32_t value;

	memcpy(&value, (uint8_t *)v + arg, sizeof(value));
	return value;
}

static void write_u32(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	memcpy((uint8_t *)v + arg, &value, sizeof(value));
}

static uint32_t read_device_feature(struct virtio_pci *v, unsigned int arg)
{
	return v->device_feature_select < 2 ? (uint32_t)(v->offered >> 32 * v->device_feature_select) : 0;
}

static uint32_t read_driver_feature(struct virtio_pci *v, unsigned int arg)
{
	return v->driver_feature_select < 2 ? (uint32_t)(v->accepted >> 32 * v->driver_feature_select) : 0;
}

static void write_driver_feature(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	unsigned int shift = 32 * (v->driver_feature_select & 1);

	if (v->driver_feature_select >= 2 || (v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	v->accepted = (v->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static uint32_t read_config_vector(struct virtio_pci *v, unsigned int arg)
{
	return v->config_vector;
}

static void write_config_vector(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	v->config_vector = vector_or_none(v, value);
}

static uint32_t read_num_queues(struct virtio_pci *v, unsigned int arg)
{
	return v->n_queues;
}

/* A driver reads it before and after what it wants from the device's configuration. */
static uint32_t read_config_generation(struct virtio_pci *v, unsigned int arg)
{
	if (atomic_exchange(&v->config_changed, false))
		v->config_generation++;
	return v->config_generation;
}

static uint32_t read_queue_select(struct virtio_pci *v, unsigned int arg)
{
	return v->queue_select;
}

static void write_queue_select(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	v->queue_select = (uint16_t)value;
}

static uint32_t read_queue_size(struct virtio_pci *v, unsigned int arg)
{
	const struct virtio_queue *q = selected_queue(v);

	return q ? q->size : 0;
}

static void write_queue_size(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	struct virtio_queue *q = selected_queue_to_set_up(v);

	if (!q)
		return;
	if (virtio_pci_size_valid(value, v->accepted) && value <= q->max_size)
		q->size = (uint16_t)value;
	else
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the driver wants %u entries in queue %u, at most %u: ignored",
			    v->pci.slot, value, v->queue_select, q->max_size);
}

static uint32_t read_queue_vector(struct virtio_pci *v, unsigned int arg)
{
	const struct virtio_queue *q = selected_queue(v);

	return q ? q->vector : VIRTIO_MSI_NO_VECTOR;
}

static void write_queue_vector(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	struct virtio_queue *q = selected_queue(v);

	if (!q)
		return;
	q->vector = vector_or_none(v, value);
	if (v->ops->queue_vector)
		v->ops->queue_vector(v, v->queue_select);
}

static uint32_t read_queue_enable(struct virtio_pci *v, unsigned int arg)
{
	const struct virtio_queue *q = selected_queue(v);

	return q && q->enabled;
}

/* Whether the driver may reset and enable single queues: while the device works. */
static bool queues_can_reset(const struct virtio_pci *v)
{
	return virtio_pci_step(v->status) == VIRTIO_PCI_AT_DRIVER_OK &&
	       virtio_has(v->accepted, VIRTIO_F_RING_RESET);
}

static void write_queue_enable(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	struct virtio_queue *q = selected_queue_to_set_up(v);

	if (!q)
		return;
	if (value == 1 && virtio_pci_step(v->status) == VIRTIO_PCI_AT_FEATURES_OK) {
		q->enabled = true;
	} else if (value == 1 && queues_can_reset(v)) {
		q->enabled = true;
		v->ops->queue_enable(v, v->queue_select);
	} else {
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the driver wrote %u to queue %u's enable at status 0x%x: ignored",
			    v->pci.slot, value, v->queue_select, v->status);
	}
}

/* The reset of a queue is over when the write of the register returns, so no driver sees a 1. */
static uint32_t read_queue_reset(struct virtio_pci *v, unsigned int arg)
{
	return 0;
}

static void write_queue_reset(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	struct virtio_queue *q = selected_queue(v);

	if (!q || value != 1 || !queues_can_reset(v)) {
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the driver wrote %u to queue %u's reset at status 0x%x: ignored",
			    v->pci.slot, value, v->queue_select, v->status);
		return;
	}
	if (q->enabled)
		v->ops->queue_reset(v, v->queue_select);
	virtio_pci_reset_queue(q);
}

static uint32_t read_queue_notify_off(struct virtio_pci *v, unsigned int arg)
{
	return selected_queue(v) ? v->queue_select : 0;
}

/* Addresses are read and written by halves: @arg is the offset of the 32 bits in struct virtio_queue, which
 * are little-endian as the host is. */
static uint32_t read_queue_addr(struct virtio_pci *v, unsigned int arg)
{
	const struct virtio_queue *q = selected_queue(v);

	return q ? get_le32((const uint8_t *)q + arg) : 0;
}

static void write_queue_addr(struct virtio_pci *v, unsigned int arg, uint32_t value)
{
	struct virtio_queue *q = selected_queue_to_set_up(v);

	if (q)
		put_le32((uint8_t *)q + arg, value);
}

/* A register without a write function is read-only. */
static const struct common_register {
	uint8_t offset, size;
	uint32_t (*read)(struct virtio_pci *v, unsigned int arg);
	void (*write)(struct virtio_pci *v, unsigned int arg, uint32_t value);
	unsigned int arg;
} common_registers[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, read_u32, write_u32,
	  offsetof(struct virtio_pci, device_feature_select) },
	{ VIRTIO_PCI_COMMON_DF, 4, read_device_feature, NULL, 0 },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, read_u32, write_u32,
	  offsetof(struct virtio_pci, driver_feature_select) },
	{ VIRTIO_PCI_COMMON_GF, 4, read_driver_feature, write_driver_feature, 0 },
	{ VIRTIO_PCI_COMMON_MSIX, 2, read_config_vector, write_config_vector, 0 },
	{ VIRTIO_PCI_COMMON_NUMQ, 2, read_num_queues, NULL, 0 },
	{ VIRTIO_PCI_COMMON_STATUS, 1, read_status, write_status, 0 },
	{ VIRTIO_PCI_COMMON_CFGGENERATION, 1, read_config_generation, NULL, 0 },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, read_queue_select, write_queue_select, 0 },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, read_queue_size, write_queue_size, 0 },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, read_queue_vector, write_queue_vector, 0 },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, read_queue_enable, write_queue_enable, 0 },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, read_queue_notify_off, NULL, 0 },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, desc) },
	{ VIRTIO_PCI_COMMON_Q_DESCHI, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, desc) + 4 },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, driver) },
	{ VIRTIO_PCI_COMMON_Q_AVAILHI, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, driver) + 4 },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, device) },
	{ VIRTIO_PCI_COMMON_Q_USEDHI, 4, read_queue_addr, write_queue_addr,
	  offsetof(struct virtio_queue, device) + 4 },
	{ VIRTIO_PCI_COMMON_Q_RESET, 2, read_queue_reset, write_queue_reset, 0 },
};

static const struct common_register *common_find(uint64_t offset, unsigned int len)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(common_registers); i++) {
		if (common_registers[i].offset == offset && common_registers[i].size == len)
			return &common_registers[i];
	}
	return NULL;
}

/* Whether a field of 64 bits begins at @offset. */
static bool common_is_wide(uint64_t offset)
{
	return offset == VIRTIO_PCI_COMMON_Q_DESCLO || offset == VIRTIO_PCI_COMMON_Q_AVAILLO ||
	       offset == VIRTIO_PCI_COMMON_Q_USEDLO;
}

/*
 * Fields have their natural width, and those of 64 bits are two of 32 ("Driver Requirements: PCI Device
 * Layout"). Drivers have been seen to access these as one, which can mean one thing only, and is served as
 * the two. Anything else is not answered: what a driver believes to have set would not be. Returns the width
 * of a part, 0 for none.
 */
static unsigned int common_part(struct virtio_pci *v, const char *access, uint64_t offset, unsigned int len)
{
	unsigned int part = len == 8 && common_is_wide(offset) ? 4 : len;

	if (common_find(offset, part))
		return part;
	log_limited(&v->log_limit, LOG_WARN,
		    "PCI slot %u: the driver %s %u bytes at 0x%llx of the common configuration, where there "
		    "is no such field: ignored",
		    v->pci.slot, access, len, (unsigned long long)offset);
	return 0;
}

void virtio_pci_common_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len)
{
	unsigned int part = common_part(v, "reads", offset, len);
	uint8_t *out = data, value[4];

	if (part == 0)
		return;
	pthread_mutex_lock(&v->lock);
	virtio_pci_end_reset(v);
	for (unsigned int at = 0; at < len; at += part) {
		const struct common_register *reg = common_find(offset + at, part);

		put_le32(value, reg->read(v, reg->arg));
		memcpy(out + at, value, part);
	}
	pthread_mutex_unlock(&v->lock);
}

void virtio_pci_common_write(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len)
{
	unsigned int part = common_part(v, "writes", offset, len);
	const uint8_t *in = data;
	uint8_t value[4] = { 0 };

	if (part == 0)
		return;
	pthread_mutex_lock(&v->lock);
	virtio_pci_end_reset(v);
	for (unsigned int at = 0; at < len && !v->resetting; at += part) {
		const struct common_register *reg = common_find(offset + at, part);

		memcpy(value, in + at, part);
		if (reg->write)
			reg->write(v, reg->arg, get_le32(value));
	}
	pthread_mutex_unlock(&v->lock);
}
