// SPDX-License-Identifier: GPL-2.0-or-later
// A vDPA NIC in user space that echoes: vdusenic NAME MAC [event_idx] [indirect] [shuffle] [late=MS]
//
// Makes /dev/vduse/NAME with one pair of queues of 256 entries and no control queue, and says "ready" when
// "vdpa dev add name NAME mgmtdev vduse" can follow. It answers ARP requests for any address and ICMP echo
// requests, and sends every other unicast frame back to its sender. Buffers are used in their order, frames
// that find no receive buffer are lost. "shuffle": receive buffers are taken ahead and mostly the newest is
// used first, what was sent is completed backwards. "late": what is sent is looked at and completed MS
// milliseconds after. Ends with SIGTERM, once the vDPA device is deleted.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vduse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helper.h"

enum { RX, TX, QUEUES };
enum { SIZE = 256, REGIONS = 64, AHEAD = 4, OLDEST = 8, SHUFFLE_MS = 5, MTU = 1500 };
enum { HEADER = sizeof(struct virtio_net_hdr_v1), FRAME = 65536 };
enum { ETH_LEN = 14, ARP_LEN = ETH_LEN + 28, IP_LEN = 20, ICMP_LEN = 8 };

// A part of the driver's memory, as the kernel gives it.
struct region {
	uint64_t start, last;
	uint8_t *hva, perm;
};

// A chain that was taken from the available ring and is not yet in the used ring.
struct taken {
	uint16_t head;
	uint64_t due;
};

struct queue {
	unsigned int index, num;
	uint64_t desc, driver, device;
	uint16_t last_avail, last_used;
	int kick;
	bool running;
	struct taken taken[SIZE];
	unsigned int n_taken;
	struct vring_desc *descs; // these three while run() is at it: mappings can change in between
	struct vring_avail *avail;
	struct vring_used *used;
};

struct seg {
	uint64_t addr;
	uint32_t len;
};

static struct {
	int fd;
	uint64_t features;
	bool shuffle;
	uint64_t late_ns;
	struct queue queues[QUEUES];
	struct region regions[REGIONS];
	unsigned int n_regions;
	uint64_t echoed, lost;
} nic;

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

// Memory

static void forget_regions(void)
{
	for (unsigned int i = 0; i < nic.n_regions; i++)
		munmap(nic.regions[i].hva, nic.regions[i].last - nic.regions[i].start + 1);
	nic.n_regions = 0;
}

static const struct region *add_region(uint64_t iova)
{
	struct vduse_iotlb_entry e = { .start = iova, .last = iova };
	int fd = ioctl(nic.fd, VDUSE_IOTLB_GET_FD, &e), prot;
	struct region *r;
	void *hva;

	if (fd < 0)
		return NULL;
	if (nic.n_regions == REGIONS) {
		close(fd);
		return NULL;
	}
	prot = (e.perm & VDUSE_ACCESS_RO ? PROT_READ : 0) | (e.perm & VDUSE_ACCESS_WO ? PROT_WRITE : 0);
	hva = mmap(NULL, e.last - e.start + 1, prot, MAP_SHARED, fd, e.offset);
	close(fd);
	if (hva == MAP_FAILED)
		return NULL;
	r = &nic.regions[nic.n_regions++];
	*r = (struct region){ e.start, e.last, hva, e.perm };
	return r;
}

// Where the driver's memory is and how much follows in one piece, at most @len; NULL if it is not the
// device's.
static uint8_t *translate(uint64_t iova, uint64_t *len, uint8_t perm)
{
	const struct region *r = NULL;

	for (unsigned int i = 0; i < nic.n_regions && !r; i++) {
		if (iova >= nic.regions[i].start && iova <= nic.regions[i].last)
			r = &nic.regions[i];
	}
	if (!r)
		r = add_region(iova);
	if (!r || (r->perm & perm) != perm)
		return NULL;
	if (*len > r->last - iova + 1)
		*len = r->last - iova + 1;
	return r->hva + (iova - r->start);
}

static void *whole(uint64_t iova, uint64_t len, uint8_t perm)
{
	uint64_t got = len;
	uint8_t *hva = translate(iova, &got, perm);

	return got == len ? hva : NULL;
}

static bool copy(uint64_t iova, uint8_t *buf, uint64_t len, uint8_t perm)
{
	while (len) {
		uint64_t part = len;
		uint8_t *hva = translate(iova, &part, perm);

		if (!hva || iova + part < iova)
			return false;
		if (perm == VDUSE_ACCESS_WO)
			memcpy(hva, buf, part);
		else
			memcpy(buf, hva, part);
		iova += part;
		buf += part;
		len -= part;
	}
	return true;
}

// Rings

// What a driver does wrong ends the queue, not the program.
static bool broken(struct queue *q, const char *what)
{
	fprintf(stderr, "vdusenic: queue %u stopped: %s\n", q->index, what);
	q->running = false;
	return false;
}

static bool find_ring(struct queue *q)
{
	q->descs = whole(q->desc, sizeof(*q->descs) * q->num, VDUSE_ACCESS_RO);
	q->avail = whole(q->driver, sizeof(*q->avail) + 2 * (q->num + 1), VDUSE_ACCESS_RO);
	q->used = whole(q->device, sizeof(*q->used) + sizeof(*q->used->ring) * q->num + 2, VDUSE_ACCESS_RW);
	return (q->descs && q->avail && q->used) || broken(q, "its ring is not in the device's memory");
}

// Takes the next chain; false if there is none.
static bool take(struct queue *q, uint64_t due)
{
	uint16_t idx = __atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE), head;

	if (idx == q->last_avail || !q->running)
		return false;
	if ((uint16_t)(idx - q->last_avail) > q->num || q->n_taken == q->num)
		return broken(q, "more is available than fits");
	head = __atomic_load_n(&q->avail->ring[q->last_avail % q->num], __ATOMIC_RELAXED);
	if (head >= q->num)
		return broken(q, "a head out of range");
	q->taken[q->n_taken++] = (struct taken){ head, due };
	q->last_avail++;
	return true;
}

// Removes and returns the n-th of the chains that were taken.
static uint16_t give(struct queue *q, unsigned int n)
{
	uint16_t head = q->taken[n].head;

	memmove(&q->taken[n], &q->taken[n + 1], (--q->n_taken - n) * sizeof(*q->taken));
	return head;
}

// The chain's buffers that the device is to read, or to write; their number, or -1.
static int walk(struct queue *q, uint16_t head, bool write, struct seg *segs)
{
	static struct vring_desc table[SIZE];
	const struct vring_desc *descs = q->descs;
	unsigned int num = q->num, i = head;
	int n = 0;

	for (unsigned int steps = 0; steps < num; steps++) {
		struct vring_desc d;

		memcpy(&d, &descs[i], sizeof(d));
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!(nic.features & 1ull << VIRTIO_RING_F_INDIRECT_DESC) || descs == table ||
			    steps || d.flags & VRING_DESC_F_NEXT || d.len == 0 || d.len % sizeof(d) ||
			    d.len > sizeof(table) || !copy(d.addr, (uint8_t *)table, d.len, VDUSE_ACCESS_RO))
				return -1;
			descs = table;
			num = d.len / sizeof(d);
			i = 0;
			steps = -1;
			continue;
		}
		if (!(d.flags & VRING_DESC_F_WRITE) == !write)
			segs[n++] = (struct seg){ d.addr, d.len };
		if (!(d.flags & VRING_DESC_F_NEXT))
			return n;
		if (d.next >= num)
			return -1;
		i = d.next;
	}
	return -1;
}

static void use(struct queue *q, uint16_t head, uint32_t len)
{
	q->used->ring[q->last_used % q->num] = (struct vring_used_elem){ head, len };
	q->last_used++;
}

// Shows the driver what was used since @before, and interrupts it if it wants that.
static void publish(struct queue *q, uint16_t before)
{
	uint16_t event;
	bool wanted;

	__atomic_store_n(&q->used->idx, q->last_used, __ATOMIC_RELEASE);
	// The index before the driver's wish: it writes the wish before it looks at the index.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (nic.features & 1ull << VIRTIO_RING_F_EVENT_IDX) {
		event = __atomic_load_n(&q->avail->ring[q->num], __ATOMIC_RELAXED);
		wanted = vring_need_event(event, q->last_used, before);
	} else {
		wanted = !(__atomic_load_n(&q->avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (wanted && q->last_used != before && ioctl(nic.fd, VDUSE_VQ_INJECT_IRQ, &q->index) < 0)
		perror("vdusenic: cannot interrupt");
}

// Whether more became available after the driver was told from where on to kick.
static bool more(struct queue *q)
{
	uint16_t *event = (uint16_t *)&q->used->ring[q->num];

	if (nic.features & 1ull << VIRTIO_RING_F_EVENT_IDX)
		__atomic_store_n(event, q->last_avail, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&q->avail->idx, __ATOMIC_RELAXED) != q->last_avail;
}

// Frames

static void swap(uint8_t *a, uint8_t *b, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++) {
		uint8_t t = a[i];

		a[i] = b[i];
		b[i] = t;
	}
}

static bool answer_arp(uint8_t *f, size_t len)
{
	static const uint8_t request[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	static const uint8_t everyone[6] = { 0x02, 0x65, 0x63, 0x68, 0x6f, 0x21 };
	uint8_t *sender = f + ETH_LEN + 8, *target = sender + 10;

	// Who asks for its own address announces itself.
	if (len < ARP_LEN || memcmp(f + ETH_LEN, request, sizeof(request)) ||
	    !memcmp(sender + 6, target + 6, 4))
		return false;
	f[ETH_LEN + 7] = 2;
	memcpy(target, sender, 6);
	memcpy(sender, everyone, 6);
	swap(sender + 6, target + 6, 4);
	memcpy(f, target, 6);
	memcpy(f + 6, everyone, 6);
	return true;
}

static void answer_icmp(uint8_t *f, size_t len)
{
	uint8_t *ip = f + ETH_LEN, *icmp;
	size_t header = (ip[0] & 15) * 4;
	unsigned int sum;

	if (len < ETH_LEN + IP_LEN + ICMP_LEN || ip[0] >> 4 != 4 || header < IP_LEN ||
	    len < ETH_LEN + header + ICMP_LEN || ip[9] != 1 || (ip[6] & 0x3f) || ip[7])
		return;
	icmp = ip + header;
	if (icmp[0] != 8 || icmp[1] != 0)
		return;
	swap(ip + 12, ip + 16, 4);
	icmp[0] = 0;
	sum = (icmp[2] << 8 | icmp[3]) + 0x0800;
	sum += sum >> 16;
	icmp[2] = sum >> 8;
	icmp[3] = sum;
}

// Makes the frame that comes back of one that was sent; false if none does.
static bool answer(uint8_t *f, size_t len)
{
	unsigned int type;

	if (len < ETH_LEN)
		return false;
	type = f[12] << 8 | f[13];
	if (type == 0x0806 && answer_arp(f, len))
		return true;
	if (f[0] & 1)
		return false;
	swap(f, f + 6, 6);
	if (type == 0x0800)
		answer_icmp(f, len);
	return true;
}

// Which of the receive buffers that were taken is next: the newest, or every so often the oldest, so that
// none stays for ever.
static unsigned int next(const struct queue *q)
{
	return q->last_used % OLDEST ? q->n_taken - 1 : 0;
}

// Writes header and frame into a receive buffer; false if there is none that fits.
static bool deliver(struct queue *q, uint8_t *packet, uint32_t len)
{
	struct virtio_net_hdr_v1 header = { .num_buffers = 1 };
	static struct seg segs[SIZE];
	uint64_t room = 0;
	uint32_t at = 0;
	int n;

	while (q->n_taken < (nic.shuffle ? AHEAD : 1) && take(q, 0))
		;
	if (!q->running || q->n_taken == 0)
		return false;
	n = walk(q, q->taken[next(q)].head, true, segs);
	if (n < 0)
		return broken(q, "a chain that is wrong");
	for (int i = 0; i < n; i++)
		room += segs[i].len;
	if (room < len)
		return false;
	memcpy(packet, &header, sizeof(header));
	for (int i = 0; at < len; i++) {
		uint32_t part = segs[i].len < len - at ? segs[i].len : len - at;

		if (!copy(segs[i].addr, packet + at, part, VDUSE_ACCESS_WO))
			return broken(q, "a buffer outside the device's memory");
		at += part;
	}
	use(q, give(q, next(q)), len);
	return true;
}

// Reads what a chain sends and delivers what comes back of it.
static void echo(struct queue *tx, struct queue *rx, uint16_t head)
{
	static uint8_t packet[HEADER + FRAME];
	static struct seg segs[SIZE];
	uint32_t len = 0;
	int n = walk(tx, head, false, segs);

	if (n < 0) {
		broken(tx, "a chain that is wrong");
		return;
	}
	for (int i = 0; i < n; i++) {
		if (segs[i].len > sizeof(packet) - len ||
		    !copy(segs[i].addr, packet + len, segs[i].len, VDUSE_ACCESS_RO)) {
			broken(tx, "a buffer outside the device's memory, or too long");
			return;
		}
		len += segs[i].len;
	}
	if (len < HEADER || !answer(packet + HEADER, len - HEADER))
		return;
	if (deliver(rx, packet, len))
		nic.echoed++;
	else
		nic.lost++;
}

// Does what is due; the time at which there is something again, 0 if that is at a kick.
static uint64_t run(void)
{
	struct queue *rx = &nic.queues[RX], *tx = &nic.queues[TX];
	uint64_t delay = nic.shuffle ? SHUFFLE_MS * 1000000ull : nic.late_ns;
	uint16_t rx_before, tx_before;

	if (!rx->running || !tx->running || !find_ring(rx) || !find_ring(tx))
		return 0;
	rx_before = rx->last_used;
	tx_before = tx->last_used;
	do {
		uint64_t now = now_ns();
		unsigned int due = 0;

		while (tx->n_taken < tx->num && take(tx, now + delay))
			;
		while (due < tx->n_taken && tx->taken[due].due <= now)
			due++;
		for (unsigned int i = 0; i < due && tx->running; i++)
			echo(tx, rx, tx->taken[i].head);
		for (; due > 0 && tx->running; due--)
			use(tx, give(tx, nic.shuffle ? due - 1 : 0), 0);
	} while (tx->running && tx->n_taken < tx->num && more(tx));
	// Who stops in between shall lose a frame rather than send it once more.
	publish(tx, tx_before);
	publish(rx, rx_before);
	return tx->running && tx->n_taken ? tx->taken[0].due : 0;
}

// Control

static void start(void)
{
	if (ioctl(nic.fd, VDUSE_DEV_GET_FEATURES, &nic.features) < 0)
		die("cannot read the features");
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct queue *q = &nic.queues[i];
		struct vduse_vq_eventfd kick = { .index = i, .fd = q->kick };
		struct vduse_vq_info info = { .index = i };

		if (ioctl(nic.fd, VDUSE_VQ_GET_INFO, &info) < 0)
			die("cannot read what a queue is");
		q->num = info.num;
		q->desc = info.desc_addr;
		q->driver = info.driver_addr;
		q->device = info.device_addr;
		q->last_avail = q->last_used = info.split.avail_index;
		q->n_taken = 0;
		q->running = info.ready && info.num >= 1 && info.num <= SIZE && !(info.num & (info.num - 1));
		if (ioctl(nic.fd, VDUSE_VQ_SETUP_KICKFD, &kick) < 0)
			die("cannot set a kick eventfd");
	}
}

static void halt(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct vduse_vq_eventfd kick = { .index = i, .fd = VDUSE_EVENTFD_DEASSIGN };

		nic.queues[i].running = false;
		if (ioctl(nic.fd, VDUSE_VQ_SETUP_KICKFD, &kick) < 0)
			die("cannot take back a kick eventfd");
	}
	forget_regions();
}

// Where a queue is: of one that does not run, what the driver has set.
static uint16_t queue_state(unsigned int index)
{
	struct vduse_vq_info info = { .index = index };

	if (nic.queues[index].running)
		return nic.queues[index].last_avail;
	if (ioctl(nic.fd, VDUSE_VQ_GET_INFO, &info) < 0)
		die("cannot read what a queue is");
	return info.split.avail_index;
}

static void control(void)
{
	struct vduse_dev_request req;
	struct vduse_dev_response resp;
	bool running = nic.queues[RX].running || nic.queues[TX].running;
	ssize_t n = read(nic.fd, &req, sizeof(req));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(req))
		die("cannot read a request");
	memset(&resp, 0, sizeof(resp));
	resp.request_id = req.request_id;
	switch (req.type) {
	case VDUSE_GET_VQ_STATE:
		if (req.vq_state.index >= QUEUES) {
			resp.result = VDUSE_REQ_RESULT_FAILED;
			break;
		}
		resp.vq_state.index = req.vq_state.index;
		resp.vq_state.split.avail_index = queue_state(req.vq_state.index);
		break;
	case VDUSE_SET_STATUS:
		if (req.s.status & VIRTIO_CONFIG_S_DRIVER_OK && !running)
			start();
		else if (!(req.s.status & VIRTIO_CONFIG_S_DRIVER_OK))
			halt();
		break;
	case VDUSE_UPDATE_IOTLB:
		forget_regions();
		break;
	default:
		resp.result = VDUSE_REQ_RESULT_FAILED;
	}
	if (write(nic.fd, &resp, sizeof(resp)) != sizeof(resp))
		die("cannot answer a request");
}

static void create(const char *name, const uint8_t mac[6], uint64_t offered)
{
	static union {
		struct vduse_dev_config head;
		uint8_t bytes[sizeof(struct vduse_dev_config) + sizeof(struct virtio_net_config)];
	} dev;
	struct virtio_net_config config = { .status = VIRTIO_NET_S_LINK_UP,
					    .max_virtqueue_pairs = 1,
					    .mtu = MTU };
	uint64_t version = VDUSE_API_VERSION;
	char path[sizeof("/dev/vduse/") + VDUSE_NAME_MAX];
	int control_fd = open("/dev/vduse/control", O_RDWR | O_CLOEXEC);

	if (control_fd < 0 || ioctl(control_fd, VDUSE_SET_API_VERSION, &version) < 0)
		die("/dev/vduse/control");
	snprintf(dev.head.name, sizeof(dev.head.name), "%s", name);
	// One whose program was killed is still there.
	if (ioctl(control_fd, VDUSE_DESTROY_DEV, dev.head.name) < 0 && errno != EINVAL)
		die("cannot remove an earlier device of this name");
	memcpy(config.mac, mac, sizeof(config.mac));
	dev.head.device_id = VIRTIO_ID_NET;
	dev.head.features = offered;
	dev.head.vq_num = QUEUES;
	dev.head.vq_align = 4096;
	dev.head.config_size = sizeof(config);
	memcpy(dev.head.config, &config, sizeof(config));
	if (ioctl(control_fd, VDUSE_CREATE_DEV, &dev.head) < 0)
		die("cannot make the device");
	snprintf(path, sizeof(path), "/dev/vduse/%s", name);
	nic.fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (nic.fd < 0)
		die(path);
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct vduse_vq_config vq = { .index = i, .max_size = SIZE };

		nic.queues[i].index = i;
		nic.queues[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (nic.queues[i].kick < 0 || ioctl(nic.fd, VDUSE_VQ_SETUP, &vq) < 0)
			die("cannot set a queue up");
	}
	close(control_fd);
}

static void destroy(const char *name)
{
	int control_fd = open("/dev/vduse/control", O_RDWR | O_CLOEXEC);
	char device[VDUSE_NAME_MAX] = { 0 };

	snprintf(device, sizeof(device), "%s", name);
	close(nic.fd);
	if (control_fd < 0 || ioctl(control_fd, VDUSE_DESTROY_DEV, device) < 0)
		die("cannot remove the device");
}

static void serve(void)
{
	uint64_t due = 0, count;
	sigset_t none;

	sigemptyset(&none);
	while (!stopped) {
		struct pollfd fds[1 + QUEUES] = { { nic.fd, POLLIN, 0 } };
		uint64_t now = now_ns();
		struct timespec left = { 0 };

		for (unsigned int i = 0; i < QUEUES; i++)
			fds[1 + i] = (struct pollfd){ nic.queues[i].kick, POLLIN, 0 };
		if (due > now)
			left = (struct timespec){ (due - now) / 1000000000, (due - now) % 1000000000 };
		if (ppoll(fds, 1 + QUEUES, due ? &left : NULL, &none) < 0 && errno != EINTR)
			die("cannot wait");
		for (unsigned int i = 0; i < QUEUES; i++)
			(void)!read(nic.queues[i].kick, &count, sizeof(count));
		control();
		due = run();
	}
}

static bool option(const char *word, uint64_t *offered)
{
	char *end;

	if (strcmp(word, "event_idx") == 0) {
		*offered |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	} else if (strcmp(word, "indirect") == 0) {
		*offered |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	} else if (strcmp(word, "shuffle") == 0) {
		nic.shuffle = true;
	} else if (strncmp(word, "late=", 5) == 0) {
		nic.late_ns = strtoul(word + 5, &end, 10) * 1000000ull;
		return *end == 0 && nic.late_ns > 0 && nic.late_ns <= 10000000000ull;
	} else {
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t offered = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
			   1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS | 1ull << VIRTIO_NET_F_MTU;
	struct sigaction action = { .sa_handler = stop };
	sigset_t blocked;
	bool good = argc >= 3 && strlen(argv[1]) > 0 && strlen(argv[1]) < VDUSE_NAME_MAX;
	uint8_t mac[6];

	good = good && sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
			      &mac[4], &mac[5]) == 6;
	for (int i = 3; i < argc && good; i++)
		good = option(argv[i], &offered);
	if (!good || (nic.shuffle && nic.late_ns)) {
		fprintf(stderr, "usage: vdusenic NAME MAC [event_idx] [indirect] [shuffle | late=MS]\n");
		return 2;
	}
	// It comes while serve() waits, at no other time.
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGTERM, &action, NULL);
	create(argv[1], mac, offered);
	printf("ready\n");
	fflush(stdout);
	serve();
	printf("echoed %llu, lost %llu\n", (unsigned long long)nic.echoed, (unsigned long long)nic.lost);
	destroy(argv[1]);
	return 0;
}
