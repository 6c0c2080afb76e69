/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's reports for a person: how far it is, in one line, and how it has ended. On the client's
 * thread. */
#ifndef FERRY_VMM_CONTROL_FOLLOW_H
#define FERRY_VMM_CONTROL_FOLLOW_H

#include <stdio.h>

#include "vmm/control/client.h"

/* The longest line of progress with its NUL: all numbers as large as they get. */
#define FOLLOW_LINE_MAX 256u

/* Where progress goes. */
struct follow {
	FILE *out;
	/* Whose progress it is, in front of each line; NULL where there is one VM only. */
	const char *name;
	bool live;  /* to a terminal: the line is written over again and again */
	bool shown; /* there is such a line now */
	/* When a line was written last, see now_ns(); 0: none was. */
	uint64_t last_ns;
	/* A line that came too soon after the last, "" if none did: the latest. */
	char pending[FOLLOW_LINE_MAX];
};

/* @out stays the caller's. */
void follow_begin(struct follow *f, FILE *out);

/* Tells how far a migration is. @report: a JSON object as migration/report.c writes it, from a stranger. To a
 * terminal one live line, else a line a second at the most: the latest of
 * those that came sooner is written by the next call, or follow_replies(). */
void follow_progress(struct follow *f, const char *report);

/*
 * Receives the replies to a call that was sent to @c, tells of each intermediate one, whose report is itself
 * or the member "report", and clears. Returns 0 or -errno as control_receive() does for the last.
 */
int __must_check follow_replies(struct follow *f, struct control_client *c, const char **parameters,
				struct error *err);

/* Writes the latest line that came too soon after the last, if its time has come. */
void follow_flush(struct follow *f);

/* Takes the live line away. Other lines may be written after that, and more progress. */
void follow_clear(struct follow *f);

/* Writes how a migration has ended, of @report's state: in one line, and where it has moved with the parts of
 * its downtime. */
void follow_summary(FILE *out, const char *report);

/* Finds the object @name in @object, and copies its text; false where there is none, or it does not fit. */
bool follow_object(const char *object, const char *name, char *buf, size_t size);

#endif
