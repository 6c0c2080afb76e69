/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A destination's process, in the steps of vmm/app/receive.c: it waits for sources, and takes one of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "migration/clock.h"
#include "migration/compare.h"
#include "migration/entrance.h"
#include "migration/incoming.h"
#include "tests/fault/clock.h"
#include "tests/fault/ends.h"
#include "tests/fault/shortage.h"
#include "vmm/control/interface.h"
#include "vmm/control/server.h"
#include "vmm/limits.h"
#include "vmm/x86/boot_files.h"

/* As much as may be locked where nobody has raised a limit. */
#define ARRIVE_PINNED MIB(4)

struct arrive {
	struct world *world;
	unsigned int which;
	const struct end_plan *plan;
	int cancel_fd;
	int work_fd; /* ready: the work beside the guest's coming has ended */
	struct fake_guest *guest;
	bool has_guest;
	struct boot_files boot;
	struct destination destination;
	struct guard guard;
	struct entrance entrance;
	struct control *control;
	struct control_offer offer;
	char path[128];            /* the entrance's */
	struct arrivals_end first; /* of the connection, if it is END_BY_SOCKET */
};

static void method_connect(struct control_call *call, void *opaque)
{
	entrance_connect(opaque, call);
}

static const struct control_method methods[] = { { .name = "Connect", .fn = method_connect } };

static const struct control_interface interface = {
	.name = CLIENT_INTERFACE,
	.methods = methods,
	.n_methods = ARRAY_SIZE(methods),
};

static int arrive_open_control(struct arrive *a, struct error *err)
{
	const struct control_config config = { .runtime_dir = a->plan->dir,
					       .name = "web1",
					       .offers = &a->offer,
					       .n_offers = 1,
					       .guard = &a->guard };

	a->offer = (struct control_offer){ &interface, &a->entrance };
	return control_create(&a->control, &config, err);
}

static int arrive_open_door(struct arrive *a, struct error *err)
{
	int ret;

	snprintf(a->path, sizeof(a->path), "%s/door", a->plan->dir);
	ret = entrance_open(&a->entrance, a->path, geteuid(), &a->guard, err);
	a->world->door = a->entrance.door.pid;
	return ret;
}

static int arrive_open_tls(struct arrive *a, struct error *err)
{
	int ret;

	snprintf(a->path, sizeof(a->path), "%s/hostb", a->plan->base);
	ret = entrance_open_tls(&a->entrance, a->plan->place, a->path, "hosta", err);
	a->world->door = a->entrance.tls_door.child.pid;
	return ret;
}

/* Opens the way in. @fd: the connection, if that is the way. */
static int arrive_let_in(struct arrive *a, int fd, struct error *err)
{
	int ret = 0;

	if (a->plan->way_in == END_BY_DOOR)
		ret = door_fork(&a->entrance.door, err);
	if (ret == 0)
		ret = guard_init(&a->guard, err);
	if (ret == 0)
		ret = entrance_init(&a->entrance, "this VM is still starting", err);
	if (ret < 0)
		return ret;
	arrivals_open(&a->entrance.arrivals);
	switch (a->plan->way_in) {
	case END_BY_DOOR:
		return arrive_open_door(a, err);
	case END_BY_CALL:
		return arrive_open_control(a, err);
	case END_BY_TLS:
		return arrive_open_tls(a, err);
	default:
		a->first.fd = eventfd(0, EFD_CLOEXEC);
		return arrivals_push(&a->entrance.arrivals, fd, realtime_ns(), &a->first, err);
	}
}

/* Without a right that root has: that the limit of locked memory holds. */
static void arrive_drop_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capset, &head, caps) < 0)
		_exit(5);
}

static int arrive_prepare(struct arrive *a, struct error *err)
{
	struct destination *d = &a->destination;
	struct fake_guest *g = a->guest;
	int ret = a->plan->pins ? limits_check_memlock(ARRIVE_PINNED, err) : 0;

	if (ret == 0)
		ret = fake_guest_try_init(g, d->mem, d->cpus, err);
	a->has_guest = ret == 0;
	if (ret < 0)
		return ret;
	a->boot = BOOT_FILES_NONE;
	g->vm.boot = &a->boot;
	g->devices[1].holder = &a->world->holders[end_guest_of(d->mem)];
	if (a->which == WORLD_DESTINATION) {
		g->refuse_accept = a->plan->refuse_accept;
		g->devices[0].refuse_warm = a->plan->refuse_warm;
		g->devices[1].refuse_load = a->plan->refuse_load;
	}
	ret = compare_hello(d, &g->vm, err);
	if (ret < 0)
		return ret;
	arrivals_close(&a->entrance.arrivals, "another source was faster, and its guest is being received");
	return destination_ready(d, err);
}

static void arrive_turn_away(struct arrive *a, const struct error *reason)
{
	destination_refuse(&a->destination, reason);
	destination_close(&a->destination);
	arrivals_settle(&a->entrance.arrivals, -ENOTSUP, reason->text);
	destination_report_end(&a->destination, reason);
	end_keep_report(a->plan, a->which, &a->destination.report);
	if (a->has_guest)
		fake_guest_exit(a->guest);
	arrivals_open(&a->entrance.arrivals);
}

/* Beside the guest's coming: before the source hears that the guest runs here, the path is another's. */
static int arrive_end_work(void *opaque, struct error *err)
{
	struct arrive *a = opaque;
	const struct memory *m = &a->guest->vm.memory;

	entrance_close_doors(&a->entrance);
	for (uint64_t at = 0; a->plan->pins && at < ARRIVE_PINNED; at += MIB(1)) {
		if (mlock(m->regions[0].hva + at, MIB(1)) < 0) {
			error_add(err, "cannot pin the guest's memory: %s", strerror(errno));
			return -errno;
		}
	}
	return 0;
}

/* Returns 1 where the guest does not come, and the next source may. */
static int arrive_meet(struct arrive *a, struct error *err)
{
	struct incoming_work work = { .fd = a->work_fd, .end = arrive_end_work, .opaque = a };
	struct error reason = { 0 };
	int ret = arrive_prepare(a, &reason);

	if (ret < 0) {
		arrive_turn_away(a, &reason);
		return 1;
	}
	ret = incoming_run(&a->destination, &a->guest->vm, &work, err);
	end_keep_report(a->plan, a->which, &a->destination.report);
	destination_close(&a->destination);
	arrivals_settle(&a->entrance.arrivals, ret, err->text);
	arrivals_close(&a->entrance.arrivals, "this VM has its guest already");
	end_say(&a->world->ends[a->which], a->guest, ret, err);
	return ret;
}

static int arrive_wait(struct arrive *a, struct error *err)
{
	const struct destination_config config = { .arrivals = &a->entrance.arrivals,
						   .cancel_fd = a->cancel_fd,
						   .clock_skew_ns = a->plan->clock_skew_ns
									    ? a->plan->clock_skew_ns
									    : UINT64_MAX };
	struct end_report *r = &a->world->ends[a->which];
	int ret;

	do {
		ret = destination_accept(&a->destination, &config, err);
		if (ret == 0)
			ret = arrive_meet(a, err);
	} while (ret == 1);
	snprintf(r->refused, sizeof(r->refused), "%s", a->first.reason.text);
	return ret;
}

void end_be_destination(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			const struct end_fds *fds)
{
	struct arrive a = { .world = w,
			    .which = which,
			    .plan = plan,
			    .cancel_fd = fds->cancel_fd,
			    .guest = end_guest(which),
			    .entrance = { .arrivals.event_fd = -1, .door.fd = -1 } };
	struct error err = { 0 };
	int ret;

	clock_is_set_by(&w->clock_ns[which]);
	if (plan->pins)
		arrive_drop_rights();
	a.work_fd = eventfd(1, EFD_CLOEXEC);
	ret = arrive_let_in(&a, fds->fd, &err);
	shortage_counts(&w->left[which]);
	if (ret == 0 && plan->way_in != END_BY_SOCKET)
		end_tell(e->fd);
	if (ret == 0)
		ret = arrive_wait(&a, &err);
	if (ret < 0) {
		w->ends[which].result = ret;
		snprintf(w->ends[which].reason, sizeof(w->ends[which].reason), "%s", err.text);
	}
	end_tell(e->fd);
	/* The guest's life goes on until the world ends. */
	while (ret == 0 && recv(e->fd, &(char){ 0 }, 1, 0) > 0)
		;
	_exit(0);
}
