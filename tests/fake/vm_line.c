/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM that has one interrupt line and an end: see the header. */
#include "tests/fake/vm_line.h"

#include <assert.h>
#include <pthread.h>

#include "vmm/x86/layout.h"

static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t line_cond = PTHREAD_COND_INITIALIZER;
static bool line_high;
static bool line_ended;
static unsigned int line_edges;

static void line_set(bool *flag, bool value)
{
	pthread_mutex_lock(&line_lock);
	*flag = value;
	pthread_cond_broadcast(&line_cond);
	pthread_mutex_unlock(&line_lock);
}

static bool line_get(const bool *flag)
{
	bool value;

	pthread_mutex_lock(&line_lock);
	value = *flag;
	pthread_mutex_unlock(&line_lock);
	return value;
}

static void line_wait(const bool *flag)
{
	pthread_mutex_lock(&line_lock);
	while (!*flag)
		pthread_cond_wait(&line_cond, &line_lock);
	pthread_mutex_unlock(&line_lock);
}

void irq_set_line(struct irq_table *table, unsigned int gsi, bool high)
{
	assert(gsi == LAYOUT_SERIAL_IRQ);
	pthread_mutex_lock(&line_lock);
	line_edges += high && !line_high;
	pthread_mutex_unlock(&line_lock);
	line_set(&line_high, high);
}

void gate_end(struct gate *gate, enum vm_exit code)
{
	line_set(&line_ended, code == VM_EXIT_POWER_OFF);
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->next = vm->devices;
	vm->devices = dev;
}

void fake_line_reset(void)
{
	line_edges = 0;
	line_set(&line_high, false);
	line_set(&line_ended, false);
}

bool fake_line_is_high(void)
{
	return line_get(&line_high);
}

void fake_line_wait_high(void)
{
	line_wait(&line_high);
}

unsigned int fake_line_wait_edge(unsigned int edges)
{
	pthread_mutex_lock(&line_lock);
	while (line_edges <= edges)
		pthread_cond_wait(&line_cond, &line_lock);
	edges = line_edges;
	pthread_mutex_unlock(&line_lock);
	return edges;
}

bool fake_line_ended(void)
{
	return line_get(&line_ended);
}

void fake_line_wait_ended(void)
{
	line_wait(&line_ended);
}
