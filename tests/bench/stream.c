/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory on its way to another process, beside a plain loop of 1 MiB pieces over a socket of the same
 * kind. Without KVM: what is measured are ram_send() and incoming_run(). Arguments: MiB of memory, series.
 *
 * Each line is "row: ours of base, ratio; CPU of the source, of the destination": GB a second each, and CPU
 * time as a multiple of the base's. A row's two are measured in turns.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migration/ram.h"
#include "tests/bench/stream_peer.h"

#define MAX_PASSES 4u

/* What is sent after the first pass, which brings everything. */
enum pages { EVERYTHING, FIRST_HALF, EVERY_OTHER };

/* One transfer, or one pass of one. */
struct figure {
	double bytes_per_second;
	double source_cpu, destination_cpu; /* seconds */
};

static const char *const family_names[] = { "unix", "tcp" };

struct rig {
	uint64_t size;
	int listeners[ARRAY_SIZE(family_names)];
	int control; /* to the other process */
	pid_t pid;
	struct fake_guest data, zeros;
};

static int listen_anywhere(int family)
{
	struct sockaddr_storage any = { .ss_family = (sa_family_t)family };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = family == AF_UNIX ? sizeof(sa_family_t) : sizeof(struct sockaddr_in);
	int ret;

	if (family == AF_INET)
		((struct sockaddr_in *)(void *)&any)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* Without a name the kernel finds one, for either family. */
	ret = bind(fd, (struct sockaddr *)&any, len);
	assert(ret == 0);
	ret = listen(fd, 1);
	assert(ret == 0);
	return fd;
}

static int connect_to(int listener)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	int ret = getsockname(listener, (struct sockaddr *)&address, &len);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(ret == 0);
	ret = connect(fd, (struct sockaddr *)&address, len);
	assert(ret == 0);
	return fd;
}

static void rig_start(struct rig *rig, uint64_t size)
{
	int pair[2], ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	*rig = (struct rig){ .size = size,
			     .listeners = { listen_anywhere(AF_UNIX), listen_anywhere(AF_INET) } };
	rig->pid = fork();
	assert(rig->pid >= 0);
	rig->control = pair[rig->pid == 0];
	close(pair[rig->pid != 0]);
	if (rig->pid == 0) {
		peer_run(rig->size, rig->listeners, rig->control);
		_exit(0);
	}
	fake_guest_init(&rig->data, size, 1);
	fill(&rig->data.vm.memory);
	fake_guest_init(&rig->zeros, size, 1);
	memset(rig->zeros.vm.memory.regions[0].hva, 0, size);
}

static void rig_stop(struct rig *rig)
{
	close(rig->control);
	waitpid(rig->pid, NULL, 0);
	fake_guest_exit(&rig->data);
	fake_guest_exit(&rig->zeros);
}

/* Returns a connection behind which memory is there. */
static int rig_order(struct rig *rig, const struct order *order)
{
	ssize_t n = write(rig->control, order, sizeof(*order));
	int fd = connect_to(rig->listeners[order->family]);
	char ready;

	assert(n == sizeof(*order));
	n = read(rig->control, &ready, 1);
	assert(n == 1);
	return fd;
}

static double rig_destination_cpu(struct rig *rig)
{
	double cpu;
	ssize_t n = read(rig->control, &cpu, sizeof(cpu));

	assert(n == sizeof(cpu));
	return cpu;
}

static struct figure plain_send(struct rig *rig, const struct order *order)
{
	const uint8_t *hva = rig->data.vm.memory.regions[0].hva;
	int fd = rig_order(rig, order), buffer = 4 << 20;
	double cpu = cpu_seconds();
	uint64_t start_ns = now_ns();
	struct figure f;
	ssize_t n;
	char done;

	/* As a channel has it: without this a plain loop is slower. */
	if (order->family == 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	for (uint64_t at = 0; at < rig->size; at += (uint64_t)n) {
		n = write(fd, hva + at, min_u64(PIECE, rig->size - at));
		assert(n > 0);
	}
	n = read(fd, &done, 1);
	assert(n == 1);
	f.bytes_per_second = (double)rig->size * 1e9 / (double)(now_ns() - start_ns);
	f.source_cpu = cpu_seconds() - cpu;
	close(fd);
	f.destination_cpu = rig_destination_cpu(rig);
	return f;
}

static int nothing(void *opaque, struct error *err)
{
	return 0;
}

static int nothing_sent(void *opaque, uint64_t bytes, struct error *err)
{
	return 0;
}

static void mark(struct page_set *pages, uint64_t n, enum pages which)
{
	if (which == FIRST_HALF)
		page_set_add(pages, 0, n / 2);
	for (uint64_t page = 0; which == EVERY_OTHER && page < n; page += 2)
		page_set_add(pages, page, page + 1);
}

/* Sends what is marked, to the answer of the destination's to all of it. */
static struct figure pass(struct ram_pass *p, uint64_t round)
{
	uint64_t bytes = dirty_bytes(p->dirty), start_ns, waited_ns;
	struct error err = { 0 };
	struct figure f = { .source_cpu = -cpu_seconds() };

	start_ns = now_ns();
	check(ram_send(p, &err), &err);
	check(stream_send(p->stream, STREAM_ROUND, round, NULL, 0, &err), &err);
	check(stream_send(p->stream, STREAM_SYNC, 0, NULL, 0, &err), &err);
	check(stream_expect_arg(p->stream, STREAM_SYNC_OK, &waited_ns, TIMEOUT_MS, &err), &err);
	f.bytes_per_second = (double)bytes * 1e9 / (double)(now_ns() - start_ns);
	f.source_cpu += cpu_seconds();
	return f;
}

/* Sends all of @g, and then @n - 1 more passes. */
static void ferry_send(struct rig *rig, const struct order *order, struct fake_guest *g,
		       const enum pages *passes, unsigned int n, struct figure *figures)
{
	struct channel channel;
	struct stream stream;
	struct dirty dirty;
	struct compress compress = { .mode = SOURCE_COMPRESS_OFF };
	struct report report = { 0 };
	struct error err = { 0 };
	struct ram_pass p = { .stream = &stream,
			      .dirty = &dirty,
			      .compress = &compress,
			      .report = &report,
			      .tick = nothing,
			      .sent = nothing_sent };
	uint64_t clock;

	check(channel_adopt(&channel, rig_order(rig, order), -1, &err), &err);
	check(stream_init(&stream, &channel, TIMEOUT_MS, &err), &err);
	check(stream_expect_ready(&stream, STREAM_NEWEST, &clock, TIMEOUT_MS, &err), &err);
	check(dirty_start(&dirty, &g->vm, &err), &err);
	for (unsigned int i = 0; i < n; i++) {
		mark(&dirty.pages, memory_pages(&g->vm.memory), passes[i]);
		figures[i] = pass(&p, i);
	}
	dirty_stop(&dirty);
	stream_exit(&stream);
	channel_close(&channel);
	figures[0].destination_cpu = rig_destination_cpu(rig);
}

static struct figure ferry_send_all(struct rig *rig, const struct order *order)
{
	const enum pages all = EVERYTHING;
	struct figure f;

	ferry_send(rig, order, &rig->data, &all, 1, &f);
	return f;
}

/* Rows */

static void say(const char *family, const char *row, struct figure ours, struct figure base)
{
	printf("%s, %s: %.2f of %.2f GB/s, %.3f", family, row, ours.bytes_per_second / 1e9,
	       base.bytes_per_second / 1e9, ours.bytes_per_second / base.bytes_per_second);
	if (ours.destination_cpu > 0 && base.destination_cpu > 0)
		printf("; CPU %.2f, %.2f", ours.source_cpu / base.source_cpu,
		       ours.destination_cpu / base.destination_cpu);
	printf("\n");
	fflush(stdout);
}

static void row_touched(struct rig *rig, unsigned int family)
{
	const struct order plain = { family, PLAIN, TOUCHED }, ferry = { family, FERRY, TOUCHED };
	struct figure base = plain_send(rig, &plain);

	say(family_names[family], "memory that is there, against a plain loop", ferry_send_all(rig, &ferry),
	    base);
}

static void row_scattered(struct rig *rig, unsigned int family)
{
	const struct order order = { family, FERRY, TOUCHED };
	const enum pages passes[MAX_PASSES] = { EVERYTHING, FIRST_HALF, EVERY_OTHER, FIRST_HALF };
	struct figure f[MAX_PASSES] = { 0 };

	ferry_send(rig, &order, &rig->data, passes, MAX_PASSES, f);
	f[1].bytes_per_second = (f[1].bytes_per_second + f[3].bytes_per_second) / 2;
	f[1].destination_cpu = 0;
	say(family_names[family], "scattered pages, against as many in one piece", f[2], f[1]);
}

/* Looking at memory is the least that sending zeros costs. */
static void row_zeros(struct rig *rig, unsigned int family)
{
	const struct order order = { family, FERRY, TOUCHED };
	const uint64_t *w = (const uint64_t *)(const void *)rig->zeros.vm.memory.regions[0].hva;
	const enum pages passes[] = { EVERYTHING };
	uint64_t start_ns, all = 0;
	struct figure f, base = { 0 };

	/* The first time the destination has pages that are not zero. */
	ferry_send(rig, &order, &rig->zeros, passes, 1, &f);
	start_ns = now_ns();
	for (uint64_t i = 0; i < rig->size / sizeof(*w); i += 4)
		all |= w[i] | w[i + 1] | w[i + 2] | w[i + 3];
	assert(all == 0);
	base.bytes_per_second = (double)rig->size * 1e9 / (double)(now_ns() - start_ns + (all != 0));
	ferry_send(rig, &order, &rig->zeros, passes, 1, &f);
	say(family_names[family], "zeros, against reading them", f, base);
}

static void row_untouched(struct rig *rig, unsigned int family)
{
	static const struct {
		enum memory_kind kind;
		const char *name;
	} kinds[] = { { UNTOUCHED, "first pass, against a plain loop that faults" },
		      { POPULATED, "first pass, against a plain loop that populates" },
		      { COPIED, "first pass, against a plain loop that writes the memfd" } };
	const struct order order = { family, FERRY, UNTOUCHED };
	struct figure f = ferry_send_all(rig, &order);

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct order plain = { family, PLAIN, kinds[i].kind };

		say(family_names[family], kinds[i].name, f, plain_send(rig, &plain));
	}
}

/* From the connection to the answer that all memory is in its place, and the device has it. */
static struct figure pinned(struct rig *rig, unsigned int family, enum memory_kind kind)
{
	const struct order order = { family, FERRY, kind };
	uint64_t start_ns = now_ns();
	struct figure f = ferry_send_all(rig, &order);

	f.bytes_per_second = (double)rig->size * 1e9 / (double)(now_ns() - start_ns);
	return f;
}

static void row_pinned(struct rig *rig, unsigned int family)
{
	struct figure before = pinned(rig, family, PINNED);

	say(family_names[family], "a device that pins memory as it comes, against before",
	    pinned(rig, family, PINS), before);
}

/* What is the machine's own, and what figures of other machines differ by. */
static void machine(void)
{
	const unsigned int n = 4096, n_calls = 200000;
	uint8_t *p = mmap(NULL, n * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t start_ns = now_ns(), fault_ns;

	assert(p != MAP_FAILED);
	for (unsigned int i = 0; i < n; i++)
		p[i * PAGE_SIZE] = 1;
	fault_ns = now_ns() - start_ns;
	munmap(p, n * PAGE_SIZE);
	start_ns = now_ns();
	for (unsigned int i = 0; i < n_calls; i++)
		syscall(SYS_getppid);
	printf("machine: %.2f us a page fault, %.2f us a system call\n", (double)fault_ns / n / 1e3,
	       (double)(now_ns() - start_ns) / n_calls / 1e3);
}

int main(int argc, char **argv)
{
	unsigned int mib = argc > 1 ? (unsigned int)atoi(argv[1]) : 256;
	unsigned int series = argc > 2 ? (unsigned int)atoi(argv[2]) : 2;
	struct rig rig;

	log_level = LOG_ERROR;
	machine();
	rig_start(&rig, MIB(mib));
	for (unsigned int i = 0; i < series; i++) {
		for (unsigned int family = 0; family < ARRAY_SIZE(family_names); family++) {
			row_touched(&rig, family);
			row_scattered(&rig, family);
			row_zeros(&rig, family);
			row_untouched(&rig, family);
			row_pinned(&rig, family);
		}
	}
	rig_stop(&rig);
	return 0;
}
