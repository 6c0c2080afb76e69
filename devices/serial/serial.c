/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of a 16550A UART and their state: on the vCPUs' threads, under the lock. */
#include "devices/serial/serial_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/x86/layout.h"

#define SERIAL_N_PORTS 8u

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum {
	IER_RDI = 0x01,
	IER_THRI = 0x02,
	IER_MASK = 0x0f,
	IIR_NO_INT = 0x01,
	IIR_THRI = 0x02,
	IIR_RDI = 0x04,
	IIR_FIFO = 0xc0,
	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	LCR_DLAB = 0x80,
	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,
	LSR_DR = 0x01,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

static uint8_t serial_iir(const struct serial *s)
{
	if ((s->regs.ier & IER_RDI) && s->n_rx > 0)
		return IIR_RDI;
	if ((s->regs.ier & IER_THRI) && s->regs.thr_pending)
		return IIR_THRI;
	return IIR_NO_INT;
}

/* RTS is the guest's word that it listens. What comes before that Linux would throw away when it opens the
 * port. */
bool serial_takes_rx(const struct serial *s)
{
	return !s->paused && (s->regs.mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
}

void serial_update(struct serial *s)
{
	bool high = serial_iir(s) != IIR_NO_INT;

	if (high != s->irq_high)
		irq_set_line(&s->vm->irqs, LAYOUT_SERIAL_IRQ, high);
	s->irq_high = high;
	if (s->rx_wanted && s->n_rx == 0 && serial_takes_rx(s)) {
		s->rx_wanted = false;
		serial_wake(s);
	}
}

void serial_push_rx(struct serial *s, const uint8_t *data, unsigned int len)
{
	memcpy(s->rx + s->n_rx, data, len);
	s->n_rx += len;
}

static uint8_t serial_pop_rx(struct serial *s)
{
	uint8_t v = s->rx[0];

	if (s->n_rx == 0)
		return 0;
	memmove(s->rx, s->rx + 1, --s->n_rx);
	return v;
}

/* Where nobody reads, what is oldest goes. */
static void serial_push_out(struct serial *s, uint8_t v)
{
	if (s->out_tail - s->out_head == SERIAL_OUT_MAX) {
		s->out_head++;
		s->n_dropped++;
	}
	if (s->out_tail == s->out_head)
		serial_wake(s);
	s->out[s->out_tail++ % SERIAL_OUT_MAX] = v;
}

static void serial_transmit(struct serial *s, uint8_t v)
{
	s->regs.thr_pending = 1;
	if (!(s->regs.mcr & MCR_LOOP))
		serial_push_out(s, v);
	else if (s->n_rx < SERIAL_RX_MAX)
		serial_push_rx(s, &v, 1);
}

static uint8_t serial_read_iir(struct serial *s)
{
	uint8_t iir = serial_iir(s);

	if (iir == IIR_THRI)
		s->regs.thr_pending = 0;
	return (uint8_t)(iir | (s->regs.fifo ? IIR_FIFO : 0));
}

static uint8_t serial_msr(const struct serial *s)
{
	uint8_t mcr = s->regs.mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t serial_get(struct serial *s, uint64_t reg)
{
	bool dlab = s->regs.lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->regs.dll : serial_pop_rx(s);
	case REG_IER:
		return dlab ? s->regs.dlm : s->regs.ier;
	case REG_IIR_FCR:
		return serial_read_iir(s);
	case REG_LCR:
		return s->regs.lcr;
	case REG_MCR:
		return s->regs.mcr;
	case REG_LSR:
		return LSR_THRE | LSR_TEMT | (s->n_rx > 0 ? LSR_DR : 0);
	case REG_MSR:
		return serial_msr(s);
	default:
		return s->regs.scr;
	}
}

static void serial_set_ier(struct serial *s, uint8_t v)
{
	/* The transmitter is always empty, and switching its interrupt on says so: drivers test for that. */
	if (!(s->regs.ier & IER_THRI) && (v & IER_THRI))
		s->regs.thr_pending = 1;
	s->regs.ier = v & IER_MASK;
}

static void serial_set(struct serial *s, uint64_t reg, uint8_t v)
{
	bool dlab = s->regs.lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			s->regs.dll = v;
		else
			serial_transmit(s, v);
		break;
	case REG_IER:
		if (dlab)
			s->regs.dlm = v;
		else
			serial_set_ier(s, v);
		break;
	case REG_IIR_FCR:
		if ((v & FCR_CLEAR_RX) || s->regs.fifo != (v & FCR_ENABLE))
			s->n_rx = 0;
		s->regs.fifo = v & FCR_ENABLE;
		break;
	case REG_LCR:
		s->regs.lcr = v;
		break;
	case REG_MCR:
		s->regs.mcr = v & MCR_MASK;
		break;
	case REG_SCR:
		s->regs.scr = v;
		break;
	}
}

/* Wider accesses reach the registers one after the other, as on the bus of a PC. */
static void serial_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < len; i++)
		((uint8_t *)data)[i] = serial_get(s, offset + i);
	serial_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < len; i++)
		serial_set(s, offset + i, ((const uint8_t *)data)[i]);
	serial_update(s);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_bus_ops = { serial_read, serial_write };

/* --- State: what the guest can see, not what the host has still to write or has not yet handed in --- */

static const struct {
	const char *name;
	size_t offset;
	uint8_t max;
} serial_state[] = {
	{ "ier", offsetof(struct serial_regs, ier), IER_MASK },
	{ "lcr", offsetof(struct serial_regs, lcr), 0xff },
	{ "mcr", offsetof(struct serial_regs, mcr), MCR_MASK },
	{ "scr", offsetof(struct serial_regs, scr), 0xff },
	{ "dll", offsetof(struct serial_regs, dll), 0xff },
	{ "dlm", offsetof(struct serial_regs, dlm), 0xff },
	{ "fifo", offsetof(struct serial_regs, fifo), 1 },
	{ "thr-pending", offsetof(struct serial_regs, thr_pending), 1 },
};
_Static_assert(ARRAY_SIZE(serial_state) == sizeof(struct serial_regs), "a row for each register");

static void serial_pause(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = true;
	pthread_mutex_unlock(&s->lock);
}

static void serial_save(struct device *dev, struct state_writer *w)
{
	struct serial *s = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < ARRAY_SIZE(serial_state); i++)
		state_put_u32(w, serial_state[i].name, *((uint8_t *)&s->regs + serial_state[i].offset));
	state_put_blob(w, "rx", s->rx, s->n_rx);
	pthread_mutex_unlock(&s->lock);
}

static int serial_load(struct device *dev, struct state_node *node)
{
	struct serial *s = container_of(dev, struct serial, dev);
	struct serial_regs regs = { 0 };
	const uint8_t *rx = NULL;
	uint32_t v, n_rx = 0;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(serial_state); i++) {
		ret = state_get_u32(node, serial_state[i].name, 0, serial_state[i].max, &v);
		if (ret == 0)
			*((uint8_t *)&regs + serial_state[i].offset) = (uint8_t)v;
	}
	if (ret == 0)
		ret = state_get_blob(node, "rx", 0, SERIAL_RX_MAX, &rx, &n_rx);
	if (ret == 0)
		ret = state_finish(node);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&s->lock);
	s->paused = true;
	s->regs = regs;
	s->n_rx = 0;
	if (rx)
		serial_push_rx(s, rx, n_rx);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static void serial_resume(struct device *dev, bool arrived)
{
	struct serial *s = container_of(dev, struct serial, dev);

	/* Then this is the main thread. */
	if (arrived)
		serial_take_terminal(s);
	pthread_mutex_lock(&s->lock);
	s->paused = false;
	/* The level of its lines is not in the interrupt controllers' saved state. An edge too many does no
	 * harm. */
	if (arrived)
		s->irq_high = !(serial_iir(s) != IIR_NO_INT);
	serial_update(s);
	serial_wake(s);
	pthread_mutex_unlock(&s->lock);
}

static const struct device_ops serial_device_ops = {
	.pause = serial_pause,
	.save = serial_save,
	.load = serial_load,
	.resume = serial_resume,
};

int serial_create(struct serial **serial, struct vm *vm, const struct vm_config *config, struct error *err)
{
	struct serial *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return error_add(err, -ENOMEM, "cannot set up the serial port: out of memory");
	s->dev = (struct device){ .ops = &serial_device_ops, .name = "serial" };
	s->vm = vm;
	pthread_mutex_init(&s->lock, NULL);
	ret = serial_host_open(s, config, err);
	if (ret < 0)
		goto destroy;
	ret = bus_add(&vm->pio, LAYOUT_SERIAL_PORT, SERIAL_N_PORTS, &serial_bus_ops, s);
	if (ret < 0) {
		error_add(err, ret, "cannot place the serial port: %s", strerror(-ret));
		goto destroy;
	}
	vm_add_device(vm, &s->dev);
	*serial = s;
	return 0;

destroy:
	serial_destroy(s);
	return ret;
}

void serial_guard(struct serial *s, struct guard *guard)
{
	guard_add(guard, &s->terminal.undo);
	guard_add(guard, &s->file_undo);
}

void serial_destroy(struct serial *s)
{
	serial_host_close(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
