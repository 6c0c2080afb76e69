/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "events": one call to each VM, whose replies are the events. */
#include "vmm/control/event_commands.h"

#include <stdio.h>

#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/several.h"
#include "vmm/text.h"

/* Prints an event that the VM tells as @object: {"event": ..., "data": ...}. */
static void events_print(struct several_vm *vm, const struct client_options *o, const char *object, bool last)
{
	char when[TEXT_TIME_MAX], event[64] = "?", data[CONTROL_MESSAGE_MAX] = "";

	text_time(when, realtime_ns());
	if (client_has(o, OPTION_JSON)) {
		printf("{\"time\":\"%s\",\"name\":\"%s\"", when, vm->name);
		client_print_behind(object);
		return;
	}
	json_object_string(object, "event", event, sizeof(event));
	text_clean(event, strlen(event));
	printf("%s %-24s %s", when, vm->name, event);
	if (follow_object(object, "data", data, sizeof(data))) {
		putchar(' ');
		client_print_json(data);
	} else {
		putchar('\n');
	}
	fflush(stdout);
}

int client_events(int argc, char **argv)
{
	struct client_options o;
	int status = client_several(&o, COMMAND_EVENTS, argc, argv);

	return status ? status : several_hear(&o, MACHINE_METHOD("SubscribeEvents"), events_print);
}
