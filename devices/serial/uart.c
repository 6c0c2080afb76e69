/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of a 16550A UART, their state, and the bytes on their way. */
#include "devices/serial/uart.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/loop.h"
#include "vmm/x86/layout.h"

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

static uint8_t uart_iir(const struct uart *u)
{
	if ((u->regs.ier & IER_RDI) && u->n_rx > 0)
		return IIR_RDI;
	if ((u->regs.ier & IER_THRI) && u->regs.thr_pending)
		return IIR_THRI;
	return IIR_NO_INT;
}

/* The guest sets RTS when it listens. Linux throws away all that came before, when it opens the port. */
static bool uart_takes_rx(const struct uart *u)
{
	return !u->paused && (u->regs.mcr & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
}

/* Has the interrupt line follow the registers, and tells the host side of room. After every change. */
static void uart_update(struct uart *u)
{
	bool high = uart_iir(u) != IIR_NO_INT;

	if (high != u->irq_high)
		irq_set_line(u->irqs, LAYOUT_SERIAL_IRQ, high);
	u->irq_high = high;
	if (u->rx_wanted && u->n_rx == 0 && uart_takes_rx(u)) {
		u->rx_wanted = false;
		loop_signal(u->wake_fd);
	}
}

static void uart_push_rx(struct uart *u, const uint8_t *data, unsigned int len)
{
	memcpy(u->rx + u->n_rx, data, len);
	u->n_rx += len;
}

static uint8_t uart_pop_rx(struct uart *u)
{
	uint8_t v = u->rx[0];

	if (u->n_rx == 0)
		return 0;
	memmove(u->rx, u->rx + 1, --u->n_rx);
	return v;
}

/* Drops the oldest output where nobody reads it. */
static void uart_push_out(struct uart *u, uint8_t v)
{
	if (u->out_tail - u->out_head == UART_OUT_MAX) {
		u->out_head++;
		u->n_dropped++;
	}
	if (u->out_tail == u->out_head || u->out_copied)
		loop_signal(u->wake_fd);
	u->out_copied = false;
	u->out[u->out_tail++ % UART_OUT_MAX] = v;
}

static void uart_transmit(struct uart *u, uint8_t v)
{
	u->regs.thr_pending = 1;
	if (!(u->regs.mcr & MCR_LOOP))
		uart_push_out(u, v);
	else if (u->n_rx < UART_RX_MAX)
		uart_push_rx(u, &v, 1);
}

static uint8_t uart_read_iir(struct uart *u)
{
	uint8_t iir = uart_iir(u);

	if (iir == IIR_THRI)
		u->regs.thr_pending = 0;
	return (uint8_t)(iir | (u->regs.fifo ? IIR_FIFO : 0));
}

static uint8_t uart_msr(const struct uart *u)
{
	uint8_t mcr = u->regs.mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t uart_get(struct uart *u, uint64_t reg)
{
	bool dlab = u->regs.lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? u->regs.dll : uart_pop_rx(u);
	case REG_IER:
		return dlab ? u->regs.dlm : u->regs.ier;
	case REG_IIR_FCR:
		return uart_read_iir(u);
	case REG_LCR:
		return u->regs.lcr;
	case REG_MCR:
		return u->regs.mcr;
	case REG_LSR:
		return LSR_THRE | LSR_TEMT | (u->n_rx > 0 ? LSR_DR : 0);
	case REG_MSR:
		return uart_msr(u);
	default:
		return u->regs.scr;
	}
}

static void uart_set_ier(struct uart *u, uint8_t v)
{
	/* The transmitter is always empty, and switching its interrupt on says so: drivers test for that. */
	if (!(u->regs.ier & IER_THRI) && (v & IER_THRI))
		u->regs.thr_pending = 1;
	u->regs.ier = v & IER_MASK;
}

static void uart_set(struct uart *u, uint64_t reg, uint8_t v)
{
	bool dlab = u->regs.lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			u->regs.dll = v;
		else
			uart_transmit(u, v);
		break;
	case REG_IER:
		if (dlab)
			u->regs.dlm = v;
		else
			uart_set_ier(u, v);
		break;
	case REG_IIR_FCR:
		if ((v & FCR_CLEAR_RX) || u->regs.fifo != (v & FCR_ENABLE))
			u->n_rx = 0;
		u->regs.fifo = v & FCR_ENABLE;
		break;
	case REG_LCR:
		u->regs.lcr = v;
		break;
	case REG_MCR:
		u->regs.mcr = v & MCR_MASK;
		break;
	case REG_SCR:
		u->regs.scr = v;
		break;
	}
}

/* Wider accesses reach the registers one after the other, as on the bus of a PC. */
static void uart_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	for (unsigned int i = 0; i < len; i++)
		((uint8_t *)data)[i] = uart_get(u, offset + i);
	uart_update(u);
	pthread_mutex_unlock(&u->lock);
}

static void uart_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct uart *u = opaque;

	pthread_mutex_lock(&u->lock);
	for (unsigned int i = 0; i < len; i++)
		uart_set(u, offset + i, ((const uint8_t *)data)[i]);
	uart_update(u);
	pthread_mutex_unlock(&u->lock);
}

const struct bus_ops uart_bus_ops = { uart_read, uart_write };

unsigned int uart_hand_in(struct uart *u, const uint8_t *data, unsigned int len, bool more)
{
	unsigned int n = 0;

	pthread_mutex_lock(&u->lock);
	if (uart_takes_rx(u)) {
		n = (unsigned int)min_u64(len, UART_RX_MAX - u->n_rx);
		uart_push_rx(u, data, n);
	}
	/* Not taken back: somebody else may have bytes left. */
	if (n < len || (more && u->n_rx > 0))
		u->rx_wanted = true;
	if (n > 0)
		uart_update(u);
	pthread_mutex_unlock(&u->lock);
	return n;
}

/* Copies what is from the place @at on. Under the lock. */
static size_t uart_copy(const struct uart *u, uint64_t at, uint8_t *data, size_t size)
{
	uint64_t len = min_u64(u->out_tail - at, size);

	for (uint64_t i = 0; i < len; i++)
		data[i] = u->out[(at + i) % UART_OUT_MAX];
	return len;
}

size_t uart_peek_output(struct uart *u, uint8_t *data, size_t size, uint64_t *at)
{
	size_t len;

	pthread_mutex_lock(&u->lock);
	*at = u->out_head;
	len = uart_copy(u, *at, data, size);
	pthread_mutex_unlock(&u->lock);
	return len;
}

size_t uart_copy_output(struct uart *u, uint64_t *at, uint8_t *data, size_t size)
{
	size_t len;

	pthread_mutex_lock(&u->lock);
	if (u->out_tail - *at > UART_OUT_MAX)
		*at = u->out_tail - UART_OUT_MAX;
	len = uart_copy(u, *at, data, size);
	u->out_copied |= *at + len == u->out_tail;
	pthread_mutex_unlock(&u->lock);
	return len;
}

uint64_t uart_recent_output(struct uart *u, size_t len)
{
	uint64_t at;

	pthread_mutex_lock(&u->lock);
	at = u->out_tail - min_u64(u->out_tail, len);
	pthread_mutex_unlock(&u->lock);
	return at;
}

void uart_take_output(struct uart *u, uint64_t end)
{
	pthread_mutex_lock(&u->lock);
	/* A part of it may have been dropped since it was peeked at, and more. */
	u->out_head = max_u64(u->out_head, end);
	pthread_mutex_unlock(&u->lock);
}

bool uart_has_output(struct uart *u)
{
	bool has;

	pthread_mutex_lock(&u->lock);
	has = u->out_head != u->out_tail;
	pthread_mutex_unlock(&u->lock);
	return has;
}

uint64_t uart_take_dropped(struct uart *u)
{
	uint64_t n;

	pthread_mutex_lock(&u->lock);
	n = u->n_dropped;
	u->n_dropped = 0;
	pthread_mutex_unlock(&u->lock);
	return n;
}

static const struct {
	const char *name;
	size_t offset;
	uint8_t max;
} uart_state[] = {
	{ "ier", offsetof(struct uart_regs, ier), IER_MASK },
	{ "lcr", offsetof(struct uart_regs, lcr), 0xff },
	{ "mcr", offsetof(struct uart_regs, mcr), MCR_MASK },
	{ "scr", offsetof(struct uart_regs, scr), 0xff },
	{ "dll", offsetof(struct uart_regs, dll), 0xff },
	{ "dlm", offsetof(struct uart_regs, dlm), 0xff },
	{ "fifo", offsetof(struct uart_regs, fifo), 1 },
	{ "thr-pending", offsetof(struct uart_regs, thr_pending), 1 },
};
_Static_assert(ARRAY_SIZE(uart_state) == sizeof(struct uart_regs), "a row for each register");

void uart_pause(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	u->paused = true;
	pthread_mutex_unlock(&u->lock);
}

void uart_save(struct uart *u, struct state_writer *w)
{
	pthread_mutex_lock(&u->lock);
	for (unsigned int i = 0; i < ARRAY_SIZE(uart_state); i++)
		state_put_u32(w, uart_state[i].name, *((uint8_t *)&u->regs + uart_state[i].offset));
	state_put_blob(w, "rx", u->rx, u->n_rx);
	pthread_mutex_unlock(&u->lock);
}

int uart_load(struct uart *u, struct state_node *node)
{
	struct uart_regs regs = { 0 };
	const uint8_t *rx = NULL;
	uint32_t v, n_rx = 0;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(uart_state); i++) {
		ret = state_get_u32(node, uart_state[i].name, 0, uart_state[i].max, &v);
		if (ret == 0)
			*((uint8_t *)&regs + uart_state[i].offset) = (uint8_t)v;
	}
	if (ret == 0)
		ret = state_get_blob(node, "rx", 0, UART_RX_MAX, &rx, &n_rx);
	if (ret == 0)
		ret = state_finish(node);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&u->lock);
	u->paused = true;
	u->regs = regs;
	u->n_rx = 0;
	if (rx)
		uart_push_rx(u, rx, n_rx);
	/* The level of the line is not in the interrupt controllers' state, so uart_resume() has to set it:
	 * an edge too many does no harm. */
	u->irq_high = uart_iir(u) == IIR_NO_INT;
	pthread_mutex_unlock(&u->lock);
	return 0;
}

void uart_resume(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	u->paused = false;
	uart_update(u);
	loop_signal(u->wake_fd);
	pthread_mutex_unlock(&u->lock);
}

void uart_reset(struct uart *u)
{
	pthread_mutex_lock(&u->lock);
	u->regs = (struct uart_regs){ 0 };
	u->n_rx = 0;
	uart_update(u);
	pthread_mutex_unlock(&u->lock);
}

int uart_init(struct uart *u, struct irq_table *irqs)
{
	*u = (struct uart){ .irqs = irqs };
	pthread_mutex_init(&u->lock, NULL);
	u->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (u->wake_fd >= 0)
		return 0;
	pthread_mutex_destroy(&u->lock);
	return -errno;
}

void uart_exit(struct uart *u)
{
	close(u->wake_fd);
	pthread_mutex_destroy(&u->lock);
}
