/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernels made of a few bytes: where everything is placed, and what is refused. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/memory.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/boot_files.h"
#include "vmm/x86/layout.h"

#define FILE_MAX 0x4000u

struct fixture {
	char dir[32];
	char kernel[64];
	char initrd[64];
	struct memory m;
	struct error err;
	struct boot_entry entry;
	uint8_t file[FILE_MAX];
	size_t len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/ferry-boot.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->dir);
	snprintf(f->initrd, sizeof(f->initrd), "%s/initrd", f->dir);
	assert_int_equal(memory_init(&f->m, MIB(64), &f->err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kernel);
	unlink(f->initrd);
	rmdir(f->dir);
	memory_exit(&f->m);
	free(f);
	return 0;
}

static void resize(struct fixture *f, uint64_t size)
{
	memory_exit(&f->m);
	assert_int_equal(memory_init(&f->m, size, &f->err), 0);
}

static void put_file(const char *path, const void *data, size_t len)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(data, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static int load_files(struct fixture *f, const char *kernel, const char *initrd, const char *cmdline,
		      struct error *err)
{
	struct boot_files files;
	int ret = boot_files_open(&files, kernel, initrd, cmdline, err);

	if (ret == 0)
		ret = boot_load(&f->m, &files, &f->entry, err);
	boot_files_close(&files);
	return ret;
}

static int load(struct fixture *f, bool initrd, const char *cmdline)
{
	put_file(f->kernel, f->file, f->len);
	memset(&f->err, 0, sizeof(f->err));
	return load_files(f, f->kernel, initrd ? f->initrd : NULL, cmdline, &f->err);
}

static void refused(struct fixture *f, const char *why)
{
	assert_true(load(f, false, NULL) < 0);
	if (!strstr(f->err.text, why))
		fail_msg("\"%s\" does not say \"%s\"", f->err.text, why);
}

/* Makes a setup header with one sector of setup code and 0x1000 bytes of kernel, each 0xa5. */
static void make_bzimage(struct fixture *f)
{
	memset(f->file, 0, sizeof(f->file));
	f->len = 1024 + 0x1000;
	memset(f->file + 1024, 0xa5, 0x1000);
	f->file[0x1ef] = 0xff; /* A sentinel, which must not reach the guest. */
	f->file[0x1f1] = 1;
	put_le32(f->file + 0x1f4, 0x100);
	put_le16(f->file + 0x1fe, 0xaa55);
	f->file[0x200] = 0xeb;
	f->file[0x201] = 0x6a;
	memcpy(f->file + 0x202, "HdrS", 4);
	put_le16(f->file + 0x206, 0x20f);
	f->file[0x211] = 1;
	put_le32(f->file + 0x22c, 0x7fffffff);
	put_le32(f->file + 0x230, 0x200000);
	f->file[0x234] = 1;
	put_le16(f->file + 0x236, 0x3f);
	put_le32(f->file + 0x238, 2047);
	put_le64(f->file + 0x258, 0x1000000);
	put_le32(f->file + 0x260, 0x800000);
}

static void assert_guest(struct fixture *f, uint64_t gpa, uint8_t value, uint64_t len)
{
	const uint8_t *p = memory_at(&f->m, gpa, len);

	assert_non_null(p);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(p[i], value);
}

static void assert_e820(const uint8_t *params, unsigned int i, uint64_t gpa, uint64_t len, uint32_t type)
{
	const uint8_t *e = params + 0x2d0 + 20 * i;

	assert_int_equal(get_le64(e), gpa);
	assert_int_equal(get_le64(e + 8), len);
	assert_int_equal(get_le32(e + 16), type);
}

static void a_bzimage_is_placed_as_its_header_says(void **state)
{
	struct fixture *f = *state;
	uint8_t initrd[5000];
	const uint8_t *params;
	uint64_t gpa;

	make_bzimage(f);
	memset(initrd, 0x77, sizeof(initrd));
	put_file(f->initrd, initrd, sizeof(initrd));
	assert_int_equal(load(f, true, "console=ttyS0"), 0);
	assert_true(f->entry.long_mode);
	assert_int_equal(f->entry.rip, 0x1000200);
	assert_int_equal(f->entry.info, LAYOUT_BOOT_INFO);
	assert_guest(f, 0x1000000, 0xa5, 0x1000);
	assert_guest(f, 0x1001000, 0, 0x1000);

	params = memory_at(&f->m, LAYOUT_BOOT_INFO, 4096);
	assert_int_equal(params[0x1ef], 0);
	assert_int_equal(params[0x210], 0xff);
	assert_int_equal(get_le32(params + 0x202), get_le32("HdrS"));
	assert_int_equal(get_le32(params + 0x260), 0x800000);
	assert_int_equal(get_le64(params + 0x70), LAYOUT_ACPI);
	assert_int_equal(get_le32(params + 0x228), LAYOUT_CMDLINE);
	assert_string_equal(memory_at(&f->m, LAYOUT_CMDLINE, 14), "console=ttyS0");
	gpa = get_le32(params + 0x218);
	assert_int_equal(get_le32(params + 0x21c), sizeof(initrd));
	assert_int_equal(gpa, MIB(64) - 8192);
	assert_guest(f, gpa, 0x77, sizeof(initrd));
	assert_int_equal(params[0x1e8], 3);
	assert_e820(params, 0, 0, 0xa0000, 1);
	assert_e820(params, 1, LAYOUT_ACPI, 0x20000, 2);
	assert_e820(params, 2, MIB(1), MIB(63), 1);
}

/* Follows the page tables as a processor does. */
static uint64_t walk(struct fixture *f, uint64_t address)
{
	const uint64_t *pml4 = memory_at(&f->m, LAYOUT_PAGE_TABLE, 4096), *pdpt, *pd;

	assert_int_equal(pml4[address >> 39] & 0xfff, 3);
	pdpt = memory_at(&f->m, pml4[address >> 39] & ~0xfffull, 4096);
	assert_int_equal(pdpt[address >> 30 & 511] & 0xfff, 3);
	pd = memory_at(&f->m, pdpt[address >> 30 & 511] & ~0xfffull, 4096);
	assert_int_equal(pd[address >> 21 & 511] & 0xfff, 0x83);
	return (pd[address >> 21 & 511] & ~0xfffull) + (address & (MIB(2) - 1));
}

static void the_64_bit_entry_finds_its_gdt_and_page_tables(void **state)
{
	struct fixture *f = *state;
	const uint64_t *gdt;

	make_bzimage(f);
	assert_int_equal(load(f, false, NULL), 0);
	for (uint64_t address = 0x1234; address < GIB(4); address += MIB(2) + 4096)
		assert_int_equal(walk(f, address), address);
	gdt = memory_at(&f->m, LAYOUT_GDT, 32);
	assert_int_equal(gdt[0x10 / 8], 0x00af9b000000ffff);
	assert_int_equal(gdt[0x18 / 8], 0x00cf93000000ffff);
	assert_memory_equal(memory_at(&f->m, 0xffff0, 9), "\xba\x02\x06\xb0\x01\xee\xf4\xeb\xfd", 9);
}

static void the_guest_is_told_of_memory_above_4_gib(void **state)
{
	static const uint64_t sizes[] = { GIB(5), GIB(2048) };
	struct fixture *f = *state;

	make_bzimage(f);
	put_file(f->initrd, "x", 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		const uint8_t *params;

		resize(f, sizes[i]);
		assert_int_equal(load(f, true, ""), 0);
		params = memory_at(&f->m, LAYOUT_BOOT_INFO, 4096);
		assert_int_equal(params[0x1e8], 4);
		assert_e820(params, 2, MIB(1), GIB(3) - MIB(1), 1);
		assert_e820(params, 3, GIB(4), sizes[i] - GIB(3), 1);
		/* initrd_addr_max holds. */
		assert_int_equal(get_le32(params + 0x218), 0x7ffff000);
	}
}

static void a_bzimage_that_cannot_be_booted_is_refused(void **state)
{
	struct fixture *f = *state;

	make_bzimage(f);
	put_le16(f->file + 0x206, 0x20b);
	refused(f, "boot protocol 2.11; 2.12 is needed");
	make_bzimage(f);
	f->file[0x211] = 0;
	refused(f, "zImage");
	make_bzimage(f);
	put_le16(f->file + 0x236, 0);
	refused(f, "32-bit");
	make_bzimage(f);
	f->len -= 16;
	refused(f, "cut short: 5104 bytes, its header says 5120");
	make_bzimage(f);
	f->len = 0x206;
	refused(f, "boot protocol 0.0");
	make_bzimage(f);
	put_le32(f->file + 0x1f4, 0xffffffff);
	refused(f, "cut short");
	make_bzimage(f);
	put_le32(f->file + 0x1f4, 0);
	refused(f, "cut short");
	make_bzimage(f);
	put_le64(f->file + 0x258, 0x6000);
	refused(f, "wants to be at 0x6000");
	make_bzimage(f);
	put_le64(f->file + 0x258, UINT64_MAX);
	refused(f, "wants to be at 0xffffffffffffffff");
	make_bzimage(f);
	put_le64(f->file + 0x258, GIB(3) - 4096);
	refused(f, "wants to be at");
	make_bzimage(f);
	put_le32(f->file + 0x260, (uint32_t)MIB(60));
	refused(f, "kernel and initrd alone take 76 MiB, the guest has 64 MiB");
}

static void what_is_no_kernel_is_named_and_refused(void **state)
{
	struct fixture *f = *state;

	f->len = 2000;
	refused(f, "not a bzImage (vmlinuz) nor an ELF vmlinux");
	memcpy(f->file, "\x1f\x8b\x08", 3);
	refused(f, "gunzip");
	memcpy(f->file, "070701", 6);
	refused(f, "--initrd");
	memcpy(f->file, "MZ\0\0\0\0", 6);
	refused(f, "EFI");
	memcpy(f->file + 56, "ARM\x64", 4);
	refused(f, "arm64");
	f->len = 1;
	refused(f, "looks like nothing");
	f->len = 0;
	refused(f, "empty file");
}

static void a_file_that_cannot_be_read_is_refused(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };

	assert_int_equal(load_files(f, f->kernel, NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "No such file"));
	memset(&err, 0, sizeof(err));
	assert_int_equal(load_files(f, f->dir, NULL, NULL, &err), -EISDIR);
	assert_int_equal(mkfifo(f->kernel, 0600), 0);
	assert_int_equal(load_files(f, f->kernel, NULL, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "regular file"));
	unlink(f->kernel);
	make_bzimage(f);
	assert_int_equal(load(f, true, NULL), -ENOENT);
	assert_non_null(strstr(f->err.text, "initrd"));
}

/* A guest boots again from the files that it has booted from. */
static void files_stay_the_same_whatever_their_names_stand_for(void **state)
{
	struct fixture *f = *state;
	struct boot_files files;

	make_bzimage(f);
	put_file(f->kernel, f->file, f->len);
	assert_int_equal(boot_files_open(&files, f->kernel, NULL, "first", &f->err), 0);
	assert_int_equal(boot_load(&f->m, &files, &f->entry, &f->err), 0);
	assert_int_equal(unlink(f->kernel), 0);
	put_file(f->kernel, "another", 7);
	memset(memory_at(&f->m, 0, f->m.regions[0].len), 0, f->m.regions[0].len);
	assert_int_equal(boot_load(&f->m, &files, &f->entry, &f->err), 0);
	assert_string_equal(memory_at(&f->m, LAYOUT_CMDLINE, 6), "first");
	boot_files_close(&files);
	assert_false(boot_files_known(&files));
}

/* As on a host that limits the length of files, or with guest memory that no file can be sent to. */
static void files_that_the_kernel_does_not_copy_are_read(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, low;

	make_bzimage(f);
	put_file(f->initrd, "initrd", 6);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	low = (struct rlimit){ MIB(1), limit.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(load(f, true, NULL), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(*(uint8_t *)memory_at(&f->m, MIB(16), 1), 0xa5);
	assert_memory_equal(memory_at(&f->m, MIB(64) - PAGE_SIZE, 6), "initrd", 6);
}

static void an_initrd_without_room_is_refused_with_how_much_is_needed(void **state)
{
	struct fixture *f = *state;

	make_bzimage(f); /* It takes 16 MiB to 24 MiB. */
	put_file(f->initrd, "x", 1);
	assert_int_equal(truncate(f->initrd, (off_t)MIB(40)), 0);
	assert_int_equal(load(f, true, NULL), 0);
	assert_int_equal(get_le32((uint8_t *)memory_at(&f->m, LAYOUT_BOOT_INFO, 4096) + 0x218), MIB(24));
	assert_int_equal(truncate(f->initrd, (off_t)MIB(40) + 1), 0);
	assert_int_equal(load(f, true, NULL), -ENOMEM);
	assert_non_null(strstr(f->err.text, "take 65 MiB, the guest has 64 MiB"));
	assert_int_equal(truncate(f->initrd, (off_t)GIB(4)), 0);
	assert_int_equal(load(f, true, NULL), -EFBIG);
	/* The kernel wants its initrd where it is itself. */
	put_le32(f->file + 0x22c, 0x1000);
	assert_int_equal(truncate(f->initrd, 1), 0);
	assert_int_equal(load(f, true, NULL), -EFBIG);
}

static void a_command_line_beyond_the_kernels_length_is_refused(void **state)
{
	struct fixture *f = *state;
	char cmdline[5001];

	memset(cmdline, 'a', sizeof(cmdline));
	cmdline[2047] = '\0';
	make_bzimage(f);
	assert_int_equal(load(f, false, cmdline), 0);
	cmdline[2047] = 'a';
	cmdline[2048] = '\0';
	assert_int_equal(load(f, false, cmdline), -E2BIG);
	assert_non_null(strstr(f->err.text, "has 2048 characters; this kernel takes at most 2047"));
	/* The kernel's own bound does not widen what there is room for. */
	put_le32(f->file + 0x238, UINT32_MAX);
	cmdline[2048] = 'a';
	cmdline[5000] = '\0';
	assert_int_equal(load(f, false, cmdline), -E2BIG);
}

#define NOTES_AT 0x800u

struct elf {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
};

/* Makes an ELF file with two segments, at 16 MiB (0x1000 bytes of 0x5a, then as much zeros) and 18 MiB, and
 * notes. */
static struct elf *make_elf(struct fixture *f)
{
	struct elf *e = (struct elf *)f->file;
	uint8_t *note = f->file + NOTES_AT;

	memset(f->file, 0, sizeof(f->file));
	f->len = 0x3000;
	memcpy(e->eh.e_ident, ELFMAG, SELFMAG);
	e->eh.e_ident[EI_CLASS] = ELFCLASS64;
	e->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	e->eh.e_type = ET_EXEC;
	e->eh.e_machine = EM_X86_64;
	e->eh.e_phoff = offsetof(struct elf, ph);
	e->eh.e_phentsize = sizeof(Elf64_Phdr);
	e->eh.e_phnum = 3;
	e->ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				 .p_offset = 0x1000,
				 .p_paddr = 0x1000000,
				 .p_filesz = 0x1000,
				 .p_memsz = 0x2000 };
	e->ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				 .p_offset = 0x2000,
				 .p_paddr = 0x1200000,
				 .p_filesz = 0x800,
				 .p_memsz = 0x800 };
	e->ph[2] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = NOTES_AT, .p_filesz = 60, .p_memsz = 60 };
	memset(f->file + 0x1000, 0x5a, 0x1000);
	memset(f->file + 0x2000, 0x3c, 0x800);
	/* A note of somebody else's with an odd length comes first: 12 + 8 + 4 bytes. */
	put_le32(note, 5);
	put_le32(note + 4, 1);
	put_le32(note + 8, 18);
	memcpy(note + 12, "Xenon", 5);
	put_le32(note + 24, 4);
	put_le32(note + 28, 8);
	put_le32(note + 32, 18);
	memcpy(note + 36, "Xen", 4);
	put_le64(note + 40, 0x1000800);
	return e;
}

static void an_elf_kernel_is_placed_by_its_program_headers(void **state)
{
	struct fixture *f = *state;
	const uint8_t *info, *map;

	resize(f, GIB(5));
	make_elf(f);
	put_file(f->initrd, "initrd", 6);
	assert_int_equal(load(f, true, "quiet"), 0);
	assert_false(f->entry.long_mode);
	assert_int_equal(f->entry.rip, 0x1000800);
	assert_guest(f, 0x1000000, 0x5a, 0x1000);
	assert_guest(f, 0x1001000, 0, 0x1000);
	assert_guest(f, 0x1200000, 0x3c, 0x800);
	info = memory_at(&f->m, f->entry.info, 56);
	assert_int_equal(get_le32(info), 0x336ec578);
	assert_int_equal(get_le32(info + 4), 1);
	assert_int_equal(get_le32(info + 12), 1);
	assert_memory_equal(memory_at(&f->m, get_le64(memory_at(&f->m, get_le64(info + 16), 32)), 6),
			    "initrd", 6);
	assert_int_equal(get_le64((uint8_t *)memory_at(&f->m, get_le64(info + 16), 32) + 8), 6);
	assert_string_equal(memory_at(&f->m, get_le64(info + 24), 6), "quiet");
	assert_int_equal(get_le64(info + 32), LAYOUT_ACPI);
	assert_int_equal(get_le32(info + 48), 4);
	map = memory_at(&f->m, get_le64(info + 40), 4 * 24);
	assert_int_equal(get_le64(map + 3 * 24), GIB(4));
	assert_int_equal(get_le64(map + 3 * 24 + 8), GIB(2));
	assert_int_equal(get_le32(map + 3 * 24 + 16), 1);
	/* A 32-bit note serves too. */
	put_le32(f->file + NOTES_AT + 28, 4);
	assert_int_equal(load(f, false, NULL), 0);
	assert_int_equal(f->entry.rip, 0x1000800);
	assert_int_equal(get_le32((uint8_t *)memory_at(&f->m, f->entry.info, 56) + 12), 0);
}

static void an_elf_kernel_that_cannot_be_booted_is_refused(void **state)
{
	struct fixture *f = *state;

	make_elf(f)->eh.e_ident[EI_CLASS] = ELFCLASS32;
	((struct elf *)f->file)->eh.e_machine = EM_386;
	refused(f, "32-bit kernel");
	make_elf(f)->eh.e_machine = EM_AARCH64;
	refused(f, "another processor");
	make_elf(f)->eh.e_type = ET_REL;
	refused(f, "object file");
	make_elf(f);
	f->len = 63;
	refused(f, "cut short");
	make_elf(f)->eh.e_phoff = UINT64_MAX - 8;
	refused(f, "program headers");
	make_elf(f)->eh.e_phnum = 0xffff;
	refused(f, "program headers");
	make_elf(f)->eh.e_phentsize = 32;
	refused(f, "program headers");
	make_elf(f)->ph[0].p_offset = UINT64_MAX;
	refused(f, "reaches beyond the file");
	make_elf(f)->ph[0].p_filesz = 0x2001;
	refused(f, "reaches beyond the file");
	make_elf(f)->ph[0].p_memsz = 0xfff;
	refused(f, "damaged");
	make_elf(f)->ph[0].p_memsz = UINT64_MAX;
	refused(f, "wants to be at");
	make_elf(f)->ph[1].p_paddr = LAYOUT_BOOT_INFO;
	refused(f, "wants to be at");
	make_elf(f)->ph[1].p_paddr = UINT64_MAX - 0x400;
	refused(f, "wants to be at");
	make_elf(f)->ph[1].p_memsz = MIB(100);
	refused(f, "too little memory");
	make_elf(f)->ph[2].p_type = PT_NULL;
	refused(f, "no PVH entry (CONFIG_PVH)");
	make_elf(f)->ph[2].p_filesz = UINT64_MAX;
	refused(f, "notes");
	make_elf(f)->ph[2].p_offset = 0x2ff0;
	refused(f, "notes");
	make_elf(f)->ph[2].p_filesz = 47;
	refused(f, "no PVH entry");
	make_elf(f);
	put_le32(f->file + NOTES_AT, UINT32_MAX);
	refused(f, "no PVH entry");
	make_elf(f);
	put_le32(f->file + NOTES_AT + 4, UINT32_MAX);
	refused(f, "no PVH entry");
	make_elf(f);
	put_le64(f->file + NOTES_AT + 40, 0x2000000);
	refused(f, "PVH entry is not in what it loads");
	make_elf(f)->ph[0].p_type = PT_NULL;
	((struct elf *)f->file)->ph[1].p_type = PT_NULL;
	refused(f, "PVH entry is not in what it loads");
}

/* A kernel that is cut anywhere before its last needed byte is refused. */
static void a_kernel_that_is_cut_anywhere_is_refused(void **state)
{
	struct fixture *f = *state;

	make_elf(f);
	for (f->len = 0x27ff; f->len > 0; f->len -= f->len > 0x900 ? 255 : 1)
		assert_true(load(f, false, NULL) < 0);
	make_bzimage(f);
	for (f->len -= 16; f->len > 0; f->len -= f->len > 0x300 ? 100 : 1)
		assert_true(load(f, false, NULL) < 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_bzimage_is_placed_as_its_header_says),
		T(the_64_bit_entry_finds_its_gdt_and_page_tables),
		T(the_guest_is_told_of_memory_above_4_gib),
		T(a_bzimage_that_cannot_be_booted_is_refused),
		T(what_is_no_kernel_is_named_and_refused),
		T(a_file_that_cannot_be_read_is_refused),
		T(files_stay_the_same_whatever_their_names_stand_for),
		T(files_that_the_kernel_does_not_copy_are_read),
		T(an_initrd_without_room_is_refused_with_how_much_is_needed),
		T(a_command_line_beyond_the_kernels_length_is_refused),
		T(an_elf_kernel_is_placed_by_its_program_headers),
		T(an_elf_kernel_that_cannot_be_booted_is_refused),
		T(a_kernel_that_is_cut_anywhere_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
