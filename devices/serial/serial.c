/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port put together: a UART for the guest, its other end on the host, and the device. */
#include "devices/serial/serial.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/serial/host.h"
#include "devices/serial/uart.h"
#include "vmm/x86/layout.h"

struct serial {
	struct device dev;
	struct uart uart;
	struct serial_host host;
};

static void serial_pause(struct device *dev)
{
	uart_pause(&container_of(dev, struct serial, dev)->uart);
}

static void serial_save(struct device *dev, struct state_writer *w)
{
	uart_save(&container_of(dev, struct serial, dev)->uart, w);
}

static int serial_load(struct device *dev, struct state_node *node)
{
	return uart_load(&container_of(dev, struct serial, dev)->uart, node);
}

static void serial_resume(struct device *dev, enum device_resume as)
{
	struct serial *s = container_of(dev, struct serial, dev);

	/* The main thread resumes a guest that has arrived, so the terminal can be taken here. */
	if (as == DEVICE_ARRIVED)
		serial_host_take_terminal(&s->host);
	uart_resume(&s->uart);
}

static int serial_reset(struct device *dev, uint64_t until_ns)
{
	uart_reset(&container_of(dev, struct serial, dev)->uart);
	return 0;
}

static int serial_attach(struct device *dev, int fd, struct error *err)
{
	return serial_consoles_attach(&container_of(dev, struct serial, dev)->host.consoles, fd, err);
}

static const struct device_ops serial_device_ops = {
	.pause = serial_pause,
	.save = serial_save,
	.load = serial_load,
	.resume = serial_resume,
	.reset = serial_reset,
	.attach = serial_attach,
};

int serial_create(struct serial **serial, struct vm *vm, const struct vm_config *config, struct error *err)
{
	struct serial *s = calloc(1, sizeof(*s));
	int ret;

	if (!s) {
		error_add(err, "out of memory for the serial port");
		return -ENOMEM;
	}
	s->dev = (struct device){ .ops = &serial_device_ops, .name = "serial" };
	ret = uart_init(&s->uart, &vm->irqs);
	if (ret < 0) {
		error_add(err, "cannot set up the serial port: %s", strerror(-ret));
		goto free_serial;
	}
	ret = serial_host_open(&s->host, &s->uart, vm, config, err);
	if (ret < 0)
		goto close_host;
	ret = bus_add(&vm->pio, LAYOUT_SERIAL_PORT, UART_N_PORTS, &uart_bus_ops, &s->uart);
	if (ret < 0) {
		error_add(err, "cannot place the serial port: %s", strerror(-ret));
		goto close_host;
	}
	vm_add_device(vm, &s->dev);
	*serial = s;
	return 0;

close_host:
	serial_host_close(&s->host);
	uart_exit(&s->uart);
free_serial:
	free(s);
	return ret;
}

void serial_guard(struct serial *s, struct guard *guard)
{
	serial_host_guard(&s->host, guard);
}

void serial_destroy(struct serial *s)
{
	serial_host_close(&s->host);
	uart_exit(&s->uart);
	free(s);
}
