/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's terminal: lent to the guest, key by key, while this process is in its foreground. */
#ifndef FERRY_DEVICES_SERIAL_TERMINAL_H
#define FERRY_DEVICES_SERIAL_TERMINAL_H

#include <signal.h>
#include <stdatomic.h>
#include <termios.h>

#include "vmm/guard.h"
#include "vmm/loop_timer.h"

/* Signals of a crash: a shell behind a crashed program wants its terminal back, too. */
#define TERMINAL_N_CRASHES 5

/* Owned by the caller. All functions on the loop's thread, or before it runs. */
struct terminal {
	struct loop *loop;
	/* The caller's. -1: it is no terminal, and nothing here does anything. */
	int fd;
	bool wanted;
	_Atomic bool taken;
	/* @taken has become true. */
	void (*got)(struct terminal *t);
	struct termios before; /* how it was found */
	struct loop_source signals;
	struct loop_timer timer;
	struct guard_undo undo;
	struct sigaction crashes[TERMINAL_N_CRASHES]; /* what was done about them before */
};

/*
 * @fd may be a terminal or not. Where it is one, SIGTSTP, SIGCONT, SIGTTIN and SIGTTOU are blocked in the
 * caller and in threads that it starts from now on: the first two are taken here, the others would stop the
 * whole process for a question of who may use the terminal. 0 or -errno, then there is nothing to close.
 */
int __must_check terminal_open(struct terminal *t, struct loop *loop, int fd,
			       void (*got)(struct terminal *t));

/*
 * From here on every key is the guest's, Ctrl-C too, whenever this process is in the foreground of the
 * terminal: a background job neither reads it nor changes it, and takes it once it is brought to the
 * foreground. Reading it never waits; that nothing is there reads as 0 bytes.
 */
void terminal_take(struct terminal *t);

/* Whether the terminal's input is the guest's. Ends that where the process is in the background by now. */
bool terminal_check(struct terminal *t);

/*
 * Gives the terminal back as it was found, unless another job has it. What was typed and not read is
 * discarded, and with it the terminal's answers to what the guest has asked it for: they would be commands to
 * the shell. Those may be under way, so a moment passes, but not much more than half a second.
 */
void terminal_close(struct terminal *t);

#endif
