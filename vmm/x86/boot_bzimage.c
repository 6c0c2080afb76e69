/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bzImage by the 64-bit boot protocol: Documentation/arch/x86/boot.rst. */
#include "vmm/x86/boot_bzimage.h"

#include <errno.h>

#include "vmm/x86/layout.h"

enum {
	BOOT_E820_ENTRIES = 0x1e8,
	BOOT_SETUP_HEADER = 0x1f1,
	BOOT_SETUP_SECTS = 0x1f1,
	BOOT_SYSSIZE = 0x1f4,
	BOOT_FLAG = 0x1fe,
	BOOT_JUMP_LEN = 0x201,
	BOOT_HEADER = 0x202,
	BOOT_VERSION = 0x206,
	BOOT_TYPE_OF_LOADER = 0x210,
	BOOT_LOADFLAGS = 0x211,
	BOOT_RAMDISK_IMAGE = 0x218,
	BOOT_RAMDISK_SIZE = 0x21c,
	BOOT_CMD_LINE_PTR = 0x228,
	BOOT_INITRD_ADDR_MAX = 0x22c,
	BOOT_XLOADFLAGS = 0x236,
	BOOT_CMDLINE_SIZE = 0x238,
	BOOT_PREF_ADDRESS = 0x258,
	BOOT_INIT_SIZE = 0x260,
	BOOT_HEADER_MIN_END = 0x264, /* Of version 2.12. */
	BOOT_HEADER_MAX_END = 0x290,

	/* Fields of boot_params alone. */
	BOOT_ACPI_RSDP_ADDR = 0x070,
	BOOT_E820_TABLE = 0x2d0,
	BOOT_E820_ENTRY_LEN = 20,
};

#define BOOT_LOADED_HIGH   0x01u
#define BOOT_XLF_KERNEL_64 0x0001u
#define BOOT_MIN_VERSION   0x020cu
#define BOOT_ENTRY_64      0x200u

static bool boot_bzimage_match(const struct boot_kernel *k)
{
	return get_le16(k->head + BOOT_FLAG) == 0xaa55 && memcmp(k->head + BOOT_HEADER, "HdrS", 4) == 0;
}

static int boot_bzimage_plan(struct boot_kernel *k, struct error *err)
{
	const uint8_t *h = k->head;
	unsigned int setup_sects = h[BOOT_SETUP_SECTS] ? h[BOOT_SETUP_SECTS] : 4;
	uint64_t offset = ((uint64_t)setup_sects + 1) * 512;
	uint64_t payload = (uint64_t)get_le32(h + BOOT_SYSSIZE) * 16;
	uint64_t pref_address = get_le64(h + BOOT_PREF_ADDRESS);
	uint16_t version = get_le16(h + BOOT_VERSION);

	if (version < BOOT_MIN_VERSION) {
		error_add(err, "the kernel \"%s\" speaks boot protocol %u.%u; 2.12 is needed (Linux 3.8)",
			  k->file.path, version >> 8, version & 0xffu);
		return -EINVAL;
	}
	if (!(h[BOOT_LOADFLAGS] & BOOT_LOADED_HIGH))
		return boot_refuse(k, err, "is a zImage; a bzImage is needed");
	if (!(get_le16(h + BOOT_XLOADFLAGS) & BOOT_XLF_KERNEL_64))
		return boot_refuse(k, err, "is a 32-bit kernel; a 64-bit one (amd64) is needed");
	/* A file may go on behind what @payload says (with signatures), and @payload is rounded up. */
	if (payload == 0 || offset >= k->file.size || k->file.size - offset + 15 < payload) {
		error_add(err, "the kernel \"%s\" is cut short: %llu bytes, its header says %llu",
			  k->file.path, (unsigned long long)k->file.size,
			  (unsigned long long)(offset + payload));
		return -EINVAL;
	}
	payload = min_u64(payload, k->file.size - offset);
	k->initrd_end = (uint64_t)get_le32(h + BOOT_INITRD_ADDR_MAX) + 1;
	k->cmdline_max = get_le32(h + BOOT_CMDLINE_SIZE);
	k->rip = pref_address + BOOT_ENTRY_64;
	return boot_add_segment(k, offset, payload, pref_address,
				max_u64(payload, get_le32(h + BOOT_INIT_SIZE)), err);
}

/* Maps the first 4 GiB in pages of 2 MiB: a PML4, one table of pointers, four of pages. */
static int boot_write_page_table(struct memory *m)
{
	enum { PRESENT = 0x1, WRITABLE = 0x2, LARGE = 0x80 };
	const uint64_t pdpt = LAYOUT_PAGE_TABLE + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	uint8_t *table = memory_at(m, LAYOUT_PAGE_TABLE, 6 * PAGE_SIZE);

	if (!table)
		return -EFAULT;
	put_le64(table, pdpt | PRESENT | WRITABLE);
	for (uint64_t i = 0; i < 4; i++)
		put_le64(table + PAGE_SIZE + 8 * i, (pd + i * PAGE_SIZE) | PRESENT | WRITABLE);
	for (uint64_t i = 0; i < 4 * 512; i++)
		put_le64(table + 2 * PAGE_SIZE + 8 * i, i * MIB(2) | PRESENT | WRITABLE | LARGE);
	return 0;
}

static int boot_bzimage_finish(struct memory *m, const struct boot_kernel *k,
			       const struct boot_initrd *initrd)
{
	uint8_t params[4096] = { 0 };
	uint64_t header_end = BOOT_HEADER + (uint64_t)k->head[BOOT_JUMP_LEN];
	struct boot_range map[BOOT_N_MAP];
	unsigned int n = boot_map(m, map);
	int ret;

	header_end = min_u64(max_u64(header_end, BOOT_HEADER_MIN_END), BOOT_HEADER_MAX_END);
	memcpy(params + BOOT_SETUP_HEADER, k->head + BOOT_SETUP_HEADER, header_end - BOOT_SETUP_HEADER);
	params[BOOT_TYPE_OF_LOADER] = 0xff;
	put_le32(params + BOOT_CMD_LINE_PTR, LAYOUT_CMDLINE);
	put_le32(params + BOOT_RAMDISK_IMAGE, (uint32_t)initrd->gpa);
	put_le32(params + BOOT_RAMDISK_SIZE, (uint32_t)initrd->len);
	put_le64(params + BOOT_ACPI_RSDP_ADDR, LAYOUT_ACPI);
	params[BOOT_E820_ENTRIES] = (uint8_t)n;
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *entry = params + BOOT_E820_TABLE + i * BOOT_E820_ENTRY_LEN;

		put_le64(entry, map[i].gpa);
		put_le64(entry + 8, map[i].len);
		put_le32(entry + 16, map[i].type);
	}
	ret = memory_write(m, LAYOUT_BOOT_INFO, params, sizeof(params));
	return ret < 0 ? ret : boot_write_page_table(m);
}

const struct boot_format boot_bzimage = {
	.match = boot_bzimage_match,
	.plan = boot_bzimage_plan,
	.finish = boot_bzimage_finish,
	.long_mode = true,
};
