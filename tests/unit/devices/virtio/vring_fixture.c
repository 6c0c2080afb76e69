/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ring in guest memory with both its sides. */
#include "tests/unit/devices/virtio/vring_fixture.h"

const struct vring_setup plain = { .size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED };
const struct vring_setup with_indirect = {
	.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED, .indirect = true
};

const struct vring_setup with_event_idx = {
	.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED, .event_idx = true
};

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	assert_int_equal(memory_init(&f->mem, MEMORY_LOW_MAX + HIGH_N, &err), 0);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	vring_exit(&f->vr);
	fake_driver_exit(&f->driver);
	memory_exit(&f->mem);
	free(f);
	return 0;
}

void start(struct fixture *f, const struct vring_setup *s)
{
	vring_exit(&f->vr);
	fake_driver_exit(&f->driver);
	fake_driver_init(&f->driver, &f->mem, s);
	assert_int_equal(vring_init(&f->vr, &f->mem, s), 0);
}

void offer(struct fixture *f, uint16_t head)
{
	fake_driver_offer(&f->driver, head);
	fake_driver_publish(&f->driver);
}

uint16_t add_one(struct fixture *f)
{
	struct virtio_seg seg = { BUF, 1 };
	int head = fake_driver_add(&f->driver, &seg, 0, 1);

	assert_true(head >= 0);
	fake_driver_publish(&f->driver);
	return (uint16_t)head;
}

uint16_t pop_one(struct fixture *f)
{
	struct vring_chain chain;

	assert_int_equal(vring_pop(&f->vr, &chain), 1);
	return chain.head;
}

void complete(struct fixture *f, uint16_t head, uint32_t len)
{
	uint16_t used_head;
	uint32_t used_len;

	vring_push(&f->vr, head, len);
	assert_int_equal(fake_driver_get_used(&f->driver, &used_head, &used_len), 0);
	(void)!vring_publish(&f->vr);
	assert_int_equal(fake_driver_get_used(&f->driver, &used_head, &used_len), 1);
	assert_int_equal(used_head, head);
	assert_int_equal(used_len, len);
}

void assert_refused(struct fixture *f, const char *why)
{
	uint16_t n_in_flight = f->vr.n_in_flight, last_avail = f->vr.last_avail;
	struct vring_chain chain;

	assert_int_equal(vring_pop(&f->vr, &chain), -EINVAL);
	assert_non_null(f->vr.broken);
	if (!strstr(f->vr.broken, why))
		fail_msg("refused because '%s', not because '%s'", f->vr.broken, why);
	/* Also where the driver makes it good again. */
	fake_driver_set_avail_idx(&f->driver, last_avail);
	assert_int_equal(vring_pop(&f->vr, &chain), -EINVAL);
	fake_driver_set_avail_idx(&f->driver, (uint16_t)(last_avail + 1));
	assert_false(vring_has_avail(&f->vr));
	assert_false(vring_enable_kicks(&f->vr));
	assert_int_equal(f->vr.n_in_flight, n_in_flight);
	assert_int_equal(f->vr.last_avail, last_avail);
	for (int head = vring_next_in_flight(&f->vr, -1); head >= 0; head = vring_next_in_flight(&f->vr, -1))
		complete(f, (uint16_t)head, 0);
}

void assert_chain(const struct vring_chain *chain, const struct virtio_seg *segs, unsigned int n_read,
		  unsigned int n_write)
{
	uint32_t lens[2] = { 0, 0 };

	assert_int_equal(chain->n_read, n_read);
	assert_int_equal(chain->n_write, n_write);
	for (unsigned int i = 0; i < n_read + n_write; i++) {
		assert_int_equal(chain->segs[i].addr, segs[i].addr);
		assert_int_equal(chain->segs[i].len, segs[i].len);
		lens[i >= n_read] += segs[i].len;
	}
	assert_int_equal(chain->read_len, lens[0]);
	assert_int_equal(chain->write_len, lens[1]);
}

void assert_in_flight(const struct vring *vr, unsigned int n, const uint16_t *heads)
{
	int head = -1;

	assert_int_equal(vr->n_in_flight, n);
	for (unsigned int i = 0; i < n; i++) {
		head = vring_next_in_flight(vr, head);
		assert_int_equal(head, heads[i]);
	}
	assert_int_equal(vring_next_in_flight(vr, head), -1);
}

void *save(const struct vring *vr, uint32_t *len)
{
	struct state_writer w;
	void *fdt;

	assert_int_equal(state_open_writer(&w), 0);
	vring_save(vr, &w);
	assert_int_equal(state_close(&w, &fdt, len), 0);
	return fdt;
}

int load(struct vring *vr, const void *fdt, uint32_t len)
{
	struct error err = { 0 };
	struct state_node node;
	int ret = state_open(&node, fdt, len, &err);

	if (ret == 0)
		ret = vring_load(vr, &node);
	if (ret == 0)
		ret = state_finish(&node);
	if ((ret == 0) != (err.text[0] == 0))
		fail_msg("%d: '%s'", ret, err.text);
	return ret;
}

void check_interrupts_due(struct fixture *f)
{
	uint16_t head;
	uint32_t len;

	for (unsigned int round = 0; round < 3 * SIZE; round++) {
		fake_driver_enable_interrupts(&f->driver);
		assert_false(vring_interrupt_due(&f->vr));
		for (unsigned int i = 0; i <= round % SIZE; i++) {
			add_one(f);
			vring_push(&f->vr, pop_one(f), 0);
			assert_true(vring_publish(&f->vr) == (i == 0));
			assert_true(vring_interrupt_due(&f->vr));
		}
		while (fake_driver_get_used(&f->driver, &head, &len) == 1)
			;
	}
}
