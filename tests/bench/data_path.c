/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many 64-byte packets a second go from a guest's ring to a device's and back used, on the NIC's own data
 * path between a fake driver and a fake device: split and packed, with an eventfd for each notification and
 * without any, in turns of some milliseconds, so that what else the machine does is in all of them.
 *
 * In the first part all three share one thread. Packets a second are by that thread's CPU time, every system
 * call included, those of the fakes too, which stand for KVM's and the device's. The time in Ferry is that of
 * the median round, without what reading the clock takes. In the second part the NIC has its own thread, and
 * decides itself whether to sleep.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "devices/net/turn.h"
#include "tests/fake/net_guest.h"

#define SIZE       256u
#define PACKET     64u
#define BUFFERS    UINT64_C(0x200000)
#define MAX_ROUNDS (1u << 16)
#define TURN_NS    UINT64_C(5000000)
#define N_LONE     100u

/* Who is told of packets by an eventfd: all; the guest and the device, while Ferry looks; nobody. */
enum told { TOLD_ALL, TOLD_OTHERS, TOLD_NOBODY, N_TOLD };
static const char *const told_words[] = { "eventfds", "Ferry polls", "all poll" };

struct bench {
	struct net_guest guest;
	struct fake_vdpa *vdpa;
	enum told told;
	bool receive;
	unsigned int batch;
	uint64_t cpu_ns, n_packets, n_interrupts;
	uint64_t clock_ns; /* what it takes to read the clock */
	uint64_t ferry_ns; /* of this round */
	uint64_t rounds[MAX_ROUNDS];
	unsigned int n_rounds;
};

static uint64_t clock_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *values, unsigned int n)
{
	qsort(values, n, sizeof(values[0]), compare);
	return values[n / 2];
}

static uint64_t clock_cost(void)
{
	uint64_t times[1001];

	for (unsigned int i = 0; i < 1001; i++) {
		times[i] = now_ns();
		times[i] = now_ns() - times[i];
	}
	return median(times, 1001);
}

/* One turn of the NIC's loop. */
static void ferry(struct bench *b)
{
	struct epoll_event events[LOOP_EVENTS];
	uint64_t start = now_ns();
	int n = 0;

	if (b->told == TOLD_ALL)
		n = epoll_wait(b->guest.net->loop.epoll_fd, events, LOOP_EVENTS, 0);
	else
		net_turn(b->guest.net);
	for (int i = 0; i < n; i++) {
		struct loop_source *src = events[i].data.ptr;

		src->fn(src, events[i].events);
	}
	b->ferry_ns += now_ns() - start - b->clock_ns;
}

static void guest_add(struct bench *b, unsigned int queue)
{
	struct fake_driver *d = &b->guest.queues[queue];

	for (unsigned int i = 0; i < b->batch; i++) {
		struct virtio_seg seg = { BUFFERS + NET_GUEST_BUFFER * d->free_head,
					  b->receive ? NET_GUEST_BUFFER : 12 + PACKET };
		int head = fake_driver_add(d, &seg, !b->receive, b->receive);

		assert(head >= 0);
	}
	if (fake_driver_publish(d))
		net_guest_kick(&b->guest, queue);
}

/* Returns how many it has used. */
static unsigned int device_use(struct bench *b, unsigned int queue)
{
	struct fake_vdpa_queue *q = &b->vdpa->queues[queue];
	struct fake_element e;
	unsigned int n = 0;

	if (b->told != TOLD_NOBODY)
		loop_take(q->vring.kick_fd);
	while (fake_device_take(&q->ring, &e) == 1) {
		fake_device_complete(&q->ring, e.head, b->receive ? 12 + PACKET : 0);
		n++;
	}
	if (b->told != TOLD_NOBODY)
		fake_device_enable_kicks(&q->ring);
	if (fake_device_publish(&q->ring))
		loop_signal(q->vring.call_fd);
	return n;
}

static unsigned int guest_take(struct bench *b, unsigned int queue)
{
	struct fake_driver *d = &b->guest.queues[queue];
	uint16_t head;
	uint32_t len;
	unsigned int n = 0;

	b->n_interrupts += b->told != TOLD_NOBODY && net_guest_interrupts(&b->guest, queue) > 0;
	while (fake_driver_get_used(d, &head, &len) == 1) {
		assert(len == (b->receive ? 12 + PACKET : 0));
		n++;
	}
	if (b->told != TOLD_NOBODY)
		fake_driver_enable_interrupts(d);
	b->n_packets += n;
	return n;
}

static void round_trip(struct bench *b)
{
	unsigned int queue = b->receive ? 0 : 1, n;

	b->ferry_ns = 0;
	guest_add(b, queue);
	ferry(b);
	n = device_use(b, queue);
	assert(n == b->batch);
	ferry(b);
	n = guest_take(b, queue);
	assert(n == b->batch);
	if (b->n_rounds < MAX_ROUNDS)
		b->rounds[b->n_rounds++] = b->ferry_ns;
}

/* On the NIC's thread. */
static int run(struct net *net, void *arg)
{
	struct bench *b = arg;
	uint64_t start = clock_now(CLOCK_THREAD_CPUTIME_ID), now = start;

	while (now - start < TURN_NS) {
		for (unsigned int i = 0; i < 128; i++)
			round_trip(b);
		now = clock_now(CLOCK_THREAD_CPUTIME_ID);
	}
	b->cpu_ns += now - start;
	return 0;
}

static int begin(struct net *net, void *arg)
{
	net_turn_begin(net);
	return 0;
}

static void build(struct bench *b, bool packed, bool logging, uint32_t poll_us)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct net_config config = { .split_only = !packed, .poll_us = poll_us };
	uint8_t status;
	int ret;

	spec.ring_size = SIZE;
	spec.n_pairs = 1;
	/* No reports of hashes, and so a header of 12 bytes. */
	spec.features &= ~(VIRTIO_BIT(VIRTIO_NET_F_HASH_REPORT) | VIRTIO_BIT(VIRTIO_NET_F_HASH_TUNNEL));
	b->vdpa = fake_vdpa_new(&spec);
	net_guest_init(&b->guest, b->vdpa, &config);
	status = net_guest_start(&b->guest, UINT64_MAX);
	assert(status == 0xf);
	for (unsigned int i = 0; i < 2; i++) {
		if (b->told == TOLD_NOBODY) {
			fake_device_disable_kicks(&b->vdpa->queues[i].ring);
			fake_driver_disable_interrupts(&b->guest.queues[i]);
		} else {
			fake_device_enable_kicks(&b->vdpa->queues[i].ring);
			fake_driver_enable_interrupts(&b->guest.queues[i]);
		}
	}
	net_guest_settle(&b->guest);
	ret = logging ? memory_log_start(&b->guest.vm->memory) : 0;
	assert(ret == 0);
	if (b->told != TOLD_ALL)
		ret = net_call(b->guest.net, begin, NULL);
	assert(ret == 0);
}

static struct bench *bench_new(enum told told, bool packed, bool receive, unsigned int batch)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert(b);
	b->told = told;
	b->receive = receive;
	b->batch = batch;
	b->clock_ns = clock_cost();
	return b;
}

static void bench_free(struct bench *b)
{
	net_guest_exit(&b->guest);
	fake_vdpa_free(b->vdpa);
	free(b);
}

struct wish {
	const char *name; /* in the names of cases, NULL: any */
	double seconds;   /* for each */
};

/* Split and packed, for each of who is told, in turns. */
static void measure(const struct wish *wish, bool receive, unsigned int batch, bool logging)
{
	struct bench *all[2][N_TOLD];
	double ns[2][N_TOLD];
	char name[64];

	snprintf(name, sizeof(name), "%s batch %u%s", receive ? "rx" : "tx", batch,
		 logging ? " logging" : "");
	if (wish->name && !strstr(name, wish->name))
		return;
	for (unsigned int i = 0; i < 2 * N_TOLD; i++) {
		all[i / N_TOLD][i % N_TOLD] = bench_new(i % N_TOLD, i / N_TOLD, receive, batch);
		build(all[i / N_TOLD][i % N_TOLD], i / N_TOLD, logging, 0);
	}
	while ((double)all[1][N_TOLD - 1]->cpu_ns < wish->seconds * 1e9) {
		for (unsigned int i = 0; i < 2 * N_TOLD; i++) {
			struct bench *b = all[i / N_TOLD][i % N_TOLD];
			int ret = net_call(b->guest.net, run, b);

			assert(ret == 0 && !net_path_failed(&b->guest.net->path));
		}
	}
	for (unsigned int i = 0; i < 2 * N_TOLD; i++) {
		struct bench *b = all[i / N_TOLD][i % N_TOLD];

		assert(b->told == TOLD_NOBODY || b->n_interrupts * b->batch == b->n_packets);
		ns[i / N_TOLD][i % N_TOLD] = (double)median(b->rounds, b->n_rounds) / batch;
		printf("%s %s, %s: %.3f Mpackets/s, %.1f ns a packet in Ferry\n",
		       i / N_TOLD ? "packed" : "split", name, told_words[i % N_TOLD],
		       (double)b->n_packets * 1e3 / (double)b->cpu_ns, ns[i / N_TOLD][i % N_TOLD]);
		bench_free(b);
	}
	for (unsigned int told = 0; told < N_TOLD; told++)
		printf("packed to split, %s, %s: %.2f\n", name, told_words[told], ns[1][told] / ns[0][told]);
	fflush(stdout);
}

/* The second part: the NIC's thread for itself. */

/* A guest and a device that are busy without a pause, on this thread. Whoever wants to be told is. */
static void stream(struct bench *b, uint64_t ns)
{
	const uint64_t start = clock_now(CLOCK_MONOTONIC);
	unsigned int on_the_way = 0;

	while (clock_now(CLOCK_MONOTONIC) - start < ns) {
		while (on_the_way + b->batch <= SIZE) {
			guest_add(b, 1);
			on_the_way += b->batch;
		}
		device_use(b, 1);
		on_the_way -= guest_take(b, 1);
	}
	while (on_the_way > 0) {
		device_use(b, 1);
		on_the_way -= guest_take(b, 1);
	}
	b->cpu_ns += clock_now(CLOCK_MONOTONIC) - start;
}

/* A packet after a pause: how long until the device can see it. */
static void lone(struct bench *b)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	uint64_t start;

	nanosleep(&pause, NULL);
	start = now_ns();
	guest_add(b, 1);
	while (device_use(b, 1) == 0)
		;
	b->rounds[b->n_rounds++] = now_ns() - start;
	while (guest_take(b, 1) == 0)
		;
}

static void measure_thread(const struct wish *wish, bool packed)
{
	static const struct {
		const char *name;
		uint32_t us;
	} polls[] = { { "off", 0 }, { "auto", LOOK_AUTO }, { "100", 100 } };
	struct bench *all[ARRAY_SIZE(polls)];
	char name[64];

	snprintf(name, sizeof(name), "%s on a thread", packed ? "packed" : "split");
	if (wish->name && !strstr(name, wish->name))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(polls); i++) {
		all[i] = bench_new(TOLD_ALL, packed, false, 32);
		build(all[i], packed, false, polls[i].us);
	}
	while ((double)all[0]->cpu_ns < wish->seconds * 1e9) {
		for (unsigned int i = 0; i < ARRAY_SIZE(polls); i++)
			stream(all[i], TURN_NS);
	}
	for (unsigned int n = 0; n < N_LONE; n++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(polls); i++) {
			all[i]->batch = 1;
			lone(all[i]);
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(polls); i++) {
		struct bench *b = all[i];

		printf("%s, poll=%s: %.3f Mpackets/s, %.1f us for a lone one\n", name, polls[i].name,
		       (double)(b->n_packets - N_LONE) * 1e3 / (double)b->cpu_ns,
		       (double)median(b->rounds, b->n_rounds) / 1e3);
		bench_free(b);
	}
	fflush(stdout);
}

/* data_path [NAME [SECONDS]]: every case, or those with NAME in theirs, each so long. */
int main(int argc, char **argv)
{
	static const unsigned int batches[] = { 1, 8, 32, 256 };
	const struct wish wish = { argc > 1 ? argv[1] : NULL, argc > 2 ? strtod(argv[2], NULL) : 0.1 };

	for (unsigned int i = 0; i < ARRAY_SIZE(batches); i++) {
		for (unsigned int k = 0; k < 4; k++)
			measure(&wish, k & 1, batches[i], k & 2);
	}
	measure_thread(&wish, false);
	measure_thread(&wish, true);
	return 0;
}
