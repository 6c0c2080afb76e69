/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work for a guest that comes, on a thread of its own: what takes longer the larger the guest is. */
#ifndef FERRY_VMM_APP_WORK_H
#define FERRY_VMM_APP_WORK_H

#include "vmm/app/app.h"

/* Starts it: app->work.done_fd tells of its end. */
int __must_check app_work_begin(struct app *app, struct error *err);
/* Waits for its end, and returns how it has ended: once for each begin. @opaque is the app. */
int __must_check app_work_end(void *opaque, struct error *err);

#endif
