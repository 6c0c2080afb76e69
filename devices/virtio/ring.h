/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Layout of split and packed rings (virtio 1.4, "Split Virtqueues", "Packed Virtqueues"), and access of exact
 * width to memory that the other side may change at any time. Only the two sides of a ring, vring and svq,
 * and who breaks one on purpose, look at its memory.
 */
#ifndef FERRY_DEVICES_VIRTIO_RING_H
#define FERRY_DEVICES_VIRTIO_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "ring fields are little-endian and are not swapped");

struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct ring_desc) == 16, "ring layout");

/* Offsets in both the available and the used ring of a split one. */
#define RING_FLAGS   0u
#define RING_IDX     2u
#define RING_ENTRIES 4u

static inline uint64_t ring_avail_entry(unsigned int slot)
{
	return RING_ENTRIES + 2ull * slot;
}

static inline uint64_t ring_used_entry(unsigned int slot)
{
	return RING_ENTRIES + 8ull * slot;
}

/* used_event lies behind the last entry of the available ring, avail_event behind that of the used ring. */
static inline uint64_t ring_used_event(uint16_t size)
{
	return ring_avail_entry(size);
}

static inline uint64_t ring_avail_event(uint16_t size)
{
	return ring_used_entry(size);
}

static inline uint16_t ring_load_u16(const uint8_t *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)(const void *)p, memory_order_relaxed);
}

static inline uint16_t ring_load_u16_acquire(const uint8_t *p)
{
	return atomic_load_explicit((const _Atomic uint16_t *)(const void *)p, memory_order_acquire);
}

static inline uint32_t ring_load_u32(const uint8_t *p)
{
	return atomic_load_explicit((const _Atomic uint32_t *)(const void *)p, memory_order_relaxed);
}

static inline void ring_store_u16(uint8_t *p, uint16_t v)
{
	atomic_store_explicit((_Atomic uint16_t *)(void *)p, v, memory_order_relaxed);
}

static inline void ring_store_u16_release(uint8_t *p, uint16_t v)
{
	atomic_store_explicit((_Atomic uint16_t *)(void *)p, v, memory_order_release);
}

static inline void ring_store_u32(uint8_t *p, uint32_t v)
{
	atomic_store_explicit((_Atomic uint32_t *)(void *)p, v, memory_order_relaxed);
}

/* Descriptors are read as two words, each once: no atomics, for nothing aligns an indirect table. */
struct ring_word {
	uint64_t v;
} __attribute__((packed, may_alias));

static inline struct ring_desc ring_load_desc(const uint8_t *table, unsigned int i)
{
	const volatile struct ring_word *word = (const volatile struct ring_word *)(table + 16ull * i);
	uint64_t addr = word[0].v;
	uint64_t rest = word[1].v;

	return (struct ring_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

/* Offsets in a descriptor of a packed ring. Its id and flags have changed places with a split ring's flags
 * and next. */
#define RING_PACKED_LEN   8u
#define RING_PACKED_ID    12u
#define RING_PACKED_FLAGS 14u
/* Two flags say whose a descriptor is: it is available if the first is the driver's wrap counter and the
 * second is not, and used if both are the device's. */
#define RING_PACKED_F_AVAIL 0x0080u
#define RING_PACKED_F_USED  0x8000u

/* An event suppression structure, read and written as one word: offset and wrap counter, then flags. */
#define RING_EVENT_BYTES   4u
#define RING_EVENT_ENABLE  0u
#define RING_EVENT_DISABLE 1u
#define RING_EVENT_DESC    2u

static inline uint32_t ring_event(uint32_t flags, uint16_t offset, bool wrap)
{
	return flags << 16 | (uint32_t)wrap << 15 | offset;
}

/* A descriptor of a packed ring as one of a split ring, its id in @next. */
static inline struct ring_desc ring_packed_desc(uint64_t addr, uint64_t rest)
{
	return (struct ring_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 48),
		.next = (uint16_t)(rest >> 32),
	};
}

/* Flags and id are in the second word, so that both are of one moment; everything else of the chain is read
 * after it. */
static inline struct ring_desc ring_load_packed_desc(const uint8_t *ring, unsigned int i)
{
	const uint8_t *p = ring + 16ull * i;
	uint64_t rest =
		atomic_load_explicit((const _Atomic uint64_t *)(const void *)(p + 8), memory_order_acquire);
	uint64_t addr = atomic_load_explicit((const _Atomic uint64_t *)(const void *)p, memory_order_relaxed);

	return ring_packed_desc(addr, rest);
}

/* An entry of an indirect table, which nothing aligns. */
static inline struct ring_desc ring_load_packed_table(const uint8_t *table, unsigned int i)
{
	const volatile struct ring_word *word = (const volatile struct ring_word *)(table + 16ull * i);
	uint64_t addr = word[0].v;

	return ring_packed_desc(addr, word[1].v);
}

#endif
