/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many 64-byte packets a second of one core go from a guest's ring to a device's and back used: the NIC's
 * own data path with its eventfds and its loop, between a fake driver and a fake device on the same thread.
 * Packets a second are of all three by the thread's CPU time, every system call included, those of the fakes
 * too, which stand for KVM's and the device's. The time in Ferry is that of the median round, since others
 * may be busy on the core.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/net_guest.h"

#define SIZE       256u
#define PACKET     64u
#define BUFFERS    UINT64_C(0x200000)
#define MAX_ROUNDS (1u << 17)

struct bench {
	struct net_guest guest;
	struct fake_vdpa *vdpa;
	bool receive;
	unsigned int batch;
	uint64_t limit_ns, cpu_ns, n_packets, n_interrupts;
	uint64_t ferry_ns; /* of this round */
	uint64_t rounds[MAX_ROUNDS];
	unsigned int n_rounds;
};

/* What this thread has had of its core: others may be busy on it as well. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One turn of the NIC's loop. */
static void ferry(struct bench *b)
{
	struct epoll_event events[LOOP_EVENTS];
	uint64_t start = now_ns();
	int n = epoll_wait(b->guest.net->loop.epoll_fd, events, LOOP_EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct loop_source *src = events[i].data.ptr;

		src->fn(src, events[i].events);
	}
	b->ferry_ns += now_ns() - start;
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

static void device_use(struct bench *b, unsigned int queue)
{
	struct fake_vdpa_queue *q = &b->vdpa->queues[queue];
	struct fake_element e;
	unsigned int n = 0;
	uint64_t count;

	if (read(q->vring.kick_fd, &count, sizeof(count)) < 0)
		assert(!"no kick");
	while (fake_device_take(&q->ring, &e) == 1) {
		fake_device_complete(&q->ring, e.head, b->receive ? 12 + PACKET : 0);
		n++;
	}
	assert(n == b->batch);
	fake_device_enable_kicks(&q->ring);
	if (fake_device_publish(&q->ring))
		loop_signal(q->vring.call_fd);
}

static void guest_take(struct bench *b, unsigned int queue)
{
	struct fake_driver *d = &b->guest.queues[queue];
	uint16_t head;
	uint32_t len;
	unsigned int n = 0;

	b->n_interrupts += net_guest_interrupts(&b->guest, queue);
	while (fake_driver_get_used(d, &head, &len) == 1) {
		assert(len == (b->receive ? 12 + PACKET : 0));
		n++;
	}
	assert(n == b->batch);
	fake_driver_enable_interrupts(d);
	b->n_packets += n;
}

static void round_trip(struct bench *b)
{
	unsigned int queue = b->receive ? 0 : 1;

	b->ferry_ns = 0;
	guest_add(b, queue);
	ferry(b);
	device_use(b, queue);
	ferry(b);
	guest_take(b, queue);
	if (b->n_rounds < MAX_ROUNDS)
		b->rounds[b->n_rounds++] = b->ferry_ns;
}

/* On the NIC's thread. */
static int run(struct net *net, void *arg)
{
	struct bench *b = arg;
	uint64_t start = cpu_ns();

	while (b->cpu_ns < b->limit_ns) {
		for (unsigned int i = 0; i < 128; i++)
			round_trip(b);
		b->cpu_ns = cpu_ns() - start;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void build(struct bench *b, bool logging, bool packed)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct net_config config = { .split_only = !packed };
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
		fake_device_enable_kicks(&b->vdpa->queues[i].ring);
		fake_driver_enable_interrupts(&b->guest.queues[i]);
	}
	net_guest_settle(&b->guest);
	ret = logging ? memory_log_start(&b->guest.vm->memory) : 0;
	assert(ret == 0);
}

static void measure(const char *name, struct bench *b, bool logging, bool packed)
{
	int ret;

	build(b, logging, packed);
	ret = net_call(b->guest.net, run, b);
	assert(ret == 0 && !net_path_failed(&b->guest.net->path) &&
	       b->n_interrupts * b->batch == b->n_packets);
	qsort(b->rounds, b->n_rounds, sizeof(b->rounds[0]), compare);
	printf("%s: %.3f Mpackets/s, %.1f ns a packet in Ferry\n", name,
	       (double)b->n_packets * 1e3 / (double)b->cpu_ns, (double)b->rounds[b->n_rounds / 2] / b->batch);
	fflush(stdout);
	net_guest_exit(&b->guest);
	fake_vdpa_free(b->vdpa);
}

/* svq [NAME [SECONDS]]: every case, or those with NAME in theirs, each so long. */
int main(int argc, char **argv)
{
	static const unsigned int batches[] = { 1, 8, 32, 256 };
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.2;

	for (unsigned int i = 0; i < 8 * ARRAY_SIZE(batches); i++) {
		bool packed = i & 4, logging = i & 2, receive = i & 1;
		struct bench *b = calloc(1, sizeof(*b));
		char name[64];

		assert(b);
		b->batch = batches[i / 8];
		b->receive = receive;
		b->limit_ns = (uint64_t)(seconds * 1e9);
		snprintf(name, sizeof(name), "%s %s batch %u%s", packed ? "packed" : "split",
			 receive ? "rx" : "tx", b->batch, logging ? " logging" : "");
		if (argc < 2 || strstr(name, argv[1]))
			measure(name, b, logging, packed);
		free(b);
	}
	return 0;
}
