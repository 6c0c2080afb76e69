/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's client, for the subcommands. */
#include "vmm/control/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/socket_file.h"
#include "vmm/stream_socket.h"

/* A VM whose loop runs takes its clients at once. */
#define CONTROL_CONNECT_TIMEOUT_MS 10000

/* Returns a socket that is connected to the VM @name, or -errno. */
static int control_reach(const struct sockaddr_un *addr, const char *name, struct error *err)
{
	int ret = stream_socket_connect(addr, CONTROL_CONNECT_TIMEOUT_MS);

	if (ret == -ENOENT)
		error_add(err, "no VM named %s is running (no socket %s)", name, addr->sun_path);
	else if (ret == -ECONNREFUSED)
		error_add(err, "no VM named %s is running (nobody listens on socket %s)", name,
			  addr->sun_path);
	else if (ret == -EAGAIN)
		error_add(err, "the VM named %s takes no calls (socket %s): is its process stopped?", name,
			  addr->sun_path);
	else if (ret < 0)
		error_add(err, "cannot reach the VM named %s (socket %s): %s%s", name, addr->sun_path,
			  strerror(-ret), ret == -EACCES ? "; it belongs to another user" : "");
	return ret;
}

int control_connect(struct control_client *c, const char *runtime_dir, const char *name, struct error *err)
{
	struct sockaddr_un addr;
	uid_t uid = 0;
	int ret;

	*c = (struct control_client){ .fd = -1, .signal_fd = -1 };
	ret = control_address(&addr, runtime_dir, name, err);
	if (ret < 0)
		return ret;
	ret = control_reach(&addr, name, err);
	if (ret < 0)
		return ret;
	c->fd = ret;
	ret = socket_file_check_peer(c->fd, &uid);
	if (ret < 0) {
		error_add(
			err,
			"the owner of the VM named %s (socket %s) is the user with id %u, "
			"neither root nor you: nothing was asked; if that user is the right one, call as it",
			name, addr.sun_path, (unsigned int)uid);
		control_disconnect(c);
	}
	return ret;
}

int control_send(struct control_client *c, const char *method, const char *parameters,
		 enum control_replies replies, int fd, struct error *err)
{
	char text[CONTROL_MESSAGE_MAX];
	int len = snprintf(text, sizeof(text), "{\"method\":\"%s\",\"parameters\":%s%s}", method, parameters,
			   replies == CONTROL_PROGRESS ? ",\"more\":true" : "");
	int ret;

	if (len < 0 || (size_t)len >= sizeof(text)) {
		error_add(err, "the call of %s is longer than %u bytes", method, CONTROL_MESSAGE_MAX);
		return -EMSGSIZE;
	}
	ret = control_send_with(c->fd, text, (size_t)len + 1, fd, CONTROL_READ_TIMEOUT_MS);
	/* A VM that has no place for the call has said so before it hung up: the reason is to be received. */
	if (ret < 0 && ret != -EPIPE && ret != -ECONNRESET) {
		error_add(err, "cannot send the call to the VM: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

void control_find_signals(sigset_t *set, const int *signals, unsigned int n)
{
	struct sigaction now;

	sigemptyset(set);
	for (unsigned int i = 0; i < n; i++) {
		if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
	}
}

static void control_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	control_find_signals(set, signals, ARRAY_SIZE(signals));
}

int control_cancel_by_signal(struct control_client *c, struct error *err)
{
	sigset_t set;

	control_signals(&set);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c->signal_fd < 0) {
		error_add(err, "cannot watch signals: %s", strerror(errno));
		return -errno;
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	return 0;
}

static void control_forget_signals(struct control_client *c)
{
	sigset_t set;

	if (c->signal_fd < 0)
		return;
	close(c->signal_fd);
	c->signal_fd = -1;
	control_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* A signal has come: hangs up in this direction, and leaves the next signal to the kernel. */
static void control_heed_signal(struct control_client *c)
{
	struct signalfd_siginfo info;

	if (read(c->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	shutdown(c->fd, SHUT_WR);
	control_forget_signals(c);
	log_info("calling off, and waiting for how it ends (once more: not waiting)");
}

/* Waits for bytes, or the end, until @until_ns: false when the time is up. */
static bool control_await(struct control_client *c, uint64_t until_ns)
{
	struct pollfd fds[] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->signal_fd, .events = POLLIN } };

	for (;;) {
		int n = poll(fds, ARRAY_SIZE(fds), ms_until(until_ns));

		if (n > 0 && fds[0].revents)
			return true;
		if (n == 0 && now_ns() >= until_ns)
			return false;
		if (n > 0 && fds[1].revents)
			control_heed_signal(c);
		fds[1].fd = c->signal_fd;
	}
}

/* Reads on until there is a whole message at c->message. */
static int control_receive_message(struct control_client *c, uint64_t until_ns, struct error *err)
{
	memmove(c->message, c->message + c->taken, c->len - c->taken);
	c->len -= c->taken;
	c->taken = 0;
	while (!memchr(c->message, '\0', c->len)) {
		int n;

		if (c->len == sizeof(c->message)) {
			error_add(err, "the VM's answer is longer than %zu bytes", sizeof(c->message));
			return -EMSGSIZE;
		}
		if (!control_await(c, until_ns))
			return -EAGAIN;
		n = control_recv_bytes(c->fd, c->message + c->len, sizeof(c->message) - c->len, UINT64_MAX);
		if (n == 0 || n == -ECONNRESET) {
			error_add(err, "the VM ended before it answered");
			return -EPIPE;
		}
		if (n < 0) {
			error_add(err, "cannot read the VM's answer: %s", strerror(-n));
			return n;
		}
		c->len += (uint32_t)n;
	}
	c->taken = (uint32_t)strlen(c->message) + 1;
	return 0;
}

/* Says in words what an error means. */
static void control_explain(const struct control_client *c, const struct json *json, const jsmntok_t *object,
			    struct error *err)
{
	static const struct {
		const char *error, *parameter, *words;
	} standard[] = {
		{ SERVICE_ERROR_NO_INTERFACE, "interface",
		  "the VM does not have the interface \"%s\": its Ferry is of another version" },
		{ SERVICE_ERROR_NO_METHOD, "method",
		  "the VM does not know \"%s\": its Ferry is of another version" },
		{ SERVICE_ERROR_NOT_IMPLEMENTED, "method", "the VM cannot do \"%s\"" },
		{ SERVICE_ERROR_PARAMETER, "parameter",
		  "the VM does not take the parameter \"%s\", or not with this value" },
	};
	char text[ERROR_TEXT_MAX];

	if (json_string(json, object, "reason", text, sizeof(text))) {
		error_add(err, "%s", text);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(standard); i++) {
		if (strcmp(c->error, standard[i].error) == 0 &&
		    json_string(json, object, standard[i].parameter, text, sizeof(text))) {
			error_add(err, standard[i].words, text);
			return;
		}
	}
	error_add(err, "%s",
		  strcmp(c->error, SERVICE_ERROR_DENIED) == 0 ? "the VM is another user's" : c->error);
}

int control_receive_until(struct control_client *c, uint64_t until_ns, const char **parameters,
			  struct error *err)
{
	struct json json;
	const jsmntok_t *object;
	int ret;

	c->error[0] = '\0';
	ret = control_receive_message(c, until_ns, err);
	if (ret < 0)
		return ret;
	if (!json_parse(&json, c->message, c->taken - 1)) {
		error_add(err, "the VM's answer is not what Ferry speaks");
		return -EPROTO;
	}
	object = json_find(&json, json.tokens, "parameters", JSMN_OBJECT);
	if (json_find(&json, json.tokens, "error", JSMN_STRING)) {
		if (!json_string(&json, json.tokens, "error", c->error, sizeof(c->error)))
			snprintf(c->error, sizeof(c->error), "an error with a long name");
		control_explain(c, &json, object, err);
		ret = -EREMOTEIO;
	} else {
		ret = json_true(&json, "continues") ? 1 : 0;
	}
	*parameters = "{}";
	if (object) {
		c->message[object->end] = '\0';
		*parameters = c->message + object->start;
	}
	return ret;
}

int control_receive(struct control_client *c, const char **parameters, struct error *err)
{
	return control_receive_until(c, UINT64_MAX, parameters, err);
}

void control_disconnect(struct control_client *c)
{
	control_forget_signals(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}
