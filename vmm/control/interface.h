/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both ends of the control socket know of each other beside the framing: names of errors, limits, and
 * what holds where a call says nothing. */
#ifndef FERRY_VMM_CONTROL_INTERFACE_H
#define FERRY_VMM_CONTROL_INTERFACE_H

#include <stdint.h>

/* The downtime that a migration aims at, unless told otherwise, and the most that can be asked for. */
#define CLIENT_DOWNTIME_MS     300u
#define CLIENT_DOWNTIME_MAX_MS 60000u

/* The bandwidth that a migration can be limited to, bytes a second (0: it is not): one piece of memory, and
 * more than there is. The time that it can be given, which nobody waits longer than. */
#define CLIENT_BANDWIDTH_MIN  1048576u
#define CLIENT_BANDWIDTH_MAX  (UINT64_C(1) << 40)
#define CLIENT_TIMEOUT_MAX_MS 604800000u

/* A call that is no call, or whose parameters cannot be; nothing was done for it. */
#define CLIENT_ERROR_CALL      "org.ferry.InvalidCall"
#define CLIENT_ERROR_PARAMETER "org.varlink.service.InvalidParameter"
/* The client is neither our own user nor root. */
#define CLIENT_ERROR_DENIED "org.varlink.service.PermissionDenied"
/* No place, descriptor or memory for the call now; the same call may succeed later. */
#define CLIENT_ERROR_BUSY "org.ferry.Busy"
/* There is no guest yet that the call could be for. */
#define CLIENT_ERROR_NOT_RUNNING "org.ferry.NotRunning"
/* A migration has failed, and the guest goes on where it was. */
#define CLIENT_ERROR_FAILED "org.ferry.MigrationFailed"
/* A migration has ended so that only the operator can know where the guest is; here it is paused. */
#define CLIENT_ERROR_UNKNOWN "org.ferry.OutcomeUnknown"
/* No migration is under way. */
#define CLIENT_ERROR_NONE "org.ferry.NoMigration"

#endif
