/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's ways to another Ferry: one function for each kind of place, and the child that some need. */
#define _GNU_SOURCE
#include "vmm/control/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/ssh_place.h"
#include "vmm/guard.h"
#include "vmm/socket_file.h"
#include "vmm/stream_socket.h"
#include "vmm/tls/address.h"
#include "vmm/tls/dial.h"

/* The listener is on this host, and one that runs takes a connection at once. */
#define TRANSPORT_CONNECT_MS 10000

/* For a child to end by itself, once the connection has ended that it carries: ssh says good-bye over the
 * network. Then for it to heed SIGTERM, and to be gone after SIGKILL. */
#define TRANSPORT_END_MS  3000
#define TRANSPORT_TERM_MS 2000
#define TRANSPORT_KILL_MS 1000

/* Words of an ssh program and its arguments. */
#define TRANSPORT_WORDS       32u
#define TRANSPORT_PROGRAM_MAX 4096u

/* Words of a command that ssh runs. */
#define TRANSPORT_REMOTE_WORDS 4u

/* The descriptor of a child in which it says why it cannot be the program that it should. */
#define TRANSPORT_STATUS_FD 3

/* What a child is to become. */
struct transport_child {
	char *const *argv;
	int fd;        /* for stdin and stdout */
	int status_fd; /* gets an errno if it cannot */
	pid_t parent;
	bool detached;
};

/* Ties the child to the client's life, or frees it from that. False if the client has gone already. */
static bool transport_place(const struct transport_child *c)
{
	if (c->detached)
		return setsid() >= 0;
	/* Ctrl-C is for the client, which calls the migration off: where that comes too late the connection
	 * is needed to the end. */
	if (setpgid(0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return false;
	errno = ESRCH;
	return getppid() == c->parent;
}

static _Noreturn void transport_become(const struct transport_child *c)
{
	int status_fd = c->status_fd, error;
	sigset_t none;

	guard_default_calls();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (transport_place(c) && dup2(c->fd, STDIN_FILENO) >= 0 && dup2(c->fd, STDOUT_FILENO) >= 0 &&
	    (status_fd == TRANSPORT_STATUS_FD || dup3(status_fd, TRANSPORT_STATUS_FD, O_CLOEXEC) >= 0)) {
		status_fd = TRANSPORT_STATUS_FD;
		if (syscall(SYS_close_range, TRANSPORT_STATUS_FD + 1u, UINT_MAX, 0) == 0)
			execvp(c->argv[0], c->argv);
	}
	error = errno;
	/* The parent hears of a short write as of a failure. */
	if (write(status_fd, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

/* Waits until the child is the program, by the end of @status_fd. 0, or its -errno. */
static int transport_await_program(int status_fd)
{
	int error = 0;
	ssize_t n;

	do {
		n = read(status_fd, &error, sizeof(error));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	return n == sizeof(error) ? -error : -EIO;
}

/* Runs @argv with one end of a new connection as its stdin and stdout; the other is t->fd. */
static int transport_spawn(struct transport *t, char *const argv[], bool detached)
{
	struct transport_child child = { .argv = argv, .parent = getpid(), .detached = detached };
	int ends[2], status[2], ret;

	/* Whoever started the client may ignore this, and children would end without a trace. */
	signal(SIGCHLD, SIG_DFL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	if (pipe2(status, O_CLOEXEC) < 0) {
		ret = -errno;
		goto close_ends;
	}
	child.fd = ends[1];
	child.status_fd = status[1];
	t->child = fork();
	if (t->child == 0)
		transport_become(&child);
	ret = t->child < 0 ? -errno : 0;
	close(status[1]);
	if (ret == 0)
		ret = transport_await_program(status[0]);
	close(status[0]);
	if (ret == 0) {
		close(ends[1]);
		t->fd = ends[0];
		return 0;
	}
	if (t->child > 0)
		waitpid(t->child, NULL, 0);
	t->child = 0;
close_ends:
	close(ends[0]);
	close(ends[1]);
	return ret;
}

static int transport_run(struct transport *t, char *const argv[], const struct transport_options *options,
			 struct error *err)
{
	int ret = transport_spawn(t, argv, options->detached);

	if (ret < 0)
		error_add(err, "cannot run %s: %s", argv[0], strerror(-ret));
	return ret;
}

/* The program that stands for ssh with its arguments, before it is split. */
static const char *transport_ssh_program(const struct transport_options *options)
{
	return options->ssh ? options->ssh : "ssh";
}

/* Splits @text in place at spaces. Returns the number of words, or 0 where there are none or too many. */
static unsigned int transport_split(char *text, char *words[TRANSPORT_WORDS])
{
	unsigned int n = 0;
	char *save = NULL;

	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (n == TRANSPORT_WORDS)
			return 0;
		words[n++] = word;
	}
	return n;
}

static unsigned int transport_split_ssh(const struct transport_options *options,
					char program[TRANSPORT_PROGRAM_MAX], char *words[TRANSPORT_WORDS])
{
	int n = snprintf(program, TRANSPORT_PROGRAM_MAX, "%s", transport_ssh_program(options));

	return n < (int)TRANSPORT_PROGRAM_MAX ? transport_split(program, words) : 0;
}

static int transport_check_ssh(const char *place, const struct transport_options *options, struct error *err)
{
	char program[TRANSPORT_PROGRAM_MAX], *words[TRANSPORT_WORDS];
	struct ssh_place s;
	int ret = ssh_place_parse(&s, place, options->name, err);

	if (ret < 0)
		return ret;
	if (transport_split_ssh(options, program, words) > 0)
		return 0;
	error_add(err, "--ssh takes a program with up to %u arguments, split at spaces", TRANSPORT_WORDS - 1);
	return -EINVAL;
}

/* Has ssh run @words, a command that ends with NULL, at the place @s. */
static int transport_run_ssh(struct transport *t, const struct ssh_place *s, const char *const *words,
			     const struct transport_options *options, struct error *err)
{
	char destination[SSH_PLACE_MAX], program[TRANSPORT_PROGRAM_MAX];
	char *argv[TRANSPORT_WORDS + TRANSPORT_REMOTE_WORDS + 7];
	unsigned int n = transport_split_ssh(options, program, argv);

	/* A question could not be answered: stdin is the connection. */
	argv[n++] = "-o";
	argv[n++] = "BatchMode=yes";
	if (s->port) {
		argv[n++] = "-p";
		argv[n++] = (char *)s->port;
	}
	snprintf(destination, sizeof(destination), "%s%s%s", s->user ? s->user : "", s->user ? "@" : "",
		 s->host);
	argv[n++] = "--";
	argv[n++] = destination;
	for (unsigned int i = 0; i < TRANSPORT_REMOTE_WORDS && words[i]; i++)
		argv[n++] = (char *)words[i];
	argv[n] = NULL;
	snprintf(t->program, sizeof(t->program), "%s", argv[0]);
	return transport_run(t, argv, options, err);
}

static int transport_open_ssh(struct transport *t, const char *place, const struct transport_options *options,
			      struct error *err)
{
	struct ssh_place s;
	int ret = ssh_place_parse(&s, place, options->name, err);

	if (ret < 0)
		return ret;
	return transport_run_ssh(t, &s, (const char *const[]){ "ferry", "connect", s.name, NULL }, options,
				 err);
}

static int transport_check_exec(const char *place, const struct transport_options *options, struct error *err)
{
	if (place[0] != '\0')
		return 0;
	error_add(err, "exec: needs a command");
	return -EINVAL;
}

static int transport_open_exec(struct transport *t, const char *place,
			       const struct transport_options *options, struct error *err)
{
	char *const argv[] = { "/bin/sh", "-c", (char *)place, NULL };

	strcpy(t->program, "the command");
	return transport_run(t, argv, options, err);
}

static int transport_check_unix(const char *place, const struct transport_options *options, struct error *err)
{
	const size_t size = sizeof(((struct sockaddr_un *)NULL)->sun_path);
	size_t len = strlen(place);

	if (len >= 1 && len < size)
		return 0;
	error_add(err, "unix:%s: the path must have 1 to %zu characters", place, size - 1);
	return -EINVAL;
}

static int transport_open_unix(struct transport *t, const char *place,
			       const struct transport_options *options, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uid_t uid = TRANSPORT_ANY_UID;
	int ret;

	memcpy(addr.sun_path, place, strlen(place) + 1);
	ret = stream_socket_connect(&addr, TRANSPORT_CONNECT_MS);
	if (ret < 0) {
		error_add(err, "cannot connect to %s: %s; is \"ferry receive\" waiting there?", place,
			  ret == -EAGAIN ? "nobody takes the connection" : strerror(-ret));
		return ret;
	}
	t->fd = ret;
	ret = socket_file_check_peer(t->fd, &uid);
	if (ret == 0 || (ret == -EPERM && uid == options->peer_uid && uid != TRANSPORT_ANY_UID))
		return 0;
	transport_let_go(t);
	error_add(err,
		  "the listener on %s is the user with id %u, neither you nor root: nothing was sent; if "
		  "that is "
		  "the right one, say --peer-uid %u",
		  place, (unsigned int)uid, (unsigned int)uid);
	return ret;
}

static int transport_check_fd(const char *place, const struct transport_options *options, struct error *err)
{
	size_t len = strlen(place);

	if (len >= 1 && len <= 7 && strspn(place, "0123456789") == len && atoi(place) > STDERR_FILENO)
		return 0;
	error_add(err, "fd:%s: give the number of a descriptor beyond stderr", place);
	return -EINVAL;
}

static int transport_open_fd(struct transport *t, const char *place, const struct transport_options *options,
			     struct error *err)
{
	struct error reason = { 0 };
	int fd = atoi(place), ret = stream_socket_check(fd, &reason);

	if (ret < 0) {
		error_add(err, "fd:%s is %s", place, reason.text);
		return ret;
	}
	t->fd = fd;
	return 0;
}

static int transport_check_tls(const char *place, const struct transport_options *options, struct error *err)
{
	struct tls_address address;

	if (options->tls_dir)
		return tls_address_parse(&address, place, err);
	error_add(err, "tls:%s: --tls says which folder has ca.pem, cert.pem and key.pem", place);
	return -EINVAL;
}

static int transport_open_tls(struct transport *t, const char *place, const struct transport_options *options,
			      struct error *err)
{
	struct tls_connection c;
	int ret = tls_dial(&c, place, options->tls_dir, options->peer, err);

	if (ret < 0)
		return ret;
	t->fd = c.fd;
	t->child = c.pump;
	strcpy(t->program, "ferry-tls");
	snprintf(t->note, sizeof(t->note), " (%s; %s encrypts)", c.peer, c.pump ? "ferry-tls" : "the kernel");
	return 0;
}

static int transport_check_tcp(const char *place, const struct transport_options *options, struct error *err)
{
	error_add(
		err,
		"tcp:%s: plain TCP neither proves who is at the other end nor hides the guest's memory: use "
		"ssh:HOST, or tls:HOST:PORT",
		place);
	return -EINVAL;
}

static const struct transport_kind {
	const char *prefix;
	int (*check)(const char *place, const struct transport_options *options, struct error *err);
	/* NULL: the check refuses all. */
	int (*open)(struct transport *t, const char *place, const struct transport_options *options,
		    struct error *err);
} transport_kinds[] = {
	{ "ssh:", transport_check_ssh, transport_open_ssh },
	{ "unix:", transport_check_unix, transport_open_unix },
	{ "fd:", transport_check_fd, transport_open_fd },
	{ "exec:", transport_check_exec, transport_open_exec },
	{ "tls:", transport_check_tls, transport_open_tls },
	{ "tcp:", transport_check_tcp, NULL },
};

/* Returns the kind of place that @to is of, or NULL. */
static const struct transport_kind *transport_find_kind(const char *to)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(transport_kinds); i++) {
		const char *prefix = transport_kinds[i].prefix;

		if (strncmp(to, prefix, strlen(prefix)) == 0)
			return &transport_kinds[i];
	}
	return NULL;
}

int transport_check(const char *to, const struct transport_options *options, struct error *err)
{
	const struct transport_kind *kind = transport_find_kind(to);

	if (kind)
		return kind->check(to + strlen(kind->prefix), options, err);
	error_add(err,
		  "\"%s\" is no place for a guest: give ssh:HOST, tls:HOST:PORT, unix:PATH, fd:N or "
		  "exec:COMMAND",
		  to);
	return -EINVAL;
}

int transport_open(struct transport *t, const char *to, const struct transport_options *options,
		   struct error *err)
{
	const struct transport_kind *kind = transport_find_kind(to);
	int ret = transport_check(to, options, err);

	*t = (struct transport){ .fd = -1 };
	return ret < 0 ? ret : kind->open(t, to + strlen(kind->prefix), options, err);
}

int transport_check_host(const char *host, const struct transport_options *options, struct error *err)
{
	if (!strchr(host, '/'))
		return transport_check_ssh(host, options, err);
	error_add(err, "\"%s\" is no host: give [USER@]HOST[:PORT], with an IPv6 address in brackets", host);
	return -EINVAL;
}

int transport_run_at(struct transport *t, const char *host, const char *const *words,
		     const struct transport_options *options, struct error *err)
{
	struct ssh_place s;
	int ret = transport_check_host(host, options, err);

	*t = (struct transport){ .fd = -1 };
	if (ret < 0)
		return ret;
	ret = ssh_place_parse(&s, host, options->name, err);
	if (ret < 0)
		return ret;
	return transport_run_ssh(t, &s, words, options, err);
}

void transport_let_go(struct transport *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* Waits for the child's end, for a bounded time. Without a @pidfd it looks after all of that time. */
static bool transport_has_ended(const struct transport *t, int pidfd, int timeout_ms, int *status)
{
	uint64_t end_ns = end_of(timeout_ms);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, ms_until(end_ns));
	} while (n <= 0 && now_ns() < end_ns);
	/* No child is one that somebody else has waited for. */
	return waitpid(t->child, status, WNOHANG) != 0;
}

/* Says how a child ended that was not told to; returns 0 if it succeeded. */
static int transport_judge(const struct transport *t, int status, struct error *err)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == 0)
		return 0;
	if (code < 0)
		error_add(err, "%s was ended by signal %d (%s)", t->program, WTERMSIG(status),
			  strsignal(WTERMSIG(status)));
	else
		error_add(err, "%s ended with exit code %d%s", t->program, code,
			  code == 127   ? ": a command was not found there"
			  : code == 255 ? ": what ssh ends with where it cannot connect or log in"
					: "");
	return -ECHILD;
}

int transport_close(struct transport *t, struct error *err)
{
	static const struct {
		int signo, timeout_ms;
	} steps[] = { { 0, TRANSPORT_END_MS },
		      { SIGTERM, TRANSPORT_TERM_MS },
		      { SIGKILL, TRANSPORT_KILL_MS } };
	int pidfd, status = 0, ret = 0;

	transport_let_go(t);
	if (t->child <= 0)
		return 0;
	pidfd = (int)syscall(SYS_pidfd_open, t->child, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].signo != 0)
			kill(t->child, steps[i].signo);
		if (transport_has_ended(t, pidfd, steps[i].timeout_ms, &status)) {
			ret = i == 0 ? transport_judge(t, status, err) : 0;
			break;
		}
	}
	if (pidfd >= 0)
		close(pidfd);
	t->child = 0;
	return ret;
}
