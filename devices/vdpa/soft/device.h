/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations that the files of the software vDPA device share: soft.c (operations), life.c (life
 * cycle and thread), queue.c (its queues: start, notifications, coalescing), rx.c (packets between
 * rings and port), filter.c (which packets the guest gets), steering.c (and in which queue), ctrl.c
 * (control commands), stats.c, port.c (when the port is watched), and the ports tap.c and
 * hub.c. Everything here runs on the device's thread.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_DEVICE_H
#define FERRY_DEVICES_VDPA_SOFT_DEVICE_H

#include <sys/uio.h>

#include "devices/vdpa/soft/soft.h"
#include "devices/virtio/vring.h"
#include "vmm/loop_timer.h"

#define SOFT_MAX_PAIRS      CONFIG_MAX_QUEUES
#define SOFT_MAX_VQS        (2 * SOFT_MAX_PAIRS + 1)
#define SOFT_CTRL_RING_SIZE 64u
#define SOFT_CONFIG_LEN     28u /* up to supported_tunnel_types */

/* Header and frame of the longest packet: 64 KiB of GSO and what is in front of it. */
#define SOFT_PORT_HEADER 12u
#define SOFT_PACKET_MAX  (17u * 4096u)

#define SOFT_MAX_MACS         4096u /* in each table */
#define SOFT_MAX_COMMAND      (2u + 8u + 2u * 6u * SOFT_MAX_MACS)
#define SOFT_N_RX_MODES       6u
#define SOFT_RSS_TABLE        128u
#define SOFT_RSS_KEY          40u
#define SOFT_HASH_TYPES       0x3fu
#define SOFT_TUNNEL_TYPES     0x1ffu /* all that there are */
#define SOFT_N_COUNTERS       16u
#define SOFT_STEERING_BUCKETS 256u

/* Two address spaces: whoever isolates the control queue gives it one of its own. */
enum { SOFT_GROUP_DATA, SOFT_GROUP_CTRL, SOFT_N_GROUPS };
#define SOFT_N_SPACES 2u

/* Readable: a packet, or a fault. */
struct soft_source {
	struct loop_source event;
	struct soft_vdpa *sv;
	bool watched;
};

/* What a guest can take, and turn off and on by command. */
#define SOFT_GUEST_OFFLOADS                                                                                  \
	(VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |                         \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |                          \
	 VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_HDRLEN))

/* State of a port. A port that is gone stays gone: a new interface of its name is another one. */
enum soft_port_state { SOFT_PORT_DOWN, SOFT_PORT_UP, SOFT_PORT_GONE };

/* The other side: packets with a struct virtio_net_hdr_v1 in front. */
struct soft_port {
	const struct soft_port_ops *ops;
	const char *name;                           /* that it had when it was opened */
	unsigned int n_sources;                     /* one for all pairs, or one for each */
	struct soft_source sources[SOFT_MAX_PAIRS]; /* the port sets event.fd, the device the rest */
	struct loop_source link;                    /* readable: its state may be another; -1: never */
	struct loop_source raised;                  /* becomes writable: it may have come up; -1: never */
	bool gone;                                  /* the device's: nothing is asked of it any more */
	uint64_t features;                          /* of offloads that it can do */
	uint16_t mtu;
	const char *mtu_advice; /* what gives it another */
	struct guard_undo undo; /* .fn NULL: nothing of the host's was changed */
};

/*
 * An error is that of one packet, which is lost, but for -ENETDOWN: none pass until the port is up again, and
 * -ENODEV: the port, or this queue of it, is gone. state() tells these apart.
 */
struct soft_port_ops {
	/* The next packet of a source: its length, 0 if there is none, or -errno. */
	int (*receive)(struct soft_port *port, unsigned int source, void *buf, uint32_t size);
	/* 0 or -errno. */
	int (*send)(struct soft_port *port, unsigned int pair, const struct iovec *iov, unsigned int n);
	/* Sets what the guest takes now: @offloads is a set of VIRTIO_NET_F_GUEST_*, @n_pairs are served. 0,
	 * or -errno: then all is as before. */
	int (*set_offloads)(struct soft_port *port, uint64_t offloads);
	int (*set_pairs)(struct soft_port *port, unsigned int n_pairs);
	/* Asked after @link or @raised, or an error. NULL where the port is always up. */
	enum soft_port_state (*state)(struct soft_port *port);
	void (*close)(struct soft_port *port);
};

int __must_check soft_tap_open(struct soft_port **port, const struct net_config *config, struct error *err);
int __must_check soft_hub_open(struct soft_port **port, const struct net_config *config, struct error *err);

struct soft_coalesce {
	uint32_t max_packets, max_usecs;
};

struct soft_queue {
	struct soft_vdpa *sv;
	unsigned int index;
	struct vdpa_vring setup;
	bool set, enabled;
	bool live; /* its ring is served */
	struct vring vring;
	struct loop_source kick;
	bool again; /* the next kick is the device's own */

	/* Interrupts that are held back. */
	struct soft_coalesce coalesce;
	bool wanted;          /* the driver waits for one */
	uint32_t n_held;      /* elements since it has */
	uint64_t deadline_ns; /* when it is due at the latest; 0: none is held */

	uint64_t counters[SOFT_N_COUNTERS]; /* see stats.c */
};

/* Which packets the guest gets: virtio 1.4, "Packet Receive Filtering", "VLAN Filtering". */
struct soft_filter {
	bool mode[SOFT_N_RX_MODES]; /* index = command of class RX */
	uint32_t n_unicast, n_multicast;
	uint64_t unicast[SOFT_MAX_MACS]; /* in ascending order */
	uint64_t multicast[SOFT_MAX_MACS];
	uint64_t vlans[4096 / 64];
};

/* In which queue: "Automatic receive steering", "Receive-side scaling", "Inner Header Hash". */
struct soft_steering {
	bool rss;
	unsigned int n_rx, n_tx; /* queues that are enabled */
	uint32_t hash_types, tunnel_types;
	uint8_t key[SOFT_RSS_KEY];
	uint16_t mask, unclassified;
	uint16_t table[SOFT_RSS_TABLE];
	uint8_t flows[SOFT_STEERING_BUCKETS]; /* pair on which a flow was sent last */
};

struct soft_hash {
	uint32_t value;
	uint16_t report; /* VIRTIO_NET_HASH_REPORT_*, 0: none */
};

struct soft_answer {
	uint16_t head;
	uint32_t len;
};

struct soft_vdpa {
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
	uint64_t features; /* negotiated */
	uint8_t status;
	bool started, suspended;
	bool fed; /* it has had receive buffers since it was started */

	struct memory spaces[SOFT_N_SPACES]; /* what is mapped: regions alone, without a memfd or a log */
	unsigned int space_of[SOFT_N_GROUPS];
	struct soft_queue queues[SOFT_MAX_VQS];
	struct loop_timer timer; /* the next of the queues' deadlines */
	struct loop_timer rest;  /* the port's sources that were let alone are watched again */

	uint32_t header_len;
	uint64_t offloads; /* that the guest takes */
	struct soft_filter filter;
	struct soft_steering steering;
	struct soft_coalesce coalesce[2]; /* of receive and transmit queues, for those without their own */
	uint64_t n_commands, n_accepted;
	struct soft_answer answers[CONFIG_MAX_RING]; /* of control commands, not given yet */
	unsigned int n_answers;
	struct loop_timer answer_timer;

	uint8_t packet[SOFT_PACKET_MAX];
	uint8_t command[SOFT_MAX_COMMAND];
	uint8_t reply[8192];             /* of a control command, behind the ack */
	uint16_t heads[CONFIG_MAX_RING]; /* of a packet's buffers */
	uint32_t lens[CONFIG_MAX_RING];
	struct log_limit log_limit;
};

static inline bool soft_is_tx(const struct soft_queue *q)
{
	return q->index % 2 == 1;
}

static inline unsigned int soft_ctrl_index(const struct soft_vdpa *sv)
{
	const uint64_t pairs = VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS);

	return sv->features & pairs ? 2 * sv->n_pairs : 2;
}

/* A packet whose header and first bytes have been checked: @frame is that of Ethernet. */
static inline bool soft_multicast(const uint8_t *mac)
{
	return mac[0] & 1;
}

static inline uint64_t soft_mac_key(const uint8_t *mac)
{
	return (uint64_t)mac[0] << 40 | (uint64_t)mac[1] << 32 | (uint64_t)mac[2] << 24 |
	       (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];
}

/* soft.c. */
extern const struct vdpa_ops soft_ops;

/* life.c. The driver broke the rules: nothing is served until its reset. */
void soft_break(struct soft_vdpa *sv, unsigned int queue, const char *why);
void soft_config_changed(struct soft_vdpa *sv);
void soft_set_status_bits(struct soft_vdpa *sv, uint16_t set, uint16_t clear);
/* Whether the device, or its queue @q, may be served now. */
bool soft_runs(const struct soft_vdpa *sv);
bool soft_serves(const struct soft_queue *q);
/* DRIVER_OK; every queue that is set up and enabled and not served yet; a reset. */
int __must_check soft_start(struct soft_vdpa *sv, struct error *err);
int __must_check soft_start_queues(struct soft_vdpa *sv, struct error *err);
void soft_serve_all(struct soft_vdpa *sv);
void soft_reset(struct soft_vdpa *sv);
void soft_close(struct vdpa *vdpa);

/* queue.c. */
int __must_check soft_queue_start(struct soft_queue *q);
void soft_queue_stop(struct soft_queue *q);
/* Has it served once more, when others have had their turn. */
void soft_queue_again(struct soft_queue *q);
/* Makes visible what was pushed, @n elements, and tells the driver now or when it is time. */
void soft_queue_publish(struct soft_queue *q, uint32_t n);
void soft_queue_set_coalesce(struct soft_queue *q, struct soft_coalesce coalesce);
void soft_queue_flush(struct soft_queue *q);
void soft_timer_fired(struct loop_timer *timer);
/* Makes the next used entry of a wrong element, in the place of one that was pushed last. */
void soft_queue_spoil(struct soft_queue *q);

/* rx.c. */
void soft_kicked(struct loop_source *src, uint32_t events);
void soft_port_readable(struct loop_source *src, uint32_t events);
void soft_serve(struct soft_queue *q);
/* port.c. Watches all sources of the pairs that are served, or none. */
void soft_port_watch(struct soft_vdpa *sv, bool watch);
void soft_port_unwatch(struct soft_source *source);
/* A source that does nothing but fail is let alone for a moment, so that it does not keep the thread busy. */
void soft_port_rest(struct soft_source *source);
void soft_port_rested(struct loop_timer *timer);
/* Forgets packets that came for a device that was not there. */
void soft_port_drain(struct soft_vdpa *sv);
/* Looks at the port's state; the guest's link follows it. */
void soft_port_look(struct soft_vdpa *sv);
/* Has the port do what the guest takes, and serve the pairs of @next, which becomes the steering. 0, or
 * -errno: then all is as before. */
int __must_check soft_port_set_offloads(struct soft_vdpa *sv, uint64_t offloads);
int __must_check soft_port_steer(struct soft_vdpa *sv, const struct soft_steering *next);

/* filter.c, steering.c: the guest's commands are as checked by ctrl.c. */
bool soft_filter_passes(const struct soft_vdpa *sv, const uint8_t *frame, uint32_t len);
void soft_filter_reset(struct soft_filter *f);
void soft_filter_set_macs(struct soft_filter *f, const uint8_t *unicast, uint32_t n_unicast,
			  const uint8_t *multicast, uint32_t n_multicast);
void soft_steering_reset(struct soft_steering *s);
struct soft_hash soft_hash(const struct soft_steering *s, const uint8_t *frame, uint32_t len);
/* The pair in whose receive queue a packet belongs. */
unsigned int soft_steer(const struct soft_vdpa *sv, unsigned int source, const uint8_t *frame, uint32_t len,
			struct soft_hash hash);
/* The guest has sent a packet: its flow's answers go to the same pair. */
void soft_steering_learn(struct soft_vdpa *sv, unsigned int pair, const uint8_t *frame, uint32_t len);

/* ctrl.c. */
void soft_ctrl_reset(struct soft_vdpa *sv);
void soft_ctrl_serve(struct soft_queue *q);
/* Answers that are held back are given. */
void soft_ctrl_flush(struct soft_vdpa *sv);
void soft_ctrl_late(struct loop_timer *timer);

/* stats.c: the reply of STATS_QUERY and STATS_GET, its length; or -1: an error. */
int soft_stats_query(const struct soft_vdpa *sv, uint8_t *reply);
int soft_stats_get(const struct soft_vdpa *sv, const uint8_t *request, uint32_t len, uint8_t *reply,
		   uint32_t size);

/* Counters of a queue, in the order of the specification's structures. */
enum soft_counter {
	SOFT_NOTIFICATIONS,
	SOFT_PACKETS,
	SOFT_BYTES,
	SOFT_INTERRUPTS,
	SOFT_DROPS,
	SOFT_RX_OVERRUNS,
	SOFT_TX_MALFORMED = SOFT_RX_OVERRUNS,
	SOFT_RX_CSUM_VALID,
	SOFT_RX_NEEDS_CSUM,
	SOFT_RX_CSUM_NONE,
	SOFT_RX_CSUM_BAD,
	SOFT_RX_GSO_PACKETS,
	SOFT_RX_GSO_BYTES,
	SOFT_TX_CSUM_NONE = SOFT_RX_CSUM_VALID,
	SOFT_TX_NEEDS_CSUM,
	SOFT_TX_GSO_PACKETS,
	SOFT_TX_GSO_BYTES,
	SOFT_TX_GSO_SEGMENTS,
	SOFT_TX_GSO_SEGMENT_BYTES,
};

#endif
