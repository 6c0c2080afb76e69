/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC as a whole: its planes by value, and what is of none of them. Seen by what stands above the planes:
 * what starts and ends the device, follows the driver's life, and migrates.
 *
 * Unless said otherwise everything here runs on the NIC's thread; others come in through net_call().
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
#include "vmm/loop_timer.h"

/* Why the guest's data queues stay on shadow rings, each a bit. */
enum net_pin {
	NET_PIN_DEVICE = 1,    /* the device cannot have them, or is not to: net_pass_obstacle() */
	NET_PIN_MIGRATION = 2, /* a migration has to know what is written to guest memory */
	NET_PIN_DRIVER = 4,    /* the device does not begin where this driver's rings are */
};

struct net {
	struct virtio_pci virtio;
	struct device device;
	char name[16];
	struct loop loop; /* the NIC's thread */

	enum net_phase phase;
	struct net_path path;
	struct net_queue queues[2 * NET_MAX_PAIRS + 1]; /* which of them exist: net_plan() */
	struct net_ctrl ctrl;
	struct net_announce announce;
	struct net_backend backend;

	/* Mapping for the first time: net_map_begin(). */
	struct loop_call mapping;
	struct error map_error;

	/* Passthrough. */
	unsigned int pins;         /* of enum net_pin; 0: the device serves the guest's rings where it can */
	unsigned int pass_wait_ms; /* for the next try to go over to it */
	struct loop_timer pass_timer;

	unsigned int max_pairs;        /* as the guest sees it */
	unsigned int device_max_pairs; /* as the device has it */
	uint64_t possible;             /* features that a guest which has them can go on with */
	uint64_t offered;
	unsigned int
		n_slots;    /* queues that were built: 2 * max_pairs, and the control queue if there is one */
	uint16_t ring_size; /* for which each shadow ring has room */

	struct net_space space; /* what the guest sees of the device */
	struct loop_source config_call;

	bool shared_switch;  /* what attracts traffic waits for the guest: cvq_hold_back() */
	uint64_t generation; /* counts activations: state of another one cannot be reached by commands */
	uint64_t changes;    /* of what warm_save tells, beside those of the control plane */
	uint64_t warm_saved; /* net_changes() when it was last told */

	struct log_limit log_limit;
	struct log_limit stop_limit; /* why the NIC stopped is not lost behind what the guest did before */
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

/* Shows the guest the state of link and announcements, with an interrupt where it can see a change. */
void net_show_status(struct net *net);

/*
 * What a set of negotiated features means: the number of data queues, and limits of commands. net_plan()
 * makes it so: which queues there are, where the control queue is at guest and device, the header's length,
 * and the limits.
 */
unsigned int net_n_data(const struct net *net, uint64_t features);
struct cvq_limits net_limits(const struct net *net, uint64_t features);
void net_plan(struct net *net, uint64_t features);

/* Every queue that exists with the negotiated features, data queues first; NULL: there is no such one. */
struct net_queue *net_nth_queue(struct net *net, unsigned int n);
/* The queue that the guest knows by this number, or NULL. */
struct net_queue *net_guest_queue(struct net *net, unsigned int guest_index);

#endif
