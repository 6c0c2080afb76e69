/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's client, for the subcommands: calls of a running VM, one after the other, and the
 * replies to them. */
#ifndef FERRY_VMM_CONTROL_CLIENT_H
#define FERRY_VMM_CONTROL_CLIENT_H

#include <signal.h>

#include "vmm/control/socket.h"

struct control_client {
	int fd;        /* -1 while not connected */
	int signal_fd; /* see control_cancel_by_signal(); -1: not called, or a signal has come */
	char message[CONTROL_MESSAGE_MAX];
	/* Bytes in @message, of which the first @taken belong to the reply given last. */
	uint32_t len, taken;
	/* Name of the error that the last reply was, "" if none. */
	char error[128];
};

/* Connects to the VM @name, if it is our own user's or root's. On an error there is nothing to disconnect. */
int __must_check control_connect(struct control_client *c, const char *runtime_dir, const char *name,
				 struct error *err);

/* Whether the VM is to reply as things go on, or with the result alone. */
enum control_replies { CONTROL_RESULT, CONTROL_PROGRESS };

/* Sends a call. @parameters is a JSON object. The descriptor @fd, or none for -1, goes with
 * it; it stays the caller's. */
int __must_check control_send(struct control_client *c, const char *method, const char *parameters,
			      enum control_replies replies, int fd, struct error *err);

/* Waits for a reply, without end. Returns 1 for an intermediate one, 0 for the final one, with its object as
 * text in *@parameters, which the next call overwrites; or -errno, with the peer's reason where
 * it gave one: then, for -EREMOTEIO, with the error's parameters in *@parameters. */
int __must_check control_receive(struct control_client *c, const char **parameters, struct error *err);
/* Does as control_receive(), but returns -EAGAIN without a reason when none has come by @until_ns, see
 * now_ns(). */
int __must_check control_receive_until(struct control_client *c, uint64_t until_ns, const char **parameters,
				       struct error *err);
void control_disconnect(struct control_client *c);

/* Fills @set with those of the @n signals that are not ignored, as nohup and shells without jobs have some.
 * Any thread. */
void control_find_signals(sigset_t *set, const int *signals, unsigned int n);

/*
 * Has the first of SIGINT, SIGTERM and SIGHUP (where it is not ignored) hang up in the client's direction,
 * which calls off what can be called off, while control_receive() still waits for the result. The second ends
 * the process, as does the first without this. For a process of one thread, once; after control_send().
 */
int __must_check control_cancel_by_signal(struct control_client *c, struct error *err);

#endif
