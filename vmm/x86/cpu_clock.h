/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM's clock and the vCPUs' TSCs across a migration, in step with each other. vCPUs are stopped. */
#ifndef FERRY_VMM_X86_CPU_CLOCK_H
#define FERRY_VMM_X86_CPU_CLOCK_H

#include "vmm/util.h"

struct cpu_model;
struct error;
struct state_node;
struct state_writer;
struct vcpu;

/* Save and load "tsc-offset" of one vCPU. Loading only notes it for cpu_clock_load(). */
int __must_check cpu_clock_save_tsc(const struct vcpu *vcpu, struct state_writer *w, struct error *err);
int __must_check cpu_clock_load_tsc(struct cpu_model *model, const struct vcpu *vcpu,
				    struct state_node *node);

/* Save and load "clock", "realtime" and "host-tsc" of the VM. Loading comes last, when all else of @vcpus,
 * all vCPUs of the model, has been loaded: the clock runs from there on. */
int __must_check cpu_clock_save(const struct cpu_model *model, struct state_writer *w, struct error *err);
int __must_check cpu_clock_load(const struct cpu_model *model, const struct vcpu *vcpus,
				struct state_node *node);

#endif
