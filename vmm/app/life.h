/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the process that has a VM. */
#ifndef FERRY_VMM_APP_LIFE_H
#define FERRY_VMM_APP_LIFE_H

#include "vmm/app/app.h"

/* Takes @steps, stays with the guest until it ends, and takes all down. Returns the exit code, or ends by the
 * signal that ended the guest. */
int app_main(struct app *app, int (*const *steps)(struct app *app, struct error *err));

#endif
