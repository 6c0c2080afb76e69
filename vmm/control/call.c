/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call of the control socket and its answer. */
#include "vmm/control/call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

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

int control_call_fd(const struct control_call *call)
{
	return call->hangup_fd;
}

static void control_answer(struct control_call *call, const char *text, size_t len, bool continues)
{
	/* Progress that a client does not read is dropped: it must not hold up what it reports on. */
	int ret = control_send_bytes(call->fd, text, len, continues ? 0 : CONTROL_REPLY_TIMEOUT_MS);

	/* A message cut short would make what follows a part of it. */
	if (ret < 0 && ret != -ETIMEDOUT)
		shutdown(call->fd, SHUT_RDWR);
}

void control_reply(struct control_call *call, const char *parameters, bool continues)
{
	char text[CONTROL_MESSAGE_MAX];
	int len = snprintf(text, sizeof(text), "{\"parameters\":%s%s}", parameters,
			   continues ? ",\"continues\":true" : "");

	assert(!call->answered && len > 0 && (size_t)len < sizeof(text));
	call->answered = !continues;
	if (!continues || call->more)
		control_answer(call, text, (size_t)len + 1, continues);
}

void control_fail(struct control_call *call, const char *error, const char *reason)
{
	char text[CONTROL_MESSAGE_MAX], quoted[CONTROL_MESSAGE_MAX - 256];
	int len;

	assert(!call->answered && strlen(error) < 128);
	call->answered = true;
	json_quote(reason, quoted, sizeof(quoted));
	len = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"parameters\":{\"reason\":%s}}", error,
		       quoted);
	control_answer(call, text, (size_t)len + 1, false);
}

void control_dispatch(struct control_call *call, const struct control_method *methods, unsigned int n_methods,
		      void *opaque)
{
	struct json *json = &call->json;
	char method[128];

	if (!json_parse(json, call->message, strlen(call->message)) ||
	    !json_string(json, json->tokens, "method", method, sizeof(method))) {
		control_fail(call, "org.ferry.InvalidCall", "not a JSON object with a method");
		return;
	}
	call->parameters = json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	call->more = json_true(json, "more");
	for (unsigned int i = 0; i < n_methods; i++) {
		if (strcmp(methods[i].name, method) != 0)
			continue;
		methods[i].fn(call, opaque);
		assert(call->answered);
		return;
	}
	control_fail(call, "org.varlink.service.MethodNotFound", method);
}
