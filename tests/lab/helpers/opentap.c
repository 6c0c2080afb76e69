// SPDX-License-Identifier: GPL-2.0-or-later
// Opens queues of a TAP interface that is there, as their launcher, and starts a program with them.
//
// opentap NAME QUEUES COMMAND...: the queues are the descriptors from 3 on, none of which may be open.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "helper.h"

static int open_queue(const char *name, short flags)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	struct ifreq request = { .ifr_flags = flags };

	if (fd < 0)
		die("/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		die(name);
	return fd;
}

int main(int argc, char **argv)
{
	int queues = argc > 3 ? atoi(argv[2]) : 0;

	if (queues < 1) {
		fprintf(stderr, "usage: opentap NAME QUEUES COMMAND...\n");
		return 2;
	}
	for (int i = 0; i < queues; i++) {
		int fd = open_queue(argv[1],
				    IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0));

		if (fd != 3 + i) {
			fprintf(stderr, "opentap: descriptor %d is open\n", 3 + i);
			return 1;
		}
	}
	execvp(argv[3], argv + 3);
	die(argv[3]);
}
