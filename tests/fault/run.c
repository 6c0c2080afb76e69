/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One migration that meets a fault: see the header. */
#define _GNU_SOURCE
#include "tests/fault/run.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fault/kinds.h"

/* Until the operator gives up a migration that stands still. */
#define PATIENCE_MS 200
/* Far more than any deadline of Ferry's: what comes this late never comes. */
#define HANG_MS 180000

static void make_pair(int pair[2])
{
	int ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	(void)ret;
}

void run_begin(struct run *r)
{
	int source[2], destination[2], second[2];
	struct party *p = &r->source;

	make_pair(source);
	make_pair(destination);
	make_pair(second);
	p->report = &r->world->ends[WORLD_SOURCE];
	p->cancel_fd = eventfd(0, EFD_CLOEXEC);
	p->second_fd = second[1];
	r->leave_fd = eventfd(0, EFD_CLOEXEC);
	end_start_source(&p->end, r->world, &r->plan,
			 &(struct end_fds){ .fd = source[0],
					    .second_fd = second[0],
					    .cancel_fd = p->cancel_fd,
					    .keep = (const int[]){ source[1], destination[0], destination[1],
								   second[1] },
					    .n_keep = 4 });
	end_start_destination(
		&r->destination, r->world, WORLD_DESTINATION, &r->plan,
		&(struct end_fds){ .fd = destination[1],
				   .second_fd = -1,
				   .cancel_fd = r->leave_fd,
				   .keep = (const int[]){ source[1], destination[0], second[1], p->end.fd },
				   .n_keep = 4 });
	link_start(&p->link, source[1], destination[0]);
}

void run_begin_second(struct run *r, struct party *p)
{
	const struct end_plan plan = { 0 };
	int fd = p->second_fd;

	p->second_fd = -1;
	end_start_destination(&r->second, r->world, WORLD_SECOND, &plan,
			      &(struct end_fds){ .fd = fd,
						 .second_fd = -1,
						 .cancel_fd = r->leave_fd,
						 .keep = (const int[]){ p->end.fd, r->destination.fd,
									p->link.fds[0], p->link.fds[1] },
						 .n_keep = 4 });
}

int run_over(struct run *r, struct end *e)
{
	uint64_t end_ns = end_of(HANG_MS), give_up_ns = 0;
	struct pollfd fds[] = { { .fd = e->fd, .events = POLLIN }, { .fd = e->pid_fd, .events = POLLIN } };
	char byte;

	while (now_ns() < end_ns) {
		poll(fds, 2, PATIENCE_MS);
		if (fds[0].revents & POLLIN && recv(e->fd, &byte, 1, 0) == 1)
			return 1;
		if (fds[1].revents)
			return 0;
		/* The source wants it back within seconds. */
		if (poll(&(struct pollfd){ .fd = r->destination.pid_fd, .events = POLLIN }, 1, 0) > 0)
			end_let_go(r->world, WORLD_DESTINATION);
		/* The end of the process is told by the other one. */
		if (fds[0].revents)
			fds[0].fd = -1;
		if (!r->source.link.reached || !(r->kind->rules & KIND_HANGS))
			continue;
		give_up_ns = give_up_ns ? give_up_ns : end_of(PATIENCE_MS);
		if (now_ns() >= give_up_ns)
			eventfd_write(r->source.cancel_fd, 1);
	}
	return -1;
}

bool run_order(struct run *r, struct party *p, char what)
{
	send(p->end.fd, &what, 1, MSG_NOSIGNAL);
	return run_over(r, &p->end) == 1;
}

static void end_kill(struct end *e)
{
	if (e->pid <= 0)
		return;
	kill(e->pid, SIGKILL);
	end_wait(e);
}

void run_end(struct run *r)
{
	end_kill(&r->source.end);
	end_kill(&r->destination);
	end_kill(&r->second);
	link_join(&r->source.link);
	close(r->source.cancel_fd);
	close(r->leave_fd);
	if (r->source.second_fd >= 0)
		close(r->source.second_fd);
}
