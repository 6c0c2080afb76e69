/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory on its way: runs of pages straight from where they are, and straight to where they belong. */
#include "migration/ram.h"

#include <errno.h>
#include <inttypes.h>

/* Small runs share a system call: scattered pages are what the last round, in the downtime, is made of. */
#define RAM_BATCH_FRAMES 500u
#define RAM_BATCH_BYTES  (1u << 20)

/* Progress is for people. */
#define RAM_TICK_NS 500000000u

/* The part of a frame that is not guest memory. */
struct ram_wire {
	struct stream_header header;
	uint64_t zero_len; /* le64, of a ZERO frame */
};
_Static_assert(sizeof(struct ram_wire) == 24, "sent as it is");

struct ram_batch {
	struct ram_pass *pass;
	uint64_t tick_ns;
	unsigned int n_frames;
	unsigned int n_iov;
	uint64_t bytes; /* of guest memory, with zeros */
	uint64_t zero_bytes;
	uint64_t spared_bytes; /* on the wire, by compression */
	struct ram_wire wire[RAM_BATCH_FRAMES];
	struct iovec iov[2 * RAM_BATCH_FRAMES];
};

/* How far ahead of a page its followers' first words are fetched: a few pages cover the way to memory. */
#define RAM_AHEAD (8 * PAGE_SIZE)

/* Two words, which every x86-64 has a register for. */
typedef uint64_t ram_words __attribute__((vector_size(16)));

/* A page that holds something mostly shows it in its first words, so this rarely looks at all of it. The
 * guest may write meanwhile: then the page is marked, and comes again. */
static bool ram_page_is_zero(const uint8_t *page)
{
	const ram_words *w = (const ram_words *)(const void *)page;

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*w); i += 4) {
		const ram_words any = w[i] | w[i + 1] | w[i + 2] | w[i + 3];

		if (any[0] | any[1])
			return false;
	}
	return true;
}

static int ram_flush(struct ram_batch *b, struct error *err)
{
	struct ram_pass *pass = b->pass;
	uint64_t sent = pass->stream->bytes_sent, wire_ns = pass->wire_ns, start_ns, end_ns, full;
	int ret;

	if (b->n_frames == 0)
		return 0;
	ret = stream_check(pass->stream, err);
	if (ret < 0)
		return ret;
	start_ns = now_ns();
	ret = stream_writev(pass->stream, b->iov, (int)b->n_iov, err);
	if (ret < 0)
		return ret;
	end_ns = now_ns();
	sent = pass->stream->bytes_sent - sent;
	pass->wire_ns += end_ns - start_ns + pass->compress->spent_ns;
	pass->wire_bytes += sent;
	pass->plain_bytes += sent + b->spared_bytes;
	pass->bytes += b->bytes;
	pass->zero_bytes += b->zero_bytes;
	pass->report->sent_bytes += sent;
	pass->report->zero_bytes += b->zero_bytes;
	pass->report->compressed_bytes = pass->compress->bytes;
	pass->report->remaining_bytes -= b->bytes;
	full = b->bytes - b->zero_bytes;
	b->n_frames = b->n_iov = 0;
	b->bytes = b->zero_bytes = b->spared_bytes = 0;
	if (end_ns - b->tick_ns >= RAM_TICK_NS) {
		b->tick_ns = end_ns;
		ret = pass->tick(pass->opaque, err);
	}
	if (ret == 0)
		ret = pass->sent(pass->opaque, sent, err);
	compress_sent(pass->compress, full, pass->wire_ns - wire_ns);
	return ret;
}

/* Sends what there is, if it is enough. */
static int ram_added(struct ram_batch *b, uint64_t len, struct error *err)
{
	uint64_t enough = b->pass->compress->on ? COMPRESS_BATCH : RAM_BATCH_BYTES;

	b->bytes += len;
	return b->n_frames == RAM_BATCH_FRAMES || b->bytes >= enough ? ram_flush(b, err) : 0;
}

static int ram_add_zeros(struct ram_batch *b, uint64_t gpa, uint64_t len, struct error *err)
{
	struct ram_wire *wire = &b->wire[b->n_frames++];

	stream_header_put(&wire->header, STREAM_ZERO, sizeof(wire->zero_len), gpa);
	put_le64(&wire->zero_len, len);
	b->iov[b->n_iov++] = (struct iovec){ .iov_base = wire, .iov_len = sizeof(*wire) };
	b->zero_bytes += len;
	return ram_added(b, len, err);
}

/* Adds a frame of @len bytes of memory, with the @n at @payload in it. */
static int ram_add_frame(struct ram_batch *b, enum stream_type type, uint64_t gpa, uint64_t len,
			 struct iovec payload, struct error *err)
{
	struct ram_wire *wire = &b->wire[b->n_frames++];

	stream_header_put(&wire->header, type, (uint32_t)payload.iov_len, gpa);
	b->iov[b->n_iov++] = (struct iovec){ .iov_base = wire, .iov_len = sizeof(wire->header) };
	b->iov[b->n_iov++] = payload;
	return ram_added(b, len, err);
}

/* Adds memory that is not zero, in blocks while that is worth while. */
static int ram_add(struct ram_batch *b, uint64_t gpa, uint8_t *hva, uint64_t len, struct error *err)
{
	int ret = 0;

	for (uint64_t at = 0, n; ret == 0 && at < len; at += n) {
		struct iovec payload;
		uint8_t *block;

		n = b->pass->compress->on ? min_u64(len - at, LZ4_BLOCK) : len - at;
		payload.iov_len = compress_block(b->pass->compress, hva + at, n, &block);
		if (payload.iov_len > 0) {
			payload.iov_base = block;
			b->spared_bytes += n - payload.iov_len;
			ret = ram_add_frame(b, STREAM_LZ4, gpa + at, n, payload, err);
		} else {
			payload = (struct iovec){ hva + at, n };
			ret = ram_add_frame(b, STREAM_RAM, gpa + at, n, payload, err);
		}
	}
	return ret;
}

/* Cuts a run into pieces that are zero and pieces that are not. */
static int ram_add_run(struct ram_batch *b, uint64_t page, uint64_t n_pages, struct error *err)
{
	const struct memory_region *r = dirty_region(b->pass->dirty, page);
	uint64_t offset = (page << PAGE_SHIFT) - r->offset;
	uint64_t end = offset + (n_pages << PAGE_SHIFT);
	int ret = 0;

	while (ret == 0 && offset < end) {
		bool zero = ram_page_is_zero(r->hva + offset);
		uint64_t len = PAGE_SIZE;

		while (offset + len < end && ram_page_is_zero(r->hva + offset + len) == zero) {
			__builtin_prefetch(r->hva + offset + len + RAM_AHEAD);
			len += PAGE_SIZE;
		}
		ret = zero ? ram_add_zeros(b, r->gpa + offset, len, err)
			   : ram_add(b, r->gpa + offset, r->hva + offset, len, err);
		offset += len;
	}
	return ret;
}

/* Has the first words of a run on their way here, while those before it are looked at. */
static void ram_fetch(const struct ram_pass *pass, uint64_t page)
{
	const struct memory_region *r = dirty_region(pass->dirty, page);

	__builtin_prefetch(r->hva + ((page << PAGE_SHIFT) - r->offset));
}

int ram_send(struct ram_pass *pass, struct error *err)
{
	const uint64_t max = STREAM_RAM_MAX >> PAGE_SHIFT;
	struct ram_batch b = { .pass = pass, .tick_ns = now_ns() };
	uint64_t page = 0, n_pages;
	bool more;
	int ret = 0;

	pass->wire_bytes = pass->plain_bytes = pass->wire_ns = pass->bytes = pass->zero_bytes = 0;
	pass->report->remaining_bytes = dirty_bytes(pass->dirty);
	more = dirty_next_run(pass->dirty, &page, &n_pages, max);
	while (ret == 0 && more) {
		uint64_t next = page + n_pages, n_next;

		more = dirty_next_run(pass->dirty, &next, &n_next, max);
		if (more)
			ram_fetch(pass, next);
		ret = ram_add_run(&b, page, n_pages, err);
		page = next;
		n_pages = n_next;
	}
	return ret < 0 ? ret : ram_flush(&b, err);
}

/* Finds the next part of [at, limit) of the memfd that is there: 1 with @a's part reaching beyond its begin,
 * 0 or -errno. The kernel looks at each page of a part to find its end, so that is asked for once. */
static int ram_find_there(struct ram_arrival *a, const struct memory *m, uint64_t at, uint64_t limit)
{
	uint64_t start, end;
	int ret;

	if (at >= a->there_start && at < a->there_end)
		return 1;
	ret = memory_next_data(m, at, limit, &start, &end);
	if (ret == 1) {
		a->there_start = start;
		a->there_end = end;
	}
	return ret;
}

/*
 * Makes [hva, hva + len) read as zeros. Holes of the memfd do already, and stay holes; pages that exist are
 * only written where they hold something. They are not punched out: a device may have them pinned.
 */
static int ram_clear(struct ram_arrival *a, struct memory *m, uint64_t gpa, uint8_t *hva, uint64_t len,
		     struct error *err)
{
	const struct memory_region *r = m->regions;
	uint64_t offset, end;
	int ret;

	while (gpa - r->gpa >= r->len)
		r++;
	offset = r->offset + (gpa - r->gpa);
	end = offset + len;
	while (offset < end && (ret = ram_find_there(a, m, offset, end)) != 0) {
		if (ret < 0) {
			error_add(err, "cannot find the holes of guest memory: %s", strerror(-ret));
			return ret;
		}
		offset = max_u64(offset, a->there_start);
		for (; offset < min_u64(a->there_end, end); offset += PAGE_SIZE) {
			uint8_t *page = hva + (len - (end - offset));

			if (!ram_page_is_zero(page))
				memset(page, 0, PAGE_SIZE);
		}
	}
	return 0;
}

/* Returns where @len bytes that a frame brings belong, and counts them; NULL with the reason. */
static uint8_t *ram_place(const struct stream_frame *frame, uint64_t len, struct memory *m,
			  struct ram_arrival *a, struct error *err)
{
	uint8_t *hva = (frame->arg | len) % PAGE_SIZE == 0 ? memory_at(m, frame->arg, len) : NULL;

	if (!hva) {
		error_add(err,
			  "%s frame for %" PRIu64 " bytes at 0x%" PRIx64 ": not whole pages of guest memory",
			  stream_type_name(frame->type), len, frame->arg);
		return NULL;
	}
	if (len > a->left) {
		error_add(err, "a round brings more than all of guest memory");
		return NULL;
	}
	a->left -= len;
	return hva;
}

int ram_receive(struct stream *s, const struct stream_frame *frame, struct memory *m, struct ram_arrival *a,
		struct error *err)
{
	uint64_t len = frame->len;
	uint8_t wire_len[sizeof(uint64_t)];
	uint8_t *hva;
	int ret;

	if (frame->type == STREAM_ZERO) {
		ret = stream_read(s, wire_len, sizeof(wire_len), err);
		if (ret < 0)
			return ret;
		len = get_le64(wire_len);
	}
	hva = ram_place(frame, len, m, a, err);
	if (!hva)
		return -EPROTO;
	if (frame->type == STREAM_ZERO)
		return ram_clear(a, m, frame->arg, hva, len, err);
	return stream_read(s, hva, (uint32_t)len, err);
}

int ram_unpack(const struct stream_frame *frame, const uint8_t *block, struct memory *m,
	       struct ram_arrival *a, struct error *err)
{
	uint32_t len = get_le32(block);
	uint8_t *hva;

	if (len > LZ4_BLOCK) {
		error_add(err, "LZ4 frame for %u bytes of memory, allowed are %u", len, LZ4_BLOCK);
		return -EPROTO;
	}
	hva = ram_place(frame, len, m, a, err);
	if (!hva)
		return -EPROTO;
	if (lz4_decompress(hva, len, block + STREAM_LZ4_HEAD, frame->len - STREAM_LZ4_HEAD) < 0) {
		error_add(err, "LZ4 frame at 0x%" PRIx64 ": not %u bytes of memory", frame->arg, len);
		return -EPROTO;
	}
	return 0;
}
