/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections through other processes: see the header. */
#define _GNU_SOURCE
#include "tests/fault/ways.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of loopback, one for each worker: so no two look for a free port of one address at a time. */
#define WAY_ADDRESS "127.7.0.%u"
#define WAY_WORKERS 64u

#ifdef FERRY_TLS
static const char ways_certificates[] =
	"set -e; cd '%s'; exec > made 2>&1\n"
	"sed -n '/^.SS A private CA/,/^.EE/p' '" FERRY_MANUAL "' | "
	"sed '1,/^.EX/d; /^.EE/d; s/\\\\-/-/g; s/\\\\e/\\\\/g' > commands; sh -e commands\n"
	"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -x509 -CA ca.pem -CAkey ca.key "
	"-subj /CN=loopback -addext basicConstraints=critical,CA:FALSE "
	"-addext subjectAltName=$(seq -s, -f 'IP:127.7.0.%%g' 0 63) -keyout hostb/key.pem -out "
	"hostb/cert.pem\n";

/* The program of this build is beside its tests' folder, and found in $PATH. */
static bool ways_prepare_tls(const struct ways *ways)
{
	static const char program[] = FERRY_TLS;
	char *command, *path;
	int ret = -1;

	if (asprintf(&path, "%.*s:%s", (int)(strrchr(program, '/') - program), program, getenv("PATH")) < 0)
		return false;
	setenv("PATH", path, 1);
	free(path);
	if (asprintf(&command, ways_certificates, ways->base) < 0)
		return false;
	/* NOLINTNEXTLINE(cert-env33-c): the commands are a manual's, for a shell. */
	ret = system(command);
	free(command);
	if (ret != 0)
		fprintf(stderr, "openssl has made no certificates: see %s/made\n", ways->base);
	return ret == 0;
}
#else
static bool ways_prepare_tls(const struct ways *ways)
{
	return false;
}
#endif

bool ways_prepare(struct ways *ways)
{
	snprintf(ways->base, sizeof(ways->base), "/tmp/ferry-faults-XXXXXX");
	if (!mkdtemp(ways->base)) {
		perror(ways->base);
		return false;
	}
	ways->tls = ways_prepare_tls(ways);
#ifdef FERRY_TLS
	return ways->tls;
#else
	return true;
#endif
}

static int way_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void ways_remove(struct ways *ways)
{
	nftw(ways->base, way_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes an address with a port that is free, or was a moment ago. */
static void way_choose_place(struct end_plan *plan, unsigned int worker)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	char host[32];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	snprintf(host, sizeof(host), WAY_ADDRESS, worker % WAY_WORKERS);
	ret = inet_pton(AF_INET, host, &addr.sin_addr);
	assert(ret == 1 && fd >= 0);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (ret == 0)
		ret = getsockname(fd, (struct sockaddr *)&addr, &len);
	assert(ret == 0);
	(void)ret;
	close(fd);
	snprintf(plan->place, sizeof(plan->place), "%s:%u", host, ntohs(addr.sin_port));
}

void way_choose(const struct ways *ways, struct end_plan *plan, unsigned int worker)
{
	int ret;

	snprintf(plan->base, sizeof(plan->base), "%s", ways->base);
	snprintf(plan->dir, sizeof(plan->dir), "%s/%u", ways->base, worker);
	if (plan->keeps_report)
		snprintf(plan->report, sizeof(plan->report), "%s/report", plan->dir);
	if (plan->way_in == END_BY_SOCKET)
		return;
	if (plan->way_in == END_BY_TLS)
		way_choose_place(plan, worker);
	ret = mkdir(plan->dir, 0700);
	assert(ret == 0);
	(void)ret;
}

void way_forget(const struct end_plan *plan)
{
	if (plan->way_in != END_BY_SOCKET)
		nftw(plan->dir, way_remove, 8, FTW_DEPTH | FTW_PHYS);
}

int way_open(const struct end_plan *plan, struct transport *t)
{
	struct transport_options options = { .name = "web1", .peer_uid = TRANSPORT_ANY_UID };
	char to[512], self[256] = "", tls_dir[128];
	struct error err = { 0 };

	switch (plan->way_in) {
	case END_BY_DOOR:
		snprintf(to, sizeof(to), "unix:%s/door", plan->dir);
		break;
	case END_BY_CALL:
		/* Not one socket for both ways, as from sshd; whoever dies takes the others along. */
		if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
			return -ENOENT;
		snprintf(to, sizeof(to), "exec:exec 2> %s/said; %s connect web1 --runtime-dir %s | cat",
			 plan->dir, self, plan->dir);
		break;
	default:
		snprintf(to, sizeof(to), "tls:%s", plan->place);
		snprintf(tls_dir, sizeof(tls_dir), "%s/hosta", plan->base);
		options.tls_dir = tls_dir;
		break;
	}
	return transport_open(t, to, &options, &err);
}

/* Fills in the children of @pid. Returns how many. */
static unsigned int way_children(pid_t pid, pid_t *children, unsigned int max)
{
	char path[64], text[256] = "", *save = NULL;
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	for (char *word = strtok_r(text, " ", &save); word && n < max; word = strtok_r(NULL, " ", &save))
		children[n++] = (pid_t)strtol(word, NULL, 10);
	return n;
}

/* Whether @pid is a child of @parent now. */
static bool way_is_child(pid_t pid, pid_t parent)
{
	pid_t children[8];
	unsigned int n = way_children(parent, children, ARRAY_SIZE(children));

	while (n > 0 && children[n - 1] != pid)
		n--;
	return n > 0;
}

/* Kills a process that somebody else may have waited for meanwhile, and never one that has its number by
 * then:
 * @pid is looked at once more when it cannot change any more. */
static void way_kill_child(pid_t parent, pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return;
	if (way_is_child(pid, parent))
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	close(fd);
}

static void way_kill_one_of(pid_t parent, uint64_t place)
{
	pid_t children[8];
	unsigned int n = parent > 0 ? way_children(parent, children, ARRAY_SIZE(children)) : 0;

	if (n > 0)
		way_kill_child(parent, children[place % n]);
}

void way_kill(const struct world *w, pid_t destination, const struct transport *t, enum way_process which,
	      uint64_t place)
{
	switch (which) {
	case WAY_NEAR:
		if (t->child > 0) {
			/* The shell's group is its own; ferry-tls's, too. Nobody has waited for it yet. */
			kill(-t->child, SIGKILL);
			kill(t->child, SIGKILL);
		}
		break;
	case WAY_PART:
		way_kill_one_of(t->child, place);
		break;
	case WAY_FAR:
		if (way_is_child(w->door, destination))
			way_kill_one_of(w->door, place);
		break;
	default:
		if (w->door > 0)
			way_kill_child(destination, w->door);
		break;
	}
}
