/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounds the memory that mbedTLS takes: what a stranger sends decides how much it asks for. Debian's archive
 * has been built without hooks, so the linker (--wrap) leads all calls of calloc() and free() here. One
 * thread.
 */
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes that mbedTLS may have at once. A handshake with certificates of a private CA takes less than 64 KiB,
 * of which the two buffers of records are 33 KiB; the rest is for chains and for large keys. Beyond this
 * mbedTLS is told that there is no memory, and the connection is refused.
 */
#define TLS_HEAP_MAX (192u << 10)

/* Named by the linker. */
void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

static size_t heap_used;

void *__wrap_calloc(size_t n, size_t size)
{
	size_t len;
	void *p;

	if (__builtin_mul_overflow(n, size, &len) || len > TLS_HEAP_MAX - heap_used)
		return NULL;
	p = __real_calloc(n, size);
	if (!p)
		return NULL;
	/* The allocator gives somewhat more than was asked for: the last piece may reach over the bound, so
	 * that the count is cut there. */
	len = malloc_usable_size(p);
	heap_used = len > TLS_HEAP_MAX - heap_used ? TLS_HEAP_MAX : heap_used + len;
	return p;
}

void __wrap_free(void *p)
{
	size_t len = p ? malloc_usable_size(p) : 0;

	heap_used -= len < heap_used ? len : heap_used;
	__real_free(p);
}
