/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: Varlink's framing (JSON objects that end with a NUL byte) on RUNTIME_DIR/NAME.sock,
 * mode 0600, for clients of our own user and root. Methods come as a table from main.c. A connection carries
 * one call, which has a thread of its own once it is whole. The client is checked as any input is; one that
 * says nothing, or little, is in nobody's way.
 *
 *	call:   {"method": "org.ferry.Migrate", "parameters": {"to": "unix:/run/x"}, "more": true}
 *	reply:  {"parameters": {...}, "continues": true} ... {"parameters": {...}}
 *	error:  {"error": "org.ferry.MigrationFailed", "parameters": {"reason": "..."}}
 */
#ifndef FERRY_VMM_CONTROL_SERVER_H
#define FERRY_VMM_CONTROL_SERVER_H

#include "vmm/guard.h"
#include "vmm/loop.h"
#include "vmm/log.h"

#define CONTROL_MESSAGE_MAX 8192u
#define CONTROL_TEXT_MAX    1024u /* longest string parameter that clients send */
#define CONTROL_MAX_CALLS   8u    /* that run at a time */
#define CONTROL_MAX_CLIENTS 32u   /* with those whose call is not whole yet */
_Static_assert(CONTROL_MAX_CALLS < CONTROL_MAX_CLIENTS, "there is always one that can give way");

struct control;
struct control_call;

struct control_method {
	const char *name;
	/* Must answer exactly once with control_reply(..., false) or control_fail(). Runs on a thread of its
	 * own. */
	void (*fn)(struct control_call *call, void *opaque);
};

struct control_config {
	const char *runtime_dir;
	const char *name;
	const struct control_method *methods;
	unsigned int n_methods;
	void *opaque; /* the methods' */
	struct guard
		*guard; /* removes the socket's file when the process is ended by force, and ends waits */
};

/* Listens, once the loop runs; fails with a clear message if a living process has the name already. A socket
 * that a dead one left is replaced. @config is copied, what it points to must stay. */
int __must_check control_create(struct control **control, struct loop *loop,
				const struct control_config *config, struct error *err);
/* Has all calls end, as if their clients had hung up, waits for their last replies, removes the socket. */
void control_destroy(struct control *control);

/* A string or a number among the call's parameters; false if it is not there. The string is unescaped into
 * @buf. */
bool control_get_string(struct control_call *call, const char *name, char *buf, size_t size);
bool control_get_number(struct control_call *call, const char *name, uint64_t *v);

/*
 * @parameters is a JSON object, at most CONTROL_MESSAGE_MAX - 64 bytes; @error a name of less than 128
 * characters. Errors of a client that has gone are of no interest. Intermediate replies (@continues) are
 * dropped for a client that did not ask for them, or does not read: they never wait.
 */
void control_reply(struct control_call *call, const char *parameters, bool continues);
void control_fail(struct control_call *call, const char *error, const char *reason);

/* Becomes readable when the client hangs up, be it in its direction alone, and at control_destroy(). */
int control_call_fd(const struct control_call *call);

/* The client's side, for the subcommands. */
struct control_client {
	int fd;
	char message[CONTROL_MESSAGE_MAX];
	uint32_t len; /* bytes in @message, of which the first @taken belong to the reply given last */
	uint32_t taken;
	char error[128]; /* name of the error that the last reply was, "" if none */
};

int __must_check control_connect(struct control_client *c, const char *runtime_dir, const char *name,
				 struct error *err);
/* @parameters is a JSON object; @more asks for replies as things go on. */
int __must_check control_send(struct control_client *c, const char *method, const char *parameters, bool more,
			      struct error *err);
/* 1: an intermediate reply, 0: the final one, -errno: failed, with the peer's reason. *@parameters is the
 * reply's object as text. */
int __must_check control_receive(struct control_client *c, const char **parameters, struct error *err);
void control_disconnect(struct control_client *c);

#endif
