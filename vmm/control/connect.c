/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommand "connect", which ssh runs at the destination. A stdin and stdout that are one socket are
 * passed to the VM themselves; else bytes are carried between them and a socket whose other end is the VM's.
 */
#define _GNU_SOURCE
#include "vmm/control/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/control/client.h"
#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/options.h"
#include "vmm/stream_socket.h"

/* Bytes that are read at once, and that the socket holds: memory comes in megabytes. */
#define CONNECT_BUFFER KIB(256)
/* Time for the last steps, once one of the two sides has come to its end: for the VM to answer, and for the
 * last bytes to be taken from stdout. */
#define CONNECT_LAST_MS 10000

/* One direction. It reads when its buffer is empty, and writes until it is. */
struct connect_way {
	int from, to;
	char *buf;
	size_t start, len;
	bool from_ended, to_ended;
};

struct connect_pump {
	struct connect_way in, out; /* stdin to the VM, the VM to stdout */
	struct control_client *vm;
	bool answered;
	/* Of the VM's answer: 0, or -errno with the reason. */
	int ret;
	uint64_t deadline_ns;
};

/* Reads some bytes: poll() has said that there are some, or the end. */
static void connect_read(struct connect_way *way)
{
	ssize_t n = read(way->from, way->buf, CONNECT_BUFFER);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	way->start = 0;
	way->len = n > 0 ? (size_t)n : 0;
	/* A connection that was reset has ended, too. */
	way->from_ended = n <= 0;
}

/* Writes without waiting, though the descriptor may be one that blocks, and shared with others. */
static ssize_t connect_write_some(int fd, const char *bytes, size_t len)
{
	ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* A pipe that poll() calls writable takes so much at once. */
	return n < 0 && errno == ENOTSOCK ? write(fd, bytes, min_u64(len, PIPE_BUF)) : n;
}

/* Nobody takes what is left, nor what comes. */
static void connect_drop(struct connect_way *way)
{
	way->len = 0;
	way->to_ended = true;
}

static void connect_write(struct connect_way *way)
{
	ssize_t n = connect_write_some(way->to, way->buf + way->start, way->len);

	if (n >= 0) {
		way->start += (size_t)n;
		way->len -= (size_t)n;
	} else if (errno != EAGAIN && errno != EINTR) {
		connect_drop(way);
	}
}

static struct pollfd connect_wants(const struct connect_way *way, bool writing)
{
	bool wants = !way->to_ended && writing == (way->len > 0) && (writing || !way->from_ended);

	return (struct pollfd){ .fd = wants ? (writing ? way->to : way->from) : -1,
				.events = writing ? POLLOUT : POLLIN };
}

/* Sets the time for what is left to be done, once. */
static void connect_hurry(struct connect_pump *p)
{
	if (p->deadline_ns == UINT64_MAX)
		p->deadline_ns = end_of(CONNECT_LAST_MS);
}

/* Passes the ends of both directions on. */
static void connect_pass_ends(struct connect_pump *p)
{
	if (p->in.from_ended && p->in.len == 0 && !p->in.to_ended) {
		shutdown(p->in.to, SHUT_WR);
		p->in.to_ended = true;
		connect_hurry(p);
	}
	if (p->out.from_ended && p->out.len == 0 && !p->out.to_ended)
		p->out.to_ended = true;
	if (p->out.to_ended && p->out.to >= 0) {
		/* Whoever reads stdout sees the end; where it was that which ended, the VM does. */
		close(p->out.to);
		p->out.to = -1;
		if (!p->out.from_ended)
			shutdown(p->out.from, SHUT_RDWR);
		connect_hurry(p);
	}
}

static void connect_take_answer(struct connect_pump *p, struct error *err)
{
	const char *parameters;

	p->ret = control_receive(p->vm, &parameters, err);
	p->answered = p->ret <= 0;
	if (p->answered)
		connect_hurry(p);
}

/* Does what can be done now. Returns 0, or -ETIMEDOUT. */
static int connect_step(struct connect_pump *p, struct error *err)
{
	struct pollfd fds[] = {
		connect_wants(&p->in, false),
		connect_wants(&p->in, true),
		connect_wants(&p->out, false),
		connect_wants(&p->out, true),
		{ .fd = p->answered ? -1 : p->vm->fd, .events = POLLIN },
	};

	/* Whoever reads stdout may go while there is nothing to write. */
	if (fds[3].fd < 0)
		fds[3] = (struct pollfd){ .fd = p->out.to };
	if (poll(fds, ARRAY_SIZE(fds), ms_until(p->deadline_ns)) < 0 && errno != EINTR)
		return -errno;
	if (now_ns() >= p->deadline_ns)
		return -ETIMEDOUT;
	if (fds[0].revents)
		connect_read(&p->in);
	if (fds[1].revents)
		connect_write(&p->in);
	if (fds[2].revents)
		connect_read(&p->out);
	if (fds[3].revents & POLLOUT)
		connect_write(&p->out);
	else if (fds[3].revents)
		connect_drop(&p->out);
	if (fds[4].revents)
		connect_take_answer(p, err);
	connect_pass_ends(p);
	return 0;
}

/* Carries bytes until the VM has answered, and its last ones are out. Returns the VM's answer. */
static int connect_pump(struct connect_pump *p, struct error *err)
{
	int ret = 0;

	while (ret == 0 && !(p->answered && p->out.to_ended))
		ret = connect_step(p, err);
	if (p->answered && ret < 0 && p->ret == 0)
		log_warn("the guest runs here, but what was said last to its source could not be passed on");
	if (p->answered)
		return p->ret;
	error_add(err, "the VM does not answer: %s", strerror(-ret));
	return ret;
}

/* Whether stdin and stdout are one connected socket. */
static bool connect_is_socket(void)
{
	struct error dropped = { 0 };
	struct stat in, out;

	return fstat(STDIN_FILENO, &in) == 0 && fstat(STDOUT_FILENO, &out) == 0 && S_ISSOCK(in.st_mode) &&
	       in.st_dev == out.st_dev && in.st_ino == out.st_ino &&
	       stream_socket_check(STDIN_FILENO, &dropped) == 0;
}

/* Lets go of the standard streams: the VM has them. */
static void connect_let_go(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	close(fd);
}

static int connect_pass_itself(struct control_client *vm, struct error *err)
{
	int ret = control_send(vm, CLIENT_METHOD("Connect"), "{}", CONTROL_RESULT, STDIN_FILENO, err);
	const char *parameters;

	if (ret < 0)
		return ret;
	connect_let_go();
	return control_receive(vm, &parameters, err);
}

static int connect_carry(struct control_client *vm, struct error *err)
{
	struct connect_pump p = { .vm = vm, .deadline_ns = UINT64_MAX };
	const int size = (int)CONNECT_BUFFER;
	int fds[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		error_add(err, "cannot create a socket pair: %s", strerror(errno));
		return -errno;
	}
	/* A failure only makes it slower. */
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	p.in = (struct connect_way){ .from = STDIN_FILENO, .to = fds[0], .buf = malloc(CONNECT_BUFFER) };
	p.out = (struct connect_way){ .from = fds[0], .to = STDOUT_FILENO, .buf = malloc(CONNECT_BUFFER) };
	if (!p.in.buf || !p.out.buf) {
		error_add(err, "out of memory");
		ret = -ENOMEM;
	} else {
		ret = control_send(vm, CLIENT_METHOD("Connect"), "{}", CONTROL_RESULT, fds[1], err);
	}
	close(fds[1]);
	if (ret == 0)
		ret = connect_pump(&p, err);
	close(fds[0]);
	free(p.in.buf);
	free(p.out.buf);
	return ret;
}

int client_connect(int argc, char **argv)
{
	struct client_options o;
	struct control_client vm;
	struct error err = { 0 };
	int ret;

	if (client_parse(&o, COMMAND_CONNECT, argc, argv, &err) < 0)
		return client_usage("connect", &err);
	ret = control_connect(&vm, o.runtime_dir, o.name, &err);
	if (ret == 0) {
		ret = connect_is_socket() ? connect_pass_itself(&vm, &err) : connect_carry(&vm, &err);
		control_disconnect(&vm);
	}
	if (ret < 0)
		log_error("%s", err.text);
	return ret < 0 ? 1 : 0;
}
