/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC as a whole: its planes by value, and what belongs to none of them. Only files above the planes see
 * it: they start and end the device, follow the driver's life, and migrate.
 *
 * The NIC's thread owns it; other threads come in through net_call(). vCPUs read virtio and space, which have
 * locks.
 */
#ifndef FERRY_DEVICES_NET_NIC_H
#define FERRY_DEVICES_NET_NIC_H

#include "devices/net/announce.h"
#include "devices/net/backend.h"
#include "devices/net/config_space.h"
#include "devices/net/ctrl_port.h"
#include "devices/net/phase.h"
#include "devices/net/queue.h"
#include "devices/virtio/transport.h"
#include "vmm/device.h"
#include "vmm/look.h"
#include "vmm/loop_timer.h"

/* Reasons for which the guest's data queues stay on shadow rings, each a bit. */
enum net_pin {
	/* The device cannot have the guest's rings, or the operator does not want it: net_pass_obstacle(). */
	NET_PIN_DEVICE = 1,
	/* A migration has to know which pages of guest memory are written. */
	NET_PIN_MIGRATION = 2,
	/* The device does not begin where this driver's rings are: until the driver's reset. */
	NET_PIN_DRIVER = 4,
};

/* A call of the NIC's thread that nobody waits for any more, and that the loop may have still: view.h. */
struct net_left_call {
	struct loop_call call;
	struct net_left_call *next;
};

struct net_arrival;

struct net {
	struct virtio_pci virtio;
	struct device device;
	char name[16];
	struct loop loop; /* the NIC's thread */

	/* How long it looks for packets instead of sleeping; and whether any have moved since it last asked
	 * itself. */
	struct look look;
	struct loop_idler idler;
	bool moved;

	enum net_phase phase;
	struct net_path path;
	struct net_queue queues[2 * NET_MAX_PAIRS + 1]; /* net_plan() says which exist */
	struct net_ctrl ctrl;
	struct net_announce announce;
	struct net_backend backend;
	struct net_space space;
	struct loop_source config_call; /* the device has changed its configuration */

	/* The first mapping of memory: net_map_begin(). */
	struct loop_call mapping;
	struct error map_error;

	/* Passthrough is forbidden while one of enum net_pin is among @pins. The timer tries to go over to
	 * it, again after @pass_wait_ms and ever more rarely. */
	unsigned int pins;
	/* In words, for who asks: the reason of NET_PIN_DEVICE, which stays, and that of NET_PIN_DRIVER. */
	const char *obstacle;
	char stays[128];
	unsigned int pass_wait_ms;
	struct loop_timer pass_timer;

	/* The NIC as the guest is shown it: pairs of queues, and features. @possible are features with which
	 * a guest that has them already can go on here. The device may have more pairs. */
	unsigned int max_pairs;
	unsigned int device_max_pairs;
	uint64_t possible, offered;
	/* Queues that were built: 2 * max_pairs, and the last one is the control queue if there is one. */
	unsigned int n_slots;
	uint16_t ring_size; /* the largest for which each shadow ring has room */

	/* The device at the other end is behind the same switch: commands that attract traffic wait for the
	 * guest, cvq_hold_back(). */
	bool shared_switch;
	/* Counts the driver's activations: a device cannot be brought by commands from one to the state of
	 * another. */
	uint64_t generation;
	/* Counts changes of what warm_save tells, beside those of the control plane. */
	uint64_t changes;
	uint64_t warm_saved; /* net_changes() at the last warm_save */
	/* Room for a guest that comes here; NULL: none does. */
	struct net_arrival *arrival;

	pthread_mutex_t left_lock;
	struct net_left_call *left;

	struct log_limit log_limit;
	/* The reason of a stop has a limit of its own, so that what the guest did before cannot hide it. */
	struct log_limit stop_limit;
	struct log_limit phase_limit;
};

static inline struct net *net_of(const struct net_queue *q)
{
	return container_of(q->path, struct net, path);
}

/* Changes of anything that warm_save tells. */
static inline uint64_t net_changes(const struct net *net)
{
	return net->changes + net->ctrl.changes;
}

static inline void net_step(struct net *net, enum net_step step)
{
	net_phase_step(&net->phase, step, net->name, &net->phase_limit);
}

/*
 * The number of data queues and the limits of commands that a set of negotiated features means. net_plan()
 * makes the NIC one with @features: the queues that exist, the control queue's number at guest and device,
 * the header's length, and the limits.
 */
unsigned int net_n_data(const struct net *net, uint64_t features);
struct cvq_limits net_limits(const struct net *net, uint64_t features);
void net_plan(struct net *net, uint64_t features);

/* Returns the @n-th queue that exists with the negotiated features, data queues first, or NULL behind the
 * last. */
struct net_queue *net_nth_queue(struct net *net, unsigned int n);
/* Returns the queue that the guest knows by this number, or NULL. */
struct net_queue *net_guest_queue(struct net *net, unsigned int guest_index);

#endif
