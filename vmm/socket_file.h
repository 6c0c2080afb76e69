/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of listening unix sockets: made so that nobody else can connect, told apart from what others have
 * left or still use, and removed by identity.
 */
#ifndef FERRY_VMM_SOCKET_FILE_H
#define FERRY_VMM_SOCKET_FILE_H

#include <sys/types.h>
#include <sys/un.h>

#include "vmm/util.h"

/* The file of a socket that socket_file_bind() made; all zero: none. */
struct socket_file {
	int dir_fd; /* the caller's: @name is in it; AT_FDCWD for a path */
	char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	dev_t dev;
	ino_t ino;
};

/*
 * Binds @fd, a unix socket, to @path, with mode 0600 from the file's first moment on. @path is in the
 * directory @dir_fd, or wherever it leads for AT_FDCWD. A socket of our own user that no living process holds
 * is replaced; whatever else is there stays:
 *
 *	-EADDRINUSE  a process holds it
 *	-EEXIST      not a socket
 *	-EPERM       another user's socket, whether somebody holds it or not
 *	-ESTALE      @path does not lead to @dir_fd any more
 */
int __must_check socket_file_bind(struct socket_file *file, int fd, int dir_fd, const char *path);

/* An error of socket_file_bind() in words. */
const char *socket_file_error(int ret);

/* Removes the file that was made, and no other that has its name by now. Any thread. */
void socket_file_remove(struct socket_file *file);

/*
 * Whether whoever is at the other end of the connected unix socket @fd may be spoken to: -EPERM unless it is
 * our own user, or root. For a listener's peer that is who connected, for a client's who listens. *@uid says
 * who it is.
 */
int __must_check socket_file_check_peer(int fd, uid_t *uid);

#endif
