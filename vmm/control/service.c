/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Varlink's own interface, and the way of a call to its method. */
#include "vmm/control/service.h"

#include <assert.h>
#include <stdio.h>

#include "vmm/control/interface.h"

/* The longest name of an interface, of a method with it, and of a parameter that is named in an answer, each
 * with a NUL. */
#define SERVICE_NAME_MAX 128u

/* A description with its quotes, and what stands around it. */
#define SERVICE_REPLY_MAX (CONTROL_MESSAGE_MAX - 256)

static const char service_description[] =
#include "service.varlink.h"
	;

static const struct control_offer *service_find(const struct control_service *service, const char *name)
{
	for (unsigned int i = 0; i < service->n_offers; i++) {
		if (strcmp(service->offers[i].interface->name, name) == 0)
			return &service->offers[i];
	}
	return NULL;
}

static void service_get_info(struct control_call *call, void *opaque)
{
	const struct control_service *service = opaque;
	char text[512 + CONTROL_MAX_OFFERS * SERVICE_NAME_MAX];
	int n = snprintf(text, sizeof(text),
			 "{\"vendor\":\"Ferry\",\"product\":\"ferry\",\"version\":\"%s\",\"url\":\"\","
			 "\"interfaces\":[\"%s\"",
			 FERRY_VERSION, SERVICE_INTERFACE);

	for (unsigned int i = 0; i < service->n_offers; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, ",\"%s\"",
			      service->offers[i].interface->name);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "]}");
	assert((size_t)n < sizeof(text));
	control_reply(call, text);
}

static void service_get_description(struct control_call *call, void *opaque)
{
	const struct control_service *service = opaque;
	char name[SERVICE_NAME_MAX], text[SERVICE_REPLY_MAX], quoted[SERVICE_REPLY_MAX - 32];
	const struct control_interface *interface = &control_service_interface;
	const struct control_offer *offer;

	if (!control_get_string(call, "interface", name, sizeof(name))) {
		control_fail_parameter(call, "interface");
		return;
	}
	if (strcmp(name, SERVICE_INTERFACE) != 0) {
		offer = service_find(service, name);
		interface = offer ? offer->interface : NULL;
	}
	if (!interface) {
		control_fail_by(call, SERVICE_ERROR_NO_INTERFACE, "interface", name);
		return;
	}
	json_quote(interface->description, quoted, sizeof(quoted));
	snprintf(text, sizeof(text), "{\"description\":%s}", quoted);
	control_reply(call, text);
}

static const char *const service_interface_parameter[] = { "interface", NULL };

static const struct control_method service_methods[] = {
	{ .name = "GetInfo", .fn = service_get_info },
	{ .name = "GetInterfaceDescription",
	  .fn = service_get_description,
	  .parameters = service_interface_parameter },
};

const struct control_interface control_service_interface = {
	.name = SERVICE_INTERFACE,
	.description = service_description,
	.methods = service_methods,
	.n_methods = ARRAY_SIZE(service_methods),
};

/* A name that is misspelled must not pass for one that was left out. False if the call has been answered. */
static bool service_check_parameters(struct control_call *call, const struct control_method *method)
{
	static const char *const none[] = { NULL };
	char name[SERVICE_NAME_MAX];

	if (!json_other(&call->json, call->parameters, method->parameters ? method->parameters : none, name,
			sizeof(name)))
		return true;
	control_fail_parameter(call, name);
	return false;
}

/* Calls the method @name, whose full name is @full. */
static void service_call(struct control_call *call, const struct control_offer *offer, const char *name,
			 const char *full)
{
	const struct control_interface *interface = offer->interface;
	const struct control_method *method = NULL;

	for (unsigned int i = 0; i < interface->n_methods; i++) {
		if (strcmp(interface->methods[i].name, name) == 0)
			method = &interface->methods[i];
	}
	if (!method)
		control_fail_by(call, SERVICE_ERROR_NO_METHOD, "method", full);
	else if (!method->fn)
		control_fail_by(call, SERVICE_ERROR_NOT_IMPLEMENTED, "method", full);
	else if (method->mode == CONTROL_NEEDS_MORE && !call->more)
		control_fail_with(call, SERVICE_ERROR_MORE, "{}");
	else if (service_check_parameters(call, method))
		method->fn(call, offer->opaque);
	assert(call->answered);
}

/* Finds the interface of @full, and calls its method. */
static void service_route(struct control_call *call, const struct control_service *service, const char *full)
{
	const struct control_offer own = { &control_service_interface, (void *)service }, *offer = &own;
	const char *dot = strrchr(full, '.');
	char name[SERVICE_NAME_MAX];

	snprintf(name, sizeof(name), "%.*s", dot ? (int)(dot - full) : (int)strlen(full), full);
	if (strcmp(name, SERVICE_INTERFACE) != 0)
		offer = service_find(service, name);
	if (dot && offer)
		service_call(call, offer, dot + 1, full);
	else
		control_fail_by(call, SERVICE_ERROR_NO_INTERFACE, "interface", name);
}

/* Reads what a call has beside its method. Returns the member that is wrong, NULL if all is well. */
static const char *service_read(struct control_call *call)
{
	static const char *const flags[] = { "more", "oneway", "upgrade" };
	struct json *json = &call->json;
	bool set[ARRAY_SIZE(flags)] = { false };

	call->parameters = NULL;
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		if (json_has(json, json->tokens, flags[i]) &&
		    !json_bool(json, json->tokens, flags[i], &set[i]))
			return flags[i];
	}
	call->more = set[0];
	call->oneway = set[1];
	/* No method makes another protocol of the connection. */
	if (set[2])
		return flags[2];
	if (!json_has(json, json->tokens, "parameters"))
		return NULL;
	call->parameters = json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	return call->parameters ? NULL : "parameters";
}

void control_dispatch(struct control_call *call, const struct control_service *service)
{
	struct json *json = &call->json;
	const char *wrong;
	char method[SERVICE_NAME_MAX];

	call->more = call->oneway = call->answered = call->last = false;
	if (!json_parse(json, call->message, strlen(call->message)) ||
	    !json_string(json, json->tokens, "method", method, sizeof(method))) {
		/* Nobody knows what else this client means. */
		control_fail(call, CLIENT_ERROR_CALL, "the call is not a JSON object with a method");
		call->last = true;
		return;
	}
	wrong = service_read(call);
	if (wrong)
		control_fail_parameter(call, wrong);
	else
		service_route(call, service, method);
}
