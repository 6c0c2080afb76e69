/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "run": the boot order. */
#include "vmm/app/run.h"

#include "vmm/app/work.h"

/* A kernel that starts touches most of what it then has, page by page: entering memory that is there anyway
 * takes a fraction of the faults' time. In a guest larger than this that fraction would be of memory that it
 * may never touch. */
#define APP_PREFAULT_MAX GIB(1)

static int app_open_boot(struct app *app, struct error *err)
{
	const struct vm_config *config = &app->config;

	return boot_files_open(&app->boot, config->kernel, config->initrd, config->cmdline, err);
}

static int app_load(struct app *app, struct error *err)
{
	return boot_load(&app->vm.memory, &app->boot, &app->entry, err);
}

/* Memory gets its contents, while KVM makes a VM, which is waiting for the most part. */
static int (*const app_load_steps[])(struct app *app, struct error *err) = { app_open_boot, app_load, NULL };

static int app_begin_load(struct app *app, struct error *err)
{
	return app_work_begin(app, app_load_steps, err);
}

static int app_boot(struct app *app, struct error *err)
{
	int ret = app_work_end(app, err);

	return ret < 0 ? ret : reset_enter(&app->vm, &app->entry, err);
}

static int app_go(struct app *app, struct error *err)
{
	vm_prefault_present(&app->vm, APP_PREFAULT_MAX);
	gate_resume(&app->vm.gate);
	return 0;
}

int (*const app_run_steps[])(struct app *app, struct error *err) = {
	/* The name is this process's from here on, and whoever calls it is answered. */
	app_listen,
	app_register,
	/* The host gives devices and descriptors. */
	app_open_backends,
	app_check_descriptors,
	/* The machine. */
	app_begin,
	app_fill,
	app_begin_load,
	app_frame,
	app_equip,
	app_keep_power_on,
	/* A device may have pages moved: nobody else is to use them then. */
	app_boot,
	app_map,
	app_foresee_pages,
	/* The guest begins while the last device still gets its memory. */
	app_go,
	app_wait_mapped,
	NULL,
};
