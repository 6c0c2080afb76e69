/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk as a driver is shown it: tables of its features and of the fields of its configuration. */
#include "devices/blk/config_space.h"

#include <errno.h>
#include <linux/virtio_blk.h>

#include "devices/virtio/virtio.h"

_Static_assert(offsetof(struct virtio_blk_config, size_max) == 8, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, blk_size) == 20, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, physical_block_exp) == 24, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, max_discard_sectors) == 36, "virtio_blk_config");
_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 56, "virtio_blk_config");

/* Every disk offers these, so that what a host offers depends on its storage as little as can be. */
#define BLK_FEATURES                                                                                         \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |                          \
	 VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) |                           \
	 VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |                              \
	 VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH))

/* Features that depend on whether the disk is only read. */
static const uint64_t blk_features[] = {
	[false] = BLK_FEATURES | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	[true] = BLK_FEATURES | VIRTIO_BIT(VIRTIO_BLK_F_RO),
};

uint64_t blk_config_features(const struct blk_file *f)
{
	return blk_features[f->read_only];
}

/* Messages name features as the specification does. */
static const struct blk_feature_name {
	unsigned int bit;
	const char *name;
} blk_feature_names[] = {
	{ VIRTIO_BLK_F_SIZE_MAX, "SIZE_MAX" },
	{ VIRTIO_BLK_F_SEG_MAX, "SEG_MAX" },
	{ VIRTIO_BLK_F_BLK_SIZE, "BLK_SIZE" },
	{ VIRTIO_BLK_F_TOPOLOGY, "TOPOLOGY" },
	{ VIRTIO_BLK_F_FLUSH, "FLUSH" },
	{ VIRTIO_BLK_F_DISCARD, "DISCARD" },
	{ VIRTIO_BLK_F_WRITE_ZEROES, "WRITE_ZEROES" },
};

static uint64_t blk_physical_exp(const struct blk_file *f)
{
	return (uint64_t)__builtin_ctz(f->limits.physical_len / f->block_len);
}

static uint64_t blk_size_max(const struct blk_file *f)
{
	return BLK_MAX_SIZE;
}

static uint64_t blk_seg_max(const struct blk_file *f)
{
	return BLK_MAX_SEGS;
}

static uint64_t blk_block_len(const struct blk_file *f)
{
	return f->block_len;
}

static uint64_t blk_alignment_offset(const struct blk_file *f)
{
	return f->limits.alignment_offset / f->block_len;
}

static uint64_t blk_min_io(const struct blk_file *f)
{
	return f->limits.physical_len / f->block_len;
}

static uint64_t blk_max_discard(const struct blk_file *f)
{
	return BLK_MAX_DISCARD_SECTORS;
}

static uint64_t blk_max_ranges(const struct blk_file *f)
{
	return BLK_MAX_RANGES;
}

static uint64_t blk_discard_alignment(const struct blk_file *f)
{
	return f->limits.discard_len / BLK_SECTOR;
}

static uint64_t blk_max_write_zeroes(const struct blk_file *f)
{
	return BLK_MAX_WRITE_ZEROES_SECTORS;
}

static uint64_t blk_max_zero_ranges(const struct blk_file *f)
{
	return BLK_MAX_ZERO_RANGES;
}

static uint64_t blk_may_unmap(const struct blk_file *f)
{
	return 1;
}

static uint64_t blk_capacity(const struct blk_file *f)
{
	return blk_file_sectors(f);
}

/* A value that a guest has been shown elsewhere may differ from this host's in one of these ways. */
enum blk_field_kind {
	BLK_FIELD_SAME,
	BLK_FIELD_LIMIT, /* may be less than here */
	/* Says what is fast, so it may be anything up to a bound. */
	BLK_FIELD_HINT,
};

/* Hints end at what limits.c takes from storage, blocks of 1 MiB and discards of 1 GiB: a guest shifts by
 * them. */
#define BLK_MAX_PHYSICAL_EXP      11u
#define BLK_MAX_DISCARD_ALIGNMENT (1u << 21)

#define BLK_FIELD(name)                                                                                      \
	offsetof(struct virtio_blk_config, name), sizeof(((struct virtio_blk_config *)0)->name)

static const struct blk_field {
	size_t offset, size;
	/* The field is 0 where this is not offered; 0 itself where the field is always there. */
	uint64_t feature;
	enum blk_field_kind kind;
	uint64_t (*value)(const struct blk_file *f);
	uint64_t max; /* bound of a hint */
} blk_fields[] = {
	{ BLK_FIELD(capacity), 0, BLK_FIELD_SAME, blk_capacity, 0 },
	{ BLK_FIELD(size_max), VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX), BLK_FIELD_LIMIT, blk_size_max, 0 },
	{ BLK_FIELD(seg_max), 0, BLK_FIELD_LIMIT, blk_seg_max, 0 },
	{ BLK_FIELD(blk_size), 0, BLK_FIELD_SAME, blk_block_len, 0 },
	{ BLK_FIELD(physical_block_exp), VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY), BLK_FIELD_HINT, blk_physical_exp,
	  BLK_MAX_PHYSICAL_EXP },
	{ BLK_FIELD(alignment_offset), VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY), BLK_FIELD_HINT,
	  blk_alignment_offset, UINT8_MAX },
	{ BLK_FIELD(min_io_size), VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY), BLK_FIELD_HINT, blk_min_io, UINT16_MAX },
	{ BLK_FIELD(max_discard_sectors), 0, BLK_FIELD_LIMIT, blk_max_discard, 0 },
	{ BLK_FIELD(max_discard_seg), 0, BLK_FIELD_LIMIT, blk_max_ranges, 0 },
	{ BLK_FIELD(discard_sector_alignment), 0, BLK_FIELD_HINT, blk_discard_alignment,
	  BLK_MAX_DISCARD_ALIGNMENT },
	{ BLK_FIELD(max_write_zeroes_sectors), 0, BLK_FIELD_LIMIT, blk_max_write_zeroes, 0 },
	{ BLK_FIELD(max_write_zeroes_seg), 0, BLK_FIELD_LIMIT, blk_max_zero_ranges, 0 },
	{ BLK_FIELD(write_zeroes_may_unmap), 0, BLK_FIELD_SAME, blk_may_unmap, 0 },
};

static uint64_t blk_field_get(const struct blk_field *field, const uint8_t *config)
{
	uint8_t bytes[8] = { 0 };

	memcpy(bytes, config + field->offset, field->size);
	return get_le64(bytes);
}

void blk_config_build(const struct blk_file *f, uint64_t offered, uint8_t *config)
{
	memset(config, 0, BLK_CONFIG_LEN);
	for (unsigned int i = 0; i < ARRAY_SIZE(blk_fields); i++) {
		const struct blk_field *field = &blk_fields[i];
		uint8_t bytes[8];

		if (field->feature & ~offered)
			continue;
		put_le64(bytes, field->value(f));
		memcpy(config + field->offset, bytes, field->size);
	}
}

static bool blk_field_kept(const struct blk_field *field, uint64_t shown, uint64_t here)
{
	switch (field->kind) {
	case BLK_FIELD_SAME:
		return shown == here;
	case BLK_FIELD_LIMIT:
		return shown <= here;
	case BLK_FIELD_HINT:
		return shown <= field->max;
	}
	return false;
}

bool blk_config_kept(const struct blk_file *f, uint64_t offered, const uint8_t *shown)
{
	uint8_t here[BLK_CONFIG_LEN], rest[BLK_CONFIG_LEN];

	blk_config_build(f, offered, here);
	memcpy(rest, shown, sizeof(rest));
	for (unsigned int i = 0; i < ARRAY_SIZE(blk_fields); i++) {
		const struct blk_field *field = &blk_fields[i];

		if (!blk_field_kept(field, blk_field_get(field, shown), blk_field_get(field, here)))
			return false;
		memcpy(rest + field->offset, here + field->offset, field->size);
	}
	/* The source may be newer, and have given a meaning to bytes where this Ferry has no field. */
	return memcmp(rest, here, sizeof(rest)) == 0;
}

int blk_config_refuse_missing(uint64_t missing, const char *name, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(blk_feature_names); i++) {
		if (!virtio_has(missing, blk_feature_names[i].bit))
			continue;
		missing &= ~VIRTIO_BIT(blk_feature_names[i].bit);
		error_add(err, "%s: the guest has been shown VIRTIO_BLK_F_%s, which is not offered here",
			  name, blk_feature_names[i].name);
		ret = -ENOTSUP;
	}
	if (missing) {
		error_add(err, "%s: the guest has been shown features 0x%llx, which are not offered here",
			  name, (unsigned long long)missing);
		ret = -ENOTSUP;
	}
	return ret;
}
