/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's terminal: lent to the guest, key by key, while this process is in its foreground. */
#ifndef FERRY_DEVICES_SERIAL_TERMINAL_H
#define FERRY_DEVICES_SERIAL_TERMINAL_H

#include <signal.h>
#include <stdatomic.h>
#include <termios.h>

#include "vmm/guard.h"
#include "vmm/loop_timer.h"

/* Signals by which a process crashes: the shell behind it wants its terminal back then, too. */
#define TERMINAL_N_CRASHES 5

/* Owned by the caller. All functions on the loop's thread, or before it runs. */
struct terminal {
	struct loop *loop;
	/* The caller's. -1: it is no terminal, and nothing here does anything. */
	int fd;
	bool wanted;        /* the guest is to have it */
	_Atomic bool taken; /* the terminal is raw */
	/* Called when the terminal has become the guest's. */
	void (*got)(struct terminal *t);
	struct termios before; /* as it was found */
	struct loop_source signals;
	struct loop_timer timer;
	struct guard_undo undo;
	/* The signals' actions as they were found. */
	struct sigaction crashes[TERMINAL_N_CRASHES];
};

/*
 * Looks whether @fd is a terminal, and leaves it as it is. Where it is one, SIGTSTP, SIGCONT, SIGTTIN and
 * SIGTTOU are blocked in the caller and in threads that it starts from now on: the first two are taken here,
 * the others would stop the whole process for a question of who may use the terminal. 0, or -errno and there
 * is nothing to close.
 */
int __must_check terminal_open(struct terminal *t, struct loop *loop, int fd,
			       void (*got)(struct terminal *t));

/*
 * Gives the guest every key from here on, Ctrl-C too, whenever this process is in the foreground of the
 * terminal: a background job neither reads it nor changes it, and takes it once it is brought to the
 * foreground. A read() never waits, and returns 0 where nothing was typed.
 */
void terminal_take(struct terminal *t);

/*
 * Whether the terminal's input is the guest's. Lets go of it where the process is in the background by now.
 */
bool terminal_check(struct terminal *t);

/*
 * Gives the terminal back as it was found, unless another job has it. Input that nobody has read is
 * discarded, and with it the terminal's answers to what the guest has asked it for, which would be commands
 * to the shell. Such answers may be under way, so a moment passes, but not much more than half a second.
 */
void terminal_close(struct terminal *t);

#endif
