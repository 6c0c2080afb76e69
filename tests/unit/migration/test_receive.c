/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "ferry receive" as a whole, without KVM: in which order it compares, answers, and takes. What KVM would be
 * asked writes a letter for the test to read.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/pci/bus.h"
#include "migration/stream.h"
#include "vmm/control/client.h"
#include "vmm/vm.h"

int ferry_main(int argc, char **argv);

/* Of the child: what it has done, and what it waits for before its vm_equip() ends, with "1" well. */
static int done[2], go[2];

static void say(char letter)
{
	if (write(done[1], &letter, 1) != 1)
		_exit(99);
}

/* In the place of the program's own. */

int kvm_check_host(const char *device, struct error *err)
{
	return 0;
}

int vm_begin(struct vm *vm, uint64_t mem, struct error *err)
{
	*vm = (struct vm){ .stop_fd = -1 };
	vm->devices_tail = &vm->devices;
	memory_frame(&vm->memory, mem);
	kvm_init(&vm->kvm, &vm->memory);
	gate_init(&vm->gate, &vm->loop);
	return irq_table_init(&vm->irqs, &vm->kvm, err) < 0 ? -ENOMEM : loop_init(&vm->loop);
}

int vm_frame(struct vm *vm, const char *kvm, unsigned int cpus, struct error *err)
{
	say('f');
	return 0;
}

int vm_accept(struct vm *vm, struct state_node *node)
{
	uint64_t mem;
	uint32_t cpus;

	say('a');
	if (vm->memory.fd >= 0 || vm->memory.regions[0].hva)
		say('!');
	if (state_get_u64(node, "memory", 0, UINT64_MAX, &mem) < 0)
		return -EINVAL;
	return state_get_u32(node, "cpus", 0, UINT32_MAX, &cpus);
}

int vm_fill(struct vm *vm, struct error *err)
{
	say('m');
	return memory_fill(&vm->memory, err);
}

int vm_equip(struct vm *vm, struct error *err)
{
	char well = '0';

	say('e');
	if (read(go[0], &well, 1) != 1)
		_exit(97);
	say('d');
	if (well != '1') {
		error_add(err, "KVM has no memory for its tables");
		return -ENOMEM;
	}
	return 0;
}

int vm_keep_power_on(struct vm *vm, struct error *err)
{
	return 0;
}

void vm_prefault_present(struct vm *vm, uint64_t max)
{
}

/* Of the child: KVM takes no doorbell, so that no NIC can be built. */
static bool without_doorbells;

int kvm_add_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
	return without_doorbells ? -ENOSPC : 0;
}

void kvm_del_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
}

struct receiver {
	char dir[32], address[128];
	struct sockaddr_un source;
	pid_t pid;
	int fd; /* the source's end of the connection */
};

static void receiver_connect(struct receiver *r)
{
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(r->fd, (struct sockaddr *)&r->source, sizeof(r->source)) < 0) {
		assert_int_equal(waitpid(r->pid, NULL, WNOHANG), 0);
		sched_yield();
	}
}

static void receiver_make_dir(struct receiver *r)
{
	strcpy(r->dir, "/tmp/ferry-receive-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
}

/* In r->dir, with @n options more. */
static void receiver_start_with(struct receiver *r, char *const *options, int n)
{
	char *argv[16] = { "ferry", "receive", "--name",   "web1",     "--runtime-dir",
			   r->dir,  "--from",  r->address, "--serial", "none" };
	int argc = 10;

	for (int i = 0; i < n; i++)
		argv[argc++] = options[i];
	r->source = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(r->source.sun_path, sizeof(r->source.sun_path), "%s/source", r->dir);
	snprintf(r->address, sizeof(r->address), "unix:%s", r->source.sun_path);
	assert_int_equal(pipe2(done, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	r->pid = fork();
	if (r->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		_exit(ferry_main(argc, argv));
	}
	assert_true(r->pid > 0);
	close(done[1]);
	receiver_connect(r);
}

static void receiver_start(struct receiver *r, const char *mem)
{
	char *options[] = { "--mem", (char *)(uintptr_t)mem };

	receiver_make_dir(r);
	receiver_start_with(r, options, mem ? 2 : 0);
}

static unsigned int count_entries(const char *format, ...)
{
	char path[128];
	unsigned int n = 0;
	va_list args;
	DIR *dir;

	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Waits until a process that has hung up has closed what it had for that, too: no more entries than *@n are
 * left, which becomes what there is. Nobody tells when another process closes a descriptor. */
static void assert_no_more_entries(unsigned int *n, const char *format, int pid)
{
	uint64_t end_ns = now_ns() + UINT64_C(10000000000);
	unsigned int found;

	while ((found = count_entries(format, pid)) > *n) {
		assert_true(now_ns() < end_ns);
		sched_yield();
	}
	*n = found;
}

static void receiver_say(struct receiver *r, enum stream_type type, uint64_t arg, const void *payload,
			 uint32_t len)
{
	struct stream_header header;

	stream_header_put(&header, type, len, arg);
	assert_int_equal(write(r->fd, &header, sizeof(header)), sizeof(header));
	assert_int_equal(write(r->fd, payload, len), len);
}

/* The type of the next frame, with its payload as text. */
static uint32_t receiver_hear(struct receiver *r, char text[ERROR_TEXT_MAX + 1])
{
	struct stream_header header;
	uint32_t len;

	assert_int_equal(recv(r->fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	len = get_le32(&header.len);
	assert_in_range(len, 0, ERROR_TEXT_MAX);
	if (len > 0)
		assert_int_equal(recv(r->fd, text, len, MSG_WAITALL), len);
	text[len] = '\0';
	return get_le32(&header.type);
}

/* Waits until the destination has closed its end. */
static void receiver_hung_up_on(struct receiver *r)
{
	struct pollfd pfd = { .fd = r->fd };

	do
		assert_int_equal(poll(&pfd, 1, 60000), 1);
	while (!(pfd.revents & POLLHUP));
}

/* As a source's bus without devices describes itself. */
static void describe_pci(struct state_writer *w)
{
	static struct vm vm;
	static struct pci_bus bus;
	struct error err = { 0 };

	vm = (struct vm){ .devices_tail = &vm.devices };
	assert_int_equal(pci_bus_init(&bus, &vm, &err), 0);
	vm.devices->ops->describe(vm.devices, w);
	pci_bus_exit(&bus);
}

/* Says HELLO for a guest that is to come, with STREAM_OLDEST, or in @version for one that stays. */
static void receiver_say_hello(struct receiver *r, uint64_t mem, uint32_t cpus, uint32_t version)
{
	static const char *const devices[] = { "serial", "pci" };
	struct state_writer w;
	uint32_t len;
	void *tree;

	assert_int_equal(state_open_writer(&w), 0);
	if (version != STREAM_OLDEST)
		state_put_u32(&w, "check", 1);
	state_begin(&w, "vm");
	state_put_u64(&w, "memory", mem);
	state_put_u32(&w, "cpus", cpus);
	state_end(&w);
	state_begin(&w, "devices");
	state_put_u32(&w, "count", ARRAY_SIZE(devices));
	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		state_begin_indexed(&w, "device", i);
		state_put_string(&w, "name", devices[i]);
		state_begin(&w, "config");
		if (strcmp(devices[i], "pci") == 0)
			describe_pci(&w);
		state_end(&w);
		state_end(&w);
	}
	state_end(&w);
	assert_int_equal(state_close(&w, &tree, &len), 0);
	receiver_say(r, STREAM_HELLO, version, tree, len);
	free(tree);
}

static void receiver_hello(struct receiver *r, uint64_t mem, uint32_t cpus)
{
	receiver_say_hello(r, mem, cpus, STREAM_OLDEST);
}

/* Asks whether a guest could come, on a connection of its own. Returns the answer's type. */
static uint32_t receiver_check(struct receiver *r, uint64_t mem, char text[ERROR_TEXT_MAX + 1])
{
	uint32_t type;

	close(r->fd);
	receiver_connect(r);
	receiver_say_hello(r, mem, 1, 2);
	type = receiver_hear(r, text);
	/* Nothing more comes. */
	assert_int_equal(recv(r->fd, (char[1]){ 0 }, 1, 0), 0);
	return type;
}

/* Checks what the receiver has done by its end. Returns how it has ended. */
static int receiver_wait(struct receiver *r, const char *letters)
{
	char text[64] = "";
	ssize_t n, total = 0;
	int status;

	close(r->fd);
	while ((n = read(done[0], text + total, sizeof(text) - 1 - (size_t)total)) > 0)
		total += n;
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_string_equal(text, letters);
	close(done[0]);
	close(go[0]);
	close(go[1]);
	assert_int_equal(rmdir(r->dir), 0);
	return status;
}

/* receiver_wait() for one that has taken a guest which did not come. */
static void receiver_end(struct receiver *r, const char *letters)
{
	int status = receiver_wait(r, letters);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), VM_EXIT_ERROR);
}

/* receiver_wait() for one that waits on, until it is told to end. */
static void receiver_stop(struct receiver *r, const char *letters)
{
	int status;

	kill(r->pid, SIGTERM);
	status = receiver_wait(r, letters);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* The largest guest there can be, where the operator has asked for another: nothing was had for it. */
static void a_guest_that_is_refused_has_cost_nothing(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;

	receiver_start(&r, "512M");
	receiver_hello(&r, GIB(4096), 64);
	assert_int_equal(receiver_hear(&r, text), STREAM_REFUSED);
	assert_non_null(strstr(text, "the guest has 4194304 MiB of memory, --mem says 512 MiB"));
	receiver_stop(&r, "fa");
}

/* Whoever asks, and whose guest cannot come, leaves nothing behind, and the guest for which all is well still
 * comes. */
static void whoever_asks_does_not_end_the_wait(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;

	receiver_start(&r, "16M");
	receiver_hello(&r, GIB(4096), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_REFUSED);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(receiver_check(&r, MIB(16), text), STREAM_READY);
		assert_int_equal(receiver_check(&r, MIB(32), text), STREAM_REFUSED);
	}
	close(r.fd);
	receiver_connect(&r);
	receiver_hello(&r, MIB(16), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_READY);
	receiver_say(&r, STREAM_ROUND, 0, NULL, 0);
	receiver_say(&r, STREAM_SYNC, 0, NULL, 0);
	assert_int_equal(write(go[1], "1", 1), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_SYNC_OK);
	receiver_end(&r, "fafafafafafafafamed");
}

/* However large the guest, an answer costs neither its memory nor time that grows with it. */
static void a_check_of_the_largest_guest_is_answered_within_a_second(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;
	uint64_t start_ns;

	receiver_start(&r, "4096G");
	start_ns = now_ns();
	assert_int_equal(receiver_check(&r, GIB(4096), text), STREAM_READY);
	assert_in_range(now_ns() - start_ns, 0, 1000000000);
	receiver_stop(&r, "fa");
}

/* Has sources turned away with these reasons, by a receiver with a NIC and a disk. None of them costs it a
 * descriptor, a thread or the port of its NIC. */
static void turn_away(const char *reason, const char *other, const char *letters)
{
	char text[ERROR_TEXT_MAX + 1], net[64], disk[64], hub[48];
	char *options[] = { "--net", net, "--disk", disk };
	unsigned int n_fds = UINT_MAX, n_threads = UINT_MAX;
	struct receiver r;

	receiver_make_dir(&r);
	snprintf(hub, sizeof(hub), "%s/hub", r.dir);
	snprintf(net, sizeof(net), "soft,hub=%s", hub);
	snprintf(disk, sizeof(disk), "%s/disk", r.dir);
	assert_int_equal(mkdir(hub, 0700), 0);
	close(open(disk, O_RDWR | O_CREAT, 0600));
	assert_int_equal(truncate(disk, MIB(1)), 0);
	receiver_start_with(&r, options, 4);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(receiver_check(&r, MIB(16), text), STREAM_REFUSED);
		assert_non_null(strstr(text, reason));
		assert_non_null(strstr(text, other));
		/* In words for a person. */
		assert_null(strstr(text, "saved state"));
		receiver_hung_up_on(&r);
		close(r.fd);
		receiver_connect(&r);
		receiver_say(&r, STREAM_READY, 0, NULL, 0);
		assert_int_equal(receiver_hear(&r, text), STREAM_REFUSED);
		receiver_hung_up_on(&r);
		assert_no_more_entries(&n_fds, "/proc/%d/fd", r.pid);
		assert_no_more_entries(&n_threads, "/proc/%d/task", r.pid);
		/* ".", ".." and the NIC's port. */
		assert_int_equal(count_entries("%s", hub), 3);
	}
	unlink(disk);
	/* The port goes with the process. */
	kill(r.pid, SIGTERM);
	while (count_entries("%s", hub) > 2)
		sched_yield();
	rmdir(hub);
	receiver_stop(&r, letters);
}

static void devices_stay_while_sources_are_turned_away(void **state)
{
	turn_away("net0: this VM has such a device, the source does not",
		  "disk0: this VM has such a device, the source does not", "fafafafafafafafa");
}

static void devices_that_could_not_be_built_are_there_for_the_next_source(void **state)
{
	without_doorbells = true;
	turn_away("cannot have KVM signal the kicks", "No space left", "ffffffff");
	without_doorbells = false;
}

/* Work that takes longer for a larger guest begins after the source has its answer, or beside it. */
static void ready_does_not_wait_for_what_grows_with_the_guest(void **state)
{
	char text[ERROR_TEXT_MAX + 1], letters[8] = "";
	struct receiver r;

	receiver_start(&r, NULL);
	receiver_hello(&r, MIB(16), 1);
	/* With vm_equip() held up. */
	assert_int_equal(receiver_hear(&r, text), STREAM_READY);
	receiver_say(&r, STREAM_ROUND, 0, NULL, 0);
	receiver_say(&r, STREAM_SYNC, 0, NULL, 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(read(done[0], &letters[i], 1), 1);
	assert_string_equal(letters, "fame");
	assert_int_equal(write(go[1], "1", 1), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_SYNC_OK);
	receiver_end(&r, "d");
}

/* A failure of that work reaches the source by name. */
static void what_fails_after_ready_is_refused_by_name(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;

	receiver_start(&r, "16M");
	receiver_hello(&r, MIB(16), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_READY);
	receiver_say(&r, STREAM_ROUND, 0, NULL, 0);
	receiver_say(&r, STREAM_SYNC, 0, NULL, 0);
	assert_int_equal(write(go[1], "0", 1), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_REFUSED);
	assert_string_equal(text, "KVM has no memory for its tables");
	receiver_end(&r, "famed");
}

/* Nobody is left waiting for a destination that has its source, until the path is another's. */
static void a_source_that_comes_second_is_told_so(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;
	int first;

	receiver_start(&r, "16M");
	receiver_hello(&r, MIB(16), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_READY);
	first = r.fd;
	receiver_connect(&r);
	assert_int_equal(receiver_hear(&r, text), STREAM_REFUSED);
	assert_string_equal(text, "another source was faster, and its guest is being received");
	close(r.fd);
	r.fd = first;
	receiver_say(&r, STREAM_ROUND, 0, NULL, 0);
	receiver_say(&r, STREAM_SYNC, 0, NULL, 0);
	assert_int_equal(write(go[1], "1", 1), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_SYNC_OK);
	/* From here on the guest may run here at any moment. */
	assert_int_equal(access(r.source.sun_path, F_OK), -1);
	receiver_end(&r, "famed");
}

/* The process that took its connection, 0 where the kernel does not say. */
static pid_t receiver_door(struct receiver *r)
{
	char path[64], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)r->pid, (int)r->pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

/* Its end only matters to those who are still to come. */
static void a_guest_that_is_on_its_way_needs_no_door(void **state)
{
	char text[ERROR_TEXT_MAX + 1];
	struct receiver r;
	pid_t door;

	receiver_start(&r, "16M");
	receiver_hello(&r, MIB(16), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_READY);
	door = receiver_door(&r);
	if (door > 0)
		assert_int_equal(kill(door, SIGKILL), 0);
	receiver_say(&r, STREAM_ROUND, 0, NULL, 0);
	receiver_say(&r, STREAM_SYNC, 0, NULL, 0);
	assert_int_equal(write(go[1], "1", 1), 1);
	assert_int_equal(receiver_hear(&r, text), STREAM_SYNC_OK);
	receiver_end(&r, "famed");
}

/* Says HELLO over a connection that comes with a call. The call's answer is the connection's end. */
static void receiver_call(struct receiver *r, uint64_t mem, struct error *err)
{
	char text[ERROR_TEXT_MAX + 1];
	int fds[2], before = r->fd;
	struct control_client c;
	const char *parameters;

	*err = (struct error){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(control_connect(&c, r->dir, "web1", err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Connect", "{}", CONTROL_RESULT, fds[1], err), 0);
	close(fds[1]);
	r->fd = fds[0];
	receiver_hello(r, mem, 1);
	assert_int_equal(receiver_hear(r, text), STREAM_REFUSED);
	close(r->fd);
	r->fd = before;
	assert_int_equal(control_receive(&c, &parameters, err), -EREMOTEIO);
	control_disconnect(&c);
}

static void a_source_comes_by_a_call(void **state)
{
	struct receiver r;
	struct error err;

	/* With a connection through the door that says nothing. */
	receiver_start(&r, "512M");
	receiver_call(&r, MIB(16), &err);
	assert_non_null(strstr(err.text, "the guest has 16 MiB of memory, --mem says 512 MiB"));
	receiver_call(&r, MIB(32), &err);
	assert_non_null(strstr(err.text, "the guest has 32 MiB of memory, --mem says 512 MiB"));
	receiver_stop(&r, "fafa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_that_is_refused_has_cost_nothing),
		cmocka_unit_test(whoever_asks_does_not_end_the_wait),
		cmocka_unit_test(a_check_of_the_largest_guest_is_answered_within_a_second),
		cmocka_unit_test(devices_stay_while_sources_are_turned_away),
		cmocka_unit_test(devices_that_could_not_be_built_are_there_for_the_next_source),
		cmocka_unit_test(ready_does_not_wait_for_what_grows_with_the_guest),
		cmocka_unit_test(what_fails_after_ready_is_refused_by_name),
		cmocka_unit_test(a_source_that_comes_second_is_told_so),
		cmocka_unit_test(a_guest_that_is_on_its_way_needs_no_door),
		cmocka_unit_test(a_source_comes_by_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
