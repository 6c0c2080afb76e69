/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A switch that counts: see the header. */
#define _GNU_SOURCE
#include "tests/fault/nic_net.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define NIC_HEADER 14u
#define NIC_NET_MS 1
/* Packets to the guest that are on their way at once, so that they find buffers in each queue when a device
 * that has stood still goes on; and how long a packet stands still that does not come any more. */
#define NIC_NET_WINDOW   8u
#define NIC_NET_STILL_MS 100u

uint32_t nic_frame_make(uint8_t *frame, const uint8_t *from, char magic, unsigned int pair,
			unsigned int epoch, uint32_t seq)
{
	uint32_t len = 60 + seq * 37 % (NIC_FRAME_MAX - 60);
	struct nic_mark *mark = (struct nic_mark *)(void *)(frame + NIC_HEADER);

	memcpy(frame, magic == 'R' ? "\x52\x54\0\0\0\1" : "\x52\x54\0\0\0\x77", 6);
	memcpy(frame + 6, from, 6);
	memcpy(frame + 12, "\x88\xb5", 2);
	mark->magic = (uint8_t)magic;
	mark->pair = (uint8_t)pair;
	put_le16(mark->epoch, (uint16_t)epoch);
	put_le32(mark->seq, seq);
	for (uint32_t i = NIC_HEADER + sizeof(*mark); i < len; i++)
		frame[i] = (uint8_t)(seq * 7 + i);
	return len;
}

const struct nic_mark *nic_frame_read(const uint8_t *frame, int len, char magic)
{
	const struct nic_mark *mark = (const struct nic_mark *)(const void *)(frame + NIC_HEADER);
	uint8_t whole[NIC_FRAME_MAX];

	if (len < 60 || memcmp(frame + 12, "\x88\xb5", 2) != 0 || mark->magic != (uint8_t)magic)
		return NULL;
	if (nic_frame_make(whole, frame + 6, magic, mark->pair, get_le16(mark->epoch), get_le32(mark->seq)) !=
		    (uint32_t)len ||
	    memcmp(whole + NIC_HEADER, frame + NIC_HEADER, (size_t)len - NIC_HEADER) != 0)
		return NULL;
	return mark;
}

/* From the guest */

static void nic_net_learn(struct nic_net *n, const struct sockaddr_un *from)
{
	if (n->known && strcmp(from->sun_path, n->port.sun_path) == 0)
		return;
	n->port = *from;
	n->known = true;
	assert(n->n_learned < NIC_NET_LEARNED);
	n->learned[n->n_learned] = n->next;
	n->n_learned++;
}

static void nic_net_saw(struct nic_net *n, const struct nic_mark *mark)
{
	unsigned int epoch = get_le16(mark->epoch);
	uint32_t seq = get_le32(mark->seq);

	if (epoch < n->epoch || mark->pair >= NIC_NET_PAIRS) {
		n->n_wrong++;
		return;
	}
	if (epoch > n->epoch) {
		for (unsigned int i = 0; i < NIC_NET_PAIRS; i++)
			n->seen[i] = 0;
		n->epoch = epoch;
	}
	if (seq < n->seen[mark->pair]) {
		n->n_twice++;
		return;
	}
	n->n_lost += seq - n->seen[mark->pair];
	n->seen[mark->pair] = seq + 1;
}

static bool nic_net_receive(struct nic_net *n)
{
	struct sockaddr_un from = { 0 };
	uint8_t packet[12 + 2048];
	socklen_t size = sizeof(from);
	ssize_t len =
		recvfrom(n->hub.fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
	const struct nic_mark *mark;

	if (len < 12 + (ssize_t)NIC_HEADER)
		return len >= 0;
	/* Ferry's announcements are for this. */
	nic_net_learn(n, &from);
	mark = nic_frame_read(packet + 12, (int)len - 12, 'T');
	if (mark)
		nic_net_saw(n, mark);
	else
		n->n_wrong += memcmp(packet + 24, "\x88\xb5", 2) == 0;
	return true;
}

/* To the guest */

static bool nic_net_may_send(struct nic_net *n)
{
	if (n->next - n->base - n->n_got < NIC_NET_WINDOW) {
		n->base_ns = now_ns();
		return true;
	}
	if (now_ns() - n->base_ns < NIC_NET_STILL_MS * 1000000ull)
		return false;
	n->base = n->next;
	n->n_got = 0;
	return true;
}

static void nic_net_send(struct nic_net *n)
{
	static const uint8_t zero[12];
	uint8_t frame[NIC_FRAME_MAX];
	uint32_t len = nic_frame_make(frame, (const uint8_t *)"\x52\x54\0\0\0\x77", 'R', 0, 0, n->next);
	struct iovec iov[2] = { { (void *)(uintptr_t)zero, sizeof(zero) }, { frame, len } };
	struct msghdr msg = {
		.msg_iov = iov, .msg_iovlen = 2, .msg_name = &n->port, .msg_namelen = sizeof(n->port)
	};

	assert(n->next < NIC_NET_MAX);
	/* What a port does not take stays here. */
	if (sendmsg(n->hub.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		n->next++;
}

static void *nic_net_run(void *arg)
{
	struct nic_net *n = arg;
	struct pollfd pfd = { .fd = n->hub.fd, .events = POLLIN };
	uint64_t next_ns = 0;

	while (!n->ends) {
		poll(&pfd, 1, NIC_NET_MS);
		while (nic_net_receive(n))
			;
		if (n->sends && n->known && now_ns() >= next_ns && nic_net_may_send(n)) {
			nic_net_send(n);
			next_ns = now_ns() + NIC_NET_MS * 1000000u;
		}
	}
	return NULL;
}

void nic_net_init(struct nic_net *n)
{
	int ret;

	*n = (struct nic_net){ .got = calloc(NIC_NET_MAX, 1) };
	assert(n->got);
	soft_net_init(&n->hub);
	ret = pthread_create(&n->thread, NULL, nic_net_run, n);
	assert(ret == 0);
	(void)ret;
}

void nic_net_exit(struct nic_net *n)
{
	n->ends = true;
	pthread_join(n->thread, NULL);
	soft_net_exit(&n->hub);
	free((void *)n->got);
}

void nic_net_got(struct nic_net *n, const uint8_t *frame, int len)
{
	const struct nic_mark *mark = nic_frame_read(frame, len, 'R');

	if (!mark) {
		n->n_wrong += memcmp(frame + 12, "\x88\xb5", 2) == 0 && frame[NIC_HEADER] == 'R';
		return;
	}
	n->got[get_le32(mark->seq) % NIC_NET_MAX]++;
	n->n_got += get_le32(mark->seq) >= n->base;
	if (n->excused == UINT32_MAX)
		n->excused = get_le32(mark->seq);
}

/* Whether a packet went to a port that the guest had left: it and all behind it, up to where the new port was
 * learned. */
static bool nic_net_went_astray(const struct nic_net *n, uint32_t seq)
{
	for (unsigned int i = 1; i < n->n_learned; i++) {
		uint32_t at = seq;

		while (at < n->learned[i] && !n->got[at])
			at++;
		if (seq < n->learned[i] && at == n->learned[i])
			return true;
	}
	return false;
}

struct nic_count nic_net_count(const struct nic_net *n, uint32_t first)
{
	struct nic_count count = { 0 };

	for (uint32_t seq = 0; seq < n->next; seq++) {
		count.max = n->got[seq] > count.max ? n->got[seq] : count.max;
		if (n->got[seq] || seq < first)
			continue;
		if (nic_net_went_astray(n, seq)) {
			count.n_left++;
			continue;
		}
		count.first = count.n_lost++ ? count.first : seq;
		count.last = seq;
	}
	return count;
}
