/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state as a flattened device tree. Numbers are big-endian cells as the format wants them (dtc prints
 * them), blobs are as their owner defines them.
 *
 * Reading is strict: the tree passes fdt_check_full() first; every property is read by name with its bounds;
 * a node is finished with state_finish(), which refuses properties and children that nobody asked for, unless
 * the node says that they are optional. So an older Ferry refuses a newer tree instead of dropping a part of
 * it that somebody may need.
 */
#ifndef FERRY_VMM_STATE_H
#define FERRY_VMM_STATE_H

#include <stdint.h>

#include "vmm/log.h"

/* The largest tree that is written or accepted, in bytes. */
#define STATE_MAX (4u << 20)
/* What most trees of a VM stay below, and what a vCPU adds to that: room that is made ahead. */
#define STATE_EXPECTED      65536u
#define STATE_EXPECTED_VCPU 16384u

/* The property in which a node lists what of it a reader may skip that does not know it: names of its
 * properties and children, with a space between two. A text of at most STATE_OPTIONAL_MAX bytes. */
#define STATE_OPTIONAL     "optional"
#define STATE_OPTIONAL_MAX 4096u

/* Writing: begin, properties, children, end. The first failure sticks and is returned by state_close(). */
struct state_writer {
	void *fdt;
	int ret;
};

/* Opens the writer with its root node. 0 or -errno. */
int __must_check state_open_writer(struct state_writer *w);
/* The same with room for @n_vcpus vCPUs, in memory that has been touched. */
int __must_check state_open_writer_for(struct state_writer *w, unsigned int n_vcpus);

void state_begin(struct state_writer *w, const char *name);
/* Begins a node "name@index", with the index in hex. */
void state_begin_indexed(struct state_writer *w, const char *name, unsigned int index);
void state_end(struct state_writer *w);
void state_put_u32(struct state_writer *w, const char *name, uint32_t v);
void state_put_u64(struct state_writer *w, const char *name, uint64_t v);
void state_put_string(struct state_writer *w, const char *name, const char *v);
/* @len may be 0. */
void state_put_blob(struct state_writer *w, const char *name, const void *data, uint32_t len);

/* Sets the root's property @name of a closed tree, which has it as a u64. */
void state_set_u64(void *fdt, const char *name, uint64_t v);

/* Puts a number beside the tree, for who reads the header alone; 0 unless it is put. Ferry 0.1 takes no
 * notice of it. Stands where a device tree of hardware has the CPU that boots (boot_cpuid_phys). */
void state_put_note(struct state_writer *w, uint32_t v);

/* Notes that what is to be written cannot be: @ret, -errno, is the failure, if it is the first. */
void state_fail(struct state_writer *w, int ret);

/*
 * Closes the root node and gives the packed tree to the caller, who free()s it. On error -errno and nothing
 * to free. Must be called once for each writer that was opened, or state_drop().
 */
int __must_check state_close(struct state_writer *w, void **fdt, uint32_t *len);
/* Gives up what was written. Nothing where the writer is closed, or all zero. */
void state_drop(struct state_writer *w);

/* The most properties, and the most children, that a node may have. */
#define STATE_MAX_ITEMS 256u

/* Reading. A node points into the tree, which must outlive it. */

struct state_node {
	const void *fdt;
	int offset;
	struct error *err;
	/* The text of STATE_OPTIONAL; NULL if there is none. */
	const char *optional;
	/* The number of properties read so far that are not optional; each is read once. */
	unsigned int n_props;
	/* The number of children opened so far that are not optional; each is opened once. */
	unsigned int n_children;
	/* The child opened last: the next is mostly the one behind it. 0: none. */
	int last_child;
	/* The property read last, in the same way. */
	int last_prop;
};

/* Checks @fdt (untrusted, @len bytes, aligned to 8) as a whole and opens its root. */
int __must_check state_open(struct state_node *root, const void *fdt, uint32_t len, struct error *err);

/* Returns the number that state_put_note() has put beside the tree of an open node. */
uint32_t state_note(const struct state_node *node);

/* Open a child. -ENOENT, with the reason, if there is no such child. */
int __must_check state_child(struct state_node *child, struct state_node *parent, const char *name);
int __must_check state_child_indexed(struct state_node *child, struct state_node *parent, const char *name,
				     unsigned int index);

/* Return whether the child or the property is there, for the parts of a tree that are optional. */
bool state_has_child(const struct state_node *node, const char *name);
bool state_has(const struct state_node *node, const char *name);

/* Read a number. -EINVAL, with the reason in the node's error, where it is outside [min, max], of another
 * length, or missing. */
int __must_check state_get_u32(struct state_node *node, const char *name, uint32_t min, uint32_t max,
			       uint32_t *v);
int __must_check state_get_u64(struct state_node *node, const char *name, uint64_t min, uint64_t max,
			       uint64_t *v);

/* Reads a NUL-terminated string of at most @max bytes without its end, without control characters; the result
 * points into the tree. */
int __must_check state_get_string(struct state_node *node, const char *name, uint32_t max, const char **v);

/* Reads a blob of @min to @max bytes; the result points into the tree and is not aligned. */
int __must_check state_get_blob(struct state_node *node, const char *name, uint32_t min, uint32_t max,
				const uint8_t **data, uint32_t *len);

/* Copies a blob of exactly @len bytes. */
int __must_check state_get_bytes(struct state_node *node, const char *name, void *dst, uint32_t len);

/* Finishes a node: -EINVAL if it holds properties or children that were not read, and are not optional. */
int __must_check state_finish(struct state_node *node);

#endif
