/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods that clients of a VM's control socket can call: to bring a source, to migrate the guest, to
 * watch, change or call off the migration, to resume the guest, and to ask how it and its devices are. */
#ifndef FERRY_MIGRATION_METHODS_H
#define FERRY_MIGRATION_METHODS_H

#include "migration/methods_guest.h"
#include "vmm/control/service.h"

/* Ferry's own interface, vmm/control/ferry.varlink. What its methods work on is a struct methods. */
extern const struct control_interface methods_interface;

#endif
