/* SPDX-License-Identifier: MIT
 *
 * The capsule machine's devices: which there are, where they are, and how they hang together
 * (docs/capsule-machine.md).
 */
#ifndef CONTROL_MACHINE_PARTS_H
#define CONTROL_MACHINE_PARTS_H

#include "core/capsule.h"
#include "core/refusal.h"

/* Makes the devices and puts them on the capsule's bus. DX_NO_MEMORY, or DX_OVERLAP if one would lie in RAM. */
[[nodiscard]] enum dx_error machine_parts_create(struct capsule *capsule, struct refusal *refusal);
/* Gives back what create took; does nothing if it took nothing. */
void machine_parts_destroy(struct capsule *capsule);
/* Where the host's time of the day comes from: nanoseconds since 1970. Default: time since power-on. */
void machine_parts_set_clock(uint64_t (*now_ns)(void));

#endif
