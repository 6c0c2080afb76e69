/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations that the files of the NIC share: net.c (building it, what the guest sees), features.c,
 * backend.c (starting and stopping the vDPA device), queue.c (the guest's rings), forward.c (data
 * queues), passthrough.c (data queues that are the device's own), mode.c (going over to them and back),
 * ctrl.c (control queue), replay.c (Ferry's own commands on it), scratch.c (Ferry's own buffers:
 * receive buffers of a warm destination, announcements), stats.c (device statistics), migrate.c,
 * net/arrive.c (state that comes to a destination), net/mac.c (the NIC's address).
 *
 * Unless said otherwise everything here runs on the NIC's thread; others come in through loop_call().
 */
#ifndef FERRY_DEVICES_NET_NET_PRIV_H
#define FERRY_DEVICES_NET_NET_PRIV_H

#include "devices/net/ctrl.h"
#include "devices/net/cvq/state.h"
#include "devices/net/features.h"
#include "devices/net/mac.h"
#include "devices/net/net.h"
#include "devices/net/replay.h"
#include "devices/net/stats.h"
#include "devices/virtio/pci.h"
#include "vmm/loop_timer.h"

/* Longest packet with its header that a device writes: 64 KiB of GSO, VLAN tags and the largest vnet header.
 * In whole pages. */
#define NET_MAX_PACKET (17u * 4096u)

/* Receive buffers that surely take the longest packet: no buffer that drivers use for such packets is under 1
 * KiB. */
#define NET_ENOUGH_BUFFERS 64u

struct net_announce {
	uint64_t offset; /* of the frame in the window */
	unsigned int n_left;
	bool in_flight; /* the device has the frame */
	struct loop_timer timer;
};

struct net {
	struct virtio_pci virtio;
	struct device device;
	char name[16];
	struct vm *vm;
	struct vdpa *vdpa;
	struct loop loop;         /* the NIC's thread */
	struct net_path path;     /* what the queues share */
	bool mapped;              /* what stays mapped, see net_map() */
	bool window_mapped;       /* and what the guest's rings must not reach */
	bool maps_stale;          /* and to be made anew, since a reset */
	struct loop_call mapping; /* the first time */
	struct error map_error;
	uint64_t ctrl_asid; /* address space of the control queue; 0: the same as for all */

	/* Passthrough. */
	bool may_pass; /* the device can serve the guest's data queues, if the guest's features fit */
	bool passing;  /* it does: nothing of Ferry's touches them */
	bool tracking; /* it may not: a migration has to know what is written */
	bool stays;    /* on shadow rings, until the driver begins anew */
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

	/* The driver's and the device's life. */
	bool active;              /* the guest's driver is at DRIVER_OK */
	bool started;             /* the device is at DRIVER_OK, or on its way there */
	bool shared_switch;       /* what attracts traffic waits for the guest: cvq_hold_back() */
	bool broken;              /* the device or the driver broke the rules; until the driver's reset */
	uint64_t device_features; /* and with the device */
	uint64_t generation;      /* counts activations: state of another one cannot be reached by commands */
	uint64_t changes;         /* of what warm_save tells, beside those of the control plane */
	uint64_t warm_saved;      /* net_changes() when it was last told */

	/* Which of the slots exist depends on negotiated features, and so does the control queue's index:
	 * net_plan(). */
	struct net_queue queues[2 * NET_MAX_PAIRS + 1];
	struct net_ctrl ctrl;
	struct net_announce announce;

	struct log_limit log_limit;
	struct log_limit stop_limit; /* why the NIC stopped is not lost behind what the guest did before */
};

/* Changes of anything that warm_save tells. */
static inline uint64_t net_changes(const struct net *net)
{
	return net->changes + net->ctrl.changes;
}

static inline struct net *net_of(const struct net_queue *q)
{
	return container_of(q->path, struct net, path);
}

/* Runs @fn on the NIC's thread and gives its result. Any thread. */
int net_call(struct net *net, int (*fn)(struct net *net, void *arg), void *arg);

/* net.c: shows the guest the state of link and announcements, with an interrupt where it can see a change. */
void net_show_status(struct net *net);
void net_device_config_changed(struct loop_source *src, uint32_t events);

/* backend.c. What a set of negotiated features means: the number of data queues, and limits of commands.
 * net_plan() lays out queues, limits and header for it. */
unsigned int net_n_data(const struct net *net, uint64_t features);
struct cvq_limits net_limits(const struct net *net, uint64_t features);
void net_plan(struct net *net, uint64_t features);
uint64_t net_device_features(const struct net *net, uint64_t features);
/* Guest memory and the control queue's part of the window where it has an address space of its own, always;
 * the rest of the window, unless the device serves the guest's rings. */
int __must_check net_map(struct net *net, struct error *err);
/* net.c: whether the device reaches all of this guest's memory, and the window above. */
int __must_check net_check_reach(const struct net *net, struct error *err);
/* Gives the device a queue's ring, its shadow or the guest's own, and enables it. */
int __must_check net_set_queue(struct net *net, struct net_queue *q, struct error *err);
/*
 * Device to DRIVER_OK on shadow rings with @features; net->ctrl.store is what such a device has by itself.
 * @fill gives it receive buffers before that, so that it never meets a ring without any: net_fill(), or
 * net_scratch_post() where the guest has not arrived. Kicks come after DRIVER_OK ("Driver Requirements:
 * Device Initialization").
 */
int __must_check net_start(struct net *net, uint64_t features,
			   int (*fill)(struct net *net, struct error *err), struct error *err);
/* Status 0: the device lets go of its rings, and is not kicked. */
int __must_check net_reset_device(struct net *net, struct error *err);
/* Resets the device, and takes down what was made for it. The second alone: where it has been reset. */
void net_stop(struct net *net);
void net_take_down(struct net *net);
/* net->ctrl.target for a driver that has just begun: all defaults. */
void net_target_default(struct net *net);
/* Every queue that exists with the negotiated features, data queues first; NULL: there is no such one. */
struct net_queue *net_nth_queue(struct net *net, unsigned int n);
/* Ends every event and call of the NIC: where net_path_fail() was called meanwhile, the NIC stops until the
 * driver's reset, before anything else of it runs. */
void net_settle(struct net *net);

/*
 * passthrough.c. net_choose_mode() decides whether the device may serve the guest's data queues, and says so,
 * or why not. net_offer_now() is what a guest is offered then.
 */
int __must_check net_choose_mode(struct net *net, const struct net_config *config, struct error *err);
uint64_t net_offer_now(const struct net *net);
/* Why a guest with @features has shadow rings on a device that could serve its rings; NULL: it need not. */
const char *net_pass_misfit(const struct net *net, uint64_t features);
/* Whether the device is to have the rings that the guest's driver has set up. */
bool net_can_pass(const struct net *net);
struct vdpa_vring net_pass_vring(struct net_queue *q);
/* The guest has given a queue another vector. */
void net_pass_vector(struct net *net, unsigned int guest_index);
/* The device has the guest's rings: its doorbells, where it has some, come into the guest's reach, and it
 * looks at all rings. net_close_doorbells() comes before it loses them. */
void net_pass_go(struct net *net);
void net_close_doorbells(struct net *net);

/*
 * mode.c. net_leave() takes the data queues from the device: shadow rings serve them then. On an error
 * the device goes on with them, or the NIC is broken. @still_ns: how long no packet moved. net_return_later()
 * brings them back once that can be done.
 */
int __must_check net_leave(struct net *net, uint64_t *still_ns, struct error *err);
void net_return_later(struct net *net);
void net_return_timer(struct loop_timer *timer);
int net_track(struct device *dev, bool on, uint64_t *still_ns, struct error *err);

/* queue.c. A ring of the guest's, that nothing serves yet; @held is NULL where the driver has not enabled
 * it. net_drop_ring() frees it, net_take_ring() makes it the queue's. */
struct net_ring {
	struct vring vring;
	uint16_t *held;
};

int __must_check net_find_ring(const struct net *net, uint64_t features, unsigned int guest_index,
			       const struct virtio_pci_place *place, struct net_ring *ring,
			       struct error *err);
void net_drop_ring(struct net_ring *ring);
void net_take_ring(struct net *net, struct net_queue *q, struct net_ring *ring);
/* Finds the guest's rings where its driver has put them, at index 0. net_attach() serves them,
 * net_detach() ends that and frees. */
int __must_check net_find_rings(struct net *net, struct error *err);
void net_attach(struct net *net);
void net_attach_ring(struct net *net, struct net_queue *q);
void net_detach(struct net *net);
/* Stops serving the data queues alone; their rings stay. */
void net_detach_data(struct net *net);
/* The queue that the guest knows by this number, or NULL. */
struct net_queue *net_guest_queue(struct net *net, unsigned int guest_index);
/*
 * Takes everything that the device has back from it, by a start from the beginning that brings it to the
 * state it had; its counters go on, if they were read before. What is in flight in the guest's rings is given
 * to it again. With @pass it then serves the guest's rings, if they allow that. net_start_again() is what
 * follows its reset.
 */
int __must_check net_restart(struct net *net, bool pass, struct error *err);
int __must_check net_start_again(struct net *net, bool pass, struct error *err);
/* Whether the device could have the data queues as they are now, and makes them so: it begins at what was
 * used. */
bool net_can_rewind(const struct net *net);
void net_rewind(struct net *net);
/* The driver resets one of its rings, and enables it again where it has put it now. */
void net_reset_ring(struct net *net, unsigned int guest_index);
void net_enable_ring(struct net *net, unsigned int guest_index);
/* Serves every queue, whether or not it was kicked or called. */
void net_serve_all(struct net *net);

/* forward.c. */
void net_queue_kicked(struct loop_source *src, uint32_t events);
void net_queue_called(struct loop_source *src, uint32_t events);
void net_queue_forward(struct net_queue *q);
void net_queue_complete(struct net_queue *q);
/* Shows the device what was added, with a kick if it wants one and may have it. */
void net_queue_publish(struct net_queue *q);
/* Gives a device that is about to start the receive buffers that the guest has made available. Returns 0: a
 * ring that is broken says so once it is served. */
int __must_check net_fill(struct net *net, struct error *err);
/* Takes back, for the device to have again, the buffers of packets that came before the device knew which
 * offloads the guest has turned off. */
void net_drop_early(struct net *net);
/*
 * Kicks all receive queues. A NIC may hold back a packet of one queue that it steers into the ring of another
 * without buffers for it, and look at it again at the first one's kick only, as QEMU's does: until then it
 * takes nothing more from that queue of its TAP.
 */
void net_kick_receivers(struct net *net);
/* Holds every chain that is in flight according to a loaded state, to be given to this host's device. */
void net_queue_hold_in_flight(struct net_queue *q);

/* net.c: events of the control queue. */
void net_ctrl_kicked(struct loop_source *src, uint32_t events);
void net_ctrl_called(struct loop_source *src, uint32_t events);
void net_ctrl_timed_out(struct loop_timer *timer);
/* Brings the device to net->ctrl.target: net_replay(), and what data queues make of it. */
int __must_check net_apply(struct net *net, struct error *err);

/* scratch.c. */
uint64_t net_scratch_bytes(void); /* in the window, for each receive queue */
int __must_check net_scratch_post(struct net *net, struct error *err);
void net_scratch_used(struct net_queue *q, uint32_t n, uint32_t len);
/* Whether a guest's own buffer that was used belongs to the guest now; else the device is to have it again.
 */
bool net_scratch_passes(struct net_queue *q);
void net_scratch_stop(struct net_queue *q);
/* Tells the network where the guest is now: RARP frames, and the guest is asked to announce itself if it can.
 */
void net_announce_start(struct net *net);
void net_announce_timer(struct loop_timer *timer);
void net_announce_used(struct net *net);
void net_announce_stop(struct net *net);

/* net/arrive.c: operations of a destination. */
int net_warm_load(struct device *dev, struct state_node *node);
int net_load(struct device *dev, struct state_node *node);

/* migrate.c. */
extern const struct device_ops net_device_ops;

#endif
