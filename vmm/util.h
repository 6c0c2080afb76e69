/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small helpers that every part uses: array sizes, containers, unaligned little-endian access, time. */
#ifndef FERRY_VMM_UTIL_H
#define FERRY_VMM_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define __must_check __attribute__((warn_unused_result))

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define PAGE_SHIFT 12
/* musl's limits.h, which mbedTLS's headers include, has one of another type. */
#undef PAGE_SIZE
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
/* The size that an entry of the level above the last covers in a page table of x86. */
#define HUGE_PAGE_SIZE MIB(2)

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Rounds up to a multiple of @align, which is a power of two. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline bool is_power_of_2(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* Little-endian fields at any alignment: wire formats, guest structures, commands. */
static inline uint16_t get_le16(const void *p)
{
	const uint8_t *b = p;
	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t get_le32(const void *p)
{
	return (uint32_t)get_le16(p) | (uint32_t)get_le16((const uint8_t *)p + 2) << 16;
}

static inline uint64_t get_le64(const void *p)
{
	return (uint64_t)get_le32(p) | (uint64_t)get_le32((const uint8_t *)p + 4) << 32;
}

static inline void put_le16(void *p, uint16_t v)
{
	uint8_t *b = p;
	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void put_le32(void *p, uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void put_le64(void *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

/* Returns CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Returns CLOCK_REALTIME, the host's time of day, in nanoseconds since 1970. */
static inline uint64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Returns the time (now_ns()) at which @timeout_ms from now are over; UINT64_MAX for -1, which
 * means never. */
static inline uint64_t end_of(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : now_ns() + (uint64_t)timeout_ms * 1000000u;
}

/* Returns the milliseconds until @end_ns, rounded up, as poll() wants them: -1 for UINT64_MAX. */
static inline int ms_until(uint64_t end_ns)
{
	uint64_t now = now_ns();

	if (end_ns == UINT64_MAX)
		return -1;
	return end_ns <= now ? 0 : (int)min_u64((end_ns - now + 999999) / 1000000, INT32_MAX);
}

#endif
