/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debian builds its archives with glibc's fortification: calls whose objects have a known size go to checking
 * functions, which musl lacks. These are the ones that mbedTLS's archives call.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__memcpy_chk(void *to, const void *from, size_t len, size_t size);
void *__memset_chk(void *to, int byte, size_t len, size_t size);
void __explicit_bzero_chk(void *to, size_t len, size_t size);
int __printf_chk(int flag, const char *fmt, ...);
int __snprintf_chk(char *to, size_t len, int flag, size_t size, const char *fmt, ...);
int __vsnprintf_chk(char *to, size_t len, int flag, size_t size, const char *fmt, va_list args);

static void fits(size_t len, size_t size)
{
	if (len > size)
		abort();
}

void *__memcpy_chk(void *to, const void *from, size_t len, size_t size)
{
	fits(len, size);
	return memcpy(to, from, len);
}

void *__memset_chk(void *to, int byte, size_t len, size_t size)
{
	fits(len, size);
	return memset(to, byte, len);
}

void __explicit_bzero_chk(void *to, size_t len, size_t size)
{
	fits(len, size);
	explicit_bzero(to, len);
}

int __vsnprintf_chk(char *to, size_t len, int flag, size_t size, const char *fmt, va_list args)
{
	fits(len, size);
	return vsnprintf(to, len, fmt, args);
}

int __snprintf_chk(char *to, size_t len, int flag, size_t size, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = __vsnprintf_chk(to, len, flag, size, fmt, args);
	va_end(args);
	return n;
}

/* Only self-tests print, and nobody calls them. */
int __printf_chk(int flag, const char *fmt, ...)
{
	return 0;
}
