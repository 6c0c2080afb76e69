/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of one VM, and the steps of its start that "run" and "receive" share. One of these to a
 * process; all functions: the main thread, unless they say otherwise.
 */
#ifndef FERRY_VMM_APP_APP_H
#define FERRY_VMM_APP_APP_H

#include "devices/machine.h"
#include "migration/report_file.h"
#include "vmm/app/instance.h"
#include "vmm/config.h"
#include "vmm/control/server.h"
#include "vmm/guard.h"
#include "vmm/limits.h"
#include "vmm/reset.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/boot_files.h"

struct app;

/* Work that is done for a guest while it comes, or while the machine is built, on a thread of its own. */
struct app_work {
	int (*const *steps)(struct app *app, struct error *err);
	bool running;
	pthread_t thread;
	/* An eventfd: the work has ended, with @ret and @err. */
	int done_fd;
	int ret;
	struct error err;
};

/* The process of one VM: what "run" and "receive" build, in this order, and take down in the other. */
struct app {
	struct vm_config config;
	struct guard guard;
	/* The guest's size: the operator's words, or the source's. */
	uint64_t mem;
	unsigned int cpus;
	struct boot_files boot;
	struct boot_entry entry;
	/* The connection to the source, while the guest comes. */
	struct destination *source;
	/* For messages of sources that asked, or whose guests cannot come. */
	struct log_limit checked_limit, refused_limit;
	bool has_vm;
	struct vm vm;
	/* The guard's word that a signal came, for the VM. */
	struct loop_source stop;
	/* The guard's word that the guest is to be asked to shut down. */
	struct loop_source press;
	struct reset reset;
	/* Clients are answered from the start on, with what there is of a guest. */
	struct control *control;
	struct control_offer offers[3];
	struct methods methods;
	struct events events;
	struct instance instance;
	struct entrance entrance;
	struct machine machine;
	struct app_work work;
	/* Of a guest that comes. */
	struct report_file report;
};

/* Makes one of which nothing has been built: its configuration is still to be read. */
void app_init(struct app *app);

/* Takes steps in their order, up to the first that fails. The list ends with NULL. */
int __must_check app_take(struct app *app, int (*const *steps)(struct app *app, struct error *err),
			  struct error *err);

/* How the guest's memory is used by the devices that it is to have. */
enum limits_use app_memory_use(const struct vm_config *config);

/* Tells a service manager, which may have units wait for that, and may not be there. */
void app_say_ready(void);

/* Steps, in the order in which they can be taken; app->mem and app->cpus are known from app_begin() on. */
int __must_check app_listen(struct app *app, struct error *err);
/* Has systemd-machined know of the VM, as --register says. */
int __must_check app_register(struct app *app, struct error *err);
int __must_check app_open_backends(struct app *app, struct error *err);
int __must_check app_check_descriptors(struct app *app, struct error *err);
/* Says what the guest lacks where the host gives it no huge pages. */
int __must_check app_foresee_pages(struct app *app, struct error *err);
/* The VM, without anything of the host's but a loop; then memory, which may as well come later. */
int __must_check app_begin(struct app *app, struct error *err);
int __must_check app_fill(struct app *app, struct error *err);
/* The part of the machine that costs the same for every size. */
int __must_check app_frame(struct app *app, struct error *err);
/* The rest of the machine, once there is memory. The following: any thread, one at a time. */
int __must_check app_equip(struct app *app, struct error *err);
int __must_check app_keep_power_on(struct app *app, struct error *err);
int __must_check app_map(struct app *app, struct error *err);
int __must_check app_wait_mapped(struct app *app, struct error *err);

#endif
