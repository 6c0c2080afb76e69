/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that is awaited, is here, or moves; and the parameters of calls. */
#include "migration/methods_guest.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/control/interface.h"
#include "vmm/control/server.h"
#include "vmm/loop.h"
#include "vmm/shortage.h"

/* Time for which a call waits for a guest that is about to run: whoever has started it, or moved it here, may
 * be faster than the last steps of that. */
#define METHODS_HERE_MS 2000

/* Calls at a time that wait for others: all places for calls but some, which those that are answered at once
 * have among themselves. A cancel is one, and the one migration that runs stays in one. */
#define METHODS_MAX_STAYING (CONTROL_MAX_CALLS - 3)

int methods_init(struct methods *m, struct entrance *entrance, struct error *err)
{
	*m = (struct methods){ .here_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .entrance = entrance };
	if (m->here_fd < 0) {
		error_add(err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	job_init(&m->job);
	return 0;
}

void methods_exit(struct methods *m)
{
	if (m->here_fd < 0)
		return;
	job_stop(&m->job);
	job_exit(&m->job);
	close(m->here_fd);
	m->here_fd = -1;
}

void methods_set_guest(struct methods *m, enum methods_guest guest, struct vm *vm)
{
	m->vm = m->job.vm = vm;
	/* Pairs with methods_wait()'s read: who sees METHODS_HERE sees the VM. */
	m->guest = guest;
	if (guest == METHODS_HERE)
		loop_signal(m->here_fd);
}

bool methods_wait(struct methods *m, struct control_call *call)
{
	static const char *const reasons[METHODS_N_GUESTS] = {
		[METHODS_STARTS] = "the guest has not started yet: try again in a moment",
		[METHODS_AWAITED] = "there is no guest here yet: \"ferry receive\" waits for a source",
		[METHODS_ARRIVES] = "the guest is not here yet: it is being received",
	};
	struct pollfd fds[] = { { .fd = m->here_fd, .events = POLLIN },
				{ .fd = control_call_fd(call), .events = POLLIN } };
	enum methods_guest guest = m->guest;

	if (guest != METHODS_HERE && guest != METHODS_AWAITED) {
		poll(fds, ARRAY_SIZE(fds), METHODS_HERE_MS);
		guest = m->guest;
	}
	if (guest == METHODS_HERE)
		return true;
	control_fail(call, CLIENT_ERROR_NOT_RUNNING, reasons[guest]);
	return false;
}

bool methods_stay(struct methods *m, struct control_call *call)
{
	if (atomic_fetch_add(&m->n_staying, 1) < METHODS_MAX_STAYING)
		return true;
	atomic_fetch_sub(&m->n_staying, 1);
	control_fail(call, CLIENT_ERROR_BUSY,
		     "as many clients as may wait here do so already: try again when one of them has ended");
	return false;
}

void methods_stayed(struct methods *m)
{
	atomic_fetch_sub(&m->n_staying, 1);
}

bool methods_invalid(struct control_call *call, const char *name)
{
	control_fail_parameter(call, name);
	return false;
}

bool methods_number(struct control_call *call, const char *name, uint64_t min, uint64_t max, uint64_t *v)
{
	uint64_t n = 0;

	if (!control_has(call, name))
		return true;
	if (!control_get_number(call, name, &n) || n < min || n > max)
		return methods_invalid(call, name);
	*v = n;
	return true;
}

const char *methods_guest_state(struct methods *m)
{
	static const char *const states[METHODS_N_GUESTS] = {
		[METHODS_STARTS] = "starting",
		[METHODS_AWAITED] = "waiting",
		[METHODS_ARRIVES] = "arriving",
	};
	enum methods_guest guest = m->guest;

	return guest == METHODS_HERE ? job_guest_state(&m->job) : states[guest];
}
