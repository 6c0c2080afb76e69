/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What "ferry doctor" finds on a host, as plain data: checks in words, and the facts that another host is
 * compared with. Whoever looks fills it; whoever prints, sends or compares it reads it. One thread.
 */
#ifndef FERRY_VMM_HOST_HOST_REPORT_H
#define FERRY_VMM_HOST_HOST_REPORT_H

#include "vmm/config.h"
#include "vmm/mac.h"
#include "vmm/x86/cpuid.h"

enum host_state {
	HOST_OK,
	HOST_INFO, /* neither good nor bad */
	HOST_WARN, /* a guest can run; not as well, or not everywhere */
	HOST_FAIL  /* a guest as it was asked for cannot run, or cannot move */
};
#define HOST_STATES 4u

/* The words for them: "ok", "info", "warn", "fail". */
extern const char *const host_state_names[HOST_STATES];

#define HOST_LABEL_MAX  64u
#define HOST_FOUND_MAX  1024u
#define HOST_ADVICE_MAX 384u

struct host_check {
	/* A word or two that stay from version to version: "kvm", "vhost-vdpa-0 mode". */
	char name[HOST_LABEL_MAX];
	enum host_state state;
	char found[HOST_FOUND_MAX];
	/* What to do; "" where there is nothing, or where @found says it. */
	char advice[HOST_ADVICE_MAX];
};

/* A vDPA NIC of the host, as a guest would have it. */
struct host_nic {
	char node[HOST_LABEL_MAX];   /* path */
	char driver[HOST_LABEL_MAX]; /* of the parent device; "" if that is not known */
	uint8_t mac[MAC_LEN];        /* zero: the device has none */
	unsigned int mtu;            /* 0: the device does not say */
	uint64_t features, offered;  /* the device's, and those that a guest is offered */
	unsigned int pairs, ring;    /* of queues; entries of the shortest data queue */
	unsigned int groups, spaces;
	bool ctrl, ctrl_apart, can_suspend;
	bool passthrough; /* else shadow rings */
	uint64_t last_address;
	unsigned int descriptors; /* that it takes */
};

/* No more nodes are looked into, as no VM has more NICs. */
#define HOST_MAX_NICS CONFIG_MAX_NETS
/* Four checks for each NIC, one for each in a comparison, and all others. */
#define HOST_MAX_CHECKS (5 * HOST_MAX_NICS + 40)

#define HOST_VERSION_MAX 32u

struct host_facts {
	char version[HOST_VERSION_MAX]; /* of Ferry */
	/* Versions of the migration stream that it speaks. */
	unsigned int stream_oldest, stream_newest;
	uint64_t clock_us;                 /* time of day, microseconds since 1970 */
	uint64_t mem_total, mem_available; /* bytes */
	bool has_cpu;                      /* @cpu is known */
	struct cpuid_offer cpu;            /* what a guest can have */
	unsigned int n_nics;               /* of @nics, those that can be used */
	struct host_nic nics[HOST_MAX_NICS];
};

struct host_report {
	unsigned int n_checks;
	struct host_check checks[HOST_MAX_CHECKS];
	/* Of all checks, also of any that found no room. */
	unsigned int n_fails;
	struct host_facts facts;
};

/* Adds a check. @advice: "" for none. What is no plain text in either is shown as "?", and what does not fit
 * is cut. A check that finds no room is counted if it fails. */
void host_report_add(struct host_report *r, enum host_state state, const char *name, const char *advice,
		     const char *fmt, ...) __attribute__((format(printf, 5, 6), nonnull(5)));

/* Finds a check by its name; NULL: there is none. */
const struct host_check *host_report_find(const struct host_report *r, const char *name);

#endif
