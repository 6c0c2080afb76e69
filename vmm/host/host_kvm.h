/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this host's CPU and kernel can run a guest. */
#ifndef FERRY_VMM_HOST_HOST_KVM_H
#define FERRY_VMM_HOST_HOST_KVM_H

#include "vmm/host/host_look.h"

/* Adds "kvm", and where a guest could run "paging" and "cpu"; sets the CPU among the facts. */
void host_kvm_check(struct host_report *r, const struct host_look *look);

#endif
