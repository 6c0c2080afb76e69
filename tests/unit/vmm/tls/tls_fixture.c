/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "tls_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Far more than any test here takes. */
#define WAIT_MS 60000

static char tls_dir[] = "/tmp/ferry-tls-test-XXXXXX";

/* The commands as a reader of the manual would type them. */
static const char from_manual[] = "sed -n '/^.SS A private CA/,/^.EE/p' '" FERRY_MANUAL "' | "
				  "sed '1,/^.EX/d; /^.EE/d; s/\\\\-/-/g; s/\\\\e/\\\\/g' > commands && "
				  "test $(grep -c '^[a-z]' commands) = 5 && sh -e commands > made 2>&1";

static const char with_faults[] =
	"set -e\n"
	"for d in other expired future nameless readable swapped local; do mkdir -m 700 $d; cp ca.pem $d; "
	"done\n"
	"new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc'\n"
	"sign() {\n"
	"	$new -subj /CN=$1 -addext subjectAltName=DNS:$1 -keyout $1/key.pem -out csr.pem\n"
	"	openssl ca -batch -notext -config ca.cnf -in csr.pem -cert ca.pem -keyfile ca.key -startdate "
	"$2 "
	"-enddate $3 -out $1/cert.pem\n"
	"}\n"
	"printf '%s\\n' '[ca]' default_ca=c '[c]' database=db serial=serial new_certs_dir=. "
	"default_md=sha256 "
	"policy=p copy_extensions=copy '[p]' > ca.cnf\n"
	": > db; echo 01 > serial\n"
	"sign expired 20200101000000Z 20210101000000Z\n"
	"sign future 20900101000000Z 20910101000000Z\n"
	"$new -x509 -subj '/CN=Other CA' -keyout other.key -out other/ca.pem\n"
	"$new -x509 -CA other/ca.pem -CAkey other.key -subj /CN=hosta -addext subjectAltName=DNS:hosta "
	"-addext basicConstraints=CA:FALSE -keyout other/key.pem -out other/cert.pem\n"
	"$new -x509 -CA ca.pem -CAkey ca.key -subj /CN=hosta -addext basicConstraints=CA:FALSE "
	"-keyout nameless/key.pem -out nameless/cert.pem\n"
	"$new -x509 -CA ca.pem -CAkey ca.key -subj /CN=local -addext basicConstraints=CA:FALSE "
	"-addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout local/key.pem -out local/cert.pem\n"
	"cp hosta/cert.pem hosta/key.pem readable; chmod 640 readable/key.pem\n"
	"cp hosta/cert.pem hostb/key.pem swapped\n";

static int run(const char *command)
{
	char *whole;
	int ret;

	if (asprintf(&whole, "{ %s\n} > out 2>&1", command) < 0)
		return -1;
	/* NOLINTNEXTLINE(cert-env33-c): the commands are a manual's, for a shell. */
	ret = system(whole);
	free(whole);
	return ret;
}

int tls_setup(void **state)
{
	if (!mkdtemp(tls_dir) || chdir(tls_dir) < 0)
		return -1;
	if (run(from_manual) != 0 || run(with_faults) != 0) {
		(void)!system("cat out made >&2");
		return -1;
	}
	return 0;
}

int tls_teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "cd / && rm -rf %s", tls_dir);
	return system(command);
}

/* The environment can name another build of it, such as the one that is installed. */
static const char *tls_program(void)
{
	return getenv("FERRY_TLS") ? getenv("FERRY_TLS") : FERRY_TLS;
}

void tls_program_to_path(void)
{
	const char *program = tls_program();
	char *path;

	assert_true(asprintf(&path, "%.*s:%s", (int)(strrchr(program, '/') - program), program,
			     getenv("PATH")) > 0);
	setenv("PATH", path, 1);
	free(path);
}

static int listen_on_loopback(struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	*addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)addr, sizeof(*addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)addr, &len), 0);
	return fd;
}

void tcp_pair(int fd[2])
{
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr);

	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&addr, sizeof(addr)), 0);
	fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd[1] >= 0);
	close(listener);
}

void helper_start(struct helper *h, const char *role, const char *dir, int fd, ...)
{
	const char *program = tls_program();
	const char *argv[24] = { program, role, "--dir", dir, "--socket", "3", "--result", "4" };
	unsigned int n = 8;
	int pair[2];
	va_list more;

	va_start(more, fd);
	do {
		argv[n] = va_arg(more, const char *);
	} while (argv[n++] && n < ARRAY_SIZE(argv));
	va_end(more);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	h->pid = fork();
	assert_true(h->pid >= 0);
	if (h->pid == 0) {
		/* Out of the way first, so that neither replaces the other. */
		int socket_fd = fcntl(fd, F_DUPFD, 10);
		int result_fd = fcntl(pair[1], F_DUPFD, 10);

		dup2(socket_fd, 3);
		dup2(result_fd, 4);
		close_range(5, ~0u, 0);
		execv(program, (char *const *)argv);
		_exit(127);
	}
	close(pair[1]);
	close(fd);
	h->result_fd = pair[0];
	h->fd = -1;
}

void helper_wait(struct helper *h)
{
	tls_result_recv(h->result_fd, end_of(WAIT_MS), &h->result, &h->fd);
	close(h->result_fd);
	h->result_fd = -1;
}

int helper_end(struct helper *h)
{
	int status;

	if (h->fd >= 0)
		close(h->fd);
	if (h->result_fd >= 0)
		close(h->result_fd);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void connect_two(struct helper *a, struct helper *b)
{
	int tcp[2];

	tcp_pair(tcp);
	helper_start(a, "connect", "hosta", tcp[0], "--host", "hostb", NULL);
	helper_start(b, "accept", "hostb", tcp[1], NULL);
	helper_wait(a);
	helper_wait(b);
	assert_string_equal(a->result.reason.text, "");
	assert_string_equal(b->result.reason.text, "");
	assert_true(a->fd >= 0 && b->fd >= 0);
}

int stranger_start(pid_t *pid, const char *command)
{
	struct sockaddr_in addr;
	int listener = listen_on_loopback(&addr);
	char port[16];
	int fd;

	snprintf(port, sizeof(port), "%u", ntohs(addr.sin_port));
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(out, 1);
		dup2(out, 2);
		execl("/bin/sh", "sh", "-c", command, "sh", port, NULL);
		_exit(127);
	}
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

void stranger_end(pid_t pid)
{
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

bool stranger_said(const char *text)
{
	char said[65536];
	FILE *f = fopen("out", "r");
	size_t len;

	assert_non_null(f);
	len = fread(said, 1, sizeof(said) - 1, f);
	fclose(f);
	said[len] = '\0';
	return strstr(said, text) != NULL;
}

unsigned int ms_since(uint64_t start_ns)
{
	return (unsigned int)((now_ns() - start_ns) / 1000000u);
}
