/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a ring: what split and packed rings have in common, and the order of completions. */
#include "devices/virtio/vring.h"

#include <assert.h>
#include <stdlib.h>

#include "devices/virtio/vring_packed.h"
#include "devices/virtio/vring_split.h"

/* A saved completion that waits for an older one: head and length. */
#define VRING_DONE_BYTES 6u

static const struct vring_format *vring_format(const struct vring_setup *setup)
{
	return setup->packed ? &vring_packed : &vring_split;
}

static int vring_alloc(struct vring *vr)
{
	uint16_t size = vr->setup.size;

	vr->next = calloc(size + 1u, sizeof(*vr->next));
	vr->prev = calloc(size + 1u, sizeof(*vr->prev));
	vr->in_flight = calloc(size, sizeof(*vr->in_flight));
	vr->segs = calloc(size, sizeof(*vr->segs));
	vr->scratch = malloc(vring_state_bytes(&vr->setup));
	if (!vr->next || !vr->prev || !vr->in_flight || !vr->segs || !vr->scratch)
		return -ENOMEM;
	if (!vr->setup.in_order)
		return 0;
	vr->done = calloc(size, sizeof(*vr->done));
	return vr->done ? 0 : -ENOMEM;
}

int vring_init(struct vring *vr, struct memory *mem, const struct vring_setup *setup)
{
	int ret;

	*vr = (struct vring){ .mem = mem, .setup = *setup };
	vr->format = vring_format(setup);
	if (setup->size == 0 || setup->size > VIRTIO_RING_MAX_SIZE)
		return -EINVAL;
	ret = vr->format->init(vr);
	if (ret == 0)
		ret = vring_alloc(vr);
	if (ret < 0) {
		vring_exit(vr);
		return ret;
	}
	vring_forget_in_flight(vr);
	vr->format->start(vr);
	return 0;
}

void vring_exit(struct vring *vr)
{
	free(vr->next);
	free(vr->prev);
	free(vr->in_flight);
	free(vr->done);
	free(vr->segs);
	free(vr->scratch);
	free(vr->descs);
	free(vr->kept);
	*vr = (struct vring){ 0 };
}

int vring_pop(struct vring *vr, struct vring_chain *chain)
{
	return vr->broken ? -EINVAL : vr->format->pop(vr, chain);
}

void vring_unpop(struct vring *vr)
{
	uint16_t head = vr->prev[vr->setup.size];

	assert(vr->n_in_flight > 0 && !(vr->done && vr->done[head].done));
	vring_remove_in_flight(vr, head);
	vr->format->unpop(vr, head);
}

bool vring_has_avail(struct vring *vr)
{
	return !vr->broken && vr->format->has_avail(vr);
}

bool vring_enable_kicks(struct vring *vr)
{
	vr->format->ask_kicks(vr, true);
	/* Pairs with the driver's full barrier between its making something available and its look at
	 * avail_event, used.flags or our event suppression: either it sees that we want a kick, or we see
	 * what it added. */
	atomic_thread_fence(memory_order_seq_cst);
	return vring_has_avail(vr);
}

void vring_disable_kicks(struct vring *vr)
{
	vr->format->ask_kicks(vr, false);
}

/* The oldest chain in flight, or the list's anchor. */
static uint16_t vring_oldest(const struct vring *vr)
{
	return vr->next[vr->setup.size];
}

static void vring_push_in_order(struct vring *vr, uint16_t head, uint32_t len)
{
	assert(!vr->done[head].done);
	vr->done[head] = (struct vring_done){ .done = true, .len = len };
	for (head = vring_oldest(vr); head < vr->setup.size && vr->done[head].done; head = vring_oldest(vr)) {
		vr->done[head].done = false;
		vring_remove_in_flight(vr, head);
		vr->format->use(vr, head, vr->done[head].len);
	}
}

void vring_push(struct vring *vr, uint16_t head, uint32_t len)
{
	assert(head < vr->setup.size && vr->in_flight[head]);
	if (vr->done) {
		vring_push_in_order(vr, head, len);
		return;
	}
	vring_remove_in_flight(vr, head);
	vr->format->use(vr, head, len);
}

bool vring_publish(struct vring *vr)
{
	return vr->format->publish(vr);
}

bool vring_interrupt_due(struct vring *vr)
{
	return vr->format->interrupt_due(vr);
}

int vring_next_in_flight(const struct vring *vr, int prev)
{
	uint16_t next = vr->next[prev < 0 ? vr->setup.size : prev];

	while (vr->done && next < vr->setup.size && vr->done[next].done)
		next = vr->next[next];
	return next == vr->setup.size ? -1 : next;
}

int vring_reread(struct vring *vr, uint16_t head, struct vring_chain *chain)
{
	assert(head < vr->setup.size && vr->in_flight[head]);
	return vr->broken ? -EINVAL : vr->format->reread(vr, head, chain);
}

/* State */

uint32_t vring_state_bytes(const struct vring_setup *setup)
{
	uint32_t each = vring_format(setup)->state_bytes + (setup->in_order ? VRING_DONE_BYTES : 0);

	return each * setup->size;
}

void vring_save(const struct vring *vr, struct state_writer *w)
{
	uint16_t anchor = vr->setup.size;
	uint32_t n = 0;

	vr->format->save(vr, w);
	if (!vr->done)
		return;
	for (uint16_t head = vring_oldest(vr); head != anchor; head = vr->next[head]) {
		uint8_t *p = vr->scratch + VRING_DONE_BYTES * n;

		if (!vr->done[head].done)
			continue;
		put_le16(p, head);
		put_le32(p + 2, vr->done[head].len);
		n++;
	}
	state_put_blob(w, "done", vr->scratch, VRING_DONE_BYTES * n);
}

static int vring_load_done(struct vring *vr, struct state_node *node)
{
	const uint8_t *p;
	uint32_t len;
	int ret = state_get_blob(node, "done", 0, VRING_DONE_BYTES * vr->setup.size, &p, &len);

	if (ret < 0)
		return ret;
	if (len % VRING_DONE_BYTES != 0) {
		error_add(node->err, "the list of completions has %u bytes", len);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < len; i += VRING_DONE_BYTES) {
		uint16_t head = get_le16(p + i);

		/* The oldest would have been given back. */
		if (head >= vr->setup.size || !vr->in_flight[head] || vr->done[head].done ||
		    head == vring_oldest(vr)) {
			error_add(node->err, "head %u of a ring of %u cannot be done and not given back",
				  head, vr->setup.size);
			return -EINVAL;
		}
		vr->done[head] = (struct vring_done){ .done = true, .len = get_le32(p + i + 2) };
	}
	return 0;
}

int vring_load(struct vring *vr, struct state_node *node)
{
	int ret = vr->format->load(vr, node);

	if (ret == 0 && vr->done)
		ret = vring_load_done(vr, node);
	if (ret < 0) {
		vring_forget_in_flight(vr);
		vr->format->start(vr);
	}
	return ret;
}
