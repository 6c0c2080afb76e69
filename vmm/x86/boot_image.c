/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel's file, what it asks for, and the guest's memory map. */
#include "vmm/x86/boot_image.h"

#include <errno.h>

#include "vmm/x86/layout.h"

unsigned int boot_map(const struct memory *m, struct boot_range map[BOOT_N_MAP])
{
	map[0] = (struct boot_range){ 0, BOOT_LOW_END, BOOT_RAM };
	map[1] = (struct boot_range){ LAYOUT_ACPI, LAYOUT_ACPI_END - LAYOUT_ACPI, BOOT_RESERVED };
	map[2] = (struct boot_range){ LAYOUT_KERNEL, m->regions[0].len - LAYOUT_KERNEL, BOOT_RAM };
	if (m->n_regions == 1)
		return 3;
	map[3] = (struct boot_range){ m->regions[1].gpa, m->regions[1].len, BOOT_RAM };
	return 4;
}

int boot_refuse(const struct boot_kernel *k, struct error *err, const char *why)
{
	error_add(err, "the kernel \"%s\" %s", k->file.path, why);
	return -EINVAL;
}

bool boot_in_file(const struct boot_kernel *k, uint64_t offset, uint64_t len)
{
	return offset <= k->file.size && len <= k->file.size - offset;
}

int boot_add_segment(struct boot_kernel *k, uint64_t offset, uint64_t len, uint64_t gpa, uint64_t space,
		     struct error *err)
{
	if (gpa < LAYOUT_KERNEL || gpa > MEMORY_LOW_MAX || space > MEMORY_LOW_MAX - gpa) {
		error_add(err,
			  "the kernel \"%s\" wants to be at 0x%llx with 0x%llx bytes; possible is 0x%x "
			  "to 0x%llx",
			  k->file.path, (unsigned long long)gpa, (unsigned long long)space, LAYOUT_KERNEL,
			  (unsigned long long)MEMORY_LOW_MAX);
		return -EINVAL;
	}
	if (len > space || !boot_in_file(k, offset, len))
		return boot_refuse(k, err, "is cut short or damaged: a segment reaches beyond the file");
	if (k->n_segments == BOOT_MAX_SEGMENTS)
		return boot_refuse(k, err, "has too many segments");
	k->segments[k->n_segments++] = (struct boot_segment){ .offset = offset, .len = len, .gpa = gpa };
	k->end = max_u64(k->end, gpa + space);
	return 0;
}
