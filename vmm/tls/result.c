/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one message of ferry-tls, at both its ends. */
#include "vmm/tls/result.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/text.h"

/* Time for descriptors that others have on their way to arrive, and between looks at whether they have. All
 * of a user's count against the limit of the one that sends, and all ferry-tls are one user's. */
#define TLS_RESULT_PASS_MS 5000
#define TLS_RESULT_STEP_MS 5

/* The largest number that the kernel has for an error. */
#define TLS_RESULT_MAX_ERROR 4095

static int tls_result_pass(int fd, const struct msghdr *msg, int flags)
{
	uint64_t end_ns = end_of(TLS_RESULT_PASS_MS);

	for (;;) {
		int ret = sendmsg(fd, msg, flags) < 0 ? -errno : 0;

		if ((ret != -ETOOMANYREFS && ret != -ENOBUFS && ret != -ENOMEM) || now_ns() >= end_ns)
			return ret;
		poll(NULL, 0, TLS_RESULT_STEP_MS);
	}
}

int tls_result_send(int fd, const struct tls_result *result, int passed_fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct tls_result copy = *result;
	struct iovec iov = { .iov_base = &copy, .iov_len = sizeof(copy) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (passed_fd >= 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &passed_fd, sizeof(int));
	}
	return tls_result_pass(fd, &msg, MSG_NOSIGNAL | (result->outcome == TLS_REFUSED ? MSG_DONTWAIT : 0));
}

/* Returns the descriptor that came with @msg, -1 where there is none. */
static int tls_result_fd(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	int fd;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

/* Checks what has come, and bounds its texts. */
static bool tls_result_valid(struct tls_result *result, ssize_t len, int passed_fd)
{
	if (len != (ssize_t)sizeof(*result))
		return false;
	result->peer[sizeof(result->peer) - 1] = '\0';
	result->reason.text[sizeof(result->reason.text) - 1] = '\0';
	text_clean(result->peer, strlen(result->peer));
	text_clean(result->reason.text, strlen(result->reason.text));
	switch (result->outcome) {
	case TLS_REFUSED:
		return passed_fd < 0 && result->reason.text[0] && result->error >= 0 &&
		       result->error <= TLS_RESULT_MAX_ERROR;
	case TLS_KERNEL:
	case TLS_PUMP:
		return passed_fd >= 0 && result->peer[0];
	case TLS_LISTENS:
		return passed_fd < 0;
	}
	return false;
}

/* Waits for the message or the end of @fd. -ETIMEDOUT or another -errno. */
static int tls_result_wait(int fd, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, ms_until(deadline_ns));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

int tls_result_take(int fd, struct tls_result *result, int *passed_fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = result, .iov_len = sizeof(*result) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*passed_fd = -1;
	if (len < 0)
		return errno == EINTR ? -EAGAIN : errno == ECONNRESET ? -EPIPE : -errno;
	if (len == 0)
		return -EPIPE;
	*passed_fd = tls_result_fd(&msg);
	if (tls_result_valid(result, len, *passed_fd))
		return 0;
	if (*passed_fd >= 0)
		close(*passed_fd);
	*passed_fd = -1;
	return -EPROTO;
}

void tls_result_recv(int fd, uint64_t deadline_ns, struct tls_result *result, int *passed_fd)
{
	int ret = tls_result_wait(fd, deadline_ns);

	*passed_fd = -1;
	if (ret == 0)
		ret = tls_result_take(fd, result, passed_fd);
	if (ret == 0)
		return;
	memset(result, 0, sizeof(*result));
	result->outcome = TLS_REFUSED;
	if (ret == -EPIPE)
		error_add(&result->reason, "ferry-tls has ended without an answer");
	else
		error_add(&result->reason, "ferry-tls has not answered: %s", strerror(-ret));
}
