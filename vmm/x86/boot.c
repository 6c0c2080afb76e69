/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loading a kernel: a file of either format is planned into a list of segments, which are read straight into
 * place. */
#include "vmm/x86/boot.h"

#include <errno.h>

#include "vmm/x86/boot_bzimage.h"
#include "vmm/x86/boot_image.h"
#include "vmm/x86/boot_pvh.h"
#include "vmm/x86/layout.h"

static const struct boot_format *const boot_formats[] = { &boot_bzimage, &boot_pvh };

/* Files that people give instead of a kernel, by what they begin with. */
static const struct {
	unsigned int offset;
	unsigned int len;
	const char *magic;
	const char *looks_like;
} boot_others[] = {
	{ 0, 2, "\x1f\x8b", "compressed with gzip; unpack it first (gunzip)" },
	{ 0, 6,
	  "\xfd"
	  "7zXZ\0",
	  "compressed with xz; unpack it first (unxz)" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first (unzstd)" },
	{ 0, 3, "BZh", "compressed with bzip2; unpack it first (bunzip2)" },
	{ 0, 4, "\x04\x22\x4d\x18", "compressed with lz4; unpack it first (unlz4)" },
	{ 0, 4, "\x02\x21\x4c\x18", "compressed with lz4; unpack it first (unlz4)" },
	{ 0, 6, "070701", "an initramfs; that is for --initrd" },
	{ 0, 4, "QFI\xfb", "a qcow2 disk image" },
	{ 0, 2, "#!", "a script" },
	{ 56, 4, "ARM\x64", "a kernel for arm64" },
	{ 0, 2, "MZ", "an EFI or Windows program" },
	{ 0x1fe, 2, "\x55\xaa", "a boot sector or disk image" },
};

static int boot_refuse_other(const struct boot_kernel *k, struct error *err)
{
	const char *looks_like = "nothing that is known";

	for (unsigned int i = 0; i < ARRAY_SIZE(boot_others); i++) {
		if (memcmp(k->head + boot_others[i].offset, boot_others[i].magic, boot_others[i].len) == 0) {
			looks_like = boot_others[i].looks_like;
			break;
		}
	}
	error_add(err,
		  "the kernel \"%s\" (%llu bytes) is not a bzImage (vmlinuz) nor an ELF vmlinux; it "
		  "looks like %s",
		  k->file.path, (unsigned long long)k->file.size, looks_like);
	return -EINVAL;
}

static const struct boot_format *boot_identify(struct boot_kernel *k, struct error *err)
{
	if (boot_read(&k->file, 0, k->head, min_u64(k->file.size, sizeof(k->head)), err) < 0)
		return NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(boot_formats); i++) {
		if (boot_formats[i]->match(k))
			return boot_formats[i];
	}
	boot_refuse_other(k, err);
	return NULL;
}

/* The initrd goes as high as it may, so that the kernel's own early choices meet it last. */
static int boot_place(const struct memory *m, const struct boot_kernel *k, struct boot_initrd *initrd,
		      struct error *err)
{
	uint64_t low = m->regions[0].len;
	uint64_t highest = min_u64(MEMORY_LOW_MAX, k->initrd_end);
	uint64_t begin = align_up(k->end, PAGE_SIZE);

	if (initrd->len > 0 && (highest < begin || initrd->len > highest - begin)) {
		error_add(err, "the initrd of %llu MiB is too large: this kernel can take %llu MiB",
			  (unsigned long long)(initrd->len >> 20),
			  (unsigned long long)(highest < begin ? 0 : (highest - begin) >> 20));
		return -EFBIG;
	}
	if (begin > low || align_up(initrd->len, PAGE_SIZE) > low - begin) {
		error_add(err,
			  "too little memory: kernel and initrd alone take %llu MiB, the guest has "
			  "%llu MiB; give more with --mem",
			  (unsigned long long)((begin + initrd->len + MIB(1) - 1) >> 20),
			  (unsigned long long)(m->size >> 20));
		return -ENOMEM;
	}
	if (initrd->len > 0)
		initrd->gpa = (min_u64(low, highest) - initrd->len) & ~(PAGE_SIZE - 1);
	return 0;
}

static int boot_copy(struct memory *m, const struct boot_file *f, const struct boot_segment *s,
		     struct error *err)
{
	uint64_t copied;
	int64_t ret;

	if (s->len == 0)
		return 0;
	ret = memory_take_file(m, s->gpa, f->fd, s->offset, s->len);
	if (ret < 0) {
		error_add(err, "the %s \"%s\" does not fit into guest memory", f->what, f->path);
		return -EFAULT;
	}
	copied = (uint64_t)ret;
	if (copied == s->len)
		return 0;
	return boot_read(f, s->offset + copied, memory_at(m, s->gpa + copied, s->len - copied),
			 s->len - copied, err);
}

/* The selectors are those of the 64-bit protocol: 0x10 code, 0x18 data; 0x08 is code for the 32-bit entry. */
static int boot_write_gdt(struct memory *m)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff };

	return memory_write(m, LAYOUT_GDT, gdt, sizeof(gdt));
}

/*
 * Linux takes hardware-reduced ACPI for a machine with EFI, resets by EFI, and where there is none jumps to
 * the BIOS in real mode. So a BIOS is there, which does nothing else.
 */
static int boot_write_reset_vector(struct memory *m)
{
	/* mov $LAYOUT_RESET_PORT, %dx; mov $LAYOUT_RESET_VALUE, %al; out %al, %dx; 1: hlt; jmp 1b */
	static const uint8_t code[] = { 0xba,
					LAYOUT_RESET_PORT & 0xff,
					LAYOUT_RESET_PORT >> 8,
					0xb0,
					LAYOUT_RESET_VALUE,
					0xee,
					0xf4,
					0xeb,
					0xfd };

	return memory_write(m, LAYOUT_RESET_VECTOR, code, sizeof(code));
}

static int boot_write_cmdline(struct memory *m, const struct boot_kernel *k, const char *cmdline,
			      struct error *err)
{
	uint64_t max = min_u64(k->cmdline_max, LAYOUT_CMDLINE_MAX - 1), len = strlen(cmdline);

	if (len > max) {
		error_add(err, "the kernel command line has %llu characters; this kernel takes at most %llu",
			  (unsigned long long)len, (unsigned long long)max);
		return -E2BIG;
	}
	return memory_write(m, LAYOUT_CMDLINE, cmdline, len + 1);
}

static int boot_load_files(struct memory *m, struct boot_kernel *k, const struct boot_file *initrd_file,
			   const char *cmdline, struct boot_entry *entry, struct error *err)
{
	struct boot_initrd initrd = { .len = initrd_file->size };
	const struct boot_format *format = boot_identify(k, err);
	int ret;

	if (!format)
		return -EINVAL;
	ret = format->plan(k, err);
	if (ret == 0)
		ret = boot_place(m, k, &initrd, err);
	if (ret == 0)
		ret = boot_write_cmdline(m, k, cmdline, err);
	for (unsigned int i = 0; ret == 0 && i < k->n_segments; i++)
		ret = boot_copy(m, &k->file, &k->segments[i], err);
	if (ret == 0)
		ret = boot_copy(m, initrd_file, &(struct boot_segment){ 0, initrd.len, initrd.gpa }, err);
	if (ret < 0)
		return ret;
	ret = boot_write_gdt(m);
	if (ret == 0)
		ret = boot_write_reset_vector(m);
	if (ret == 0)
		ret = format->finish(m, k, &initrd);
	*entry = (struct boot_entry){ format->long_mode, k->rip, LAYOUT_BOOT_INFO };
	return ret;
}

int boot_load(struct memory *m, const struct boot_files *files, struct boot_entry *entry, struct error *err)
{
	struct boot_kernel k = { .file = files->kernel };

	return boot_load_files(m, &k, &files->initrd, files->cmdline, entry, err);
}
