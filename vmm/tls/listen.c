/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One loop over the listener and the processes that shake hands. */
#define _GNU_SOURCE
#include "vmm/tls/listen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Processes that shake hands at one time, each with some 200 KiB of its own. */
#define LISTEN_SLOTS 64u

/* A handshake has this time at least, however many others wait: it takes one way to the other end and back.
 * With the number above, as many as the kernel keeps in front of the door get in within four seconds. */
#define LISTEN_AGE_MS 500

/* Between attempts while there is no descriptor or no process to be had. */
#define LISTEN_RETRY_MS 100

/* A process that has proved nothing. */
struct listen_slot {
	pid_t pid; /* 0: none */
	/* Has a byte when the other end has proved who it is, and an end when the process ends. */
	int fd;
	uint64_t since_ns;
};

struct listen {
	const struct tls_listener *listener;
	struct listen_slot slots[LISTEN_SLOTS];
};

static struct listen_slot *listen_free_slot(struct listen *l)
{
	for (unsigned int i = 0; i < LISTEN_SLOTS; i++) {
		if (l->slots[i].pid == 0)
			return &l->slots[i];
	}
	return NULL;
}

static struct listen_slot *listen_oldest(struct listen *l)
{
	struct listen_slot *oldest = &l->slots[0];

	for (unsigned int i = 1; i < LISTEN_SLOTS; i++) {
		if (l->slots[i].since_ns < oldest->since_ns)
			oldest = &l->slots[i];
	}
	return oldest;
}

/* Forgets the process of @slot; as one of those that are nobody's it is reaped when it ends. */
static void listen_forget(struct listen_slot *slot)
{
	close(slot->fd);
	*slot = (struct listen_slot){ .fd = -1 };
}

/* Forgets @slot where its process has proved the other end, or has ended. */
static void listen_hear(struct listen_slot *slot)
{
	char word;

	if (recv(slot->fd, &word, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		return;
	listen_forget(slot);
}

/* Waits for those that have ended: of slots, and those that are nobody's. */
static void listen_reap(struct listen *l)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (unsigned int i = 0; i < LISTEN_SLOTS; i++) {
			if (l->slots[i].pid == pid)
				listen_forget(&l->slots[i]);
		}
	}
}

static void listen_evict(struct listen_slot *slot)
{
	listen_hear(slot);
	if (slot->pid == 0)
		return;
	/* The number is its own: nobody has waited for it. */
	kill(slot->pid, SIGKILL);
	listen_forget(slot);
}

static _Noreturn void listen_become(const struct tls_listener *l, int fd, int door_fd, pid_t parent)
{
	/* With the door goes what has proved nothing. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || dup2(fd, TLS_CONNECTION_FD) < 0)
		_exit(1);
	if ((door_fd != TLS_DOOR_FD && dup2(door_fd, TLS_DOOR_FD) < 0) ||
	    syscall(SYS_close_range, TLS_DOOR_FD + 1u, ~0u, 0) < 0)
		_exit(1);
	_exit(l->serve(l->opaque));
}

/* Starts a process for the connection @fd. */
static int listen_start(struct listen *l, struct listen_slot *slot, int fd)
{
	pid_t parent = getpid();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	slot->pid = fork();
	if (slot->pid == 0)
		listen_become(l->listener, fd, ends[1], parent);
	close(ends[1]);
	if (slot->pid < 0) {
		slot->pid = 0;
		close(ends[0]);
		return -errno;
	}
	slot->fd = ends[0];
	slot->since_ns = now_ns();
	return 0;
}

static void listen_take(struct listen *l)
{
	struct listen_slot *slot = listen_free_slot(l);
	int fd, ret;

	if (!slot) {
		slot = listen_oldest(l);
		listen_evict(slot);
	}
	fd = accept4(l->listener->fd, NULL, NULL, SOCK_CLOEXEC);
	ret = fd < 0 ? -errno : listen_start(l, slot, fd);
	if (fd >= 0)
		close(fd);
	/* Nothing says when there is what was lacking. */
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR && ret != -ECONNABORTED)
		(void)poll(NULL, 0, LISTEN_RETRY_MS);
}

/* Returns the milliseconds until somebody may come in: 0 while there is room, or the oldest has had its time.
 */
static int listen_full_for(struct listen *l)
{
	if (listen_free_slot(l))
		return 0;
	return ms_until(listen_oldest(l)->since_ns + LISTEN_AGE_MS * UINT64_C(1000000));
}

void tls_listen_run(const struct tls_listener *listener)
{
	struct listen l = { .listener = listener };
	struct pollfd p[LISTEN_SLOTS + 2];

	for (unsigned int i = 0; i < LISTEN_SLOTS; i++)
		l.slots[i].fd = -1;
	for (;;) {
		const int full_for = listen_full_for(&l);

		for (unsigned int i = 0; i < LISTEN_SLOTS; i++)
			p[i] = (struct pollfd){ .fd = l.slots[i].fd, .events = POLLIN };
		p[LISTEN_SLOTS] = (struct pollfd){ .fd = full_for ? -1 : listener->fd, .events = POLLIN };
		p[LISTEN_SLOTS + 1] = (struct pollfd){ .fd = listener->result_fd };
		if (poll(p, ARRAY_SIZE(p), full_for ? full_for : -1) < 0 && errno != EINTR)
			return;
		if (p[LISTEN_SLOTS + 1].revents)
			return;
		for (unsigned int i = 0; i < LISTEN_SLOTS; i++) {
			if (p[i].revents)
				listen_hear(&l.slots[i]);
		}
		if (p[LISTEN_SLOTS].revents)
			listen_take(&l);
		listen_reap(&l);
	}
}

void tls_listen_proved(void)
{
	prctl(PR_SET_PDEATHSIG, 0);
	(void)!send(TLS_DOOR_FD, "", 1, MSG_NOSIGNAL);
	close(TLS_DOOR_FD);
}
