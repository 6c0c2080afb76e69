/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "receive": a guest that comes from a source. */
#ifndef FERRY_VMM_APP_RECEIVE_H
#define FERRY_VMM_APP_RECEIVE_H

#include "vmm/app/app.h"

/* For app_take(): sources are waited for and answered, and when the last step returns 0 a guest runs here. */
extern int (*const app_receive_steps[])(struct app *app, struct error *err);

#endif
