/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM without KVM, for guests that migrate and reset: the log of what its vCPUs write. */
#ifndef FERRY_TESTS_FAULT_NIC_VM_H
#define FERRY_TESTS_FAULT_NIC_VM_H

#include "tests/fake/vm.h"

/* The guest has written [gpa, gpa + len), as KVM would log it; after the write. The guest's thread. */
void nic_vm_wrote(struct vm *vm, uint64_t gpa, uint64_t len);

#endif
