/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, modern only (virtio 1.4, "Virtio Over PCI Bus"): registers as a table, the device status
 * as a table of transitions, one MSI-X vector for each queue and one for configuration changes, one
 * notification page for each queue with an ioeventfd.
 */
#ifndef FERRY_DEVICES_VIRTIO_PCI_H
#define FERRY_DEVICES_VIRTIO_PCI_H

#include "devices/pci/bus.h"
#include "devices/pci/msix.h"
#include "devices/pci/state.h"
#include "devices/virtio/virtio.h"

struct virtio_pci;

/*
 * What a device type provides. Called on a vCPU's thread with the transport's lock held: may hand over to the
 * device's own thread and wait for it, for that thread never takes the lock while the guest runs.
 */
struct virtio_ops {
	/* Bytes of device configuration; @offset + @len is within config_len. */
	void (*config_read)(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len);
	/* Whether the driver's set of features, a subset of the offered, holds together. A plain predicate:
	 * asked by virtio_pci_get() too. */
	bool (*features_ok)(struct virtio_pci *v, uint64_t features);
	/* DRIVER_OK, which the status shows already: features and queues are final, vectors are not. Rings
	 * are where the driver said, unchecked. -errno makes the transport set DEVICE_NEEDS_RESET. */
	int (*driver_ok)(struct virtio_pci *v);
	/* Status 0: after it returns the device touches neither rings nor buffers. Also without a driver_ok()
	 * before. */
	void (*reset)(struct virtio_pci *v);
	/*
	 * Whether the reset that reset() has begun is done, for a device that cannot always finish at once.
	 * Until then the status keeps its value, so that the driver waits, and the driver's writes are
	 * ignored. NULL: always.
	 */
	bool (*reset_done)(struct virtio_pci *v);
	/* With VIRTIO_F_RING_RESET, after DRIVER_OK. The device has let go of the enabled queue @index when
	 * it returns; it takes it up again, where the driver has put it now. */
	void (*queue_reset)(struct virtio_pci *v, unsigned int index);
	void (*queue_enable)(struct virtio_pci *v, unsigned int index);
	/* Queue @index has another vector, or none: virtio_pci_queue_call() is another. NULL: no matter. */
	void (*queue_vector)(struct virtio_pci *v, unsigned int index);
};

/* A queue as the driver has set it up. */
struct virtio_queue {
	uint16_t max_size;
	uint16_t size;
	bool enabled;
	_Atomic uint16_t vector;
	uint64_t desc, driver, device; /* gpa */
	int kick_fd; /* eventfd, signalled by the guest's notification; owned by the transport */
};

struct virtio_pci {
	struct pci_function pci;
	const struct virtio_ops *ops;
	unsigned int device_type;
	uint32_t config_len;

	pthread_mutex_t lock; /* registers and the calls of ops */
	uint64_t offered;
	uint64_t accepted;
	uint32_t device_feature_select, driver_feature_select;
	_Atomic uint8_t status;
	_Atomic uint16_t config_vector;
	_Atomic bool config_changed; /* since the last read of it */
	_Atomic uint8_t isr;         /* VIRTIO_PCI_ISR_*, for drivers that look: there is no INTx */
	uint8_t config_generation;
	uint16_t queue_select;
	bool resetting; /* see reset_done() */
	unsigned int n_queues;
	struct virtio_queue *queues; /* [n_built] */
	unsigned int n_built;
	uint8_t notify_cap;         /* offset in config space */
	struct log_limit log_limit; /* for what the guest does wrong */
};

/* Beside VIRTIO_PCI_ISR_CONFIG of linux/virtio_pci.h. */
#define VIRTIO_PCI_ISR_QUEUE 1u

#define VIRTIO_PCI_MAX_QUEUES 253u
#define VIRTIO_PCI_MAX_CONFIG 0xe00u /* bytes of device configuration */

/*
 * Puts a device with @n_queues queues on @bus. @max_sizes holds the largest size of each queue, a power of
 * two, or 0 where there is no queue. Addresses do not depend on the number of queues, so that a host with
 * more of them can take a guest over.
 */
int __must_check virtio_pci_init(struct virtio_pci *v, struct pci_bus *bus, const struct virtio_ops *ops,
				 unsigned int device_type, uint32_t class_code, uint32_t config_len,
				 uint64_t offered, unsigned int n_queues, const uint16_t *max_sizes,
				 struct error *err);
/* Once vCPUs have ended, or before they run. */
void virtio_pci_exit(struct virtio_pci *v);

/*
 * Lowers what the guest will see to @n_queues, one vector for each and one more, and makes the features
 * @offered. @max_sizes become what the source had: larger ones are the caller's to carry. kick_fd
 * of the queues beyond stays open. Before the guest runs.
 */
void virtio_pci_limit(struct virtio_pci *v, unsigned int n_queues, const uint16_t *max_sizes,
		      uint64_t offered);

/* Interrupt of queue @index; configuration change; the driver must reset. Any thread, take no lock. */
void virtio_pci_notify_queue(struct virtio_pci *v, unsigned int index);
void virtio_pci_notify_config(struct virtio_pci *v);
void virtio_pci_needs_reset(struct virtio_pci *v);

/*
 * The eventfd of queue @index's vector, for a device that sends its interrupts itself: what it signals while
 * the vector is masked stays pending. -1 where the driver has set none. Stays the transport's. Any thread.
 */
int virtio_pci_queue_call(const struct virtio_pci *v, unsigned int index);

/* Puts @page in the place of queue @index's notifications; kick_fd is signalled again once it is unmapped. 0
 * or -errno. Any thread. */
int __must_check virtio_pci_map_doorbell(struct virtio_pci *v, unsigned int index, void *page);
void virtio_pci_unmap_doorbell(struct virtio_pci *v, unsigned int index);

/*
 * A node "virtio-pci" in the current one: registers, features, queues, vectors, while vCPUs are stopped.
 * Loading checks every value as if the driver had written it, and wants the queues that virtio_pci_limit()
 * has left. Of the features that the source offered only those must be offered here that the driver has
 * accepted, or may be about to accept; the others are gone from the register, which a driver reads before it
 * accepts. Starts nothing.
 *
 * virtio_pci_get() reads, and changes nothing; virtio_pci_set() takes over what it has read.
 */
struct virtio_pci_loaded {
	uint64_t offered, accepted;
	uint32_t status, isr;
	uint32_t device_feature_select, driver_feature_select;
	uint32_t config_vector, config_generation;
	uint32_t queue_select;
	struct virtio_pci_place {
		uint32_t size, enabled, vector;
		uint64_t desc, driver, device; /* gpa */
	} queues[VIRTIO_PCI_MAX_QUEUES];
	struct pci_loaded pci;
};

/* Where the driver has put a queue now, as if it had been read. */
static inline struct virtio_pci_place virtio_pci_place(const struct virtio_queue *q)
{
	return (struct virtio_pci_place){ .size = q->size,
					  .enabled = q->enabled,
					  .vector = q->vector,
					  .desc = q->desc,
					  .driver = q->driver,
					  .device = q->device };
}

void virtio_pci_save(struct virtio_pci *v, struct state_writer *w);
int __must_check virtio_pci_get(struct virtio_pci *v, struct state_node *node,
				struct virtio_pci_loaded *loaded);
void virtio_pci_set(struct virtio_pci *v, const struct virtio_pci_loaded *loaded);

/* Between virtio_pci*.c. Access to the common configuration structure; a reset, with the lock held, and its
 * end, if it has come by now; what the driver may have written. */
void virtio_pci_common_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len);
void virtio_pci_reset(struct virtio_pci *v);
void virtio_pci_end_reset(struct virtio_pci *v);
void virtio_pci_common_write(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len);
bool virtio_pci_features_valid(struct virtio_pci *v, uint64_t accepted);
bool virtio_pci_status_legal(uint8_t status);
bool virtio_pci_size_valid(uint32_t size, uint64_t accepted);

#endif
