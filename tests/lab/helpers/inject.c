// SPDX-License-Identifier: GPL-2.0-or-later
// Sends raw frames out of an interface, in order: inject INTERFACE HEX...

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_ifindex = argc > 1 ? if_nametoindex(argv[1]) : 0 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	for (int i = 2; i < argc; i++) {
		unsigned char frame[2048];
		unsigned int byte;
		size_t n = 0;

		while (n < sizeof(frame) && sscanf(argv[i] + 2 * n, "%2x", &byte) == 1)
			frame[n++] = byte;
		if (sendto(fd, frame, n, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)n) {
			perror(argv[1]);
			return 1;
		}
	}
	return argc < 3;
}
