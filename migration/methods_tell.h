/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods that say what a VM is and does: Describe, DescribeNic and Metrics. */
#ifndef FERRY_MIGRATION_METHODS_TELL_H
#define FERRY_MIGRATION_METHODS_TELL_H

#include "migration/methods_guest.h"

/* Each answers the call; @opaque is a struct methods. */
void methods_describe_vm(struct control_call *call, void *opaque);
void methods_describe_nic(struct control_call *call, void *opaque);
void methods_metrics(struct control_call *call, void *opaque);

#endif
