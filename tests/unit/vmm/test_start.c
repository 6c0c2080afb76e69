/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole program, from its command line to its end, without KVM: where its start may stand still for as
 * long as a stranger likes, a signal ends it, and leaves the host as it was.
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
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/client.h"
#include "vmm/vm.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/boot_files.h"
#include "vmm/x86/cpu.h"

int ferry_main(int argc, char **argv);

static char dir[] = "/tmp/ferry-start-XXXXXX";
static char fifo[64], runtime[64], control[80], serial[64], source[64], source_address[80];
static bool kernel_stalls, no_kvm, guest_is_deaf;

/* These take the place of the program's own: no KVM, and a kernel's file that may be on a mount that has
 * stalled. */

int kvm_check_host(const char *device, struct error *err)
{
	if (no_kvm) {
		error_add(err, "no KVM here");
		return -ENOENT;
	}
	return 0;
}

int vm_begin(struct vm *vm, uint64_t mem, struct error *err)
{
	*vm = (struct vm){ .stop_fd = -1 };
	vm->devices_tail = &vm->devices;
	memory_frame(&vm->memory, mem);
	kvm_init(&vm->kvm, &vm->memory);
	gate_init(&vm->gate, &vm->loop);
	return loop_init(&vm->loop);
}

int vm_frame(struct vm *vm, const char *kvm, unsigned int cpus, struct error *err)
{
	return 0;
}

int vm_fill(struct vm *vm, struct error *err)
{
	return memory_fill(&vm->memory, err);
}

int vm_equip(struct vm *vm, struct error *err)
{
	return 0;
}

int vm_keep_power_on(struct vm *vm, struct error *err)
{
	return 0;
}

/* The power button: the guest has shut down at once. */
void irq_set_line(struct irq_table *table, unsigned int gsi, bool high)
{
	if (high && !guest_is_deaf)
		gate_end(&container_of(table, struct vm, irqs)->gate, VM_EXIT_POWER_OFF);
}

void vm_prefault_present(struct vm *vm, uint64_t max)
{
}

int acpi_write(struct memory *m, unsigned int cpus, unsigned int devices, struct error *err)
{
	return 0;
}

int cpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct error *err)
{
	return 0;
}

int boot_files_open(struct boot_files *f, const char *kernel, const char *initrd, const char *cmdline,
		    struct error *err)
{
	if (kernel_stalls && open(fifo, O_RDONLY | O_CLOEXEC) < 0)
		_exit(98);
	return 0;
}

int boot_load(struct memory *m, const struct boot_files *files, struct boot_entry *entry, struct error *err)
{
	return 0;
}

static int setup(void **state)
{
	strcpy(strrchr(dir, '-'), "-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	snprintf(runtime, sizeof(runtime), "%s/run", dir);
	snprintf(control, sizeof(control), "%s/web1/control", runtime);
	snprintf(serial, sizeof(serial), "%s/serial", dir);
	snprintf(source, sizeof(source), "%s/source", dir);
	snprintf(source_address, sizeof(source_address), "unix:%s", source);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(runtime, 0700), 0);
	kernel_stalls = no_kvm = guest_is_deaf = false;
	return 0;
}

/* Checks that only what was there is left. */
static int teardown(void **state)
{
	assert_int_equal(unlink(fifo), 0);
	assert_int_equal(rmdir(runtime), 0);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

/* Starts the program with a name, a directory, and @args up to NULL. */
static pid_t start(const char *const *args)
{
	char *argv[16] = { "ferry", (char *)(uintptr_t)args[0], "--name", "web1", "--runtime-dir", runtime };
	int argc = 6;
	pid_t pid;

	for (args++; *args; args++)
		argv[argc++] = (char *)(uintptr_t)*args;
	pid = fork();
	if (pid == 0) {
		/* The child is left behind where the test fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(ferry_main(argc, argv));
	}
	assert_true(pid > 0);
	return pid;
}

static pid_t start_run(void)
{
	char console[80];

	snprintf(console, sizeof(console), "unix:%s", serial);
	return start((const char *const[]){ "run", "--kernel", "x", "--serial", console, NULL });
}

/* The same, with a guest that has @seconds to shut down after its power button was pressed. */
static pid_t start_run_to_stop(const char *seconds)
{
	char console[80];

	snprintf(console, sizeof(console), "unix:%s", serial);
	return start((const char *const[]){ "run", "--kernel", "x", "--serial", console, "--stop-timeout",
					    seconds, NULL });
}

static pid_t start_receive(void)
{
	return start((const char *const[]){ "receive", "--from", source_address, "--serial", "none", NULL });
}

/* Looks without an event: nobody tells what another process is doing. */
static void assert_lives_on(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	sched_yield();
}

static void await_file(pid_t pid, const char *path)
{
	while (access(path, F_OK) < 0)
		assert_lives_on(pid);
}

/* Waits until @pid has @path open. */
static void await_open(pid_t pid, const char *path)
{
	char name[64], link[128];
	struct dirent *entry;
	bool found = false;

	snprintf(name, sizeof(name), "/proc/%d/fd", (int)pid);
	while (!found) {
		DIR *fds = opendir(name);

		assert_non_null(fds);
		while (!found && (entry = readdir(fds))) {
			ssize_t n = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);

			link[n > 0 ? n : 0] = '\0';
			found = strcmp(link, path) == 0;
		}
		closedir(fds);
		assert_lives_on(pid);
	}
}

static void assert_ends_by(pid_t pid, int signo)
{
	int status;

	assert_int_equal(kill(pid, signo), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signo);
	assert_int_equal(access(control, F_OK), -1);
	assert_int_equal(access(serial, F_OK), -1);
	assert_int_equal(access(source, F_OK), -1);
}

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

static void a_run_whose_kernel_cannot_be_read_ends_by_a_signal(void **state)
{
	kernel_stalls = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start_run();

		await_file(pid, serial);
		assert_ends_by(pid, signals[i]);
	}
}

static void a_run_that_waits_for_the_runtime_directory_ends_by_a_signal(void **state)
{
	char lock[80];
	int fd;

	snprintf(lock, sizeof(lock), "%s/.lock", runtime);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start_run();

		await_open(pid, runtime);
		assert_ends_by(pid, signals[i]);
	}
	close(fd);
	unlink(lock);
}

static void a_guest_that_runs_ends_by_a_signal(void **state)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start_run_to_stop("0");

		await_file(pid, serial);
		assert_ends_by(pid, signals[i]);
	}
}

/* Waits until the guest runs, and says so. */
static void await_guest(void)
{
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;
	bool runs = false;

	while (!runs) {
		if (control_connect(&c, runtime, "web1", &err) < 0)
			continue;
		assert_int_equal(control_send(&c, "alt.ferry.Describe", "{}", CONTROL_RESULT, -1, &err), 0);
		assert_int_equal(control_receive(&c, &parameters, &err), 0);
		runs = strstr(parameters, "\"state\":\"running\"");
		control_disconnect(&c);
	}
}

static void sigterm_lets_a_guest_shut_down(void **state)
{
	int status;
	pid_t pid = start_run();

	await_guest();
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), VM_EXIT_POWER_OFF);
	assert_int_equal(access(control, F_OK), -1);
}

static void a_guest_that_hears_no_button_ends_by_sigterm(void **state)
{
	pid_t pid;

	guest_is_deaf = true;
	pid = start_run_to_stop("1");
	await_guest();
	assert_ends_by(pid, SIGTERM);
}

static void a_receive_ends_by_a_signal_while_nobody_comes(void **state)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start_receive();

		await_file(pid, source);
		assert_ends_by(pid, signals[i]);
	}
}

static void a_receive_ends_by_a_signal_while_a_source_says_nothing(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, source);
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		pid_t pid = start_receive();

		while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			assert_lives_on(pid);
		assert_ends_by(pid, signals[i]);
		close(fd);
	}
}

/* Calls the VM, whose answer is an error: its reason. */
static void call(const char *method, struct error *err)
{
	struct control_client c;
	const char *parameters;

	*err = (struct error){ 0 };
	assert_int_equal(control_connect(&c, runtime, "web1", err), 0);
	assert_int_equal(control_send(&c, method, "{}", CONTROL_RESULT, -1, err), 0);
	assert_int_equal(control_receive(&c, &parameters, err), -EREMOTEIO);
	assert_string_equal(c.error, "alt.ferry.NotRunning");
	control_disconnect(&c);
}

static void a_call_before_there_is_a_guest_is_answered(void **state)
{
	struct error err;
	pid_t pid = start_receive();

	await_file(pid, source);
	call("alt.ferry.Resume", &err);
	assert_non_null(strstr(err.text, "waits for a source"));
	assert_ends_by(pid, SIGTERM);
	kernel_stalls = true;
	pid = start_run();
	await_file(pid, serial);
	call("alt.ferry.Migrate", &err);
	assert_non_null(strstr(err.text, "not started yet"));
	assert_ends_by(pid, SIGTERM);
}

static void assert_fails_at_once(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), VM_EXIT_ERROR);
	assert_int_equal(access(source, F_OK), -1);
}

/* Who took connections for it; 0 as long as that is not known. */
static pid_t child_of(pid_t pid)
{
	char path[64], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return (pid_t)strtol(text, NULL, 10);
}

static void a_receive_whose_door_is_killed_ends_with_an_error(void **state)
{
	pid_t pid = start_receive(), door;

	await_file(pid, source);
	door = child_of(pid);
	/* Not every kernel says whose children are whose. */
	if (door == 0) {
		assert_ends_by(pid, SIGTERM);
		skip();
	}
	assert_int_equal(kill(door, SIGKILL), 0);
	assert_fails_at_once(pid);
	assert_int_equal(access(control, F_OK), -1);
}

/* The program says so before it waits for a guest that it could not take. */
static void a_receive_says_at_once_what_cannot_be_had(void **state)
{
	assert_int_equal(chmod(runtime, 0777), 0);
	assert_fails_at_once(start_receive());
	assert_int_equal(chmod(runtime, 0700), 0);
	no_kvm = true;
	assert_fails_at_once(start_receive());
}

/* Somebody with no rights, who is in no group. */
#define NOBODY 65534

static void give(int fd, int number)
{
	assert_int_equal(dup2(fd, number), number);
	if (fd != number)
		close(fd);
}

/* Opens a TAP interface of a network of its own. False: there is none to be had. */
static bool give_tap(int number)
{
	struct ifreq ifr = { .ifr_name = "given0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, up;

	/* The interface is made in the network in which its file was opened. */
	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = open("/dev/net/tun", O_RDWR);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return false;
	give(fd, number);
	up = socket(AF_INET, SOCK_DGRAM, 0);
	ifr.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(up, SIOCSIFFLAGS, &ifr), 0);
	close(up);
	return true;
}

/* Is a launcher with rights: opens what only root may, gives up every right, and becomes Ferry. */
static void launch(const char *disk, int listener)
{
	/* Parsing changes it. */
	char net[] = "soft,tap=fd:102";
	char *argv[] = { "ferry", "receive", "--name", "web1",   "--runtime-dir", runtime, "--serial",
			 "none",  "--from",  "fd:in",  "--disk", "fd:101",        "--net", net };
	char pid[16];
	int argc = ARRAY_SIZE(argv);

	give(open(disk, O_RDWR), 101);
	/* The only one with a name, as a service manager passes it. */
	give(listener, 3);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (setenv("LISTEN_PID", pid, 1) < 0 || setenv("LISTEN_FDS", "1", 1) < 0 ||
	    setenv("LISTEN_FDNAMES", "in", 1) < 0)
		_exit(97);
	if (!give_tap(102))
		argc -= 2;
	if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0 || setuid(0) == 0 ||
	    open(disk, O_RDONLY) >= 0)
		_exit(97);
	_exit(ferry_main(argc, argv));
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void a_receive_needs_no_rights_to_what_it_is_given(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), listener, status;
	char disk[80], answer[256];
	struct stat st;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	close(open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(truncate(disk, 1 << 20), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chown(runtime, NOBODY, NOBODY), 0);
	listener = listen_at(source);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		launch(disk, listener);
	}
	close(listener);
	strcpy(addr.sun_path, source);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	/* No source says that, so it is sent away: somebody has listened. */
	assert_int_equal(send(fd, "nonsense", 8, MSG_NOSIGNAL), 8);
	shutdown(fd, SHUT_WR);
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
	close(fd);
	assert_int_equal(stat(control, &st), 0);
	assert_int_equal(st.st_uid, NOBODY);
	assert_lives_on(pid);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(access(control, F_OK), -1);
	/* The listener's file is the launcher's. */
	assert_int_equal(unlink(source), 0);
	unlink(disk);
}

#define START_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		START_TEST(a_run_whose_kernel_cannot_be_read_ends_by_a_signal),
		START_TEST(a_run_that_waits_for_the_runtime_directory_ends_by_a_signal),
		START_TEST(a_guest_that_runs_ends_by_a_signal),
		START_TEST(sigterm_lets_a_guest_shut_down),
		START_TEST(a_guest_that_hears_no_button_ends_by_sigterm),
		START_TEST(a_receive_ends_by_a_signal_while_nobody_comes),
		START_TEST(a_receive_ends_by_a_signal_while_a_source_says_nothing),
		START_TEST(a_call_before_there_is_a_guest_is_answered),
		START_TEST(a_receive_whose_door_is_killed_ends_with_an_error),
		START_TEST(a_receive_says_at_once_what_cannot_be_had),
		START_TEST(a_receive_needs_no_rights_to_what_it_is_given),
	};

	/* nohup and the like ignore SIGHUP for all that they start, and Ferry keeps to that. */
	signal(SIGHUP, SIG_DFL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
