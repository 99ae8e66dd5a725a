/* SPDX-License-Identifier: MIT
 *
 * Which sectors of a disk a capsule means, and what a manager may give to capsules that it makes.
 */
#ifndef CONTROL_STRETCH_H
#define CONTROL_STRETCH_H

#include "core/capsule.h"
#include "core/disk.h"
#include "core/refusal.h"

/* The sectors that a device of that capsule's wants of the disk (NULL: there is none): on the disk, and whole blocks.
 */
[[nodiscard]] enum dx_error stretch_find(const char *capsule, const struct device_config *wanted,
                                         const struct disk *disk, struct range *stretch, struct refusal *refusal);
/* Whether a capsule that this manager makes may have the device: a network, or a stretch of a disk of the machine's, is
 * one that the manager has been given for them (for-capsules), or lies within. Others may be had anyway. */
bool stretch_is_granted(const struct capsule *manager, const struct device_config *wanted);

#endif
