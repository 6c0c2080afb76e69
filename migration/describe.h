/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VM is, for a client of the control socket. Any thread. */
#ifndef FERRY_MIGRATION_DESCRIBE_H
#define FERRY_MIGRATION_DESCRIBE_H

#include "vmm/config.h"
#include "vmm/vm.h"

/* Writes the answer to the method Describe as a JSON object. @vm is NULL while there is no guest; @config
 * does not change while it is asked. What does not fit @size bytes, which are at least 16 KiB, is cut: paths,
 * first of all. */
void describe_vm(const struct vm_config *config, const struct vm *vm, const char *state, char *text,
		 size_t size);

#endif
