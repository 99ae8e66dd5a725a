/* SPDX-License-Identifier: MIT
 *
 * Where a capsule's kernel, initrd and generated tree go in its RAM. Kernels are RISC-V Images, ELF files or flat
 * binaries (docs/manifest.md, "Kernels"). Their headers are hostile. Nothing is copied here: the plan's pieces point
 * into the manifest.
 */
#ifndef MANIFEST_IMAGE_H
#define MANIFEST_IMAGE_H

#include "core/capsule.h"
#include "core/config.h"
#include "core/refusal.h"

/* Fills in *plan for a capsule whose RAM is this guest-physical range: whole pages, not empty, ending at 2^56 at most.
 * Pure; no lock needed. When it succeeds, pieces ascend, don't overlap each other, the tree or what the kernel needs
 * for its zeroed data, and all lie in RAM; tree_room is a multiple of PAGE_SIZE and enough for the capsule's vCPUs and
 * bootargs; entry and initrd.base are guest-physical. On a refusal *plan is not to be used.
 * DX_BAD_IMAGE (the header), DX_TOO_LARGE, DX_UNALIGNED (RAM's base, kernel-offset), DX_BAD_VALUE (kernel-offset),
 * DX_OVERLAP (segments), DX_TOO_MANY (segments). */
[[nodiscard]] enum dx_error image_plan(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                                       struct refusal *refusal);

#endif
