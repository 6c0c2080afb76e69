// SPDX-License-Identifier: GPL-2.0-or-later
// Runs in the guest, on its serial console: takes shell commands from a test and answers with their output
// and exit status.
//
// Request:  "\n@ID SECONDS LENGTH\n" and LENGTH bytes of script. Answer: "\n@ID{" output "@ID} STATUS\n". A
// command that takes longer than SECONDS is killed and its status is 124. Whatever is not a request is
// skipped, so that a test can attach at any time and after noise on the line.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "helper.h"

static char script[65536];

static void raw_terminal(void)
{
	struct termios t;

	if (tcgetattr(0, &t))
		return;
	cfmakeraw(&t);
	tcsetattr(0, TCSANOW, &t);
}

static void put(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(1, data, len);

		if (n < 0 && errno != EINTR)
			exit(1);
		if (n > 0) {
			data += n;
			len -= n;
		}
	}
}

static int get(char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = read(0, data, len);

		if (n == 0 || (n < 0 && errno != EINTR))
			return -1;
		if (n > 0) {
			data += n;
			len -= n;
		}
	}
	return 0;
}

static int run(int seconds)
{
	long deadline = now_ms() + seconds * 1000L;
	static char out[4096];
	int p[2], status, pidfd, late = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return 125;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY);

		setsid();
		dup2(null, 0);
		dup2(p[1], 1);
		dup2(p[1], 2);
		execl("/bin/sh", "sh", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	pidfd = syscall(SYS_pidfd_open, pid, 0);

	struct pollfd fds[] = { { .fd = p[0], .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
	for (;;) {
		long left = deadline - now_ms();

		if (poll(fds, 2, left > 0 ? left : 0) == 0 && !late) {
			late = 1;
			deadline += 1000000;
			kill(-pid, SIGKILL);
		}
		if (fds[0].revents) {
			ssize_t n = read(p[0], out, sizeof(out));

			if (n > 0)
				put(out, n);
			else if (n == 0)
				fds[0].fd = -1;
			continue;
		}
		if (fds[1].revents)
			break;
	}
	close(p[0]);
	close(pidfd);
	waitpid(pid, &status, 0);
	if (late)
		return 124;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	char line[128];
	size_t n = 0;

	raw_terminal();
	put("\nlabsh ready\n", 13);
	while (get(line + n, 1) == 0) {
		char id[32], text[64];
		unsigned seconds, len;

		if (line[n] != '\n') {
			n = n < sizeof(line) - 1 ? n + 1 : 0;
			continue;
		}
		line[n] = 0;
		n = 0;
		if (sscanf(line, "@%31s %u %u", id, &seconds, &len) != 3 || len >= sizeof(script))
			continue;
		if (get(script, len))
			break;
		script[len] = 0;
		put(text, snprintf(text, sizeof(text), "\n@%s{", id));
		int status = run(seconds);
		put(text, snprintf(text, sizeof(text), "@%s} %d\n", id, status));
	}
	return 0;
}
