/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the NIC in software, and its events: kicks, packets, timers, changes of the port. The device's
 * thread calls all functions, apart from the first two. The owner of an event decides what comes of it: a
 * ring that its driver has broken stops the device until a reset, and a port that fails is asked for its
 * state and let alone for a moment.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_LIFE_H
#define FERRY_DEVICES_VDPA_SOFT_LIFE_H

#include "devices/vdpa/soft/device.h"

/*
 * Sets the handlers of all events, and watches those that come at any time. Called before the thread runs.
 * Returns 0 or -errno; then soft_life_end() releases what was taken.
 */
int __must_check soft_life_begin(struct soft *soft);
/*
 * Stops all queues and timers. Called when the thread does not run any more, or has never run; also where
 * soft_life_begin() was not called.
 */
void soft_life_end(struct soft *soft);

/*
 * Does what DRIVER_OK asks for: every queue that is set up and enabled is served. Returns 0, or -errno with
 * the reason in @err; then the device is not started.
 */
int __must_check soft_start(struct soft *soft, struct error *err);
/* Forgets the driver. Mappings stay. */
void soft_reset(struct soft *soft);

/* Stops serving: afterwards nothing is in flight, and the device leaves memory alone. */
void soft_suspend(struct soft *soft);
/* Goes on, also with rings that were set meanwhile. Returns 0, or -errno with the reason in @err. */
int __must_check soft_resume(struct soft *soft, struct error *err);

/* Serves a queue, if it may be served now. */
void soft_serve(struct soft *soft, struct soft_queue *q);

/* Have a queue served from now on, or not. Returns 0, or -errno with the reason in @err. */
int __must_check soft_enable(struct soft *soft, struct soft_queue *q, struct error *err);
void soft_disable(struct soft *soft, struct soft_queue *q);

/*
 * Called after something was unmapped: stops every queue whose ring is not mapped any more, because rings are
 * reached by their host addresses.
 */
void soft_check_rings(struct soft *soft);

#endif
