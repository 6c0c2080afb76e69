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

static void party_begin(struct run *r, struct party *p, unsigned int which)
{
	int source[2], second[2];

	make_pair(source);
	make_pair(second);
	*p = (struct party){ .report = &r->world->ends[which],
			     .link = p->link,
			     .transport.fd = -1,
			     .again_transport.fd = -1 };
	p->cancel_fd = eventfd(0, EFD_CLOEXEC);
	p->line_fd = source[1];
	p->second_fd = second[1];
	end_start_source(
		&p->end, r->world, which, &r->plan,
		&(struct end_fds){ .fd = source[0], .second_fd = second[0], .cancel_fd = p->cancel_fd });
}

/* Begins the line whose other end is @far. */
static void party_connect(struct party *p, int far)
{
	link_start(&p->link, p->line_fd, far);
	p->line_fd = -1;
}

/* As a source's client does; where that finds nobody the source hears the end. */
static void party_come(struct run *r, struct party *p)
{
	if (way_open(&r->plan, &p->transport) == 0) {
		if (r->early && p == &r->source) {
			r->kind->act(r);
			p->link.fault = LINK_WELL;
		}
		party_connect(p, p->transport.fd);
		p->transport.fd = -1;
	} else {
		/* A rival is told so, who comes too late. */
		if (p == &r->source)
			r->wrong = "there is no way to the destination";
		shutdown(p->line_fd, SHUT_RDWR);
	}
}

void run_begin(struct run *r)
{
	int pair[2] = { -1, -1 };

	if (r->plan.way_in == END_BY_SOCKET)
		make_pair(pair);
	r->leave_fd = eventfd(0, EFD_CLOEXEC);
	party_begin(r, &r->source, WORLD_SOURCE);
	if (r->kind->rules & KIND_RIVALS)
		party_begin(r, &r->rival, WORLD_RIVAL);
	end_start_destination(&r->destination, r->world, WORLD_DESTINATION, &r->plan,
			      &(struct end_fds){ .fd = pair[1], .second_fd = -1, .cancel_fd = r->leave_fd });
	if (r->plan.way_in == END_BY_SOCKET)
		party_connect(&r->source, pair[0]);
	else if (run_over(r, &r->destination) == 1)
		party_come(r, &r->source);
	else
		r->wrong = "the destination does not begin";
}

void run_begin_rival(struct run *r)
{
	if (!atomic_exchange(&r->rival_begins, true)) {
		party_come(r, &r->rival);
		r->rival_began = true;
	}
	while (!r->rival_began)
		poll(NULL, 0, 1);
}

bool run_begin_again(struct run *r, struct party *p)
{
	if (way_open(&r->plan, &p->again_transport) < 0)
		return false;
	link_start(&p->again, p->second_fd, p->again_transport.fd);
	p->again_transport.fd = -1;
	p->second_fd = -1;
	return true;
}

void run_begin_second(struct run *r, struct party *p)
{
	const struct end_plan plan = { 0 };
	int fd = p->second_fd;

	p->second_fd = -1;
	end_start_destination(&r->second, r->world, WORLD_SECOND, &plan,
			      &(struct end_fds){ .fd = fd, .second_fd = -1, .cancel_fd = r->leave_fd });
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

/* Ends a host, which has not ended by itself, unless to say that it had nothing to do. */
static void run_end_host(struct run *r, struct end *e, unsigned int may_end)
{
	bool ended = e->pid > 0 && poll(&(struct pollfd){ .fd = e->pid_fd, .events = POLLIN }, 1, 0) > 0;

	if (e->pid <= 0)
		return;
	kill(e->pid, SIGKILL);
	if (end_wait(e) != 0 && ended && !(r->kind->rules & may_end))
		r->wrong = "a host has failed";
}

/* Ends a line, if it has begun, and who carries its bytes. */
static void run_end_line(struct link *l, struct transport *t)
{
	if (l->begun)
		link_join(l);
	transport_close(t, &(struct error){ 0 });
}

static void party_end(struct run *r, struct party *p)
{
	if (p->end.pid <= 0)
		return;
	run_end_host(r, &p->end, KIND_SOURCE_ENDS);
	run_end_line(&p->link, &p->transport);
	run_end_line(&p->again, &p->again_transport);
	close(p->cancel_fd);
	if (p->line_fd >= 0)
		close(p->line_fd);
	if (p->second_fd >= 0)
		close(p->second_fd);
}

void run_end(struct run *r)
{
	run_end_host(r, &r->destination, KIND_DESTINATION_ENDS);
	run_end_host(r, &r->second, 0);
	party_end(r, &r->source);
	party_end(r, &r->rival);
	close(r->leave_fd);
}
