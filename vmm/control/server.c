/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's server: a loop on a thread of its own takes calls in, and each that is whole gets a
 * thread. */
#define _GNU_SOURCE
#include "vmm/control/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/interface.h"
#include "vmm/loop_timer.h"
#include "vmm/runtime_dir.h"
#include "vmm/shortage.h"
#include "vmm/socket_file.h"

/* A call's stack: a migration runs on it, and musl's default is 128 KiB. */
#define CONTROL_STACK MIB(1)

/* Time between attempts to take a client while the process is short of descriptors or memory. */
#define CONTROL_RETRY_NS UINT64_C(100000000)

/*
 *	FREE     -> READING  a client is accepted; what it says is taken in on the loop's thread
 *	READING  -> FREE     it hung up, took too long, or gave way to another
 *	READING  -> RUNNING  its call is whole and has a thread; the loop still watches for its hanging up
 *	RUNNING  -> ENDED    the call is answered, and the connection closed
 *	ENDED    -> FREE     the thread has been joined
 */
enum control_state { CLIENT_FREE, CLIENT_READING, CLIENT_RUNNING, CLIENT_ENDED };

/* A place for a client. */
struct control_place {
	struct control *control;
	enum control_state state; /* control's lock */
	pthread_t thread;
	struct loop_source src; /* watched and closed on the loop's thread */
	uint64_t start_ns;      /* the loop's, while READING: since when */

	/* The loop's while READING, its own thread's while RUNNING; @hangup_fd is under control's lock. */
	struct control_call call;
};

struct control {
	struct loop loop;
	struct loop_source listener;
	/* Fires when a client's time is up, or at @retry_ns, when the listener is to be watched again; 0: it
	 * is watched. */
	struct loop_timer timer;
	uint64_t retry_ns;
	int dir_fd;
	struct socket_file file;
	struct guard_undo undo; /* removes @file */
	struct log_limit limit;
	const struct control_method *methods;
	unsigned int n_methods;
	void *opaque;
	pthread_mutex_t lock; /* states */
	struct control_place places[CONTROL_MAX_CLIENTS];
};

/* Tells a client that has no call running why it is turned away, as far as it takes that at once. */
static void control_turn_away(int fd, const char *error, const char *reason)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"parameters\":{\"reason\":\"%s\"}}", error,
			   reason);

	assert(len > 0 && (size_t)len < sizeof(text));
	control_send_bytes(fd, text, (size_t)len + 1, 0);
}

static void control_set_state(struct control_place *place, enum control_state state)
{
	pthread_mutex_lock(&place->control->lock);
	place->state = state;
	pthread_mutex_unlock(&place->control->lock);
}

static bool control_is_reading(struct control_place *place)
{
	bool reading;

	pthread_mutex_lock(&place->control->lock);
	reading = place->state == CLIENT_READING;
	pthread_mutex_unlock(&place->control->lock);
	return reading;
}

/* Closes the connection, after what came over it: a client that sees the end knows that nothing of its is
 * left here. On the loop's thread. */
static void control_close(struct control_place *place)
{
	int passed_fd = control_take_fd(&place->call);

	if (passed_fd >= 0)
		close(passed_fd);
	loop_del(&place->control->loop, &place->src);
	close(place->src.fd);
	place->src.fd = -1;
}

static void control_drop(struct control_place *place)
{
	control_close(place);
	control_set_state(place, CLIENT_FREE);
}

/* Drops a client, with the reason. */
static void control_refuse(struct control_place *place, const char *error, const char *reason)
{
	control_turn_away(place->src.fd, error, reason);
	control_drop(place);
}

static int control_ended(void *arg)
{
	struct control_place *place = arg;

	control_close(place);
	pthread_mutex_lock(&place->control->lock);
	close(place->call.hangup_fd);
	place->call.hangup_fd = -1;
	place->state = CLIENT_ENDED;
	pthread_mutex_unlock(&place->control->lock);
	return 0;
}

static void *control_thread(void *arg)
{
	struct control_place *place = arg;
	const struct control *control = place->control;

	control_dispatch(&place->call, control->methods, control->n_methods, control->opaque);
	loop_call(&place->control->loop, control_ended, place);
	return NULL;
}

/* The client of a call that runs has hung up. Anything else that it says stays unread: a connection carries
 * one call. */
static void control_hung_up(struct loop_source *src, uint32_t events)
{
	struct control_place *place = container_of(src, struct control_place, src);

	loop_del(&place->control->loop, src);
	loop_signal(place->call.hangup_fd);
}

static int control_start_thread(struct control_place *place)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, CONTROL_STACK);
	ret = -pthread_create(&place->thread, &attr, control_thread, place);
	pthread_attr_destroy(&attr);
	return ret;
}

/* Starts a call that is whole. */
static int control_start_call(struct control_place *place)
{
	struct control *control = place->control;
	int ret;

	place->call.hangup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (place->call.hangup_fd < 0)
		return -errno;
	loop_del(&control->loop, &place->src);
	place->src.fn = control_hung_up;
	place->call.more = place->call.answered = false;
	place->call.parameters = NULL;
	ret = loop_add(&control->loop, &place->src, EPOLLRDHUP);
	if (ret == 0) {
		control_set_state(place, CLIENT_RUNNING);
		ret = control_start_thread(place);
	}
	if (ret < 0) {
		control_set_state(place, CLIENT_READING);
		close(place->call.hangup_fd);
		place->call.hangup_fd = -1;
	}
	return ret;
}

static unsigned int control_count(struct control *control, enum control_state state)
{
	unsigned int n = 0;

	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		n += control->places[i].state == state;
	pthread_mutex_unlock(&control->lock);
	return n;
}

/* Takes what a client has sent of its call. Returns the number of bytes, 0 where there was nothing after all,
 * or -errno for a client that was dropped. */
static int control_take_bytes(struct control_place *place)
{
	struct control_call *call = &place->call;
	int passed_fd, n;

	n = control_recv_with(call->fd, call->message + call->len, sizeof(call->message) - call->len,
			      &passed_fd);
	if (n == -EAGAIN)
		return 0;
	if (n == -E2BIG) {
		control_refuse(place, CLIENT_ERROR_PARAMETER, "a call carries one descriptor at most");
	} else if (n == -EMFILE) {
		control_refuse(place, CLIENT_ERROR_BUSY,
			       "the VM is short of descriptors for the one that the call carries");
	} else if (n <= 0) {
		control_drop(place);
		n = -EPIPE;
	} else if (passed_fd >= 0 && call->len > 0) {
		close(passed_fd);
		control_refuse(place, CLIENT_ERROR_PARAMETER, "a descriptor comes with a call's first bytes");
		n = -EPROTO;
	} else if (passed_fd >= 0) {
		call->passed_fd = passed_fd;
	}
	return n;
}

/* Takes more bytes of a call, or the client's hanging up. */
static void control_readable(struct loop_source *src, uint32_t events)
{
	struct control_place *place = container_of(src, struct control_place, src);
	int n = control_take_bytes(place);

	if (n <= 0)
		return;
	if (!memchr(place->call.message + place->call.len, '\0', (size_t)n)) {
		place->call.len += (size_t)n;
		if (place->call.len == sizeof(place->call.message))
			control_refuse(place, CLIENT_ERROR_CALL, "the call is too long");
	} else if (control_count(place->control, CLIENT_RUNNING) == CONTROL_MAX_CALLS) {
		control_refuse(place, CLIENT_ERROR_BUSY, "no room for another call");
	} else if (control_start_call(place) < 0) {
		control_refuse(place, CLIENT_ERROR_BUSY,
			       "the VM is short of descriptors or threads for another call");
	}
}

/*
 * A place for a client. Where all are taken one gives way that has not said its call yet: whoever has been
 * silent for longest, or else slow for longest.
 */
static struct control_place *control_make_room(struct control *control)
{
	struct control_place *free_place = NULL, *last = NULL;

	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_place *place = &control->places[i];

		/* The thread has made its last call. */
		if (place->state == CLIENT_ENDED) {
			pthread_join(place->thread, NULL);
			place->state = CLIENT_FREE;
		}
		if (place->state == CLIENT_FREE)
			free_place = place;
		else if (place->state == CLIENT_READING &&
			 (!last || (place->call.len > 0) < (last->call.len > 0) ||
			  ((place->call.len > 0) == (last->call.len > 0) &&
			   place->start_ns < last->start_ns)))
			last = place;
	}
	pthread_mutex_unlock(&control->lock);
	if (free_place)
		return free_place;
	/* Fewer calls run than there are places. */
	control_refuse(last, CLIENT_ERROR_BUSY, "another client needed the place");
	return last;
}

/* Sets the timer for the next moment at which something is due. */
static void control_arm(struct control *control)
{
	uint64_t next_ns = control->retry_ns ? control->retry_ns : UINT64_MAX;

	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		const struct control_place *place = &control->places[i];

		if (place->state == CLIENT_READING)
			next_ns = min_u64(next_ns,
					  place->start_ns + CONTROL_READ_TIMEOUT_MS * UINT64_C(1000000));
	}
	pthread_mutex_unlock(&control->lock);
	if (next_ns != UINT64_MAX)
		loop_timer_arm(&control->timer, next_ns);
	else
		loop_timer_stop(&control->timer);
}

static void control_take(struct control *control, int fd)
{
	struct control_place *place;
	uid_t uid;

	if (socket_file_check_peer(fd, &uid) < 0) {
		control_turn_away(fd, CLIENT_ERROR_DENIED, "another user's VM");
		close(fd);
		return;
	}
	place = control_make_room(control);
	place->src = (struct loop_source){ .fd = fd, .fn = control_readable };
	place->call.fd = fd;
	place->call.len = 0;
	place->start_ns = now_ns();
	if (loop_add(&control->loop, &place->src, EPOLLIN) < 0) {
		control_turn_away(fd, CLIENT_ERROR_BUSY, "the VM is short of memory for another call");
		close(fd);
		place->src.fd = -1;
		return;
	}
	control_set_state(place, CLIENT_READING);
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
		control->retry_ns = now_ns() + CONTROL_RETRY_NS;
	}
	control_arm(control);
}

static void control_listen_again(struct control *control)
{
	control->retry_ns = 0;
	if (loop_add(&control->loop, &control->listener, EPOLLIN) < 0)
		control->retry_ns = now_ns() + CONTROL_RETRY_NS;
}

static void control_timer(struct loop_timer *timer)
{
	struct control *control = container_of(timer, struct control, timer);
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_place *place = &control->places[i];

		/* No other thread takes a call to or from this state. */
		if (control_is_reading(place) &&
		    now - place->start_ns >= CONTROL_READ_TIMEOUT_MS * UINT64_C(1000000))
			control_drop(place);
	}
	if (control->retry_ns && now >= control->retry_ns)
		control_listen_again(control);
	control_arm(control);
}

static void control_remove_file(struct guard_undo *undo)
{
	socket_file_remove(&container_of(undo, struct control, undo)->file);
}

static int control_bind(struct control *control, const struct control_config *config,
			const struct sockaddr_un *addr, struct error *err)
{
	int lock_fd, ret;

	ret = runtime_dir_lock(control->dir_fd, config->runtime_dir, config->guard->stop_fd, &lock_fd, err);
	if (ret < 0)
		return ret;
	ret = socket_file_bind(&control->file, control->listener.fd, control->dir_fd, addr->sun_path, 0600);
	if (ret == 0) {
		guard_add(config->guard, &control->undo);
		ret = listen(control->listener.fd, CONTROL_MAX_CLIENTS) < 0 ? -errno : 0;
	}
	runtime_dir_unlock(control->dir_fd, lock_fd);
	if (ret == -EADDRINUSE)
		error_add(err, "a VM named %s is running already (socket %s)", config->name, addr->sun_path);
	else if (ret < 0)
		error_add(err, "cannot listen on the control socket %s: %s", addr->sun_path,
			  socket_file_error(ret));
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
	ret = control_bind(control, config, &addr, err);
	if (ret < 0)
		return ret;
	ret = loop_timer_open(&control->timer, &control->loop, control_timer);
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
	const int fds[] = { control->listener.fd, control->dir_fd };

	/* The file goes before the listener, for while we listen nobody takes it for a dead process's. */
	socket_file_remove(&control->file);
	guard_del(&control->undo);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	loop_timer_close(&control->timer);
	loop_exit(&control->loop);
	pthread_mutex_destroy(&control->lock);
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
	control->methods = config->methods;
	control->n_methods = config->n_methods;
	control->opaque = config->opaque;
	control->listener = (struct loop_source){ .fd = -1, .fn = control_accepted };
	control->undo.fn = control_remove_file;
	control->dir_fd = -1;
	pthread_mutex_init(&control->lock, NULL);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		control->places[i].control = control;
		control->places[i].src.fd = control->places[i].call.hangup_fd = -1;
		control->places[i].call.passed_fd = -1;
	}
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
	loop_timer_close(&control->timer);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		if (control_is_reading(&control->places[i]))
			control_drop(&control->places[i]);
	}
	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		loop_signal(control->places[i].call.hangup_fd);
	pthread_mutex_unlock(&control->lock);
	return 0;
}

void control_destroy(struct control *control)
{
	bool began[CONTROL_MAX_CLIENTS];

	loop_call(&control->loop, control_stop, control);
	/* A client that comes now finds nobody who listens; the file goes before the calls are waited for. */
	socket_file_remove(&control->file);
	pthread_mutex_lock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		began[i] = control->places[i].state != CLIENT_FREE;
	pthread_mutex_unlock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		if (began[i])
			pthread_join(control->places[i].thread, NULL);
	}
	loop_join(&control->loop);
	control_free(control);
}
