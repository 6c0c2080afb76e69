/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu": the CPU features that guests can have on this host, or on several. */
#include "vmm/cpu_command.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/config.h"
#include "vmm/control/commands.h"
#include "vmm/option.h"
#include "vmm/vm.h"
#include "vmm/x86/cpu_baseline.h"

int cpu_command_host(struct cpuid_offer *offer, struct error *err)
{
	struct vm vm;
	int ret = vm_begin(&vm, CONFIG_MIN_MEM, err);

	if (ret == 0)
		ret = vm_frame(&vm, CONFIG_KVM, 1, err);
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
	struct option_line line;
	struct option_item item;
	struct error err = { 0 };
	int ret, n = 0;

	option_begin(&line, COMMAND_CPU, argc, argv);
	while ((ret = option_next(&line, &item, &err)) == 1)
		argv[n++] = item.value;
	if (ret < 0)
		return client_usage("cpu", &err);
	ret = n ? cpu_command_common(&offer, n, argv, &err) : cpu_command_host(&offer, &err);
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
