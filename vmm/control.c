/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: JSON in and out, the server with a thread for each call, and the subcommands' client.
 */
#define _GNU_SOURCE
#include "vmm/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#define CONTROL_MAX_TOKENS    256
#define CONTROL_READ_TIMEOUT  10000  /* ms, for a client to send its call */
#define CONTROL_REPLY_TIMEOUT 2000   /* ms, for a client to take its final reply */
#define CONTROL_STACK         MIB(1) /* a migration runs on it; musl's default is 128 KiB */

/* JSON */

struct control_json {
	const char *text;
	int n;
	jsmntok_t tokens[CONTROL_MAX_TOKENS];
};

static int control_hex4(const char *s, const char *end)
{
	static const char digits[] = "0123456789abcdef";
	int v = 0;

	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *d = strchr(digits, s[i] | 0x20);

		/* The case bit makes digits of a few control characters. */
		if (!d || s[i] < '0')
			return -1;
		v = v << 4 | (int)(d - digits);
	}
	return v;
}

static unsigned int control_put_utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Bytes of the well-formed UTF-8 character at @s, 0 if there is none. */
static unsigned int control_utf8_len(const char *s, const char *end)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = (uint8_t)*s;
	unsigned int len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = first & (0xffu >> (len + 1));

	if (len <= 1)
		return len;
	if (first > 0xf4 || end - s < (ptrdiff_t)len)
		return 0;
	for (unsigned int i = 1; i < len; i++) {
		if (((uint8_t)s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((uint8_t)s[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

/*
 * One character of a string, escaped or not, as UTF-8. Returns the bytes read, 0 if it is not right. NUL is
 * not: text in C could not hold it.
 */
static unsigned int control_next_char(const char *s, const char *end, char out[4], unsigned int *out_len)
{
	static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *e;
	int c, low;

	if (*s != '\\') {
		*out_len = (uint8_t)*s < 0x20 ? 0 : control_utf8_len(s, end);
		memcpy(out, s, *out_len);
		return *out_len;
	}
	if (end - s < 2 || s[1] == '\0')
		return 0;
	e = strchr(escapes, s[1]);
	if (e) {
		*out_len = control_put_utf8((uint32_t)meant[e - escapes], out);
		return 2;
	}
	c = s[1] == 'u' ? control_hex4(s + 2, end) : 0;
	if (c <= 0 || (c >= 0xdc00 && c < 0xe000))
		return 0;
	if (c < 0xd800 || c >= 0xe000) {
		*out_len = control_put_utf8((uint32_t)c, out);
		return 6;
	}
	low = end - s >= 12 && s[6] == '\\' && s[7] == 'u' ? control_hex4(s + 8, end) : -1;
	if (low < 0xdc00 || low >= 0xe000)
		return 0;
	*out_len = control_put_utf8(0x10000 + (((uint32_t)c & 0x3ff) << 10 | ((uint32_t)low & 0x3ff)), out);
	return 12;
}

/* The string between its quotes. False if it is not one, or does not fit. @buf may be NULL, to look only. */
static bool control_unescape(const char *s, const char *end, char *buf, size_t size)
{
	size_t len = 0;

	while (s < end) {
		unsigned int n, out_len = 0;
		char out[4];

		n = control_next_char(s, end, out, &out_len);
		if (n == 0 || (buf && out_len >= size - len))
			return false;
		if (buf)
			memcpy(buf + len, out, out_len);
		len += out_len;
		s += n;
	}
	if (buf)
		buf[len] = '\0';
	return true;
}

/* A word or a number. Inside an object, so that something that ends a number is behind it. */
static bool control_primitive_valid(const char *s, const char *end)
{
	static const char digits[] = "0123456789";
	static const char *const words[] = { "true", "false", "null" };
	size_t n;

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if ((size_t)(end - s) == strlen(words[i]) && memcmp(s, words[i], strlen(words[i])) == 0)
			return true;
	}
	s += *s == '-';
	n = strspn(s, digits);
	if (n == 0 || (n > 1 && *s == '0'))
		return false;
	s += n;
	if (*s == '.') {
		n = strspn(++s, digits);
		s += n;
	}
	if (n > 0 && (*s | 0x20) == 'e') {
		s++;
		s += *s == '+' || *s == '-';
		n = strspn(s, digits);
		s += n;
	}
	return n > 0 && s == end;
}

/* jsmn takes more than JSON. What is left after this: one object, keys with one value each, good strings,
 * numbers. */
static bool control_json_parse(struct control_json *json, const char *text, size_t len)
{
	const jsmntok_t *tokens = json->tokens;
	jsmn_parser parser;

	jsmn_init(&parser);
	json->text = text;
	json->n = jsmn_parse(&parser, text, len, json->tokens, CONTROL_MAX_TOKENS);
	if (json->n < 1 || tokens[0].type != JSMN_OBJECT)
		return false;
	for (int i = 0; i < json->n; i++) {
		const jsmntok_t *t = &tokens[i], *parent = t->parent < 0 ? NULL : &tokens[t->parent];

		if ((i > 0) != (parent != NULL))
			return false;
		if (t->type == JSMN_STRING && !control_unescape(text + t->start, text + t->end, NULL, 0))
			return false;
		if (t->type == JSMN_PRIMITIVE && !control_primitive_valid(text + t->start, text + t->end))
			return false;
		if (!parent || parent->type == JSMN_ARRAY)
			continue;
		if (parent->type == JSMN_OBJECT && (t->type != JSMN_STRING || t->size != 1))
			return false;
		if (parent->type == JSMN_PRIMITIVE ||
		    (parent->type == JSMN_STRING && tokens[parent->parent].type != JSMN_OBJECT))
			return false;
	}
	return true;
}

/* The value of a member of @object, NULL if there is none of this name and type. */
static const jsmntok_t *control_json_find(const struct control_json *json, const jsmntok_t *object,
					  const char *name, jsmntype_t type)
{
	for (const jsmntok_t *t = object + 1; t < json->tokens + json->n && t->start < object->end; t++) {
		if (&json->tokens[t->parent] == object && (size_t)(t->end - t->start) == strlen(name) &&
		    memcmp(json->text + t->start, name, strlen(name)) == 0)
			return t[1].type == type ? &t[1] : NULL;
	}
	return NULL;
}

static bool control_json_string(const struct control_json *json, const jsmntok_t *object, const char *name,
				char *buf, size_t size)
{
	const jsmntok_t *t = object ? control_json_find(json, object, name, JSMN_STRING) : NULL;

	return t && control_unescape(json->text + t->start, json->text + t->end, buf, size);
}

static bool control_json_number(const struct control_json *json, const jsmntok_t *object, const char *name,
				uint64_t *v)
{
	const jsmntok_t *t = object ? control_json_find(json, object, name, JSMN_PRIMITIVE) : NULL;

	if (!t)
		return false;
	*v = 0;
	for (int i = t->start; i < t->end; i++) {
		unsigned int digit = (unsigned int)json->text[i] - '0';

		if (digit > 9 || *v > (UINT64_MAX - digit) / 10)
			return false;
		*v = *v * 10 + digit;
	}
	return true;
}

static bool control_json_true(const struct control_json *json, const char *name)
{
	const jsmntok_t *t = control_json_find(json, json->tokens, name, JSMN_PRIMITIVE);

	return t && t->end - t->start == 4 && memcmp(json->text + t->start, "true", 4) == 0;
}

bool control_object_string(const char *object, const char *name, char *buf, size_t size)
{
	struct control_json json;

	return control_json_parse(&json, object, strlen(object)) &&
	       control_json_string(&json, json.tokens, name, buf, size);
}

bool control_object_number(const char *object, const char *name, uint64_t *v)
{
	struct control_json json;

	return control_json_parse(&json, object, strlen(object)) &&
	       control_json_number(&json, json.tokens, name, v);
}

void control_quote(const char *text, char *buf, size_t size)
{
	const char *end = text + strlen(text);
	size_t len = 0;

	assert(size >= 3);
	buf[len++] = '"';
	while (text < end) {
		unsigned int n = control_utf8_len(text, end);
		char out[8];

		if (n == 0)
			snprintf(out, sizeof(out), "\\ufffd");
		else if (n == 1 && ((uint8_t)*text < 0x20 || *text == 0x7f))
			snprintf(out, sizeof(out), "\\u%04x", (unsigned int)*text);
		else
			snprintf(out, sizeof(out), "%s%.*s", *text == '"' || *text == '\\' ? "\\" : "",
				 (int)n, text);
		if (strlen(out) + 2 > size - len)
			break;
		memcpy(buf + len, out, strlen(out));
		len += strlen(out);
		text += n ? n : 1;
	}
	buf[len++] = '"';
	buf[len] = '\0';
}

/* Messages on a socket. All are non-blocking: nobody waits longer than said for the other side. */

/* Waits until @deadline_ns for @events. False when the time is up. */
static bool control_wait(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = now_ns();
		int n;

		if (now >= deadline_ns)
			return false;
		n = poll(&p, 1, (int)min_u64((deadline_ns - now) / 1000000u + 1, 60000));
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* All of @len bytes, or -errno: -ETIMEDOUT when the other side took nothing, -EIO when it took a part. */
static int control_send_bytes(int fd, const char *bytes, size_t len, uint64_t timeout_ms)
{
	uint64_t deadline_ns = now_ns() + timeout_ms * 1000000u;
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		else if (errno == EAGAIN && !control_wait(fd, POLLOUT, deadline_ns))
			return sent > 0 ? -EIO : -ETIMEDOUT;
	}
	return 0;
}

/* Some bytes: their number, 0 at the end, or -errno. */
static int control_recv_bytes(int fd, char *buf, size_t size, uint64_t deadline_ns)
{
	ssize_t n;

	for (;;) {
		n = recv(fd, buf, size, MSG_DONTWAIT);
		if (n >= 0)
			return (int)n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (errno == EAGAIN && !control_wait(fd, POLLIN, deadline_ns))
			return -ETIMEDOUT;
	}
}

static int control_address(struct sockaddr_un *addr, const char *runtime_dir, const char *name,
			   struct error *err)
{
	int len = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s.sock", runtime_dir, name);

	addr->sun_family = AF_UNIX;
	if (len < 0 || (size_t)len >= sizeof(addr->sun_path))
		return error_add(
			err, -ENAMETOOLONG,
			"the control socket's path %s/%s.sock has %d bytes, the kernel allows %zu: choose a "
			"shorter --runtime-dir or --name",
			runtime_dir, name, len, sizeof(addr->sun_path) - 1);
	return 0;
}

/* The server */

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
	struct control_json json;
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
	return control_json_string(&call->json, call->parameters, name, buf, size);
}

bool control_get_number(struct control_call *call, const char *name, uint64_t *v)
{
	return control_json_number(&call->json, call->parameters, name, v);
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
	control_quote(reason, quoted, sizeof(quoted));
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
	struct control_json *json = &call->json;
	char method[128];

	if (!control_json_parse(json, call->message, strlen(call->message)) ||
	    !control_json_string(json, json->tokens, "method", method, sizeof(method))) {
		control_fail(call, "org.ferry.InvalidCall", "not a JSON object with a method");
		return;
	}
	call->parameters = control_json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	call->more = control_json_true(json, "more");
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
		if (control->calls[i].state == CALL_RUNNING)
			shutdown(control->calls[i].fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&control->lock);
	for (unsigned int i = 0; i < CONTROL_MAX_CALLS; i++) {
		if (began[i])
			pthread_join(control->calls[i].thread, NULL);
	}
	pthread_mutex_destroy(&control->lock);
	free(control);
}

/* The client */

int control_connect(struct control_client *c, const char *runtime_dir, const char *name, struct error *err)
{
	struct sockaddr_un addr;
	int ret;

	*c = (struct control_client){ .fd = -1 };
	ret = control_address(&addr, runtime_dir, name, err);
	if (ret < 0)
		return ret;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return error_add(err, -errno, "cannot create a socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return 0;
	ret = -errno;
	if (ret == -ENOENT)
		error_add(err, ret, "no VM named %s is running (no socket %s)", name, addr.sun_path);
	else if (ret == -ECONNREFUSED)
		error_add(err, ret, "no VM named %s is running (nobody listens on socket %s)", name,
			  addr.sun_path);
	else
		error_add(err, ret, "cannot reach the VM named %s (socket %s): %s%s", name, addr.sun_path,
			  strerror(-ret), ret == -EACCES ? "; it belongs to another user" : "");
	control_disconnect(c);
	return ret;
}

int control_send(struct control_client *c, const char *method, const char *parameters, bool more,
		 struct error *err)
{
	char text[CONTROL_MESSAGE_MAX];
	int len = snprintf(text, sizeof(text), "{\"method\":\"%s\",\"parameters\":%s%s}", method, parameters,
			   more ? ",\"more\":true" : "");
	int ret;

	if (len < 0 || (size_t)len >= sizeof(text))
		return error_add(err, -EMSGSIZE, "the call of %s is longer than %u bytes", method,
				 CONTROL_MESSAGE_MAX);
	ret = control_send_bytes(c->fd, text, (size_t)len + 1, CONTROL_READ_TIMEOUT);
	/* A VM that has no place for the call has said so before it hung up: the reason is to be received. */
	if (ret < 0 && ret != -EPIPE && ret != -ECONNRESET)
		return error_add(err, ret, "cannot send the call to the VM: %s", strerror(-ret));
	return 0;
}

/* Reads on until there is a whole message at c->message. */
static int control_receive_message(struct control_client *c, struct error *err)
{
	memmove(c->message, c->message + c->taken, c->len - c->taken);
	c->len -= c->taken;
	c->taken = 0;
	while (!memchr(c->message, '\0', c->len)) {
		int n;

		if (c->len == sizeof(c->message))
			return error_add(err, -EMSGSIZE, "the VM's answer is longer than %zu bytes",
					 sizeof(c->message));
		n = control_recv_bytes(c->fd, c->message + c->len, sizeof(c->message) - c->len, UINT64_MAX);
		if (n == 0 || n == -ECONNRESET)
			return error_add(err, -EPIPE, "the VM ended before it answered");
		if (n < 0)
			return error_add(err, n, "cannot read the VM's answer: %s", strerror(-n));
		c->len += (uint32_t)n;
	}
	c->taken = (uint32_t)strlen(c->message) + 1;
	return 0;
}

int control_receive(struct control_client *c, const char **parameters, struct error *err)
{
	struct control_json json;
	const jsmntok_t *object;
	char reason[ERROR_TEXT_MAX];
	int ret;

	c->error[0] = '\0';
	ret = control_receive_message(c, err);
	if (ret < 0)
		return ret;
	if (!control_json_parse(&json, c->message, c->taken - 1))
		return error_add(err, -EPROTO, "the VM's answer is not what Ferry speaks");
	object = control_json_find(&json, json.tokens, "parameters", JSMN_OBJECT);
	if (control_json_find(&json, json.tokens, "error", JSMN_STRING)) {
		if (!control_json_string(&json, json.tokens, "error", c->error, sizeof(c->error)))
			snprintf(c->error, sizeof(c->error), "an error with a long name");
		if (!control_json_string(&json, object, "reason", reason, sizeof(reason)))
			snprintf(reason, sizeof(reason), "%s", c->error);
		return error_add(err, -EREMOTEIO, "%s", reason);
	}
	ret = control_json_true(&json, "continues") ? 1 : 0;
	*parameters = "{}";
	if (object) {
		c->message[object->end] = '\0';
		*parameters = c->message + object->start;
	}
	return ret;
}

void control_disconnect(struct control_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}
