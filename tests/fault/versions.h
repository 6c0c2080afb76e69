/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ferrys of other versions: what one of them says in the place of ours. */
#ifndef FERRY_TESTS_FAULT_VERSIONS_H
#define FERRY_TESTS_FAULT_VERSIONS_H

#include "tests/fault/link.h"

/* For struct link's @edit. */

/* One end speaks version 1 alone, whichever: a HELLO without a range, and nothing that is newer may follow.
 */
void version_1(struct link *l, enum link_way way, uint8_t *frame);
/* The source speaks versions that are still to come, and none of today's. */
void version_of_a_later_source(struct link *l, enum link_way way, uint8_t *frame);
/* The destination answers in a version that is still to come. */
void version_of_a_later_destination(struct link *l, enum link_way way, uint8_t *frame);

#endif
