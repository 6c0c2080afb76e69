// SPDX-License-Identifier: GPL-2.0-or-later
// Sends frames of 64 bytes (with their checksum) as fast as the interface takes them:
// flood INTERFACE SECONDS DESTINATION-MAC. Prints what the interface has sent and received meanwhile.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "helper.h"

enum { BATCH = 64, FRAME = 60, PROTOCOL = 0x88b5 };

static unsigned long long count(const char *interface, const char *what)
{
	unsigned long long n = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", interface, what);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llu", &n) != 1)
		die(path);
	fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	static unsigned char frame[FRAME];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(PROTOCOL) };
	struct iovec iov = { frame, sizeof(frame) };
	struct mmsghdr messages[BATCH] = { 0 };
	unsigned long long sent, received;
	double start, seconds;
	int s;

	if (argc != 4 || sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &frame[0], &frame[1], &frame[2],
				&frame[3], &frame[4], &frame[5]) != 6) {
		fprintf(stderr, "flood INTERFACE SECONDS DESTINATION-MAC\n");
		return 2;
	}
	seconds = atof(argv[2]);
	memcpy(frame + 6, "\x02\0\0\0\0\1", 6);
	frame[12] = PROTOCOL >> 8;
	frame[13] = PROTOCOL & 0xff;
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	// Protocol 0: it receives nothing.
	s = socket(AF_PACKET, SOCK_RAW, 0);
	if (s < 0)
		die("socket");
	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1
		};
	sent = count(argv[1], "tx_packets");
	received = count(argv[1], "rx_packets");
	start = now();
	while (now() - start < seconds) {
		if (sendmmsg(s, messages, BATCH, 0) < 0)
			die("sendmmsg");
	}
	seconds = now() - start;
	printf("sent %llu, received %llu in %.3f s\n", count(argv[1], "tx_packets") - sent,
	       count(argv[1], "rx_packets") - received, seconds);
	return 0;
}
