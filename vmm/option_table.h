/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The subcommands and all of their options, as data: parsing, help and completions work from it. What a value
 * means is known to the parsers, by the option's id: vmm/config.c,
 * vmm/control/options.c and vmm/host/doctor.c. Constant data,
 * any thread.
 */
#ifndef FERRY_VMM_OPTION_TABLE_H
#define FERRY_VMM_OPTION_TABLE_H

#include "vmm/util.h"

/* The directory of control sockets where --runtime-dir does not say another. */
#define OPTION_RUNTIME_DIR_DEFAULT "/run/ferry"

/* In the order in which they are listed. */
enum command_id {
	COMMAND_RUN,
	COMMAND_RECEIVE,
	COMMAND_CONNECT,
	COMMAND_MIGRATE,
	COMMAND_CPU,
	COMMAND_DOCTOR,
	COMMAND_LIST,
	COMMAND_PAUSE,
	COMMAND_RESUME,
	COMMAND_STOP,
	COMMAND_RESET,
	COMMAND_CONSOLE,
	COMMAND_EVENTS,
	COMMAND_NIC,
	COMMAND_METRICS,
	COMMAND_STATUS,
	COMMAND_CANCEL,
	COMMAND_TUNE,
	COMMAND_REPORT,
	COMMAND_COMPLETION,
	COMMAND_VERSION,
	COMMAND_HELP,
	N_COMMANDS,
};

enum option_id {
	OPTION_CONFIG,
	OPTION_NAME,
	OPTION_FROM,
	OPTION_TO,
	OPTION_CHECK,
	OPTION_SSH,
	OPTION_TLS,
	OPTION_PEER,
	OPTION_PEER_UID,
	OPTION_KVM,
	OPTION_KERNEL,
	OPTION_INITRD,
	OPTION_CMDLINE,
	OPTION_MEM,
	OPTION_HUGEPAGES,
	OPTION_CPUS,
	OPTION_CPU,
	OPTION_NET,
	OPTION_DISK,
	OPTION_DEVICE,
	OPTION_FOLLOW,
	OPTION_JSON,
	OPTION_DOWNTIME,
	OPTION_BANDWIDTH,
	OPTION_STALLED,
	OPTION_COMPRESS,
	OPTION_TIMEOUT,
	OPTION_REPORT,
	OPTION_DETACH,
	OPTION_FORCE,
	OPTION_CLOCK_SKEW,
	OPTION_ON_RESET,
	OPTION_STOP_TIMEOUT,
	OPTION_CORE,
	OPTION_REGISTER,
	OPTION_SERIAL,
	OPTION_LOG_LEVEL,
	OPTION_RUNTIME_DIR,
	N_OPTIONS,
};

/* Sets of options, and of commands. */
#define OPTION_BIT(id)  (UINT64_C(1) << (id))
#define COMMAND_BIT(id) (1u << (id))
_Static_assert(N_OPTIONS <= 64 && N_COMMANDS <= 32, "one bit each");

/* In the place of a list of words: what completions offer of the system they run on. */
#define OPTION_WORDS_FILE    ":file"
#define OPTION_WORDS_FOLDER  ":folder"
#define OPTION_WORDS_VM      ":vm" /* a VM whose control socket is in the default folder */
#define OPTION_WORDS_COMMAND ":command"

enum option_flags {
	OPTION_REPEATS = 1u << 0, /* may be given several times */
	OPTION_EMPTY = 1u << 1,   /* its value may be empty */
};

/*
 * An option of some commands. Those that say one thing in different words have several rows: for a command,
 * the first one with the name holds, and all are in the help.
 */
struct option_row {
	enum option_id id;
	const char *name;
	const char *value; /* its placeholder; NULL: a switch */
	const char *help;
	const char *words;       /* that the value can be, with blanks between; NULL: not known */
	unsigned int commands;   /* that know it */
	unsigned int needed;     /* that cannot do without */
	enum option_flags flags; /* a set */
};

struct command_row {
	const char *name;
	const char *operands; /* as the usage shows them; NULL: none are possible */
	const char *words;    /* as of an option's value */
	const char *summary;  /* a line for the list of commands */
	const char *about;    /* before the options, and behind them; NULL: nothing */
	const char *after;
};

extern const struct option_row option_table[];
extern const unsigned int option_table_n;
extern const struct command_row command_table[N_COMMANDS];

#endif
