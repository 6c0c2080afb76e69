// SPDX-License-Identifier: GPL-2.0-or-later
// Says which of a test's frames the NIC has let in: probes INTERFACE.
//
// Frames of the ethertype for local experiments hold a number, their only byte that counts. Looked at where
// nothing of the kernel has filtered yet, and without making the interface promiscuous. After number 255 and
// a pause, prints the numbers that came, in order, each as often as it came.

#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ETHERTYPE = 0x88b5, ALL = 3, HEADER = 14, LAST = 255, PAUSE_MS = 1000 };

int main(int argc, char **argv)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ALL) };
	// The kernel has taken a VLAN tag out before it shows a frame here.
	int s = socket(AF_PACKET, SOCK_RAW, htons(ALL)), seen[LAST + 1] = { 0 };
	struct pollfd fd = { .fd = s, .events = POLLIN };

	address.sll_ifindex = argc == 2 ? if_nametoindex(argv[1]) : 0;
	if (address.sll_ifindex == 0 || bind(s, (struct sockaddr *)&address, sizeof(address))) {
		perror("probes: INTERFACE");
		return 1;
	}
	printf("listening\n");
	fflush(stdout);
	while (poll(&fd, 1, seen[LAST] ? PAUSE_MS : -1) > 0) {
		unsigned char frame[2048];
		ssize_t n = read(s, frame, sizeof(frame));

		if (n > HEADER && (frame[12] << 8 | frame[13]) == ETHERTYPE)
			seen[frame[HEADER]]++;
	}
	printf("seen");
	for (int i = 0; i < LAST; i++) {
		while (seen[i]-- > 0)
			printf(" %d", i);
	}
	printf("\n");
	return 0;
}
