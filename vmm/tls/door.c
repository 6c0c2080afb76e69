/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts the listening ferry-tls, and hears what it says. */
#include "vmm/tls/door.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/shortage.h"
#include "vmm/tls/address.h"

/* For ferry-tls to find a name and to read its folder, and to end. */
#define TLS_DOOR_START_MS 25000
#define TLS_DOOR_END_MS   1000

/* Acts on a result, which may have been written by whoever got the better of ferry-tls. */
static void tls_door_heard(struct tls_door *door, const struct tls_result *result, int fd)
{
	const char *place = door->config.place;

	if (fd >= 0) {
		log_limited(&door->limit, LOG_INFO, "%s has come to tls:%s; %s encrypts", result->peer, place,
			    result->outcome == TLS_KERNEL ? "the kernel" : "ferry-tls");
		door->config.came(door->config.opaque, fd, result->peer);
	} else if (result->outcome == TLS_REFUSED) {
		log_limited(&door->limit, LOG_WARN, "a connection to tls:%s was turned away: %s", place,
			    result->reason.text);
	}
}

static void tls_door_readable(struct loop_source *src, uint32_t events)
{
	struct tls_door *door = container_of(src, struct tls_door, source);
	struct tls_result result;
	char reason[128];
	int fd, ret = tls_result_take(door->child.result_fd, &result, &fd);

	if (ret == 0) {
		tls_door_heard(door, &result, fd);
		return;
	}
	if (ret == -EAGAIN)
		return;
	loop_del(&door->loop, &door->source);
	snprintf(reason, sizeof(reason), "ferry-tls, which takes connections, %s",
		 ret == -EPIPE ? "has ended" : "talked nonsense");
	door->config.ended(door->config.opaque, reason);
}

static int tls_door_start_thread(struct tls_door *door, struct error *err)
{
	int ret;

	door->source = (struct loop_source){ .fd = door->child.result_fd, .fn = tls_door_readable };
	ret = loop_serve(&door->loop, &door->source, "door");
	if (ret < 0) {
		error_add(err, "cannot start the thread that connections come to: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

/* Starts the child, and waits until it listens. */
static int tls_door_start_child(struct tls_door *door, struct error *err)
{
	struct tls_options o = { .role = TLS_DOOR,
				 .dir = door->config.dir,
				 .place = door->config.place,
				 .peer = door->config.peer,
				 .timeout_ms = TLS_TIMEOUT_MS };
	struct tls_address address;
	struct tls_result result;
	int fd, ret = tls_address_parse(&address, door->config.place, err);

	if (ret == 0)
		ret = tls_spawn_check(err);
	if (ret < 0)
		return ret;
	ret = tls_spawn(&door->child, &o, err);
	if (ret < 0)
		return ret;
	tls_result_recv(door->child.result_fd, end_of(TLS_DOOR_START_MS), &result, &fd);
	if (result.outcome == TLS_LISTENS)
		return 0;
	error_add(err, "%s",
		  result.outcome == TLS_REFUSED ? result.reason.text : "ferry-tls talked nonsense");
	if (fd >= 0)
		close(fd);
	tls_child_end(&door->child, TLS_DOOR_END_MS);
	return result.error ? -result.error : -EACCES;
}

int tls_door_open(struct tls_door *door, const struct tls_door_config *config, struct error *err)
{
	int ret;

	*door = (struct tls_door){ .config = *config };
	ret = tls_door_start_child(door, err);
	if (ret < 0)
		return ret;
	ret = tls_door_start_thread(door, err);
	if (ret < 0)
		tls_child_end(&door->child, TLS_DOOR_END_MS);
	door->open = ret == 0;
	return ret;
}

void tls_door_close(struct tls_door *door)
{
	if (!door->open)
		return;
	door->open = false;
	loop_join(&door->loop);
	loop_exit(&door->loop);
	/* The end of its socket tells it to go. */
	tls_child_end(&door->child, TLS_DOOR_END_MS);
}
