/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What shells complete Ferry's command line with, written from the table of options. */
#ifndef FERRY_VMM_COMPLETION_H
#define FERRY_VMM_COMPLETION_H

#include <stdio.h>

#include "vmm/log.h"

/* Prints the completions for the shell of that name; -EINVAL with the reason if there are none for it. */
int __must_check completion_print(FILE *out, const char *shell, struct error *err);

#endif
