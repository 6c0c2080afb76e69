// SPDX-License-Identifier: GPL-2.0-or-later
// Runs in L1: each TCP connection is one shell command with its streams, or a relay to one Unix socket.
//
// A client first sends a line. "exec LENGTH" is followed by LENGTH bytes of shell script; from then on both
// sides send frames of {type, length, bytes}, see below; if the client goes away, the command's process group
// is killed. "unix PATH" is answered by "ok" or "no ERRNO"; from then on bytes are relayed both ways.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"

enum { FRAME_STDIN = 0, FRAME_STDOUT = 1, FRAME_STDERR = 2, FRAME_EXIT = 3, FRAME_SIGNAL = 4, FRAME_PID = 5 };

struct frame_header {
	uint8_t type;
	uint8_t zero[3];
	uint32_t len;
};

static char buffer[65536];

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t len)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

static int send_frame(int sock, int type, const void *data, uint32_t len)
{
	struct frame_header h = { .type = type, .len = len };

	if (write_all(sock, &h, sizeof(h)))
		return -1;
	return write_all(sock, data, len);
}

static void send_number(int sock, int type, uint32_t value)
{
	if (send_frame(sock, type, &value, sizeof(value)))
		exit(1);
}

// Forwards what is there to read; false at the end of the stream.
static int forward(int from, int sock, int type)
{
	ssize_t n = read(from, buffer, sizeof(buffer));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return 0;
	if (send_frame(sock, type, buffer, n))
		exit(1);
	return 1;
}

// Carries out one frame of the client; false if the client is gone.
static int from_client(int sock, int *to_child, pid_t pid)
{
	struct frame_header h;

	if (read_all(sock, &h, sizeof(h)) || h.len > sizeof(buffer) || read_all(sock, buffer, h.len))
		return 0;
	if (h.type == FRAME_SIGNAL) {
		kill(-pid, *(uint32_t *)buffer);
	} else if (h.type == FRAME_STDIN && *to_child >= 0) {
		if (h.len == 0 || write_all(*to_child, buffer, h.len)) {
			close(*to_child);
			*to_child = -1;
		}
	}
	return 1;
}

static void exec_script(int sock, size_t len)
{
	char *script = calloc(1, len + 1);
	int in[2], out[2], err[2], status, pidfd;
	pid_t pid;

	if (!script || read_all(sock, script, len))
		exit(1);
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe2");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		setsid();
		signal(SIGPIPE, SIG_DFL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		die("/bin/sh");
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		die("pidfd_open");
	send_number(sock, FRAME_PID, pid);

	struct pollfd fds[] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = out[0], .events = POLLIN },
		{ .fd = err[0], .events = POLLIN },
		{ .fd = pidfd, .events = POLLIN },
	};
	for (;;) {
		if (poll(fds, 4, -1) < 0)
			continue;
		if (fds[0].revents && !from_client(sock, &in[1], pid)) {
			kill(-pid, SIGKILL);
			exit(0);
		}
		if (fds[1].revents && !forward(out[0], sock, FRAME_STDOUT))
			fds[1].fd = -1;
		if (fds[2].revents && !forward(err[0], sock, FRAME_STDERR))
			fds[2].fd = -1;
		// The streams may stay open in background children; what the command itself wrote is there by
		// now.
		if (fds[3].revents && !(fds[1].revents & POLLIN) && !(fds[2].revents & POLLIN))
			break;
	}
	waitpid(pid, &status, 0);
	send_number(sock, FRAME_EXIT, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void relay(int sock, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd fds[] = { { .fd = sock, .events = POLLIN }, { .fd = peer, .events = POLLIN } };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(peer, (struct sockaddr *)&address, sizeof(address))) {
		snprintf(buffer, sizeof(buffer), "no %d\n", errno);
		write_all(sock, buffer, strlen(buffer));
		return;
	}
	write_all(sock, "ok\n", 3);
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = read(fds[i].fd, buffer, sizeof(buffer));
			if (n <= 0 || write_all(fds[!i].fd, buffer, n))
				return;
		}
	}
}

static void serve(int sock)
{
	char line[100];
	size_t n = 0;

	while (n < sizeof(line) - 1 && read_all(sock, line + n, 1) == 0 && line[n] != '\n')
		n++;
	line[n] = 0;
	if (strncmp(line, "exec ", 5) == 0)
		exec_script(sock, strtoul(line + 5, NULL, 10));
	else if (strncmp(line, "unix ", 5) == 0)
		relay(sock, line + 5);
	exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(argc > 1 ? atoi(argv[1]) : 7000) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	signal(SIGPIPE, SIG_IGN);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64))
		die("agent: listen");
	printf("lab: agent ready\n");
	fflush(stdout);
	for (;;) {
		int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pid_t pid;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (sock < 0)
			continue;
		setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		pid = fork();
		if (pid == 0)
			serve(sock);
		close(sock);
	}
}
