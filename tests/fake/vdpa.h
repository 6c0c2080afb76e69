/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vDPA NIC for tests behind struct vdpa. The NIC reaches memory through what was mapped for it, and asserts
 * that everything named is mapped, that no queue is kicked before DRIVER_OK, and that what was mapped is
 * there until the device is closed. The test moves data queues packet by packet; the control queue has a
 * thread of its own, which does commands with a model NIC. The test can have it misbehave.
 *
 * Any thread may call: every function takes the lock.
 */
#ifndef FERRY_TESTS_FAKE_VDPA_H
#define FERRY_TESTS_FAKE_VDPA_H

#include <pthread.h>

#include "devices/vdpa/vdpa.h"
#include "tests/fake/device.h"
#include "tests/fake/model_nic.h"

#define FAKE_VDPA_MAX_PAIRS 64u
#define FAKE_VDPA_MAX_VQS   (2 * FAKE_VDPA_MAX_PAIRS + 1)
#define FAKE_VDPA_REGIONS   4u
#define FAKE_VDPA_CONFIG    28u

/* The specification of a device. A test may change the fields until the NIC is built on the device. */
struct fake_vdpa_spec {
	const char *name;
	uint64_t features;
	unsigned int n_pairs;
	uint16_t ring_size, ctrl_ring_size;
	uint16_t mtu;
	uint8_t mac[6];
	uint16_t rss_max_table;
	uint32_t tunnel_types;
	uint64_t stats_types;
	uint64_t counted; /* the start of each counter */
	bool maps_persist;
	/* The device says so of itself, and the test sees to it. */
	bool in_order;
	bool doorbells;
};

/* The default has everything that Ferry carries, two pairs, and rings of 64. */
extern const struct fake_vdpa_spec fake_vdpa_default;
/* A plain device is like those of VDUSE: it has no control queue, cannot be suspended, and forgets its
 * mappings. */
extern const struct fake_vdpa_spec fake_vdpa_plain;

struct fake_vdpa_queue {
	struct vdpa_vring vring;
	bool set, enabled, live;
	struct fake_device ring;
	unsigned int n_taken, n_calls;
	unsigned int n_at_start; /* elements in the ring at DRIVER_OK */
};

/* The faults of a device. A test sets them with fake_vdpa_lock() held, or before the device is used. */
struct fake_vdpa_faults {
	bool gone;               /* operations fail, nothing answers */
	bool refuse_features_ok; /* the status does not stick */
	bool refuse_map;
	int refuse_class; /* of control commands; -1: none */
	/* The control command of this number since DRIVER_OK, from 1 on, is refused; 0: none. */
	unsigned int refuse_nth;
	bool hold;     /* commands are taken and not answered */
	int answer_ms; /* for each command */
	bool reverse;  /* a batch is answered last first */
	/* The next command is answered with an id outside the ring. */
	bool bad_ctrl_id;
	/* Elements that are done and not published yet are published at a reset. */
	bool last_moment;
	bool bare_ack; /* answers claim to be the ack alone */
	int bad_ack;   /* in place of VIRTIO_NET_ERR; -1: none */
};

struct fake_vdpa {
	struct vdpa vdpa;
	struct fake_vdpa_spec spec;
	struct fake_vdpa_faults faults;

	pthread_mutex_t lock;
	bool closed;
	uint8_t status;
	uint64_t features;
	uint8_t config[FAKE_VDPA_CONFIG];
	int config_call;
	int doorbells; /* a page for each queue, -1: none */
	unsigned int n_regions;
	struct vdpa_region regions[FAKE_VDPA_REGIONS];
	bool maps_lost; /* a reset has taken the mappings */
	unsigned int n_resets;
	struct fake_vdpa_queue queues[FAKE_VDPA_MAX_VQS];

	struct model_nic nic;
	unsigned int n_commands; /* since DRIVER_OK */
	int ctrl_stop;           /* eventfd */
	bool ctrl_running;
	pthread_t ctrl_thread;
	struct fake_vdpa_held {
		uint32_t id;
		uint32_t len;
	} held[512]; /* done, to be given back */
	unsigned int n_held;
};

struct fake_vdpa *fake_vdpa_new(const struct fake_vdpa_spec *spec);
void fake_vdpa_free(struct fake_vdpa *f); /* after the NIC has closed it */

static inline void fake_vdpa_lock(struct fake_vdpa *f)
{
	pthread_mutex_lock(&f->lock);
}

static inline void fake_vdpa_unlock(struct fake_vdpa *f)
{
	pthread_mutex_unlock(&f->lock);
}

unsigned int fake_vdpa_ctrl_index(const struct fake_vdpa *f);
uint32_t fake_vdpa_header_len(const struct fake_vdpa *f);

/*
 * Gives the device a packet of the network, without vnet header, and signals the call if the driver wants it.
 * Returns false if there are no buffers.
 */
bool fake_vdpa_receive(struct fake_vdpa *f, unsigned int pair, const void *data, uint32_t len);

/*
 * Waits for up to a second for a packet that the guest sends, and gives its buffer back, with a call if the
 * driver wants it. Returns its length without vnet header, or -1.
 */
int fake_vdpa_sent(struct fake_vdpa *f, unsigned int pair, void *data, uint32_t size);

/* The two steps of that apart: wait for up to a second for an element and take it; give it back, with a call
 * if the driver wants it. */
bool fake_vdpa_take(struct fake_vdpa *f, unsigned int queue, struct fake_element *e);
void fake_vdpa_use(struct fake_vdpa *f, unsigned int queue, uint32_t id, uint32_t len);
void fake_vdpa_publish(struct fake_vdpa *f, unsigned int queue);
void fake_vdpa_write(struct fake_vdpa *f, const struct virtio_seg *segs, unsigned int n, const void *data,
		     uint32_t len);

/* Returns how many elements wait in a queue. */
unsigned int fake_vdpa_waiting(struct fake_vdpa *f, unsigned int queue);

/* Answers the commands that were held, and clears the fault hold. */
void fake_vdpa_release(struct fake_vdpa *f);
/* Changes the status as a device does by itself, and signals that. */
void fake_vdpa_set_config_status(struct fake_vdpa *f, uint16_t status);
void fake_vdpa_needs_reset(struct fake_vdpa *f);

#endif
