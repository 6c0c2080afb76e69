/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest boots from, on its way. */
#include "migration/boot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/x86/layout.h"

/* Time between reports, which are for people. */
#define BOOT_TICK_NS 500000000u

/* The files on their way. */
struct boot_departure {
	struct outgoing *out;
	uint8_t *buf;  /* STREAM_RAM_MAX bytes */
	uint64_t left; /* bytes of the files */
	uint64_t sent_before, start_ns, tick_ns;
};

/* Notes what was sent, says so now and then, and looks whether to go on. */
static int boot_tick(struct boot_departure *b, uint32_t len, struct error *err)
{
	struct outgoing *o = b->out;
	uint64_t sent = o->stream.bytes_sent - b->sent_before, now = now_ns(), waited_ns = 0;
	int ret;

	b->left -= len;
	o->report->sent_bytes = sent;
	o->report->remaining_bytes = b->left + o->vm->memory.size;
	o->report->bytes_per_second = (uint64_t)((double)sent / (double)(now - b->start_ns + 1) * 1e9);
	if (now - b->tick_ns >= BOOT_TICK_NS) {
		b->tick_ns = now;
		outgoing_progress(o);
	}
	ret = outgoing_check(o, err);
	return ret < 0 ? ret : outgoing_pace(o, len, &waited_ns, err);
}

/* Returns 0; 1 if the file cannot be read, which is no reason against the guest; or -errno. */
static int boot_send_file(struct boot_departure *b, const struct boot_file *f, struct error *err)
{
	struct error reason = { 0 };
	int ret = 0;

	for (uint64_t at = 0; ret == 0 && at < f->size; at += STREAM_RAM_MAX) {
		uint32_t len = (uint32_t)min_u64(f->size - at, STREAM_RAM_MAX);

		if (boot_read(f, at, b->buf, len, &reason) < 0) {
			log_warn("the guest moves without its kernel, and ends if it resets itself there: %s",
				 reason.text);
			return 1;
		}
		ret = stream_send(&b->out->stream, STREAM_BOOT, STREAM_BOOT_BYTES, b->buf, len, err);
		if (ret == 0)
			ret = boot_tick(b, len, err);
	}
	return ret;
}

static int boot_send_all(struct outgoing *o, const struct boot_files *f, uint8_t *buf, struct error *err)
{
	struct boot_departure b = { .out = o,
				    .buf = buf,
				    .left = f->kernel.size + f->initrd.size,
				    .sent_before = o->stream.bytes_sent,
				    .start_ns = now_ns(),
				    .tick_ns = now_ns() };
	uint32_t len = (uint32_t)strlen(f->cmdline);
	struct stream_boot head;
	int ret;

	put_le64(&head.kernel_len, f->kernel.size);
	put_le64(&head.initrd_len, f->initrd.size);
	memcpy(buf, &head, sizeof(head));
	memcpy(buf + sizeof(head), f->cmdline, len);
	ret = stream_send(&o->stream, STREAM_BOOT, STREAM_BOOT_BEGIN, buf, (uint32_t)sizeof(head) + len, err);
	if (ret == 0)
		ret = boot_send_file(&b, &f->kernel, err);
	if (ret == 0)
		ret = boot_send_file(&b, &f->initrd, err);
	return ret < 0 ? ret : 0;
}

int boot_send(struct outgoing *o, struct error *err)
{
	const struct boot_files *f = o->vm->boot;
	uint8_t *buf;
	int ret;

	if (!f || !boot_files_known(f) || o->stream.version < STREAM_BOOT_SINCE)
		return 0;
	if (f->kernel.size > o->vm->memory.size || f->initrd.size > o->vm->memory.size - f->kernel.size) {
		log_warn(
			"the guest moves without its kernel, and ends if it resets itself there: the file is "
			"larger than the guest's memory");
		return 0;
	}
	buf = malloc(STREAM_RAM_MAX);
	if (!buf) {
		error_add(err, "out of memory for the guest's kernel");
		return -ENOMEM;
	}
	ret = boot_send_all(o, f, buf, err);
	free(buf);
	return ret;
}

static void boot_arrival_unmap(struct boot_arrival *b)
{
	if (b->maps[0])
		munmap(b->maps[0], b->files.kernel.size);
	if (b->maps[1])
		munmap(b->maps[1], b->files.initrd.size);
	b->maps[0] = b->maps[1] = NULL;
}

static int boot_arrival_map(struct boot_arrival *b, unsigned int i, const struct boot_file *f,
			    struct error *err)
{
	void *map;

	if (f->size == 0)
		return 0;
	map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED) {
		error_add(err, "cannot map the guest's %s: %s", f->what, strerror(errno));
		return -errno;
	}
	b->maps[i] = map;
	return 0;
}

static int boot_refused(struct error *err, const char *why)
{
	error_add(err, "BOOT frame: %s", why);
	return -EPROTO;
}

static int boot_begin(struct boot_arrival *b, struct stream *s, uint32_t len, uint64_t mem, struct error *err)
{
	uint8_t buf[sizeof(struct stream_boot) + LAYOUT_CMDLINE_MAX] = { 0 };
	struct stream_boot head;
	uint64_t kernel, initrd;
	int ret;

	if (boot_files_known(&b->files))
		return boot_refused(err, "a second one begins");
	/* A NUL follows what comes. */
	if (len < sizeof(head) || len >= sizeof(buf))
		return boot_refused(err, "its length is out of range");
	ret = stream_read(s, buf, len, err);
	if (ret < 0)
		return ret;
	memcpy(&head, buf, sizeof(head));
	kernel = get_le64(&head.kernel_len);
	initrd = get_le64(&head.initrd_len);
	if (kernel == 0 || kernel > mem || initrd > mem - kernel)
		return boot_refused(err, "kernel and initrd do not fit into the guest's memory");
	if (strlen((char *)buf + sizeof(head)) != len - sizeof(head))
		return boot_refused(err, "the command line has a NUL in it");
	ret = boot_files_make(&b->files, kernel, initrd, (char *)buf + sizeof(head), err);
	if (ret == 0)
		ret = boot_arrival_map(b, 0, &b->files.kernel, err);
	return ret < 0 ? ret : boot_arrival_map(b, 1, &b->files.initrd, err);
}

/* The kernel's bytes come first, and no frame has some of both. */
static int boot_bytes(struct boot_arrival *b, struct stream *s, uint32_t len, struct error *err)
{
	uint64_t kernel = b->files.kernel.size, end = kernel + b->files.initrd.size;
	unsigned int i = b->n_come >= kernel;
	int ret;

	if (!boot_files_known(&b->files) || len > (i ? end : kernel) - b->n_come)
		return boot_refused(err, "more bytes than were announced");
	ret = stream_read(s, b->maps[i] + (b->n_come - (i ? kernel : 0)), len, err);
	if (ret < 0)
		return ret;
	b->n_come += len;
	b->whole = b->n_come == end;
	if (b->whole)
		boot_arrival_unmap(b);
	return 0;
}

int boot_receive(struct boot_arrival *b, struct stream *s, const struct stream_frame *frame, uint64_t mem,
		 struct error *err)
{
	if (s->version < STREAM_BOOT_SINCE)
		return boot_refused(err, "this version has none");
	switch (frame->arg) {
	case STREAM_BOOT_BEGIN:
		return boot_begin(b, s, frame->len, mem, err);
	case STREAM_BOOT_BYTES:
		return boot_bytes(b, s, frame->len, err);
	default:
		return boot_refused(err, "its kind is not known");
	}
}

void boot_arrive(struct boot_arrival *b, struct boot_files *to)
{
	if (!b->whole) {
		log_info("what the guest boots from has not come with it: if it resets itself, it ends");
		return;
	}
	boot_files_close(to);
	*to = b->files;
	b->files = BOOT_FILES_NONE;
	b->whole = false;
}

void boot_arrival_exit(struct boot_arrival *b)
{
	boot_arrival_unmap(b);
	boot_files_close(&b->files);
}
