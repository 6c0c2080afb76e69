/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "run": a guest that boots here. */
#ifndef FERRY_VMM_APP_RUN_H
#define FERRY_VMM_APP_RUN_H

#include "vmm/app/app.h"

/* For app_take(), with app->mem and app->cpus set: when the last step returns 0 the guest runs. */
extern int (*const app_run_steps[])(struct app *app, struct error *err);

#endif
