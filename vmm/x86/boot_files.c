/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that a guest boots from. */
#include "vmm/x86/boot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/descriptor.h"
#include "vmm/memory.h"
#include "vmm/shortage.h"

/* Opens a regular file that is not empty, without waiting for anybody. */
static int boot_open(struct boot_file *f, const char *what, const char *path, struct error *err)
{
	struct stat st;

	*f = (struct boot_file){ .what = what, .path = path };
	/* O_NONBLOCK: a FIFO would else keep Ferry waiting for a writer before it can be refused. */
	f->fd = descriptor_take(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0) {
		error_add(err, "cannot open the %s \"%s\": %s%s", what, path, strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	if (fstat(f->fd, &st) < 0) {
		error_add(err, "cannot examine the %s \"%s\": %s", what, path, strerror(errno));
		return -errno;
	}
	if (S_ISDIR(st.st_mode)) {
		error_add(err, "the %s \"%s\" is a directory; give the file in it", what, path);
		return -EISDIR;
	}
	if (!S_ISREG(st.st_mode)) {
		error_add(err, "the %s \"%s\" is not a regular file", what, path);
		return -EINVAL;
	}
	if (st.st_size == 0) {
		error_add(err, "the %s \"%s\" is an empty file", what, path);
		return -EINVAL;
	}
	f->size = (uint64_t)st.st_size;
	return 0;
}

static void boot_close(struct boot_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
}

int boot_files_open(struct boot_files *f, const char *kernel, const char *initrd, const char *cmdline,
		    struct error *err)
{
	int ret;

	*f = BOOT_FILES_NONE;
	f->cmdline = strdup(cmdline ? cmdline : "");
	if (!f->cmdline) {
		error_add(err, "out of memory for the kernel's command line");
		return -ENOMEM;
	}
	ret = boot_open(&f->kernel, "kernel", kernel, err);
	if (ret == 0 && initrd)
		ret = boot_open(&f->initrd, "initrd", initrd, err);
	if (ret < 0)
		boot_files_close(f);
	return ret;
}

static int boot_make(struct boot_file *f, const char *what, uint64_t len, struct error *err)
{
	*f = (struct boot_file){ .what = what, .path = "from the guest's source", .size = len };
	f->fd = memory_create_file("ferry-boot", len);
	if (f->fd < 0) {
		error_add(err, "cannot make a file in memory for the %s: %s%s", what, strerror(-f->fd),
			  shortage_advice(f->fd));
		return f->fd;
	}
	return 0;
}

int boot_files_make(struct boot_files *f, uint64_t kernel, uint64_t initrd, const char *cmdline,
		    struct error *err)
{
	int ret;

	*f = BOOT_FILES_NONE;
	f->cmdline = strdup(cmdline);
	if (!f->cmdline) {
		error_add(err, "out of memory for the kernel's command line");
		return -ENOMEM;
	}
	ret = boot_make(&f->kernel, "kernel", kernel, err);
	if (ret == 0 && initrd > 0)
		ret = boot_make(&f->initrd, "initrd", initrd, err);
	if (ret < 0)
		boot_files_close(f);
	return ret;
}

void boot_files_close(struct boot_files *f)
{
	boot_close(&f->kernel);
	boot_close(&f->initrd);
	free(f->cmdline);
	*f = BOOT_FILES_NONE;
}

int boot_read(const struct boot_file *f, uint64_t offset, void *buf, uint64_t len, struct error *err)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pread(f->fd, p, min_u64(len, MIB(16)), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_add(err, "cannot read the %s \"%s\": %s", f->what, f->path, strerror(errno));
			return -errno;
		}
		if (n == 0) {
			error_add(err, "the %s \"%s\" became shorter while it was read", f->what, f->path);
			return -EIO;
		}
		p += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}
