/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pseudo terminal of the serial port's: whoever opens its other end, as a terminal program does, is at the
 * guest's line. Several at once share it, as they would share a cable.
 */
#ifndef FERRY_DEVICES_SERIAL_PTY_H
#define FERRY_DEVICES_SERIAL_PTY_H

#include "vmm/log.h"

/* Owned by the caller. All functions on the loop's thread, or before it runs. */
struct serial_pty {
	/* The other end, which is never closed here: so nobody's leaving ends the line. -1: there is none. */
	int slave;
	char name[32]; /* its path */
};

/*
 * Makes a pseudo terminal that passes each byte as it is, and that nobody opens but this user and root. Gives
 * two descriptors of Ferry's end, the caller's, which do not block. 0 or -errno, with the reason; then
 * there is nothing to close.
 */
int __must_check serial_pty_open(struct serial_pty *pty, int fds[2], struct error *err);

/* Waits for who reads the last words there, until @until_ns (now_ns()) at most, and closes the other end. A
 * second call does nothing. */
void serial_pty_close(struct serial_pty *pty, uint64_t until_ns);

#endif
