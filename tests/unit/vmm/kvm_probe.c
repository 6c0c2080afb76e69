/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest on bare KVM calls: reads a register, writes memory, writes a port, and is woken by an interrupt. */
#define _GNU_SOURCE
#include "tests/unit/vmm/kvm_probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_MEM      0x10000u
#define PROBE_CODE     0x1000u
#define PROBE_GDT      0x500u
#define PROBE_IDT      0x3000u
#define PROBE_IDTR     0x2f00u
#define PROBE_HANDLER  0x4000u
#define PROBE_VECTOR   0x40u
#define PROBE_WORD     0x2000u
#define PROBE_REGISTER 0xd0000000u
#define PROBE_PORT     0x10u
#define PROBE_VALUE    0x5au
#define PROBE_APIC     0xfee00000u
/* Enough for a guest of some ten instructions, on a machine however slow. */
#define PROBE_S 30u

struct probe_vm {
	int report; /* The child's end of the pipe. */
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *mem;
};

/* Ends the child: its parent reads @format. */
static void __attribute__((format(printf, 2, 3), noreturn))
probe_cannot(const struct probe_vm *p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vdprintf(p->report, format, args);
	va_end(args);
	_exit(1);
}

static int probe_ioctl(const struct probe_vm *p, int fd, unsigned long request, const char *name, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		probe_cannot(p, "%s: %s", name, strerror(errno));
	return ret;
}

#define PROBE_IOCTL(p, fd, request, arg) probe_ioctl(p, fd, request, #request, arg)

/* Capabilities that no Ferry runs without: vmm/kvm.c and vmm/x86/cpu.c. */
static void probe_caps(const struct probe_vm *p)
{
	static const struct {
		int cap;
		const char *name;
	} caps[] = {
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
		{ KVM_CAP_IRQCHIP, "IRQCHIP" },
		{ KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING" },
		{ KVM_CAP_IRQFD, "IRQFD" },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
		{ KVM_CAP_MP_STATE, "MP_STATE" },
		{ KVM_CAP_SYNC_MMU, "SYNC_MMU" },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
		{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "DESTROY_MEMORY_REGION_WORKS" },
		{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
		{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR" },
		{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
		{ KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ" },
		{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
		{ KVM_CAP_DEBUGREGS, "DEBUGREGS" },
		{ KVM_CAP_XSAVE, "XSAVE" },
		{ KVM_CAP_XCRS, "XCRS" },
		{ KVM_CAP_SREGS2, "SREGS2" },
		{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
	};

	if (ioctl(p->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		probe_cannot(p, "/dev/kvm is not KVM, or none of version %d", KVM_API_VERSION);
	for (unsigned int i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (ioctl(p->kvm, KVM_CHECK_EXTENSION, caps[i].cap) <= 0)
			probe_cannot(p, "KVM_CAP_%s is missing", caps[i].name);
	}
	if (!(ioctl(p->kvm, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME))
		probe_cannot(p, "KVM_CLOCK_REALTIME is missing");
}

static void probe_create(struct probe_vm *p)
{
	uint64_t identity = 0xfffbc000;
	struct kvm_userspace_memory_region region = { .memory_size = PROBE_MEM };
	void *map;

	do {
		p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	} while (p->vm < 0 && errno == EINTR);
	if (p->vm < 0)
		probe_cannot(p, "KVM_CREATE_VM: %s", strerror(errno));
	PROBE_IOCTL(p, p->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul) < 0)
		probe_cannot(p, "KVM_SET_TSS_ADDR: %s", strerror(errno));
	PROBE_IOCTL(p, p->vm, KVM_CREATE_IRQCHIP, NULL);
	map = mmap(NULL, PROBE_MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert(map != MAP_FAILED);
	p->mem = map;
	region.userspace_addr = (uintptr_t)map;
	PROBE_IOCTL(p, p->vm, KVM_SET_USER_MEMORY_REGION, &region);
	p->vcpu = PROBE_IOCTL(p, p->vm, KVM_CREATE_VCPU, NULL);
	map = mmap(NULL, (size_t)PROBE_IOCTL(p, p->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL), PROT_READ | PROT_WRITE,
		   MAP_SHARED, p->vcpu, 0);
	if (map == MAP_FAILED)
		probe_cannot(p, "mmap of a vCPU: %s", strerror(errno));
	p->run = map;
}

static void probe_set_cpuid(const struct probe_vm *p)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };

	PROBE_IOCTL(p, p->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
	PROBE_IOCTL(p, p->vcpu, KVM_SET_CPUID2, &cpuid);
}

/* Sets protected mode of 32 bits, flat. */
static void probe_set_registers(const struct probe_vm *p)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0, 0x00cf93000000ffff };
	const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1
	};
	struct kvm_regs regs = { .rip = PROBE_CODE, .rflags = 2, .rsp = PROBE_MEM };
	struct kvm_sregs sregs;

	memcpy(p->mem + PROBE_GDT, gdt, sizeof(gdt));
	PROBE_IOCTL(p, p->vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs = sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cs.selector = 0x08;
	sregs.cs.type = 11;
	sregs.gdt = (struct kvm_dtable){ .base = PROBE_GDT, .limit = sizeof(gdt) - 1 };
	sregs.cr0 = 0x31;
	PROBE_IOCTL(p, p->vcpu, KVM_SET_SREGS, &sregs);
	PROBE_IOCTL(p, p->vcpu, KVM_SET_REGS, &regs);
}

static void probe_put_code(const struct probe_vm *p)
{
	/*
	 * mov eax, [PROBE_REGISTER]; mov [PROBE_WORD], eax; the local APIC on; lidt; out PROBE_PORT, eax;
	 * sti; again: hlt; jmp again
	 */
	static const uint8_t code[] = { 0xa1, 0x00, 0x00, 0x00, 0xd0, 0xa3, 0x00, 0x20, 0x00, 0x00, 0xc7,
					0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, 0x0f, 0x01,
					0x1d, 0x00, 0x2f, 0x00, 0x00, 0xe7, 0x10, 0xfb, 0xf4, 0xeb, 0xfd };
	/* mov eax, PROBE_VECTOR; out PROBE_PORT, eax */
	static const uint8_t handler[] = { 0xb8, PROBE_VECTOR, 0x00, 0x00, 0x00, 0xe7, 0x10 };
	static const uint8_t idtr[] = { 0xff, 0x07, 0x00, 0x30, 0x00, 0x00 };
	const uint64_t gate = PROBE_HANDLER | 0x08ull << 16 | 0x8e00ull << 32;

	memcpy(p->mem + PROBE_CODE, code, sizeof(code));
	memcpy(p->mem + PROBE_HANDLER, handler, sizeof(handler));
	memcpy(p->mem + PROBE_IDTR, idtr, sizeof(idtr));
	memcpy(p->mem + PROBE_IDT + PROBE_VECTOR * sizeof(gate), &gate, sizeof(gate));
}

/* Runs the guest until it writes to PROBE_PORT. */
static uint32_t probe_run(const struct probe_vm *p)
{
	const struct kvm_run *run = p->run;
	const uint32_t value = PROBE_VALUE;
	uint32_t out;

	for (;;) {
		if (ioctl(p->vcpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			probe_cannot(p, "KVM_RUN: %s", strerror(errno));
		}
		if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write &&
		    run->mmio.phys_addr == PROBE_REGISTER) {
			memcpy(p->run->mmio.data, &value, sizeof(value));
			continue;
		}
		if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
		    run->io.port != PROBE_PORT || run->io.size != sizeof(out))
			probe_cannot(p, "KVM_RUN ends with exit %u", run->exit_reason);
		memcpy(&out, (const uint8_t *)run + run->io.data_offset, sizeof(out));
		return out;
	}
}

static void __attribute__((noreturn)) probe_child(int report)
{
	struct probe_vm p = { .report = report };
	struct kvm_msi msi = { .address_lo = PROBE_APIC, .data = PROBE_VECTOR };
	uint32_t word;

	/* The default action of SIGALRM ends a KVM_RUN that does not come back. */
	alarm(PROBE_S);
	p.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p.kvm < 0) {
		assert(errno != EMFILE && errno != ENFILE);
		probe_cannot(&p, "/dev/kvm: %s", strerror(errno));
	}
	probe_caps(&p);
	probe_create(&p);
	probe_set_cpuid(&p);
	probe_set_registers(&p);
	probe_put_code(&p);
	if (probe_run(&p) != PROBE_VALUE)
		probe_cannot(&p, "a guest reads another value than KVM was given");
	memcpy(&word, p.mem + PROBE_WORD, sizeof(word));
	if (word != PROBE_VALUE)
		probe_cannot(&p, "what a guest writes does not arrive in memory");
	PROBE_IOCTL(&p, p.vm, KVM_SIGNAL_MSI, &msi);
	if (probe_run(&p) != PROBE_VECTOR)
		probe_cannot(&p, "an interrupt does not arrive");
	_exit(0);
}

/* Reads what the child says until it ends, and says itself what a signal means that ended it. */
static void probe_collect(pid_t child, int fd, char *reason, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int status;

	while ((n = read(fd, reason + len, size - 1 - len)) > 0 || (n < 0 && errno == EINTR))
		len += n > 0 ? (size_t)n : 0;
	reason[len] = 0;
	while (waitpid(child, &status, 0) < 0)
		assert(errno == EINTR);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(reason, size, "KVM_RUN does not come back within %u s", PROBE_S);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(reason, size, "a seccomp filter ends who uses it");
	else
		assert(WIFEXITED(status) && (WEXITSTATUS(status) == 0) == (len == 0));
}

const char *kvm_lacks(void)
{
	static char reason[128];
	static bool known;
	int fds[2];
	pid_t child;

	if (known)
		return reason[0] ? reason : NULL;
	if (pipe(fds) < 0 || (child = fork()) < 0) {
		perror("a child to look at KVM");
		abort();
	}
	if (child == 0) {
		close(fds[0]);
		probe_child(fds[1]);
	}
	close(fds[1]);
	probe_collect(child, fds[0], reason, sizeof(reason));
	close(fds[0]);
	known = true;
	if (reason[0])
		fprintf(stderr, "skipped without a KVM that runs a guest: %s\n", reason);
	return reason[0] ? reason : NULL;
}
