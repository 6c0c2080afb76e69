// SPDX-License-Identifier: GPL-2.0-or-later
// Starts another kernel from the running one, with the same command line: kexec BZIMAGE INITRD.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int kernel = argc == 3 ? open(argv[1], O_RDONLY) : -1,
	    initrd = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	int fd = open("/proc/cmdline", O_RDONLY);
	char words[4096];
	ssize_t n = read(fd, words, sizeof(words) - 1);

	// Of the line that ends with a newline the kernel wants what is before it, and a zero.
	if (n > 0)
		words[n - 1] = 0;
	if (n <= 0 || syscall(SYS_kexec_file_load, kernel, initrd, strlen(words) + 1, words, 0) ||
	    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL)) {
		perror("kexec BZIMAGE INITRD");
		return 1;
	}
	return 0;
}
