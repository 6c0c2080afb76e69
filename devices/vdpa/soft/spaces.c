/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory map of the NIC in software: see the header. */
#include "devices/vdpa/soft/spaces.h"

#include <errno.h>
#include <inttypes.h>

void soft_spaces_reset(struct soft_spaces *s)
{
	memset(s->of_group, 0, sizeof(s->of_group));
}

int soft_spaces_set_group(struct soft_spaces *s, const char *name, unsigned int group, uint64_t asid,
			  struct error *err)
{
	if (group >= SOFT_N_GROUPS || asid >= SOFT_N_SPACES) {
		error_add(err, "%s: there is no group %u, or no address space %" PRIu64, name, group, asid);
		return -EINVAL;
	}
	s->of_group[group] = (unsigned int)asid;
	return 0;
}

struct memory *soft_spaces_memory(struct soft_spaces *s, unsigned int group)
{
	return &s->spaces[s->of_group[group]];
}

/* Maps one region. Returns NULL, or why it cannot be mapped. */
static const char *soft_map_one(struct soft_spaces *s, const struct vdpa_region *r)
{
	struct memory *space;

	if (r->asid >= SOFT_N_SPACES)
		return "there is no such address space";
	if (r->len == 0 || r->iova + r->len - 1 < r->iova)
		return "that is not a range of addresses";
	space = &s->spaces[r->asid];
	for (unsigned int i = 0; i < space->n_regions; i++) {
		const struct memory_region *other = &space->regions[i];

		if (r->iova < other->gpa + other->len && other->gpa < r->iova + r->len)
			return "something is mapped there already";
	}
	if (space->n_regions == MEMORY_MAX_REGIONS)
		return "the device takes no more regions";
	space->regions[space->n_regions++] =
		(struct memory_region){ .gpa = r->iova, .len = r->len, .hva = r->hva };
	return NULL;
}

int soft_spaces_map(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
		    unsigned int n, struct error *err)
{
	unsigned int before[SOFT_N_SPACES];

	for (unsigned int i = 0; i < SOFT_N_SPACES; i++)
		before[i] = s->spaces[i].n_regions;
	for (unsigned int i = 0; i < n; i++) {
		const struct vdpa_region *r = &regions[i];
		const char *why = soft_map_one(s, r);

		if (!why)
			continue;
		for (unsigned int k = 0; k < SOFT_N_SPACES; k++)
			s->spaces[k].n_regions = before[k];
		error_add(err,
			  "%s: cannot map %" PRIu64 " bytes at 0x%" PRIx64 " (address space %" PRIu64 "): %s",
			  name, r->len, r->iova, r->asid, why);
		return -EINVAL;
	}
	return 0;
}

static bool soft_unmap_one(struct soft_spaces *s, const struct vdpa_region *r)
{
	struct memory *space;

	if (r->asid >= SOFT_N_SPACES)
		return false;
	space = &s->spaces[r->asid];
	for (unsigned int i = 0; i < space->n_regions; i++) {
		if (space->regions[i].gpa != r->iova || space->regions[i].len != r->len)
			continue;
		space->regions[i] = space->regions[--space->n_regions];
		return true;
	}
	return false;
}

int soft_spaces_unmap(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
		      unsigned int n, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (!soft_unmap_one(s, &regions[i])) {
			error_add(err, "%s: nothing is mapped at 0x%" PRIx64, name, regions[i].iova);
			ret = -ENOENT;
		}
	}
	return ret;
}
