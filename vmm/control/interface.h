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

/* The highest number of a queue that can be asked for: no NIC has as many. */
#define CLIENT_QUEUE_MAX 65535u

/*
 * Ferry's own interface, vmm/control/ferry.varlink. Varlink's names begin with a domain of whoever defines
 * them; "alt" is the one top level that DNS never has (RFC 9476), so this name is nobody's.
 */
#define CLIENT_INTERFACE    "alt.ferry"
#define CLIENT_METHOD(name) CLIENT_INTERFACE "." name

/* A machine as systemd's tools know it, vmm/control/instance.varlink. */
#define MACHINE_METHOD(name) "io.systemd.MachineInstance." name

/* Varlink's own interface, vmm/control/service.varlink. The comment says what an error's parameters are. */
#define SERVICE_INTERFACE             "org.varlink.service"
#define SERVICE_ERROR_NO_INTERFACE    SERVICE_INTERFACE ".InterfaceNotFound"    /* interface */
#define SERVICE_ERROR_NO_METHOD       SERVICE_INTERFACE ".MethodNotFound"       /* method */
#define SERVICE_ERROR_NOT_IMPLEMENTED SERVICE_INTERFACE ".MethodNotImplemented" /* method */
#define SERVICE_ERROR_PARAMETER       SERVICE_INTERFACE ".InvalidParameter"     /* parameter */
#define SERVICE_ERROR_MORE            SERVICE_INTERFACE ".ExpectedMore"
/* The client is neither our own user nor root. */
#define SERVICE_ERROR_DENIED SERVICE_INTERFACE ".PermissionDenied"

/* What follows comes with a reason in words. */

/* A call that is no call, or asks for nothing. */
#define CLIENT_ERROR_CALL CLIENT_METHOD("InvalidCall")
/* The connection that the call is about has not come with it, or is none. */
#define CLIENT_ERROR_CONNECTION CLIENT_METHOD("NoConnection")
/* No place, descriptor or memory for the call now, or something else is under way; the same call may succeed
 * later. */
#define CLIENT_ERROR_BUSY CLIENT_METHOD("Busy")
/* There is no guest yet that the call could be for. */
#define CLIENT_ERROR_NOT_RUNNING CLIENT_METHOD("NotRunning")
/* A migration has failed, and the guest goes on where it was. */
#define CLIENT_ERROR_FAILED CLIENT_METHOD("MigrationFailed")
/* A migration has ended so that only the operator can know where the guest is; here it is paused. */
#define CLIENT_ERROR_UNKNOWN CLIENT_METHOD("OutcomeUnknown")
/* The guest has none of what the call is about: a NIC. */
#define CLIENT_ERROR_NO_NIC CLIENT_METHOD("NoNic")
/* No migration is under way. */
#define CLIENT_ERROR_NONE CLIENT_METHOD("NoMigration")
/* The guest runs: there is nothing to resume. */
#define CLIENT_ERROR_NOT_PAUSED CLIENT_METHOD("NotPaused")
/* The guest cannot go on here, and stays paused. */
#define CLIENT_ERROR_RESUME CLIENT_METHOD("ResumeFailed")

#endif
