/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the process that has a VM: see the header. */
#include "vmm/app/life.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vmm/app/work.h"
#include "vmm/huge_pages.h"
#include "vmm/shortage.h"

static void app_destroy(struct app *app)
{
	struct error dropped = { 0 };

	if (app->control)
		control_destroy(app->control);
	methods_exit(&app->methods);
	entrance_exit(&app->entrance);
	if (app->work.running)
		app->work.ret = app_work_end(app, &dropped);
	if (app->work.done_fd >= 0)
		close(app->work.done_fd);
	/* vCPUs first: nothing else may be in a device when it goes. */
	if (app->has_vm)
		gate_stop(&app->vm.gate);
	reset_exit(&app->reset);
	if (machine_destroy(&app->machine) && app->has_vm)
		vm_destroy(&app->vm);
	boot_files_close(&app->boot);
	report_file_close(&app->report);
	events_exit(&app->events);
}

static int app_live(struct app *app, int (*const *steps)(struct app *app, struct error *err))
{
	struct error err = { 0 };
	int ret;

	ret = log_start();
	if (ret < 0)
		error_add(&err, "cannot start the thread that writes messages: %s%s", strerror(-ret),
			  shortage_advice(ret));
	if (ret == 0)
		ret = app_take(app, steps, &err);
	if (ret == 0) {
		guard_started(&app->guard);
		if (!app->config.receives)
			app_say_ready();
		guard_set_button(&app->guard, app->config.stop_s * UINT64_C(1000));
		methods_set_guest(&app->methods, METHODS_HERE, &app->vm);
		ret = loop_run(&app->vm.loop);
	}
	if (ret < 0 && !guard_signal(&app->guard))
		log_error("%s", err.text[0] ? err.text : strerror(-ret));
	return ret < 0 ? VM_EXIT_ERROR : (int)app->vm.gate.exit;
}

int app_main(struct app *app, int (*const *steps)(struct app *app, struct error *err))
{
	struct error err = { 0 };
	int status, signo;

	log_level = app->config.log_level;
	/* Before anything else is opened: the process that takes connections is to have none of it. */
	if (app->config.from_path && door_fork(&app->entrance.door, &err) < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	shortage_raise_descriptors();
	if (guard_init(&app->guard, &err) < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	/* A core file is readable by whoever can read where it is written. */
	if (app->config.core == CORE_NONE && prctl(PR_SET_DUMPABLE, 0) < 0)
		log_warn("core files cannot be switched off: %s", strerror(errno));
	if (app->config.core == CORE_GUEST && app->config.page_size > PAGE_SIZE && huge_pages_dump() < 0)
		log_warn("a core file will be without guest memory in huge pages: see core(5)");
	status = app_live(app, steps);
	app_destroy(app);
	signo = guard_exit(&app->guard);
	log_stop();
	if (signo)
		guard_die(signo);
	return status;
}
