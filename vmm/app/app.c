/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process of one VM: how its parts are made. */
#include "vmm/app/app.h"

#include <errno.h>
#include <stdlib.h>

#include "migration/destination.h"
#include "vmm/control/machined.h"
#include "vmm/control/socket.h"
#include "vmm/huge_pages.h"
#include "vmm/notify.h"
#include "vmm/power.h"
#include "vmm/shortage.h"
#include "vmm/x86/cpu_baseline.h"
#include "vmm/x86/platform.h"

_Static_assert(CONFIG_MAX_NODES == MEMORY_MAX_NODES, "what is parsed can be asked for");

/* File descriptors that the VM, the kernel, the serial port, clients of the control socket and a migration
 * open or pass, beside vCPUs and devices. */
#define APP_DESCRIPTORS (47u + 2 * CONTROL_MAX_CLIENTS + CONTROL_MAX_CALLS)

void app_init(struct app *app)
{
	*app = (struct app){ .machine = { .config = &app->config, .guard = &app->guard },
			     .methods.here_fd = -1,
			     .boot = BOOT_FILES_NONE,
			     .entrance = { .arrivals.event_fd = -1, .door.fd = -1 },
			     .reset.due.fd = -1,
			     .work.done_fd = -1 };
	events_init(&app->events);
}

int app_take(struct app *app, int (*const *steps)(struct app *app, struct error *err), struct error *err)
{
	int ret = 0;

	for (; ret == 0 && *steps; steps++)
		ret = (*steps)(app, err);
	return ret;
}

int app_listen(struct app *app, struct error *err)
{
	app->instance =
		(struct instance){ .methods = &app->methods, .guard = &app->guard, .events = &app->events };
	app->offers[0] = (struct control_offer){ &methods_interface, &app->methods };
	app->offers[1] = (struct control_offer){ &instance_interface, &app->instance };
	app->offers[2] = (struct control_offer){ &instance_marker, NULL };

	const struct control_config config = {
		.runtime_dir = app->config.runtime_dir,
		.name = app->config.name,
		.offers = app->offers,
		.n_offers = ARRAY_SIZE(app->offers),
		.guard = &app->guard,
	};
	int ret = entrance_init(
		&app->entrance,
		app->config.receives ? "this Ferry is still starting" : "this VM has its guest already", err);

	if (ret == 0)
		ret = methods_init(&app->methods, &app->entrance, err);
	app->methods.config = &app->config;
	return ret < 0 ? ret : control_create(&app->control, &config, err);
}

int app_register(struct app *app, struct error *err)
{
	const struct vm_config *config = &app->config;
	struct sockaddr_un addr;
	struct error reason = { 0 };
	char *folder;
	int ret;

	if (config->registers == REGISTER_NO)
		return 0;
	folder = realpath(config->runtime_dir, NULL);
	ret = folder ? 0 : -errno;
	if (ret < 0)
		error_add(&reason, "cannot find where %s is: %s", config->runtime_dir, strerror(-ret));
	else
		ret = control_address(&addr, folder, config->name, &reason);
	free(folder);
	if (ret == 0)
		ret = machined_register(MACHINED_SOCKET, config->name, addr.sun_path, &reason);
	if (ret == 0)
		return 0;
	if (config->registers == REGISTER_YES) {
		error_add(err, "--register yes: %s", reason.text);
		return ret;
	}
	if (ret != -ENOENT)
		log_info("machinectl will not know of the VM: %s", reason.text);
	return 0;
}

int app_open_backends(struct app *app, struct error *err)
{
	return machine_open(&app->machine, err);
}

/* A vDPA device reaches all of its guest's memory from the start. */
enum limits_use app_memory_use(const struct vm_config *config)
{
	enum limits_use use = LIMITS_LAZY;

	for (unsigned int i = 0; i < config->n_nets; i++)
		use = config->nets[i].vdpa ? LIMITS_PINNED : use;
	return use;
}

void app_say_ready(void)
{
	struct error err = { 0 };

	if (notify_ready(&err) < 0)
		log_warn("%s", err.text);
}

/* Checks the limit of file descriptors for all at once: guest and devices open theirs one by one, and only
 * the last of them would find none left. */
int app_check_descriptors(struct app *app, struct error *err)
{
	return shortage_check_descriptors(
		APP_DESCRIPTORS + app->config.cpus + machine_descriptors(&app->machine), err);
}

/* Memory of a guest with a vDPA device is moved into huge pages, whether the host gives them or not. */
int app_foresee_pages(struct app *app, struct error *err)
{
	if (app->config.page_size == PAGE_SIZE && app_memory_use(&app->config) == LIMITS_LAZY &&
	    !huge_pages_transparent(HUGE_PAGES_SYS))
		log_info("the host gives no huge pages to the guest's memory, which costs time as it comes "
			 "into use: "
			 "write advise to /sys/kernel/mm/transparent_hugepage/shmem_enabled, or see "
			 "--hugepages");
	return 0;
}

int app_begin(struct app *app, struct error *err)
{
	int ret = vm_begin(&app->vm, app->mem, err);

	app->has_vm = true;
	app->vm.memory.dumped = app->config.core == CORE_GUEST;
	app->vm.memory.node = app->config.node;
	app->vm.memory.page_size = app->config.page_size;
	/* VDUSE's devices are processes. */
	app->vm.memory.mapped_elsewhere = app_memory_use(&app->config) == LIMITS_PINNED;
	app->vm.stop_fd = app->guard.stop_fd;
	app->vm.boot = &app->boot;
	app->vm.events = &app->events;
	return ret;
}

static int app_make_vm(struct app *app, struct error *err)
{
	int ret = vm_frame(&app->vm, app->config.kvm, app->cpus, err);

	/* A guest with another number of vCPUs is refused when all is compared. */
	for (unsigned int i = 0; ret == 0 && app->config.vcpus.pinned && i < app->vm.n_vcpus; i++)
		app->vm.vcpus[i].host_cpu = app->config.vcpus.pins[i];
	return ret;
}

/* Leaves out what the hosts that the guest is to move between do not have in common. */
static int app_limit_cpu(struct app *app, struct error *err)
{
	struct cpuid_offer offer;
	int ret;

	if (!app->config.cpu_baseline)
		return 0;
	ret = cpu_baseline_load(&offer, app->config.cpu_baseline, err);
	return ret < 0 ? ret : vm_limit_cpu(&app->vm, &offer, err);
}

/* The guard's word stays, so it is not watched any longer. */
static void app_stopped(struct loop_source *src, uint32_t events)
{
	struct app *app = container_of(src, struct app, stop);

	loop_del(&app->vm.loop, src);
	gate_end(&app->vm.gate, VM_EXIT_ERROR);
}

/* The first SIGTERM. A guest that stands still hears no button. */
static void app_pressed(struct loop_source *src, uint32_t events)
{
	struct app *app = container_of(src, struct app, press);
	const char *state = methods_guest_state(&app->methods);

	loop_take(src->fd);
	if (strcmp(state, "running") != 0 && strcmp(state, "migrating") != 0) {
		guard_end(&app->guard);
		return;
	}
	log_info("the guest's power button is pressed: it has %u s to shut down, and the next SIGTERM ends "
		 "it at "
		 "once",
		 app->config.stop_s);
	power_press(&app->vm.irqs);
	events_tell(&app->events, EVENT_POWERDOWN);
}

static int app_watch_signals(struct app *app, struct error *err)
{
	int ret;

	app->press = (struct loop_source){ .fd = app->guard.press_fd, .fn = app_pressed };
	app->stop = (struct loop_source){ .fd = app->guard.stop_fd, .fn = app_stopped };
	ret = loop_add(&app->vm.loop, &app->stop, EPOLLIN);
	if (ret == 0)
		ret = loop_add(&app->vm.loop, &app->press, EPOLLIN);
	if (ret < 0) {
		error_add(err, "cannot watch signals: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

static int app_watch_reset(struct app *app, struct error *err)
{
	bool pinned = app_memory_use(&app->config) == LIMITS_PINNED;

	if (app->config.on_reset == RESET_ENDS)
		return 0;
	return reset_init(&app->reset, &app->vm, pinned ? MEMORY_OVERWRITE : MEMORY_DROP, err);
}

static int app_add_platform(struct app *app, struct error *err)
{
	return platform_init(&app->vm.pio, &app->vm.gate, err);
}

static int app_add_devices(struct app *app, struct error *err)
{
	unsigned int devices = app->source ? destination_devices(app->source) : app->config.devices;

	app->vm.board = devices;
	return machine_build(&app->machine, &app->vm, devices, err);
}

static int (*const app_frame_steps[])(struct app *app, struct error *err) = {
	app_make_vm,     app_limit_cpu, app_watch_signals, app_watch_reset, app_add_platform,
	app_add_devices, NULL,
};

int app_frame(struct app *app, struct error *err)
{
	return app_take(app, app_frame_steps, err);
}

int app_fill(struct app *app, struct error *err)
{
	int ret = vm_fill(&app->vm, err);

	if (ret == 0)
		memory_want_huge(&app->vm.memory);
	return ret;
}

/* The rest of the machine, once there is memory: KVM's tables for that, and vCPUs. Their threads come before
 * the devices have memory: the kernel is busy with the process's memory then. */
int app_equip(struct app *app, struct error *err)
{
	int ret = vm_equip(&app->vm, err);

	return ret < 0 ? ret : vm_start(&app->vm, err);
}

int app_keep_power_on(struct app *app, struct error *err)
{
	return app->config.on_reset == RESET_RESTARTS ? vm_keep_power_on(&app->vm, err) : 0;
}

int app_map(struct app *app, struct error *err)
{
	return machine_map(&app->machine, err);
}

int app_wait_mapped(struct app *app, struct error *err)
{
	return machine_wait_mapped(&app->machine, err);
}
