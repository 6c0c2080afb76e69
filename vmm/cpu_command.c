/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu": the CPU features that guests can have on this host, or on several. */
#include "vmm/cpu_command.h"

#include <errno.h>

#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/vm.h"
#include "vmm/x86/cpu_baseline.h"

void command_help_cpu(FILE *out)
{
	fprintf(out,
		"usage: ferry cpu [FILE...]\n\n"
		"Prints the CPU features that a guest can have on this host. With files of several hosts, "
		"what these have in\n"
		"common; a guest that is started with it can move between them:\n\n"
		"  hostA$ ferry cpu > a.cpu\n"
		"  hostB$ ferry cpu > b.cpu\n"
		"  hostA$ ferry cpu a.cpu b.cpu > common.cpu\n"
		"  hostA$ ferry run --cpu baseline=common.cpu ...\n\n"
		"For a FILE there can be x86-64-v2, x86-64-v3 or x86-64-v4, a level of the x86-64 psABI. "
		"These lack what\n"
		"kernels use against faults of CPUs: a file of the hosts' own is better.\n");
}

/* Asks KVM, by a VM that never runs. */
static int cpu_command_host(struct cpuid_offer *offer, struct error *err)
{
	struct vm vm;
	int ret = vm_frame(&vm, CONFIG_MIN_MEM, 1, err);

	if (ret == 0)
		vm_get_cpu(&vm, offer);
	vm_destroy(&vm);
	return ret;
}

static int cpu_command_common(struct cpuid_offer *offer, int n, char **files, struct error *err)
{
	int ret = cpu_baseline_load(offer, files[0], err);

	for (int i = 1; ret == 0 && i < n; i++) {
		struct cpuid_offer other;

		ret = cpu_baseline_load(&other, files[i], err);
		if (ret == 0)
			ret = cpu_baseline_intersect(offer, &other, err);
	}
	return ret;
}

int command_cpu(int argc, char **argv)
{
	char text[CPU_BASELINE_TEXT_MAX];
	struct cpuid_offer offer;
	struct error err = { 0 };
	int ret;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-') {
			error_add(&err, "no option \"%s\"", argv[i]);
			return client_usage("cpu", &err);
		}
	}
	ret = argc > 1 ? cpu_command_common(&offer, argc - 1, argv + 1, &err)
		       : cpu_command_host(&offer, &err);
	if (ret < 0) {
		log_error("%s", err.text);
		return VM_EXIT_ERROR;
	}
	cpu_baseline_print(&offer, text);
	fputs(text, stdout);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return VM_EXIT_ERROR;
}
