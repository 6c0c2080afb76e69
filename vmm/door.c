/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door's two sides: the process that takes connections, and the thread here that they come to. */
#define _GNU_SOURCE
#include "vmm/door.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/socket.h"
#include "vmm/descriptor.h"
#include "vmm/shortage.h"

/* Clients that the kernel keeps while the process is busy with one, which takes it microseconds. */
#define DOOR_BACKLOG 128
/* Time for this process to take in a connection: its thread does nothing else. */
#define DOOR_PASS_MS 1000
/* Time between messages about strangers, and between attempts while the process is short of something. */
#define DOOR_NOTICE_NS UINT64_C(100000000)
#define DOOR_RETRY_MS  100
/* The same for a client in hand, while others wait. */
#define DOOR_STEP_MS 10
/* Limits of the process. It has six descriptors at a time; but this limit bounds what all of its user's
 * processes have on their way over sockets, too. Of memory it has the program's, and a stack. */
#define DOOR_DESCRIPTORS 256u
#define DOOR_MEMORY      MIB(16)

/* Where the process has its socket to us, and what it listens on. */
enum { DOOR_FD = STDERR_FILENO + 1, DOOR_LISTENER };

/* What the process is told, once, with the listener. */
struct door_order {
	uid_t peer_uid; /* beside our own and root, who may come in */
};

/* What it tells. */
enum door_word {
	DOOR_CAME = 1, /* with the client's socket */
	DOOR_STRANGER, /* of @uid was turned away, the last of @n */
	DOOR_SHORT,    /* a client cannot be taken, or passed in: @error */
};

struct door_notice {
	uint32_t word;
	uid_t uid;
	uint32_t n;
	int32_t error;
};

/* The process's own. It never returns to main(): whatever fails ends it, and that is noticed. */

/* The end comes from our side alone: signals that a terminal or a service manager sends to all. */
static void door_ignore_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };

	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
}

static void door_limit(int resource, rlim_t max)
{
	if (setrlimit(resource, &(struct rlimit){ .rlim_cur = max, .rlim_max = max }) < 0)
		_exit(1);
}

/* Keeps @fd, as DOOR_FD, and nothing else that is open. */
static void door_close_others(int fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0)
		_exit(1);
	if (fd != DOOR_FD && dup2(fd, DOOR_FD) < 0)
		_exit(1);
	/* So that no client gets the number of a standard stream. */
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
		if (dup2(null_fd, i) < 0)
			_exit(1);
	}
	if (syscall(SYS_close_range, DOOR_FD + 1, ~0u, 0) < 0)
		_exit(1);
}

static void door_give_up_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    syscall(SYS_capset, &head, none) < 0 || chdir("/") < 0)
		_exit(1);
	door_limit(RLIMIT_CORE, 0);
	door_limit(RLIMIT_FSIZE, 0);
	door_limit(RLIMIT_NOFILE, DOOR_DESCRIPTORS);
	door_limit(RLIMIT_AS, DOOR_MEMORY);
	prctl(PR_SET_NAME, "ferry-door");
}

/* System calls of the process, from here to its end. All others fail for it. */
static const uint32_t door_calls[] = {
	SYS_poll,
	SYS_accept4,
	SYS_getsockopt,
	SYS_geteuid,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_close,
	SYS_exit,
	SYS_exit_group,
	SYS_rt_sigreturn,
	SYS_restart_syscall,
	/* Where the kernel has no clock in user space. */
	SYS_clock_gettime,
	/* Of the address sanitizer, before the end. */
	SYS_sigaltstack,
};

#define DOOR_N_CALLS ARRAY_SIZE(door_calls)

/* On a kernel without filters the rest has to do. */
static void door_limit_calls(void)
{
	struct sock_filter code[DOOR_N_CALLS + 5] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, DOOR_N_CALLS + 1),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	/* To the last instruction, over those between. */
	for (unsigned int i = 0; i < DOOR_N_CALLS; i++)
		code[3 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, door_calls[i],
							   (uint8_t)(DOOR_N_CALLS - i), 0);
	code[DOOR_N_CALLS + 3] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	code[DOOR_N_CALLS + 4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Waits for words of ours for @timeout_ms: there are none but the end. */
static void door_look_at_end(int timeout_ms)
{
	struct pollfd end = { .fd = DOOR_FD, .events = POLLIN };

	if (poll(&end, 1, timeout_ms) > 0)
		_exit(0);
}

static void door_take_order(struct door_order *order)
{
	struct pollfd p = { .fd = DOOR_FD, .events = POLLIN };
	int fd;

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (control_recv_with(DOOR_FD, (char *)order, sizeof(*order), &fd) != sizeof(*order) ||
	    fd != DOOR_LISTENER)
		_exit(0);
}

/* Returns 0, or what keeps it from being told now. */
static int door_tell(const struct door_notice *notice, int fd, uint64_t timeout_ms)
{
	int ret = control_send_with(DOOR_FD, (const char *)notice, sizeof(*notice), fd, timeout_ms);

	if (ret == -EPIPE || ret == -ECONNRESET || ret == -EBADF)
		_exit(0);
	return ret;
}

/* Tells what is lacking, and waits: nothing says when it is there again. */
static void door_tell_short(int error)
{
	door_tell(&(struct door_notice){ .word = DOOR_SHORT, .error = error }, -1, 0);
	door_look_at_end(DOOR_RETRY_MS);
}

/* Passes a client in. Returns 0, or what has kept it from that for as long as it may. */
static int door_pass(int fd)
{
	const struct door_notice came = { .word = DOOR_CAME };
	uint64_t end_ns = end_of(DOOR_PASS_MS);
	int ret;

	for (;;) {
		ret = door_tell(&came, fd, (uint64_t)ms_until(end_ns));
		/* What all of the user's processes have on its way may be too much for a moment. */
		if ((ret != -ETOOMANYREFS && ret != -ENOBUFS && ret != -ENOMEM) || now_ns() >= end_ns)
			return ret;
		door_look_at_end(DOOR_STEP_MS);
	}
}

struct door_strangers {
	uint32_t n;
	uint64_t told_ns;
};

/* Tells of strangers, but not as often as they like. */
static void door_tell_stranger(struct door_strangers *strangers, uid_t uid)
{
	uint64_t now = now_ns();

	strangers->n++;
	if (now - strangers->told_ns < DOOR_NOTICE_NS)
		return;
	door_tell(&(struct door_notice){ .word = DOOR_STRANGER, .uid = uid, .n = strangers->n }, -1, 0);
	*strangers = (struct door_strangers){ .told_ns = now };
}

static bool door_may_enter(const struct door_order *order, int fd, uid_t *uid)
{
	/* An error leaves *@uid as it is; it is nobody's. */
	*uid = (uid_t)-1;
	if (socket_file_check_peer(fd, uid) == 0)
		return true;
	return *uid != (uid_t)-1 && *uid == order->peer_uid;
}

/* Takes one client. Its credentials are those of its connect(), so nobody has to be waited for. */
static void door_take(const struct door_order *order, struct door_strangers *strangers)
{
	int fd = accept4(DOOR_LISTENER, NULL, NULL, SOCK_CLOEXEC);
	uid_t uid;
	int ret = 0;

	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	if (fd < 0) {
		door_tell_short(errno);
		return;
	}
	if (door_may_enter(order, fd, &uid))
		ret = door_pass(fd);
	else
		door_tell_stranger(strangers, uid);
	close(fd);
	if (ret < 0)
		door_tell_short(-ret);
}

static void door_serve(void)
{
	struct pollfd fds[] = {
		{ .fd = DOOR_FD, .events = POLLIN },
		{ .fd = DOOR_LISTENER, .events = POLLIN },
	};
	struct door_strangers strangers = { 0 };
	struct door_order order;

	door_take_order(&order);
	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			_exit(1);
		/* Our end of the socket has gone, and we with it. */
		if (fds[0].revents)
			_exit(0);
		if (fds[1].revents)
			door_take(&order, &strangers);
	}
}

static void door_run(int fd, pid_t parent)
{
	door_ignore_signals();
	/* The end of the socket says the same, to a process that is not stopped. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	door_close_others(fd);
	door_give_up_rights();
	door_limit_calls();
	door_serve();
}

int door_fork(struct door *door, struct error *err)
{
	const int least = 1;
	pid_t parent = getpid();
	int fds[2];

	*door = (struct door){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		error_add(err, "cannot create a socket pair: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	/* Clients that this process has not taken yet wait in the listener's queue, not on their way. */
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	door->pid = fork();
	if (door->pid == 0) {
		door_run(fds[1], parent);
		_exit(1);
	}
	close(fds[1]);
	door->fd = fds[0];
	if (door->pid < 0) {
		int ret = -errno;

		error_add(err, "cannot start the process that takes connections: %s%s", strerror(-ret),
			  shortage_advice(ret));
		door->pid = 0;
		close(door->fd);
		return ret;
	}
	return 0;
}

/* Our side. */

static void door_remove_file(struct guard_undo *undo)
{
	socket_file_remove(&container_of(undo, struct door, undo)->file);
}

static void door_waited(struct door *door, int *status)
{
	/* It may be in the middle of something that we gave it up for. */
	kill(door->pid, SIGKILL);
	*status = 0;
	while (waitpid(door->pid, status, 0) < 0 && errno == EINTR)
		;
	door->pid = 0;
}

/* Says that the process has ended, and why as far as that is known. */
static void door_lost(struct door *door, const char *what)
{
	char reason[256];
	int status, len;

	loop_del(&door->loop, &door->source);
	door_waited(door, &status);
	len = snprintf(reason, sizeof(reason), "the process that takes connections to %s %s",
		       door->config.path, what);
	if (len > 0 && (size_t)len < sizeof(reason) && WIFSIGNALED(status))
		snprintf(reason + len, sizeof(reason) - (size_t)len, " (signal %d)", WTERMSIG(status));
	door->config.ended(door->config.opaque, reason);
}

/* Acts on what the process says, which may have been written by whoever got the better of it. */
static void door_heard(struct door *door, const struct door_notice *notice, int fd)
{
	if (notice->word == DOOR_CAME && fd >= 0) {
		door->config.came(door->config.opaque, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (notice->word == DOOR_STRANGER)
		log_limited(&door->limit, LOG_WARN,
			    "%u connections to %s were turned away, the last of the user with id %u",
			    notice->n, door->config.path, (unsigned int)notice->uid);
	else if (notice->word == DOOR_SHORT)
		log_limited(&door->limit, LOG_WARN, "cannot take a connection to %s: %s%s", door->config.path,
			    strerror(notice->error), shortage_advice(-notice->error));
	else
		door_lost(door, "talked nonsense, and was ended");
}

static void door_readable(struct loop_source *src, uint32_t events)
{
	struct door *door = container_of(src, struct door, source);
	struct door_notice notice;
	int fd, n = control_recv_with(door->fd, (char *)&notice, sizeof(notice), &fd);

	if (n == sizeof(notice))
		door_heard(door, &notice, fd);
	else if (n == -EMFILE)
		log_limited(&door->limit, LOG_WARN,
			    "a connection to %s was dropped: no descriptor is left for it%s",
			    door->config.path, shortage_advice(-EMFILE));
	else if (n == 0 || n == -ECONNRESET)
		door_lost(door, "has ended");
	else if (n != -EAGAIN)
		door_lost(door, "talked nonsense, and was ended");
	if (n > 0 && n != sizeof(notice) && fd >= 0)
		close(fd);
}

/* Takes a listener that this process was started with, whose file is not ours. */
static int door_take_listener(const char *path, int *listener, struct error *err)
{
	int flags;

	*listener = descriptor_take(path, 0);
	flags = fcntl(*listener, F_GETFL);
	if (flags >= 0 && fcntl(*listener, F_SETFL, flags | O_NONBLOCK) == 0)
		return 0;
	error_add(err, "cannot listen on %s: %s", path, strerror(errno));
	return -errno;
}

/* Makes the listener. Credentials that clients see are those of the time of listen(): ours. */
static int door_listen(struct door *door, int *listener, struct error *err)
{
	const char *path = door->config.path;
	int ret;

	if (descriptor_is(path))
		return door_take_listener(path, listener, err);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*listener < 0) {
		error_add(err, "cannot create a socket for unix:%s: %s%s", path, strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	ret = socket_file_bind(&door->file, *listener, AT_FDCWD, path,
			       door->config.peer_uid == geteuid() ? 0600 : 0666);
	if (ret == 0) {
		guard_add(door->config.guard, &door->undo);
		ret = listen(*listener, DOOR_BACKLOG) < 0 ? -errno : 0;
	}
	if (ret < 0)
		error_add(err, "cannot listen on unix:%s: %s", path, socket_file_error(ret));
	return ret;
}

static int door_start_thread(struct door *door, struct error *err)
{
	int ret;

	door->source = (struct loop_source){ .fd = door->fd, .fn = door_readable };
	ret = loop_serve(&door->loop, &door->source, "door");
	if (ret < 0) {
		error_add(err, "cannot start the thread that connections come to: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	door->open = true;
	return 0;
}

int door_open(struct door *door, const struct door_config *config, struct error *err)
{
	const struct door_order order = { .peer_uid = config->peer_uid };
	int listener, ret;

	door->config = *config;
	door->undo.fn = door_remove_file;
	ret = door_listen(door, &listener, err);
	if (ret == 0) {
		ret = control_send_with(door->fd, (const char *)&order, sizeof(order), listener,
					DOOR_PASS_MS);
		if (ret < 0)
			error_add(err, "the process that takes connections to %s is not there: %s",
				  config->path, strerror(-ret));
	}
	if (listener >= 0)
		close(listener);
	return ret < 0 ? ret : door_start_thread(door, err);
}

void door_close(struct door *door)
{
	int status;

	/* The file goes before the listener, for while somebody listens nobody takes it for a dead
	 * process's. */
	socket_file_remove(&door->file);
	guard_del(&door->undo);
	door->file = (struct socket_file){ 0 };
	if (door->open) {
		loop_join(&door->loop);
		loop_exit(&door->loop);
		door->open = false;
	}
	if (door->pid > 0)
		door_waited(door, &status);
	if (door->fd >= 0)
		close(door->fd);
	door->fd = -1;
}
