/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking the operator's terminal, giving it back, and job control. */
#include "devices/serial/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A terminal at the other end of a slow connection has answered within this time. */
#define TERMINAL_QUIET_MS 200
/* The wait ends by then, also where somebody types all the time or output does not go out. */
#define TERMINAL_LAST_MS 600
/* The process looks this often whether it is in the foreground again, for nothing tells it. */
#define TERMINAL_LOOK_MS 1000

/* Whether this process may use the terminal. tcgetpgrp() fails for one that is not our controlling terminal,
 * and no job has such a one. */
static bool terminal_in_foreground(const struct terminal *t)
{
	pid_t foreground = tcgetpgrp(t->fd);

	return foreground < 0 || foreground == getpgrp();
}

static void terminal_look_again(struct terminal *t, bool later)
{
	if (later)
		loop_timer_arm(&t->timer, end_of(TERMINAL_LOOK_MS));
	else
		loop_timer_stop(&t->timer);
}

static void terminal_try(struct terminal *t)
{
	struct termios raw = t->before;
	bool ours = t->wanted && terminal_in_foreground(t);

	terminal_look_again(t, t->wanted && !ours);
	if (!ours)
		return;
	cfmakeraw(&raw);
	/* Messages to stderr still want their line ends. */
	raw.c_oflag |= OPOST;
	/* VMIN is 0 because another process may have read what the loop has been told of, and read() must not
	 * wait then. */
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	/* @taken is set first, so that the guard never finds a terminal that is raw and not known to be. */
	if (atomic_exchange(&t->taken, true)) {
		tcsetattr(t->fd, TCSANOW, &raw);
		return;
	}
	tcsetattr(t->fd, TCSANOW, &raw);
	t->got(t);
}

/* Waits for nothing, for neither tcflush() nor tcsetattr(TCSANOW) does, not even for a stopped terminal. */
static void terminal_restore(struct terminal *t)
{
	if (!atomic_exchange(&t->taken, false) || !terminal_in_foreground(t))
		return;
	tcflush(t->fd, TCIFLUSH);
	tcsetattr(t->fd, TCSANOW, &t->before);
}

static void terminal_undo(struct guard_undo *undo)
{
	terminal_restore(container_of(undo, struct terminal, undo));
}

/* The process has one terminal, and a handler knows nothing else. */
static struct terminal *_Atomic terminal_of_process;

static const int terminal_crashes[TERMINAL_N_CRASHES] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV };

/* Runs on whichever thread has crashed. All that is called here may be called from a handler. */
static void terminal_crashed(int signo)
{
	struct terminal *t = atomic_load(&terminal_of_process);

	if (t)
		terminal_restore(t);
	/* SA_RESETHAND has made the signal's action the default: it ends the process when the handler
	 * returns. */
	raise(signo);
}

static void terminal_foresee_crash(struct terminal *t)
{
	const struct sigaction crash = { .sa_handler = terminal_crashed, .sa_flags = (int)SA_RESETHAND };

	atomic_store(&terminal_of_process, t);
	for (unsigned int i = 0; i < ARRAY_SIZE(terminal_crashes); i++)
		sigaction(terminal_crashes[i], &crash, &t->crashes[i]);
}

static void terminal_forget_crash(struct terminal *t)
{
	if (atomic_load(&terminal_of_process) != t)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(terminal_crashes); i++)
		sigaction(terminal_crashes[i], &t->crashes[i], NULL);
	atomic_store(&terminal_of_process, NULL);
}

static void terminal_timer(struct loop_timer *timer)
{
	terminal_try(container_of(timer, struct terminal, timer));
}

static void terminal_signalled(struct loop_source *src, uint32_t events)
{
	struct terminal *t = container_of(src, struct terminal, signals);
	struct signalfd_siginfo info;

	while (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTSTP) {
			terminal_restore(t);
			raise(SIGSTOP);
		}
		/* The job that had the terminal meanwhile may have changed its settings. */
		terminal_try(t);
	}
}

int terminal_open(struct terminal *t, struct loop *loop, int fd, void (*got)(struct terminal *t))
{
	sigset_t jobs, taken;
	int ret;

	*t = (struct terminal){ .loop = loop,
				.fd = -1,
				.got = got,
				.signals = { .fd = -1, .fn = terminal_signalled },
				.undo = { .fn = terminal_undo } };
	if (fd < 0 || tcgetattr(fd, &t->before) < 0)
		return 0;
	sigemptyset(&taken);
	sigaddset(&taken, SIGTSTP);
	sigaddset(&taken, SIGCONT);
	jobs = taken;
	sigaddset(&jobs, SIGTTIN);
	sigaddset(&jobs, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &jobs, NULL);
	t->fd = fd;
	t->signals.fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	ret = t->signals.fd < 0 ? -errno : loop_add(loop, &t->signals, EPOLLIN);
	if (ret == 0)
		ret = loop_timer_open(&t->timer, loop, terminal_timer);
	if (ret < 0)
		terminal_close(t);
	return ret;
}

void terminal_take(struct terminal *t)
{
	struct signalfd_siginfo info;

	if (t->fd < 0)
		return;
	/* A Ctrl-Z that came while the guest arrived is dropped, for nobody wants the guest to stop now. */
	while (read(t->signals.fd, &info, sizeof(info)) == sizeof(info))
		;
	t->wanted = true;
	if (!atomic_load(&terminal_of_process))
		terminal_foresee_crash(t);
	terminal_try(t);
}

bool terminal_check(struct terminal *t)
{
	if (t->fd < 0 || !t->taken)
		return false;
	if (terminal_in_foreground(t))
		return true;
	t->taken = false;
	terminal_look_again(t, true);
	return false;
}

/* Discards input until the terminal is quiet and all output has gone out. Output that does not go out is
 * discarded, too, because the terminal would answer it later. */
static void terminal_discard(struct terminal *t)
{
	uint64_t end_ns = end_of(TERMINAL_LAST_MS);
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	int n_out = 0, n = 1;

	while (now_ns() < end_ns && (n > 0 || n_out > 0) && !(p.revents & (POLLHUP | POLLERR))) {
		n = poll(&p, 1, (int)min_u64((uint64_t)ms_until(end_ns), TERMINAL_QUIET_MS));
		tcflush(t->fd, TCIFLUSH);
		if (ioctl(t->fd, TIOCOUTQ, &n_out) < 0)
			n_out = 0;
	}
	if (n_out > 0)
		tcflush(t->fd, TCOFLUSH);
}

void terminal_close(struct terminal *t)
{
	if (t->fd >= 0 && terminal_check(t))
		terminal_discard(t);
	if (t->fd >= 0)
		terminal_restore(t);
	terminal_forget_crash(t);
	guard_del(&t->undo);
	if (t->signals.fd >= 0) {
		loop_del(t->loop, &t->signals);
		close(t->signals.fd);
		t->signals.fd = -1;
	}
	loop_timer_close(&t->timer);
	t->fd = -1;
}
