/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "console": what is typed goes to the VM, over a socket that it was given, and what comes is written. */
#include "vmm/app/console.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/serial/end.h"
#include "devices/serial/input.h"
#include "devices/serial/terminal.h"
#include "vmm/control/commands.h"
#include "vmm/control/follow.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/output.h"

/* machinectl's way out: Ctrl-], as often within this time. */
#define CONSOLE_ESCAPE    0x1du
#define CONSOLE_ESCAPES   3u
#define CONSOLE_ESCAPE_MS 1000

/* Time for a VM to take the console, with a guest that is about to start. */
#define CONSOLE_ANSWER_MS 5000

/* Time for a VM that ends to say whether its guest has moved. */
#define CONSOLE_END_MS 1000

#define CONSOLE_CHUNK 4096u

struct console {
	struct loop loop;
	struct terminal terminal; /* stdin's, if it is one */
	struct serial_end input, vm;
	bool eof; /* of stdin: there may still be output */
	struct output *output;
	struct loop_source room; /* an eventfd: there is room in @output */
	struct loop_source signals;
	/* Hears of the VM's end; its descriptor is -1 where nobody does. */
	struct control_client events;
	int signo;  /* that ends this; 0: none */
	bool ended; /* the VM has, or its guest has moved */
	_Atomic int write_error;
	unsigned int n_escapes;
	uint64_t escapes_end_ns;
	size_t n_typed, n_said;
	uint8_t typed[CONSOLE_CHUNK], said[CONSOLE_CHUNK]; /* and not yet passed on */
};

/* Whether the way out was typed. */
static bool console_escaped(struct console *c, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != CONSOLE_ESCAPE) {
			c->n_escapes = 0;
			continue;
		}
		if (c->n_escapes == 0 || now_ns() > c->escapes_end_ns) {
			c->n_escapes = 0;
			c->escapes_end_ns = end_of(CONSOLE_ESCAPE_MS);
		}
		if (++c->n_escapes == CONSOLE_ESCAPES)
			return true;
	}
	return false;
}

static void console_read(struct console *c)
{
	bool is_tty = c->terminal.fd >= 0;
	uint8_t data[CONSOLE_CHUNK];
	size_t room = sizeof(c->typed) - c->n_typed, len;
	ssize_t n;

	if (c->eof || (is_tty ? !terminal_check(&c->terminal) : room == 0))
		return;
	n = read(c->input.src.fd, data, is_tty ? sizeof(data) : room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* A terminal that is raw says 0 where nothing was typed. */
		c->eof = !is_tty;
		return;
	}
	if (is_tty && console_escaped(c, data, (size_t)n)) {
		loop_stop(&c->loop);
		return;
	}
	/* What is typed faster than the guest listens is lost, because the way out must be heard. */
	len = min_u64((uint64_t)n, room);
	memcpy(c->typed + c->n_typed, data, len);
	c->n_typed += len;
}

static void console_send(struct console *c)
{
	ssize_t n = 0;

	if (c->n_typed > 0)
		n = send(c->vm.src.fd, c->typed, c->n_typed, MSG_DONTWAIT | MSG_NOSIGNAL);
	/* The end of the VM is seen where its output ends. */
	if (n > 0) {
		c->n_typed -= (size_t)n;
		memmove(c->typed, c->typed + n, c->n_typed);
	}
}

/* Says why the console has ended, as far as the VM has told. */
static void console_say_end(struct console *c)
{
	const uint64_t end_ns = end_of(CONSOLE_END_MS);
	char data[64], state[16] = "";
	struct error unsaid = { 0 };
	const char *event;
	int ret = -ENOTCONN;

	while (c->events.fd >= 0 && (ret = control_receive_until(&c->events, end_ns, &event, &unsaid)) == 1)
		;
	if (ret == 0 && follow_object(event, "data", data, sizeof(data)))
		json_object_string(data, "state", state, sizeof(state));
	log_info("the console has ended: %s",
		 strcmp(state, "moved") == 0   ? "the guest has moved, and has its console there"
		 : strcmp(state, "ended") == 0 ? "the VM has"
					       : "the VM has, or its guest has moved");
}

static void console_receive(struct console *c)
{
	ssize_t n;
	size_t put;

	if (c->n_said == 0) {
		n = recv(c->vm.src.fd, c->said, sizeof(c->said), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			console_say_end(c);
			c->ended = true;
			loop_stop(&c->loop);
			return;
		}
		c->n_said = (size_t)n;
	}
	put = output_put(c->output, c->said, c->n_said, OUTPUT_PART);
	c->n_said -= put;
	memmove(c->said, c->said + put, c->n_said);
}

/* Passes on in both directions what can be, and watches for the rest. */
static void console_pass(struct console *c)
{
	uint32_t vm_events = EPOLLIN;
	bool reads;

	if (c->input.always_ready && c->n_typed == 0)
		console_read(c);
	console_send(c);
	if (c->n_said > 0)
		console_receive(c);
	if (c->n_typed > 0 || (c->input.always_ready && !c->eof))
		vm_events |= EPOLLOUT;
	/* The VM's end is heard of, again and again, as soon as anything of it is watched. */
	if (c->n_said > 0)
		vm_events = 0;
	reads = c->terminal.fd >= 0 ? terminal_check(&c->terminal) : c->n_typed < sizeof(c->typed);
	if (serial_end_watch(&c->input, reads && !c->eof ? EPOLLIN : 0) < 0 ||
	    serial_end_watch(&c->vm, vm_events) < 0) {
		log_error("cannot watch the console: %s", strerror(errno));
		c->write_error = errno;
		loop_stop(&c->loop);
	}
}

static void console_typed(struct loop_source *src, uint32_t events)
{
	struct console *c = container_of(src, struct console, input.src);

	console_read(c);
	if (c->terminal.fd >= 0 && (events & (EPOLLHUP | EPOLLERR))) {
		/* It has gone. The kernel says so to processes whose controlling terminal it was, and to
		 * others does not. */
		c->signo = SIGHUP;
		loop_stop(&c->loop);
	}
	console_pass(c);
}

static void console_vm_ready(struct loop_source *src, uint32_t events)
{
	struct console *c = container_of(src, struct console, vm.src);

	if (c->n_said == 0)
		console_receive(c);
	console_pass(c);
}

static void console_has_room(struct loop_source *src, uint32_t events)
{
	loop_take(src->fd);
	console_pass(container_of(src, struct console, room));
}

static void console_got_terminal(struct terminal *t)
{
	console_pass(container_of(t, struct console, terminal));
}

static void console_signalled(struct loop_source *src, uint32_t events)
{
	struct console *c = container_of(src, struct console, signals);
	struct signalfd_siginfo info;

	if (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		c->signo = (int)info.ssi_signo;
		loop_stop(&c->loop);
	}
}

/* The writer's thread. */
static void console_room(void *opaque)
{
	loop_signal(((struct console *)opaque)->room.fd);
}

static void console_write_failed(void *opaque, int error)
{
	struct console *c = opaque;

	c->write_error = error;
	loop_stop(&c->loop);
}

static void console_write_mended(void *opaque)
{
}

static void console_ending_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	control_find_signals(set, signals, ARRAY_SIZE(signals));
}

static int console_open(struct console *c, struct error *err)
{
	static const struct output_events events = { .failed = console_write_failed,
						     .mended = console_write_mended,
						     .room = console_room };
	sigset_t set;
	int ret;

	console_ending_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	c->signals = (struct loop_source){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
					   .fn = console_signalled };
	c->room =
		(struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = console_has_room };
	ret = c->signals.fd < 0 || c->room.fd < 0 ? -errno : 0;
	if (ret == 0)
		ret = loop_add(&c->loop, &c->signals, EPOLLIN);
	if (ret == 0)
		ret = loop_add(&c->loop, &c->room, EPOLLIN);
	if (ret == 0) {
		serial_end_open(&c->input, serial_input_open_stdin());
		c->eof = c->input.src.fd < 0;
		ret = terminal_open(&c->terminal, &c->loop, c->input.src.fd, console_got_terminal);
	}
	if (ret == 0)
		ret = output_open(&c->output, STDOUT_FILENO, &events, c);
	if (ret < 0)
		error_add(err, "cannot set up the console: %s", strerror(-ret));
	return ret;
}

/* Gives the VM one end of a new connection, and keeps the other. */
static int console_attach(struct console *c, const struct client_options *o, struct error *err)
{
	struct control_client client;
	const char *object;
	int fds[2], ret;

	ret = control_connect(&client, o->runtime_dir, o->name, err);
	if (ret < 0)
		return ret;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		ret = -errno;
		error_add(err, "cannot create a socket: %s", strerror(-ret));
		goto disconnect;
	}
	ret = control_send(&client, CLIENT_METHOD("Console"), "{}", CONTROL_RESULT, fds[1], err);
	close(fds[1]);
	if (ret == 0)
		ret = control_receive_until(&client, end_of(CONSOLE_ANSWER_MS), &object, err);
	if (ret == -EAGAIN)
		error_add(err, "the VM does not answer");
	if (ret < 0)
		close(fds[0]);
	else
		serial_end_open(&c->vm, fds[0]);

disconnect:
	control_disconnect(&client);
	return ret;
}

/* Listens for the VM's end. A VM that does not tell is well all the same. */
static void console_listen(struct console *c, const struct client_options *o)
{
	struct error unsaid = { 0 };
	int ret = control_connect(&c->events, o->runtime_dir, o->name, &unsaid);

	if (ret == 0)
		ret = control_send(&c->events, MACHINE_METHOD("SubscribeEvents"), "{\"filter\":[]}",
				   CONTROL_PROGRESS, -1, &unsaid);
	if (ret < 0)
		control_disconnect(&c->events);
}

static void console_close(struct console *c)
{
	sigset_t set;

	output_close(c->output, OUTPUT_LAST_MS);
	terminal_close(&c->terminal);
	serial_end_close(&c->input);
	serial_end_close(&c->vm);
	control_disconnect(&c->events);
	if (c->signals.fd >= 0)
		close(c->signals.fd);
	if (c->room.fd >= 0)
		close(c->room.fd);
	loop_exit(&c->loop);
	console_ending_signals(&set);
	if (c->signo) {
		signal(c->signo, SIG_DFL);
		raise(c->signo);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Waits for who reads the VM's last words, without end: signals end the process meanwhile. A terminal is
 * given back first; where it shows the words, too, console_close() is to wait, for a moment. */
static void console_await_reader(struct console *c)
{
	sigset_t set;

	if (c->terminal.fd >= 0 && isatty(STDOUT_FILENO))
		return;
	terminal_close(&c->terminal);
	console_ending_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	output_flush(c->output, INT_MAX);
}

/* Returns -errno, or 0 when the operator has left or the VM has ended. */
static int console_stay(struct console *c, const struct client_options *o, struct error *err)
{
	/* First, while every signal still ends the process. */
	int ret = console_attach(c, o, err);

	if (ret == 0) {
		console_listen(c, o);
		ret = console_open(c, err);
	}
	if (ret < 0)
		return ret;
	if (c->terminal.fd >= 0)
		log_info("the console of %s: Ctrl-] three times within a second leaves it", o->name);
	terminal_take(&c->terminal);
	console_pass(c);
	ret = loop_run(&c->loop);
	if (ret == 0 && c->ended && c->signo == 0)
		console_await_reader(c);
	if (ret == 0 && c->write_error) {
		ret = -c->write_error;
		error_add(err, "cannot write to stdout: %s", strerror(c->write_error));
	}
	return ret;
}

int console_run(int argc, char **argv)
{
	struct console c = {
		.terminal.fd = -1, .signals.fd = -1, .room.fd = -1, .events = { .fd = -1, .signal_fd = -1 }
	};
	struct error err = { 0 };
	struct client_options o;
	int ret;

	if (client_parse(&o, COMMAND_CONSOLE, argc, argv, &err) < 0)
		return client_usage("console", &err);
	ret = loop_init(&c.loop);
	if (ret < 0) {
		error_add(&err, "cannot set up the console: %s", strerror(-ret));
		return client_failed(&err);
	}
	serial_end_init(&c.input, &c.loop, console_typed);
	serial_end_init(&c.vm, &c.loop, console_vm_ready);
	ret = terminal_open(&c.terminal, &c.loop, -1, console_got_terminal);
	if (ret == 0)
		ret = console_stay(&c, &o, &err);
	console_close(&c);
	return ret < 0 ? client_failed(&err) : 0;
}
