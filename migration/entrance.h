/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways in to a destination: its door, and calls of the control socket that bring a connection. */
#ifndef FERRY_MIGRATION_ENTRANCE_H
#define FERRY_MIGRATION_ENTRANCE_H

#include "migration/arrivals.h"
#include "vmm/control/call.h"
#include "vmm/door.h"
#include "vmm/tls/door.h"

struct entrance {
	struct arrivals arrivals;
	/* Forked by the owner, or @fd is -1: then calls are the only way. */
	struct door door;
	struct tls_door tls_door;
	struct log_limit limit;
};

/* Makes the arrivals of @e, closed for @reason. entrance_exit() ends all, after the last call; it does
 * nothing for one whose door is closed and whose arrivals.event_fd is -1. */
int __must_check entrance_init(struct entrance *e, const char *reason, struct error *err);
void entrance_exit(struct entrance *e);

/* Lets connections to the unix socket @path in, see door_open(). A door whose process ends breaks the
 * arrivals: nothing would say to the sources why nobody answers. */
int __must_check entrance_open(struct entrance *e, const char *path, uid_t peer_uid, struct guard *guard,
			       struct error *err);

/* The same, for sources that come over TLS to @place, see struct tls_door_config, and have @peer among their
 * names. */
int __must_check entrance_open_tls(struct entrance *e, const char *place, const char *dir, const char *peer,
				   struct error *err);

/* Closes both doors, as far as they are open. What has come stays among the arrivals. */
void entrance_close_doors(struct entrance *e);

/* The method "Connect": puts the connection that comes with the call among the arrivals, and answers when it
 * has ended. The call's thread. */
void entrance_connect(struct entrance *e, struct control_call *call);

#endif
