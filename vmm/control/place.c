/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Places for the control socket's clients: see the header. */
#define _GNU_SOURCE
#include "vmm/control/place.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/interface.h"

/* A call's stack: musl's default is 128 KiB, and answers with reports stand on it. */
#define CONTROL_STACK MIB(1)

#define CONTROL_READ_TIMEOUT_NS (CONTROL_READ_TIMEOUT_MS * UINT64_C(1000000))

void places_turn_away(int fd, const char *error, const char *parameters)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"parameters\":%s}", error, parameters);

	assert(len > 0 && (size_t)len < sizeof(text));
	control_send_bytes(fd, text, (size_t)len + 1, 0);
}

/* Sets the timer for the next moment at which a call's time is up. */
static void places_arm(struct control_places *p)
{
	uint64_t next_ns = UINT64_MAX;

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		const struct control_place *place = &p->all[i];

		if (place->state == CLIENT_READING && place->call.len > 0)
			next_ns = min_u64(next_ns, place->since_ns + CONTROL_READ_TIMEOUT_NS);
	}
	if (next_ns != UINT64_MAX)
		loop_timer_arm(&p->timer, next_ns);
	else
		loop_timer_stop(&p->timer);
}

/* Closes what came with the last call. */
static void place_forget_call(struct control_place *place)
{
	int passed_fd = control_take_fd(&place->call);

	if (passed_fd >= 0)
		close(passed_fd);
	if (place->call.hangup_fd >= 0)
		close(place->call.hangup_fd);
	place->call.hangup_fd = -1;
	place->call.len = 0;
}

/* Closes the connection, after what came over it: a client that sees the end knows that nothing of its is
 * left here. */
static void place_drop(struct control_place *place)
{
	place_forget_call(place);
	loop_del(place->places->loop, &place->src);
	close(place->src.fd);
	place->src.fd = -1;
	place->state = CLIENT_FREE;
}

/* Drops a client, with the reason. */
static void place_refuse(struct control_place *place, const char *error, const char *reason)
{
	char parameters[160];
	int len = snprintf(parameters, sizeof(parameters), "{\"reason\":\"%s\"}", reason);

	assert(len > 0 && (size_t)len < sizeof(parameters));
	places_turn_away(place->src.fd, error, parameters);
	place_drop(place);
}

static void place_readable(struct loop_source *src, uint32_t events);

/* Watches for what the client says next. */
static int place_listen(struct control_place *place)
{
	place->src.fn = place_readable;
	place->call.len = 0;
	place->since_ns = now_ns();
	place->state = CLIENT_READING;
	return loop_add(place->places->loop, &place->src, EPOLLIN);
}

/* The call is answered. */
static int place_answered(void *arg)
{
	struct control_place *place = arg;

	place_forget_call(place);
	/* Not there any more if the client has hung up: the next thing to be read is its end, or a call that
	 * came before that. */
	loop_del(place->places->loop, &place->src);
	if (place->places->stopping || place->call.last || place_listen(place) < 0)
		place_drop(place);
	return 0;
}

static void *place_thread(void *arg)
{
	struct control_place *place = arg;

	control_dispatch(&place->call, place->places->service);
	loop_call(place->places->loop, place_answered, place);
	return NULL;
}

/* The client of a call that runs has hung up. What it has said besides stays unread until the call is
 * answered. */
static void place_hung_up(struct loop_source *src, uint32_t events)
{
	struct control_place *place = container_of(src, struct control_place, src);

	loop_del(place->places->loop, src);
	loop_signal(place->call.hangup_fd);
}

/* Waits for the thread of a call that has been answered: it does nothing after that. */
static void place_join(struct control_place *place)
{
	if (place->joinable)
		pthread_join(place->thread, NULL);
	place->joinable = false;
}

static int place_start_thread(struct control_place *place)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, CONTROL_STACK);
	ret = -pthread_create(&place->thread, &attr, place_thread, place);
	pthread_attr_destroy(&attr);
	place->joinable = ret == 0;
	return ret;
}

/* Starts a call that is whole. On an error the client is still to be dropped. */
static int place_start_call(struct control_place *place)
{
	struct loop *loop = place->places->loop;
	int ret;

	place_join(place);
	place->call.hangup_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (place->call.hangup_fd < 0)
		return -errno;
	loop_del(loop, &place->src);
	place->src.fn = place_hung_up;
	ret = loop_add(loop, &place->src, EPOLLRDHUP);
	if (ret == 0)
		ret = place_start_thread(place);
	if (ret == 0)
		place->state = CLIENT_RUNNING;
	return ret;
}

static unsigned int places_count(const struct control_places *p, enum control_state state)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		n += p->all[i].state == state;
	return n;
}

/* Takes what a client has sent of its call. Returns the number of bytes, 0 where there was nothing after all,
 * or -errno for a client that was dropped. */
static int place_take_bytes(struct control_place *place)
{
	struct control_call *call = &place->call;
	int passed_fd, n;

	n = control_recv_call(call->fd, call->message + call->len, sizeof(call->message) - call->len,
			      &passed_fd);
	if (n == -EAGAIN)
		return 0;
	if (n == -E2BIG) {
		place_refuse(place, CLIENT_ERROR_CALL, "a call carries one descriptor at most");
	} else if (n == -EMFILE) {
		place_refuse(place, CLIENT_ERROR_BUSY,
			     "the VM is short of descriptors for the one that the call carries");
	} else if (n <= 0) {
		place_drop(place);
		n = -EPIPE;
	} else if (passed_fd >= 0 && call->len > 0) {
		close(passed_fd);
		place_refuse(place, CLIENT_ERROR_CALL, "a descriptor comes with a call's first bytes");
		n = -EPROTO;
	} else if (passed_fd >= 0) {
		call->passed_fd = passed_fd;
	}
	return n;
}

/* Takes more bytes of a call, or the client's hanging up. */
static void place_readable(struct loop_source *src, uint32_t events)
{
	struct control_place *place = container_of(src, struct control_place, src);
	struct control_call *call = &place->call;
	int n = place_take_bytes(place);

	if (n <= 0)
		return;
	if (call->len == 0)
		place->since_ns = now_ns();
	call->len += (size_t)n;
	if (call->message[call->len - 1] != '\0') {
		if (call->len == sizeof(call->message))
			place_refuse(place, CLIENT_ERROR_CALL, "the call is too long");
	} else if (places_count(place->places, CLIENT_RUNNING) == CONTROL_MAX_CALLS) {
		place_refuse(place, CLIENT_ERROR_BUSY, "the VM has no room for another call");
	} else if (place_start_call(place) < 0) {
		place_refuse(place, CLIENT_ERROR_BUSY,
			     "the VM is short of descriptors or threads for another call");
	}
	places_arm(place->places);
}

/* Whether @a gives way rather than @b: whoever has been silent for longest, or else slow for longest. */
static bool place_gives_way(const struct control_place *a, const struct control_place *b)
{
	const bool a_speaks = a->call.len > 0, b_speaks = b->call.len > 0;

	return a_speaks != b_speaks ? b_speaks : a->since_ns < b->since_ns;
}

/* A place for a client. Where all are taken one gives way that has no call running. */
static struct control_place *places_make_room(struct control_places *p)
{
	struct control_place *last = NULL;

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_place *place = &p->all[i];

		if (place->state == CLIENT_FREE)
			return place;
		if (place->state == CLIENT_READING && (!last || place_gives_way(place, last)))
			last = place;
	}
	/* Fewer calls run than there are places. */
	place_refuse(last, CLIENT_ERROR_BUSY, "another client needed the place");
	return last;
}

void places_take(struct control_places *p, int fd)
{
	struct control_place *place = places_make_room(p);

	place->src = (struct loop_source){ .fd = fd };
	place->call.fd = fd;
	if (place_listen(place) < 0)
		place_refuse(place, CLIENT_ERROR_BUSY, "the VM is short of memory for another client");
}

static void places_timer(struct loop_timer *timer)
{
	struct control_places *p = container_of(timer, struct control_places, timer);
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_place *place = &p->all[i];

		if (place->state == CLIENT_READING && place->call.len > 0 &&
		    now - place->since_ns >= CONTROL_READ_TIMEOUT_NS)
			place_drop(place);
	}
	places_arm(p);
}

int places_init(struct control_places *p, struct loop *loop, const struct control_service *service)
{
	p->loop = loop;
	p->service = service;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		p->all[i].places = p;
		p->all[i].src.fd = p->all[i].call.hangup_fd = -1;
		p->all[i].call.passed_fd = -1;
	}
	return loop_timer_open(&p->timer, loop, places_timer);
}

void places_exit(struct control_places *p)
{
	loop_timer_close(&p->timer);
}

void places_stop(struct control_places *p)
{
	p->stopping = true;
	loop_timer_close(&p->timer);
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		if (p->all[i].state == CLIENT_READING)
			place_drop(&p->all[i]);
		else if (p->all[i].state == CLIENT_RUNNING)
			loop_signal(p->all[i].call.hangup_fd);
	}
}

void places_join(struct control_places *p)
{
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		place_join(&p->all[i]);
}
