/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest of a few instructions that resets itself, on the host's real KVM, and boots again from a file. */
#define _GNU_SOURCE
#include "tests/unit/vmm/vm_fixture.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/reset.h"
#include "vmm/x86/boot_files.h"
#include "vmm/x86/layout.h"

/*
 * inc dword [0x200000]; mov eax, [0x200000]; out PROBE_IO, eax; mov dx, LAYOUT_RESET_PORT;
 * mov al, LAYOUT_RESET_VALUE; out dx, al; again: inc dword [0x200004]; jmp again
 */
static const uint8_t code[] = { 0xff,
				0x05,
				0x00,
				0x00,
				0x20,
				0x00,
				0xa1,
				0x00,
				0x00,
				0x20,
				0x00,
				0xe7,
				0x10,
				0x66,
				0xba,
				LAYOUT_RESET_PORT & 0xff,
				LAYOUT_RESET_PORT >> 8,
				0xb0,
				LAYOUT_RESET_VALUE,
				0xee,
				0xff,
				0x05,
				0x04,
				0x00,
				0x20,
				0x00,
				0xeb,
				0xf8 };

struct kernel {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[2];
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t code[sizeof(code)];
};

struct slow_device {
	struct device device;
	struct vm *vm;
	unsigned int n_waits, n_resets;
	bool vcpus_stood_still;
};

struct rig {
	struct fixture *f;
	struct boot_files boot;
	struct reset reset;
	struct slow_device slow;
	pthread_t loop;
};

/* A file with the code that the guest has from the beginning, and a PVH entry. */
static void open_kernel(struct boot_files *boot)
{
	struct kernel k = { .eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
				    .e_type = ET_EXEC,
				    .e_machine = EM_X86_64,
				    .e_version = EV_CURRENT,
				    .e_phoff = offsetof(struct kernel, ph),
				    .e_ehsize = sizeof(Elf64_Ehdr),
				    .e_phentsize = sizeof(Elf64_Phdr),
				    .e_phnum = 2 },
			    .note = { { 4, 4, 18 }, "Xen", CODE } };
	char path[] = "/tmp/ferry-kernel-XXXXXX";
	struct error err = { 0 };
	int fd = mkstemp(path);

	k.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = offsetof(struct kernel, code),
				.p_paddr = CODE,
				.p_filesz = sizeof(code),
				.p_memsz = sizeof(code) };
	k.ph[1] = (Elf64_Phdr){ .p_type = PT_NOTE,
				.p_offset = offsetof(struct kernel, note),
				.p_filesz = sizeof(k.note),
				.p_memsz = sizeof(k.note) };
	memcpy(k.code, code, sizeof(code));
	assert_int_equal(write(fd, &k, sizeof(k)), sizeof(k));
	close(fd);
	assert_int_equal(boot_files_open(boot, path, NULL, "again", &err), 0);
	assert_int_equal(unlink(path), 0);
}

static int slow_reset(struct device *dev, uint64_t until_ns)
{
	struct slow_device *slow = container_of(dev, struct slow_device, device);

	slow->vcpus_stood_still = slow->vm->gate.n_parked == slow->vm->gate.n_started;
	slow->n_resets++;
	return slow->n_resets <= slow->n_waits ? -EAGAIN : 0;
}

static void *run_loop(void *arg)
{
	struct loop *loop = arg;

	assert_int_equal(loop_run(loop), 0);
	return NULL;
}

/* Makes the guest, and lets it go. */
static void begin(struct rig *r, enum memory_clear how, bool known)
{
	static const struct device_ops slow_ops = { .reset = slow_reset };
	struct error err = { 0 };

	*r = (struct rig){ .boot = BOOT_FILES_NONE };
	r->f = make_sized(code, sizeof(code), MEM, 2, false);
	if (known)
		open_kernel(&r->boot);
	r->f->vm.boot = &r->boot;
	r->slow = (struct slow_device){ .device = { .ops = &slow_ops, .name = "slow" }, .vm = &r->f->vm };
	vm_add_device(&r->f->vm, &r->slow.device);
	assert_int_equal(vm_keep_power_on(&r->f->vm, &err), 0);
	assert_int_equal(reset_init(&r->reset, &r->f->vm, how, &err), 0);
}

static void go(struct rig *r)
{
	assert_int_equal(pthread_create(&r->loop, NULL, run_loop, &r->f->vm.loop), 0);
	gate_resume(&r->f->vm.gate);
}

/* The loop has ended already, or @exit ends it. */
static void end(struct rig *r, enum vm_exit exit)
{
	if (exit != VM_EXIT_RESET)
		gate_end(&r->f->vm.gate, exit);
	pthread_join(r->loop, NULL);
	assert_int_equal(r->f->vm.gate.exit, exit);
	gate_stop(&r->f->vm.gate);
	reset_exit(&r->reset);
	boot_files_close(&r->boot);
	destroy(r->f);
}

/* The guest counts in memory, which is empty each time that it begins. */
static void a_guest_that_resets_begins_anew_again_and_again(void **state)
{
	static const enum memory_clear ways[] = { MEMORY_DROP, MEMORY_OVERWRITE };
	struct rig r;

	for (unsigned int i = 0; i < ARRAY_SIZE(ways); i++) {
		begin(&r, ways[i], true);
		go(&r);
		for (unsigned int n = 0; n < 20; n++)
			assert_int_equal(next_value(&r.f->probe), 1);
		end(&r, VM_EXIT_ERROR);
		assert_true(r.slow.n_resets >= 19);
		assert_true(r.slow.vcpus_stood_still);
	}
}

static void a_reset_waits_for_who_has_guest_memory(void **state)
{
	struct rig r;

	begin(&r, MEMORY_DROP, true);
	r.slow.n_waits = 3;
	go(&r);
	assert_int_equal(next_value(&r.f->probe), 1);
	assert_int_equal(next_value(&r.f->probe), 1);
	end(&r, VM_EXIT_ERROR);
	assert_true(r.slow.n_resets > 3);
}

static void a_guest_whose_kernel_is_not_known_ends_with_its_reset(void **state)
{
	struct rig r;

	begin(&r, MEMORY_DROP, false);
	go(&r);
	end(&r, VM_EXIT_RESET);
	assert_int_equal(r.slow.n_resets, 0);
}

/* A migration has the guest: its end is what the reset waits for. */
static void a_reset_waits_for_a_migration_to_be_given_up(void **state)
{
	struct rig r;
	uint32_t n;

	begin(&r, MEMORY_DROP, true);
	atomic_store(&r.f->vm.migrating, true);
	go(&r);
	assert_int_equal(next_value(&r.f->probe), 1);
	while (!gate_resetting(&r.f->vm.gate))
		sched_yield();
	/* The migration pauses it, and lets it go on: it does not go on before its reset. */
	gate_pause(&r.f->vm.gate);
	n = guest_u32(r.f, 0x200004);
	gate_resume(&r.f->vm.gate);
	usleep(20000);
	assert_int_equal(guest_u32(r.f, 0x200004), n);
	assert_int_equal(r.slow.n_resets, 0);
	atomic_store(&r.f->vm.migrating, false);
	gate_reset_again(&r.f->vm.gate);
	assert_int_equal(next_value(&r.f->probe), 1);
	end(&r, VM_EXIT_ERROR);
}

/* SIGTERM, say. */
static void a_process_that_is_to_end_does_not_wait_for_a_reset(void **state)
{
	struct rig r;
	uint64_t one = 1;
	int stop_fd = eventfd(0, EFD_CLOEXEC);

	begin(&r, MEMORY_DROP, true);
	r.slow.n_waits = UINT32_MAX;
	r.f->vm.stop_fd = stop_fd;
	assert_int_equal(write(stop_fd, &one, sizeof(one)), sizeof(one));
	go(&r);
	assert_int_equal(next_value(&r.f->probe), 1);
	end(&r, VM_EXIT_ERROR);
	close(stop_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_that_resets_begins_anew_again_and_again),
		cmocka_unit_test(a_reset_waits_for_who_has_guest_memory),
		cmocka_unit_test(a_guest_whose_kernel_is_not_known_ends_with_its_reset),
		cmocka_unit_test(a_reset_waits_for_a_migration_to_be_given_up),
		cmocka_unit_test(a_process_that_is_to_end_does_not_wait_for_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
