/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM on the host's real KVM, with guests of a few instructions. Skipped where there is no /dev/kvm. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/vm.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/platform.h"

#define MEM       MIB(16)
#define CODE      0x100000u
#define PROBE_IO  0x10u       /* 4 bytes: what the guest writes arrives in struct probe */
#define PROBE_MEM 0xd0000000u /* reads give 1, 2, 3, ... */
#define WAIT_S    60

/* What the guest talks to. */
struct probe {
	struct vm *vm;
	sem_t written; /* once for each write */
	uint32_t value;
	uint32_t n_reads;
	uint32_t pause_at; /* this read ends only when somebody pauses the VM */
	sem_t reading;
};

static void probe_io_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct probe *p = opaque;

	__atomic_store_n(&p->value, get_le32(data), __ATOMIC_SEQ_CST);
	sem_post(&p->written);
}

static void probe_io_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	memset(data, 0, len);
}

static void probe_mem_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct probe *p = opaque;
	uint32_t n = ++p->n_reads;
	bool paused = n != p->pause_at;

	memset(data, 0, len);
	memcpy(data, &n, 4);
	if (!paused)
		sem_post(&p->reading);
	while (!paused) {
		pthread_mutex_lock(&p->vm->lock);
		paused = p->vm->paused;
		pthread_mutex_unlock(&p->vm->lock);
	}
}

static void probe_mem_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
}

static const struct bus_ops probe_io_ops = { .read = probe_io_read, .write = probe_io_write };
static const struct bus_ops probe_mem_ops = { .read = probe_mem_read, .write = probe_mem_write };

static void wait_for(sem_t *sem)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(sem, &ts), 0);
}

static uint32_t next_value(struct probe *p)
{
	wait_for(&p->written);
	return __atomic_load_n(&p->value, __ATOMIC_SEQ_CST);
}

struct fixture {
	struct vm vm;
	struct probe probe;
};

static void need_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip();
	close(fd);
}

/* A VM whose first vCPU is about to run @code in 32-bit mode, threads started. */
static struct fixture *make_sized(const void *code, size_t len, uint64_t mem, unsigned int cpus,
				  bool long_mode)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const struct boot_entry entry = { .rip = CODE, .info = 0x1234, .long_mode = long_mode };
	struct error err = { 0 };
	struct fixture *f = calloc(1, sizeof(*f));
	int ret;

	need_kvm();
	f->probe.vm = &f->vm;
	sem_init(&f->probe.written, 0, 0);
	sem_init(&f->probe.reading, 0, 0);
	ret = vm_init(&f->vm, mem, cpus, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(bus_add(&f->vm.pio, PROBE_IO, 4, &probe_io_ops, &f->probe), 0);
	assert_int_equal(bus_add(&f->vm.mmio, PROBE_MEM, 4, &probe_mem_ops, &f->probe), 0);
	assert_int_equal(platform_init(&f->vm, &err), 0);
	assert_int_equal(memory_write(&f->vm.memory, LAYOUT_GDT, gdt, sizeof(gdt)), 0);
	assert_int_equal(memory_write(&f->vm.memory, CODE, code, len), 0);
	ret = cpu_set_entry(&f->vm.vcpus[0], &entry, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(vm_start(&f->vm, &err), 0);
	return f;
}

static struct fixture *make(const void *code, size_t len)
{
	return make_sized(code, len, MEM, 1, false);
}

static void destroy(struct fixture *f)
{
	vm_destroy(&f->vm);
	free(f);
}

static uint32_t guest_u32(struct fixture *f, uint64_t gpa)
{
	return __atomic_load_n((uint32_t *)memory_at(&f->vm.memory, gpa, 4), __ATOMIC_SEQ_CST);
}

/* inc ecx; mov [0x200000], ecx; mov eax, ecx; out PROBE_IO, eax; again */
static const uint8_t counter_code[] = { 0x41, 0x89, 0x0d, 0x00, 0x00, 0x20, 0x00,
					0x89, 0xc8, 0xe7, 0x10, 0xeb, 0xf3 };

/* again: inc dword [0x200000]; jmp again: never leaves the guest by itself */
static const uint8_t busy_code[] = { 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8 };

static void test_start_state(void **state)
{
	/* mov eax, ebx; out PROBE_IO, eax; hlt */
	static const uint8_t code[] = { 0x89, 0xd8, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make(code, sizeof(code));

	vm_resume(&f->vm);
	assert_int_equal(next_value(&f->probe), 0x1234);
	destroy(f);
}

static void test_pause_resume(void **state)
{
	struct fixture *f = make(counter_code, sizeof(counter_code));

	vm_resume(&f->vm);
	for (uint32_t i = 1; i <= 50; i++) {
		uint32_t stopped;

		wait_for(&f->probe.written);
		vm_pause(&f->vm);
		vm_pause(&f->vm);
		stopped = f->probe.value;
		assert_int_equal(f->vm.n_parked, 1);
		assert_in_range(guest_u32(f, 0x200000), stopped, stopped + 1);
		sched_yield();
		assert_int_equal(f->probe.value, stopped);
		while (sem_trywait(&f->probe.written) == 0)
			;
		vm_resume(&f->vm);
		assert_true(next_value(&f->probe) > stopped);
	}
	destroy(f);
}

static void wait_progress(struct fixture *f)
{
	uint32_t v = guest_u32(f, 0x200000);
	uint64_t end = now_ns() + WAIT_S * 1000000000ull;

	while (guest_u32(f, 0x200000) == v)
		assert_true(now_ns() < end);
}

static void test_pause_busy(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));

	vm_resume(&f->vm);
	for (unsigned int i = 0; i < 20; i++) {
		uint32_t v;

		wait_progress(f);
		vm_pause(&f->vm);
		v = guest_u32(f, 0x200000);
		usleep(1000); /* there is no event for what must not happen */
		assert_int_equal(guest_u32(f, 0x200000), v);
		vm_resume(&f->vm);
	}
	/* Kicks by themselves disturb nothing. */
	for (unsigned int i = 0; i < 100; i++)
		vcpu_kick(&f->vm.vcpus[0]);
	wait_progress(f);
	destroy(f);
}

/* The register of a read that was being served when the pause came holds its value when the pause returns. */
static void test_pause_in_access(void **state)
{
	/* again: mov eax, [PROBE_MEM]; inc ecx; jmp again */
	static const uint8_t code[] = { 0xa1, 0x00, 0x00, 0x00, 0xd0, 0x41, 0xeb, 0xf8 };
	struct fixture *f = make(code, sizeof(code));
	struct kvm_regs regs;

	f->probe.pause_at = 7;
	vm_resume(&f->vm);
	wait_for(&f->probe.reading);
	vm_pause(&f->vm);
	assert_int_equal(ioctl(f->vm.vcpus[0].fd, KVM_GET_REGS, &regs), 0);
	assert_int_equal(f->probe.n_reads, 7);
	assert_int_equal(regs.rax, 7);
	assert_in_range(regs.rcx, 6, 7);
	destroy(f);
}

static void test_throttle(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	uint64_t end = now_ns() + WAIT_S * 1000000000ull;
	bool seen = false;

	vm_resume(&f->vm);
	assert_int_equal(vm_throttle(&f->vm, 80), 0);
	while (!seen) {
		pthread_mutex_lock(&f->vm.lock);
		seen = f->vm.throttled && f->vm.n_parked == 1;
		pthread_mutex_unlock(&f->vm.lock);
		assert_true(now_ns() < end);
	}
	for (unsigned int i = 0; i < 5; i++) {
		uint32_t v;

		assert_int_equal(vm_throttle(&f->vm, 50 + i), 0);
		wait_progress(f);
		vm_pause(&f->vm);
		v = guest_u32(f, 0x200000);
		usleep(2 * VM_THROTTLE_PERIOD_NS / 1000);
		assert_int_equal(guest_u32(f, 0x200000), v);
		vm_resume(&f->vm);
	}
	assert_int_equal(vm_throttle(&f->vm, 0), 0);
	assert_false(f->vm.throttled);
	wait_progress(f);
	assert_int_equal(vm_throttle(&f->vm, 99), 0);
	vm_end(&f->vm, VM_EXIT_POWER_OFF);
	assert_int_equal(vm_throttle(&f->vm, 0), 0);
	destroy(f);
}

/* How a guest ends its VM, and the first reason stays. */
static void test_ends(void **state)
{
	static const struct {
		enum vm_exit exit;
		uint16_t port;
		uint8_t value;
	} cases[] = {
		{ VM_EXIT_POWER_OFF, LAYOUT_SLEEP_CONTROL, 0x20 | LAYOUT_SLP_TYP_S5 << 2 },
		{ VM_EXIT_RESET, LAYOUT_RESET_PORT, LAYOUT_RESET_VALUE },
		{ VM_EXIT_CRASHED, LAYOUT_PVPANIC_PORT, 1 },
		{ VM_EXIT_CRASHED, 0, 0 }, /* triple fault */
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t port = cases[i].port;
		/* S1, another reset value and "crash kernel loaded" first: they end nothing. Then the case's,
		 * then ud2 without an IDT. */
		const uint8_t code[] = {
			0x66, 0xba,           0x00, 0x06, 0xb0, 0x24,          0xee,
			0x66, 0xba,           0x02, 0x06, 0xb0, 0x00,          0xee,
			0x66, 0xba,           0x05, 0x05, 0xb0, 0x02,          0xee,
			0xec, 0xe7,           0x10, 0x66, 0xba, (uint8_t)port, (uint8_t)(port >> 8),
			0xb0, cases[i].value, 0xee, 0x0f, 0x01, 0x1d,          0x00,
			0x00, 0x30,           0x00, 0x0f, 0x0b
		};
		struct fixture *f = make(code, sizeof(code));

		log_level = (enum log_level) - 1;
		vm_resume(&f->vm);
		assert_int_equal(loop_run(&f->vm.loop), 0);
		log_level = LOG_INFO;
		assert_int_equal(next_value(&f->probe) & 0xff, 3);
		assert_int_equal(f->vm.exit, cases[i].exit);
		assert_true(vm_ended(&f->vm));
		vm_end(&f->vm, VM_EXIT_ERROR);
		assert_int_equal(f->vm.exit, cases[i].exit);
		vm_pause(&f->vm); /* comes back although the vCPU has gone */
		vm_stop(&f->vm);
		vm_pause(&f->vm);
		destroy(f);
	}
}

/* String I/O: rep outsd of three values, and one to a port where nobody answers. */
static void test_string_io(void **state)
{
	/* mov esi, 0x200000; mov ecx, 3; mov edx, PROBE_IO; cld; rep outsd; in al, 0x99; out PROBE_IO, eax;
	 * hlt */
	static const uint8_t code[] = { 0xbe, 0x00, 0x00, 0x20, 0x00, 0xb9, 0x03, 0x00, 0x00,
					0x00, 0xba, 0x10, 0x00, 0x00, 0x00, 0xfc, 0xf3, 0x6f,
					0x31, 0xc0, 0xe4, 0x99, 0xe7, 0x10, 0xf4 };
	const uint32_t values[] = { 11, 22, 33 };
	struct fixture *f = make(code, sizeof(code));

	assert_int_equal(memory_write(&f->vm.memory, 0x200000, values, sizeof(values)), 0);
	vm_resume(&f->vm);
	for (unsigned int i = 0; i < 3; i++)
		wait_for(&f->probe.written);
	assert_int_equal(next_value(&f->probe), 0xff);
	destroy(f);
}

static void test_topology(void **state)
{
	/* mov eax, 1; cpuid; mov [0x200008], ebx; mov eax, 0xb; mov ecx, 1; cpuid; mov [0x200000], ebx;
	 * mov [0x200004], ecx; out PROBE_IO, eax; hlt: the first vCPU, the others wait for a SIPI */
	static const uint8_t code[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0x0f, 0xa2, 0x89, 0x1d, 0x08,
					0x00, 0x20, 0x00, 0xb8, 0x0b, 0x00, 0x00, 0x00, 0xb9, 0x01,
					0x00, 0x00, 0x00, 0x0f, 0xa2, 0x89, 0x1d, 0x00, 0x00, 0x20,
					0x00, 0x89, 0x0d, 0x04, 0x00, 0x20, 0x00, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make_sized(code, sizeof(code), MEM, 3, false);

	vm_resume(&f->vm);
	assert_int_equal(next_value(&f->probe), 2); /* bits of an id */
	vm_pause(&f->vm);
	assert_int_equal(f->vm.n_parked, 3);
	assert_int_equal(guest_u32(f, 0x200000), 3);       /* cores */
	assert_int_equal(guest_u32(f, 0x200004), 0x201);   /* level 1, of cores */
	assert_int_equal(guest_u32(f, 0x200008) >> 16, 4); /* ids of the socket; this one's is 0 */
	destroy(f);
}

/* Linux 6.11. */
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif

/* What is entered ahead of time is there, what was not asked for is not, and the guest runs. Where KVM has no
 * such call it still runs. */
static void test_prefault(void **state)
{
	/* again: in eax, PROBE_IO; out PROBE_IO, eax; jmp again */
	static const uint8_t code[] = { 0xe5, 0x10, 0xe7, 0x10, 0xeb, 0xfa };
	struct fixture *f = make(code, sizeof(code));
	int fd = f->vm.memory.fd;

	vm_prefault(&f->vm, MIB(8), MIB(4));
	if (ioctl(f->vm.fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) > 0) {
		assert_int_equal(lseek(fd, MIB(4), SEEK_DATA), MIB(8));
		assert_int_equal(lseek(fd, MIB(8), SEEK_HOLE), MIB(12));
	}
	vm_resume(&f->vm);
	wait_for(&f->probe.written);
	vm_pause(&f->vm);
	destroy(f);
}

/* Only what is there already, up to the bound: no hole is filled. */
static void test_prefault_present(void **state)
{
	static const uint8_t code[] = { 0xe5, 0x10, 0xe7, 0x10, 0xeb, 0xfa };
	const uint64_t size = MEMORY_LOW_MAX + MIB(4);
	struct fixture *f = make_sized(code, sizeof(code), size, 1, false);
	static const uint64_t bounds[] = { 0, PAGE_SIZE, UINT64_MAX };
	int fd = f->vm.memory.fd;

	assert_int_equal(memory_write(&f->vm.memory, MIB(8), "here", 4), 0);
	assert_int_equal(memory_write(&f->vm.memory, GIB(4) + MIB(4) - 4, "here", 4), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bounds); i++) {
		vm_prefault_present(&f->vm, bounds[i]);
		assert_int_equal(lseek(fd, MIB(8), SEEK_HOLE), MIB(8) + PAGE_SIZE);
		assert_int_equal(lseek(fd, MIB(9), SEEK_DATA), size - PAGE_SIZE);
	}
	vm_resume(&f->vm);
	wait_for(&f->probe.written);
	vm_pause(&f->vm);
	destroy(f);
}

#define DIRTY_HIGH GIB(4)

/* Pages written by the guest, below and above the hole; the log empties itself. */
static void test_dirty_log(void **state)
{
	/* 64-bit. again: in eax, PROBE_IO; mov [0x205000], eax; mov [0x40003000], eax; out PROBE_IO, eax; jmp
	 * again */
	static const uint8_t code[] = { 0xe5, 0x10, 0x89, 0x04, 0x25, 0x00, 0x50, 0x20, 0x00, 0x89,
					0x04, 0x25, 0x00, 0x30, 0x00, 0x40, 0xe7, 0x10, 0xeb, 0xec };
	const uint64_t size = MEMORY_LOW_MAX + MIB(4), high = MEMORY_LOW_MAX / PAGE_SIZE;
	const uint64_t pml4[] = { LAYOUT_PAGE_TABLE + 0x1000 + 3 };
	const uint64_t pdpt[] = { LAYOUT_PAGE_TABLE + 0x2000 + 3, LAYOUT_PAGE_TABLE + 0x3000 + 3 };
	const uint64_t pd0[] = { 0x83, MIB(2) + 0x83 }, pd1[] = { DIRTY_HIGH + 0x83 };
	struct fixture *f = make_sized(code, sizeof(code), size, 1, true);
	uint64_t *bitmap = calloc(memory_bitmap_words(&f->vm.memory), 8);
	struct memory *m = &f->vm.memory;

	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE, pml4, sizeof(pml4)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x1000, pdpt, sizeof(pdpt)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x2000, pd0, sizeof(pd0)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x3000, pd1, sizeof(pd1)), 0);
	vm_resume(&f->vm);
	wait_for(&f->probe.written);
	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(vm_dirty_log_start(&f->vm), 0);
		while (sem_trywait(&f->probe.written) == 0)
			;
		wait_for(&f->probe.written);
		wait_for(&f->probe.written);
		vm_pause(&f->vm);
		memset(bitmap, 0, memory_bitmap_words(m) * 8);
		bitmap[0] = 1;
		assert_int_equal(vm_dirty_log(&f->vm, bitmap), 0);
		assert_int_equal(bitmap[0] & 1, 1);
		assert_true(bitmap[0x205 / 64] >> 0x205 % 64 & 1);
		assert_true(bitmap[(high + 3) / 64] >> (high + 3) % 64 & 1);
		assert_false(bitmap[0x206 / 64] >> 0x206 % 64 & 1);
		assert_false(bitmap[(high + 4) / 64] >> (high + 4) % 64 & 1);
		memset(bitmap, 0, memory_bitmap_words(m) * 8);
		assert_int_equal(vm_dirty_log(&f->vm, bitmap), 0);
		for (uint64_t i = 0; i < memory_bitmap_words(m); i++)
			assert_int_equal(bitmap[i], 0);
		vm_dirty_log_stop(&f->vm);
		vm_resume(&f->vm);
	}
	free(bitmap);
	destroy(f);
}

static void put_gate(struct fixture *f, unsigned int vector, uint32_t handler)
{
	const uint64_t gate =
		(handler & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | (uint64_t)(handler >> 16) << 48;

	assert_int_equal(memory_write(&f->vm.memory, 0x3000 + vector * 8, &gate, sizeof(gate)), 0);
}

/* Local APIC on; lidt; out PROBE_IO with 1; IDLE: mov esp, 0x300000; sti; again: hlt; jmp again */
static const uint8_t irq_code[] = { 0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, 0x0f,
				    0x01, 0x1d, 0x00, 0x2f, 0x00, 0x00, 0xb8, 0x01, 0x00, 0x00, 0x00,
				    0xe7, 0x10, 0xbc, 0x00, 0x00, 0x30, 0x00, 0xfb, 0xf4, 0xeb, 0xfd };
#define IDLE (CODE + 24)

/* mov eax, @vector; out PROBE_IO, eax; end of interrupt; jmp IDLE, as not every KVM can emulate an iret */
static void put_handler(struct fixture *f, unsigned int vector)
{
	uint8_t code[] = { 0xb8, (uint8_t)vector,
			   0x00, 0x00,
			   0x00, 0xe7,
			   0x10, 0xc7,
			   0x05, 0xb0,
			   0x00, 0xe0,
			   0xfe, 0x00,
			   0x00, 0x00,
			   0x00, 0xe9,
			   0,    0,
			   0,    0 };
	uint32_t gpa = 0x8000 + vector * 32;

	put_le32(code + 18, IDLE - (gpa + (uint32_t)sizeof(code)));
	assert_int_equal(memory_write(&f->vm.memory, gpa, code, sizeof(code)), 0);
	put_gate(f, vector, gpa);
}

static void signal_irq(const struct vm_irq *irq)
{
	uint64_t one = 1;

	assert_int_equal(write(irq->fd, &one, sizeof(one)), sizeof(one));
}

static bool is_pending(const struct vm_irq *irq)
{
	struct pollfd p = { .fd = irq->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static struct fixture *make_irq(void)
{
	static const uint8_t idtr[] = { 0xff, 0x07, 0x00, 0x30, 0x00, 0x00 };
	struct fixture *f = make(irq_code, sizeof(irq_code));

	assert_int_equal(memory_write(&f->vm.memory, 0x2f00, idtr, sizeof(idtr)), 0);
	put_handler(f, 0x40);
	put_handler(f, 0x41);
	put_handler(f, 0x42);
	return f;
}

static int set_msi(struct vm *vm, struct vm_irq *irq, uint64_t addr, uint32_t data)
{
	struct vm_msi msi = { irq, addr, data };

	return vm_irq_set_msis(vm, &msi, 1);
}

static void test_irqfd(void **state)
{
	struct fixture *f = make_irq();
	struct vm_irq irqs[3];

	vm_resume(&f->vm);
	assert_int_equal(next_value(&f->probe), 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++) {
		assert_int_equal(vm_irq_init(&f->vm, &irqs[i]), 0);
		assert_int_equal(irqs[i].gsi, 24 + i);
		assert_int_equal(set_msi(&f->vm, &irqs[i], LAYOUT_LAPIC, 0x40 + i), 0);
		assert_int_equal(vm_irq_unmask(&f->vm, &irqs[i]), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++) {
		signal_irq(&irqs[i]);
		assert_int_equal(next_value(&f->probe), 0x40 + i);
	}
	/* Another message, while connected. */
	assert_int_equal(set_msi(&f->vm, &irqs[0], LAYOUT_LAPIC, 0x42), 0);
	assert_int_equal(set_msi(&f->vm, &irqs[0], LAYOUT_LAPIC, 0x42), 0);
	signal_irq(&irqs[0]);
	assert_int_equal(next_value(&f->probe), 0x42);
	/* Masked: stays pending; two become one at unmasking. */
	vm_irq_mask(&f->vm, &irqs[0]);
	vm_irq_mask(&f->vm, &irqs[0]);
	assert_false(is_pending(&irqs[0]));
	signal_irq(&irqs[0]);
	signal_irq(&irqs[0]);
	assert_true(is_pending(&irqs[0]));
	signal_irq(&irqs[1]);
	assert_int_equal(next_value(&f->probe), 0x41);
	assert_int_equal(vm_irq_unmask(&f->vm, &irqs[0]), 0);
	assert_int_equal(next_value(&f->probe), 0x42);
	/* What has been delivered is not delivered again. */
	vm_irq_mask(&f->vm, &irqs[0]);
	assert_false(is_pending(&irqs[0]));
	assert_int_equal(vm_irq_unmask(&f->vm, &irqs[0]), 0);
	signal_irq(&irqs[1]);
	assert_int_equal(next_value(&f->probe), 0x41);
	/* The one in the middle goes, the others keep theirs; its number is used again. */
	vm_irq_exit(&f->vm, &irqs[1]);
	assert_int_equal(irqs[1].fd, -1);
	vm_irq_exit(&f->vm, &irqs[1]);
	signal_irq(&irqs[2]);
	assert_int_equal(next_value(&f->probe), 0x42);
	assert_int_equal(vm_irq_init(&f->vm, &irqs[1]), 0);
	assert_int_equal(irqs[1].gsi, 25);
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++)
		vm_irq_exit(&f->vm, &irqs[i]);
	destroy(f);
}

static void test_irq_numbers_end(void **state)
{
	struct vm_irq *irqs = calloc(VM_MAX_GSI, sizeof(*irqs));
	struct fixture *f = make(busy_code, sizeof(busy_code));
	unsigned int n = 0;

	while (n < VM_MAX_GSI && vm_irq_init(&f->vm, &irqs[n]) == 0)
		n++;
	/* Files of the process may end before. */
	assert_true(n == VM_MAX_GSI - 24 || n > 100);
	assert_int_equal(irqs[n].fd, -1);
	while (n > 0)
		vm_irq_exit(&f->vm, &irqs[--n]);
	free(irqs);
	destroy(f);
}

static void test_ioeventfd(void **state)
{
	/* mov word [0xd0001000], ax; out PROBE_IO, eax; hlt */
	static const uint8_t code[] = { 0x66, 0xa3, 0x00, 0x10, 0x00, 0xd0, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make(code, sizeof(code));
	struct vm_irq doorbell;
	uint64_t v;

	assert_int_equal(vm_irq_init(&f->vm, &doorbell), 0);
	assert_int_equal(vm_add_ioeventfd(&f->vm, 0xd0001000, doorbell.fd), 0);
	assert_int_equal(vm_add_ioeventfd(&f->vm, 0xd0001000, doorbell.fd), -EEXIST);
	vm_resume(&f->vm);
	wait_for(&f->probe.written);
	assert_int_equal(read(doorbell.fd, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	vm_del_ioeventfd(&f->vm, 0xd0001000, doorbell.fd);
	vm_irq_exit(&f->vm, &doorbell);
	destroy(f);
}

static void save(struct fixture *f, void **fdt)
{
	struct error err = { 0 };
	struct state_writer w;
	uint32_t len;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	ret = vm_save(&f->vm, &w, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(state_close(&w, fdt, &len), 0);
	assert_in_range(len, 1, STATE_MAX);
}

static void describe(struct fixture *f, void **fdt)
{
	struct state_writer w;
	uint32_t len;

	assert_int_equal(state_open_writer(&w), 0);
	vm_describe(&f->vm, &w);
	assert_int_equal(state_close(&w, fdt, &len), 0);
}

static int load(struct fixture *f, const void *fdt, struct error *err, bool description)
{
	struct state_node root;
	void *packed = malloc(fdt_totalsize(fdt));
	int ret;

	*err = (struct error){ 0 };
	memcpy(packed, fdt, fdt_totalsize(fdt));
	assert_int_equal(fdt_pack(packed), 0);
	ret = state_open(&root, packed, fdt_totalsize(packed), err);
	if (ret == 0)
		ret = description ? vm_accept(&f->vm, &root) : vm_load(&f->vm, &root);
	if (ret == 0)
		ret = state_finish(&root);
	free(packed);
	return ret;
}

static void check_load(struct fixture *f, const void *fdt, bool description)
{
	struct error err;

	if (load(f, fdt, &err, description) < 0)
		fail_msg("%s", err.text);
}

/* Properties of two saves of one machine are equal, but for those in which time goes by. */
static void compare_node(const void *a, const void *b, int node_a, int node_b)
{
	int prop;

	fdt_for_each_property_offset(prop, a, node_a)
	{
		const char *name;
		int len_a, len_b;
		const char *va = fdt_getprop_by_offset(a, prop, &name, &len_a);
		const char *vb = fdt_getprop(b, node_b, name, &len_b);

		assert_non_null(vb);
		assert_int_equal(len_a, len_b);
		if (!strcmp(name, "clock") || !strcmp(name, "realtime") || !strcmp(name, "host-tsc") ||
		    !strcmp(name, "tsc-offset"))
			continue;
		for (int i = 0; i < len_a; i++) {
			if (va[i] == vb[i])
				continue;
			/* The first MSR is the TSC; 0x390 is the local APIC's current count. */
			if (!strcmp(name, "msrs") && i >= 8 && i < 16)
				continue;
			if (!strcmp(name, "lapic") && i >= 0x390 && i < 0x394)
				continue;
			fail_msg("%s differs at 0x%x: %02x, %02x", name, i, va[i] & 0xff, vb[i] & 0xff);
		}
	}
}

static void compare_saves(const void *a, const void *b, unsigned int cpus)
{
	for (unsigned int i = 0; i < cpus; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/vcpu@%x", i);
		compare_node(a, b, fdt_path_offset(a, path), fdt_path_offset(b, path));
	}
	compare_node(a, b, 0, 0);
}

static void move_memory(struct fixture *to, struct fixture *from)
{
	memcpy(memory_at(&to->vm.memory, 0, MEM), memory_at(&from->vm.memory, 0, MEM), MEM);
}

/* Registers that these guests do not use get values of their own, so that one that is not carried shows. */
static void set_registers(struct fixture *f)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} values[] = {
		{ 0x174, 0x10 },
		{ 0x3b, 0x123456 },
		{ 0x277, 0x0007040600070401 },
		{ 0x200, 0xe0000006 },
		{ 0x250, 0x0606060606060606 },
		{ 0xc0000082, 0xffffffff81000000 },
		{ 0xc0000102, 0x112233445566 },
		{ 0x4b564d05, 0 },
	};
	struct kvm_debugregs debugregs = { .db = { 0x1000, 0x2000 }, .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80, .xmm = { { 1, 2, 3, 4 } } };

	for (unsigned int i = 0; i < f->vm.n_vcpus; i++) {
		int fd = f->vm.vcpus[i].fd;

		for (unsigned int j = 0; j < ARRAY_SIZE(values); j++) {
			uint64_t msrs[3] = { 1, values[j].index, values[j].value };

			assert_int_equal(ioctl(fd, KVM_SET_MSRS, msrs), 1);
		}
		assert_int_equal(ioctl(fd, KVM_SET_DEBUGREGS, &debugregs), 0);
		assert_int_equal(ioctl(fd, KVM_SET_FPU, &fpu), 0);
	}
}

static void test_move(void **state)
{
	struct fixture *a = make_sized(counter_code, sizeof(counter_code), MEM, 2, false), *b;
	void *description, *saved, *again;
	uint32_t stopped;

	describe(a, &description);
	vm_resume(&a->vm);
	for (unsigned int i = 0; i < 20; i++)
		wait_for(&a->probe.written);
	vm_pause(&a->vm);
	set_registers(a);
	save(a, &saved);
	save(a, &again);
	compare_saves(saved, again, 2);
	free(again);
	stopped = a->probe.value;

	b = make_sized(busy_code, sizeof(busy_code), MEM, 2, false);
	check_load(b, description, true);
	move_memory(b, a);
	check_load(b, saved, false);
	save(b, &again);
	compare_saves(saved, again, 2);
	vm_resume(&b->vm);
	wait_for(&b->probe.written);
	vm_pause(&b->vm);
	assert_in_range(b->probe.value, stopped + 1, stopped + 1000000);
	assert_int_equal(a->probe.value, stopped);
	/* Nothing left out and nothing twice: the first that b wrote follows the last that a wrote. */
	assert_int_equal(guest_u32(b, 0x200000) - stopped <= b->probe.value + 1 - stopped, 1);

	/* The source can go on as if nothing had been. */
	vm_resume(&a->vm);
	wait_for(&a->probe.written);
	free(description);
	free(saved);
	free(again);
	destroy(a);
	destroy(b);
}

/* A vCPU that halted with interrupts on, and a pending one: it arrives at the destination. */
static void test_move_interrupts(void **state)
{
	struct fixture *a = make_irq(), *b;
	struct vm_irq irq;
	void *description, *saved;

	describe(a, &description);
	vm_resume(&a->vm);
	assert_int_equal(next_value(&a->probe), 1);
	assert_int_equal(vm_irq_init(&a->vm, &irq), 0);
	assert_int_equal(set_msi(&a->vm, &irq, LAYOUT_LAPIC, 0x41), 0);
	assert_int_equal(vm_irq_unmask(&a->vm, &irq), 0);
	signal_irq(&irq);
	assert_int_equal(next_value(&a->probe), 0x41);
	vm_pause(&a->vm);
	signal_irq(&irq);
	/* Masking waits until KVM has done with it. */
	vm_irq_mask(&a->vm, &irq);
	save(a, &saved);
	b = make_irq();
	check_load(b, description, true);
	move_memory(b, a);
	check_load(b, saved, false);
	vm_resume(&b->vm);
	assert_int_equal(next_value(&b->probe), 0x41);
	vm_irq_exit(&a->vm, &irq);
	free(description);
	free(saved);
	destroy(a);
	destroy(b);
}

static void *edit(const void *fdt)
{
	const int room = 65536;
	void *copy = malloc(fdt_totalsize(fdt) + (size_t)room);

	assert_int_equal(fdt_open_into(fdt, copy, (int)fdt_totalsize(fdt) + room), 0);
	return copy;
}

static void test_refusals_of_state(void **state)
{
	static const char *const props[] = { "mp-state", "events", "lapic", "xcrs", "debugregs",
					     "sregs2",   "regs",   "xsave", "msrs" };
	static const char *const vm_props[] = { "pic-master", "pic-slave", "ioapic",
						"clock",      "realtime",  "host-tsc" };
	static const uint8_t junk[8192] = { 1 };
	struct fixture *f = make(busy_code, sizeof(busy_code));
	uint8_t buf[8192];
	struct error err;
	const void *prop;
	void *saved, *bad;
	int vcpu, len;

	save(f, &saved);
	check_load(f, saved, false);
	vcpu = fdt_path_offset(saved, "/vcpu@0");
	for (unsigned int i = 0; i < ARRAY_SIZE(props) + ARRAY_SIZE(vm_props); i++) {
		const bool of_vm = i >= ARRAY_SIZE(props);
		const char *name = of_vm ? vm_props[i - ARRAY_SIZE(props)] : props[i];

		for (unsigned int how = 0; how < 3; how++) {
			int node;

			bad = edit(saved);
			node = of_vm ? 0 : fdt_path_offset(bad, "/vcpu@0");
			if (how == 0)
				assert_int_equal(fdt_delprop(bad, node, name), 0);
			else
				assert_int_equal(
					fdt_setprop(bad, node, name, junk, how == 1 ? 3 : sizeof(junk)), 0);
			assert_true(load(f, bad, &err, false) < 0);
			if (!strstr(err.text, name))
				fail_msg("\"%s\" does not say \"%s\"", err.text, name);
			free(bad);
		}
	}

	/* An MSR that is not ours, named; one value for it is not even tried. */
	bad = edit(saved);
	vcpu = fdt_path_offset(bad, "/vcpu@0");
	prop = fdt_getprop(bad, vcpu, "msrs", &len);
	memcpy(buf, prop, (size_t)len);
	put_le32(buf + 16, 0xc0000080);
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len), 0);
	assert_true(load(f, bad, &err, false) < 0);
	assert_non_null(strstr(err.text, "0xc0000080"));
	assert_int_equal(fdt_setprop(bad, vcpu, "msrs", buf, len - 1), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);

	/* A vCPU more, a property more, a vCPU less. */
	bad = edit(saved);
	assert_true(fdt_add_subnode(bad, 0, "vcpu@1") > 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);
	bad = edit(saved);
	assert_int_equal(fdt_setprop_u32(bad, fdt_path_offset(bad, "/vcpu@0"), "nested", 1), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);
	bad = edit(saved);
	assert_int_equal(fdt_del_node(bad, fdt_path_offset(bad, "/vcpu@0")), 0);
	assert_true(load(f, bad, &err, false) < 0);
	free(bad);

	/* Any content of any part: refused or taken, and the process lives. */
	for (unsigned int i = 0; i < ARRAY_SIZE(props); i++) {
		bad = edit(saved);
		vcpu = fdt_path_offset(bad, "/vcpu@0");
		fdt_getprop(bad, vcpu, props[i], &len);
		memset(buf, 0xff, sizeof(buf));
		assert_int_equal(fdt_setprop(bad, vcpu, props[i], buf, len), 0);
		if (load(f, bad, &err, false) < 0)
			assert_non_null(strstr(err.text, "vCPU 0"));
		free(bad);
	}
	check_load(f, saved, false);
	free(saved);
	destroy(f);
}

/* Where in a description's CPUID the registers of a leaf are. */
static uint32_t *find_leaf(void *fdt, uint32_t function, uint32_t index)
{
	int len;
	uint8_t *p = fdt_getprop_w(fdt, 0, "cpuid", &len);

	for (int i = 0; i + 40 <= len; i += 40) {
		if (get_le32(p + i) == function && get_le32(p + i + 4) == index)
			return (uint32_t *)(void *)(p + i + 12);
	}
	return NULL;
}

static void check_refused(struct fixture *f, void *fdt, const char *reason)
{
	struct error err;

	assert_true(load(f, fdt, &err, true) < 0);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
}

static void test_refusals_of_description(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	void *good, *bad;
	uint32_t *regs;
	uint8_t buf[16384];
	const void *prop;
	int len;

	describe(f, &good);
	check_load(f, good, true);

	bad = edit(good);
	assert_int_equal(fdt_setprop_u64(bad, 0, "memory", MEM * 2), 0);
	assert_int_equal(fdt_setprop_u32(bad, 0, "cpus", 2), 0);
	assert_int_equal(fdt_setprop_u32(bad, 0, "tsc-khz", 1000), 0);
	regs = find_leaf(bad, 1, 0);
	regs[2] |= 1u << 5;                    /* VMX: nobody offers it */
	regs[3] &= ~(1u << 26);                /* a feature less is no reason */
	find_leaf(bad, 0x7, 0)[2] |= 1u << 30; /* and one that has no name */
	find_leaf(bad, 0x80000008, 0)[0] += 8;
	/* All reasons at once. */
	check_refused(f, bad, "bytes of memory");
	check_refused(f, bad, "vCPUs");
	check_refused(f, bad, "leaf 0x1.0 ecx bit 5");
	check_refused(f, bad, "leaf 0x7.0 ecx bit 30");
	check_refused(f, bad, "physical address");
	free(bad);

	bad = edit(good);
	regs = find_leaf(bad, 7, 0);
	if (!(regs[1] >> 27 & 1)) {
		regs[1] |= 1u << 27;
		check_refused(f, bad, "CPU feature avx512er is missing");
	}
	free(bad);

	bad = edit(good);
	find_leaf(bad, 0, 0)[1] ^= 1;
	check_refused(f, bad, "vendors");
	free(bad);

	bad = edit(good);
	prop = fdt_getprop(bad, 0, "cpuid", &len);
	memcpy(buf, prop, (size_t)len);
	put_le32(buf, 0x8000000a);
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len), 0);
	check_refused(f, bad, "leaf 0x8000000a.0 is not known");
	put_le32(buf, 1);
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len), 0);
	check_refused(f, bad, "twice");
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, len - 1), 0);
	check_refused(f, bad, "CPUID");
	memset(buf, 0, sizeof(buf));
	assert_int_equal(fdt_setprop(bad, 0, "cpuid", buf, sizeof(buf)), 0);
	check_refused(f, bad, "cpuid");
	free(bad);

	bad = edit(good);
	put_le32(buf, 0x480);
	assert_int_equal(fdt_appendprop(bad, 0, "msrs", buf, 4), 0);
	check_refused(f, bad, "MSR 0x480");
	free(bad);

	bad = edit(good);
	assert_int_equal(fdt_setprop_u64(bad, 0, "arch-capabilities", UINT64_MAX), 0);
	check_refused(f, bad, "ARCH_CAPABILITIES");
	free(bad);

	/* Fewer features are taken over: the guest has what it had at the source. */
	bad = edit(good);
	assert_int_equal(find_leaf(bad, 1, 0)[2] >> 13 & 1, 1);
	find_leaf(bad, 1, 0)[2] &= ~(1u << 13);
	check_load(f, bad, true);
	free(good);
	describe(f, &good);
	assert_int_equal(find_leaf(good, 1, 0)[2] >> 13 & 1, 0);
	free(good);
	free(bad);
	destroy(f);
}

static void test_too_many_cpus(void **state)
{
	struct error err = { 0 };
	struct vm vm;

	need_kvm();
	assert_true(vm_init(&vm, MEM, 100000, &err) < 0);
	assert_non_null(strstr(err.text, "vCPUs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_state),
		cmocka_unit_test(test_pause_resume),
		cmocka_unit_test(test_pause_busy),
		cmocka_unit_test(test_pause_in_access),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_string_io),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_prefault),
		cmocka_unit_test(test_prefault_present),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_irqfd),
		cmocka_unit_test(test_irq_numbers_end),
		cmocka_unit_test(test_ioeventfd),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_move_interrupts),
		cmocka_unit_test(test_refusals_of_state),
		cmocka_unit_test(test_refusals_of_description),
		cmocka_unit_test(test_too_many_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
