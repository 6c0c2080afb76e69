/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migrations of a guest with the product's NIC on the product's vDPA device: nic_faults [RUNS [SEED [KIND
 * [FIRST]]]]. At a random instant the guest changes what its device has been told, resets itself or its
 * device, or a device is gone, slow or refuses; the line between the hosts may have a fault at the same time.
 * Whatever happens, the device does what the guest was acknowledged, wherever it runs, and no packet is lost
 * or comes twice; on a failure the source's NIC works, and a retry moves the guest.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/nic_random.h"
#include "tests/fault/nic_run.h"

/* Most of a run is waiting. */
#define WORKERS 4u
/* Far more than any deadline of Ferry's: what comes this late never comes. */
#define HANG_S 240u

static const struct nic_kind kinds[] = {
	{ "nothing", NIC_ACT_NOTHING, NIC_N_FAMILIES, NULL },
	{ "RX", NIC_ACT_COMMANDS, NIC_RX, NULL },
	{ "RX_EXTRA", NIC_ACT_COMMANDS, NIC_RX_EXTRA, NULL },
	{ "MAC table", NIC_ACT_COMMANDS, NIC_MAC_TABLE, NULL },
	{ "MAC address", NIC_ACT_COMMANDS, NIC_MAC_ADDR, NULL },
	{ "VLAN", NIC_ACT_COMMANDS, NIC_VLAN, NULL },
	{ "ANNOUNCE_ACK", NIC_ACT_COMMANDS, NIC_ANNOUNCE, NULL },
	{ "MQ", NIC_ACT_COMMANDS, NIC_MQ, NULL },
	{ "RSS", NIC_ACT_COMMANDS, NIC_RSS, NULL },
	{ "hash", NIC_ACT_COMMANDS, NIC_HASH, NULL },
	{ "guest offloads", NIC_ACT_COMMANDS, NIC_OFFLOADS, NULL },
	{ "coalescing", NIC_ACT_COMMANDS, NIC_COALESCE, NULL },
	{ "statistics", NIC_ACT_COMMANDS, NIC_STATS, NULL },
	{ "hash of tunnels", NIC_ACT_COMMANDS, NIC_TUNNEL, NULL },
	{ "RSS contexts", NIC_ACT_COMMANDS, NIC_CONTEXTS, NULL },
	{ "any command", NIC_ACT_COMMANDS, NIC_N_FAMILIES, NULL },
	{ "guest resets", NIC_ACT_RESET, NIC_N_FAMILIES, NULL },
	{ "driver rebinds", NIC_ACT_REBIND, NIC_N_FAMILIES, NULL },
	{ "device gone at source", NIC_ACT_GONE_HERE, NIC_N_FAMILIES, NULL },
	{ "device gone there", NIC_ACT_GONE_THERE, NIC_N_FAMILIES, NULL },
	{ "device slow at source", NIC_ACT_SLOW_HERE, NIC_N_FAMILIES, NULL },
	{ "device slow there", NIC_ACT_SLOW_THERE, NIC_N_FAMILIES, NULL },
	{ "command refused there", NIC_ACT_REFUSES, NIC_N_FAMILIES, "the device refused " },
	{ "call fails at source", NIC_ACT_CALL_HERE, NIC_N_FAMILIES, NULL },
	{ "call fails there", NIC_ACT_CALL_THERE, NIC_N_FAMILIES, NULL },
	{ "source does not suspend", NIC_ACT_SUSPEND, NIC_N_FAMILIES, "the call fails" },
	{ "source has no ring base", NIC_ACT_BASE, NIC_N_FAMILIES, "the call fails" },
};

#define KIND_N ((unsigned int)ARRAY_SIZE(kinds))

static const char *const outcomes[NIC_N_OUTCOMES] = {
	[NIC_STAYED] = "stayed, retry moved",
	[NIC_MOVED] = "moved",
	[NIC_RESUMED] = "paused, resumed, retry moved",
	[NIC_RAN_THERE] = "paused, runs there",
};

struct table {
	_Atomic unsigned int counts[KIND_N][NIC_N_OUTCOMES];
	_Atomic unsigned int n_failed, n_missed, n_twice, n_left, n_rebinds;
	_Atomic uint64_t n_sent, n_got, n_stored, n_ok, n_refused;
};

static void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(p != MAP_FAILED);
	return p;
}

static void count(struct table *t, unsigned int kind, const struct nic_result *r)
{
	t->counts[kind][r->outcome]++;
	t->n_missed += !r->reached;
	t->n_twice += r->n_twice;
	t->n_left += r->n_left;
	t->n_rebinds += r->n_rebinds;
	t->n_sent += r->n_sent;
	t->n_got += r->n_got;
	t->n_stored += r->n_stored;
	t->n_ok += r->n_ok;
	t->n_refused += r->n_refused;
}

static void run_one(struct table *table, struct nic_result *r, unsigned int number, unsigned int kind,
		    uint64_t seed)
{
	uint64_t random = seed ^ (uint64_t)number << 32;
	int status = 0;
	pid_t pid;

	memset(r, 0, sizeof(*r));
	fflush(NULL);
	pid = fork();
	assert(pid >= 0);
	if (pid == 0) {
		alarm(HANG_S);
		nic_run(&kinds[kind], nic_random(&random), r);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		status = -1;
	count(table, kind, r);
	if (!r->wrong[0] && r->ended && status == 0)
		return;
	table->n_failed++;
	fprintf(stderr, "run %u, %s at a frame of type %d, line %d, process %#x, %s: %s\n  %s\n", number,
		kinds[kind].name, r->at, r->line, (unsigned int)status, outcomes[r->outcome],
		r->wrong[0] ? r->wrong : "it does not end", r->reason);
}

static void show(const struct table *t, unsigned int n)
{
	printf("%u faults of a guest's NIC; %u came too late\n", n, t->n_missed);
	for (unsigned int k = 0; k < KIND_N; k++) {
		const char *between = "";

		printf("%-24s", kinds[k].name);
		for (unsigned int o = 0; o < NIC_N_OUTCOMES; o++) {
			if (t->counts[k][o]) {
				printf("%s%u %s", between, t->counts[k][o], outcomes[o]);
				between = "; ";
			}
		}
		printf("\n");
	}
	printf("%llu packets from guests, %u twice; %llu to guests, %u to a port that the guest had left\n",
	       (unsigned long long)t->n_sent, t->n_twice, (unsigned long long)t->n_got, t->n_left);
	printf("%llu writes to disks, each found there or written over by a later one\n",
	       (unsigned long long)t->n_stored);
	printf("%llu commands taken, %llu refused; %u drivers had to begin anew\n",
	       (unsigned long long)t->n_ok, (unsigned long long)t->n_refused, t->n_rebinds);
}

/*
 * A socket takes ten datagrams, which is fewer than a guest with many addresses has announcements; the kernel
 * lets each network have another number. Not many more: what lies in the sockets of devices that do not run
 * any more counts against those who have sent it.
 */
static void make_room(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		perror("no network of its own");
		exit(77);
	}
	fd = open("/proc/sys/net/unix/max_dgram_qlen", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "64", 2) != 2) {
		perror("max_dgram_qlen");
		exit(77);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 300;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	unsigned int only = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : KIND_N;
	unsigned int first = argc > 4 ? (unsigned int)strtoul(argv[4], NULL, 10) : 0;
	struct table *table = share(sizeof(*table));
	int status;

	if (!getenv("NIC_FAULTS_LOG"))
		log_level = LOG_ERROR;
	make_room();
	printf("seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned int w = 0; w < WORKERS; w++) {
		if (fork() == 0) {
			struct nic_result *r = share(sizeof(*r));

			for (unsigned int i = first + w; i < first + n; i += WORKERS)
				run_one(table, r, i, only < KIND_N ? only : i % KIND_N, seed);
			_exit(0);
		}
	}
	for (unsigned int w = 0; w < WORKERS; w++) {
		if (wait(&status) < 0 || status != 0) {
			fprintf(stderr, "a worker ended with %#x\n", (unsigned int)status);
			table->n_failed++;
		}
	}
	show(table, n);
	if (table->n_failed)
		printf("%u went wrong\n", table->n_failed);
	return table->n_failed ? 1 : 0;
}
