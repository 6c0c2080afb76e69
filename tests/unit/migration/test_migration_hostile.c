/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source_migrate() and incoming_run(), each against an end that does not keep to the protocol: one that
 * says nothing, or no sense, or what a good one has said, cut short, damaged or in another order. */
#define _GNU_SOURCE
#include "migration/clock.h"
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A destination that speaks, but not sense. */
struct script {
	uint8_t bytes[4096]; /* said as soon as the connection is there */
	size_t len;
	pthread_t thread;
	int listen_fd;
};

static void *script_run(void *arg)
{
	static const struct timeval patience = { .tv_sec = 20 };
	struct script *script = arg;
	int fd = accept(script->listen_fd, NULL, NULL);
	uint8_t dropped[65536];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* The other end of one that says nothing may have gone. */
	if (script->len > 0)
		assert_int_equal(write(fd, script->bytes, script->len), script->len);
	while (read(fd, dropped, sizeof(dropped)) > 0)
		;
	close(fd);
	return NULL;
}

static void script_frame(struct script *script, uint32_t type, uint32_t len, const char *payload)
{
	uint8_t *at = script->bytes + script->len;

	put_le32(at, type);
	put_le32(at + 4, len);
	put_le64(at + 8, 0);
	memcpy(at + 16, payload, strlen(payload));
	script->len += 16 + strlen(payload);
}

static const char *script_against_source(struct script *script, struct departure *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	script->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(script->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(script->listen_fd, 1), 0);
	pthread_create(&script->thread, NULL, script_run, script);
	assert_int_equal(departure_go(s), SOURCE_FAILED);
	pthread_join(script->thread, NULL);
	close(script->listen_fd);
	unlink(path);
	assert_goes_on(s);
	return s->err.text;
}

static void test_hostile_destination(void **state)
{
	static const struct {
		struct {
			uint32_t type, len;
			const char *payload;
		} frames[2];
		const char *why;
	} cases[] = {
		{ { { 0, 0, "" } }, "hello: the peer does not speak Ferry's protocol" },
		{ { { 0x54544820, 0, "garbage garbage" } }, "hello: the peer does not speak" },
		{ { { STREAM_READY, 1, "x" } }, "hello: READY frame of 1 bytes" },
		{ { { STREAM_REFUSED, UINT32_MAX, "" } }, "hello: REFUSED frame of 4294967295 bytes" },
		{ { { STREAM_RUNNING, 24, "" } }, "hello: RUNNING frame of 24 bytes instead of READY" },
		{ { { STREAM_HELLO, 3, "abc" } }, "hello: HELLO frame" },
		{ { { STREAM_REFUSED, 4, "busy" } }, "hello: destination refused: busy" },
		/* While memory comes, without waiting for its end. */
		{ { { STREAM_READY, 0, "" }, { STREAM_REFUSED, 7, "no room" } },
		  "memory: destination refused: no room" },
		{ { { STREAM_READY, 0, "" }, { STREAM_PREPARED, 24, "" } }, "memory: the peer has closed" },
		{ { { STREAM_READY, 0, "" }, { STREAM_WARM_OK, 0, "" } }, "memory: the peer has closed" },
	};
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script script = { 0 };

		for (unsigned int j = 0; j < 2 && (j == 0 || cases[i].frames[j].type); j++)
			script_frame(&script, cases[i].frames[j].type, cases[i].frames[j].len,
				     cases[i].frames[j].payload);
		if (strncmp(script_against_source(&script, &s), cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%u: %s", i, s.err.text);
	}
	assert_int_equal(s.guest.n_pauses, 0);
	assert_retry_works(&s);
	departure_exit(&s);
}

static void then_end_and_cancel(struct departure *s)
{
	then_end(s);
	then_cancel(s);
}

/* With the guest its Ferry ends, and calls the migration off wherever it waits: here for an answer that never
 * comes. */
static void test_guest_ends_in_a_wait(void **state)
{
	struct script silent = { 0 };
	struct departure s;

	departure_init(&s);
	s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
	s.at = "hello";
	s.then = then_end_and_cancel;
	assert_string_equal(script_against_source(&silent, &s), "hello: the guest has ended");
	close(s.cancel_fd);
	departure_exit(&s);
}

/* What a source said in a migration that worked. */
static void record(struct proxy *p, struct departure *s)
{
	struct arrival a;
	enum source_result result;

	*p = (struct proxy){ .listen = proxy_path, .to = path };
	departure_init(s);
	s->config.to = proxy_address;
	proxy_start(p);
	arrival_start(&a, NULL);
	result = departure_go(s);
	arrival_join(&a);
	proxy_join(p);
	assert_moved(&a, s, result);
	arrival_exit(&a);
}

struct feeder {
	pthread_t thread;
	const uint8_t *bytes;
	uint64_t len;
	struct channel channel;
	char answers[1 << 17]; /* of the destination, as text as far as it is */
	size_t n_answers;
	struct arrival *to; /* called off when all has been said: it waits for a better source */
};

/* Beside what is said: a destination that has to wait with its answers takes in nothing more. */
static void *feeder_listen(void *arg)
{
	struct feeder *f = arg;
	struct iovec iov;
	ssize_t got;

	do {
		iov = (struct iovec){ f->answers + f->n_answers, sizeof(f->answers) - 1 - f->n_answers };
		got = channel_readv(&f->channel, &iov, 1, 20000);
		f->n_answers += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	return NULL;
}

/*
 * Says it all, whatever the destination says meanwhile: channel_writev() would take an answer that the
 * listener has not read yet for a refusal.
 */
static void feeder_say(struct feeder *f)
{
	struct pollfd writable = { .fd = f->channel.fd, .events = POLLOUT };
	uint64_t done = 0;

	while (done < f->len) {
		ssize_t n = send(f->channel.fd, f->bytes + done, f->len - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n < 0)
			poll(&writable, 1, -1);
		else
			done += (uint64_t)n;
	}
}

/* A source that says @bytes and then nothing more. */
static void *feeder_run(void *arg)
{
	struct feeder *f = arg;
	struct error err;
	pthread_t listener;

	do {
		err = (struct error){ 0 };
		sched_yield();
	} while (channel_connect(&f->channel, address, -1, &err) < 0);
	pthread_create(&listener, NULL, feeder_listen, f);
	/* The destination may hang up in the middle: its answer says whether that was right. */
	feeder_say(f);
	shutdown(f->channel.fd, SHUT_WR);
	pthread_join(listener, NULL);
	channel_close(&f->channel);
	arrival_call_off(f->to);
	return NULL;
}

/* The destination @a against @len bytes of a source: whether the guest came to run. */
static bool feed_to(struct arrival *a, const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	bool runs;

	a->cancel_fd = eventfd(0, EFD_CLOEXEC);
	*f = (struct feeder){ .bytes = bytes, .len = len, .to = a };
	/* Let go of by the source that was recorded. */
	holder = NULL;
	pthread_create(&f->thread, NULL, feeder_run, f);
	arrival_run(a);
	pthread_join(f->thread, NULL);
	runs = a->ret == 0;
	if (!runs)
		assert_not_here(a);
	arrival_exit(a);
	return runs;
}

static bool feed(const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX };

	return feed_to(&a, bytes, len, f);
}

/* Cut short anywhere: no guest. At each byte of headers and trees, now and then within memory. */
static void test_truncated(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;

	record(&p, &s);
	assert_true(feed(p.recorded, p.n_recorded, &f));
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;
		uint64_t at = p.frames[i];

		while (at < end) {
			uint64_t step = get_le32(p.recorded + p.frames[i]) == STREAM_RAM ? 9973 : 11;

			assert_false(feed(p.recorded, at, &f));
			at += at - p.frames[i] < 20 || end - at < 3 ? 1 : step;
		}
	}
	departure_exit(&s);
	proxy_free(&p);
}

/* Each byte that is not memory's, changed: the destination says no, or runs a guest that is whole. Never
 * anything else. */
static void test_corrupted(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;
	unsigned int n_refused = 0, n_taken = 0;

	record(&p, &s);
	copy = malloc(p.n_recorded);
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;

		for (uint64_t at = p.frames[i]; at < end; at += at - p.frames[i] < 16 ? 1 : 9) {
			if (get_le32(p.recorded + p.frames[i]) == STREAM_RAM && at - p.frames[i] >= 16)
				break;
			memcpy(copy, p.recorded, p.n_recorded);
			copy[at] ^= (uint8_t)(1u << (at % 8));
			if (feed(copy, p.n_recorded, &f))
				n_taken++;
			else
				n_refused++;
		}
	}
	assert_in_range(n_refused, 100, 100000);
	/* Another page for the same bytes, another value of a register: nobody can tell. */
	assert_in_range(n_taken, 1, n_refused);
	free(copy);
	departure_exit(&s);
	proxy_free(&p);
}

/* Frames of a good stream, left out, doubled or exchanged. */
static void test_order(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;

	record(&p, &s);
	copy = malloc(2 * p.n_recorded);
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t start = p.frames[i], end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;
		uint32_t type = get_le32(p.recorded + start);
		bool memory = type == STREAM_RAM || type == STREAM_ZERO;
		/* The last round was empty: without it nothing is missing. */
		bool missed = !memory && type != STREAM_SYNC &&
			      !(type == STREAM_ROUND && get_le64(p.recorded + start + 8) > 0);

		memcpy(copy, p.recorded, start);
		memcpy(copy + start, p.recorded + end, p.n_recorded - end);
		if (missed)
			assert_false(feed(copy, p.n_recorded - (end - start), &f));
		memcpy(copy, p.recorded, end);
		memcpy(copy + end, p.recorded + start, p.n_recorded - start);
		/* What comes after COMMIT is nobody's business any more; warm state, and the question for
		 * what has come, may come any number of times. */
		assert_int_equal(feed(copy, p.n_recorded + (end - start), &f),
				 memory || type == STREAM_SYNC || type == STREAM_WARM ||
					 type == STREAM_COMMIT);
		if (type == STREAM_STATE)
			assert_non_null(memmem(f.answers, f.n_answers, "STATE frame out of order", 24));
	}
	free(copy);
	departure_exit(&s);
	proxy_free(&p);
}

/* A failure unless the destination has said it. */
static void assert_answer(const struct feeder *f, const char *why, unsigned int i)
{
	if (!memmem(f->answers, f->n_answers, why, strlen(why)))
		fail_msg("%u: %s", i, f->answers + 16);
}

/* The first frame of a kind that is said again and again. */
struct again {
	enum stream_type type;
	unsigned int n;
	const char *why;
};

/* Rounds have numbers: @n more of them come behind the frame at @start, and those that follow go on. */
static void renumber_rounds(uint8_t *copy, const struct proxy *p, uint64_t start, uint64_t end,
			    unsigned int n)
{
	uint64_t len = end - start;

	for (unsigned int i = 1; i <= n; i++)
		put_le64(copy + start + i * len + 8, get_le64(copy + start + 8) + i);
	for (unsigned int i = 0; i < p->n_frames; i++) {
		uint8_t *header = copy + p->frames[i] + n * len;

		if (p->frames[i] >= end && get_le32(header) == STREAM_ROUND)
			put_le64(header + 8, get_le64(header + 8) + n);
	}
}

/* A good stream with that in it: whether the guest came to run. */
static bool feed_again(const struct proxy *p, const struct again *again, struct feeder *f)
{
	uint64_t start = 0, end = 0, len;
	uint8_t *copy;
	bool runs;

	for (unsigned int i = 0; i < p->n_frames && end == 0; i++) {
		start = p->frames[i];
		if (get_le32(p->recorded + start) == again->type)
			end = p->frames[i + 1];
	}
	assert_true(end > 0);
	len = p->n_recorded + again->n * (end - start);
	copy = malloc(len);
	memcpy(copy, p->recorded, start);
	for (unsigned int i = 0; i <= again->n; i++)
		memcpy(copy + start + i * (end - start), p->recorded + start, end - start);
	memcpy(copy + end + again->n * (end - start), p->recorded + end, p->n_recorded - end);
	if (again->type == STREAM_ROUND)
		renumber_rounds(copy, p, start, end, again->n);
	runs = feed(copy, len, f);
	free(copy);
	return runs;
}

/* Frames that cost the destination work and bring no memory, as often as a source may have a use for them,
 * and once more; and memory that comes again. */
static void work_for_nothing_is_counted(void **state)
{
	static const struct again cases[] = {
		{ STREAM_WARM, 4096, "more than 4096 WARM frames" },
		{ STREAM_SYNC, 1024, "more than 1024 SYNC frames" },
		{ STREAM_ROUND, 1024, "more than 1024 ROUND frames" },
		{ STREAM_RAM, MEM / PAGE_SIZE, "a round brings more than all of guest memory" },
	};
	static struct feeder f;
	struct departure s;
	struct proxy p;

	record(&p, &s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct again half = cases[i];

		half.n /= cases[i].type == STREAM_RAM ? 1024 : 2;
		assert_true(feed_again(&p, &half, &f));
		assert_false(feed_again(&p, &cases[i], &f));
		assert_answer(&f, cases[i].why, i);
	}
	departure_exit(&s);
	proxy_free(&p);
}

#define HELLO_MAX 4096u

/* A HELLO with the tree of @w, which ends here. */
static uint32_t put_hello(uint8_t frame[HELLO_MAX], struct state_writer *w, uint64_t version)
{
	uint32_t len;
	void *tree;

	assert_int_equal(state_close(w, &tree, &len), 0);
	assert_true(16 + len <= HELLO_MAX);
	stream_header_put((struct stream_header *)(void *)frame, STREAM_HELLO, len, version);
	memcpy(frame + 16, tree, len);
	free(tree);
	return 16 + len;
}

static bool feed_hello_to(struct arrival *a, struct state_writer *w, uint64_t version, struct feeder *f)
{
	uint8_t frame[HELLO_MAX];
	uint32_t len = put_hello(frame, w, version);

	return feed_to(a, frame, len, f);
}

static bool feed_hello(struct state_writer *w, uint64_t version, struct feeder *f)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX };

	return feed_hello_to(&a, w, version, f);
}

static void test_bad_hello(void **state)
{
	static const struct {
		uint64_t memory;
		uint32_t cpus;
		uint64_t version;
		const char *why;
	} cases[] = {
		{ MEM, 1, STREAM_VERSION + 1, "version 2 of the migration protocol, this Ferry version 1" },
		{ MEM, 0, STREAM_VERSION, "cpus" },
		{ MEM, 65, STREAM_VERSION, "cpus" },
		{ 0, 1, STREAM_VERSION, "memory" },
		{ MEM - PAGE_SIZE, 1, STREAM_VERSION, "memory" },
		{ MEM + 1, 1, STREAM_VERSION, "not whole pages" },
		{ GIB(4096) + PAGE_SIZE, 1, STREAM_VERSION, "memory" },
		{ UINT64_MAX, 1, STREAM_VERSION, "memory" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct feeder f;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "vm");
		state_put_u64(&w, "memory", cases[i].memory);
		state_put_u32(&w, "cpus", cases[i].cpus);
		state_end(&w);
		assert_false(feed_hello(&w, cases[i].version, &f));
		assert_answer(&f, cases[i].why, i);
	}
}

/* Devices of a source, in its words. */
static void test_bad_devices(void **state)
{
	static const struct {
		const char *names[3];
		uint32_t count;
		const char *why;
	} cases[] = {
		{ { "dev0", "dev1" }, 2, NULL },
		{ { "dev0", "dev0", "dev1" }, 3, "dev0: twice" },
		{ { "dev0", "dev1", "dev1" }, 3, "dev1: twice" },
		{ { "dev0", "dev1" }, 3, "no child 'device@2'" },
		{ { "dev0", "dev1", "dev2" }, 2, "more in it than" },
		{ { "dev0", "dev1" }, 65, "count" },
		{ { NULL }, 0, "dev0: this VM has such a device" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct feeder f;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "vm");
		state_put_u64(&w, "memory", MEM);
		state_put_u32(&w, "cpus", 1);
		state_end(&w);
		state_begin(&w, "devices");
		state_put_u32(&w, "count", cases[i].count);
		for (unsigned int j = 0; j < 3 && cases[i].names[j]; j++) {
			state_begin_indexed(&w, "device", j);
			state_put_string(&w, "name", cases[i].names[j]);
			state_begin(&w, "config");
			state_put_u64(&w, "config", 0);
			state_end(&w);
			state_end(&w);
		}
		state_end(&w);
		assert_false(feed_hello(&w, STREAM_VERSION, &f));
		assert_int_equal(get_le32(f.answers), cases[i].why ? STREAM_REFUSED : STREAM_READY);
		if (cases[i].why)
			assert_answer(&f, cases[i].why, i);
	}
}

/* A HELLO that fits test_bad_hello()'s and test_bad_devices()' destination, from a host whose clock is
 * @clock. */
static void write_hello(struct state_writer *w, uint64_t clock)
{
	assert_int_equal(state_open_writer(w), 0);
	state_put_u64(w, "clock", clock);
	state_begin(w, "vm");
	state_put_u64(w, "memory", MEM);
	state_put_u32(w, "cpus", 1);
	state_end(w);
	state_begin(w, "devices");
	state_put_u32(w, "count", 2);
	for (unsigned int i = 0; i < 2; i++) {
		state_begin_indexed(w, "device", i);
		state_put_string(w, "name", i == 0 ? "dev0" : "dev1");
		state_begin(w, "config");
		state_put_u64(w, "config", 0);
		state_end(w);
		state_end(w);
	}
	state_end(w);
}

static void refuse_all(struct fake_guest *g)
{
	g->refuse_accept = "no such CPU";
	g->devices[0].refuse_accept = "no such NIC";
	g->devices[1].refuse_accept = "no such disk";
}

/* Keeps what is logged, warnings and errors. */
struct captured {
	int file, stderr_fd;
	char text[4096];
};

static void capture_begin(struct captured *c)
{
	*c = (struct captured){ .file = memfd_create("log", MFD_CLOEXEC), .stderr_fd = dup(STDERR_FILENO) };
	assert_true(c->file >= 0 && c->stderr_fd >= 0);
	assert_int_equal(dup2(c->file, STDERR_FILENO), STDERR_FILENO);
	log_level = LOG_WARN;
}

static void capture_end(struct captured *c)
{
	log_level = LOG_ERROR;
	dup2(c->stderr_fd, STDERR_FILENO);
	assert_true(pread(c->file, c->text, sizeof(c->text) - 1, 0) >= 0);
	close(c->file);
	close(c->stderr_fd);
}

#define SECONDS(n) ((n)*INT64_C(1000000000))

/* The guest's clock is this host's from then on. */
static void test_clocks_that_differ_are_logged_or_refused(void **state)
{
	static const struct {
		int64_t ahead; /* the source's clock */
		uint64_t allowed;
		const char *said; /* here, and to the source if it is refused */
		bool refused;
	} cases[] = {
		{ 0, SECONDS(60), NULL, false },
		{ SECONDS(1) / 2, SECONDS(60), NULL, false },
		{ SECONDS(30), SECONDS(60), "s ahead of this host's: the guest's will jump", false },
		{ -SECONDS(30), SECONDS(60), "s behind this host's: the guest's will jump", false },
		{ SECONDS(3600), SECONDS(60), "s ahead of this host's, and the guest's would jump", true },
		{ -SECONDS(3600), SECONDS(60), "s behind this host's, and the guest's would jump", true },
		{ SECONDS(3600), SECONDS(7200), "s ahead of this host's: the guest's will jump", false },
		{ -SECONDS(1000000000), UINT64_MAX, "s behind this host's: the guest's will jump", false },
		{ SECONDS(5), SECONDS(2), "give ferry receive --clock-skew", true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arrival a = { .clock_skew_ns = cases[i].allowed };
		struct captured log;
		struct state_writer w;
		struct feeder f;

		write_hello(&w, clock_now() + (uint64_t)cases[i].ahead);
		capture_begin(&log);
		assert_false(feed_hello_to(&a, &w, STREAM_VERSION, &f));
		capture_end(&log);
		assert_int_equal(get_le32(f.answers), cases[i].refused ? STREAM_REFUSED : STREAM_READY);
		if (cases[i].refused)
			assert_answer(&f, cases[i].said, i);
		else if (cases[i].said && !strstr(log.text, cases[i].said))
			fail_msg("%u: %s", i, log.text);
		else if (!cases[i].said)
			assert_null(strstr(log.text, "clock"));
	}
}

/* A clock that nobody can have. */
static void test_a_clock_out_of_range_is_refused(void **state)
{
	static const uint64_t clocks[] = { 0, (uint64_t)INT64_MAX + 1, UINT64_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(clocks); i++) {
		struct state_writer w;
		struct feeder f;

		write_hello(&w, clocks[i]);
		assert_false(feed_hello(&w, STREAM_VERSION, &f));
		assert_answer(&f, "clock", i);
	}
}

/* The other end's log has it as well. */
static void test_the_source_logs_that_clocks_differ(void **state)
{
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < 3; i++) {
		static const struct {
			int64_t ahead;
			const char *said;
		} cases[] = { { 0, NULL }, { SECONDS(30), "ahead of" }, { -SECONDS(30), "behind" } };
		struct script script = { 0 };
		struct captured log;

		script_frame(&script, STREAM_READY, 0, "");
		/* And then no: else the source would wait for its answers. */
		script_frame(&script, STREAM_REFUSED, 4, "busy");
		put_le64(script.bytes + 8, clock_now() + (uint64_t)cases[i].ahead);
		capture_begin(&log);
		script_against_source(&script, &s);
		capture_end(&log);
		if (cases[i].said)
			assert_non_null(strstr(log.text, cases[i].said));
		else
			assert_null(strstr(log.text, "clock"));
	}
	departure_exit(&s);
}

/* @a refuses a HELLO of an hour ago, with these reasons and @cpus. */
static void assert_all_told(struct arrival *a, const char *cpus, struct feeder *f)
{
	struct state_writer w;

	write_hello(&w, clock_now() - SECONDS(3600));
	assert_false(feed_hello_to(a, &w, STREAM_VERSION, f));
	assert_int_equal(get_le32(f->answers), STREAM_REFUSED);
	assert_answer(f, "the guest has 4194304 MiB of memory", 0);
	assert_answer(f, "the source's clock is", 0);
	assert_answer(f, cpus, 0);
	assert_answer(f, "dev0: no such NIC", 0);
	assert_answer(f, "dev1: no such disk", 0);
}

/* All reasons are told at once: those of the code that builds the VM, of the clocks, the CPUs and the
 * devices. */
static void test_every_difference_is_told_at_once(void **state)
{
	struct arrival a = { .prepare = refuse_all, .reason = "the guest has 4194304 MiB of memory" };
	struct feeder f;

	assert_all_told(&a, "no such CPU", &f);
}

static char lacking[2 * ERROR_TEXT_MAX];

static void refuse_at_length(struct fake_guest *g)
{
	refuse_all(g);
	for (size_t i = 0; i < sizeof(lacking) - 1; i++)
		lacking[i] = "avx512f, "[i % 9];
	g->refuse_accept = lacking;
}

/* Where that is too much for a refusal, it says so, and is still heard of each kind. */
static void a_long_list_of_features_hides_no_device(void **state)
{
	struct arrival a = { .prepare = refuse_at_length, .reason = "the guest has 4194304 MiB of memory" };
	struct feeder f;

	assert_all_told(&a, "avx512f, avx512f", &f);
	assert_answer(&f, "...", 0);
}

/* And of what builds VMs alone. */
static void test_a_reason_of_the_host_is_told(void **state)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX, .reason = "64 vCPUs are too many" };
	struct state_writer w;
	struct feeder f;

	write_hello(&w, clock_now());
	assert_false(feed_hello_to(&a, &w, STREAM_VERSION, &f));
	assert_int_equal(get_le32(f.answers), STREAM_REFUSED);
	assert_answer(&f, "64 vCPUs are too many", 0);
}

static void connect_to(struct channel *c)
{
	struct error err;

	do {
		err = (struct error){ 0 };
		sched_yield();
	} while (channel_connect(c, address, -1, &err) < 0);
}

static void say(struct channel *c, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	assert_int_equal(channel_writev(c, &iov, 1, 30000, NULL), 0);
}

static const char garbage[] = "GET / HTTP/1.1\r\n\r\n";

static uint32_t hear_type(struct channel *c)
{
	uint8_t answer[2048];
	struct iovec iov = { answer, sizeof(answer) };

	assert_true(channel_readv(c, &iov, 1, 30000) >= 16);
	return get_le32(answer);
}

/* One client hangs up, one talks, one says nothing for long, and then the guest comes. */
static void strangers_do_not_end_the_wait(void **state)
{
	struct departure s;
	struct arrival a;
	struct channel c;

	departure_init(&s);
	arrival_start(&a, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		connect_to(&c);
		if (i == 1)
			say(&c, garbage, sizeof(garbage));
		/* Told why, within the time that a source has for its first word. */
		if (i > 0)
			assert_int_equal(hear_type(&c), STREAM_REFUSED);
		channel_close(&c);
	}
	assert_int_equal(departure_go(&s), SOURCE_MOVED);
	arrival_join(&a);
	assert_int_equal(a.ret, 0);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A stranger was heard meanwhile, for as long as it liked: that is not taken for a clock that is behind. */
static void time_in_the_queue_is_no_difference_of_clocks(void **state)
{
	struct arrival a = { .clock_skew_ns = 1, .cancel_fd = eventfd(0, EFD_CLOEXEC) };
	struct channel stranger, source;
	struct state_writer w;
	uint8_t hello[HELLO_MAX];
	uint32_t len;

	pthread_create(&a.thread, NULL, arrival_run, &a);
	connect_to(&stranger);
	say(&stranger, garbage, sizeof(garbage));
	assert_int_equal(hear_type(&stranger), STREAM_REFUSED);
	/* It does not hang up yet. */
	write_hello(&w, clock_now());
	len = put_hello(hello, &w, STREAM_VERSION);
	connect_to(&source);
	say(&source, hello, len);
	channel_close(&stranger);
	assert_int_equal(hear_type(&source), STREAM_READY);
	channel_close(&source);
	arrival_join(&a);
	arrival_exit(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_do_not_end_the_wait),
		cmocka_unit_test(time_in_the_queue_is_no_difference_of_clocks),
		cmocka_unit_test(test_clocks_that_differ_are_logged_or_refused),
		cmocka_unit_test(test_a_clock_out_of_range_is_refused),
		cmocka_unit_test(test_the_source_logs_that_clocks_differ),
		cmocka_unit_test(test_every_difference_is_told_at_once),
		cmocka_unit_test(a_long_list_of_features_hides_no_device),
		cmocka_unit_test(test_a_reason_of_the_host_is_told),
		cmocka_unit_test(test_guest_ends_in_a_wait),
		cmocka_unit_test(test_hostile_destination),
		cmocka_unit_test(test_bad_hello),
		cmocka_unit_test(test_bad_devices),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_corrupted),
		cmocka_unit_test(test_order),
		cmocka_unit_test(work_for_nothing_is_counted),
	};

	return run_in_dir("migration_hostile", tests, ARRAY_SIZE(tests));
}
