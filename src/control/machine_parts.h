/* SPDX-License-Identifier: MIT
 *
 * The capsule machine's devices: which there are, where they are, and how they hang together
 * (docs/capsule-machine.md).
 */
#ifndef CONTROL_MACHINE_PARTS_H
#define CONTROL_MACHINE_PARTS_H

#include "core/capsule.h"
#include "core/refusal.h"
#include "dt/guest_tree.h"

/* Makes the devices and puts them on the capsule's bus. DX_NO_MEMORY, or DX_OVERLAP if one would lie in RAM. */
[[nodiscard]] enum dx_error machine_parts_create(struct capsule *capsule, struct refusal *refusal);
/* The capsule has stopped, no vCPU of it is running: takes back the timers of its devices, and their ways to its
 * RAM that need no vCPU, until their reset at the next start. Any hart, no lock held. */
void machine_parts_silence(struct capsule *capsule);
bool machine_parts_device_stats(const struct capsule *capsule, uint32_t index, struct device_stats *out);
/* One bounded step of filling its disks, which is done once, or of scrubbing them: true when nothing is left. */
bool machine_parts_fill(struct capsule *capsule);
bool machine_parts_scrub(struct capsule *capsule);
/* The tree that is being written at its start; none is, if its buffer is NULL. */
struct guest_tree *machine_parts_tree(struct capsule *capsule);
/* Nothing of the machine's knows of its devices any more; once, when it has left the list of capsules. */
void machine_parts_detach(struct capsule *capsule);
/* It was paused and is about to run again: its watchdog gets a whole period. Likewise. */
void machine_parts_resume(struct capsule *capsule);
/* Gives back what create took; does nothing if it took nothing. No hart may be serving a timer of the capsule: call it
 * once every hart has returned from its trap since the capsule stopped. */
void machine_parts_destroy(struct capsule *capsule);
/* Where the host's time of the day comes from: nanoseconds since 1970. Default: time since power-on. */
void machine_parts_set_clock(uint64_t (*now_ns)(void));

#endif
