/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART between a guest that is played here and a client, a pipe, a file or a terminal. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "devices/serial.h"
#include "vmm/x86/layout.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct fixture {
	char dir[32];
	char path[64];
	struct vm vm;
	struct vm_config config;
	struct error err;
	struct serial *serial;
	bool running;
	int saved[2]; /* stdin and stdout, where a test replaces them */
};

/* What the device asks of the VM. */
static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fake_cond = PTHREAD_COND_INITIALIZER;
static bool fake_line;
static unsigned int fake_n_edges;
static bool fake_ended;

void vm_irq_line(struct vm *vm, unsigned int gsi, bool high)
{
	assert_int_equal(gsi, LAYOUT_SERIAL_IRQ);
	pthread_mutex_lock(&fake_lock);
	fake_n_edges += high && !fake_line;
	fake_line = high;
	pthread_cond_broadcast(&fake_cond);
	pthread_mutex_unlock(&fake_lock);
}

void vm_end(struct vm *vm, enum vm_exit code)
{
	pthread_mutex_lock(&fake_lock);
	fake_ended = code == VM_EXIT_POWER_OFF;
	pthread_cond_broadcast(&fake_cond);
	pthread_mutex_unlock(&fake_lock);
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->next = vm->devices;
	vm->devices = dev;
}

/* Waits for a flag of the fakes; a test that waits in vain is ended by alarm(). */
static bool is_set(const bool *flag)
{
	bool set;

	pthread_mutex_lock(&fake_lock);
	set = *flag;
	pthread_mutex_unlock(&fake_lock);
	return set;
}

static void wait_for(const bool *flag)
{
	pthread_mutex_lock(&fake_lock);
	while (!*flag)
		pthread_cond_wait(&fake_cond, &fake_lock);
	pthread_mutex_unlock(&fake_lock);
}

static bool line_is(bool high)
{
	bool is;

	pthread_mutex_lock(&fake_lock);
	is = fake_line == high;
	pthread_mutex_unlock(&fake_lock);
	return is;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(20);
	fake_line = fake_ended = false;
	fake_n_edges = 0;
	strcpy(f->dir, "/tmp/ferry-serial.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	f->config = (struct vm_config){ .serial = SERIAL_UNIX, .serial_path = f->path };
	f->saved[0] = f->saved[1] = -1;
	assert_int_equal(loop_init(&f->vm.loop), 0);
	*state = f;
	return 0;
}

static void start(struct fixture *f)
{
	int ret = serial_create(&f->serial, &f->vm, &f->config, &f->err);

	if (ret < 0)
		fail_msg("%s", f->err.text);
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
}

static void stop(struct fixture *f)
{
	if (f->running)
		loop_join(&f->vm.loop);
	f->running = false;
	if (f->serial)
		serial_destroy(f->serial);
	f->serial = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	for (int i = 0; i < 2; i++) {
		if (f->saved[i] >= 0)
			dup2(f->saved[i], i);
		if (f->saved[i] >= 0)
			close(f->saved[i]);
	}
	loop_exit(&f->vm.loop);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	alarm(0);
	return 0;
}

static uint8_t in(struct fixture *f, unsigned int reg)
{
	uint8_t v;

	bus_read(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
	return v;
}

static void out(struct fixture *f, unsigned int reg, uint8_t v)
{
	bus_write(&f->vm.pio, LAYOUT_SERIAL_PORT + reg, &v, 1);
}

static void say(struct fixture *f, const char *text)
{
	for (; *text; text++)
		out(f, DATA, (uint8_t)*text);
}

/* As a driver does: on an interrupt, while there is data. */
static void hear(struct fixture *f, uint8_t *buf, size_t len)
{
	out(f, IER, 1);
	out(f, MCR, 0x0b);
	for (size_t i = 0; i < len;) {
		wait_for(&fake_line);
		assert_int_equal(in(f, IIR) & 0x0f, 0x04);
		while (i < len && (in(f, LSR) & 1))
			buf[i++] = in(f, DATA);
	}
}

static void hear_text(struct fixture *f, const char *text)
{
	uint8_t buf[256] = { 0 };

	hear(f, buf, strlen(text));
	assert_string_equal((char *)buf, text);
}

static int join(struct fixture *f)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void read_all(int fd, void *buf, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (uint8_t *)buf + at, len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
}

static void read_text(int fd, const char *text)
{
	char buf[256] = { 0 };

	read_all(fd, buf, strlen(text));
	assert_string_equal(buf, text);
}

static void write_all(int fd, const void *data, size_t len)
{
	assert_int_equal(write(fd, data, len), len);
}

/* What Linux' autoconfig() and THRE test look for. */
static void test_registers(void **state)
{
	struct fixture *f = *state;
	uint8_t both[2];

	f->config.serial = SERIAL_NONE;
	start(f);
	out(f, IER, 0xff);
	assert_int_equal(in(f, IER), 0x0f);
	out(f, IER, 0);
	assert_int_equal(in(f, IER), 0);
	out(f, MCR, 0x1a);
	assert_int_equal(in(f, MSR) & 0xf0, 0x90);
	out(f, MCR, 0x0b);
	assert_int_equal(in(f, MSR), 0xb0);
	out(f, IIR, 1);
	assert_int_equal(in(f, IIR), 0xc1);
	out(f, IIR, 0);
	assert_int_equal(in(f, IIR), 0x01);
	out(f, SCR, 0xa5);
	assert_int_equal(in(f, SCR), 0xa5);
	out(f, LCR, 0x83);
	out(f, DATA, 0x0c);
	out(f, IER, 0x01);
	bus_read(&f->vm.pio, LAYOUT_SERIAL_PORT, both, 2);
	assert_memory_equal(both, "\x0c\x01", 2);
	out(f, LCR, 0x03);
	assert_int_equal(in(f, IER), 0);
	assert_int_equal(in(f, LSR), 0x60);
	assert_int_equal(in(f, DATA), 0);

	assert_true(line_is(false));
	for (int i = 0; i < 2; i++) {
		out(f, IER, 2);
		assert_true(line_is(true));
		assert_int_equal(in(f, IIR), 0x02);
		assert_int_equal(in(f, IIR), 0x01);
		assert_true(line_is(false));
		out(f, IER, 0);
	}
	out(f, IER, 2);
	in(f, IIR);
	out(f, DATA, 'x');
	assert_int_equal(in(f, IIR), 0x02);
}

static void test_loopback(void **state)
{
	struct fixture *f = *state;

	f->config.serial = SERIAL_NONE;
	start(f);
	out(f, MCR, 0x10);
	for (unsigned int i = 0; i < 1000; i++)
		out(f, DATA, (uint8_t)i);
	for (unsigned int i = 0; i < 64; i++) {
		assert_int_equal(in(f, LSR), 0x61);
		assert_int_equal(in(f, DATA), i);
	}
	assert_int_equal(in(f, LSR), 0x60);
	out(f, DATA, 'x');
	out(f, IIR, 3);
	assert_int_equal(in(f, LSR), 0x60);
}

static void test_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int client, second;

	start(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	say(f, "before anybody came\n");
	client = join(f);
	read_text(client, "before anybody came\n");
	say(f, "hello\n");
	read_text(client, "hello\n");
	write_all(client, "ls\n", 3);
	hear_text(f, "ls\n");

	/* The second waits until the first has gone, and what the guest says goes to the first. */
	second = join(f);
	write_all(second, "me", 2);
	say(f, "one");
	read_text(client, "one");
	close(client);
	hear_text(f, "me");
	say(f, "two");
	read_text(second, "two");

	/* Half closed: input has ended, output goes on. */
	write_all(second, "bye", 3);
	shutdown(second, SHUT_WR);
	hear_text(f, "bye");
	say(f, "still here");
	read_text(second, "still here");
	close(second);
	client = join(f);
	write_all(client, "again", 5);
	hear_text(f, "again");
	close(client);
	stop(f);
	assert_int_equal(access(f->path, F_OK), -1);
}

/* More than everything on the way can hold: nothing is lost and nothing waits for ever. */
static void test_flow_control(void **state)
{
	enum { LEN = 600000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN), *heard = malloc(LEN);
	int client;
	pid_t pid;

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	start(f);
	client = join(f);
	pid = fork();
	if (pid == 0) {
		for (size_t at = 0; at < LEN;)
			at += (size_t)write(client, sent + at, LEN - at);
		_exit(0);
	}
	close(client);
	hear(f, heard, LEN);
	assert_memory_equal(sent, heard, LEN);
	free(sent);
	free(heard);
}

/* A reader that does not read never holds up the guest; when it does read it ends with the newest. */
static void test_slow_reader(void **state)
{
	enum { LEN = 1000000 };
	struct fixture *f = *state;
	uint8_t tail[8] = { 0 };
	uint64_t n = 0;
	int client;

	start(f);
	client = join(f);
	for (unsigned int i = 0; i < LEN; i++)
		out(f, DATA, '.');
	say(f, "the end!");
	while (memcmp(tail, "the end!", sizeof(tail)) != 0) {
		memmove(tail, tail + 1, sizeof(tail) - 1);
		read_all(client, &tail[7], 1);
		n++;
	}
	assert_true(n > 65536 && n < LEN);
	close(client);
}

static void test_backlog(void **state)
{
	struct fixture *f = *state;
	uint8_t *kept = malloc(65536);
	int client;

	start(f);
	for (unsigned int i = 0; i < 100000; i++)
		out(f, DATA, (uint8_t)(i % 251));
	client = join(f);
	read_all(client, kept, 65536);
	for (unsigned int i = 0; i < 65536; i++)
		assert_int_equal(kept[i], (i + 100000 - 65536) % 251);
	say(f, "|");
	read_text(client, "|");
	free(kept);
	close(client);
}

static void test_socket_refused(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct serial *other;
	struct vm vm = { 0 };
	int fd;

	assert_int_equal(loop_init(&vm.loop), 0);

	/* Left by a process that is gone: replaced. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	start(f);
	/* In use: refused, and still there. */
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "in use"));
	close(join(f));
	stop(f);
	/* Not a socket: refused, and still there. */
	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_int_equal(access(f->path, F_OK), 0);
	loop_exit(&vm.loop);
}

static void save(struct fixture *f, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	f->vm.devices->ops->save(f->vm.devices, &w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int restore(struct fixture *f, const void *fdt, uint32_t len)
{
	struct state_node root;
	int ret;

	memset(&f->err, 0, sizeof(f->err));
	assert_int_equal(state_open(&root, fdt, len, &f->err), 0);
	ret = f->vm.devices->ops->load(f->vm.devices, &root);
	return ret < 0 ? ret : state_finish(&root);
}

static void restart(struct fixture *f)
{
	stop(f);
	loop_exit(&f->vm.loop);
	memset(&f->vm, 0, sizeof(f->vm));
	assert_int_equal(loop_init(&f->vm.loop), 0);
	fake_line = false;
	start(f);
}

/* A guest that has not yet opened the port loses nothing by clearing it. */
static void test_early_input(void **state)
{
	struct fixture *f = *state;
	int client;

	start(f);
	client = join(f);
	write_all(client, "early", 5);
	say(f, "x");
	read_text(client, "x");
	out(f, IIR, 7);
	out(f, IER, 1);
	assert_int_equal(in(f, LSR), 0x60);
	hear_text(f, "early");
	close(client);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	const struct device_ops *ops;
	void *first, *second;
	uint32_t len, len2;
	int client;

	start(f);
	ops = f->vm.devices->ops;
	out(f, LCR, 0x83);
	out(f, DATA, 0x12);
	out(f, IER, 0x34);
	out(f, LCR, 0x03);
	out(f, IIR, 1);
	out(f, MCR, 0x0b);
	out(f, SCR, 0x99);
	client = join(f);
	write_all(client, "typed", 5);
	out(f, IER, 0x03);
	wait_for(&fake_line);
	/* The line may be up for the transmitter: wait for what was typed. */
	while (!(in(f, LSR) & 1))
		;
	ops->pause(f->vm.devices);
	save(f, &first, &len);
	/* Input while paused is held back: saving again gives the same. */
	write_all(client, "later", 5);
	say(f, "x");
	read_text(client, "x");
	ops->resume(f->vm.devices, false);
	close(client);

	restart(f);
	assert_int_equal(restore(f, first, len), 0);
	save(f, &second, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(first, second, len);
	assert_true(line_is(false));
	f->vm.devices->ops->resume(f->vm.devices, true);
	assert_true(line_is(true));
	assert_int_equal(in(f, IIR), 0xc4);
	assert_int_equal(in(f, SCR), 0x99);
	hear_text(f, "typed");
	free(first);
	free(second);
}

static void test_paused(void **state)
{
	struct fixture *f = *state;
	const struct device_ops *ops;
	void *first, *second;
	uint32_t len, len2;
	int client;

	start(f);
	ops = f->vm.devices->ops;
	out(f, IER, 1);
	out(f, MCR, 0x0b);
	client = join(f);
	say(f, "w");
	read_text(client, "w");
	ops->pause(f->vm.devices);
	save(f, &first, &len);
	write_all(client, "held", 4);
	/* The answer to what the guest says shows that the main thread has seen the input too. */
	say(f, "x");
	read_text(client, "x");
	save(f, &second, &len2);
	assert_int_equal(len, len2);
	assert_memory_equal(first, second, len);
	assert_true(line_is(false));
	ops->resume(f->vm.devices, false);
	hear_text(f, "held");
	close(client);
	free(first);
	free(second);
}

static void test_state_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t bad;
	} t[] = { { "ier", 0x10 },  { "lcr", 0x100 },     { "mcr", 0x20 },
		  { "scr", 0x100 }, { "dll", 0x100 },     { "dlm", 0x100 },
		  { "fifo", 2 },    { "thr-pending", 2 }, { "rx", 65 } };
	struct fixture *f = *state;
	uint8_t rx[65] = { 0 };

	f->config.serial = SERIAL_NONE;
	start(f);
	/* Round ARRAY_SIZE(t): nothing is wrong. */
	for (unsigned int bad = 0; bad <= ARRAY_SIZE(t); bad++) {
		struct state_writer w;
		void *fdt;
		uint32_t len;

		assert_int_equal(state_open_writer(&w), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(t) - 1; i++)
			state_put_u32(&w, t[i].name, i == bad ? t[i].bad : 1);
		state_put_blob(&w, "rx", rx, bad == ARRAY_SIZE(t) - 1 ? 65 : 64);
		assert_int_equal(state_close(&w, &fdt, &len), 0);
		assert_int_equal(restore(f, fdt, len), bad == ARRAY_SIZE(t) ? 0 : -EINVAL);
		if (bad < ARRAY_SIZE(t))
			assert_non_null(strstr(f->err.text, t[bad].name));
		free(fdt);
	}
}

/* Makes @in_fd stdin and @out_fd stdout until teardown. */
static void replace_stdio(struct fixture *f, int in_fd, int out_fd)
{
	fflush(stdout);
	f->config.serial = SERIAL_STDIO;
	f->saved[0] = dup(0);
	f->saved[1] = dup(1);
	dup2(in_fd, 0);
	dup2(out_fd, 1);
}

static void test_pipes(void **state)
{
	struct fixture *f = *state;
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	replace_stdio(f, to[0], from[1]);
	start(f);
	say(f, "login: ");
	read_text(from[0], "login: ");
	/* Ctrl-A is nothing special here. */
	write_all(to[1], "\x01x\n", 3);
	hear_text(f, "\x01x\n");
	write_all(to[1], "end", 3);
	close(to[1]);
	hear_text(f, "end");
	/* Nobody else's file was made non-blocking. */
	assert_int_equal(fcntl(from[1], F_GETFL) & O_NONBLOCK, 0);
	say(f, "last words");
	stop(f);
	read_text(from[0], "last words");
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

/* The reader has gone: the guest goes on. */
static void test_broken_pipe(void **state)
{
	struct fixture *f = *state;
	int from[2], null = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(from), 0);
	replace_stdio(f, null, from[1]);
	start(f);
	close(from[0]);
	for (unsigned int i = 0; i < 200000; i++)
		out(f, DATA, 'x');
	close(from[1]);
	close(null);
}

/* Files cannot be watched; both work all the same. */
static void test_files(void **state)
{
	enum { LEN = 20000 };
	struct fixture *f = *state;
	uint8_t sent[LEN], heard[LEN];
	FILE *from = tmpfile(), *to = tmpfile();

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i % 253);
	write_all(fileno(from), sent, LEN);
	rewind(from);
	replace_stdio(f, fileno(from), fileno(to));
	start(f);
	hear(f, heard, LEN);
	assert_memory_equal(sent, heard, LEN);
	for (unsigned int i = 0; i < LEN; i++)
		out(f, DATA, sent[i]);
	stop(f);
	assert_int_equal(pread(fileno(to), heard, LEN, 0), LEN);
	assert_memory_equal(sent, heard, LEN);
	fclose(from);
	fclose(to);
}

static void test_terminal(void **state)
{
	struct fixture *f = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios before, during, after;

	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	replace_stdio(f, slave, slave);
	start(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	say(f, "hello");
	read_text(master, "hello");
	write_all(master, "\x03\x01\x01\x01z", 5);
	hear_text(f, "\x03\x01z");
	/* Even when the guest does not read. */
	for (unsigned int i = 0; i < 100; i++)
		write_all(master, "typed", 5);
	write_all(master, "\x01", 1);
	assert_false(is_set(&fake_ended));
	write_all(master, "x", 1);
	wait_for(&fake_ended);
	stop(f);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	close(slave);
	close(master);
}

/* Where a guest is still to arrive the terminal is the operator's, Ctrl-C included, until it has. */
static void test_terminal_of_a_destination(void **state)
{
	struct fixture *f = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios before, during;

	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	replace_stdio(f, slave, slave);
	f->config.from = "unix:/somewhere";
	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	f->vm.devices->ops->resume(f->vm.devices, true);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	stop(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	close(slave);
	close(master);
}

/* One event, as the loop would. */
static void dispatch(struct fixture *f)
{
	struct epoll_event event;
	struct loop_source *src;

	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 1);
	src = event.data.ptr;
	src->fn(src, event.events);
}

/* A client that cannot be taken waits, and costs nothing meanwhile. */
static void test_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	struct epoll_event event;
	int first, second;

	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first = join(f);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	dispatch(f);
	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* It is taken when the next one comes. */
	second = join(f);
	dispatch(f);
	say(f, "hello");
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
	read_text(first, "hello");
	close(first);
	close(second);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers),      T(test_loopback),
		T(test_socket),         T(test_flow_control),
		T(test_slow_reader),    T(test_backlog),
		T(test_socket_refused), T(test_early_input),
		T(test_state),          T(test_paused),
		T(test_state_refused),  T(test_pipes),
		T(test_broken_pipe),    T(test_files),
		T(test_terminal),       T(test_terminal_of_a_destination),
		T(test_no_descriptors),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
