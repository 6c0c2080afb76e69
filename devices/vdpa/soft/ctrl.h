/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control commands of the NIC in software (virtio 1.4, "Control Virtqueue"). To add one, add a row to the
 * table in ctrl.c, and a function. The device's thread calls.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_CTRL_H
#define FERRY_DEVICES_VDPA_SOFT_CTRL_H

#include "devices/vdpa/soft/device.h"

/* Forgets the commands and answers of an earlier driver. */
void soft_ctrl_reset(struct soft *soft);
/*
 * Does all commands in the ring of @q, the control queue, which is served. Answers are given at once;
 * faults.delay_ms arms answer_timer instead. The ring may be broken afterwards, which is for the caller to
 * look at.
 */
void soft_ctrl_serve(struct soft *soft, struct soft_queue *q);
/* Gives the answers that are held back, if the control queue is live; else forgets them. */
void soft_ctrl_flush(struct soft *soft);

#endif
