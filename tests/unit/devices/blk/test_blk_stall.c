/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk on storage that does not answer: every wait for it has an end, and all goes on once it does. */
#define _GNU_SOURCE
#include "tests/unit/devices/blk/blk_pair.h"

#include <sys/syscall.h>

enum call { WRITE, READ, SYNC, N_CALLS };

/* A storage in the place of libc's calls: those of a kind whose gate is shut stay in it, as in a kernel whose
 * file system is frozen. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut[N_CALLS];
	unsigned int n_free[N_CALLS]; /* still get through */
	unsigned int n_stuck, n_calls[N_CALLS];
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void pass(enum call call)
{
	pthread_mutex_lock(&gate.lock);
	gate.n_stuck++;
	pthread_cond_broadcast(&gate.changed);
	while (gate.shut[call] && gate.n_free[call] == 0)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.n_free[call] -= gate.n_free[call] > 0;
	gate.n_calls[call]++;
	gate.n_stuck--;
	pthread_mutex_unlock(&gate.lock);
}

/* Lets the next @n_free calls of a kind through, and has all others stuck. */
static void shut(enum call call, unsigned int n_free)
{
	pthread_mutex_lock(&gate.lock);
	gate.shut[call] = true;
	gate.n_free[call] = n_free;
	pthread_mutex_unlock(&gate.lock);
}

static void wait_stuck(unsigned int n)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.n_stuck != n || gate.n_free[WRITE] > 0)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void open_all(void)
{
	pthread_mutex_lock(&gate.lock);
	memset(gate.shut, 0, sizeof(gate.shut));
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static unsigned int calls(enum call call)
{
	unsigned int n;

	pthread_mutex_lock(&gate.lock);
	n = gate.n_calls[call];
	gate.n_calls[call] = 0;
	pthread_mutex_unlock(&gate.lock);
	return n;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	pass(WRITE);
	return syscall(SYS_pwritev, fd, iov, n, offset, 0);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	pass(READ);
	return syscall(SYS_preadv, fd, iov, n, offset, 0);
}

int fdatasync(int fd)
{
	pass(SYNC);
	return (int)syscall(SYS_fdatasync, fd);
}

/* The page cache takes each piece in one call. */
void blk_limits_ask(int fd, bool is_device, uint32_t block_len, struct blk_limits *l)
{
	*l = (struct blk_limits){ .block_len = block_len, .physical_len = 4096, .discard_len = 4096 };
}

static int setup(void **state)
{
	int ret = pair_setup(state, "blk-stall", 2 * DISK_LEN);

	for (unsigned int i = 0; i < N_CALLS; i++)
		calls(i);
	return ret;
}

static int teardown(void **state)
{
	open_all();
	return pair_teardown(state);
}

static int settle_now(struct disk_guest *g, struct error *err)
{
	*err = (struct error){ 0 };
	return blk_device_ops.settle(&g->blk->device, 0, err);
}

static void assert_unanswered(struct disk_guest *g)
{
	uint16_t head;
	uint32_t len;

	assert_int_equal(fake_driver_get_used(&g->ring, &head, &len), 0);
}

static void whether_storage_answers_is_seen_while_the_guest_runs(void **state)
{
	static const struct {
		enum call shut;
		int type; /* of a request that is under way, -1 for none */
		uint64_t early_ns, late_ns;
		const char *reason;
	} cases[] = {
		{ WRITE, VIRTIO_BLK_T_OUT, UINT64_C(8000000000), UINT64_C(10000000000),
		  "not answered for 10 s" },
		{ READ, -1, UINT64_C(8000000000), UINT64_C(10000000000), "not answered for 10 s" },
		/* Writing back takes longer, the more there is to write. */
		{ SYNC, -1, UINT64_C(50000000000), UINT64_C(60000000000), "not answered for 60 s" },
		{ SYNC, VIRTIO_BLK_T_FLUSH, UINT64_C(50000000000), UINT64_C(60000000000),
		  "not answered for 60 s" },
	};
	struct pair *p = *state;
	struct error err;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		shut(cases[i].shut, 0);
		if (cases[i].type >= 0) {
			begin(&p->a, (uint32_t)cases[i].type, 0, 0,
			      cases[i].type == VIRTIO_BLK_T_OUT ? 512 : 0);
			wait_stuck(1);
		}
		assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
		assert_int_equal(blk_device_ops.settle(&p->a.blk->device, end_of(20), &err), -EAGAIN);
		p->a.blk->asked_ns = now_ns() - cases[i].early_ns;
		assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
		assert_string_equal(err.text, "");
		/* The wait has an end. */
		p->a.blk->asked_ns = now_ns() - cases[i].late_ns;
		assert_int_equal(settle_now(&p->a, &err), -ETIMEDOUT);
		assert_non_null(strstr(err.text, cases[i].reason));
		open_all();
		if (cases[i].type >= 0)
			assert_int_equal(finish(&p->a), VIRTIO_BLK_S_OK);
		settle(&p->a);
		assert_works(&p->a, 5);
	}
	/* A migration asks anew, whatever became of the one before. */
	shut(WRITE, 0);
	begin(&p->a, VIRTIO_BLK_T_OUT, 0, 0, 512);
	wait_stuck(1);
	assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
	p->a.blk->asked_ns -= UINT64_C(61000000000);
	free(write_warm(&p->a).fdt);
	assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
	open_all();
	assert_int_equal(finish(&p->a), VIRTIO_BLK_S_OK);
	migrate(p);
	assert_works(&p->b, 5);
}

/* The host may have cached much, and the guest's requests do not wait until all of it is written. */
static void requests_go_on_beside_writing_back(void **state)
{
	struct pair *p = *state;
	struct error err;

	shut(SYNC, 0);
	assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
	wait_stuck(1);
	assert_int_equal(request(&p->a, VIRTIO_BLK_T_OUT, 5, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&p->a, VIRTIO_BLK_T_IN, 5, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
	open_all();
	settle(&p->a);
	migrate(p);
	assert_works(&p->b, 5);
}

static void a_pause_that_storage_holds_up_is_given_up_and_the_guest_goes_on(void **state)
{
	struct pair *p = *state;
	struct error err;

	for (unsigned int i = 0; i < 2; i++) {
		shut(i == 0 ? WRITE : SYNC, 0);
		if (i == 0) {
			begin(&p->a, VIRTIO_BLK_T_OUT, 16, 0, 4096);
			wait_stuck(1);
		}
		blk_device_ops.pause(&p->a.blk->device);
		assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
		assert_int_equal(blk_device_ops.settle(&p->a.blk->device, end_of(20), &err), -EAGAIN);
		wait_stuck(1);
		give_up(p);
		/* A second pause waits behind the job that is still under way. */
		blk_device_ops.pause(&p->a.blk->device);
		assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
		give_up(p);
		assert_unanswered(&p->a);
		open_all();
		if (i == 0)
			assert_int_equal(finish(&p->a), VIRTIO_BLK_S_OK);
		assert_works(&p->a, 5);
	}
	migrate(p);
	assert_works(&p->b, 5);
}

static void a_reset_waits_for_storage_and_keeps_no_vcpu(void **state)
{
	struct pair *p = *state;
	struct disk_guest *g = &p->a;
	uint64_t deadline_ns = end_of(3000);
	struct error err;

	shut(WRITE, 0);
	begin(g, VIRTIO_BLK_T_OUT, 0, 0, 4096);
	wait_stuck(1);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	/* A driver waits for 0; one that does not gets no further. */
	assert_int_equal(disk_status(g), DRIVER_OK);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 1, 1);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(disk_status(g), DRIVER_OK);
	/* A kernel that is replaced by another takes bus mastering away, too. */
	fake_config_write(g->host, 1, PCI_COMMAND, 2, 0);
	assert_int_equal(disk_status(g), DRIVER_OK);
	blk_device_ops.pause(&g->blk->device);
	assert_int_equal(settle_now(g, &err), -EAGAIN);
	give_up(p);
	open_all();
	while (disk_status(g) != 0)
		assert_true(now_ns() < deadline_ns);
	fake_config_write(g->host, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	disk_start(g, ALL);
	assert_works(g, 5);
	/* A guest moves once its reset is done. */
	shut(WRITE, 0);
	begin(g, VIRTIO_BLK_T_OUT, 0, 0, 4096);
	wait_stuck(1);
	reg_write(g, g->common + VIRTIO_PCI_COMMON_STATUS, 0, 1);
	open_all();
	migrate(p);
	assert_int_equal(disk_status(&p->b), 0);
	disk_start(&p->b, ALL);
	assert_works(&p->b, 5);
}

/* A migration that was given up may have asked for what the storage does not answer. */
/* The guest's memory is not used anew while the storage may still write there. */
static void a_reset_of_the_machine_waits_for_storage(void **state)
{
	struct pair *p = *state;
	struct device *dev = &p->a.blk->device;

	shut(READ, 0);
	begin(&p->a, VIRTIO_BLK_T_IN, 0, 0, 4096);
	publish(&p->a);
	wait_stuck(1);
	assert_int_equal(dev->ops->reset(dev, end_of(20)), -EAGAIN);
	assert_int_equal(dev->ops->reset(dev, 0), -EAGAIN);
	open_all();
	assert_int_equal(dev->ops->reset(dev, end_of(5000)), 0);
	assert_int_equal(disk_status(&p->a), 0);
	assert_int_equal(dev->ops->reset(dev, end_of(5000)), 0);
	disk_start(&p->a, ALL);
	assert_works(&p->a, 8);
}

static void a_driver_starts_while_storage_does_not_answer(void **state)
{
	struct disk_guest *g = &((struct pair *)*state)->a;
	struct error err;

	disk_reset(g);
	shut(READ, 0);
	assert_int_equal(settle_now(g, &err), -EAGAIN);
	wait_stuck(1);
	disk_start(g, ALL);
	begin(g, VIRTIO_BLK_T_OUT, 0, 0, 4096);
	assert_unanswered(g);
	open_all();
	assert_int_equal(finish(g), VIRTIO_BLK_S_OK);
	assert_works(g, 5);
}

static void the_end_does_not_wait_for_storage(void **state)
{
	struct pair *p = *state;

	shut(WRITE, 0);
	begin(&p->a, VIRTIO_BLK_T_OUT, 0, 0, 4096);
	wait_stuck(1);
	assert_false(blk_destroy(p->a.blk, end_of(10)));
	/* The disk was not freed, for its thread uses all of it. */
	open_all();
	assert_true(blk_destroy(p->a.blk, UINT64_MAX));
	p->a.blk = NULL;
}

static void a_destination_says_that_its_storage_does_not_answer(void **state)
{
	struct pair *p = *state;
	uint64_t deadline_ns = end_of(30000);
	struct error err = { 0 };
	struct tree t;

	assert_taken(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe));
	rest(&p->a);
	copy_guest(&p->b, &p->a);
	t = write_tree(&p->a, blk_device_ops.save);
	shut(READ, 0);
	assert_refused(&p->b, blk_device_ops.load, t, "does not answer");
	/* The destination has its lock by then, and gives it back when it can. */
	blk_device_ops.release(&p->b.blk->device);
	assert_int_equal(blk_device_ops.reclaim(&p->a.blk->device, &err), -EAGAIN);
	open_all();
	while (blk_device_ops.reclaim(&p->a.blk->device, &err) == -EAGAIN)
		assert_true(now_ns() < deadline_ns);
	give_up(p);
	assert_works(&p->a, 5);
}

/* @len bytes from DATA on to sector 8, in one buffer, by a driver that knows no limit. */
static void begin_at_once(struct disk_guest *g, uint32_t len)
{
	struct virtio_seg segs[] = { new_header(g, VIRTIO_BLK_T_OUT, 8), { DATA, len }, new_status(g) };

	submit(g, segs, 2, 1);
}

/* Writes @len bytes, and pauses while the storage is at the fourth piece. */
static void pause_within_a_request(struct disk_guest *g, uint32_t len, unsigned int seed)
{
	fill(g, 0, len, seed);
	shut(WRITE, 3);
	begin_at_once(g, len);
	wait_stuck(1);
	blk_device_ops.pause(&g->blk->device);
	open_all();
	settle(g);
}

static void assert_written(struct disk_guest *g, uint32_t len)
{
	uint8_t *back = malloc(len);

	host_read(g->path, 8 * 512, back, len);
	assert_memory_equal(back, bytes_at(g, DATA, len), len);
	free(back);
}

static void a_pause_comes_between_two_pieces_of_a_request(void **state)
{
	struct pair *p = *state;
	const uint32_t len = MIB(7);

	disk_start(&p->a, ~VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX));
	pause_within_a_request(&p->a, len, 3);
	assert_int_equal(calls(WRITE), 4);
	assert_unanswered(&p->a);
	assert_int_equal(p->a.blk->ring.vring.n_in_flight, 0);
	/* The migration is given up, and the request goes on where it was. */
	give_up(p);
	assert_int_equal(finish(&p->a), VIRTIO_BLK_S_OK);
	assert_int_equal(calls(WRITE), 4);
	assert_written(&p->a, len);

	/* The guest moves, and the destination does all of the request. */
	pause_within_a_request(&p->a, len, 4);
	blk_device_ops.resume(&p->a.blk->device, DEVICE_STAYED);
	migrate(p);
	/* The source may have come to its end with it before. */
	assert_int_equal(finish(&p->b), VIRTIO_BLK_S_OK);
	assert_written(&p->b, len);
	assert_works(&p->b, 5);
}

/* The migration asks again and again whether the storage answers, which it does between two pieces. */
static void a_long_request_comes_to_its_end_whatever_comes_between(void **state)
{
	struct pair *p = *state;
	const uint32_t len = MIB(7);

	disk_start(&p->a, ~VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX));
	shut(WRITE, 1);
	begin_at_once(&p->a, len);
	for (unsigned int i = 0; i < 6; i++) {
		struct error err;

		wait_stuck(1);
		assert_int_equal(settle_now(&p->a, &err), -EAGAIN);
		shut(WRITE, 1);
		pthread_mutex_lock(&gate.lock);
		pthread_cond_broadcast(&gate.changed);
		pthread_mutex_unlock(&gate.lock);
		settle(&p->a);
	}
	open_all();
	assert_int_equal(finish(&p->a), VIRTIO_BLK_S_OK);
	assert_int_equal(calls(WRITE), 8);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whether_storage_answers_is_seen_while_the_guest_runs),
		TEST(requests_go_on_beside_writing_back),
		TEST(a_pause_that_storage_holds_up_is_given_up_and_the_guest_goes_on),
		TEST(a_reset_waits_for_storage_and_keeps_no_vcpu),
		TEST(a_reset_of_the_machine_waits_for_storage),
		TEST(a_driver_starts_while_storage_does_not_answer),
		TEST(the_end_does_not_wait_for_storage),
		TEST(a_destination_says_that_its_storage_does_not_answer),
		TEST(a_pause_comes_between_two_pieces_of_a_request),
		TEST(a_long_request_comes_to_its_end_whatever_comes_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
