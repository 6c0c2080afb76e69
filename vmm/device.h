/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device as the VM and a migration know it: devices/ and migration/ meet here.
 *
 * Operations are called for one device at a time, in the order of the VM's list, and never two at once: at
 * the source on the migration's thread, at the destination on the main thread before its loop runs. A device
 * with a thread of its own hands the call over to it (loop_call(), or a job with a deadline where that thread
 * may be kept by the host). An operation that is NULL has nothing to do and succeeds.
 *
 * At the source, in this order (vCPUs stop before pause, and go on after resume):
 *
 *	describe -> track -> warm_save, settle, again and again -> pause -> settle -> save -> release
 *
 * A migration can be given up after each of them, release excepted:
 *
 *	after pause or save: reclaim -> resume -> untrack        before: untrack
 *
 * At the destination, where the guest has no memory yet in accept and all that it needs in load:
 *
 *	accept -> warm_load, again for each change -> load -> resume, once the source has committed itself
 *	-> arrived
 *
 * A migration that fails there, at any of them, ends with release.
 *
 * The guest's reset is apart from both: reset(), for each device, while no migration is under way.
 *
 * Who only asks what a device is and does, by tell() and measure(), may do so on any thread, also while
 * another operation is under way, until devices are freed.
 */
#ifndef FERRY_VMM_DEVICE_H
#define FERRY_VMM_DEVICE_H

#include "vmm/facts.h"
#include "vmm/metrics.h"
#include "vmm/state.h"

struct device;

/* Where a guest goes on: where it was paused, or on a new host, so that the network must be told. */
enum device_resume { DEVICE_STAYED, DEVICE_ARRIVED };

struct device_ops {
	/*
	 * Writes the device as it was built, not its state: what the destination must match before anything
	 * is moved. vCPUs are running.
	 */
	void (*describe)(struct device *dev, struct state_writer *w);

	/*
	 * Checks the peer's description against this device. Every reason against it goes into the node's
	 * error, by name. May adapt what is not yet visible to a guest (a NIC that has more queue pairs than
	 * the source's shows fewer). 0 or -errno; the caller opens and finishes the node, here and below.
	 */
	int (*accept)(struct device *dev, struct state_node *node);

	/*
	 * A migration begins: from here on the device marks what it writes to guest memory. May take a host's
	 * device off the guest's rings; *@still_ns, 0 before, becomes how long it stood still for that.
	 * -errno with the reason: it cannot, and goes on as before. vCPUs are running.
	 */
	int (*track)(struct device *dev, uint64_t *still_ns, struct error *err);

	/*
	 * The migration has been given up: everything goes on as it did before track(). Also called for a
	 * device whose track() failed, or was not reached. Cannot fail. vCPUs are running.
	 */
	void (*untrack)(struct device *dev);

	/*
	 * Writes state that a destination can apply ahead of time, as a whole. 1: written; 0: nothing has
	 * changed since the last call, and nothing was written, which only happens with @first false. @first
	 * starts a new migration: everything counts as changed. Cannot fail. vCPUs are running.
	 */
	int (*warm_save)(struct device *dev, struct state_writer *w, bool first);

	/*
	 * Applies what warm_save() wrote: the first time and again for each change, ending in the state that
	 * the latest one describes. A refusal by the host's device is named in the node's error and fails the
	 * migration. A device that has this operation has had one call before load().
	 */
	int (*warm_load)(struct device *dev, struct state_node *node);

	/*
	 * Stops touching guest memory and takes in what the host's device has finished. A device that has
	 * settle() only begins here, and settle() says when it is done. vCPUs are stopped.
	 */
	void (*pause)(struct device *dev);

	/*
	 * For a device whose storage or other party may never answer: waits for its answers, until @until_ns
	 * (now_ns()) at most. While vCPUs run it waits for what is under way at the first call, so that a
	 * party that does not answer is found before the stop. After pause() it waits for everything, and 0
	 * says that pause() is done. -EAGAIN, without a reason: not yet; called again it goes on waiting.
	 * Else -errno with the reason.
	 */
	int (*settle)(struct device *dev, uint64_t until_ns, struct error *err);

	/*
	 * Writes the state of a paused device, and changes nothing of it: called twice it writes the same
	 * bytes. Lets go of what load() takes at the destination and only one can have, see reclaim(). vCPUs
	 * are stopped.
	 */
	void (*save)(struct device *dev, struct state_writer *w);

	/*
	 * Reads and validates the state as a whole, then takes it over. The vCPUs' is loaded, and guest
	 * memory is complete. Nothing is visible to the guest or the network until resume(); a failure leaves
	 * a device that can only be released and freed.
	 */
	int (*load)(struct device *dev, struct state_node *node);

	/*
	 * Has back what save() has let go of, so that resume() can follow; does nothing where save() was not
	 * called. -EAGAIN, with the reason: somebody else has it still, perhaps a destination that is about
	 * to end; called again it tries again. While it fails the guest must not run here.
	 */
	int (*reclaim)(struct device *dev, struct error *err);

	/*
	 * Goes on after pause() or load(), also with what was under way when the migration was given up.
	 * Cannot fail. vCPUs are stopped.
	 */
	void (*resume)(struct device *dev, enum device_resume as);

	/*
	 * The guest runs here, and has come from another host: tells those outside of it who want to know, as
	 * the network does. After resume(), because what this takes would be downtime.
	 */
	void (*arrived)(struct device *dev);

	/* The guest runs elsewhere now, or did not arrive: gives the host's resources back. The device can
	 * only be freed after it. */
	void (*release)(struct device *dev);

	/*
	 * The guest begins anew: the device lets go of guest memory, and becomes what a guest finds at
	 * power-on. What it has of the host's it keeps. Waits for those who have guest memory still, until
	 * @until_ns (now_ns()) at most. 0; -EAGAIN: they have it yet, and called again it goes on waiting.
	 * vCPUs are stopped, and no migration is under way; on the main thread.
	 */
	int (*reset)(struct device *dev, uint64_t until_ns);

	/*
	 * Says what the device is and does now: the first in words, as members of the object that @f has open
	 * (ferry-control(7) documents them), the other in numbers. What is too long for one answer is told in
	 * parts: *@from is 0 for the first one, and becomes what the next is to be asked with, 0 at the end.
	 * A device that stands still is waited for until @until_ns (now_ns()) at most: -ETIMEDOUT with the
	 * reason.
	 */
	int (*tell)(struct device *dev, struct facts *f, unsigned int *from, uint64_t until_ns,
		    struct error *err);
	int (*measure)(struct device *dev, struct metrics *m, unsigned int *from, uint64_t until_ns,
		       struct error *err);

	/*
	 * Takes @fd, a connected unix stream socket, as a console: what the guest says goes out there, and
	 * what comes in is typed for the guest, until its other end is closed. -EINVAL: it is no such socket,
	 * and -EBUSY: there are as many as there can be; with the reason, and then @fd stays the caller's.
	 * Waits for nobody. On any thread, until devices are freed.
	 */
	int (*attach)(struct device *dev, int fd, struct error *err);
};

struct device {
	const struct device_ops *ops;
	/* The name of its node in state trees, unique in a VM: "serial", "net0". */
	const char *name;
	struct device *next;
};

/* Releases @first and all behind it. */
static inline void devices_release(struct device *first)
{
	for (struct device *dev = first; dev; dev = dev->next) {
		if (dev->ops->release)
			dev->ops->release(dev);
	}
}

#endif
