/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ferry-tls, the helper that speaks TLS, so that no process with a guest does. tls_main() reads as its life:
 * read the key, give up all rights, shake hands, hand the connection back, and carry its bytes if the kernel
 * cannot.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <psa/crypto.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/tls/confine.h"
#include "vmm/tls/kernel.h"
#include "vmm/tls/listen.h"
#include "vmm/tls/pump.h"
#include "vmm/tls/tcp.h"

/* Where the program has its sockets, from its start on. */
#define TLS_SOCKET_FD STDIN_FILENO
#define TLS_RESULT_FD STDOUT_FILENO

/* For all of a host's addresses together. */
#define TLS_CONNECT_MS 10000

enum { TLS_EXIT_OK, TLS_EXIT_REFUSED, TLS_EXIT_USAGE };

/* The program's descriptors and what it knows. */
struct tls_helper {
	struct tls_options options;
	struct tls_identity identity;
	struct tls_session session;
	struct tls_result result;
	/* The pump's end, and the one to hand back. */
	int pair[2];
	bool kernel;
	/* Of a door's caller: its address, as text. */
	char from[INET6_ADDRSTRLEN];
};

/* Connects or listens, where there is no socket yet: a name's addresses are looked up with the starter's
 * rights. */
static int tls_make_socket(struct tls_helper *h)
{
	struct error *err = &h->result.reason;
	struct tls_address address;
	int ret;

	if (!h->options.place)
		return 0;
	ret = tls_address_parse(&address, h->options.place, err);
	if (ret == 0)
		ret = h->options.role == TLS_DOOR ? tls_tcp_listen(&address, err)
						  : tls_tcp_connect(&address, TLS_CONNECT_MS, err);
	if (ret < 0)
		h->result.error = -ret;
	else
		h->options.socket_fd = ret;
	return ret < 0 ? ret : 0;
}

/*
 * Puts the two sockets where stdin and stdout are, /dev/null where stderr is, and closes all the rest: a pump
 * lives on, and must not hold a reader of its starter's output up, nor any other file of its starter's.
 */
static int tls_take_descriptors(struct tls_helper *h, struct error *err)
{
	/* Out of the way of each other first. */
	int tcp = fcntl(h->options.socket_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int result = fcntl(h->options.result_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (tcp < 0 || result < 0 || null < 0) {
		error_add(err, "ferry-tls lacks a descriptor: %s", strerror(errno));
		return -EBADF;
	}
	if (dup2(tcp, TLS_SOCKET_FD) < 0 || dup2(result, TLS_RESULT_FD) < 0 ||
	    dup2(null, STDERR_FILENO) < 0 || syscall(SYS_close_range, STDERR_FILENO + 1u, ~0u, 0) < 0)
		return -errno;
	h->options.socket_fd = TLS_SOCKET_FD;
	h->options.result_fd = TLS_RESULT_FD;
	return 0;
}

/* Reads what is secret, and takes what needs rights, before a byte of the other end's. */
static int tls_helper_init(struct tls_helper *h)
{
	struct error *err = &h->result.reason;
	int ret = -EIO;

	if (psa_crypto_init() == PSA_SUCCESS)
		ret = tls_identity_init(&h->identity, h->options.dir, err);
	else
		error_add(err, "no random bytes for keys");
	/* Two processes with one generator's state would make the same keys: each begins its own. */
	mbedtls_psa_crypto_free();
	if (ret < 0)
		return ret;
	h->kernel = h->options.kernel && tls_kernel_prepare(h->options.socket_fd) == 0;
	return tls_confine(err);
}

/* Prepares for the other end's bytes, without any right from then on. */
static int tls_helper_prepare(struct tls_helper *h)
{
	struct error *err = &h->result.reason;

	if (psa_crypto_init() != PSA_SUCCESS) {
		error_add(err, "no random bytes for keys");
		return -EIO;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, h->pair) < 0) {
		error_add(err, "ferry-tls lacks a descriptor: %s", strerror(errno));
		return -errno;
	}
	if (tls_confine_for_stranger(err))
		return -EPERM;
	return tls_session_init(&h->session, &h->options, &h->identity, err);
}

/* Shakes hands, and finds out who encrypts. */
static int tls_helper_start(struct tls_helper *h)
{
	struct tls_result *r = &h->result;
	int ret = tls_session_start(&h->session, &h->options, r->peer, &r->reason);

	if (ret < 0)
		return ret;
	/* The key was for the handshake alone. */
	mbedtls_pk_free(&h->identity.key);
	r->outcome = TLS_PUMP;
	if (!h->kernel)
		return 0;
	ret = tls_kernel_start(&h->session);
	if (ret == 0)
		r->outcome = TLS_KERNEL;
	if (ret == -EIO) {
		error_add(&r->reason,
			  "the kernel's TLS took the keys of one direction, and not of the other");
		return ret;
	}
	return 0;
}

/* Hands the connection back, and carries its bytes to the end. */
static int tls_helper_hand_back(struct tls_helper *h)
{
	int fd = h->result.outcome == TLS_KERNEL ? h->options.socket_fd : h->pair[1];
	int ret = tls_result_send(h->options.result_fd, &h->result, fd);

	if (ret < 0) {
		error_add(&h->result.reason, "ferry-tls cannot hand the connection over: %s", strerror(-ret));
		return ret;
	}
	/* The starter sees an end, and the number stays taken. */
	(void)dup2(STDERR_FILENO, TLS_RESULT_FD);
	close(h->pair[1]);
	if (h->result.outcome == TLS_PUMP)
		tls_pump_run(&h->session, h->pair[0]);
	return 0;
}

/* Notes where the connection comes from, which only its reset makes unknown. */
static void tls_note_from(struct tls_helper *h)
{
	struct sockaddr_storage from = { 0 };
	const void *address = &((struct sockaddr_in *)&from)->sin_addr;
	socklen_t len = sizeof(from);

	if (getpeername(h->options.socket_fd, (struct sockaddr *)&from, &len) < 0)
		return;
	if (from.ss_family == AF_INET6)
		address = &((struct sockaddr_in6 *)&from)->sin6_addr;
	(void)inet_ntop(from.ss_family, address, h->from, sizeof(h->from));
}

static int tls_refuse(struct tls_helper *h)
{
	struct error reason = h->result.reason;

	if (h->from[0]) {
		h->result.reason.text[0] = '\0';
		error_add(&h->result.reason, "%s: %s", h->from, reason.text);
	}
	h->result.outcome = TLS_REFUSED;
	h->result.peer[0] = '\0';
	if (tls_result_send(h->options.result_fd, &h->result, -1))
		return TLS_EXIT_USAGE;
	return TLS_EXIT_REFUSED;
}

/* The life of one connection. Returns the exit code. */
static int tls_serve(struct tls_helper *h)
{
	int status;

	if (tls_helper_prepare(h))
		return tls_refuse(h);
	if (tls_helper_start(h)) {
		status = tls_refuse(h);
		tls_session_linger(&h->session);
		return status;
	}
	if (h->options.role == TLS_DOOR)
		tls_listen_proved();
	return tls_helper_hand_back(h) ? tls_refuse(h) : TLS_EXIT_OK;
}

/* A process that the door has started for one connection. */
static int tls_serve_caller(void *opaque)
{
	struct tls_helper *h = opaque;

	h->options.socket_fd = TLS_CONNECTION_FD;
	tls_note_from(h);
	h->kernel = h->options.kernel && tls_kernel_prepare(TLS_CONNECTION_FD) == 0;
	return tls_serve(h);
}

static int tls_serve_door(struct tls_helper *h)
{
	const struct tls_listener listener = { .fd = h->options.socket_fd,
					       .result_fd = h->options.result_fd,
					       .serve = tls_serve_caller,
					       .opaque = h };

	h->result.outcome = TLS_LISTENS;
	if (tls_result_send(h->options.result_fd, &h->result, -1))
		return TLS_EXIT_USAGE;
	tls_listen_run(&listener);
	return TLS_EXIT_OK;
}

static int tls_main(struct tls_helper *h, int argc, char **argv)
{
	struct error err = { 0 };

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return write(STDOUT_FILENO, tls_usage, strlen(tls_usage)) < 0 ? TLS_EXIT_USAGE : TLS_EXIT_OK;
	if (tls_options_parse(&h->options, argc, argv, &err)) {
		log_error("ferry-tls: %s (ferry-tls --help)", err.text);
		return TLS_EXIT_USAGE;
	}
	if (tls_make_socket(h))
		return tls_refuse(h);
	if (tls_take_descriptors(h, &err)) {
		log_error("ferry-tls: %s (ferry-tls --help)", err.text);
		return TLS_EXIT_USAGE;
	}
	if (tls_helper_init(h))
		return tls_refuse(h);
	return h->options.role == TLS_DOOR ? tls_serve_door(h) : tls_serve(h);
}

int main(int argc, char **argv)
{
	static struct tls_helper helper = { .pair = { -1, -1 } };

	/* At once: the kernel closes what is open, and keys are in no file. */
	_exit(tls_main(&helper, argc, argv));
}
