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

/* The longest packet, header and frame: 64 KiB that are to be segmented, and the headers in front of them. */
#define SOFT_PORT_HEADER 12u
#define SOFT_PACKET_MAX  (17u * 4096u)

/* A port that is gone stays gone: a new interface of its name is another one. */
enum soft_port_state { SOFT_PORT_DOWN, SOFT_PORT_UP, SOFT_PORT_GONE };

/* So many packets at most are sent by one call. */
#define SOFT_BATCH 16u

/* A descriptor that is readable when it has a packet, or a fault. */
struct soft_source {
	/* The port sets the descriptor, the device sets the function. */
	struct loop_source event;
	/* The port has read so many packets ahead, of which the descriptor knows no more. */
	unsigned int n_held;
	/* These were all that there were. What comes later makes the descriptor readable again. */
	bool taken_all;
	struct soft_port *port; /* set by the device, as @watched */
	bool watched;
};

/* A packet to be sent. */
struct soft_out {
	const struct iovec *iov;
	unsigned int n_iov;
	bool sent; /* set by the port; false: it is lost */
};

struct soft_port {
	/* The port's opening function sets the fields from here on. */
	const struct soft_port_ops *ops;
	const char *name;       /* the port's when it was opened */
	unsigned int n_sources; /* one for all pairs, or one for each */
	struct soft_source sources[SOFT_MAX_PAIRS];
	/* The descriptor is readable when the port's state may be another; -1: never. */
	struct loop_source link;
	/* The descriptor becomes writable when the port may have come up; -1: never. */
	struct loop_source raised;
	unsigned int batch; /* send() takes so many packets with profit, 1 to SOFT_BATCH */
	uint64_t features;  /* offloads, a set of VIRTIO_NET_F_* */
	uint16_t mtu;
	const char *mtu_advice; /* for messages: how to get another */
	struct guard_undo undo; /* .fn NULL: the host was not changed */

	/* The device sets the fields from here on. */
	void *owner; /* for the device's event handlers */
	struct loop *loop;
	/* When this timer fires, sources that were let alone are watched again. */
	struct loop_timer rest;
	bool gone; /* the port is only closed from now on */
};

/*
 * An operation fails with the error of one packet, which is lost. Two errors mean more: -ENETDOWN says that
 * no packet passes until the port is up again, -ENODEV that the port, or one queue of it, is gone. state()
 * tells these two apart.
 */
struct soft_port_ops {
	/* Reads the next packet of a source into pieces that hold SOFT_PACKET_MAX bytes. Returns its length,
	 * 0 if there is none, or -errno. */
	int (*receive)(struct soft_port *port, unsigned int source, const struct iovec *iov, unsigned int n);
	/* Sends @n packets of a pair, SOFT_BATCH at most, in their order, and notes for each whether it is
	 * sent. Returns 0, or the last packet's error that was lost. */
	int (*send)(struct soft_port *port, unsigned int pair, struct soft_out *packets, unsigned int n);
	/* Sets what the guest takes from now on: @offloads is a set of VIRTIO_NET_F_GUEST_*, @n_pairs is how
	 * many pairs are served. Returns 0, or -errno with all as before. */
	int (*set_offloads)(struct soft_port *port, uint64_t offloads);
	int (*set_pairs)(struct soft_port *port, unsigned int n_pairs);
	/* The device asks for the state after @link, @raised or an error. NULL: the port is always up. */
	enum soft_port_state (*state)(struct soft_port *port);
	void (*close)(struct soft_port *port);
};

/* Watches the first @n sources, 0 for none, and no others. A source that cannot be watched for want of memory
 * is tried again by @rest. */
void soft_port_watch(struct soft_port *port, unsigned int n);
void soft_port_unwatch(struct soft_source *source);

/* Lets a source alone until @rest fires, so that a source which does nothing but fail does not keep the
 * thread busy. */
void soft_port_rest(struct soft_source *source);

/* Asks for the port's state. A port that turns out to be gone is watched no more. */
enum soft_port_state soft_port_look(struct soft_port *port);

/* Reads and drops the packets that are waiting. @buf has SOFT_PACKET_MAX bytes and belongs to the caller. */
void soft_port_drain(struct soft_port *port, void *buf);

/* The functions call the operations. When the port is gone, sending fails with -ENODEV, and settings succeed
 * because they are of no account. */
int __must_check soft_port_send(struct soft_port *port, unsigned int pair, struct soft_out *packets,
				unsigned int n);
int __must_check soft_port_set_offloads(struct soft_port *port, uint64_t offloads);
int __must_check soft_port_set_pairs(struct soft_port *port, unsigned int n_pairs);

#endif
