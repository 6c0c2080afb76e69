/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port is the network's side of the NIC in software: a TAP interface (tap.h) or a hub of sockets (hub.h).
 * This is the contract between a port and the device above it. Packets have a struct virtio_net_hdr_v1 in
 * front. Whoever opens a port closes it with ops->close(); everything else happens on the device's thread.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_PORT_H
#define FERRY_DEVICES_VDPA_SOFT_PORT_H

#include <stdint.h>
#include <sys/uio.h>

#include "devices/virtio/virtio.h"
#include "vmm/config.h"
#include "vmm/guard.h"
#include "vmm/loop_timer.h"

#define SOFT_MAX_PAIRS CONFIG_MAX_QUEUES

/* Header and frame of the longest packet: 64 KiB of GSO and what is in front of it. */
#define SOFT_PORT_HEADER 12u
#define SOFT_PACKET_MAX  (17u * 4096u)

/* A port that is gone stays gone: a new interface of its name is another one. */
enum soft_port_state { SOFT_PORT_DOWN, SOFT_PORT_UP, SOFT_PORT_GONE };

/* A descriptor that is readable when it has a packet, or a fault. */
struct soft_source {
	struct loop_source event; /* the port sets the descriptor, the device the function */
	struct soft_port *port;   /* set by the device, as is the rest */
	bool watched;
};

struct soft_port {
	/* Set by the port's opening function. */
	const struct soft_port_ops *ops;
	const char *name;       /* that it had when it was opened */
	unsigned int n_sources; /* one for all pairs, or one for each */
	struct soft_source sources[SOFT_MAX_PAIRS];
	struct loop_source link;   /* readable: its state may be another; -1: never */
	struct loop_source raised; /* becomes writable: it may have come up; -1: never */
	uint64_t features;         /* VIRTIO_NET_F_* of the offloads that it can do */
	uint16_t mtu;
	const char *mtu_advice; /* what gives it another, for messages */
	struct guard_undo undo; /* .fn NULL: nothing of the host's was changed */

	/* Set by the device. */
	void *owner; /* for the device's handlers of events */
	struct loop *loop;
	struct loop_timer rest; /* sources that were let alone are to be watched again */
	bool gone;              /* nothing is asked of it any more, but to close */
};

/*
 * Operations fail with the error of one packet, which is lost, but for -ENETDOWN: none pass until the port is
 * up again, and -ENODEV: the port, or this queue of it, is gone. state() tells these apart.
 */
struct soft_port_ops {
	/* Reads the next packet of a source: its length, 0 if there is none, or -errno. */
	int (*receive)(struct soft_port *port, unsigned int source, void *buf, uint32_t size);
	/* Sends one packet for a pair. 0 or -errno. */
	int (*send)(struct soft_port *port, unsigned int pair, const struct iovec *iov, unsigned int n);
	/* Sets what the guest takes from now on: @offloads is a set of VIRTIO_NET_F_GUEST_*, @n_pairs are
	 * served. 0, or -errno: then all is as before. */
	int (*set_offloads)(struct soft_port *port, uint64_t offloads);
	int (*set_pairs)(struct soft_port *port, unsigned int n_pairs);
	/* Asked after @link or @raised, or an error. NULL where the port is always up. */
	enum soft_port_state (*state)(struct soft_port *port);
	void (*close)(struct soft_port *port);
};

/* Watches the first @n sources, 0 for none, and no others. A source that cannot be watched for want of memory
 * is tried again by @rest. */
void soft_port_watch(struct soft_port *port, unsigned int n);
void soft_port_unwatch(struct soft_source *source);

/* Lets a source alone for a moment, so that one that does nothing but fail does not keep the thread busy:
 * @rest is armed. */
void soft_port_rest(struct soft_source *source);

/* Asks for the port's state. A port that is gone is watched no more, and nothing else is asked of it. */
enum soft_port_state soft_port_look(struct soft_port *port);

/* Reads and forgets the packets that are waiting. @buf is the caller's, of SOFT_PACKET_MAX bytes. */
void soft_port_drain(struct soft_port *port, void *buf);

/* As the operations. Of a port that is gone: send fails with -ENODEV, settings are of no account and succeed.
 */
int __must_check soft_port_send(struct soft_port *port, unsigned int pair, const struct iovec *iov,
				unsigned int n);
int __must_check soft_port_set_offloads(struct soft_port *port, uint64_t offloads);
int __must_check soft_port_set_pairs(struct soft_port *port, unsigned int n_pairs);

#endif
