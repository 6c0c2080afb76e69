/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels with a PVH entry: xen/include/public/arch-x86/hvm/start_info.h. */
#include "vmm/x86/boot_pvh.h"

#include <elf.h>
#include <errno.h>

#include "vmm/x86/layout.h"

/* A bound for a vmlinux' notes, which are a few hundred bytes. */
#define BOOT_MAX_NOTES KIB(64)
/* COMMAND_LINE_SIZE of x86, without the NUL: an ELF kernel does not say how much it takes. */
#define BOOT_PVH_CMDLINE 2047u

#define BOOT_XEN_PHYS32_ENTRY 18u
#define BOOT_PVH_MAGIC        0x336ec578u

struct boot_pvh_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};
_Static_assert(sizeof(struct boot_pvh_info) == 56, "hvm_start_info, version 1");

struct boot_pvh_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};
_Static_assert(sizeof(struct boot_pvh_module) == 32, "hvm_modlist_entry");

struct boot_pvh_range {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};
_Static_assert(sizeof(struct boot_pvh_range) == 24, "hvm_memmap_table_entry");

/* The block as it lies in guest memory. */
struct boot_pvh_block {
	struct boot_pvh_info info;
	struct boot_pvh_module initrd;
	struct boot_pvh_range map[BOOT_N_MAP];
};
_Static_assert(sizeof(struct boot_pvh_block) <= LAYOUT_PAGE_TABLE - LAYOUT_BOOT_INFO, "fits its place");

static bool boot_pvh_match(const struct boot_kernel *k)
{
	return memcmp(k->head, ELFMAG, SELFMAG) == 0;
}

/* Looks for the entry among the notes of one segment; the last entry counts. */
static int boot_pvh_notes(struct boot_kernel *k, const Elf64_Phdr *ph, struct error *err)
{
	uint8_t notes[BOOT_MAX_NOTES];
	uint64_t len = ph->p_filesz, at = 0;
	int ret;

	if (ph->p_type != PT_NOTE)
		return 0;
	if (len > sizeof(notes) || !boot_in_file(k, ph->p_offset, len))
		return boot_refuse(k, err, "is cut short or damaged: its notes reach beyond the file");
	ret = boot_read(&k->file, ph->p_offset, notes, len, err);
	while (ret == 0 && len - at >= sizeof(Elf64_Nhdr)) {
		const uint8_t *note = notes + at;
		uint64_t name_len = get_le32(note), desc_len = get_le32(note + 4);
		uint64_t desc_at = sizeof(Elf64_Nhdr) + align_up(name_len, 4);
		bool entry = get_le32(note + 8) == BOOT_XEN_PHYS32_ENTRY && name_len == 4 && desc_len >= 4;

		if (desc_at + desc_len > len - at)
			break;
		if (entry && memcmp(note + sizeof(Elf64_Nhdr), "Xen", 4) == 0)
			k->rip = desc_len >= 8 ? get_le64(note + desc_at) : get_le32(note + desc_at);
		at += min_u64(desc_at + align_up(desc_len, 4), len - at);
	}
	return ret;
}

static int boot_pvh_check(const struct boot_kernel *k, const Elf64_Ehdr *eh, struct error *err)
{
	if (eh->e_ident[EI_CLASS] == ELFCLASS32 && eh->e_machine == EM_386)
		return boot_refuse(k, err, "is a 32-bit kernel; a 64-bit one (amd64) is needed");
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_machine != EM_X86_64)
		return boot_refuse(k, err, "is an ELF file for another processor; x86-64 is needed");
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return boot_refuse(k, err, "is an ELF object file or module; a vmlinux is needed");
	if (k->file.size < sizeof(*eh) || eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0 ||
	    !boot_in_file(k, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr)))
		return boot_refuse(k, err,
				   "is cut short or damaged: its program headers are not in the file");
	return 0;
}

static int boot_pvh_segment(struct boot_kernel *k, const Elf64_Phdr *ph, struct error *err)
{
	if (ph->p_type != PT_LOAD || ph->p_memsz == 0)
		return 0;
	return boot_add_segment(k, ph->p_offset, ph->p_filesz, ph->p_paddr, ph->p_memsz, err);
}

/* The first walk is for the entry, the second for the segments: of a file without an entry nothing else
 * matters. */
static int boot_pvh_walk(struct boot_kernel *k, const Elf64_Ehdr *eh,
			 int (*fn)(struct boot_kernel *k, const Elf64_Phdr *ph, struct error *err),
			 struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < eh->e_phnum; i++) {
		Elf64_Phdr ph;

		ret = boot_read(&k->file, eh->e_phoff + i * sizeof(ph), &ph, sizeof(ph), err);
		if (ret == 0)
			ret = fn(k, &ph, err);
	}
	return ret;
}

static int boot_pvh_plan(struct boot_kernel *k, struct error *err)
{
	Elf64_Ehdr eh;
	int ret;

	memcpy(&eh, k->head, sizeof(eh));
	ret = boot_pvh_check(k, &eh, err);
	if (ret == 0)
		ret = boot_pvh_walk(k, &eh, boot_pvh_notes, err);
	if (ret == 0 && k->rip == 0)
		ret = boot_refuse(k, err, "has no PVH entry (CONFIG_PVH); use the bzImage of this kernel");
	if (ret == 0)
		ret = boot_pvh_walk(k, &eh, boot_pvh_segment, err);
	if (ret == 0 && (k->rip < LAYOUT_KERNEL || k->rip >= k->end))
		ret = boot_refuse(k, err, "is damaged: its PVH entry is not in what it loads");
	k->initrd_end = MEMORY_LOW_MAX;
	k->cmdline_max = BOOT_PVH_CMDLINE;
	return ret;
}

static int boot_pvh_finish(struct memory *m, const struct boot_kernel *k, const struct boot_initrd *initrd)
{
	struct boot_range map[BOOT_N_MAP];
	unsigned int n = boot_map(m, map);
	struct boot_pvh_block pvh = {
		.info = {
			.magic = BOOT_PVH_MAGIC,
			.version = 1,
			.nr_modules = initrd->len > 0 ? 1 : 0,
			.modlist_paddr = LAYOUT_BOOT_INFO + offsetof(struct boot_pvh_block, initrd),
			.cmdline_paddr = LAYOUT_CMDLINE,
			.rsdp_paddr = LAYOUT_ACPI,
			.memmap_paddr = LAYOUT_BOOT_INFO + offsetof(struct boot_pvh_block, map),
			.memmap_entries = n,
		},
		.initrd = { .paddr = initrd->gpa, .size = initrd->len },
	};

	for (unsigned int i = 0; i < n; i++)
		pvh.map[i] = (struct boot_pvh_range){ map[i].gpa, map[i].len, map[i].type, 0 };
	return memory_write(m, LAYOUT_BOOT_INFO, &pvh, sizeof(pvh));
}

const struct boot_format boot_pvh = {
	.match = boot_pvh_match,
	.plan = boot_pvh_plan,
	.finish = boot_pvh_finish,
	.long_mode = false,
};
