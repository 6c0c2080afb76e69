/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vDPA NIC in software behind struct vdpa, for tests. It reaches memory through what was mapped for it and
 * asserts that everything named is mapped, and that no queue is kicked before DRIVER_OK. Data queues are
 * moved by the test, packet by packet; the control queue has a thread of its own, which executes commands
 * with a model NIC. It can misbehave on request.
 *
 * Everything here takes the lock: any thread.
 */
#ifndef FERRY_TESTS_FAKE_VDPA_H
#define FERRY_TESTS_FAKE_VDPA_H

#include <pthread.h>

#include "devices/vdpa/vdpa.h"
#include "tests/fake/device.h"
#include "tests/fake/model_nic.h"

#define FAKE_VDPA_MAX_PAIRS 4u
#define FAKE_VDPA_MAX_VQS   (2 * FAKE_VDPA_MAX_PAIRS + 1)
#define FAKE_VDPA_REGIONS   4u
#define FAKE_VDPA_CONFIG    28u

/* What a device is to be like; fields are free to be changed before the NIC is built on it. */
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
	uint64_t counted; /* by each counter, when it starts */
	bool maps_persist;
	bool in_order; /* says of itself that it is; the test sees to it */
	bool doorbells;
};

/* Everything that Ferry carries, two pairs, rings of 64. */
extern const struct fake_vdpa_spec fake_vdpa_default;
/* As those of VDUSE are: no control queue, cannot be suspended, forgets its mappings. */
extern const struct fake_vdpa_spec fake_vdpa_plain;

struct fake_vdpa_queue {
	struct vdpa_vring vring;
	bool set, enabled, live;
	struct fake_device ring;
	unsigned int n_taken, n_calls;
	unsigned int n_at_start; /* elements that were there at DRIVER_OK */
};

/* What it does wrong. Set with fake_vdpa_lock() held, or before the device is used. */
struct fake_vdpa_faults {
	bool gone;               /* every operation fails, nothing is answered */
	bool refuse_features_ok; /* the status does not stick */
	bool refuse_map;
	int refuse_class;        /* of control commands; -1: none */
	unsigned int refuse_nth; /* control command since DRIVER_OK, from 1; 0: none */
	bool hold;               /* commands are taken and not answered */
	int answer_ms;           /* for each command */
	bool reverse;            /* commands of a batch are answered last first */
	bool bad_ctrl_id;        /* the next command is answered with an id outside the ring */
	bool last_moment;        /* what is complete and not published yet is so at a reset */
	bool bare_ack;           /* answers say that they have the ack only */
	int bad_ack;             /* written instead of VIRTIO_NET_ERR; -1: none */
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
	bool maps_lost; /* a reset has taken them, but for the bookkeeping */
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

/* The network has a packet for the device, without vnet header: false if there are no buffers for it. Signals
 * the call if it is wanted. */
bool fake_vdpa_receive(struct fake_vdpa *f, unsigned int pair, const void *data, uint32_t len);

/* Takes a packet that the guest sends, waiting for up to a second: its length without vnet header, or -1.
 * Gives its buffer back, with a call if it is wanted. */
int fake_vdpa_sent(struct fake_vdpa *f, unsigned int pair, void *data, uint32_t size);

/* One by one: takes an element, waiting for up to a second, and gives it back. Calls are made if they are
 * wanted. */
bool fake_vdpa_take(struct fake_vdpa *f, unsigned int queue, struct fake_element *e);
void fake_vdpa_use(struct fake_vdpa *f, unsigned int queue, uint32_t id, uint32_t len);
void fake_vdpa_publish(struct fake_vdpa *f, unsigned int queue);
void fake_vdpa_write(struct fake_vdpa *f, const struct virtio_seg *segs, unsigned int n, const void *data,
		     uint32_t len);

/* How many elements wait in a queue. */
unsigned int fake_vdpa_waiting(struct fake_vdpa *f, unsigned int queue);

/* Answers what hold has held, and holds no more. */
void fake_vdpa_release(struct fake_vdpa *f);
/* Status and signal, as a device changes them by itself. */
void fake_vdpa_set_config_status(struct fake_vdpa *f, uint16_t status);
void fake_vdpa_needs_reset(struct fake_vdpa *f);

#endif
