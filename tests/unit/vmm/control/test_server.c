/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket with honest and hostile clients. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/control/json.h"

/* Starts of one VM by each of two threads. */
#define N_ROUNDS 200u

static void a_call_reaches_its_method_and_its_reply_the_client(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;
	char text[64];
	uint64_t n;

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(
		control_send(&c, "alt.ferry.Echo",
			     "{\"n\":18446744073709551615,\"text\":\"a\\n\\\"\\u00e9\\ud83d\\ude00\"}",
			     CONTROL_RESULT, -1, &err),
		0);
	assert_int_equal(control_receive(&c, &parameters, &err), 0);
	assert_true(json_object_string(parameters, "text", text, sizeof(text)));
	assert_string_equal(text, "a\n\"\303\251\360\237\230\200");
	assert_true(json_object_number(parameters, "n", &n));
	assert_true(n == UINT64_MAX);
	assert_string_equal(c.error, "");
	/* A connection carries one call after the other. */
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(
			control_send(&c, "alt.ferry.Echo", "{\"text\":\"\"}", CONTROL_RESULT, -1, &err), 0);
		assert_int_equal(control_receive(&c, &parameters, &err), 0);
	}
	control_disconnect(&c);
}

static void progress_is_for_clients_that_ask_for_it(void **state)
{
	struct fixture *f = *state;

	for (int more = 0; more < 2; more++) {
		struct control_client c;
		struct error err = { 0 };
		const char *parameters;
		uint64_t n;

		assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
		assert_int_equal(control_send(&c, "alt.ferry.Progress", "{}",
					      more ? CONTROL_PROGRESS : CONTROL_RESULT, -1, &err),
				 0);
		for (unsigned int i = 0; more && i < N_PROGRESS; i++) {
			assert_int_equal(control_receive(&c, &parameters, &err), 1);
			assert_true(json_object_number(parameters, "round", &n));
			assert_int_equal(n, i);
		}
		assert_int_equal(control_receive(&c, &parameters, &err), 0);
		assert_true(json_object_number(parameters, "round", &n));
		assert_int_equal(n, 99);
		control_disconnect(&c);
	}
}

static void a_failure_comes_back_with_its_reason(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;
	static char huge[CONTROL_MESSAGE_MAX + 1];

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Echo", "{\"text\":7}", CONTROL_RESULT, -1, &err), 0);
	assert_int_equal(control_receive(&c, &parameters, &err), -EREMOTEIO);
	assert_string_equal(err.text, "no \"text\"");
	assert_string_equal(c.error, "alt.ferry.InvalidParameter");
	control_disconnect(&c);
	err = (struct error){ 0 };
	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.None", "{}", CONTROL_RESULT, -1, &err), 0);
	assert_int_equal(control_receive(&c, &parameters, &err), -EREMOTEIO);
	assert_string_equal(c.error, "org.varlink.service.MethodNotFound");
	memset(huge, ' ', sizeof(huge) - 1);
	assert_int_equal(control_send(&c, "alt.ferry.Echo", huge, CONTROL_RESULT, -1, &err), -EMSGSIZE);
	control_disconnect(&c);
}

static void one_name_is_one_vm(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct control *second;
	struct error err = { 0 };
	struct stat st;
	char path[256], dir[200];
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(control_connect(&c, f->dir, "web2", &err), -ENOENT);
	assert_non_null(strstr(err.text, "no VM named web2 is running (no socket "));
	assert_int_equal(create(f, "web1", &second, &err), -EADDRINUSE);
	snprintf(path, sizeof(path), "%s/web1", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(path, sizeof(path), "a VM named web1 is running already (socket %s)", f->path);
	assert_string_equal(err.text, path);
	/* A dead process left this socket. */
	assert_int_equal(rename(f->path, strcat(strcpy(path, f->path), ".old")), 0);
	assert_int_equal(create(f, "web1", &second, &err), 0);
	control_destroy(f->control);
	f->control = second;
	assert_int_equal(access(f->path, F_OK), 0);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/web2", f->dir);
	assert_int_equal(mkdir(addr.sun_path, 0700), 0);
	strcat(addr.sun_path, "/control");
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	err = (struct error){ 0 };
	assert_int_equal(control_connect(&c, f->dir, "web2", &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "no VM named web2 is running"));
	assert_int_equal(create(f, "web2", &second, &err), 0);
	assert_int_equal(control_connect(&c, f->dir, "web2", &err), 0);
	control_disconnect(&c);
	control_destroy(second);
	assert_int_equal(access(addr.sun_path, F_OK), -1);
	*strrchr(addr.sun_path, '/') = '\0';
	assert_int_equal(mkdir(addr.sun_path, 0700), 0);
	strcat(addr.sun_path, "/control");
	/* A file is nobody's socket, and stays. */
	fd = open(addr.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(create(f, "web2", &second, &err), -EEXIST);
	assert_non_null(strstr(err.text, "is not a socket"));
	assert_int_equal(unlink(addr.sun_path), 0);
	*strrchr(addr.sun_path, '/') = '\0';
	assert_int_equal(rmdir(addr.sun_path), 0);
	/* Directories that cannot be. */
	snprintf(dir, sizeof(dir), "%s/none/run", f->dir);
	assert_int_equal(create_in(f, dir, "x", &second, &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot create the runtime directory"));
	memset(dir, 'd', 180);
	memcpy(dir, "/tmp/", 5);
	dir[180] = '\0';
	assert_int_equal(create_in(f, dir, "x", &second, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "the kernel allows 107"));
	assert_int_equal(control_connect(&c, dir, "x", &err), -ENAMETOOLONG);
}

static void what_is_no_folder_of_ours_is_nobodys_place(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	struct error err = { 0 };
	char path[128], real[128];

	snprintf(path, sizeof(path), "%s/web2", f->dir);
	snprintf(real, sizeof(real), "%s/real", f->dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(create(f, "web2", &second, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "/web2: Not a directory"));
	assert_int_equal(unlink(path), 0);
	/* Neither is one by another name. */
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink(real, path), 0);
	assert_int_equal(create(f, "web2", &second, &err), -ENOTDIR);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(real, path), 0);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(create(f, "web2", &second, &err), -EPERM);
	assert_non_null(strstr(err.text, "others can write to"));
	assert_int_equal(chmod(path, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(create(f, "web2", &second, &err), -EPERM);
		assert_non_null(strstr(err.text, "belongs to the user with id 65534"));
	}
	assert_int_equal(rmdir(path), 0);
}

static void what_else_is_in_a_vms_folder_stays(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	struct error err = { 0 };
	char path[128];

	assert_int_equal(create(f, "web2", &second, &err), 0);
	snprintf(path, sizeof(path), "%s/web2/log", f->dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	control_destroy(second);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(create(f, "web2", &second, &err), 0);
	control_destroy(second);
	*strrchr(path, '/') = '\0';
	assert_int_equal(access(path, F_OK), -1);
}

/* Starts and ends a VM's server again and again. Returns NULL, or the error. */
static void *come_and_go(void *arg)
{
	struct fixture *f = arg;
	struct control *control;
	struct error err = { 0 };

	for (unsigned int i = 0; i < N_ROUNDS;) {
		int ret = create(f, "web2", &control, &err);

		if (ret < 0 && ret != -EADDRINUSE)
			return strdup(err.text);
		if (ret < 0)
			continue;
		control_destroy(control);
		i++;
	}
	return NULL;
}

static void one_that_starts_while_another_of_its_name_ends_starts(void **state)
{
	pthread_t threads[2];
	void *why;

	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, *state), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &why), 0);
		if (why)
			fail_msg("%s", (char *)why);
	}
}

static void a_malformed_call_is_refused(void **state)
{
	static const char *const calls[] = {
		"",
		"{",
		"}",
		"[]",
		"7",
		"\"x\"",
		"{}",
		"{} {}",
		"{}x",
		"null",
		"{\"method\"}",
		"{\"method\":}",
		"{\"method\":7}",
		"{\"method\":[]}",
		"{\"method\":\"a\" \"b\"}",
		"{\"method\":\"alt.ferry.Echo\":\"x\"}",
		"{\"method\" \"alt.ferry.Echo\"}",
		"{\"method\":\"alt.ferry.Echo\"",
		"{\"method\":\"alt.ferry.Echo",
		"{method:\"alt.ferry.Echo\"}",
		"{\"method\":\"alt.ferry.Echo\"}}",
		"[{\"method\":\"alt.ferry.Echo\"}]",
		"{\"x\":\"\\u0000\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\\ud800\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\\udc00\\ud800\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\\ud800\\u0041\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\\uzzzz\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\\q\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"a\nb\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\377\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\300\200\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\355\240\200\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\364\220\200\200\",\"method\":\"alt.ferry.Echo\"}",
		"{\"x\":\"\303\",\"method\":\"alt.ferry.Echo\"}",
		"{\"\200\":1,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":[1:2],\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":[\"b\":2],\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":{1:2},\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":tru,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":-,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":01,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":1.,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":1e+,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":.5,\"method\":\"alt.ferry.Echo\"}",
		"{\"a\":1:2,\"method\":\"alt.ferry.Echo\"}",
	};
	struct fixture *f = *state;
	char buf[512];

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		int fd = raw_connect(f);

		assert_true(send(fd, calls[i], strlen(calls[i]) + 1, MSG_NOSIGNAL) > 0);
		raw_drain(fd, buf, sizeof(buf));
		if (!strstr(buf, "alt.ferry.InvalidCall"))
			fail_msg("%s: %s", calls[i], buf);
		close(fd);
	}
}

static void a_call_too_long_or_too_deep_is_refused(void **state)
{
	static char call[CONTROL_MESSAGE_MAX];
	struct fixture *f = *state;
	char buf[512];
	int fd = raw_connect(f);

	memset(call, '[', sizeof(call));
	assert_int_equal(send(fd, call, sizeof(call), MSG_NOSIGNAL), sizeof(call));
	raw_drain(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "the call is too long"));
	close(fd);
	/* Deeper, and wider, than there are tokens. */
	memcpy(call, "{\"a\":", 5);
	call[sizeof(call) - 1] = '\0';
	for (int i = 0; i < 3; i++) {
		memset(call + 5, "[{,"[i], sizeof(call) - 6);
		for (size_t j = 5; i == 2 && j < sizeof(call) - 1; j += 2)
			call[j] = j == 5 ? '[' : '1';
		fd = raw_connect(f);
		assert_int_equal(send(fd, call, sizeof(call), MSG_NOSIGNAL), sizeof(call));
		raw_drain(fd, buf, sizeof(buf));
		assert_non_null(strstr(buf, "alt.ferry.InvalidCall"));
		close(fd);
	}
	/* A method's name without bound. */
	memset(call, 'm', sizeof(call));
	memcpy(call, "{\"method\":\"", 11);
	memcpy(call + 4000, "\"}", 3);
	fd = raw_connect(f);
	assert_int_equal(send(fd, call, 4003, MSG_NOSIGNAL), 4003);
	raw_drain(fd, buf, sizeof(buf));
	assert_non_null(strstr(buf, "alt.ferry.InvalidCall"));
	close(fd);
}

static void a_client_that_hangs_up_leaves_nothing_behind(void **state)
{
	static const char call[] = "{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"x\"}}";
	struct fixture *f = *state;
	char buf[512];

	for (size_t len = 0; len < sizeof(call); len++) {
		int fd = raw_connect(f);

		if (len > 0)
			assert_int_equal(send(fd, call, len, MSG_NOSIGNAL), len);
		shutdown(fd, SHUT_WR);
		assert_int_equal(raw_drain(fd, buf, sizeof(buf)), 0);
		close(fd);
	}
	/* In pieces it is a call as good as any. */
	int fd = raw_connect(f);

	for (size_t len = 0; len < sizeof(call); len++)
		assert_int_equal(send(fd, call + len, 1, MSG_NOSIGNAL), 1);
	raw_finish(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{\"text\":\"x\",\"n\":0}}");
	close(fd);
}

static void a_call_too_many_is_refused(void **state)
{
	struct fixture *f = *state;
	struct control_client c[CONTROL_MAX_CALLS], one_more;
	struct error err = { 0 };
	const char *parameters;

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
			assert_int_equal(control_connect(&c[i], f->dir, "web1", &err), 0);
			assert_int_equal(
				control_send(&c[i], "alt.ferry.Hold", "{}", CONTROL_PROGRESS, -1, &err), 0);
			assert_int_equal(control_receive(&c[i], &parameters, &err), 1);
		}
		assert_int_equal(atomic_load(&f->n_running), CONTROL_MAX_CALLS);
		assert_int_equal(control_connect(&one_more, f->dir, "web1", &err), 0);
		assert_int_equal(control_send(&one_more, "alt.ferry.Echo", "{}", CONTROL_RESULT, -1, &err),
				 0);
		err = (struct error){ 0 };
		assert_int_equal(control_receive(&one_more, &parameters, &err), -EREMOTEIO);
		assert_string_equal(one_more.error, "alt.ferry.Busy");
		control_disconnect(&one_more);
		for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
			shutdown(c[i].fd, SHUT_WR);
			assert_int_equal(control_receive(&c[i], &parameters, &err), -EREMOTEIO);
			assert_string_equal(c[i].error, "alt.ferry.Cancelled");
			assert_int_equal(control_receive(&c[i], &parameters, &err), -EPIPE);
			control_disconnect(&c[i]);
		}
		assert_int_equal(atomic_load(&f->n_running), 0);
	}
}

/* Progress does not wait for who does not read; what is read are whole messages, and the last
 * one is there. */
static void a_client_that_does_not_read_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;
	eventfd_t count;
	unsigned int n = 0;
	int ret;

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Flood", "{}", CONTROL_PROGRESS, -1, &err), 0);
	assert_int_equal(eventfd_read(f->flooded_fd, &count), 0);
	while ((ret = control_receive(&c, &parameters, &err)) == 1)
		n++;
	assert_int_equal(ret, 0);
	assert_true(n > 0 && n < N_FLOOD);
	control_disconnect(&c);
	/* A client that never reads holds up neither the call nor the end: teardown is next. */
	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Flood", "{}", CONTROL_PROGRESS, -1, &err), 0);
	assert_int_equal(eventfd_read(f->flooded_fd, &count), 0);
	control_destroy(f->control);
	f->control = NULL;
	control_disconnect(&c);
}

static void *destroy_later(void *arg)
{
	struct fixture *f = arg;

	control_destroy(f->control);
	f->control = NULL;
	return NULL;
}

static void the_end_ends_calls_that_run(void **state)
{
	struct fixture *f = *state;
	struct control_client c[4];
	struct error err = { 0 };
	const char *parameters;
	pthread_t thread;
	int silent = raw_connect(f);
	char buf[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(control_connect(&c[i], f->dir, "web1", &err), 0);
		assert_int_equal(control_send(&c[i], "alt.ferry.Hold", "{}", CONTROL_PROGRESS, -1, &err), 0);
		assert_int_equal(control_receive(&c[i], &parameters, &err), 1);
	}
	assert_int_equal(pthread_create(&thread, NULL, destroy_later, f), 0);
	assert_int_equal(raw_drain(silent, buf, sizeof(buf)), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		/* The client is there still, and hears how it has ended. */
		assert_int_equal(control_receive(&c[i], &parameters, &err), -EREMOTEIO);
		assert_string_equal(c[i].error, "alt.ferry.Cancelled");
		control_disconnect(&c[i]);
	}
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&f->n_running), 0);
	assert_int_equal(access(f->path, F_OK), -1);
	close(silent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_call_reaches_its_method_and_its_reply_the_client, setup,
						teardown),
		cmocka_unit_test_setup_teardown(progress_is_for_clients_that_ask_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_comes_back_with_its_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(one_name_is_one_vm, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_folder_of_ours_is_nobodys_place, setup, teardown),
		cmocka_unit_test_setup_teardown(what_else_is_in_a_vms_folder_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_starts_while_another_of_its_name_ends_starts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_malformed_call_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_call_too_long_or_too_deep_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_hangs_up_leaves_nothing_behind, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_call_too_many_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_does_not_read_holds_nobody_up, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_ends_calls_that_run, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
