/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pseudo terminal of the serial port's: see the header. */
#define _GNU_SOURCE
#include "devices/serial/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* Between looks at whether all was read, of which no event tells. */
#define SERIAL_PTY_STEP_MS 5

/* Opens the other end of @master and sets it up. */
static int serial_pty_open_slave(struct serial_pty *pty, int master)
{
	struct termios t;

	if (grantpt(master) < 0 || unlockpt(master) < 0)
		return -errno;
	if (ptsname_r(master, pty->name, sizeof(pty->name)) != 0)
		return -ENAMETOOLONG;
	pty->slave = open(pty->name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pty->slave < 0)
		return -errno;
	/* Writing there is typing at the guest's console, which no group may. */
	if (fchmod(pty->slave, 0600) < 0 || tcgetattr(pty->slave, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(pty->slave, TCSANOW, &t) < 0 ? -errno : 0;
}

int serial_pty_open(struct serial_pty *pty, int fds[2], struct error *err)
{
	int ret = 0;

	*pty = (struct serial_pty){ .slave = -1 };
	fds[1] = -1;
	fds[0] = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fds[0] < 0)
		ret = -errno;
	if (ret == 0)
		ret = serial_pty_open_slave(pty, fds[0]);
	if (ret == 0) {
		fds[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		ret = fds[1] < 0 ? -errno : 0;
	}
	if (ret == 0)
		return 0;
	serial_pty_close(pty, 0);
	if (fds[0] >= 0)
		close(fds[0]);
	error_add(err, "--serial: cannot make a pseudo terminal: %s", strerror(-ret));
	return ret;
}

void serial_pty_close(struct serial_pty *pty, uint64_t until_ns)
{
	int unread = 0;

	if (pty->slave < 0)
		return;
	while (now_ns() < until_ns && ioctl(pty->slave, FIONREAD, &unread) == 0 && unread > 0)
		poll(NULL, 0, SERIAL_PTY_STEP_MS);
	close(pty->slave);
	pty->slave = -1;
}
