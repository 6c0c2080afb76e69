/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of the NIC in software, and its events: kicks, packets, timers, changes of the port. Everything
 * here is called on the device's thread, apart from what says otherwise. The owner of an event decides what
 * comes of it: a ring that its driver has broken stops the device until a reset, a port that fails is looked
 * at and let alone for a moment.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_LIFE_H
#define FERRY_DEVICES_VDPA_SOFT_LIFE_H

#include "devices/vdpa/soft/device.h"

/* Sets the handlers of all events and watches those that come at any time. Before the thread runs. 0 or
 * -errno. */
int __must_check soft_life_begin(struct soft *soft);
/* Stops it and releases what soft_life_begin() has taken. When the thread runs no more, also where
 * soft_life_begin() was not called. */
void soft_life_end(struct soft *soft);

/* DRIVER_OK: the state that the specification gives a device, then every queue that is set up and enabled is
 * served. 0, or -errno with the reason in @err: then nothing is. */
int __must_check soft_start(struct soft *soft, struct error *err);
/* Forgets the driver. What is mapped stays. */
void soft_reset(struct soft *soft);

/* Nothing is in flight any more, and memory is left alone. */
void soft_suspend(struct soft *soft);
/* Goes on, with rings that were set meanwhile. 0, or -errno with the reason in @err. */
int __must_check soft_resume(struct soft *soft, struct error *err);

/* A queue is served from now on, or not. 0, or -errno with the reason in @err. */
int __must_check soft_enable(struct soft *soft, struct soft_queue *q, struct error *err);
void soft_disable(struct soft *soft, struct soft_queue *q);

/* Something was unmapped: stops queues whose rings are not mapped any more, as rings are reached by their
 * host addresses. */
void soft_check_rings(struct soft *soft);

#endif
