/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of the VMs' folders: whose it and they may be, and its lock. */
#ifndef FERRY_VMM_RUNTIME_DIR_H
#define FERRY_VMM_RUNTIME_DIR_H

#include "vmm/log.h"

/*
 * Opens the directory @path, and makes it with mode 0700 where there is nothing. A directory in which
 * somebody else but root and Ferry's own user can put, replace or remove files is refused.
 */
int __must_check runtime_dir_open(const char *path, int *fd, struct error *err);

/*
 * Opens the folder @name of a VM in the directory @dir_fd, and makes it with mode 0700 where there is
 * nothing;
 * @path is where it is, for messages. A folder that a dead process has left is taken as it is; what is no
 * folder, a symbolic link to one, and a folder that runtime_dir_open() would refuse are refused.
 */
int __must_check runtime_dir_enter(int dir_fd, const char *name, const char *path, int *fd,
				   struct error *err);

/*
 * Makes sure that of this user's processes only one at a time looks for a dead one's socket in the directory
 * @fd (@path, for messages). The lock is a file that nobody else can open, and is gone after
 * runtime_dir_unlock(). Waits for some seconds at most, and no longer when @cancel_fd becomes readable
 * (-ECANCELED; -1 for none).
 */
int __must_check runtime_dir_lock(int fd, const char *path, int cancel_fd, int *lock_fd, struct error *err);
void runtime_dir_unlock(int fd, int lock_fd);

#endif
