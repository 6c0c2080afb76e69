/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device as the VM and a migration know it: devices/ and migration/ meet here.
 *
 * All operations are called on the migration's thread (or the main thread, at boot), never on a vCPU's, and
 * never two at once for one device. A device with a thread of its own hands the call over to it (loop_call(),
 * or a job with a deadline where that thread may be kept by the host). An operation that is NULL has nothing
 * to do and succeeds.
 *
 * At the source, in this order:
 *
 *	describe -> track(on) -> warm_save ... settle -> [vCPUs stopped] pause -> settle -> save -> release
 *	            track(off) <- reclaim -> resume, where the migration is given up <-/
 *
 * At the destination, where the guest has no memory yet in accept and has all that it needs in load:
 *
 *	accept -> warm_load ... warm_load -> [COMMIT not yet seen] load -> [COMMIT] resume(arrived)
 *	              release, where the migration fails at any of these <-/
 */
#ifndef FERRY_VMM_DEVICE_H
#define FERRY_VMM_DEVICE_H

#include "vmm/state.h"

struct device;

struct device_ops {
	/*
	 * The device as it was built, not its state: what the destination must match before anything is
	 * moved. Part of the HELLO. vCPUs are running.
	 */
	void (*describe)(struct device *dev, struct state_writer *w);

	/*
	 * Checks the peer's description against this device. Every reason against it goes into the node's
	 * error, by name. May adapt what is not yet visible to a guest (a NIC that has more queue pairs than
	 * the source's shows fewer).
	 */
	int (*accept)(struct device *dev, struct state_node *node);

	/*
	 * A migration begins: from here on the device marks what it writes to guest memory. May take a host's
	 * device off the guest's rings; *@still_ns, 0 before, becomes how long it stood still for that.
	 * -errno: it cannot, says why, and goes on as before. With @on false the migration has been given up,
	 * and everything goes on as it did before it; this cannot fail, and leaves the rest alone. vCPUs are
	 * running.
	 */
	int (*track)(struct device *dev, bool on, uint64_t *still_ns, struct error *err);

	/*
	 * State that a destination can apply ahead of time, as a whole. Returns 1 if written, 0 if nothing
	 * has changed since the last call with @first false (then nothing was written). @first starts a new
	 * migration: everything counts as changed. vCPUs are running.
	 */
	int (*warm_save)(struct device *dev, struct state_writer *w, bool first);

	/*
	 * Applies what warm_save wrote: the first time and again for each change, ending in the state that
	 * the latest one describes. A refusal by the host's device is named in the node's error and fails the
	 * migration.
	 */
	int (*warm_load)(struct device *dev, struct state_node *node);

	/*
	 * Stops touching guest memory and takes in what the host's device has finished. vCPUs are stopped.
	 * Can be undone by resume. A device that has settle() only begins here, and settle() says when it is
	 * done.
	 */
	void (*pause)(struct device *dev);

	/*
	 * For a device whose storage or other party may never answer: waits for its answers, until @until_ns
	 * (now_ns()) at most. While vCPUs run it waits for what is under way at the first call, so that a
	 * party that does not answer is found before the stop. After pause() it waits for everything, and 0
	 * says that pause() is done. -EAGAIN, without a reason: not yet; called again it goes on waiting.
	 * Else -errno with the reason. The migration can be given up at any time instead: resume() then goes
	 * on with what is under way.
	 */
	int (*settle)(struct device *dev, uint64_t until_ns, struct error *err);

	/* State of a paused device. vCPUs are stopped. Changes nothing: called twice it writes the same
	 * bytes. Lets go of what load() takes at the destination and only one can have: see reclaim. */
	void (*save)(struct device *dev, struct state_writer *w);

	/*
	 * Validates as a whole, then takes over. Guest memory is complete. Nothing is visible to the guest or
	 * the network until resume; a failure leaves a device that can only be thrown away.
	 */
	int (*load)(struct device *dev, struct state_node *node);

	/*
	 * Has back what save() has let go of, so that resume() can follow; nothing where save() was not
	 * called. -EAGAIN, with the reason: somebody else has it still, perhaps a destination that is about
	 * to end. Without it the guest must not run here.
	 */
	int (*reclaim)(struct device *dev, struct error *err);

	/* Goes on after pause or load. @arrived: on a new host, so that the network must be told. Cannot
	 * fail. */
	void (*resume)(struct device *dev, bool arrived);

	/* The guest runs elsewhere now, or did not arrive: gives the host's resources back. The device is
	 * only good for being freed. */
	void (*release)(struct device *dev);
};

struct device {
	const struct device_ops *ops;
	const char *name; /* node name in state trees, unique in a VM: "serial", "net0" */
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
