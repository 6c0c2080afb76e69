/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A man in the middle of a migration: passes frames on, records them, and hangs up where a test wants it. */
#ifndef FERRY_TESTS_FAKE_PROXY_H
#define FERRY_TESTS_FAKE_PROXY_H

#include <pthread.h>

#include "migration/stream.h"

enum proxy_cut {
	PROXY_BEFORE, /* nothing of the frame is passed on */
	PROXY_IN_HEADER,
	PROXY_IN_PAYLOAD,
	PROXY_AFTER, /* all of it */
	PROXY_N_CUTS,
};

struct proxy {
	const char *listen, *to; /* paths */
	int type;                /* of the frame at which to hang up, its first; 0: none */
	enum proxy_cut cut;

	/* What was passed on from the source, and where its frames begin. */
	uint8_t *recorded;
	uint64_t n_recorded;
	uint64_t frames[4096];
	unsigned int n_frames;
	bool reached; /* the frame came */

	pthread_t threads[2];
	int listen_fd, fds[2];
};

/* Listens when it returns; connects to @to when the source has come. */
void proxy_start(struct proxy *p);
/* After both ends have gone. */
void proxy_join(struct proxy *p);
void proxy_free(struct proxy *p);

#endif
