/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the state of the transport, read and checked as a whole, then taken over. */
#include "devices/virtio/pci_state.h"

#include <errno.h>
#include <inttypes.h>

#include "devices/virtio/pci_status.h"

/* The registers that are values of their own, in the order of the state. */
static const struct register_row {
	const char *name;
	size_t offset; /* in struct virtio_pci_loaded */
	uint32_t max;
} register_rows[] = {
	{ "status", offsetof(struct virtio_pci_loaded, status), UINT8_MAX },
	{ "isr", offsetof(struct virtio_pci_loaded, isr), VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG },
	{ "device-feature-select", offsetof(struct virtio_pci_loaded, device_feature_select), UINT32_MAX },
	{ "driver-feature-select", offsetof(struct virtio_pci_loaded, driver_feature_select), UINT32_MAX },
	{ "config-vector", offsetof(struct virtio_pci_loaded, config_vector), VIRTIO_MSI_NO_VECTOR },
	{ "config-generation", offsetof(struct virtio_pci_loaded, config_generation), UINT8_MAX },
	{ "queue-select", offsetof(struct virtio_pci_loaded, queue_select), UINT16_MAX },
};

static uint32_t *register_value(struct virtio_pci_loaded *l, const struct register_row *row)
{
	return (uint32_t *)(void *)((uint8_t *)l + row->offset);
}

static void save_registers(const struct virtio_pci *v, struct state_writer *w)
{
	struct virtio_pci_loaded now = {
		.status = v->status,
		.isr = v->isr,
		.device_feature_select = v->device_feature_select,
		.driver_feature_select = v->driver_feature_select,
		.config_vector = v->config_vector,
		.config_generation = v->config_generation,
		.queue_select = v->queue_select,
	};

	state_put_u64(w, "offered", v->offered);
	state_put_u64(w, "accepted", v->accepted);
	for (unsigned int i = 0; i < ARRAY_SIZE(register_rows); i++)
		state_put_u32(w, register_rows[i].name, *register_value(&now, &register_rows[i]));
	state_put_u32(w, "queues", v->n_queues);
}

static void save_queue(const struct virtio_queue *q, unsigned int index, struct state_writer *w)
{
	state_begin_indexed(w, "queue", index);
	state_put_u32(w, "max-size", q->max_size);
	state_put_u32(w, "size", q->size);
	state_put_u32(w, "enabled", q->enabled);
	state_put_u32(w, "vector", q->vector);
	state_put_u64(w, "desc", q->desc);
	state_put_u64(w, "driver", q->driver);
	state_put_u64(w, "device", q->device);
	state_end(w);
}

void virtio_pci_save(struct virtio_pci *v, struct state_writer *w)
{
	state_begin(w, "virtio");
	state_begin(w, "virtio-pci");
	pthread_mutex_lock(&v->lock);
	virtio_pci_end_reset(v);
	save_registers(v, w);
	for (unsigned int i = 0; i < v->n_queues; i++)
		save_queue(&v->queues[i], i, w);
	pthread_mutex_unlock(&v->lock);
	pci_save(&v->pci, w);
	state_end(w);
	state_end(w);
}

static bool vector_valid(const struct virtio_pci *v, uint32_t vector)
{
	return vector < v->pci.n_vectors || vector == VIRTIO_MSI_NO_VECTOR;
}

static int load_queue(const struct virtio_pci *v, unsigned int index, struct virtio_pci_loaded *l,
		      struct state_node *parent)
{
	uint16_t max_size = v->queues[index].max_size;
	struct virtio_pci_place *q = &l->queues[index];
	struct state_node node;
	uint32_t n;
	int ret = state_child_indexed(&node, parent, "queue", index);

	if (ret == 0)
		ret = state_get_u32(&node, "max-size", max_size, max_size, &n);
	if (ret == 0)
		ret = state_get_u32(&node, "size", max_size > 0, max_size, &q->size);
	if (ret == 0)
		ret = state_get_u32(&node, "enabled", 0, max_size > 0, &q->enabled);
	if (ret == 0)
		ret = state_get_u32(&node, "vector", 0, VIRTIO_MSI_NO_VECTOR, &q->vector);
	if (ret == 0)
		ret = state_get_u64(&node, "desc", 0, UINT64_MAX, &q->desc);
	if (ret == 0)
		ret = state_get_u64(&node, "driver", 0, UINT64_MAX, &q->driver);
	if (ret == 0)
		ret = state_get_u64(&node, "device", 0, UINT64_MAX, &q->device);
	if (ret == 0)
		ret = state_finish(&node);
	if (ret < 0)
		return ret;
	if (q->size > 0 && !virtio_pci_size_valid(q->size, l->accepted)) {
		error_add(node.err, "queue %u has %u entries, not a power of two", index, q->size);
		return -EINVAL;
	}
	if (!vector_valid(v, q->vector)) {
		error_add(node.err, "queue %u has vector %u of %u", index, q->vector, v->pci.n_vectors);
		return -EINVAL;
	}
	if (q->enabled && !(l->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		error_add(node.err, "queue %u is enabled at status 0x%x", index, l->status);
		return -EINVAL;
	}
	return 0;
}

static int load_registers(const struct virtio_pci *v, struct virtio_pci_loaded *l, struct state_node *node)
{
	uint32_t n;
	int ret = state_get_u64(node, "offered", 0, UINT64_MAX, &l->offered);

	if (ret == 0)
		ret = state_get_u64(node, "accepted", 0, UINT64_MAX, &l->accepted);
	for (unsigned int i = 0; i < ARRAY_SIZE(register_rows) && ret == 0; i++)
		ret = state_get_u32(node, register_rows[i].name, 0, register_rows[i].max,
				    register_value(l, &register_rows[i]));
	return ret == 0 ? state_get_u32(node, "queues", v->n_queues, v->n_queues, &n) : ret;
}

static int check_registers(struct virtio_pci *v, const struct virtio_pci_loaded *l, struct error *err)
{
	uint64_t missing = 0;

	/* Without a driver nobody has seen any features. A driver that has accepted some can have those again
	 * after a reset, and needs no others. Between the two it may have seen all. */
	if (l->status & VIRTIO_CONFIG_S_FEATURES_OK)
		missing = l->accepted & ~v->offered;
	else if (l->status & VIRTIO_CONFIG_S_DRIVER)
		missing = l->offered & ~v->offered;
	if (missing) {
		error_add(err, "features 0x%" PRIx64 " that the guest's driver %s are not offered here",
			  missing,
			  l->status & VIRTIO_CONFIG_S_FEATURES_OK ? "has accepted" : "may accept now");
		return -EINVAL;
	}
	if (!virtio_pci_status_legal((uint8_t)l->status)) {
		error_add(err, "device status 0x%x does not exist", l->status);
		return -EINVAL;
	}
	/* Before FEATURES_OK the register holds whatever the driver has written, and nobody has looked at
	 * that. */
	if ((l->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((l->accepted & ~l->offered) || !virtio_pci_features_valid(v, l->accepted))) {
		error_add(err,
			  "the driver cannot have accepted features 0x%" PRIx64 " of 0x%" PRIx64 " offered",
			  l->accepted, l->offered);
		return -EINVAL;
	}
	if (!vector_valid(v, l->config_vector)) {
		error_add(err, "configuration changes have vector %u of %u", l->config_vector,
			  v->pci.n_vectors);
		return -EINVAL;
	}
	return 0;
}

void virtio_pci_set(struct virtio_pci *v, const struct virtio_pci_loaded *l)
{
	pthread_mutex_lock(&v->lock);
	pci_set(&v->pci, &l->pci);
	v->offered &= l->offered;
	v->accepted = l->accepted;
	v->status = (uint8_t)l->status;
	v->isr = (uint8_t)l->isr;
	v->device_feature_select = l->device_feature_select;
	v->driver_feature_select = l->driver_feature_select;
	v->config_vector = (uint16_t)l->config_vector;
	v->config_generation = (uint8_t)l->config_generation;
	v->queue_select = (uint16_t)l->queue_select;
	for (unsigned int i = 0; i < v->n_queues; i++) {
		struct virtio_queue *q = &v->queues[i];
		const struct virtio_pci_place *place = &l->queues[i];

		q->size = (uint16_t)place->size;
		q->enabled = place->enabled;
		q->vector = (uint16_t)place->vector;
		q->desc = place->desc;
		q->driver = place->driver;
		q->device = place->device;
	}
	/* Device configuration can differ from what was read at the source: the next look at the generation
	 * sees another one, and a driver that is not at DRIVER_OK yet looks again when it is. */
	v->config_changed = true;
	v->config_held = !(l->status & VIRTIO_CONFIG_S_DRIVER_OK);

	pthread_mutex_unlock(&v->lock);
}

static int get_all(struct virtio_pci *v, struct state_node *node, struct virtio_pci_loaded *l)
{
	int ret = load_registers(v, l, node);

	if (ret == 0)
		ret = check_registers(v, l, node->err);
	for (unsigned int i = 0; i < v->n_queues && ret == 0; i++)
		ret = load_queue(v, i, l, node);
	if (ret == 0)
		ret = pci_get(&v->pci, node, &l->pci);
	return ret == 0 ? state_finish(node) : ret;
}

int virtio_pci_get(struct virtio_pci *v, struct state_node *parent, struct virtio_pci_loaded *l)
{
	struct state_node virtio, node;
	int ret = state_child(&virtio, parent, "virtio");

	*l = (struct virtio_pci_loaded){ 0 };
	if (ret == 0)
		ret = state_child(&node, &virtio, "virtio-pci");
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&v->lock);
	ret = get_all(v, &node, l);
	pthread_mutex_unlock(&v->lock);
	return ret == 0 ? state_finish(&virtio) : ret;
}
