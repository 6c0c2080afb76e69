// SPDX-License-Identifier: GPL-2.0-or-later
// Runs in the guest: a virtio-net driver in user space, for what Linux's own never sends or does.
//
// "ctrlnic start SLOT" takes a PCI function that has no driver and stays in the background; "ctrlnic SLOT
// REQUEST..." has it carry out requests and prints a line for each:
//
//   init MASK            reset and start anew with the features in MASK: "features F queues N"
//   status               "status S"
//   chain QUEUE PART...  makes one chain available and waits: "used LEN BYTES" with the bytes that the device
//                        has written, "needs reset", or "silent" after 20 s
//   frames TAIL          receives until a frame ends with these bytes: "rx PAIR HEADER FRAME" for each,
//   "late"
//                        after 20 s
//   send SECONDS MAC     keeps the first transmit ring full of frames of 64 bytes, with their checksum, and
//                        receives what comes: "sent N received N"
//
// A chain's parts are buffers, r=HEX or r=HEX*COUNT for the device to read, w=LEN for it to write, R=ADDR,LEN
// and W=ADDR,LEN at any address; "indirect" puts them into a table; "loop" links the last to the first;
// "head=N" and "ahead=N" make another head available, or claim so many more. Rings are split and polled, and
// have 64 entries; the control queue and transmit queues have one chain at a time.

#define _GNU_SOURCE
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "virtio_cap.h"

#define PAGE       4096u
#define RING_SIZE  64u
#define MAX_QUEUES 33u
#define N_BUFFERS  32u // in each receive ring; the descriptors behind them are for chains
#define BUFFER     2048u
#define WAIT_MS    1000000 /* Longer than a test waits: what does not come is a lab that stands still. */
#define FRAME      60u
#define PROTOCOL   0x88b5u
#define BIT(n)     (1ull << (n))
#define MQ_OR_RSS  (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS))

// A page each for every ring, for every buffer of a chain and for a table; then what is received into.
enum {
	PAGE_DATA = MAX_QUEUES,
	PAGE_TABLE = PAGE_DATA + RING_SIZE,
	PAGE_RX,
	N_RX = N_BUFFERS * BUFFER / PAGE
};
#define N_PAGES (PAGE_RX + N_RX * (MAX_QUEUES / 2))

// In a ring's page.
struct ring {
	struct vring_desc desc[RING_SIZE];
	_Atomic uint16_t avail_flags, avail_idx;
	uint16_t avail[RING_SIZE], used_event;
	_Alignas(4) _Atomic uint16_t used_flags;
	_Atomic uint16_t used_idx;
	struct vring_used_elem used[RING_SIZE];
	uint16_t avail_event;
};
_Static_assert(sizeof(struct ring) <= PAGE, "a ring is in one page");

static struct queue {
	struct ring *ring;
	volatile uint16_t *notify;
	uint16_t last_used;
} queues[MAX_QUEUES];

static uint8_t *memory;
static uint64_t address[N_PAGES]; // of each page, for the device
static volatile struct virtio_pci_common_cfg *common;
static volatile uint8_t *config, *notify;
static uint32_t notify_multiplier;
static unsigned int n_queues, n_pairs, header_len;

static char answer[1 << 20];
static size_t answer_len;

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	answer_len += vsnprintf(answer + answer_len, sizeof(answer) - answer_len, fmt, ap);
	va_end(ap);
	if (answer_len >= sizeof(answer))
		answer_len = sizeof(answer) - 1;
}

static void say_bytes(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		say("%02x", p[i]);
}

static uint8_t *page(unsigned int n)
{
	return memory + n * PAGE;
}

// Memory that stays where it is: locked, and out of the way of compaction, which moves locked pages too.
static void find_memory(void)
{
	int fd = open("/proc/sys/vm/compact_unevictable_allowed", O_WRONLY);

	if (fd < 0 || write(fd, "0", 1) != 1)
		die("compact_unevictable_allowed");
	close(fd);
	memory = mmap(NULL, N_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("memory");
	fd = open("/proc/self/pagemap", O_RDONLY);
	for (unsigned int i = 0; i < N_PAGES; i++) {
		uint64_t entry, at = (uintptr_t)page(i) / PAGE * sizeof(entry);

		if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry) || !(entry & BIT(63)) ||
		    !(entry & (BIT(55) - 1)))
			die("/proc/self/pagemap");
		address[i] = (entry & (BIT(55) - 1)) * PAGE;
	}
	close(fd);
}

// Enables the function, with bus mastering, and finds its structures.
static void find_device(const char *slot)
{
	char directory[64], path[128];
	struct virtio_pci_notify_cap cap = { 0 };
	uint8_t command[2];
	int fd;

	snprintf(directory, sizeof(directory), "/sys/bus/pci/devices/%s", slot);
	snprintf(path, sizeof(path), "%s/enable", directory);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		die(path);
	close(fd);
	snprintf(path, sizeof(path), "%s/config", directory);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, command, sizeof(command), PCI_COMMAND) != sizeof(command))
		die(path);
	command[0] |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(fd, command, sizeof(command), PCI_COMMAND) != sizeof(command))
		die(path);
	close(fd);
	common = virtio_cap_map(directory, VIRTIO_PCI_CAP_COMMON_CFG, &cap);
	config = virtio_cap_map(directory, VIRTIO_PCI_CAP_DEVICE_CFG, &cap);
	notify = virtio_cap_map(directory, VIRTIO_PCI_CAP_NOTIFY_CFG, &cap);
	notify_multiplier = cap.notify_off_multiplier;
	if (!common || !notify || !config) {
		fprintf(stderr, "ctrlnic: %s is no modern virtio function\n", slot);
		exit(1);
	}
}

static void make_available(struct queue *q, uint16_t head)
{
	struct ring *r = q->ring;

	r->avail[r->avail_idx % RING_SIZE] = head;
	r->avail_idx++;
}

static void kick(unsigned int n)
{
	*queues[n].notify = n;
}

static void set_up_queue(unsigned int n)
{
	struct queue *q = &queues[n];

	common->queue_select = n;
	common->queue_size = RING_SIZE;
	q->ring = (void *)page(n);
	q->last_used = 0;
	memset(q->ring, 0, PAGE);
	q->ring->avail_flags = VRING_AVAIL_F_NO_INTERRUPT;
	common->queue_desc_lo = address[n];
	common->queue_desc_hi = address[n] >> 32;
	common->queue_avail_lo = address[n] + offsetof(struct ring, avail_flags);
	common->queue_avail_hi = address[n] >> 32;
	common->queue_used_lo = address[n] + offsetof(struct ring, used_flags);
	common->queue_used_hi = address[n] >> 32;
	q->notify = (void *)(notify + common->queue_notify_off * notify_multiplier);
	common->queue_enable = 1;
}

static uint8_t *rx_buffer(unsigned int pair, unsigned int i)
{
	return page(PAGE_RX + pair * N_RX) + i * BUFFER;
}

static void fill_rx(unsigned int pair)
{
	struct queue *q = &queues[2 * pair];

	for (unsigned int i = 0; i < N_BUFFERS; i++) {
		q->ring->desc[i] = (struct vring_desc){
			.addr = address[PAGE_RX + pair * N_RX + i * BUFFER / PAGE] + i * BUFFER % PAGE,
			.len = BUFFER,
			.flags = VRING_DESC_F_WRITE,
		};
		make_available(q, i);
	}
	kick(2 * pair);
}

// No packed rings, and no segments, which would not fit into a buffer.
#define NOT_TAKEN                                                                                            \
	(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |           \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(54) | BIT(55))

static uint64_t negotiate(uint64_t mask)
{
	uint64_t features = 0;

	common->device_status = 0;
	while (common->device_status != 0)
		usleep(100);
	common->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	common->device_status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	for (unsigned int i = 0; i < 2; i++) {
		common->device_feature_select = i;
		features |= (uint64_t)common->device_feature << 32 * i;
	}
	features &= mask & ~NOT_TAKEN;
	for (unsigned int i = 0; i < 2; i++) {
		common->guest_feature_select = i;
		common->guest_feature = features >> 32 * i;
	}
	common->device_status |= VIRTIO_CONFIG_S_FEATURES_OK;
	return common->device_status & VIRTIO_CONFIG_S_FEATURES_OK ? features : 0;
}

static void init(uint64_t mask)
{
	uint64_t features = negotiate(mask);

	if (!features) {
		say("features refused\n");
		return;
	}
	n_pairs = 1;
	if (features & MQ_OR_RSS)
		n_pairs = *(volatile uint16_t *)(config +
						 offsetof(struct virtio_net_config, max_virtqueue_pairs));
	n_queues = 2 * n_pairs + !!(features & BIT(VIRTIO_NET_F_CTRL_VQ));
	if (n_queues > MAX_QUEUES || n_queues > common->num_queues) {
		say("%u queues of %u\n", n_queues, common->num_queues);
		return;
	}
	header_len = features & BIT(VIRTIO_NET_F_HASH_REPORT) ? sizeof(struct virtio_net_hdr_v1_hash)
							      : sizeof(struct virtio_net_hdr_v1);
	for (unsigned int i = 0; i < n_queues; i++)
		set_up_queue(i);
	common->device_status |= VIRTIO_CONFIG_S_DRIVER_OK;
	for (unsigned int i = 0; i < n_pairs; i++)
		fill_rx(i);
	say("features 0x%llx queues %u\n", (unsigned long long)features, n_queues);
}

// Chains

static size_t from_hex(const char *text, uint8_t *bytes, size_t max)
{
	unsigned int byte;
	size_t n = 0;

	while (n < max && sscanf(text + 2 * n, "%2x", &byte) == 1)
		bytes[n++] = byte;
	return n;
}

// Fills in a buffer's descriptor; its bytes, if any, go to the n-th page of data. False: that is none.
static int parse_buffer(char *part, unsigned int n, struct vring_desc *d)
{
	uint8_t *data = page(PAGE_DATA + n);
	unsigned long long addr;
	char *count;
	size_t len;

	if (strlen(part) < 2 || part[1] != '=' || !strchr("rwRW", part[0]))
		return 0;
	*d = (struct vring_desc){ .addr = address[PAGE_DATA + n] };
	if (strchr("wW", part[0]))
		d->flags = VRING_DESC_F_WRITE;
	if (strchr("RW", part[0])) {
		if (sscanf(part + 2, "%llx,%x", &addr, &d->len) != 2)
			return 0;
		d->addr = addr;
		return 1;
	}
	if (part[0] == 'w') {
		d->len = strtoul(part + 2, NULL, 10);
		memset(data, 0xee, PAGE);
	} else {
		count = strchr(part, '*');
		len = from_hex(part + 2, data, PAGE);
		d->len = len * (count ? strtoul(count + 1, NULL, 10) : 1);
		for (size_t i = len; i < d->len && i < PAGE; i++)
			data[i] = data[i - len];
	}
	return d->len <= PAGE;
}

struct chain {
	struct vring_desc descs[RING_SIZE];
	unsigned int n, ahead;
	int head, indirect, loop;
};

static int parse_chain(struct chain *c)
{
	char *part;

	*c = (struct chain){ .head = -1 };
	while ((part = strtok(NULL, " "))) {
		if (strcmp(part, "indirect") == 0)
			c->indirect = 1;
		else if (strcmp(part, "loop") == 0)
			c->loop = 1;
		else if (strncmp(part, "head=", 5) == 0)
			c->head = atoi(part + 5);
		else if (strncmp(part, "ahead=", 6) == 0)
			c->ahead = atoi(part + 6);
		else if (c->n == RING_SIZE || !parse_buffer(part, c->n, &c->descs[c->n]))
			return 0;
		else
			c->n++;
	}
	return 1;
}

// Links the descriptors from the ring's descriptor @first on, or in a table.
static void place_chain(const struct chain *c, struct ring *r, unsigned int first)
{
	struct vring_desc *table = c->indirect ? (void *)page(PAGE_TABLE) : r->desc;
	unsigned int base = c->indirect ? 0 : first;

	for (unsigned int i = 0; i < c->n; i++) {
		table[base + i] = c->descs[i];
		if (i + 1 < c->n || c->loop) {
			table[base + i].flags |= VRING_DESC_F_NEXT;
			table[base + i].next = i + 1 < c->n ? base + i + 1 : base;
		}
	}
	if (c->indirect)
		r->desc[first] = (struct vring_desc){ .addr = address[PAGE_TABLE],
						      .len = c->n * sizeof(*table),
						      .flags = VRING_DESC_F_INDIRECT };
}

static int needs_reset(void)
{
	return common->device_status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static void run_chain(void)
{
	unsigned int n = strtoul(strtok(NULL, " "), NULL, 10),
		     first = n % 2 == 0 && n < 2 * n_pairs ? N_BUFFERS : 0;
	uint64_t end = now_ms() + WAIT_MS;
	struct queue *q = &queues[n];
	struct chain c;
	uint32_t left;

	if (n >= n_queues || !parse_chain(&c) || c.n > RING_SIZE - first) {
		say("not understood\n");
		return;
	}
	place_chain(&c, q->ring, first);
	make_available(q, c.head >= 0 ? c.head : (int)first);
	q->ring->avail_idx += c.ahead;
	kick(n);
	while (q->ring->used_idx == q->last_used) {
		if (needs_reset() || now_ms() > end) {
			say(needs_reset() ? "needs reset\n" : "silent\n");
			return;
		}
		usleep(200);
	}
	left = q->ring->used[q->last_used++ % RING_SIZE].len;
	say("used %u ", left);
	for (unsigned int i = 0; i < c.n; i++) {
		if ((c.descs[i].flags & VRING_DESC_F_WRITE) && c.descs[i].len <= PAGE) {
			uint32_t len = left < c.descs[i].len ? left : c.descs[i].len;

			say_bytes(page(PAGE_DATA + i), len);
			left -= len;
		}
	}
	say("\n");
}

// Reception

// The frames in one receive ring; whether one ended with @tail.
static int receive(unsigned int pair, const uint8_t *tail, size_t tail_len)
{
	struct queue *q = &queues[2 * pair];
	int found = 0;

	while (q->ring->used_idx != q->last_used) {
		struct vring_used_elem *e = &q->ring->used[q->last_used++ % RING_SIZE];
		uint8_t *buffer = rx_buffer(pair, e->id);

		say("rx %u ", pair);
		say_bytes(buffer, header_len);
		say(" ");
		say_bytes(buffer + header_len, e->len - header_len);
		say("\n");
		found |= e->len >= header_len + tail_len &&
			 memcmp(buffer + e->len - tail_len, tail, tail_len) == 0;
		make_available(q, e->id);
		kick(2 * pair);
	}
	return found;
}

static void frames(void)
{
	uint64_t end = now_ms() + WAIT_MS;
	char *text = strtok(NULL, " ");
	uint8_t tail[64];
	size_t len = text ? from_hex(text, tail, sizeof(tail)) : 0;
	int found = 0;

	while (!found && now_ms() < end) {
		for (unsigned int i = 0; i < n_pairs; i++)
			found |= receive(i, tail, len);
		if (!found)
			usleep(200);
	}
	if (!found)
		say("late\n");
}

// Sending

static void kick_if_asked(unsigned int n)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!(queues[n].ring->used_flags & VRING_USED_F_NO_NOTIFY))
		kick(n);
}

// Gives every used buffer of a ring to the device once more; how many those were.
static unsigned int give_again(unsigned int n)
{
	struct queue *q = &queues[n];
	unsigned int count = 0;

	for (; q->last_used != q->ring->used_idx; count++)
		make_available(q, q->ring->used[q->last_used++ % RING_SIZE].id);
	if (count > 0)
		kick_if_asked(n);
	return count;
}

static void send_frames(void)
{
	const uint8_t from[6] = { 2, 0, 0, 0, 0, 1 };
	char *seconds = strtok(NULL, " "), *to = strtok(NULL, " ");
	uint8_t *frame = page(PAGE_DATA) + header_len;
	unsigned long long sent = 0, received = 0;
	uint64_t end;

	memset(page(PAGE_DATA), 0, header_len + FRAME);
	if (!to || from_hex(to, frame, 6) != 6) {
		say("not understood\n");
		return;
	}
	memcpy(frame + 6, from, 6);
	frame[12] = PROTOCOL >> 8;
	frame[13] = PROTOCOL & 0xff;
	for (unsigned int i = 0; i < RING_SIZE; i++) {
		queues[1].ring->desc[i] =
			(struct vring_desc){ .addr = address[PAGE_DATA], .len = header_len + FRAME };
		make_available(&queues[1], i);
	}
	kick(1);
	end = now_ms() + 1000 * strtoul(seconds, NULL, 10);
	while (now_ms() < end) {
		sent += give_again(1);
		received += give_again(0);
	}
	say("sent %llu received %llu\n", sent, received);
}

static void carry_out(char *request)
{
	char *word = strtok(request, " ");

	answer_len = 0;
	if (!word) {
		say("nothing\n");
	} else if (strcmp(word, "init") == 0) {
		word = strtok(NULL, " ");
		init(word ? strtoull(word, NULL, 16) : ~0ull);
	} else if (strcmp(word, "status") == 0) {
		say("status 0x%x\n", common->device_status);
	} else if (strcmp(word, "chain") == 0) {
		run_chain();
	} else if (strcmp(word, "frames") == 0) {
		frames();
	} else if (strcmp(word, "send") == 0) {
		send_frames();
	} else {
		say("not understood\n");
	}
}

// Requests come and answers go through a socket; one connection for each.

static char request[1 << 16];

static int open_socket(const char *slot, int (*what)(int, const struct sockaddr *, socklen_t))
{
	// In the abstract name space: the name goes with the process.
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "ctrlnic %s", slot);
	if (fd < 0 || what(fd, (struct sockaddr *)&name, sizeof(name)))
		die(slot);
	return fd;
}

static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += n;
	text[len] = 0;
}

static void write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	for (; len > 0 && (n = write(fd, text, len)) > 0; len -= n)
		text += n;
}

static void serve(const char *slot)
{
	int listener = open_socket(slot, bind), fd;

	find_memory();
	// A fork shares the pages, but not their lock.
	if (listen(listener, 8) || daemon(0, 0) || mlock(memory, N_PAGES * PAGE))
		die("ctrlnic");
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		read_all(fd, request, sizeof(request));
		carry_out(request);
		write_all(fd, answer, answer_len);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "start") == 0) {
		find_device(argv[2]);
		serve(argv[2]);
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		int fd = open_socket(argv[1], connect);

		write_all(fd, argv[i], strlen(argv[i]));
		shutdown(fd, SHUT_WR);
		read_all(fd, answer, sizeof(answer));
		write_all(1, answer, strlen(answer));
		close(fd);
	}
	return argc < 3;
}
