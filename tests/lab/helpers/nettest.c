// SPDX-License-Identifier: GPL-2.0-or-later
// TCP streams whose content is checked: nettest sink PORT | nettest source ADDRESS PORT BYTES
// [BYTES-A-SECOND].
//
// The source sends a stream that follows from its position alone. The sink takes one connection, checks every
// byte, prints "received N ok" or the position of the first wrong byte, and the longest time in which nothing
// came.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

enum { CHUNK = 32768 };

static unsigned char expected[CHUNK], buffer[CHUNK];

// The content of the chunk at this position; different for each chunk, so that a lost or doubled one is seen.
static void fill(uint64_t position)
{
	uint64_t x = position * 0x9E3779B97F4A7C15ull + 1;

	for (size_t i = 0; i < CHUNK; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(expected + i, &x, 8);
	}
}

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static int sink(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, window = 65536, s;
	uint64_t total = 0;
	double last, gap = 0;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	// What is under way never fills a receive queue: QEMU's software RSS waits for buffers in the queue
	// that the packet came for, not in the one that it leads it to, and if that one is full, for ever.
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1))
		die("nettest: listen");
	printf("listening\n");
	fflush(stdout);
	s = accept(listener, NULL, NULL);
	if (s < 0)
		die("nettest: accept");
	last = now();
	for (;;) {
		size_t at = total % CHUNK;
		ssize_t n = read(s, buffer, CHUNK - at);
		double t = now();

		if (n < 0)
			die("nettest: read");
		if (n == 0)
			break;
		if (t - last > gap)
			gap = t - last;
		last = t;
		if (at == 0)
			fill(total);
		for (ssize_t i = 0; i < n; i++) {
			if (buffer[i] != expected[at + i]) {
				printf("wrong byte at %llu\n", (unsigned long long)(total + i));
				return 1;
			}
		}
		total += n;
	}
	printf("received %llu ok, longest gap %.3f s\n", (unsigned long long)total, gap);
	return 0;
}

static int source(const char *address, int port, uint64_t bytes, uint64_t rate)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, SOCK_STREAM, 0);
	double start = now();
	uint64_t total = 0;

	signal(SIGTERM, stop);
	inet_pton(AF_INET, address, &a.sin_addr);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)))
		die("nettest: connect");
	while (total < bytes && !stopped) {
		size_t at = total % CHUNK, len = CHUNK - at;
		ssize_t n;

		if (len > bytes - total)
			len = bytes - total;
		if (at == 0)
			fill(total);
		n = write(s, expected + at, len);
		if (n <= 0)
			die("nettest: write");
		total += n;
		if (rate) {
			double early = start + (double)total / rate - now();

			if (early > 0)
				usleep(early * 1e6);
		}
	}
	shutdown(s, SHUT_WR);
	// The sink closes once it has read everything: only then has all arrived.
	if (read(s, buffer, 1) != 0)
		die("nettest: close");
	printf("sent %llu in %.3f s\n", (unsigned long long)total, now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "sink") == 0)
		return sink(atoi(argv[2]));
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "source") == 0)
		return source(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10),
			      argc == 6 ? strtoull(argv[5], NULL, 10) : 0);
	fprintf(stderr, "usage: nettest sink PORT | nettest source ADDRESS PORT BYTES [BYTES-A-SECOND]\n");
	return 2;
}
