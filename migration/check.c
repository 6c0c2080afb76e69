/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a destination would take the guest: see the header. */
#include "migration/check.h"

#include <errno.h>

#include "migration/channel.h"
#include "migration/hello.h"

/* Time for all of a check: a destination that is awake answers within a second, whatever the guest's size. */
#define CHECK_TIMEOUT_MS 30000

/* The end of what version 1 answers a check with: its own version alone. */
#define CHECK_ANSWER_1 "this Ferry version 1"

/* Describes the guest, unless a migration is asking its devices. */
static int check_describe(struct vm *vm, struct hello *hello, struct error *err)
{
	int ret;

	if (atomic_exchange(&vm->migrating, true)) {
		error_add(err, "a migration of this guest is under way, or has ended without an answer");
		return -EBUSY;
	}
	ret = hello_describe(hello, vm, HELLO_CHECK, err);
	atomic_store(&vm->migrating, false);
	return ret;
}

/* Finds the reasons in the text of an error, and ends each where the next begins. */
static void check_split(struct check *check)
{
	char *at = check->err.text + strlen(STREAM_REFUSAL), *next;

	for (; at && check->n_obstacles < CHECK_MAX_OBSTACLES; at = next) {
		next = check->n_obstacles + 1 < CHECK_MAX_OBSTACLES ? strstr(at, "; ") : NULL;
		if (next) {
			*next = '\0';
			next += 2;
		}
		check->obstacles[check->n_obstacles++] = at;
	}
}

static bool check_ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* Makes of a refusal what stands against the guest. */
static int check_refused(struct check *check)
{
	if (check_ends_with(check->err.text, CHECK_ANSWER_1)) {
		check->err = (struct error){ 0 };
		error_add(&check->err,
			  "the destination speaks version 1 of the migration protocol, which has no "
			  "checks; nothing was done there");
		return -EPROTO;
	}
	check_split(check);
	return 0;
}

static int check_ask(struct hello *hello, int fd, int cancel_fd, struct check *check)
{
	struct channel channel = { .fd = -1 };
	struct stream stream = { 0 };
	uint64_t clock;
	int ret = channel_adopt(&channel, fd, cancel_fd, &check->err);

	channel.deadline_ns = end_of(CHECK_TIMEOUT_MS);
	if (ret == 0)
		ret = stream_init(&stream, &channel, CHECK_TIMEOUT_MS, &check->err);
	if (ret == 0)
		ret = hello_say(hello, &stream, &clock, CHECK_TIMEOUT_MS, &check->err);
	check->stream_version = ret == 0 ? stream.version : 0;
	stream_exit(&stream);
	channel_close(&channel);
	return ret == -ECONNREFUSED ? check_refused(check) : ret;
}

int check_run(struct vm *vm, int fd, int cancel_fd, struct check *check)
{
	struct hello hello;
	int ret;

	*check = (struct check){ 0 };
	ret = check_describe(vm, &hello, &check->err);
	if (ret < 0) {
		channel_close(&(struct channel){ .fd = fd });
		return ret;
	}
	ret = check_ask(&hello, fd, cancel_fd, check);
	hello_free(&hello);
	return ret;
}
