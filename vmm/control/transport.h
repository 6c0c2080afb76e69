/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection of a migration, as the operator's client makes it, with the operator's rights and keys. The
 * process that has the guest gets the socket and no more.
 *
 *	ssh:[USER@]HOST[:PORT][/NAME]  ssh runs "ferry connect NAME" there
 *	tls:HOST:PORT                  a listener there; ferry-tls makes the connection one of two ends that
 *				       know each other
 *	unix:PATH                      a listener on this host
 *	fd:N                           a descriptor that the client was started with
 *	exec:COMMAND                   a command of the operator's, with the connection as its stdin and
 *stdout
 */
#ifndef FERRY_VMM_CONTROL_TRANSPORT_H
#define FERRY_VMM_CONTROL_TRANSPORT_H

#include <sys/types.h>

#include "vmm/log.h"

/* No user in particular. */
#define TRANSPORT_ANY_UID ((uid_t)-1)

/* Bytes of a connection's note. */
#define TRANSPORT_NOTE_MAX 320u

struct transport_options {
	/* The VM's own name, and what it is called at the destination unless that is said. */
	const char *name;
	/* The program in the place of ssh, with arguments of its own, split at spaces. */
	const char *ssh;
	/* The folder of ferry-tls's certificates and key, and a name that the other end must have beside its
	 * host's; NULL: none. */
	const char *tls_dir;
	const char *peer;
	/* Who may listen on a unix socket beside our own user and root, or TRANSPORT_ANY_UID for nobody. */
	uid_t peer_uid;
	/* A child gets a session of its own: it is to outlive the client, and the client's terminal. Else it
	 * ends with the client, and the terminal's Ctrl-C is for the client alone. */
	bool detached;
};

/* Caller-owned, on one thread. */
struct transport {
	/* A connected stream socket; -1: none, or let go of. */
	int fd;
	/* Who carries the bytes between @fd and the other host; 0: nobody. */
	pid_t child;
	/* The child, for messages. */
	char program[64];
	/* What has turned out about the connection, for messages: who is at the other end of TLS, and who
	 * encrypts. */
	char note[TRANSPORT_NOTE_MAX];
};

/* Reads @to, and tries nothing: -EINVAL with the reason where @to or the options make no sense. */
int __must_check transport_check(const char *to, const struct transport_options *options, struct error *err);

/*
 * Connects to @to. Returns 0, or -errno with the reason, and nothing to close: -EINVAL where @to or the
 * options make no sense, -EPERM where the listener is somebody else's. ssh and a command have only been
 * started then: whether they get through the bytes show, and what they have to say they say on stderr. TLS
 * has shaken hands: -EACCES where one end refuses the other.
 */
int __must_check transport_open(struct transport *t, const char *to, const struct transport_options *options,
				struct error *err);

/*
 * Runs a command at @host, "[USER@]HOST[:PORT]", by ssh: t->fd is its stdin and stdout. @words are up to
 * four, with NULL at the end, of characters that no shell there makes something else of. 0, or -errno with
 * the reason and nothing to close; what ssh has to say it says on stderr. transport_check_host() only reads
 * @host.
 */
int __must_check transport_run_at(struct transport *t, const char *host, const char *const *words,
				  const struct transport_options *options, struct error *err);
int __must_check transport_check_host(const char *host, const struct transport_options *options,
				      struct error *err);

/* Closes t->fd: the process that has got it is the only one to hold it now, and its end is the connection's.
 */
void transport_let_go(struct transport *t);

/*
 * Ends the transport, for one that was not detached: gives the child a moment to end by itself, and then ends
 * it. Returns 0, or -ECHILD when the child had failed by itself; @err says how.
 */
int transport_close(struct transport *t, struct error *err);

#endif
