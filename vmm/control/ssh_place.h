/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A destination behind ssh: "[USER@]HOST[:PORT][/NAME]". */
#ifndef FERRY_VMM_CONTROL_SSH_PLACE_H
#define FERRY_VMM_CONTROL_SSH_PLACE_H

#include "vmm/log.h"

/* Bytes of USER, HOST and PORT, as far as anybody has longer ones. */
#define SSH_PLACE_MAX 512u

/* The parts of "[USER@]HOST[:PORT][/NAME]". */
struct ssh_place {
	char text[SSH_PLACE_MAX]; /* which the others point into */
	const char *user;         /* NULL: as ssh has it */
	const char *host, *port;  /* NULL: as ssh has it */
	const char *name;
};

/* Cuts @place into its parts; @name is that of a place without one, and stays the caller's. -EINVAL with the
 * reason where it has no such form, or no part of it may be given to ssh. */
int __must_check ssh_place_parse(struct ssh_place *s, const char *place, const char *name, struct error *err);

#endif
