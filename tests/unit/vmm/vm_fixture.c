/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM on the host's real KVM: see the header. */
#include "tests/unit/vmm/vm_fixture.h"

#include <libfdt.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/vmm/kvm_probe.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/platform.h"

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
		pthread_mutex_lock(&p->vm->gate.lock);
		paused = p->vm->gate.paused;
		pthread_mutex_unlock(&p->vm->gate.lock);
	}
}

static void probe_mem_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
}

static const struct bus_ops probe_io_ops = { .read = probe_io_read, .write = probe_io_write };
static const struct bus_ops probe_mem_ops = { .read = probe_mem_read, .write = probe_mem_write };

void wait_for(sem_t *sem)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(sem, &ts), 0);
}

uint32_t next_value(struct probe *p)
{
	wait_for(&p->written);
	return __atomic_load_n(&p->value, __ATOMIC_SEQ_CST);
}

void need_kvm(void)
{
	if (kvm_lacks())
		skip();
}

struct fixture *make_sized(const void *code, size_t len, uint64_t mem, unsigned int cpus, bool long_mode)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const struct boot_entry entry = { .rip = CODE, .info = 0x1234, .long_mode = long_mode };
	struct error err = { 0 };
	struct fixture *f;
	int ret;

	need_kvm();
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->probe.vm = &f->vm;
	sem_init(&f->probe.written, 0, 0);
	sem_init(&f->probe.reading, 0, 0);
	ret = vm_init(&f->vm, mem, cpus, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(bus_add(&f->vm.pio, PROBE_IO, 4, &probe_io_ops, &f->probe), 0);
	assert_int_equal(bus_add(&f->vm.mmio, PROBE_MEM, 4, &probe_mem_ops, &f->probe), 0);
	assert_int_equal(platform_init(&f->vm.pio, &f->vm.gate, &err), 0);
	assert_int_equal(platform_power_on(&f->vm.memory, &err), 0);
	assert_int_equal(memory_write(&f->vm.memory, LAYOUT_GDT, gdt, sizeof(gdt)), 0);
	assert_int_equal(memory_write(&f->vm.memory, CODE, code, len), 0);
	ret = cpu_set_entry(&f->vm.vcpus[0], &entry, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(vm_start(&f->vm, &err), 0);
	return f;
}

struct fixture *make(const void *code, size_t len)
{
	return make_sized(code, len, MEM, 1, false);
}

void destroy(struct fixture *f)
{
	vm_destroy(&f->vm);
	free(f);
}

uint32_t guest_u32(struct fixture *f, uint64_t gpa)
{
	return __atomic_load_n((uint32_t *)memory_at(&f->vm.memory, gpa, 4), __ATOMIC_SEQ_CST);
}

const uint8_t counter_code[COUNTER_LEN] = { 0x41, 0x89, 0x0d, 0x00, 0x00, 0x20, 0x00,
					    0x89, 0xc8, 0xe7, 0x10, 0xeb, 0xf3 };

const uint8_t busy_code[BUSY_LEN] = { 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, 0xeb, 0xf8 };

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

void signal_irq(const struct irq *irq)
{
	uint64_t one = 1;

	assert_int_equal(write(irq->fd, &one, sizeof(one)), sizeof(one));
}

struct fixture *make_irq(void)
{
	static const uint8_t idtr[] = { 0xff, 0x07, 0x00, 0x30, 0x00, 0x00 };
	struct fixture *f = make(irq_code, sizeof(irq_code));

	assert_int_equal(memory_write(&f->vm.memory, 0x2f00, idtr, sizeof(idtr)), 0);
	put_handler(f, 0x40);
	put_handler(f, 0x41);
	put_handler(f, 0x42);
	return f;
}

int set_msi(struct vm *vm, struct irq *irq, uint64_t addr, uint32_t data)
{
	struct irq_msi msi = { irq, addr, data };

	return irq_set_msis(&vm->irqs, &msi, 1);
}

void *save_tree(struct fixture *f)
{
	struct error err = { 0 };
	struct state_writer w;
	uint32_t len;
	void *fdt;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	ret = vm_save(&f->vm, &w, &err);
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	assert_in_range(len, 1, STATE_MAX);
	return fdt;
}

void *describe_tree(struct fixture *f)
{
	struct state_writer w;
	uint32_t len;
	void *fdt;

	assert_int_equal(state_open_writer(&w), 0);
	vm_describe(&f->vm, &w);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	return fdt;
}

void *edit_tree(const void *fdt)
{
	const int room = 65536;
	void *copy = malloc(fdt_totalsize(fdt) + (size_t)room);

	assert_int_equal(fdt_open_into(fdt, copy, (int)fdt_totalsize(fdt) + room), 0);
	return copy;
}

static int read_tree(struct vm *vm, int (*fn)(struct vm *vm, struct state_node *node), const void *fdt,
		     struct error *err)
{
	struct state_node root;
	void *packed = malloc(fdt_totalsize(fdt));
	int ret;

	*err = (struct error){ 0 };
	memcpy(packed, fdt, fdt_totalsize(fdt));
	assert_int_equal(fdt_pack(packed), 0);
	ret = state_open(&root, packed, fdt_totalsize(packed), err);
	if (ret == 0)
		ret = fn(vm, &root);
	if (ret == 0)
		ret = state_finish(&root);
	free(packed);
	return ret;
}

int load_tree(struct fixture *f, const void *fdt, struct error *err)
{
	return read_tree(&f->vm, vm_load, fdt, err);
}

int accept_tree(struct fixture *f, const void *fdt, struct error *err)
{
	return read_tree(&f->vm, vm_accept, fdt, err);
}
