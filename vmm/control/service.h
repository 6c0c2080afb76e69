/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interfaces that a control socket has, and the way of a call to its method. Varlink's own interface,
 * org.varlink.service, is every socket's. */
#ifndef FERRY_VMM_CONTROL_SERVICE_H
#define FERRY_VMM_CONTROL_SERVICE_H

#include "vmm/control/call.h"

/* An interface: constant, and any thread's. */
struct control_interface {
	const char *name;
	/* In Varlink's language, for those who ask. */
	const char *description;
	const struct control_method *methods;
	unsigned int n_methods;
};

/* What a socket offers: an interface, and what its methods work on. */
struct control_offer {
	const struct control_interface *interface;
	void *opaque;
};

/* Interfaces of one socket, beside Varlink's own. */
#define CONTROL_MAX_OFFERS 8u

struct control_service {
	const struct control_offer *offers;
	unsigned int n_offers;
};

extern const struct control_interface control_service_interface;

/* Parses @call's message and runs the method that it names, or answers why not. The call's thread. */
void control_dispatch(struct control_call *call, const struct control_service *service);

#endif
