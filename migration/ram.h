/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pass over memory: what is marked goes out, pages of zeros as numbers; and its other end. */
#ifndef FERRY_MIGRATION_RAM_H
#define FERRY_MIGRATION_RAM_H

#include "migration/dirty.h"
#include "migration/report.h"
#include "migration/stream.h"

/* Sends everything that is marked, once. Counts into the report. */
int __must_check ram_send(struct stream *s, struct dirty *d, struct report *report, struct error *err);

/* Takes one RAM or ZERO frame whose header has been received straight into guest memory. Addresses and
 * lengths are checked. */
int __must_check ram_receive(struct stream *s, const struct stream_frame *frame, struct memory *m,
			     struct error *err);

#endif
