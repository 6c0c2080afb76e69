/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work for a guest that comes: see the header. */
#include "vmm/app/work.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "vmm/shortage.h"

/* Enters the guest's pages that came before KVM had its memory. */
static int app_prefault(struct app *app, struct error *err)
{
	vm_prefault_present(&app->vm, app->vm.memory.size);
	return 0;
}

/* Steps that take longer the larger the guest is. */
static int (*const app_work_steps[])(struct app *app, struct error *err) = {
	app_equip, app_keep_power_on, app_prefault, app_map, app_wait_mapped, NULL,
};

static void *app_work_thread(void *arg)
{
	struct app *app = arg;

	app->work.ret = app_take(app, app_work_steps, &app->work.err);
	loop_signal(app->work.done_fd);
	return NULL;
}

int app_work_begin(struct app *app, struct error *err)
{
	int ret;

	app->work.done_fd = eventfd(0, EFD_CLOEXEC);
	if (app->work.done_fd < 0) {
		error_add(err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	ret = -pthread_create(&app->work.thread, NULL, app_work_thread, app);
	app->work.running = ret == 0;
	if (ret < 0) {
		error_add(err, "cannot start a thread: %s%s", strerror(-ret), shortage_advice(ret));
		return ret;
	}
	return 0;
}

int app_work_end(void *opaque, struct error *err)
{
	struct app *app = opaque;
	struct app_work *work = &app->work;

	/* The path is another destination's, before the source hears that the guest runs here. */
	entrance_close_doors(&app->entrance);

	pthread_join(work->thread, NULL);
	work->running = false;
	if (work->ret < 0) {
		error_add(err, "%s", work->err.text);
		return work->ret;
	}
	return 0;
}
