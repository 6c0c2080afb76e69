/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole pieces of a stream: see the header. */
#include "tests/fake/socket_bytes.h"

#include <sys/socket.h>
#include <unistd.h>

bool fake_read_all(int fd, uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, buf, len);

		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

bool fake_write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}
