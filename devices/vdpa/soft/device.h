/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a vDPA NIC in software, and the few questions and steps that its files share: what may be
 * served now, the configuration, how many pairs are served. The device's thread owns the state and calls the
 * functions. tx.h, rx.h, ctrl.h and stats.h stand on it. Neither they nor the functions here stop the device
 * or look at the port's state: they return what happened, and life.h decides.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_DEVICE_H
#define FERRY_DEVICES_VDPA_SOFT_DEVICE_H

#include "devices/vdpa/soft/faults.h"
#include "devices/vdpa/soft/filter.h"
#include "devices/vdpa/soft/packet.h"
#include "devices/vdpa/soft/port.h"
#include "devices/vdpa/soft/queue.h"
#include "devices/vdpa/soft/spaces.h"
#include "devices/vdpa/soft/steering.h"
#include "vmm/look.h"

#define SOFT_MAX_VQS        (2 * SOFT_MAX_PAIRS + 1)
#define SOFT_CTRL_RING_SIZE 64u
#define SOFT_CONFIG_LEN     28u /* the last: supported_tunnel_types */

/* The offset of a field of the configuration. Debian 12's struct lacks the last field. */
#define SOFT_CONFIG(field)  ((unsigned int)offsetof(struct virtio_net_config, field))
#define SOFT_CONFIG_TUNNELS 24u

/*
 * A queue is served for 64 packets before the others have their turn. That is enough to share the cost of a
 * kick and a call, and few enough that another queue waits for some tens of microseconds only.
 */
#define SOFT_BURST 64u

/* The longest command has both tables of addresses, full. */
#define SOFT_MAX_COMMAND (2u + 8u + 2u * 6u * SOFT_MAX_MACS)
#define SOFT_MAX_REPLY   8192u

/* Filters and hashes look at this much of a packet that is read into the guest's buffers, copied. */
#define SOFT_PEEK 512u

/* The answer to a control command that is done: its chain is to be given back. */
struct soft_answer {
	uint16_t head;
	uint32_t len;
};

/* A port is given a packet in this many pieces at most, header included. More are rare, and are copied into
 * one. */
#define SOFT_MAX_IOV 64u

/* Packets of one queue that are sent by one call, and their pieces. */
struct soft_batch {
	unsigned int n, n_iov;
	struct soft_out out[SOFT_BATCH];
	struct virtio_net_hdr_v1 hdr[SOFT_BATCH];
	uint16_t heads[SOFT_BATCH];
	uint32_t lens[SOFT_BATCH];
	struct iovec iov[2 * SOFT_MAX_IOV];
};

struct soft {
	struct vdpa vdpa;
	char name[64];
	struct loop loop;
	struct soft_port *port;
	struct soft_faults faults;

	uint8_t provisioned_mac[6];
	uint8_t config[SOFT_CONFIG_LEN];
	int config_call;
	unsigned int n_pairs;
	uint16_t ring_size;
	uint64_t features; /* that the driver has accepted */
	uint8_t status;
	bool started, suspended;
	/*
	 * The device has had receive buffers since it was started, so a packet without one waits in the port.
	 */
	bool fed;

	/* The thread looks at the rings before it sleeps (turn.h). */
	struct look look;
	struct loop_idler idler;
	bool looking; /* so nobody is asked for kicks of transmit queues */
	bool moved;   /* packets, since the thread was about to sleep */

	struct soft_spaces spaces;
	struct soft_queue queues[SOFT_MAX_VQS];
	struct soft_alarm alarm; /* for interrupts held back */

	uint32_t header_len; /* of a packet's header in a ring */
	uint64_t offloads;   /* that the guest takes */
	struct soft_filter filter;
	struct soft_steering steering;

	uint64_t n_commands, n_accepted;
	struct soft_answer answers[CONFIG_MAX_RING]; /* of commands that are done */
	unsigned int n_answers;
	struct loop_timer answer_timer; /* for faults.delay_ms */

	/* The buffers hold one packet, one command with its reply, and one packet's chains. */
	uint8_t packet[8 + SOFT_PEEK + SOFT_PACKET_MAX];
	uint32_t last_len; /* of the last packet that came */
	uint8_t command[SOFT_MAX_COMMAND];
	uint8_t reply[SOFT_MAX_REPLY];
	uint16_t heads[CONFIG_MAX_RING];
	uint32_t lens[CONFIG_MAX_RING];
	struct soft_batch batch;
	struct log_limit log_limit;
};

/* Returns the device of a queue, which is one of its array. */
static inline struct soft *soft_of_queue(struct soft_queue *q)
{
	return container_of(q - q->index, struct soft, queues[0]);
}

/* The control queue's place depends on what the driver has accepted ("Network Device / Virtqueues"). */
static inline unsigned int soft_ctrl_index(const struct soft *soft)
{
	const uint64_t pairs = VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS);

	return soft->features & pairs ? 2 * soft->n_pairs : 2;
}

/* Whether the device, or its queue @q, may be served now. */
static inline bool soft_runs(const struct soft *soft)
{
	return soft->started && !soft->suspended && !soft->faults.gone &&
	       !(soft->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static inline bool soft_serves(const struct soft *soft, const struct soft_queue *q)
{
	return q->live && soft_runs(soft);
}

/* Tells the driver that the configuration has changed. */
void soft_config_changed(struct soft *soft);
/* Sets and clears bits of the configuration's status, and tells the driver. */
void soft_set_status_bits(struct soft *soft, uint16_t set, uint16_t clear);

/* Watch the port for the pairs that are served, or not at all. */
void soft_watch(struct soft *soft);
void soft_unwatch(struct soft *soft);
/*
 * Has the port serve the pairs of @next, which becomes the steering. Returns 0, or -errno with all as before.
 */
int __must_check soft_steer(struct soft *soft, const struct soft_steering *next);

#endif
