/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ferrys of other versions: see the header. */
#define _GNU_SOURCE
#include "tests/fault/versions.h"

#include <libfdt.h>
#include <string.h>

#include "vmm/state.h"

/* Whether the tree has a list of what is optional. Of such a name a tree has one copy, with its NUL. */
static bool version_has_optional(const uint8_t *tree)
{
	return memmem(tree + fdt_off_dt_strings(tree), fdt_size_dt_strings(tree), STATE_OPTIONAL,
		      sizeof(STATE_OPTIONAL));
}

static bool version_is_newer(const uint8_t *frame)
{
	const uint8_t *payload = frame + sizeof(struct stream_header);

	switch (get_le32(frame)) {
	case STREAM_HELLO:
	case STREAM_WARM:
	case STREAM_STATE:
		return version_has_optional(payload);
	case STREAM_READY:
		return get_le32(frame + 4) > 0;
	default:
		return get_le32(frame) > STREAM_RUNNING;
	}
}

void version_1(struct link *l, enum link_way way, uint8_t *frame)
{
	if (version_is_newer(frame))
		l->newer = (int)get_le32(frame);
	if (get_le32(frame) == STREAM_HELLO)
		fdt_set_boot_cpuid_phys(frame + sizeof(struct stream_header), 0);
}

void version_of_a_later_source(struct link *l, enum link_way way, uint8_t *frame)
{
	if (get_le32(frame) != STREAM_HELLO)
		return;
	put_le64(frame + 8, STREAM_NEWEST + 1);
	fdt_set_boot_cpuid_phys(frame + sizeof(struct stream_header), STREAM_NEWEST + 1 + l->ms % 2);
}

void version_of_a_later_destination(struct link *l, enum link_way way, uint8_t *frame)
{
	if (get_le32(frame) == STREAM_READY)
		put_le32(frame + sizeof(struct stream_header), STREAM_NEWEST + 1 + l->ms % 2);
}
