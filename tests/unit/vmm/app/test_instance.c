/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM as systemd's tools call it, and what Ferry's own interface says of it meanwhile. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "vmm/app/instance.h"
#include "vmm/control/client.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/control/server.h"
#include "vmm/loop.h"
#include "vmm/x86/layout.h"

#define INSTANCE(name) "io.systemd.MachineInstance." name

struct rig {
	struct departure s;
	struct guard guard;
	struct methods methods;
	struct events events;
	struct instance instance;
	struct vm_config config;
	struct control_offer offers[3];
	struct control *control;
	struct control_client client;
	const char *reply; /* the last one's parameters */
	struct error err;
	int reset_fd;
};

/* Edges of the power button's line. */
static unsigned int n_presses;

void irq_set_line(struct irq_table *table, unsigned int gsi, bool high)
{
	assert_int_equal(gsi, LAYOUT_POWER_IRQ);
	n_presses += high;
}

static void rig_init(struct rig *r)
{
	const struct control_config config = { .runtime_dir = places.dir,
					       .name = "web1",
					       .offers = r->offers,
					       .n_offers = ARRAY_SIZE(r->offers),
					       .guard = &r->guard };

	memset(r, 0, sizeof(*r));
	r->instance = (struct instance){ .methods = &r->methods, .guard = &r->guard, .events = &r->events };
	r->offers[0] = (struct control_offer){ &methods_interface, &r->methods };
	r->offers[1] = (struct control_offer){ &instance_interface, &r->instance };
	r->offers[2] = (struct control_offer){ &instance_marker, NULL };
	r->config = (struct vm_config){ .name = "web1",
					.mem = MIB(64),
					.cpus = 2,
					.n_nets = 2,
					.nets = { { .vdpa = "/dev/vhost-vdpa-0", .mode = NET_SHADOW },
						  { .soft = true,
						    .tap = "tap\"0",
						    .mac_set = true,
						    .mac = { 2, 0, 0, 0, 0, 0xfe } } },
					.n_disks = 1,
					.disks = { { .path = "/srv/a.img", .read_only = true } } };
	n_presses = 0;
	events_init(&r->events);
	departure_init(&r->s);
	r->reset_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	gate_set_reset(&r->s.guest.vm.gate, r->reset_fd);
	r->s.guest.vm.events = &r->events;
	r->s.guest.vm.stop_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(guard_init(&r->guard, &r->err), 0);
	assert_int_equal(methods_init(&r->methods, NULL, &r->err), 0);
	r->methods.config = &r->config;
	methods_set_guest(&r->methods, METHODS_HERE, &r->s.guest.vm);
	assert_int_equal(control_create(&r->control, &config, &r->err), 0);
}

static void rig_exit(struct rig *r)
{
	if (r->control)
		control_destroy(r->control);
	methods_exit(&r->methods);
	guard_exit(&r->guard);
	close(r->s.guest.vm.stop_fd);
	close(r->reset_fd);
	departure_exit(&r->s);
	events_exit(&r->events);
}

/* Calls and waits for the reply, which is r->reply. Returns 0 or -errno, with r->client.error and r->err. */
static int ask(struct rig *r, const char *method, const char *parameters)
{
	int ret;

	r->err = (struct error){ 0 };
	assert_int_equal(control_connect(&r->client, places.dir, "web1", &r->err), 0);
	assert_int_equal(control_send(&r->client, method, parameters, CONTROL_RESULT, -1, &r->err), 0);
	ret = control_receive(&r->client, &r->reply, &r->err);
	control_disconnect(&r->client);
	return ret;
}

static void assert_state(struct rig *r, const char *running, const char *state)
{
	char text[64];

	assert_int_equal(ask(r, INSTANCE("Describe"), "{}"), 0);
	snprintf(text, sizeof(text), "{\"running\":%s,\"status\":\"%s\"}", running, state);
	assert_string_equal(r->reply, text);
	assert_int_equal(ask(r, "alt.ferry.Describe", "{}"), 0);
	assert_true(json_object_string(r->reply, "state", text, sizeof(text)));
	assert_string_equal(text, state);
}

static int attached_fd, attach_result;

static int attach(struct device *dev, int fd, struct error *err)
{
	if (attach_result < 0)
		error_add(err, "not this one");
	else
		attached_fd = fd;
	return attach_result;
}

/* Calls for a console, with @fd; returns as ask(). */
static int ask_console(struct rig *r, int fd)
{
	int ret;

	r->err = (struct error){ 0 };
	assert_int_equal(control_connect(&r->client, places.dir, "web1", &r->err), 0);
	assert_int_equal(
		control_send(&r->client, CLIENT_METHOD("Console"), "{}", CONTROL_RESULT, fd, &r->err), 0);
	ret = control_receive(&r->client, &r->reply, &r->err);
	control_disconnect(&r->client);
	return ret;
}

static void a_console_goes_to_the_device_that_takes_one(void **state)
{
	static const struct device_ops ops = { .attach = attach };
	struct device serial = { .ops = &ops, .name = "serial" };
	struct rig r;
	struct device **end = &r.s.guest.vm.devices;
	char byte;
	int fds[2];

	rig_init(&r);
	while (*end)
		end = &(*end)->next;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(ask_console(&r, fds[1]), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NOT_RUNNING);
	*end = &serial;
	attach_result = -EBUSY;
	assert_int_equal(ask_console(&r, fds[1]), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
	attach_result = -EINVAL;
	assert_int_equal(ask_console(&r, -1), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_CONNECTION);
	attach_result = 0;
	assert_int_equal(ask_console(&r, fds[1]), 0);
	/* It outlives the call, and nobody else has it: none of those that were refused, either. */
	assert_int_equal(write(attached_fd, "x", 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[1]);
	close(attached_fd);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	*end = NULL;
	methods_set_guest(&r.methods, METHODS_AWAITED, NULL);
	assert_int_equal(ask_console(&r, -1), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NOT_RUNNING);
	methods_set_guest(&r.methods, METHODS_HERE, &r.s.guest.vm);
	rig_exit(&r);
}

static void a_guest_is_paused_and_goes_on(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_state(&r, "true", "running");
	/* Whoever asks twice finds it done. */
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
		assert_string_equal(r.reply, "{}");
		assert_true(fake_guest_is_paused(&r.s.guest));
		assert_state(&r, "false", "paused");
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
		assert_false(fake_guest_is_paused(&r.s.guest));
		assert_state(&r, "true", "running");
	}
	assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
	assert_int_equal(ask(&r, "alt.ferry.Resume", "{}"), 0);
	assert_false(fake_guest_is_paused(&r.s.guest));
	assert_int_equal(ask(&r, "alt.ferry.Resume", "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NOT_PAUSED);
	rig_exit(&r);
}

/* A migration is not begun, and none is disturbed. */
static void a_pause_and_a_migration_keep_out_of_each_others_way(void **state)
{
	static const char *const calls[] = { INSTANCE("Pause"), INSTANCE("Reboot") };
	struct rig r;
	int fds[2];

	rig_init(&r);
	assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
		assert_int_equal(control_send(&r.client, i ? "alt.ferry.CheckMigration" : "alt.ferry.Migrate",
					      "{}", CONTROL_RESULT, fds[0], &r.err),
				 0);
		assert_int_equal(control_receive(&r.client, &r.reply, &r.err), -EREMOTEIO);
		assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
		control_disconnect(&r.client);
	}
	assert_true(fake_guest_is_paused(&r.s.guest));
	assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
	/* Nobody answers at the other end, so this one stays where it is. */
	assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
	assert_int_equal(control_send(&r.client, "alt.ferry.Migrate", "{\"detach\":true}", CONTROL_RESULT,
				      fds[0], &r.err),
			 0);
	assert_int_equal(control_receive(&r.client, &r.reply, &r.err), 0);
	control_disconnect(&r.client);
	assert_state(&r, "true", "migrating");
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(ask(&r, calls[i], "{}"), -EREMOTEIO);
		assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
	}
	assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
	assert_state(&r, "true", "migrating");
	assert_int_equal(ask(&r, "alt.ferry.CancelMigration", "{}"), 0);
	assert_state(&r, "true", "running");
	assert_int_equal(r.s.guest.vm.gate.n_pauses, 1);
	close(fds[0]);
	close(fds[1]);
	rig_exit(&r);
}

static void a_paused_guests_reset_waits(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
	assert_int_equal(ask(&r, INSTANCE("Reboot"), "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
	/* As a vCPU did that was about to stand still. */
	gate_reset(&r.s.guest.vm.gate);
	loop_take(r.reset_fd);
	/* Who resets takes this flag, and leaves off while it is set. */
	assert_true(atomic_load(&r.s.guest.vm.migrating));
	assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
	assert_false(atomic_load(&r.s.guest.vm.migrating));
	assert_true(loop_take(r.reset_fd));
	gate_reset_done(&r.s.guest.vm.gate);
	assert_int_equal(ask(&r, INSTANCE("Reboot"), "{}"), 0);
	assert_true(loop_take(r.reset_fd));
	gate_reset_done(&r.s.guest.vm.gate);
	rig_exit(&r);
}

static void the_power_button_is_pressed_once(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, INSTANCE("PowerOff"), "{}"), 0);
	assert_int_equal(n_presses, 1);
	assert_state(&r, "true", "running");
	rig_exit(&r);
}

static void what_ends_the_machine_ends_the_process(void **state)
{
	struct pollfd stop;
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, INSTANCE("Terminate"), "{}"), 0);
	stop = (struct pollfd){ .fd = r.guard.stop_fd, .events = POLLIN };
	assert_int_equal(poll(&stop, 1, -1), 1);
	assert_int_equal(guard_signal(&r.guard), SIGTERM);
	rig_exit(&r);
}

/* Waits for the next event of @c. */
static void assert_event(struct rig *r, struct control_client *c, const char *event)
{
	char text[32];

	assert_int_equal(control_receive(c, &r->reply, &r->err), 1);
	assert_true(json_object_string(r->reply, "event", text, sizeof(text)));
	assert_string_equal(text, event);
}

static void subscribe(struct rig *r, struct control_client *c, const char *parameters)
{
	assert_int_equal(control_connect(c, places.dir, "web1", &r->err), 0);
	assert_int_equal(
		control_send(c, INSTANCE("SubscribeEvents"), parameters, CONTROL_PROGRESS, -1, &r->err), 0);
	assert_event(r, c, "READY");
}

static void subscribers_hear_what_happens(void **state)
{
	struct control_client all, some, gone;
	struct rig r;

	rig_init(&r);
	subscribe(&r, &all, "{}");
	subscribe(&r, &some, "{\"filter\":[\"RESUME\",\"POWERDOWN\",\"BALLOON\"]}");
	subscribe(&r, &gone, "{\"filter\":null}");
	control_disconnect(&gone);
	assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
	assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
	assert_int_equal(ask(&r, INSTANCE("PowerOff"), "{}"), 0);
	assert_event(&r, &all, "STOP");
	assert_event(&r, &all, "RESUME");
	assert_event(&r, &all, "POWERDOWN");
	assert_event(&r, &some, "RESUME");
	assert_event(&r, &some, "POWERDOWN");
	control_destroy(r.control);
	r.control = NULL;
	assert_int_equal(control_receive(&all, &r.reply, &r.err), 0);
	assert_string_equal(r.reply, "{\"event\":\"SHUTDOWN\",\"data\":{\"state\":\"ended\"}}");
	control_disconnect(&all);
	control_disconnect(&some);
	rig_exit(&r);
}

/* However many there are, and whether or not they read. */
static void subscribers_keep_no_call_out(void **state)
{
	struct control_client all[CONTROL_MAX_CALLS + 4];
	unsigned int n_busy = 0;
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		assert_int_equal(control_connect(&all[i], places.dir, "web1", &r.err), 0);
		assert_int_equal(control_send(&all[i], INSTANCE("SubscribeEvents"), "{}", CONTROL_PROGRESS,
					      -1, &r.err),
				 0);
		n_busy += control_receive(&all[i], &r.reply, &r.err) == -EREMOTEIO &&
			  strcmp(all[i].error, CLIENT_ERROR_BUSY) == 0;
	}
	assert_true(n_busy >= 4 && n_busy < ARRAY_SIZE(all));
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), 0);
		assert_int_equal(ask(&r, INSTANCE("Resume"), "{}"), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		control_disconnect(&all[i]);
	rig_exit(&r);
}

static void what_is_not_there_is_refused_by_name(void **state)
{
	static const char *const calls[][3] = {
		{ INSTANCE("AddStorage"), "{\"fileDescriptorIndex\":0,\"name\":\"a:b\"}",
		  INSTANCE("NotSupported") },
		{ INSTANCE("RemoveStorage"), "{\"name\":\"a:b\"}", INSTANCE("NotSupported") },
		{ INSTANCE("ReplaceStorage"), "{\"fileDescriptorIndex\":0,\"name\":\"a:b\"}",
		  INSTANCE("NotSupported") },
		{ INSTANCE("AddMemory"), "{}", SERVICE_ERROR_NO_METHOD },
		{ "io.systemd.VirtualMachineInstance.Any", "{}", SERVICE_ERROR_NO_METHOD },
		{ INSTANCE("SubscribeEvents"), "{}", SERVICE_ERROR_MORE },
		{ INSTANCE("Pause"), "{\"force\":true}", SERVICE_ERROR_PARAMETER },
	};
	static const char *const filters[] = { "{\"filter\":\"STOP\"}", "{\"filter\":[7]}",
					       "{\"filter\":[\"AVERYLONGNAMEOFANEVENTTHATNOBODYHAS\"]}" };
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		assert_int_equal(ask(&r, calls[i][0], calls[i][1]), -EREMOTEIO);
		assert_string_equal(r.client.error, calls[i][2]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(filters); i++) {
		assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
		assert_int_equal(control_send(&r.client, INSTANCE("SubscribeEvents"), filters[i],
					      CONTROL_PROGRESS, -1, &r.err),
				 0);
		assert_int_equal(control_receive(&r.client, &r.reply, &r.err), -EREMOTEIO);
		assert_string_equal(r.client.error, SERVICE_ERROR_PARAMETER);
		control_disconnect(&r.client);
	}
	rig_exit(&r);
}

static void a_vm_is_described(void **state)
{
	char text[512];
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, "alt.ferry.Describe", "{}"), 0);
	snprintf(text, sizeof(text),
		 "{\"pid\":%d,\"version\":\"" FERRY_VERSION "\",\"role\":\"run\",\"state\":\"running\","
		 "\"name\":\"web1\",\"memory\":%llu,\"cpus\":%u,\"nics\":["
		 "{\"name\":\"net0\",\"mode\":\"shadow\",\"vdpa\":\"/dev/vhost-vdpa-0\"},"
		 "{\"name\":\"net1\",\"mode\":\"auto\",\"tap\":\"tap\\\"0\",\"mac\":\"02:00:00:00:00:fe\"}],"
		 "\"disks\":[{\"name\":\"disk0\",\"readOnly\":true,\"path\":\"/srv/a.img\"}]}",
		 (int)getpid(), (unsigned long long)r.s.guest.vm.memory.size, r.s.guest.vm.n_vcpus);
	assert_string_equal(r.reply, text);
	/* Before there is a guest it is what was asked for. */
	methods_set_guest(&r.methods, METHODS_AWAITED, NULL);
	r.config.receives = true;
	r.config.mem = 0;
	assert_state(&r, "false", "waiting");
	assert_non_null(strstr(r.reply, "\"role\":\"receive\""));
	assert_null(strstr(r.reply, "\"memory\""));
	assert_non_null(strstr(r.reply, "\"cpus\":2"));
	assert_int_equal(ask(&r, INSTANCE("Pause"), "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NOT_RUNNING);
	rig_exit(&r);
}

/* The largest that can be configured. */
static void a_description_always_fits(void **state)
{
	static char path[4096];
	struct rig r;

	memset(path, '\1', sizeof(path) - 1);
	rig_init(&r);
	r.config.n_nets = CONFIG_MAX_NETS;
	r.config.n_disks = CONFIG_MAX_DISKS;
	for (unsigned int i = 0; i < CONFIG_MAX_NETS; i++)
		r.config.nets[i] = (struct net_config){
			.vdpa = path, .tap = path, .bridge = path, .hub = path, .mac_set = true
		};
	for (unsigned int i = 0; i < CONFIG_MAX_DISKS; i++)
		r.config.disks[i].path = path;
	r.config.name = path;
	assert_int_equal(ask(&r, "alt.ferry.Describe", "{}"), 0);
	rig_exit(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_console_goes_to_the_device_that_takes_one),
		cmocka_unit_test(a_guest_is_paused_and_goes_on),
		cmocka_unit_test(a_pause_and_a_migration_keep_out_of_each_others_way),
		cmocka_unit_test(a_paused_guests_reset_waits),
		cmocka_unit_test(the_power_button_is_pressed_once),
		cmocka_unit_test(what_ends_the_machine_ends_the_process),
		cmocka_unit_test(subscribers_hear_what_happens),
		cmocka_unit_test(subscribers_keep_no_call_out),
		cmocka_unit_test(what_is_not_there_is_refused_by_name),
		cmocka_unit_test(a_vm_is_described),
		cmocka_unit_test(a_description_always_fits),
	};

	alarm(120);
	return run_in_dir("instance", tests, ARRAY_SIZE(tests));
}
