/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work on a thread of its own, one at a time: what takes long of a guest's coming, and of its start. */
#ifndef FERRY_VMM_APP_WORK_H
#define FERRY_VMM_APP_WORK_H

#include "vmm/app/app.h"

/* Starts to take @steps, as app_take() does: app->work.done_fd tells of their end. */
int __must_check app_work_begin(struct app *app, int (*const *steps)(struct app *app, struct error *err),
				struct error *err);
/* Waits for the end, and returns how it has ended: once for each begin. */
int __must_check app_work_end(struct app *app, struct error *err);

#endif
