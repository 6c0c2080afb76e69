/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's side of the bench: see the header. */
#define _GNU_SOURCE
#include "tests/bench/stream_peer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migration/incoming.h"

/* What a device takes for a piece, beyond the pages themselves: half a second a GiB. */
#define PIN_NS 500000

double cpu_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

void check(int ret, const struct error *err)
{
	if (ret < 0)
		fprintf(stderr, "bench_stream: %s\n", err->text[0] ? err->text : strerror(-ret));
	assert(ret >= 0);
	(void)ret;
}

void fill(struct memory *m)
{
	uint64_t *w = (uint64_t *)(void *)m->regions[0].hva, v = 88172645463325252u;

	assert(m->n_regions == 1);
	for (uint64_t i = 0; i < m->size / sizeof(*w); i++) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
		w[i] = v;
	}
}

static void plain_receive(int fd, struct memory *m, enum memory_kind kind)
{
	static uint8_t piece[PIECE];
	uint8_t *hva = m->regions[0].hva;
	ssize_t n;

	for (uint64_t at = 0; at < m->size; at += PIECE) {
		if (kind == POPULATED)
			memory_populate(m, at, PIECE);
		for (uint64_t done = 0; done < PIECE; done += (uint64_t)n) {
			n = read(fd, kind == COPIED ? piece + done : hva + at + done, PIECE - done);
			assert(n > 0);
		}
		if (kind == COPIED) {
			n = pwrite(m->fd, piece, PIECE, (off_t)at);
			assert(n == (ssize_t)PIECE);
		}
	}
	n = write(fd, "", 1);
	assert(n == 1);
	close(fd);
}

/* A device to which memory is mapped. */
struct pinning {
	struct memory *memory;
	int done_fd;
	pthread_t thread;
};

/* Has all pages there, as the kernel does who pins them, and then takes its time. */
static void *pin(void *arg)
{
	struct pinning *p = arg;
	const struct timespec step = { .tv_nsec = PIN_NS };
	int ret;

	for (uint64_t at = 0; at < p->memory->size; at += PIECE) {
		memory_populate(p->memory, at, PIECE);
		nanosleep(&step, NULL);
	}
	ret = eventfd_write(p->done_fd, 1);
	assert(ret == 0);
	return NULL;
}

static int pin_end(void *opaque, struct error *err)
{
	struct pinning *p = opaque;

	pthread_join(p->thread, NULL);
	return 0;
}

static void ferry_receive(int fd, struct fake_guest *g, enum memory_kind kind)
{
	struct pinning p = { .memory = &g->vm.memory, .done_fd = eventfd(0, EFD_CLOEXEC) };
	const struct incoming_work work = { .fd = p.done_fd, .end = pin_end, .opaque = &p };
	struct destination d = { .mem = g->vm.memory.size, .cpus = 1, .start_ns = now_ns() };
	struct error err = { 0 };

	check(channel_adopt(&d.channel, fd, -1, &err), &err);
	check(stream_init(&d.stream, &d.channel, TIMEOUT_MS, &err), &err);
	d.stream.version = STREAM_NEWEST;
	if (kind == PINNED)
		pin(&p);
	check(destination_ready(&d, &err), &err);
	if (kind == PINS)
		check(-pthread_create(&p.thread, NULL, pin, &p), &err);
	/* The source hangs up when it has measured enough. */
	if (incoming_run(&d, &g->vm, kind == PINS ? &work : NULL, &err) != -EPIPE)
		check(-EPROTO, &err);
	destination_close(&d);
	close(p.done_fd);
}

void peer_run(uint64_t size, const int *listeners, int control)
{
	struct fake_guest touched, fresh, *g;
	struct order order;
	double cpu;
	ssize_t n;

	fake_guest_init(&touched, size, 1);
	fill(&touched.vm.memory);
	while (read(control, &order, sizeof(order)) == sizeof(order)) {
		int fd = accept4(listeners[order.family], NULL, NULL, SOCK_CLOEXEC);

		g = order.memory == TOUCHED ? &touched : &fresh;
		if (g == &fresh)
			fake_guest_init(g, size, 1);
		n = write(control, "", 1);
		assert(n == 1);
		cpu = cpu_seconds();
		if (order.sender == PLAIN)
			plain_receive(fd, &g->vm.memory, order.memory);
		else
			ferry_receive(fd, g, order.memory);
		cpu = cpu_seconds() - cpu;
		n = write(control, &cpu, sizeof(cpu));
		assert(n == sizeof(cpu));
		if (g == &fresh)
			fake_guest_exit(g);
	}
	fake_guest_exit(&touched);
}
