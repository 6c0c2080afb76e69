/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's server: a loop on a thread of its own takes clients, and has places for them. */
#define _GNU_SOURCE
#include "vmm/control/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/interface.h"
#include "vmm/loop_timer.h"
#include "vmm/runtime_dir.h"
#include "vmm/shortage.h"
#include "vmm/socket_file.h"

/* Attempts to bind in the VM's folder, which others of the name that end in this moment may remove. */
#define CONTROL_BIND_TRIES 8u

/* Time between attempts to take a client while the process is short of descriptors or memory. */
#define CONTROL_RETRY_NS UINT64_C(100000000)

struct control {
	struct loop loop;
	struct loop_source listener;
	/* Fires when the listener is to be watched again. */
	struct loop_timer retry;
	int dir_fd;
	/* The folder @name in @dir_fd, -1 before it is there. */
	int folder_fd;
	const char *name;
	struct socket_file file;
	struct guard_undo undo; /* control_remove_file() */
	struct log_limit limit;
	struct control_service service;
	struct control_places places;
};

static void control_take(struct control *control, int fd)
{
	uid_t uid;

	if (socket_file_check_peer(fd, &uid) < 0) {
		places_turn_away(fd, SERVICE_ERROR_DENIED, "{}");
		close(fd);
		return;
	}
	places_take(&control->places, fd);
}

/* Takes one client at a time: its call may have come by now, and is read before the next client is taken. */
static void control_accepted(struct loop_source *src, uint32_t events)
{
	struct control *control = container_of(src, struct control, listener);
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		control_take(control, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		log_limited(&control->limit, LOG_ERROR, "cannot take a control client: %s%s", strerror(errno),
			    shortage_advice(-errno));
		/* The client waits on, and must not keep the loop busy meanwhile. */
		loop_del(&control->loop, src);
		loop_timer_arm(&control->retry, now_ns() + CONTROL_RETRY_NS);
	}
}

static void control_listen_again(struct loop_timer *timer)
{
	struct control *control = container_of(timer, struct control, retry);

	if (loop_add(&control->loop, &control->listener, EPOLLIN) < 0)
		loop_timer_arm(timer, now_ns() + CONTROL_RETRY_NS);
}

/* Removes the socket, and the folder unless something else is in it: also a successor's socket is. */
static void control_remove(struct control *control)
{
	socket_file_remove(&control->file);
	if (control->folder_fd >= 0)
		unlinkat(control->dir_fd, control->name, AT_REMOVEDIR);
}

static void control_remove_file(struct guard_undo *undo)
{
	control_remove(container_of(undo, struct control, undo));
}

/* Makes the VM's folder, and the socket in it. */
static int control_bind(struct control *control, const struct control_config *config,
			const struct sockaddr_un *addr, struct error *err)
{
	char path[sizeof(addr->sun_path)];
	int ret;

	strcpy(path, addr->sun_path);
	*strrchr(path, '/') = '\0';
	ret = runtime_dir_enter(control->dir_fd, control->name, path, &control->folder_fd, err);
	if (ret < 0)
		return ret;
	ret = socket_file_bind(&control->file, control->listener.fd, control->folder_fd, addr->sun_path,
			       0600);
	if (ret == 0) {
		guard_add(config->guard, &control->undo);
		ret = listen(control->listener.fd, CONTROL_MAX_CLIENTS) < 0 ? -errno : 0;
	}
	if (ret == -EADDRINUSE)
		error_add(err, "a VM named %s is running already (socket %s)", config->name, addr->sun_path);
	else if (ret < 0)
		error_add(err, "cannot listen on the control socket %s: %s", addr->sun_path,
			  socket_file_error(ret));
	return ret;
}

/* Binds while no other process does. */
static int control_bind_alone(struct control *control, const struct control_config *config,
			      const struct sockaddr_un *addr, struct error *err)
{
	struct error reason = { 0 };
	int lock_fd, ret;

	ret = runtime_dir_lock(control->dir_fd, config->runtime_dir, config->guard->stop_fd, &lock_fd, err);
	if (ret < 0)
		return ret;
	ret = -ENOENT;
	for (unsigned int i = 0; i < CONTROL_BIND_TRIES && ret == -ENOENT; i++) {
		if (control->folder_fd >= 0)
			close(control->folder_fd);
		control->folder_fd = -1;
		reason = (struct error){ 0 };
		ret = control_bind(control, config, addr, &reason);
	}
	if (ret < 0)
		error_add(err, "%s", reason.text);
	runtime_dir_unlock(control->dir_fd, lock_fd);
	return ret;
}

static int control_open(struct control *control, const struct control_config *config, struct error *err)
{
	struct sockaddr_un addr;
	int ret;

	ret = control_address(&addr, config->runtime_dir, config->name, err);
	if (ret == 0)
		ret = runtime_dir_open(config->runtime_dir, &control->dir_fd, err);
	if (ret < 0)
		return ret;
	control->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (control->listener.fd < 0) {
		error_add(err, "cannot create the control socket: %s%s", strerror(errno),
			  shortage_advice(-errno));
		return -errno;
	}
	ret = control_bind_alone(control, config, &addr, err);
	if (ret < 0)
		return ret;
	ret = loop_timer_open(&control->retry, &control->loop, control_listen_again);
	if (ret == 0)
		ret = places_init(&control->places, &control->loop, &control->service);
	if (ret == 0)
		ret = loop_add(&control->loop, &control->listener, EPOLLIN);
	if (ret == 0)
		ret = loop_start(&control->loop, "control");
	if (ret < 0) {
		error_add(err, "cannot watch the control socket: %s%s", strerror(-ret), shortage_advice(ret));
		return ret;
	}
	return 0;
}

/* Frees @control, whose loop nobody runs any more, or yet. */
static void control_free(struct control *control)
{
	const int fds[] = { control->listener.fd, control->folder_fd, control->dir_fd };

	/* The file goes before the listener, for while we listen nobody takes it for a dead process's. */
	control_remove(control);
	guard_del(&control->undo);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	places_exit(&control->places);
	loop_timer_close(&control->retry);
	loop_exit(&control->loop);
	free(control);
}

int control_create(struct control **out, const struct control_config *config, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int ret = control ? loop_init(&control->loop) : -ENOMEM;

	if (ret < 0) {
		error_add(err, "cannot make the control socket's loop: %s%s", strerror(-ret),
			  shortage_advice(ret));
		free(control);
		return ret;
	}
	control->service = (struct control_service){ config->offers, config->n_offers };
	control->listener = (struct loop_source){ .fd = -1, .fn = control_accepted };
	control->undo.fn = control_remove_file;
	control->dir_fd = control->folder_fd = -1;
	control->name = config->name;
	ret = control_open(control, config, err);
	if (ret < 0) {
		control_free(control);
		return ret;
	}
	*out = control;
	return 0;
}

/* On the loop's thread: no call begins from here on, and those that run hear of their end. */
static int control_stop(void *arg)
{
	struct control *control = arg;

	loop_del(&control->loop, &control->listener);
	loop_timer_close(&control->retry);
	places_stop(&control->places);
	return 0;
}

void control_destroy(struct control *control)
{
	loop_call(&control->loop, control_stop, control);
	/* A client that comes now finds nobody who listens; the file goes before the calls are waited for. */
	control_remove(control);
	places_join(&control->places);
	loop_join(&control->loop);
	control_free(control);
}
