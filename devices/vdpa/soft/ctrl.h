/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands of the NIC in software (virtio 1.4, "Control Virtqueue"). Adding one is a row of the table
 * in ctrl.c, and a function. */
#ifndef FERRY_DEVICES_VDPA_SOFT_CTRL_H
#define FERRY_DEVICES_VDPA_SOFT_CTRL_H

#include "devices/vdpa/soft/device.h"

/* Forgets commands and answers of the driver before. */
void soft_ctrl_reset(struct soft *soft);
/* Does all commands that are in the ring of @q, the control queue, which is served; the ring may be broken
 * then. Answers are given at once, or by @answer_timer where they are to be late. */
void soft_ctrl_serve(struct soft *soft, struct soft_queue *q);
/* Gives the answers that are held back. */
void soft_ctrl_flush(struct soft *soft);

#endif
