/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole pieces of a stream, for who stands in the middle of one. */
#ifndef FERRY_TESTS_FAKE_SOCKET_BYTES_H
#define FERRY_TESTS_FAKE_SOCKET_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Take or send exactly @len bytes of the connected socket @fd; false at its end. Wait as long as that takes.
 */
bool fake_read_all(int fd, uint8_t *buf, size_t len);
bool fake_write_all(int fd, const uint8_t *buf, size_t len);

#endif
