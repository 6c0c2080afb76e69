/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work beside the main thread: see the header. */
#include "vmm/app/work.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "vmm/shortage.h"

static void *app_work_thread(void *arg)
{
	struct app *app = arg;

	app->work.ret = app_take(app, app->work.steps, &app->work.err);
	loop_signal(app->work.done_fd);
	return NULL;
}

int app_work_begin(struct app *app, int (*const *steps)(struct app *app, struct error *err),
		   struct error *err)
{
	app->work.steps = steps;
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

int app_work_end(struct app *app, struct error *err)
{
	struct app_work *work = &app->work;

	pthread_join(work->thread, NULL);
	work->running = false;
	if (work->ret < 0) {
		error_add(err, "%s", work->err.text);
		return work->ret;
	}
	return 0;
}
