/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call of the control socket and its answer. */
#include "vmm/control/call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "vmm/control/interface.h"

/* For a client to take its final reply: a method has ended by then, and its thread waits for nothing else. */
#define CONTROL_REPLY_TIMEOUT_MS 2000

bool control_get_string(struct control_call *call, const char *name, char *buf, size_t size)
{
	return json_string(&call->json, call->parameters, name, buf, size);
}

bool control_get_number(struct control_call *call, const char *name, uint64_t *v)
{
	return json_number(&call->json, call->parameters, name, v);
}

bool control_get_bool(struct control_call *call, const char *name, bool *v)
{
	return json_bool(&call->json, call->parameters, name, v);
}

bool control_has(struct control_call *call, const char *name)
{
	return json_has(&call->json, call->parameters, name);
}

int control_get_item(struct control_call *call, const char *name, unsigned int index, char *buf, size_t size)
{
	return json_item(&call->json, call->parameters, name, index, buf, size);
}

int control_take_fd(struct control_call *call)
{
	int fd = call->passed_fd;

	call->passed_fd = -1;
	return fd;
}

int control_call_fd(const struct control_call *call)
{
	return call->hangup_fd;
}

/* Sends the @len characters of @text and the NUL behind them. */
static void control_say(struct control_call *call, const char *text, int len, uint64_t timeout_ms)
{
	int ret;

	assert(!call->answered && len > 0 && (size_t)len < CONTROL_MESSAGE_MAX);
	if (call->oneway)
		return;
	ret = control_send_bytes(call->fd, text, (size_t)len + 1, timeout_ms);
	if (ret == 0 || (ret == -ETIMEDOUT && timeout_ms == 0))
		return;
	/* A message cut short would make what follows a part of it, and without an answer the next would be
	 * taken for it. */
	call->last = true;
	shutdown(call->fd, SHUT_RDWR);
}

void control_progress(struct control_call *call, const char *parameters)
{
	char text[CONTROL_MESSAGE_MAX];

	/* Progress must not hold up what it reports on. */
	if (call->more)
		control_say(
			call, text,
			snprintf(text, sizeof(text), "{\"parameters\":%s,\"continues\":true}", parameters),
			0);
}

void control_reply(struct control_call *call, const char *parameters)
{
	char text[CONTROL_MESSAGE_MAX];

	control_say(call, text, snprintf(text, sizeof(text), "{\"parameters\":%s}", parameters),
		    CONTROL_REPLY_TIMEOUT_MS);
	call->answered = true;
}

void control_fail_with(struct control_call *call, const char *error, const char *parameters)
{
	char text[CONTROL_MESSAGE_MAX];

	assert(strlen(error) < 128);
	control_say(call, text,
		    snprintf(text, sizeof(text), "{\"error\":\"%s\",\"parameters\":%s}", error, parameters),
		    CONTROL_REPLY_TIMEOUT_MS);
	call->answered = true;
}

/* A reason is some sentences; the longest there is, all of it escaped. */
#define CONTROL_REASON_MAX (6 * ERROR_TEXT_MAX)

void control_fail_by(struct control_call *call, const char *error, const char *name, const char *value)
{
	char parameters[CONTROL_REASON_MAX + 64], quoted[CONTROL_REASON_MAX];

	assert(strlen(name) < 32);
	json_quote(value, quoted, sizeof(quoted));
	snprintf(parameters, sizeof(parameters), "{\"%s\":%s}", name, quoted);
	control_fail_with(call, error, parameters);
}

void control_fail(struct control_call *call, const char *error, const char *reason)
{
	control_fail_by(call, error, "reason", reason);
}

void control_fail_parameter(struct control_call *call, const char *name)
{
	control_fail_by(call, SERVICE_ERROR_PARAMETER, "parameter", name);
}
