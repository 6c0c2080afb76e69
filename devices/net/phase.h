/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The phases of a NIC's life. The NIC's thread owns the phase. phase.c has the table of steps, and a step
 * that is not in the table is a fault of Ferry's own, which asserts.
 *
 *	OFF -> SHADOW, OFF -> PASS   the guest's driver comes to DRIVER_OK
 *	OFF -> WARM -> STILL         warm_load and load, at a destination
 *	SHADOW <-> PASS              over to passthrough and back
 *	SHADOW <-> STILL             pause and resume
 *	any -> BROKEN                the device or the driver broke the rules
 *	any -> OFF                   the driver's reset, or release
 */
#ifndef FERRY_DEVICES_NET_PHASE_H
#define FERRY_DEVICES_NET_PHASE_H

#include "vmm/log.h"

enum net_phase {
	/*
	 * No driver of a guest's is at DRIVER_OK, and the device is reset.
	 *
	 * May be called: describe, accept, warm_load, load, driver_ok; pause and resume do nothing.
	 * Left by: driver_ok; a warm_load or load that names a driver.
	 */
	NET_PHASE_OFF,

	/*
	 * A destination ahead of its guest. The device runs on empty shadow rings with scratch buffers, and
	 * has been told what the guest's driver has set. Guest memory is left alone.
	 *
	 * May be called: warm_load, load, release.
	 * Left by: load; a warm_load without a driver, or release; a device that breaks the rules.
	 */
	NET_PHASE_WARM,

	/*
	 * Ferry serves the guest's data queues through shadow rings.
	 *
	 * May be called: everything of the driver's; describe, track, untrack, warm_save, pause.
	 * Left by: pause; passthrough, where none of enum net_pin forbids it; the driver's reset; a fault.
	 */
	NET_PHASE_SHADOW,

	/*
	 * The device serves the guest's data queues itself. There are no shadow rings for them, and Ferry
	 * leaves the guest's rings alone.
	 *
	 * May be called: everything of the driver's; describe, track. Not pause: track comes before it.
	 * Left by: track, or the reset of one ring, both to shadow rings; the driver's reset; a fault.
	 */
	NET_PHASE_PASS,

	/*
	 * Shadow rings, and guest memory is left alone: a source that is paused, or a destination that has
	 * the guest's rings and is to serve them from resume on.
	 *
	 * May be called: save, as often as one likes; resume, release.
	 * Left by: resume, release; a device that breaks the rules.
	 */
	NET_PHASE_STILL,

	/*
	 * The device or the driver broke the rules. The device is reset, its shadow rings stay in memory, and
	 * the driver has been asked for a reset. Control commands alone are answered, with an error: Linux
	 * spins until each is.
	 *
	 * May be called: everything. pause and resume stop and go on with the answers.
	 * Left by: the driver's reset, release, a warm_load without a driver.
	 */
	NET_PHASE_BROKEN,
};

/* Steps of a NIC from phase to phase. */
enum net_step {
	NET_STEP_WARM,   /* its device has been started, no guest yet */
	NET_STEP_SHADOW, /* its device has shadow rings */
	NET_STEP_PASS,   /* its device has the guest's rings */
	NET_STEP_ARRIVE, /* the guest's rings are here */
	NET_STEP_PAUSE,
	NET_STEP_RESUME,
	NET_STEP_BREAK,
	NET_STEP_END, /* the driver, or the guest, is gone */
};

/* Takes @step, which the table has. A line at debug level, for the NIC called @name, says where it leads to
 * another phase. */
void net_phase_step(enum net_phase *phase, enum net_step step, const char *name, struct log_limit *limit);

/* Returns the phase that @step leads to from @from, or -1 where there is no such step. */
int net_phase_after(enum net_phase from, enum net_step step);

#endif
