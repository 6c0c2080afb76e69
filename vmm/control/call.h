/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A call of the control socket, as the method sees it that it is for: its parameters, and the answer. Each
 * runs on a thread of its own. What a client says is checked as any input is.
 */
#ifndef FERRY_VMM_CONTROL_CALL_H
#define FERRY_VMM_CONTROL_CALL_H

#include "vmm/control/json.h"
#include "vmm/control/socket.h"

/* Made and freed by the server, which fills in @message. */
struct control_call {
	int fd;        /* the connection */
	int hangup_fd; /* eventfd, see control_call_fd() */
	/* The descriptor that came with the call, whatever it is of; -1: none. The server closes it after the
	 * method. */
	int passed_fd;
	bool more;   /* the client wants intermediate replies */
	bool oneway; /* the client wants no reply */
	bool answered;
	/* The connection ends with this call: it was none, or its answer was cut short. */
	bool last;
	const jsmntok_t *parameters;
	struct json json;
	size_t len; /* bytes in @message while more must come */
	char message[CONTROL_MESSAGE_MAX];
};

/* Whether a method can be called without "more": what it has to say is many replies. */
enum control_mode { CONTROL_ANY, CONTROL_NEEDS_MORE };

struct control_method {
	/* Without the interface's. */
	const char *name;
	/* Must answer exactly once, with control_reply() or one of those below that. NULL: not implemented.
	 */
	void (*fn)(struct control_call *call, void *opaque);
	/* Names of the parameters that it has, a list that ends with NULL: a call with another is refused, by
	 * that name. NULL: there are none. */
	const char *const *parameters;
	enum control_mode mode;
};

/* A parameter that is null counts as one that was left out. */

/* Finds a string, a number, or true or false among the call's parameters; false if there is none of this
 * kind. The string is unescaped into @buf. */
bool control_get_string(struct control_call *call, const char *name, char *buf, size_t size);
bool control_get_number(struct control_call *call, const char *name, uint64_t *v);
bool control_get_bool(struct control_call *call, const char *name, bool *v);
/* The string at @index of a parameter that is an array: see json_item(). */
int control_get_item(struct control_call *call, const char *name, unsigned int index, char *buf, size_t size);
/* Whether there is a parameter of this name, be it of the right kind or not. */
bool control_has(struct control_call *call, const char *name);

/* Takes over the descriptor that came with the call: it is the caller's to close. -1 if there is none, or not
 * any more. What it is of is not checked. The method's thread. */
int control_take_fd(struct control_call *call);

/*
 * Answers: with a result, or with an error's name of less than 128 characters and its reason, or
 * parameters of its own. @parameters is a JSON object, at most CONTROL_MESSAGE_MAX - 256 bytes. Waits for the
 * client for a bounded time; one that has gone misses the answer, and nobody else has a use for it.
 */
void control_reply(struct control_call *call, const char *parameters);
void control_fail(struct control_call *call, const char *error, const char *reason);
void control_fail_with(struct control_call *call, const char *error, const char *parameters);
/* Answers with an error whose only parameter is called @name, a string. */
void control_fail_by(struct control_call *call, const char *error, const char *name, const char *value);
/* Answers that the parameter @name is wrong, or missing. */
void control_fail_parameter(struct control_call *call, const char *name);

/* Tells how far the call is, any number of times before the answer. Progress is dropped for a client that did
 * not ask for it, or does not read, so this never waits. */
void control_progress(struct control_call *call, const char *parameters);

/* Returns what becomes readable when the client hangs up, be it in its direction alone, and when the server
 * ends. */
int control_call_fd(const struct control_call *call);

#endif
