/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source that says what a test wants said, and hears what the destination answers. */
#ifndef FERRY_TESTS_UNIT_MIGRATION_FEEDER_H
#define FERRY_TESTS_UNIT_MIGRATION_FEEDER_H

#include "tests/unit/migration/migration_fixture.h"

struct feeder {
	pthread_t thread;
	const uint8_t *bytes;
	uint64_t len;
	struct channel channel;
	/* Frames of the destination, whose reasons are text. */
	char answers[1 << 17];
	size_t n_answers;
	/* Called off when all has been said, because it waits for a better source. */
	struct arrival *to;
};

/* Moves a guest through a proxy, which records what the source says. @s and @p are the caller's to free. */
void record(struct proxy *p, struct departure *s);

/* The destination @a against a source that says @len bytes and then nothing more. Returns whether the guest
 * came to run. @a is freed, and what it answered is in @f. */
bool feed_to(struct arrival *a, const uint8_t *bytes, uint64_t len, struct feeder *f);
/* feed_to() with @a left to the caller, who looks at its guest and frees it. */
bool feed_keep(struct arrival *a, const uint8_t *bytes, uint64_t len, struct feeder *f);
/* feed_to() a destination that allows any clock. */
bool feed(const uint8_t *bytes, uint64_t len, struct feeder *f);

/* Fails unless the destination has said @why; @i is the test's case, for the message. */
void assert_answer(const struct feeder *f, const char *why, unsigned int i);

#endif
