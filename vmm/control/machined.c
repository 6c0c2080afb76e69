/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one call to systemd-machined. */
#include "vmm/control/machined.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/client.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"
#include "vmm/stream_socket.h"

#define MACHINED_TIMEOUT_MS 5000

/* Calls Register; @control may be NULL. */
static int machined_call(struct control_client *c, const char *name, const char *control, struct error *err)
{
	char buf[CONTROL_MESSAGE_MAX / 2], quoted[2 * sizeof(struct sockaddr_un)];
	struct json_text call = { .buf = buf, .size = sizeof(buf) };
	struct error reason = { 0 };
	const char *reply;
	uint64_t id[2];
	int ret;

	/* A machine has a number of its own, by which nobody here goes. */
	if (getrandom(id, sizeof(id), 0) != sizeof(id)) {
		error_add(err, "no random bytes for the number of a machine");
		return -EIO;
	}
	json_quote(name, quoted, sizeof(quoted));
	/* The unit that this process is in was made by whoever has started it. */
	json_put(&call,
		 "{\"name\":%s,\"id\":\"%016" PRIx64 "%016" PRIx64
		 "\",\"service\":\"ferry\",\"class\":\"vm\",\"leader\":%d,\"allocateUnit\":false",
		 quoted, id[0], id[1], (int)getpid());
	if (control) {
		json_quote(control, quoted, sizeof(quoted));
		json_put(&call, ",\"controlAddress\":%s", quoted);
	}
	json_put(&call, "}");
	ret = control_send(c, "io.systemd.Machine.Register", buf, CONTROL_RESULT, -1, &reason);
	if (ret == 0)
		ret = control_receive_until(c, now_ns() + MACHINED_TIMEOUT_MS * UINT64_C(1000000), &reply,
					    &reason);
	if (ret == -EAGAIN)
		error_add(err, "systemd-machined does not answer");
	else if (ret < 0)
		error_add(err, "systemd-machined does not take the VM: %s",
			  c->error[0] ? c->error : reason.text);
	return ret < 0 ? ret : 0;
}

int machined_register(const char *path, const char *name, const char *control, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct control_client c = { .signal_fd = -1 };
	struct error older = { 0 };
	int ret;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	ret = stream_socket_connect(&addr, MACHINED_TIMEOUT_MS);
	if (ret < 0) {
		error_add(err, "cannot reach systemd-machined (socket %s): %s", path, strerror(-ret));
		return ret;
	}
	c.fd = ret;
	ret = machined_call(&c, name, control, &older);
	if (ret == -EREMOTEIO && strcmp(c.error, SERVICE_ERROR_PARAMETER) == 0)
		ret = machined_call(&c, name, NULL, err);
	else if (ret < 0)
		error_add(err, "%s", older.text);
	control_disconnect(&c);
	return ret;
}
