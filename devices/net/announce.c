/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frames that tell the network where the guest is now. */
#include "devices/net/announce.h"

/* The first gap, doubled after each round. Switches may lose the first frames, or learn late that a port is
 * up. */
#define NET_ANNOUNCE_GAP_MS 50u

/* Time between two looks whether the NIC goes on after a pause, or the device has sent the last round. */
#define NET_ANNOUNCE_WAIT_MS 50u

#define NET_RARP_LEN 60u /* least Ethernet frame without checksum, with a tag or without */
#define NET_TAG_LEN  4u

/* Room for a frame with the longest header; the page's are as many as struct net_queue has bits for. */
#define NET_ANNOUNCE_SLOT 128u
_Static_assert(sizeof(struct virtio_net_hdr_v1_hash) + NET_RARP_LEN <= NET_ANNOUNCE_SLOT, "a slot");
_Static_assert(PAGE_SIZE / NET_ANNOUNCE_SLOT == 8 * sizeof(((struct net_queue *)NULL)->announced), "a page");

/* The highest VLAN that a frame can be on; 0 means none in a tag. */
#define NET_MAX_VID 4094u

/*
 * Reverse ARP request for an address of the guest's (RFC 903): every switch on the way learns the port from
 * its source.
 */
static void net_announce_frame(const struct net_path *path, const uint8_t mac[6], uint32_t vid, uint8_t *p)
{
	memset(p, 0, path->header_len + NET_RARP_LEN);
	p += path->header_len;
	memset(p, 0xff, 6);
	memcpy(p + 6, mac, 6);
	if (vid > 0) {
		memcpy(p + 12, (const uint8_t[]){ 0x81, 0x00, (uint8_t)(vid >> 8), (uint8_t)vid }, 4);
		p += NET_TAG_LEN;
	}
	/* Ethertype 0x8035, hardware type 1, protocol type 0x0800, lengths 6 and 4, operation 3. */
	memcpy(p + 12, (const uint8_t[]){ 0x80, 0x35, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x03 }, 10);
	memcpy(p + 22, mac, 6);
	memcpy(p + 32, mac, 6);
}

/* The next VLAN of the guest's filter from @vid on, where 0 is for no tag; beyond NET_MAX_VID: none. */
static uint32_t net_announce_next_vid(const struct cvq_store *store, uint32_t vid)
{
	while (vid > 0 && vid <= NET_MAX_VID) {
		uint64_t word = store->vlans[vid / 64] >> vid % 64;

		if (word)
			return vid + (uint32_t)__builtin_ctzll(word);
		vid = (vid / 64 + 1) * 64;
	}
	return vid;
}

/* The @n-th address, if a frame can come from it: the guest's table holds whatever it has put there. */
static bool net_announce_mac(const struct net_announce *a, uint32_t n, uint8_t mac[6])
{
	static const uint8_t none[6];

	if (n == 0)
		net_space_get_mac(a->space, mac);
	else
		memcpy(mac, a->store->macs[n - 1], 6);
	if (n == 0 && !virtio_has(a->queue->path->features, VIRTIO_NET_F_MAC))
		return false;
	return !(mac[0] & 1) && memcmp(mac, none, 6) != 0;
}

/* Finds the next frame of this round. False: there is none. */
static bool net_announce_find(struct net_announce *a, uint8_t mac[6])
{
	while (a->mac <= a->store->n_unicast) {
		if (net_announce_mac(a, a->mac, mac)) {
			a->vid = net_announce_next_vid(a->store, a->vid);
			if (a->vid <= NET_MAX_VID)
				return true;
		}
		a->mac++;
		a->vid = 0;
	}
	return false;
}

/* Adds a frame to the ring. False: it has no room for one now. */
static bool net_announce_add(struct net_announce *a, const uint8_t mac[6])
{
	struct net_queue *q = a->queue;
	struct net_path *path = q->path;
	unsigned int slot = (unsigned int)__builtin_ctz(~q->announced);
	uint64_t at = a->offset + (uint64_t)NET_ANNOUNCE_SLOT * slot;
	struct virtio_seg seg = { path->window.iova + at, path->header_len + NET_RARP_LEN };

	net_announce_frame(path, mac, a->vid, path->window.hva + at);
	if (svq_add(&q->svq, &seg, 1, 0, net_token(NET_OWNER_ANNOUNCE, slot)) < 0)
		return false;
	q->announced |= UINT32_C(1) << slot;
	return true;
}

static void net_announce_arm(struct net_announce *a, unsigned int ms)
{
	loop_timer_arm(&a->timer, end_of((int)ms));
}

/* Sends the next batch of a round. False: the round is over. */
static bool net_announce_send(struct net_announce *a)
{
	struct net_queue *q = a->queue;
	unsigned int room = q->svq.size / 4u + (q->svq.size < 4), n = 0;
	bool more = true;
	uint8_t mac[6];

	room = (unsigned int)min_u64(room, PAGE_SIZE / NET_ANNOUNCE_SLOT);
	while (n < NET_ANNOUNCE_BATCH && (unsigned int)__builtin_popcount(q->announced) < room) {
		more = net_announce_find(a, mac);
		if (!more || !net_announce_add(a, mac))
			break;
		a->vid++;
		n++;
	}
	if (n > 0)
		net_queue_publish(q);
	return more;
}

void net_announce_start(struct net_announce *a)
{
	uint8_t mac[6];

	a->mac = a->vid = 0;
	if (!net_announce_find(a, mac))
		return;
	a->n_left = NET_ANNOUNCE_ROUNDS;
	a->by_guest = false;
	a->end_ns = end_of(NET_ANNOUNCE_MAX_MS);
	net_announce_tick(a);
}

/* The round is over. */
static void net_announce_next(struct net_announce *a)
{
	a->mac = a->vid = 0;
	if (--a->n_left > 0)
		net_announce_arm(a, NET_ANNOUNCE_GAP_MS << (NET_ANNOUNCE_ROUNDS - 1 - a->n_left));
}

bool net_announce_tick(struct net_announce *a)
{
	bool begins = a->mac == 0 && a->vid == 0;

	if (a->n_left == 0)
		return false;
	if (now_ns() >= a->end_ns) {
		a->n_left = 0;
		return false;
	}
	/* A device that is slow to send gets no second round on top of the first. */
	if (!net_path_runs(a->queue->path) || (begins && a->queue->announced))
		net_announce_arm(a, NET_ANNOUNCE_WAIT_MS);
	else if (!a->by_guest && net_announce_send(a))
		net_announce_arm(a, NET_ANNOUNCE_STEP_MS);
	else
		net_announce_next(a);
	return a->by_guest && net_path_runs(a->queue->path);
}

bool net_announce_leave(struct net_announce *a)
{
	if (a->by_guest || a->n_left == 0 || a->n_left > NET_ANNOUNCE_ROUNDS - NET_ANNOUNCE_OWN_ROUNDS ||
	    a->mac > 0 || a->vid > 0 || a->store->n_unicast > 0 ||
	    net_announce_next_vid(a->store, 1) <= NET_MAX_VID)
		return false;
	a->by_guest = true;
	return true;
}

void net_announce_stop(struct net_announce *a)
{
	a->n_left = 0;
	loop_timer_stop(&a->timer);
}

void net_announce_used(struct net_queue *q, const struct svq_used *used)
{
	q->announced &= ~(UINT32_C(1) << (uint32_t)used->token % 32);
}
