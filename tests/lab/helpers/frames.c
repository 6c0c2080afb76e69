// SPDX-License-Identifier: GPL-2.0-or-later
// Numbered frames that come back to their sender: frames INTERFACE RATE [COUNT [WINDOW]]
//
// Sends so many raw frames a second to the interface's own address, for networks that bring them back. Each
// SIGUSR1 begins another part; with SIGTERM, or after COUNT frames, it waits for what is still under way
// until nothing more comes, and says of each part how many were sent in it, how many of these were lost,
// doubled or overtaken, and the longest time between two receipts that lies in it, wholly or not.
//
// With WINDOW no more than that many are under way. Where that many have not come back one more goes out a
// second, which is not counted as lost: an interruption costs no more on a slow machine than on a fast one.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

enum { TYPE = 0x88b5, FRAMES = 1 << 20, PARTS = 16, LEN = 64, QUIET_S = 5 };

struct frame {
	uint8_t to[6], from[6];
	uint16_t type;
	uint32_t stream, number;
} __attribute__((packed));

static double sent[FRAMES], marks[PARTS + 1];
static uint8_t copies[FRAMES], overtaken[FRAMES], knocks[FRAMES];
static double gap[PARTS], last;
static unsigned int n_sent, n_received, n_parts, n_skipped, n_newest;

static volatile sig_atomic_t stopped, marked;

static void note(int signal)
{
	if (signal == SIGTERM)
		stopped = 1;
	else
		marked = 1;
}

static int open_interface(const char *name, uint8_t mac[6])
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(TYPE)), room = 4 << 20;
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	a.sll_ifindex = if_nametoindex(name);
	if (s < 0 || a.sll_ifindex == 0 || ioctl(s, SIOCGIFHWADDR, &request) < 0 ||
	    bind(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(name);
	// Only what the network loses is to be seen as lost.
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	return s;
}

static void receive(int s, uint32_t stream)
{
	uint8_t data[LEN];

	while (recv(s, data, sizeof(data), 0) >= (ssize_t)sizeof(struct frame)) {
		double t = now();
		struct frame f;

		memcpy(&f, data, sizeof(f));
		if (f.stream != stream || f.number >= n_sent)
			continue;
		if (copies[f.number] == 0) {
			n_received++;
			overtaken[f.number] = f.number + 1 < n_newest;
		}
		if (copies[f.number] < UINT8_MAX)
			copies[f.number]++;
		if (f.number >= n_newest)
			n_newest = f.number + 1;
		for (unsigned int i = 0; i < n_parts && last > 0; i++) {
			if ((i + 1 == n_parts || last < marks[i + 1]) && t - last > gap[i])
				gap[i] = t - last;
		}
		last = t;
	}
}

static void report(void)
{
	for (unsigned int i = 0; i < n_parts; i++) {
		unsigned int n = 0, lost = 0, doubled = 0, late = 0;

		for (unsigned int f = 0; f < n_sent; f++) {
			if (sent[f] < marks[i] || sent[f] >= marks[i + 1])
				continue;
			n++;
			lost += copies[f] == 0 && !knocks[f];
			doubled += copies[f] > 1;
			late += overtaken[f];
		}
		printf("part %u: %.3f s, sent %u, lost %u, doubled %u, overtaken %u, longest gap %.1f ms\n",
		       i, marks[i + 1] - marks[i], n, lost, doubled, late, gap[i] * 1e3);
	}
	printf("skipped %u\n", n_skipped);
}

static void mark(void)
{
	marked = 0;
	if (n_parts < PARTS)
		marks[n_parts++] = now();
}

int main(int argc, char **argv)
{
	struct frame f = { .type = htons(TYPE), .stream = getpid() };
	unsigned int count = argc >= 4 ? atoi(argv[3]) : FRAMES, window = argc == 5 ? atoi(argv[4]) : FRAMES;
	double interval = argc >= 3 ? 1 / atof(argv[2]) : 0, next, end;
	uint8_t data[LEN] = { 0 };
	int s;

	if (argc < 3 || argc > 5 || window == 0 || interval <= 0 || interval > 1 || count > FRAMES) {
		fprintf(stderr, "usage: frames INTERFACE RATE [COUNT [WINDOW]]\n");
		return 2;
	}
	s = open_interface(argv[1], f.from);
	memcpy(f.to, f.from, 6);
	signal(SIGTERM, note);
	signal(SIGUSR1, note);
	mark();
	next = now();
	while (!stopped && n_sent < count) {
		bool full = n_sent - n_newest >= window;
		double due = full && next < sent[n_sent - 1] + 1 ? sent[n_sent - 1] + 1 : next;
		double early = due - now();
		struct timespec wait = { 0, early > 0.9 ? 900000000 : early > 0 ? early * 1e9 : 0 };
		struct pollfd p = { s, POLLIN, 0 };

		if (marked)
			mark();
		ppoll(&p, 1, &wait, NULL);
		receive(s, f.stream);
		if (now() < due || (full && n_sent - n_newest < window))
			continue;
		knocks[n_sent] = full;
		f.number = n_sent;
		memcpy(data, &f, sizeof(f));
		sent[n_sent++] = now();
		if (send(s, data, sizeof(data), 0) != sizeof(data)) {
			// The interface's queue is full: nothing was sent.
			n_sent--;
			n_skipped++;
		}
		// After a pause it goes on at its rate: a burst would say more of the rings than of the
		// pause.
		next += interval;
		if (next < now())
			next = now();
	}
	marks[n_parts] = now();
	if (last > 0 && marks[n_parts] - last > gap[n_parts - 1])
		gap[n_parts - 1] = marks[n_parts] - last;
	end = now();
	while (n_received < n_sent && now() < end + QUIET_S) {
		struct pollfd p = { s, POLLIN, 0 };

		poll(&p, 1, 100);
		receive(s, f.stream);
		if (last > end)
			end = last;
	}
	report();
	return 0;
}
