/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to the operator, and error texts that travel to whoever can act on them. */
#ifndef FERRY_VMM_LOG_H
#define FERRY_VMM_LOG_H

#include <stdint.h>

#include "vmm/util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped. Set once at start-up, before there are threads. */
extern enum log_level log_level;

/*
 * Writes one line to stderr, "ferry: " in front, in one write(): lines of several threads do not mix, and
 * keep their order. Everything in it that is no plain text (see text.h) is shown as "?", so that a stranger's
 * words in it neither command a terminal nor pass for a message of Ferry's. tests/log-places lists who may
 * use these: whatever can be made to happen again and again from outside goes through log_limited(). Any
 * thread.
 */
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)

/*
 * Opens /dev/null where the process was started without stdin, stdout or stderr: else another file would get
 * that number, and messages and the guest's console with it. Before any other file is opened. 0 or -errno.
 */
int __must_check log_keep_stdio(void);

/*
 * Makes messages wait for nobody from here on: those that find no room, because stderr is not read, are
 * dropped and counted, and a message says how many once there is room again. Before this call, after
 * log_stop() and in the child of a fork() each message is written where it arises, which is for clients and
 * the reading of options. By the process, once, before there are other threads that log. 0 or -errno.
 */
int __must_check log_start(void);
/* Waits until what has been said is written, OUTPUT_LAST_MS at most. Any thread. */
void log_flush(void);
/* Does as log_flush(), and ends the thread. Called when no other thread logs any more. */
void log_stop(void);

/*
 * A limit for messages that a guest, a peer, a device or a client can cause as often as it likes: at most
 * LOG_BURST of them in LOG_INTERVAL_NS, then one that says how many were left out. Starts zeroed. Any thread:
 * those that share a limit may together log a message more.
 */
#define LOG_BURST       5u
#define LOG_INTERVAL_NS 10000000000u

struct log_limit {
	_Atomic uint64_t start_ns;
	_Atomic unsigned int n_logged;
	_Atomic unsigned int n_dropped;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A text that says why something failed, in words for a person: what was being done, to what, what can be
 * done about it. A function that takes one fills it where it finds the fault and does not log; the caller
 * logs it, or sends it to the peer. Starts zeroed. Several faults are joined by "; ", so that a peer learns
 * all reasons at once. Text that does not fit is cut, and ends in "..."; of further reasons their number is
 * told.
 */
#define ERROR_TEXT_MAX 1024u
/* Of several reasons: the rest is for what they become a part of, on their way to a person. */
#define ERROR_LIST_MAX 896u

struct error {
	char text[ERROR_TEXT_MAX];
	unsigned int n_left_out; /* reasons that had no place */
};

/* Appends one reason to @err; the caller returns its own error code. */
void error_add(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
