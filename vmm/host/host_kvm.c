/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM: a VM made and taken down again, and what the modules' parameters say. */
#include "vmm/host/host_kvm.h"

#include <errno.h>
#include <stdlib.h>

/* The descriptions of the first CPU are within these bytes. */
#define HOST_CPUINFO_MAX 16384u

/* The modules, with the flag of a CPU that each needs, and its parameter that says whether the hardware
 * translates guests' addresses. */
static const struct host_kvm_module {
	const char *name, *flag, *paging;
} host_kvm_modules[] = {
	{ "kvm_intel", "vmx", "ept" },
	{ "kvm_amd", "svm", "npt" },
};

/* NULL: neither is loaded. */
static const struct host_kvm_module *host_kvm_find(const struct host_look *look)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(host_kvm_modules); i++) {
		if (host_exists("%s/module/%s", look->sys, host_kvm_modules[i].name))
			return &host_kvm_modules[i];
	}
	return NULL;
}

/* What to do beyond what the reason says, where there is no KVM: @ret is the error of opening it. */
static const char *host_kvm_advice(const struct host_look *look, int ret)
{
	char *cpuinfo = ret == -ENOENT || ret == -ENODEV || ret == -ENXIO ? malloc(HOST_CPUINFO_MAX) : NULL;
	const char *advice = "";
	bool can = false;

	if (!cpuinfo)
		return advice;
	if (host_read(cpuinfo, HOST_CPUINFO_MAX, "%s/cpuinfo", look->proc) == 0) {
		for (unsigned int i = 0; i < ARRAY_SIZE(host_kvm_modules); i++)
			can |= host_has_word(cpuinfo, host_kvm_modules[i].flag);
		if (!can)
			advice = "the CPU shows neither vmx nor svm: switch virtualization on in the "
				 "machine's firmware, or, where this host is a VM itself, nested "
				 "virtualization in the host below";
	}
	free(cpuinfo);
	return advice;
}

static void host_kvm_check_paging(struct host_report *r, const struct host_look *look,
				  const struct host_kvm_module *module)
{
	char value[8];

	if (host_read(value, sizeof(value), "%s/module/%s/parameters/%s", look->sys, module->name,
		      module->paging) < 0)
		return;
	if (value[0] == 'Y' || value[0] == '1')
		host_report_add(r, HOST_OK, "paging", "", "the CPU translates guests' addresses (%s)",
				module->paging);
	else
		host_report_add(
			r, HOST_WARN, "paging",
			"load the module with this parameter on, if the CPU can do it",
			"the kernel translates guests' addresses (%s.%s is off): guests are slow, and "
			"their memory takes seconds to be set up",
			module->name, module->paging);
}

void host_kvm_check(struct host_report *r, const struct host_look *look)
{
	const struct host_kvm_module *module = host_kvm_find(look);
	struct cpuid_offer *cpu = &r->facts.cpu;
	struct error err = { 0 };
	int ret = look->probe->machine(cpu, &err);

	if (ret < 0) {
		host_report_add(r, HOST_FAIL, "kvm", host_kvm_advice(look, ret), "%s", err.text);
		return;
	}
	r->facts.has_cpu = true;
	ret = look->probe->trial(&err);
	if (ret < 0)
		host_report_add(r, HOST_FAIL, "kvm",
				ret == -ENOTSUP ? "take a host whose CPU runs guests itself: this KVM "
						  "emulates what they execute"
						: "",
				"%s", err.text);
	else
		host_report_add(r, HOST_OK, "kvm", "", "a VM can be made, and has all that Ferry needs%s%s",
				module ? ": " : "", module ? module->name : "");
	if (module)
		host_kvm_check_paging(r, look, module);
	host_report_add(r, HOST_INFO, "cpu", "",
			"%s, %u bits of address; \"ferry cpu\" prints the features that a guest can have",
			cpu->vendor[0] ? cpu->vendor : "no vendor", cpu->address_bits);
}
