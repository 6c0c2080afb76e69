/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's server: a thread for each call. */
#define _GNU_SOURCE
#include "vmm/control_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTROL_REPLY_TIMEOUT 2000   /* ms, for a client to take its final reply */
#define CONTROL_STACK         MIB(1) /* a migration runs on it; musl's default is 128 KiB */

enum control_call_state { CALL_FREE, CALL_RUNNING, CALL_ENDED };

struct control_call {
	struct control *control;
	enum control_call_state state; /* control's lock; ENDED: the thread is to be joined */
	pthread_t thread;
	int fd; /* closed under control's lock */

	/* The thread's own. */
	bool more;
	bool answered;
	const jsmntok_t *parameters;
	struct json json;
	char message[CONTROL_MESSAGE_MAX];
};

struct control {
	struct loop *loop;
	struct loop_source listener;
	struct sockaddr_un addr;
	struct stat st; /* of the socket's file, so that nobody else's is removed */
	const struct control_method *methods;
	unsigned int n_methods;
	void *opaque;
	pthread_mutex_t lock; /* state and fd of calls */
	struct control_call calls[CONTROL_MAX_CALLS];
};

bool control_get_string(struct control_call *call, const char *name, char *buf, size_t size)
{
	return json_string(&call->json, call->parameters, name, buf, size);
}

bool control_get_number(struct control_call *call, const char *name, uint64_t *v)
{
	return json_number(&call->json, call->parameters, name, v);
}

int control_call_fd(const struct control_call *call)
{
	return call->fd;
}

static void control_answer(struct control_call *call, const char *text, size_t len, bool continues)
{
	/* Progress that a client does not read is dropped: it must not hold up what it reports on. */
	int ret = control_send_bytes(call->fd, text, len, continues ? 0 : CONTROL_REPLY_TIMEOUT);

	/* A message cut short would make what follows a part of it. */
	if (ret < 0 && ret != -ETIMEDOUT)
		shutdown(call->fd, SHUT_RDWR);
}

void control_reply(struct control_call *call, const char *parameters, bool continues)
{
	char text[CONTROL_MESSAGE_MAX];
	int len = snprintf(text, sizeof(text), "{\"parameters\":%s%s}", parameters,
			   continues ? ",\"continues\":true" : "");

	assert(!call->answered && len > 0 && (size_t)len < sizeof(text));
	call->answered = !continues;
	if (!continues || call->more)
		control_answer(call, text, (size_t)len + 1, continues);
}

void control_fail(struct control_call *call, const char *error, const char *reason)
{
	char text[CONTROL_MESSAGE_MAX], quoted[CONTROL_MESSAGE_MAX - 256];
	int len;

	assert(!call->answered && strlen(error) < 128);
	call->answered = true;
	json_quote(reason, quoted, sizeof(quoted));
	len = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"parameters\":{\"reason\":%s}}", error,
		       quoted);
	control_answer(call, text, (size_t)len + 1, false);
}

/* The call up to its NUL. False when there is nobody to answer. */
static bool control_read_call(struct control_call *call)
{
	uint64_t deadline_ns = now_ns() + CONTROL_READ_TIMEOUT * 1000000ull;
	size_t len = 0;

	while (len < sizeof(call->message)) {
		int n = control_recv_bytes(call->fd, call->message + len, sizeof(call->message) - len,
					   deadline_ns);

		if (n <= 0)
			return false;
		if (memchr(call->message + len, '\0', (size_t)n))
			return true;
		len += (size_t)n;
	}
	control_fail(call, "org.ferry.InvalidCall", "the call is too long");
	return false;
}

static void control_dispatch(struct control_call *call)
{
	const struct control *control = call->control;
	struct json *json = &call->json;
	char method[128];

	if (!json_parse(json, call->message, strlen(call->message)) ||
	    !json_string(json, json->tokens, "method", method, sizeof(method))) {
		control_fail(call, "org.ferry.InvalidCall", "not a JSON object with a method");
		return;
	}
	call->parameters = json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	call->more = json_true(json, "more");
	for (unsigned int i = 0; i < control->n_methods; i++) {
		if (strcmp(control->methods[i].name, method) != 0)
			continue;
		control->methods[i].fn(call, control->opaque);
		assert(call->answered);
		return;
	}
	control_fail(call, "org.varlink.service.MethodNotFound", method);
}

static void *control_thread(void *arg)
{
	struct control_call *call = arg;
	struct control *control = call->control;

	if (control_read_call(call))
		control_dispatch(call);
	pthread_mutex_lock(&control->lock);
	close(call->fd);
	call->fd = -1;
	call->state = CALL_ENDED;
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

static int control_start_call(struct control_call *call, int fd)
{
	pthread_attr_t attr;
	int ret;

	call->fd = fd;
	call->state = CALL_RUNNING;
	call->more = call->answered = false;
	call->parameters = NULL;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, CONTROL_STACK);
	ret = -pthread_create(&call->thread, &attr, control_thread, call);
	pthread_attr_destroy(&attr);
	if (ret < 0) {
		call->fd = -1;
		call->state = CALL_FREE;
	}
	return ret;
}

/* A place for a call, NULL if all are taken. Called with the lock held. */
static struct control_call *control_free_call(struct control *control)
{
	struct control_call *found = NULL;

	for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
		struct control_call *call = &control->calls[i];

		/* The thread has given up the lock for the last time, or is about to return. */
		if (call->state == CALL_ENDED) {
			pthread_join(call->thread, NULL);
			call->state = CALL_FREE;
		}
		if (call->state == CALL_FREE)
			found = call;
	}
	return found;
}

static void control_accepted(struct loop_source *src, uint32_t events)
{
	static const char busy[] = "{\"error\":\"org.ferry.Busy\",\"parameters\":{\"reason\":"
				   "\"no room for another call\"}}";
	struct control *control = container_of(src, struct control, listener);
	int fd, ret;

	/* Edge-triggered: where descriptors have run out, the waiting client does not keep the loop busy. */
	for (;;) {
		struct control_call *call;

		fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			break;
		pthread_mutex_lock(&control->lock);
		call = control_free_call(control);
		ret = call ? control_start_call(call, fd) : -EBUSY;
		pthread_mutex_unlock(&control->lock);
		if (ret == 0)
			continue;
		control_send_bytes(fd, busy, sizeof(busy), 0);
		close(fd);
	}
	if (errno != EAGAIN)
		log_error("cannot accept a control call: %s", strerror(errno));
}

/* Opens RUNTIME_DIR, made if need be, and locks it: one process at a time looks for a dead one's socket. */
static int control_open_dir(const char *runtime_dir, int *dir_fd, struct error *err)
{
	if (mkdir(runtime_dir, 0700) < 0 && errno != EEXIST)
		return error_add(
			err, -errno,
			"cannot create the runtime directory %s: %s; create it, or choose another with "
			"--runtime-dir",
			runtime_dir, strerror(errno));
	*dir_fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return error_add(
			err, -errno,
			"cannot open the runtime directory %s: %s; choose another with --runtime-dir",
			runtime_dir, strerror(errno));
	while (flock(*dir_fd, LOCK_EX) < 0) {
		if (errno == EINTR)
			continue;
		error_add(err, -errno, "cannot lock the runtime directory %s: %s", runtime_dir,
			  strerror(errno));
		close(*dir_fd);
		*dir_fd = -1;
		return -EIO;
	}
	return 0;
}

/* Makes way for our socket where a dead process has left one. */
static int control_remove_stale(const struct sockaddr_un *addr, const char *name, struct error *err)
{
	struct stat st;
	int fd, ret = 0;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : error_add(err, -errno, "cannot look at the control socket %s: %s",
						   addr->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return error_add(err, -EEXIST,
				 "cannot use %s as control socket: it exists and is not a socket",
				 addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_add(err, -errno, "cannot create a socket: %s", strerror(errno));
	/* EAGAIN: it is alive, with many clients. */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		ret = error_add(err, -EADDRINUSE, "a VM named %s is running already (socket %s)", name,
				addr->sun_path);
	else if (errno != ECONNREFUSED)
		ret = error_add(err, -errno,
				"cannot tell whether a VM named %s is running already (socket %s): %s", name,
				addr->sun_path, strerror(errno));
	else if (unlink(addr->sun_path) < 0)
		ret = error_add(err, -errno, "cannot remove the socket %s of a VM that has ended: %s",
				addr->sun_path, strerror(errno));
	close(fd);
	return ret;
}

static int control_listen(struct control *control, const char *name, struct error *err)
{
	const struct sockaddr_un *addr = &control->addr;
	int ret = control_remove_stale(addr, name, err), fd;

	if (ret < 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* The mode of the file that bind() makes. */
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		goto fail;
	if (listen(fd, CONTROL_MAX_CALLS) < 0 || stat(addr->sun_path, &control->st) < 0) {
		unlink(addr->sun_path);
		goto fail;
	}
	control->listener.fd = fd;
	return 0;

fail:
	ret = error_add(err, -errno, "cannot listen on the control socket %s: %s", addr->sun_path,
			strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

static void control_unlink(const struct control *control)
{
	struct stat st;

	if (lstat(control->addr.sun_path, &st) == 0 && st.st_dev == control->st.st_dev &&
	    st.st_ino == control->st.st_ino)
		unlink(control->addr.sun_path);
}

int control_create(struct control **out, struct loop *loop, const char *runtime_dir, const char *name,
		   const struct control_method *methods, unsigned int n_methods, void *opaque,
		   struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int dir_fd = -1, ret;

	if (!control)
		return error_add(err, -ENOMEM, "no memory for the control socket");
	control->loop = loop;
	control->methods = methods;
	control->n_methods = n_methods;
	control->opaque = opaque;
	control->listener = (struct loop_source){ .fd = -1, .fn = control_accepted };
	pthread_mutex_init(&control->lock, NULL);
	for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
		control->calls[i].control = control;
		control->calls[i].fd = -1;
	}
	ret = control_address(&control->addr, runtime_dir, name, err);
	if (ret == 0)
		ret = control_open_dir(runtime_dir, &dir_fd, err);
	if (ret < 0)
		goto free_control;
	ret = control_listen(control, name, err);
	close(dir_fd);
	if (ret < 0)
		goto free_control;
	ret = loop_add(loop, &control->listener, EPOLLIN | EPOLLET);
	if (ret < 0) {
		error_add(err, ret, "cannot watch the control socket: %s", strerror(-ret));
		goto close_listener;
	}
	*out = control;
	return 0;

close_listener:
	control_unlink(control);
	close(control->listener.fd);
free_control:
	pthread_mutex_destroy(&control->lock);
	free(control);
	return ret;
}

static void control_stop_listening(void *arg)
{
	struct control *control = arg;

	loop_del(control->loop, &control->listener);
}

void control_destroy(struct control *control)
{
	bool began[CONTROL_MAX_CALLS];

	/* From here on no call begins. */
	loop_call(control->loop, control_stop_listening, control);
	control_unlink(control);
	close(control->listener.fd);
	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
		began[i] = control->calls[i].state != CALL_FREE;
		/* One direction: how a migration has ended is still to be said. */
		if (control->calls[i].state == CALL_RUNNING)
			shutdown(control->calls[i].fd, SHUT_RD);
	}
	pthread_mutex_unlock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
		if (began[i])
			pthread_join(control->calls[i].thread, NULL);
	}
	pthread_mutex_destroy(&control->lock);
	free(control);
}
