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
	ret = control_send_bytes(call->fd, text, (size_t)len + 1, timeout_ms);
	/* A message cut short would make what follows a part of it. */
	if (ret < 0 && ret != -ETIMEDOUT)
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

void control_fail(struct control_call *call, const char *error, const char *reason)
{
	char parameters[CONTROL_REASON_MAX + 16], quoted[CONTROL_REASON_MAX];

	json_quote(reason, quoted, sizeof(quoted));
	snprintf(parameters, sizeof(parameters), "{\"reason\":%s}", quoted);
	control_fail_with(call, error, parameters);
}

/* A name that is misspelled must not pass for one that was left out. False if the call has been answered. */
static bool control_check_parameters(struct control_call *call, const struct control_method *method)
{
	char name[64], reason[192];

	if (!method->parameters ||
	    !json_other(&call->json, call->parameters, method->parameters, name, sizeof(name)))
		return true;
	snprintf(reason, sizeof(reason), "\"%s\" is no parameter of %s", name, method->name);
	control_fail(call, CLIENT_ERROR_PARAMETER, reason);
	return false;
}

void control_dispatch(struct control_call *call, const struct control_method *methods, unsigned int n_methods,
		      void *opaque)
{
	struct json *json = &call->json;
	char method[128];

	if (!json_parse(json, call->message, strlen(call->message)) ||
	    !json_string(json, json->tokens, "method", method, sizeof(method))) {
		control_fail(call, CLIENT_ERROR_CALL, "not a JSON object with a method");
		return;
	}
	call->parameters = json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	call->more = json_true(json, "more");
	for (unsigned int i = 0; i < n_methods; i++) {
		if (strcmp(methods[i].name, method) != 0)
			continue;
		if (control_check_parameters(call, &methods[i]))
			methods[i].fn(call, opaque);
		assert(call->answered);
		return;
	}
	control_fail(call, "org.varlink.service.MethodNotFound", method);
}
