/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A running VM on the host's real KVM: guests of a few instructions. Skipped where KVM cannot run a guest. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/unit/vmm/vm_fixture.h"
#include "vmm/x86/layout.h"

static void a_guest_starts_with_the_registers_of_its_entry(void **state)
{
	/* mov eax, ebx; out PROBE_IO, eax; hlt */
	static const uint8_t code[] = { 0x89, 0xd8, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make(code, sizeof(code));

	gate_resume(&f->vm.gate);
	assert_int_equal(next_value(&f->probe), 0x1234);
	destroy(f);
}

static void a_paused_guest_does_nothing_and_goes_on_where_it_was(void **state)
{
	struct fixture *f = make(counter_code, sizeof(counter_code));

	gate_resume(&f->vm.gate);
	for (uint32_t i = 1; i <= 50; i++) {
		uint32_t stopped;

		wait_for(&f->probe.written);
		gate_pause(&f->vm.gate);
		gate_pause(&f->vm.gate);
		stopped = f->probe.value;
		assert_int_equal(f->vm.gate.n_parked, 1);
		assert_in_range(guest_u32(f, 0x200000), stopped, stopped + 1);
		sched_yield();
		assert_int_equal(f->probe.value, stopped);
		while (sem_trywait(&f->probe.written) == 0)
			;
		gate_resume(&f->vm.gate);
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

static void a_guest_that_never_exits_is_paused(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));

	gate_resume(&f->vm.gate);
	for (unsigned int i = 0; i < 20; i++) {
		uint32_t v;

		wait_progress(f);
		gate_pause(&f->vm.gate);
		v = guest_u32(f, 0x200000);
		/* No event tells of what must not happen. */
		usleep(1000);
		assert_int_equal(guest_u32(f, 0x200000), v);
		gate_resume(&f->vm.gate);
	}
	/* Kicks by themselves disturb nothing. */
	for (unsigned int i = 0; i < 100; i++) {
		__atomic_store_n(f->vm.vcpus[0].thread.leave, 1, __ATOMIC_SEQ_CST);
		pthread_kill(f->vm.vcpus[0].thread.thread, GATE_SIGNAL);
	}
	wait_progress(f);
	destroy(f);
}

/* A read that was being served when the pause came has its value in the register when the pause returns. */
static void a_pause_completes_the_access_that_it_meets(void **state)
{
	/* again: mov eax, [PROBE_MEM]; inc ecx; jmp again */
	static const uint8_t code[] = { 0xa1, 0x00, 0x00, 0x00, 0xd0, 0x41, 0xeb, 0xf8 };
	struct fixture *f = make(code, sizeof(code));
	struct kvm_regs regs;

	f->probe.pause_at = 7;
	gate_resume(&f->vm.gate);
	wait_for(&f->probe.reading);
	gate_pause(&f->vm.gate);
	assert_int_equal(ioctl(f->vm.vcpus[0].fd, KVM_GET_REGS, &regs), 0);
	assert_int_equal(f->probe.n_reads, 7);
	assert_int_equal(regs.rax, 7);
	assert_in_range(regs.rcx, 6, 7);
	destroy(f);
}

static void a_throttled_guest_still_goes_on_and_is_paused(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	uint64_t end = now_ns() + WAIT_S * 1000000000ull;
	bool seen = false;

	gate_resume(&f->vm.gate);
	assert_int_equal(gate_throttle(&f->vm.gate, 80), 0);
	while (!seen) {
		pthread_mutex_lock(&f->vm.gate.lock);
		seen = f->vm.gate.throttled && f->vm.gate.n_parked == 1;
		pthread_mutex_unlock(&f->vm.gate.lock);
		assert_true(now_ns() < end);
	}
	for (unsigned int i = 0; i < 5; i++) {
		uint32_t v;

		assert_int_equal(gate_throttle(&f->vm.gate, 50 + i), 0);
		wait_progress(f);
		gate_pause(&f->vm.gate);
		v = guest_u32(f, 0x200000);
		usleep(2 * GATE_THROTTLE_PERIOD_NS / 1000);
		assert_int_equal(guest_u32(f, 0x200000), v);
		gate_resume(&f->vm.gate);
	}
	assert_int_equal(gate_throttle(&f->vm.gate, 0), 0);
	assert_false(f->vm.gate.throttled);
	wait_progress(f);
	assert_int_equal(gate_throttle(&f->vm.gate, 99), 0);
	gate_end(&f->vm.gate, VM_EXIT_POWER_OFF);
	assert_int_equal(gate_throttle(&f->vm.gate, 0), 0);
	destroy(f);
}

/* A guest can end its VM in each of these ways, and the first reason stays. */
static void a_guest_ends_its_vm_and_the_first_reason_stays(void **state)
{
	static const struct {
		enum vm_exit exit;
		uint16_t port;
		uint8_t value;
		uint16_t flag; /* The kind of reset that the guest wants. */
	} cases[] = {
		{ VM_EXIT_POWER_OFF, LAYOUT_SLEEP_CONTROL, 0x20 | LAYOUT_SLP_TYP_S5 << 2, 0xffff },
		{ VM_EXIT_RESET, LAYOUT_RESET_PORT, LAYOUT_RESET_VALUE, 0xffff },
		{ VM_EXIT_RESET, LAYOUT_KBC_PORT, 0xfe, 0xffff },
		{ VM_EXIT_CRASHED, LAYOUT_PVPANIC_PORT, 1, 0 },
		/* Triple faults come out of the blue, or are a restart's last resort. */
		{ VM_EXIT_CRASHED, 0, 0, 0xffff },
		{ VM_EXIT_RESET, 0, 0, 0x0000 },
		{ VM_EXIT_RESET, 0, 0, 0x1234 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint16_t port = cases[i].port;
		/* First come S1, another reset value and "crash kernel loaded", which end nothing. Then comes
		 * the case's byte, then ud2 without an IDT. */
		const uint8_t code[] = {
			0x66, 0xba,           0x00, 0x06, 0xb0, 0x24,          0xee,
			0x66, 0xba,           0x02, 0x06, 0xb0, 0x00,          0xee,
			0x66, 0xba,           0x05, 0x05, 0xb0, 0x02,          0xee,
			0xec, 0xe7,           0x10, 0x66, 0xba, (uint8_t)port, (uint8_t)(port >> 8),
			0xb0, cases[i].value, 0xee, 0x0f, 0x01, 0x1d,          0x00,
			0x00, 0x30,           0x00, 0x0f, 0x0b
		};
		struct fixture *f = make(code, sizeof(code));

		if (cases[i].flag != 0xffff)
			assert_int_equal(memory_write(&f->vm.memory, LAYOUT_RESET_FLAG, &cases[i].flag, 2),
					 0);
		log_level = (enum log_level) - 1;
		gate_resume(&f->vm.gate);
		assert_int_equal(loop_run(&f->vm.loop), 0);
		log_level = LOG_INFO;
		assert_int_equal(next_value(&f->probe) & 0xff, 3);
		assert_int_equal(f->vm.gate.exit, cases[i].exit);
		assert_true(gate_ended(&f->vm.gate));
		gate_end(&f->vm.gate, VM_EXIT_ERROR);
		assert_int_equal(f->vm.gate.exit, cases[i].exit);
		/* The pause returns although the vCPU has gone. */
		gate_pause(&f->vm.gate);
		gate_stop(&f->vm.gate);
		gate_pause(&f->vm.gate);
		destroy(f);
	}
}

/* A rep outsd writes three values; then a port is read where nobody answers. */
static void a_string_instruction_reaches_its_port_for_each_value(void **state)
{
	/* mov esi, 0x200000; mov ecx, 3; mov edx, PROBE_IO; cld; rep outsd; in al, 0x99; out PROBE_IO, eax;
	 * hlt */
	static const uint8_t code[] = { 0xbe, 0x00, 0x00, 0x20, 0x00, 0xb9, 0x03, 0x00, 0x00,
					0x00, 0xba, 0x10, 0x00, 0x00, 0x00, 0xfc, 0xf3, 0x6f,
					0x31, 0xc0, 0xe4, 0x99, 0xe7, 0x10, 0xf4 };
	const uint32_t values[] = { 11, 22, 33 };
	struct fixture *f = make(code, sizeof(code));

	assert_int_equal(memory_write(&f->vm.memory, 0x200000, values, sizeof(values)), 0);
	gate_resume(&f->vm.gate);
	for (unsigned int i = 0; i < 3; i++)
		wait_for(&f->probe.written);
	assert_int_equal(next_value(&f->probe), 0xff);
	destroy(f);
}

static void a_guest_sees_one_socket_of_as_many_cores_as_vcpus(void **state)
{
	/* mov eax, 1; cpuid; mov [0x200008], ebx; mov eax, 0xb; mov ecx, 1; cpuid; mov [0x200000], ebx;
	 * mov [0x200004], ecx; out PROBE_IO, eax; hlt: the first vCPU, the others wait for a SIPI */
	static const uint8_t code[] = { 0xb8, 0x01, 0x00, 0x00, 0x00, 0x0f, 0xa2, 0x89, 0x1d, 0x08,
					0x00, 0x20, 0x00, 0xb8, 0x0b, 0x00, 0x00, 0x00, 0xb9, 0x01,
					0x00, 0x00, 0x00, 0x0f, 0xa2, 0x89, 0x1d, 0x00, 0x00, 0x20,
					0x00, 0x89, 0x0d, 0x04, 0x00, 0x20, 0x00, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make_sized(code, sizeof(code), MEM, 3, false);

	gate_resume(&f->vm.gate);
	assert_int_equal(next_value(&f->probe), 2); /* Bits of an id. */
	gate_pause(&f->vm.gate);
	assert_int_equal(f->vm.gate.n_parked, 3);
	assert_int_equal(guest_u32(f, 0x200000), 3);       /* Cores. */
	assert_int_equal(guest_u32(f, 0x200004), 0x201);   /* Level 1, of cores. */
	assert_int_equal(guest_u32(f, 0x200008) >> 16, 4); /* Ids of the socket; this one's is 0. */
	destroy(f);
}

/* A capability since Linux 6.11. */
#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif

/* Memory that is entered ahead of time is there, other memory is not, and the guest runs. Where KVM has no
 * such call it still runs. */
static void memory_that_is_entered_ahead_of_time_is_there(void **state)
{
	/* again: in eax, PROBE_IO; out PROBE_IO, eax; jmp again */
	static const uint8_t code[] = { 0xe5, 0x10, 0xe7, 0x10, 0xeb, 0xfa };
	struct fixture *f = make(code, sizeof(code));
	int fd = f->vm.memory.fd;

	vm_prefault(&f->vm, MIB(8), MIB(4));
	if (ioctl(f->vm.kvm.vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PRE_FAULT_MEMORY) > 0) {
		assert_int_equal(lseek(fd, MIB(4), SEEK_DATA), MIB(8));
		assert_int_equal(lseek(fd, MIB(8), SEEK_HOLE), MIB(12));
	}
	gate_resume(&f->vm.gate);
	wait_for(&f->probe.written);
	gate_pause(&f->vm.gate);
	destroy(f);
}

/* Memory that is there already is entered, up to the bound: no hole is filled. */
static void entering_what_is_there_fills_no_hole(void **state)
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
	gate_resume(&f->vm.gate);
	wait_for(&f->probe.written);
	gate_pause(&f->vm.gate);
	destroy(f);
}

/* Whether a look at the log finds the @n pages at @pages, and no other; one of the set's own is in it from
 * before. */
static void assert_look_finds(struct vm *vm, const uint64_t *pages, unsigned int n)
{
	const uint64_t first = memory_pages(&vm->memory) - 1;
	struct page_set set;

	assert_int_equal(page_set_init(&set, memory_pages(&vm->memory)), 0);
	page_set_add(&set, first, first + 1);
	assert_int_equal(kvm_log_take(&vm->kvm, &set), 0);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(page_set_next(&set, pages[i], pages[i] + 1), pages[i]);
		page_set_remove(&set, pages[i], pages[i] + 1);
	}
	assert_int_equal(page_set_next(&set, 0, first), first);
	page_set_exit(&set);
}

/* The log has pages written by the guest, below the hole and at @high above it; reading it empties it, and
 * what is written again is in it again. */
static void look_at_writes(uint64_t size, uint64_t high)
{
	/* 64-bit. again: in eax, PROBE_IO; mov [0x205000], eax; mov [0x40003000], eax; out PROBE_IO, eax; jmp
	 * again */
	static const uint8_t code[] = { 0xe5, 0x10, 0x89, 0x04, 0x25, 0x00, 0x50, 0x20, 0x00, 0x89,
					0x04, 0x25, 0x00, 0x30, 0x00, 0x40, 0xe7, 0x10, 0xeb, 0xec };
	const uint64_t written[] = { 0x205, ((high - GIB(4) + MEMORY_LOW_MAX) >> PAGE_SHIFT) + 3 };
	const uint64_t pml4[] = { LAYOUT_PAGE_TABLE + 0x1000 + 3 };
	const uint64_t pdpt[] = { LAYOUT_PAGE_TABLE + 0x2000 + 3, LAYOUT_PAGE_TABLE + 0x3000 + 3 };
	const uint64_t pd0[] = { 0x83, MIB(2) + 0x83 }, pd1[] = { high + 0x83 };
	struct fixture *f = make_sized(code, sizeof(code), size, 1, true);
	struct memory *m = &f->vm.memory;

	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE, pml4, sizeof(pml4)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x1000, pdpt, sizeof(pdpt)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x2000, pd0, sizeof(pd0)), 0);
	assert_int_equal(memory_write(m, LAYOUT_PAGE_TABLE + 0x3000, pd1, sizeof(pd1)), 0);
	gate_resume(&f->vm.gate);
	wait_for(&f->probe.written);
	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(kvm_log_start(&f->vm.kvm), 0);
		for (unsigned int look = 0; look < 2; look++) {
			while (sem_trywait(&f->probe.written) == 0)
				;
			wait_for(&f->probe.written);
			wait_for(&f->probe.written);
			gate_pause(&f->vm.gate);
			/* The guest's page tables have got their accessed and dirty bits before. */
			assert_look_finds(&f->vm, written, ARRAY_SIZE(written));
			assert_look_finds(&f->vm, NULL, 0);
			gate_resume(&f->vm.gate);
		}
		gate_pause(&f->vm.gate);
		kvm_log_stop(&f->vm.kvm);
		gate_resume(&f->vm.gate);
	}
	destroy(f);
}

static void the_dirty_log_has_what_the_guest_wrote_once(void **state)
{
	look_at_writes(MEMORY_LOW_MAX + MIB(4), GIB(4));
}

/* Whose memory is in several slots: at the beginning and the end of one, and in the last, which is short. */
static void the_dirty_log_of_a_large_guest_has_what_it_wrote_once(void **state)
{
	static const uint64_t high[] = { GIB(4), GIB(12) - MIB(2), GIB(12), GIB(20) };

	for (unsigned int i = 0; i < ARRAY_SIZE(high); i++)
		look_at_writes(MEMORY_LOW_MAX + GIB(16) + MIB(4), high[i]);
}

static bool is_pending(const struct irq *irq)
{
	struct pollfd p = { .fd = irq->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void an_interrupt_is_delivered_once_by_the_message_it_has(void **state)
{
	struct fixture *f = make_irq();
	struct irq irqs[3];

	gate_resume(&f->vm.gate);
	assert_int_equal(next_value(&f->probe), 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++) {
		assert_int_equal(irq_init(&irqs[i], &f->vm.irqs), 0);
		assert_int_equal(irqs[i].gsi, 24 + i);
		assert_int_equal(set_msi(&f->vm, &irqs[i], LAYOUT_LAPIC, 0x40 + i), 0);
		assert_int_equal(irq_unmask(&irqs[i]), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++) {
		signal_irq(&irqs[i]);
		assert_int_equal(next_value(&f->probe), 0x40 + i);
	}
	/* The message changes while the interrupt is connected. */
	assert_int_equal(set_msi(&f->vm, &irqs[0], LAYOUT_LAPIC, 0x42), 0);
	assert_int_equal(set_msi(&f->vm, &irqs[0], LAYOUT_LAPIC, 0x42), 0);
	signal_irq(&irqs[0]);
	assert_int_equal(next_value(&f->probe), 0x42);
	/* A masked interrupt stays pending; two become one at unmasking. */
	irq_mask(&irqs[0]);
	irq_mask(&irqs[0]);
	assert_false(is_pending(&irqs[0]));
	signal_irq(&irqs[0]);
	signal_irq(&irqs[0]);
	assert_true(is_pending(&irqs[0]));
	signal_irq(&irqs[1]);
	assert_int_equal(next_value(&f->probe), 0x41);
	assert_int_equal(irq_unmask(&irqs[0]), 0);
	assert_int_equal(next_value(&f->probe), 0x42);
	/* An interrupt that has been delivered is not delivered again. */
	irq_mask(&irqs[0]);
	assert_false(is_pending(&irqs[0]));
	assert_int_equal(irq_unmask(&irqs[0]), 0);
	signal_irq(&irqs[1]);
	assert_int_equal(next_value(&f->probe), 0x41);
	/* The interrupt in the middle goes, the others keep theirs; its number is used again. */
	irq_exit(&irqs[1]);
	assert_int_equal(irqs[1].fd, -1);
	irq_exit(&irqs[1]);
	signal_irq(&irqs[2]);
	assert_int_equal(next_value(&f->probe), 0x42);
	assert_int_equal(irq_init(&irqs[1], &f->vm.irqs), 0);
	assert_int_equal(irqs[1].gsi, 25);
	for (unsigned int i = 0; i < ARRAY_SIZE(irqs); i++)
		irq_exit(&irqs[i]);
	destroy(f);
}

static void interrupts_beyond_the_last_number_are_refused(void **state)
{
	struct fixture *f = make(busy_code, sizeof(busy_code));
	struct irq *irqs = calloc(IRQ_MAX_GSI, sizeof(*irqs));
	unsigned int n = 0;

	while (n < IRQ_MAX_GSI && irq_init(&irqs[n], &f->vm.irqs) == 0)
		n++;
	/* The process may run out of files before. */
	assert_true(n == IRQ_MAX_GSI - 24 || n > 100);
	assert_int_equal(irqs[n].fd, -1);
	while (n > 0)
		irq_exit(&irqs[--n]);
	free(irqs);
	destroy(f);
}

static void a_write_to_a_doorbell_signals_its_eventfd(void **state)
{
	/* mov word [0xd0001000], ax; out PROBE_IO, eax; hlt */
	static const uint8_t code[] = { 0x66, 0xa3, 0x00, 0x10, 0x00, 0xd0, 0xe7, 0x10, 0xf4 };
	struct fixture *f = make(code, sizeof(code));
	struct irq doorbell;
	uint64_t v;

	assert_int_equal(irq_init(&doorbell, &f->vm.irqs), 0);
	assert_int_equal(kvm_add_ioeventfd(&f->vm.kvm, 0xd0001000, doorbell.fd), 0);
	assert_int_equal(kvm_add_ioeventfd(&f->vm.kvm, 0xd0001000, doorbell.fd), -EEXIST);
	gate_resume(&f->vm.gate);
	wait_for(&f->probe.written);
	assert_int_equal(read(doorbell.fd, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	kvm_del_ioeventfd(&f->vm.kvm, 0xd0001000, doorbell.fd);
	irq_exit(&doorbell);
	destroy(f);
}

static void more_vcpus_than_kvm_allows_are_refused(void **state)
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
		cmocka_unit_test(a_guest_starts_with_the_registers_of_its_entry),
		cmocka_unit_test(a_paused_guest_does_nothing_and_goes_on_where_it_was),
		cmocka_unit_test(a_guest_that_never_exits_is_paused),
		cmocka_unit_test(a_pause_completes_the_access_that_it_meets),
		cmocka_unit_test(a_throttled_guest_still_goes_on_and_is_paused),
		cmocka_unit_test(a_guest_ends_its_vm_and_the_first_reason_stays),
		cmocka_unit_test(a_string_instruction_reaches_its_port_for_each_value),
		cmocka_unit_test(a_guest_sees_one_socket_of_as_many_cores_as_vcpus),
		cmocka_unit_test(memory_that_is_entered_ahead_of_time_is_there),
		cmocka_unit_test(entering_what_is_there_fills_no_hole),
		cmocka_unit_test(the_dirty_log_has_what_the_guest_wrote_once),
		cmocka_unit_test(the_dirty_log_of_a_large_guest_has_what_it_wrote_once),
		cmocka_unit_test(an_interrupt_is_delivered_once_by_the_message_it_has),
		cmocka_unit_test(interrupts_beyond_the_last_number_are_refused),
		cmocka_unit_test(a_write_to_a_doorbell_signals_its_eventfd),
		cmocka_unit_test(more_vcpus_than_kvm_allows_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
