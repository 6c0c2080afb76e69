/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of subcommands and options. */
#include "vmm/option_table.h"

#define IN(command) COMMAND_BIT(COMMAND_##command)
#define IN_BOTH     (IN(RUN) | IN(RECEIVE))
/* Commands that speak to a VM's control socket. */
#define IN_MACHINES                                                                                          \
	(IN(LIST) | IN(NIC) | IN(METRICS) | IN(PAUSE) | IN(RESUME) | IN(STOP) | IN(RESET) | IN(CONSOLE) |    \
	 IN(EVENTS))
#define IN_CLIENTS (IN(CONNECT) | IN(MIGRATE) | IN(STATUS) | IN(CANCEL) | IN(TUNE) | IN_MACHINES)

/* In the order of the help. */
const struct option_row option_table[] = {
	{ OPTION_CONFIG, "config", "FILE",
	  "take options from FILE too, one a line, such as \"mem 4G\"; those of the command line override "
	  "them",
	  OPTION_WORDS_FILE, IN_BOTH, 0, 0 },
	{ OPTION_NAME, "name", "NAME", "what the VM is called, here and for \"ferry migrate\"", NULL, IN_BOTH,
	  IN_BOTH, 0 },
	{ OPTION_FROM, "from", "tls:HOST:PORT", "where to listen for sources that come over TLS, with --tls",
	  "tls: unix: fd:", IN(RECEIVE), 0, 0 },
	{ OPTION_FROM, "from", "unix:PATH",
	  "a socket for sources of this host; without --from \"ferry connect\" alone brings one", NULL,
	  IN(RECEIVE), 0, 0 },
	{ OPTION_FROM, "from", "fd:N", "a unix socket that listens, open as descriptor N", NULL, IN(RECEIVE),
	  0, 0 },
	{ OPTION_TO, "to", "PLACE", "where the guest goes, one of:", "ssh: tls: unix: fd: exec:", IN(MIGRATE),
	  IN(MIGRATE), 0 },
	{ OPTION_TO, "to", "ssh:[USER@]HOST[:PORT][/NAME]",
	  "the receive called NAME (as here) on HOST, with your ssh configuration and keys", NULL,
	  IN(MIGRATE), 0, 0 },
	{ OPTION_TO, "to", "tls:HOST:PORT", "a receive that listens there, with --tls", NULL, IN(MIGRATE), 0,
	  0 },
	{ OPTION_TO, "to", "unix:PATH", "a receive, or your own tunnel, that listens at PATH", NULL,
	  IN(MIGRATE), 0, 0 },
	{ OPTION_TO, "to", "fd:N", "a connected stream socket that is open as descriptor N", NULL,
	  IN(MIGRATE), 0, 0 },
	{ OPTION_TO, "to", "exec:COMMAND", "a shell command whose stdin and stdout lead there", NULL,
	  IN(MIGRATE), 0, 0 },
	{ OPTION_CHECK, "check", NULL,
	  "say what stands against the move, a reason on each line, and move nothing", NULL, IN(MIGRATE), 0,
	  0 },
	{ OPTION_SSH, "ssh", "COMMAND", "run this in the place of ssh, with arguments split at spaces", NULL,
	  IN(MIGRATE) | IN(DOCTOR), 0, 0 },
	{ OPTION_TLS, "tls", "DIR", "for tls: the folder of ca.pem, cert.pem and key.pem (man ferry)",
	  OPTION_WORDS_FOLDER, IN(RECEIVE) | IN(MIGRATE), 0, 0 },
	{ OPTION_PEER, "peer", "NAME", "for tls: a name that the source's certificate must have", NULL,
	  IN(RECEIVE), 0, 0 },
	{ OPTION_PEER, "peer", "NAME",
	  "for tls: a name that the other end's certificate must have, beside HOST", NULL, IN(MIGRATE), 0,
	  0 },
	{ OPTION_PEER, "peer", "[USER@]HOST[:PORT]",
	  "also ask the Ferry there, over ssh, and say what would stop a move", NULL, IN(DOCTOR), 0, 0 },
	{ OPTION_PEER_UID, "peer-uid", "UID",
	  "a user who may connect to that socket beside this one and root", NULL, IN(RECEIVE), 0, 0 },
	{ OPTION_PEER_UID, "peer-uid", "UID", "for unix: who may listen at PATH, beside you and root", NULL,
	  IN(MIGRATE), 0, 0 },
	{ OPTION_KVM, "kvm", "FILE",
	  "where KVM is (default /dev/kvm); FILE can be fd:N, a descriptor that Ferry was started with, as "
	  "can other "
	  "files here, and tap=",
	  OPTION_WORDS_FILE, IN_BOTH, 0, 0 },
	{ OPTION_KERNEL, "kernel", "FILE", "bzImage (vmlinuz), or ELF vmlinux with a PVH entry",
	  OPTION_WORDS_FILE, IN(RUN), IN(RUN), 0 },
	{ OPTION_INITRD, "initrd", "FILE", "initial RAM disk", OPTION_WORDS_FILE, IN(RUN), 0, 0 },
	{ OPTION_CMDLINE, "cmdline", "TEXT", "the kernel's command line; add console=ttyS0 to see it talk",
	  NULL, IN(RUN), 0, OPTION_EMPTY },
	{ OPTION_MEM, "mem", "SIZE[,node=N]",
	  "memory with a unit K, M, G or T (default 512M), and the host's node that it comes from", NULL,
	  IN(RUN), 0, 0 },
	{ OPTION_MEM, "mem", "SIZE[,node=N]",
	  "memory with a unit K, M, G or T (default: what the source has, if the host has it), and the "
	  "host's node",
	  NULL, IN(RECEIVE), 0, 0 },
	{ OPTION_MEM, "mem", "SIZE", "the guest's memory, with a unit K, M, G or T (default 512M)", NULL,
	  IN(DOCTOR), 0, 0 },
	{ OPTION_HUGEPAGES, "hugepages", "2M|1G",
	  "memory in huge pages of this size, which the host keeps in a pool and the guest has from the "
	  "start",
	  "2M 1G", IN_BOTH, 0, 0 },
	{ OPTION_CPUS, "cpus", "N[,pin=CPUS]",
	  "number of vCPUs, 1 to 64 (default 1), and the host's CPU of each, such as 2-5 or 2+4", NULL,
	  IN(RUN), 0, 0 },
	{ OPTION_CPUS, "cpus", "N[,pin=CPUS]",
	  "number of vCPUs, 1 to 64 (default: what the source has), and the host's CPU of each, such as 2-5 "
	  "or 2+4",
	  NULL, IN(RECEIVE), 0, 0 },
	{ OPTION_CPU, "cpu", "baseline=FILE",
	  "the guest has the CPU features of FILE (\"ferry cpu\"), or of x86-64-v2, -v3 or -v4, and no "
	  "others",
	  "baseline=", IN(RUN), 0, 0 },
	{ OPTION_NET, "net", "vdpa=PATH", "a NIC backed by a vhost-vdpa device; may be repeated",
	  "vdpa= soft,tap= soft,hub=", IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "vdpa=PATH",
	  "a NIC that the guest is to have, as for \"ferry run\"; may be repeated (default: all vDPA devices "
	  "are looked at, and none is needed)",
	  "vdpa=", IN(DOCTOR), 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "soft,tap=NAME",
	  "a NIC in software on a TAP interface; also bridge=NAME, mac=, queues=N, ring=ENTRIES, hub=FOLDER",
	  NULL, IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "...,packed=on",
	  "the guest has packed rings; in-order=on: its buffers come back in order, where the device keeps "
	  "it",
	  NULL, IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "...,shared-switch=on",
	  "both hosts' NICs are on one switch: the guest's addresses are taken over with it, not before",
	  NULL, IN(RECEIVE), 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "...,mode=MODE",
	  "who serves the guest's rings: passthrough, the device; shadow, Ferry; auto, what fits (the "
	  "default)",
	  NULL, IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_NET, "net", "...,poll=auto|off|USEC",
	  "how long the NIC's thread looks for packets before it sleeps, while Ferry serves the rings: auto, "
	  "by "
	  "their gaps, for hosts with CPUs to spare (default off)",
	  NULL, IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_DISK, "disk", "PATH[,ro]",
	  "a disk: raw file or block device, for a move on storage of both hosts; may be repeated",
	  OPTION_WORDS_FILE, IN_BOTH, 0, OPTION_REPEATS },
	{ OPTION_DEVICE, "device", "NAME",
	  "a device more: rng, rtc (a PC's clock), vmclock (says that the guest was moved); may be repeated",
	  "rng rtc vmclock", IN(RUN), 0, OPTION_REPEATS },
	{ OPTION_FOLLOW, "follow", NULL, "stay until it has ended", NULL, IN(STATUS), 0, 0 },
	{ OPTION_JSON, "json", NULL, "print what the VM says as it is, an object a line", NULL,
	  IN(STATUS) | IN(LIST) | IN(NIC) | IN(EVENTS), 0, 0 },
	{ OPTION_JSON, "json", NULL, "print one object, as the manual describes it", NULL, IN(DOCTOR), 0, 0 },
	{ OPTION_DOWNTIME, "downtime", "MS", "how long the guest may stand still, 1 to 60000 (default 300)",
	  NULL, IN(MIGRATE), 0, 0 },
	{ OPTION_DOWNTIME, "downtime", "MS", "how long the guest may stand still, 1 to 60000", NULL, IN(TUNE),
	  0, 0 },
	{ OPTION_BANDWIDTH, "bandwidth", "RATE",
	  "bytes a second that it may take on average while the guest runs, 1M to 1T, such as 500M; or none "
	  "(the default)",
	  "none", IN(MIGRATE), 0, 0 },
	{ OPTION_BANDWIDTH, "bandwidth", "RATE",
	  "bytes a second that it may take on average while the guest runs, 1M to 1T; or none", "none",
	  IN(TUNE), 0, 0 },
	{ OPTION_STALLED, "stalled", "POLICY",
	  "for a guest that writes memory faster than it can be sent: throttle it (the default), stop it and "
	  "go over the downtime, or cancel the migration",
	  "throttle stop cancel", IN(MIGRATE), 0, 0 },
	{ OPTION_COMPRESS, "compress", "WHEN",
	  "compress memory: auto, where the connection is slower than that (the default), on or off",
	  "auto on off", IN(MIGRATE), 0, 0 },
	{ OPTION_STALLED, "stalled", "POLICY", "for a guest that is too busy: throttle, stop or cancel",
	  "throttle stop cancel", IN(TUNE), 0, 0 },
	{ OPTION_TIMEOUT, "timeout", "SECONDS",
	  "how long to wait for it (default 90): a guest that has not shut down by then is left alone", NULL,
	  IN(STOP), 0, 0 },
	{ OPTION_FORCE, "force", NULL,
	  "cut the power at once instead: what the guest has not written is lost", NULL, IN(STOP), 0, 0 },
	{ OPTION_TIMEOUT, "timeout", "SECONDS",
	  "give the migration up if it has not come to the handover by then", NULL, IN(MIGRATE), 0, 0 },
	{ OPTION_REPORT, "report", "FILE",
	  "write a report of the guest's coming to FILE, as JSON, also if it fails", OPTION_WORDS_FILE,
	  IN(RECEIVE), 0, 0 },
	{ OPTION_REPORT, "report", "FILE",
	  "write what happened to FILE, as JSON, also if it failed; \"ferry report\" draws it",
	  OPTION_WORDS_FILE, IN(MIGRATE), 0, 0 },
	{ OPTION_REPORT, "report", "FILE", "write the report to FILE, as JSON", OPTION_WORDS_FILE, IN(STATUS),
	  0, 0 },
	{ OPTION_DETACH, "detach", NULL,
	  "do not wait for the end: the migration goes on, \"ferry status\" shows it and \"ferry cancel\" "
	  "ends it",
	  NULL, IN(MIGRATE), 0, 0 },
	{ OPTION_CLOCK_SKEW, "clock-skew", "SECONDS",
	  "how far the source's clock may be off, or any (default 60): the guest's jumps or stays ahead by "
	  "that",
	  "any", IN(RECEIVE), 0, 0 },
	{ OPTION_STOP_TIMEOUT, "stop-timeout", "SECONDS",
	  "how long the guest may take to shut down after SIGTERM has pressed its power button (default 60); "
	  "0: "
	  "SIGTERM ends it at once",
	  NULL, IN_BOTH, 0, 0 },
	{ OPTION_ON_RESET, "on-reset", "WHAT",
	  "what a guest's reset does: restart (the default), it boots again in place, or exit, with code 3",
	  "restart exit", IN_BOTH, 0, 0 },
	{ OPTION_CORE, "core", "WHAT",
	  "what a crash may leave in a core file: none (the default), ferry, or guest: its memory, too",
	  "none ferry guest", IN_BOTH, 0, 0 },
	{ OPTION_REGISTER, "register", "WHETHER",
	  "whether systemd-machined is told of the VM, for machinectl: auto (the default; where it runs, and "
	  "takes it), yes (or the start fails) or no",
	  "auto yes no", IN_BOTH, 0, 0 },
	{ OPTION_SERIAL, "serial", "TO",
	  "stdio (the default; on a terminal Ctrl-A x ends the VM), unix:PATH, file:PATH[,max=SIZE], pty or "
	  "none",
	  "stdio none pty unix: file:", IN_BOTH, 0, 0 },
	{ OPTION_LOG_LEVEL, "log-level", "LEVEL",
	  "which messages are written: error, warn, info (the default) or debug", "error warn info debug",
	  IN_BOTH, 0, 0 },
	{ OPTION_RUNTIME_DIR, "runtime-dir", "DIR",
	  "where control sockets are (default " OPTION_RUNTIME_DIR_DEFAULT ")", OPTION_WORDS_FOLDER,
	  IN_BOTH | IN_CLIENTS | IN(DOCTOR), 0, 0 },
};

const unsigned int option_table_n = ARRAY_SIZE(option_table);

const struct command_row command_table[N_COMMANDS] = {
	[COMMAND_RUN] = { "run", NULL, NULL, "boot a guest and stay with it until it ends",
			  "Boots a guest and stays with it until it ends or has moved away.", NULL },
	[COMMAND_RECEIVE] = { "receive", NULL, NULL, "wait for a guest from another Ferry, then stay with it",
			      "Opens its NICs, waits for a guest that \"ferry migrate\" sends, and stays "
			      "with it.",
			      NULL },
	[COMMAND_CONNECT] = { "connect", "NAME", OPTION_WORDS_VM,
			      "be a source's connection to a Ferry that waits in receive",
			      "Hands stdin and stdout to the \"ferry receive\" called NAME, as the "
			      "connection of a "
			      "source, and stays until that has ended. \"ferry migrate --to ssh:HOST\" runs "
			      "it at "
			      "the destination.",
			      "Exit codes: 0 the guest runs here, or would be taken if it came; 1 it does "
			      "not, for "
			      "the reason on stderr; 2 wrong usage." },
	[COMMAND_MIGRATE] = { "migrate", "NAME", OPTION_WORDS_VM,
			      "move a running guest to a Ferry that waits in receive",
			      "Moves the running guest NAME to a \"ferry receive\" that waits at PLACE. "
			      "Until the "
			      "destination has taken over, every failure and Ctrl-C leave the guest running "
			      "where "
			      "it is.",
			      "\"ferry tune\" changes downtime, bandwidth and policy while it runs. Exit "
			      "codes: 0 "
			      "moved, or could move (--check), or has begun to (--detach); 1 failed, the "
			      "guest goes "
			      "on here; 2 wrong usage; 5 the outcome is unknown: the guest is paused here, "
			      "and "
			      "\"ferry resume NAME\" if it does not run at the destination; or its process "
			      "has "
			      "ended without an answer." },
	[COMMAND_CPU] = { "cpu", "[FILE...]", OPTION_WORDS_FILE,
			  "print the CPU features that guests can have here, or that hosts have in common",
			  "Prints the CPU features that a guest can have on this host. With files of several "
			  "hosts, "
			  "what these have in common; a guest that is started with it can move between "
			  "them:\n\n"
			  "  hostA$ ferry cpu > a.cpu\n"
			  "  hostB$ ferry cpu > b.cpu\n"
			  "  hostA$ ferry cpu a.cpu b.cpu > common.cpu\n"
			  "  hostA$ ferry run --cpu baseline=common.cpu ...",
			  "For a FILE there can be x86-64-v2, x86-64-v3 or x86-64-v4, a level of the x86-64 "
			  "psABI. "
			  "These lack what kernels use against faults of CPUs: a file of the hosts' own is "
			  "better." },
	[COMMAND_DOCTOR] = { "doctor", NULL, NULL,
			     "look at this host, and say what it has and lacks for a guest and for a move",
			     "Looks at this host, and says line by line what it has for a guest, what is "
			     "missing, and what to do. Changes nothing.",
			     "Exit codes: 0 a guest could run here, and with --peer move there; 1 it could "
			     "not; 2 wrong usage." },
	[COMMAND_LIST] = { "list", "[NAME...]", OPTION_WORDS_VM,
			   "list the VMs of this host, and how they are",
			   "Lists the VMs of this host that are yours, or all of them for root: the name, "
			   "how "
			   "the guest is, its vCPUs and memory, and the process.",
			   "A guest is starting, waiting (for a source), arriving (from one), running, "
			   "paused, "
			   "migrating, moved, or unknown: paused after a migration that may have moved it. "
			   "Exit "
			   "codes: 0 all have been listed, be it none; 1 some could not be; 2 wrong usage." },
	[COMMAND_PAUSE] = { "pause", "NAME...", OPTION_WORDS_VM, "have a guest stand still",
			    "Has the guest NAME stand still, until \"ferry resume\". Its disks complete what "
			    "they have been asked for, and its NICs receive for as long as it has given them "
			    "buffers.",
			    "Exit codes: 0 it stands still; 1 it does not, as during a migration, or there "
			    "is no "
			    "such VM; 2 wrong usage." },
	[COMMAND_RESUME] = { "resume", "NAME...", OPTION_WORDS_VM,
			     "let a guest go on that is paused, or whose migration ended with unknown "
			     "outcome",
			     "Lets the guest NAME go on: after \"ferry pause\", or here after a migration "
			     "whose "
			     "outcome is unknown. Then make sure first that it does not run at the "
			     "destination.",
			     "Exit codes: 0 it goes on; 1 it was not paused, cannot go on here, or there is "
			     "no "
			     "such VM; 2 wrong usage." },
	[COMMAND_STOP] = { "stop", "NAME...", OPTION_WORDS_VM,
			   "press a guest's power button, and wait until it has shut down",
			   "Presses the power button of the guest NAME, and waits until its Ferry has ended.",
			   "Exit codes: 0 it has ended; 1 it has not, or there is no such VM; 2 wrong "
			   "usage." },
	[COMMAND_RESET] = { "reset", "NAME...", OPTION_WORDS_VM, "reset a guest, which boots again in place",
			    "Resets the guest NAME, as its reset button would: what it has not written is "
			    "lost.",
			    "Exit codes: 0 it is reset; 1 it is not, as during a migration, or there is no "
			    "such "
			    "VM; 2 wrong usage." },
	[COMMAND_CONSOLE] = { "console", "NAME", OPTION_WORDS_VM, "be at a guest's serial line",
			      "Shows what the guest NAME says on its serial line, the last 4 KiB first, and "
			      "types "
			      "there what is typed here. Ctrl-] three times within a second leaves it.",
			      "Exit codes: 0 left, or the VM has ended; 1 it has no such console: there is "
			      "no such "
			      "VM or guest, or eight others are there; 2 wrong usage." },
	[COMMAND_EVENTS] = { "events", "NAME...", OPTION_WORDS_VM,
			     "say what happens to guests, as it happens",
			     "Says what happens to each guest NAME, a line each: the time, the VM, the "
			     "event.",
			     "Events are READY (it is listened), STOP, RESUME, RESET, POWERDOWN (its power "
			     "button is "
			     "pressed), MIGRATION (one has begun or ended) and SHUTDOWN. Exit codes: 0 all "
			     "VMs have "
			     "ended; 1 some VM could not be asked; 2 wrong usage." },
	[COMMAND_NIC] = { "nic", "NAME", OPTION_WORDS_VM, "say how a guest's NICs are, and what it has set",
			  "Says of each NIC of the guest NAME how it is: the mode that it runs in and why, "
			  "link, "
			  "features, queues with their counters, and in words all that the guest has set "
			  "over the "
			  "control queue.",
			  "Exit codes: 0 it has been said; 1 it has not: there is no such VM, its guest is "
			  "not here "
			  "yet, or a NIC does not answer; 2 wrong usage." },
	[COMMAND_METRICS] = { "metrics", "NAME...", OPTION_WORDS_VM, "print numbers of VMs for Prometheus",
			      "Prints numbers of each VM NAME in the text format of Prometheus: the guest's "
			      "state "
			      "and size, migrations by their outcome, and counters of the NICs' queues.",
			      "Exit codes: 0 those of all VMs; 1 some VM did not answer, and those of the "
			      "others are "
			      "printed; 2 wrong usage." },
	[COMMAND_STATUS] = { "status", "NAME...", OPTION_WORDS_VM,
			     "say how far a migration is, or how it has ended",
			     "Says how far the migration of the guest NAME is, or how the last one has "
			     "ended.",
			     "Exit codes: 0 it has been said, whatever it was; 1 no such VM, or it has ended "
			     "meanwhile; 2 wrong usage." },
	[COMMAND_CANCEL] = { "cancel", "NAME", OPTION_WORDS_VM, "call off a migration that is under way",
			     "Calls off the migration of the guest NAME, and waits for its end.",
			     "Exit codes: 0 the guest goes on here; 1 it was too late and the guest has "
			     "moved, or "
			     "there was no migration; 2 wrong usage; 5 the outcome is unknown." },
	[COMMAND_TUNE] = { "tune", "NAME", OPTION_WORDS_VM,
			   "change what a migration that is under way may take",
			   "Changes what the migration of the guest NAME that is under way may take.",
			   "Exit codes: 0 it holds from now on; 1 no migration is under way; 2 wrong "
			   "usage." },
	[COMMAND_REPORT] = { "report", "FILE", OPTION_WORDS_FILE, "draw the report of a migration",
			     "Draws the report in FILE, as \"ferry migrate --report FILE\" has written it, "
			     "as an "
			     "SVG picture to stdout.",
			     NULL },
	[COMMAND_COMPLETION] = { "completion", "SHELL", "bash zsh fish",
				 "print what a shell completes the command line with",
				 "Prints completions for SHELL: bash, zsh or fish. \"meson install\" and "
				 "packages put "
				 "them where the shell finds them; in a bash without these:\n\n"
				 "  source <(ferry completion bash)",
				 NULL },
	[COMMAND_VERSION] = { "version", NULL, NULL, "print the version", NULL, NULL },
	[COMMAND_HELP] = { "help", "[COMMAND]", OPTION_WORDS_COMMAND, "say this, or more about one command",
			   NULL, NULL },
};
