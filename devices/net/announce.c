/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frames that tell the network where the guest is now. */
#include "devices/net/announce.h"

/* Five rounds at growing distance, as QEMU does, for switches that lose the first. */
#define NET_ANNOUNCE_ROUNDS  5u
#define NET_ANNOUNCE_STEP_MS 50u

#define NET_RARP_LEN 60u /* least Ethernet frame without checksum */

/*
 * Reverse ARP request for our own address (RFC 903): every switch on the way learns the port from its source.
 */
static void net_announce_frame(const struct net_path *path, const uint8_t mac[6], uint8_t *p)
{
	memset(p, 0, path->header_len + NET_RARP_LEN);
	p += path->header_len;
	memset(p, 0xff, 6);
	memcpy(p + 6, mac, 6);
	/* Ethertype 0x8035, hardware type 1, protocol type 0x0800, lengths 6 and 4, operation 3. */
	memcpy(p + 12, (const uint8_t[]){ 0x80, 0x35, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x03 }, 10);
	memcpy(p + 22, mac, 6);
	memcpy(p + 32, mac, 6);
}

static void net_announce_send(struct net_announce *a, const uint8_t mac[6])
{
	struct net_queue *q = a->queue;
	struct net_path *path = q->path;
	struct virtio_seg seg = { path->window.iova + a->offset, path->header_len + NET_RARP_LEN };

	if (!net_path_runs(path) || q->announced)
		return;
	net_announce_frame(path, mac, path->window.hva + a->offset);
	/* No room means that the guest is sending, which announces it as well. */
	q->announced = svq_add(&q->svq, &seg, 1, 0, net_token(NET_OWNER_ANNOUNCE, 0)) == 0;
	net_queue_publish(q);
}

static void net_announce_arm(struct net_announce *a)
{
	uint64_t ms = NET_ANNOUNCE_STEP_MS * (NET_ANNOUNCE_ROUNDS - a->n_left);

	loop_timer_arm(&a->timer, end_of((int)ms));
}

void net_announce_start(struct net_announce *a, const uint8_t mac[6])
{
	net_announce_send(a, mac);
	a->n_left = NET_ANNOUNCE_ROUNDS - 1;
	net_announce_arm(a);
}

void net_announce_tick(struct net_announce *a, const uint8_t mac[6])
{
	if (a->n_left == 0)
		return;
	net_announce_send(a, mac);
	if (--a->n_left > 0)
		net_announce_arm(a);
}

void net_announce_stop(struct net_announce *a)
{
	a->n_left = 0;
	loop_timer_stop(&a->timer);
}

void net_announce_used(struct net_queue *q, const struct svq_used *used)
{
	q->announced = false;
}
