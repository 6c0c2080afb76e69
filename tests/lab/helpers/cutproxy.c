// SPDX-License-Identifier: GPL-2.0-or-later
// Stands between a migration's source and destination and kills a process when a chosen frame passes.
//
// cutproxy LISTEN CONNECT to|from TYPE COUNT PID|hold|nobody: takes one connection on the Unix socket LISTEN,
// relays it to CONNECT, and when the COUNTth frame of TYPE towards ("to") or from the destination begins,
// withholds it, kills PID and closes both sides. Prints "cut" then, or "passed" if the stream ended without
// such a frame. With "hold" nobody is killed: it prints "held" and relays the rest once its input has ended.
// In the place of ssh, LISTEN is "-" for stdin, a socket, and CONNECT a command for the shell; it prints to
// stderr.

#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "helper.h"

// migration/stream.h; read from this machine's own memory, so little-endian as on the wire.
struct frame_header {
	uint32_t type, len;
	uint64_t arg;
};

// Where in its frames one direction of the stream is.
struct direction {
	unsigned char header[sizeof(struct frame_header)];
	size_t n_header;
	size_t payload_left;
};

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static void write_all(int fd, const unsigned char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			return;
		p += n;
		len -= n;
	}
}

// How many of the bytes may pass: all, or those before the frame that is to be cut.
static size_t scan(struct direction *d, const unsigned char *p, size_t len, uint32_t type, int *count)
{
	for (size_t i = 0; i < len;) {
		struct frame_header h;

		if (d->payload_left) {
			size_t step = len - i < d->payload_left ? len - i : d->payload_left;

			d->payload_left -= step;
			i += step;
			continue;
		}
		d->header[d->n_header++] = p[i++];
		if (d->n_header < sizeof(h))
			continue;
		memcpy(&h, d->header, sizeof(h));
		d->n_header = 0;
		d->payload_left = h.len;
		if (h.type == type && --*count == 0)
			return i > sizeof(h) ? i - sizeof(h) : 0;
	}
	return len;
}

static void hold(const unsigned char *rest, size_t len, int to)
{
	char c;

	printf("held\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	write_all(to, rest, len);
}

static void join_paths(const char *from, const char *to, int s[2])
{
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a = address_of(from);

	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) || listen(listener, 1))
		die(from);
	s[0] = accept(listener, NULL, NULL);
	s[1] = socket(AF_UNIX, SOCK_STREAM, 0);
	a = address_of(to);
	if (connect(s[1], (struct sockaddr *)&a, sizeof(a)))
		die(to);
}

static void join_command(const char *command, int s[2])
{
	int ends[2];
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		dup2(ends[1], 0);
		dup2(ends[1], 1);
		execl("/bin/sh", "sh", "-c", command, NULL);
		die("/bin/sh");
	}
	close(ends[1]);
	dup2(2, 1);
	s[0] = 0;
	s[1] = ends[0];
}

int main(int argc, char **argv)
{
	static unsigned char buffer[65536];
	struct direction directions[2] = { 0 };
	int s[2], watched, count;

	if (argc != 7) {
		fprintf(stderr, "usage: cutproxy LISTEN CONNECT to|from TYPE COUNT PID|hold|nobody\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	watched = strcmp(argv[3], "from") == 0;
	count = atoi(argv[5]);
	if (strcmp(argv[1], "-") == 0)
		join_command(argv[2], s);
	else
		join_paths(argv[1], argv[2], s);

	struct pollfd fds[] = { { .fd = s[0], .events = POLLIN }, { .fd = s[1], .events = POLLIN } };
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++) {
			ssize_t n;
			size_t pass;

			if (!fds[i].revents)
				continue;
			n = read(s[i], buffer, sizeof(buffer));
			if (n <= 0) {
				printf("passed\n");
				return 0;
			}
			pass = i == watched
				       ? scan(&directions[i], buffer, n, strtoul(argv[4], NULL, 10), &count)
				       : (size_t)n;
			write_all(s[!i], buffer, pass);
			if (count != 0)
				continue;
			if (strcmp(argv[6], "hold") != 0) {
				if (strcmp(argv[6], "nobody") != 0)
					kill(atoi(argv[6]), SIGKILL);
				printf("cut\n");
				return 0;
			}
			hold(buffer + pass, n - pass, s[!i]);
			watched = -1;
		}
	}
}
