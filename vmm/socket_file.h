/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of listening unix sockets: they are made so that nobody else can connect, are told apart from
 * what others have left or still use, and are removed by identity.
 */
#ifndef FERRY_VMM_SOCKET_FILE_H
#define FERRY_VMM_SOCKET_FILE_H

#include <sys/types.h>
#include <sys/un.h>

#include "vmm/util.h"

/* The file of a socket that socket_file_bind() has made. All zero: there is none. */
struct socket_file {
	/* The caller's descriptor of the directory in which @name is; AT_FDCWD for a path. */
	int dir_fd;
	char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	dev_t dev;
	ino_t ino;
};

/*
 * Binds @fd, a unix socket, to @path, with @mode from the file's first moment on: 0600, or 0666 where whoever
 * connects is to be asked for credentials. @path is in the
 * directory @dir_fd, or wherever it leads for AT_FDCWD. A socket of Ferry's own user that no living process
 * holds is replaced; whatever else is there stays:
 *
 *	-EADDRINUSE  a process holds it
 *	-EEXIST      not a socket
 *	-EPERM       another user's socket, whether somebody holds it or not
 *	-ESTALE      @path does not lead to @dir_fd any more
 */
int __must_check socket_file_bind(struct socket_file *file, int fd, int dir_fd, const char *path,
				  mode_t mode);

/* Returns an error of socket_file_bind() in words. */
const char *socket_file_error(int ret);

/* Removes the file that was made, and no other that has its name by now. Any thread. */
void socket_file_remove(struct socket_file *file);

/*
 * Checks whether the other end of the connected unix socket @fd may be spoken to: -EPERM unless it belongs to
 * Ferry's own user, or to root. For a listener that is who connected, for a client who listens. *@uid becomes
 * the user.
 */
int __must_check socket_file_check_peer(int fd, uid_t *uid);

#endif
