/* SPDX-License-Identifier: MIT
 *
 * All capsules, in order of their ids. What the functions return is valid until the calling hart returns from its trap
 * (out of hart_serve or trap_handle): a capsule's memory is given back only when every hart has passed that point
 * (core/reaper.h). Any hart, any lock held but the list's own, which is a leaf.
 */
#ifndef CORE_CAPSULES_H
#define CORE_CAPSULES_H

#include "core/capsule.h"

/* The first; the list's lock guards it and the links. */
extern struct capsule *capsules;

/* Appends a capsule, which gets its id. */
void capsules_add(struct capsule *capsule);
void capsules_remove(struct capsule *capsule);

/* The capsule of that name, or the one with the least id above after; NULL if there is none. */
struct capsule *capsule_find(const char *name);
struct capsule *capsule_after(uint32_t after);
/* The one with the least id above after that is the manager with this id, or made by it; NULL if there is none. */
struct capsule *capsule_after_of(uint32_t after, uint32_t manager);
/* Calls visit for each, with the list's lock held: it may take no lock and not call any of these. */
void capsules_each(void (*visit)(struct capsule *capsule, void *argument), void *argument);

#endif
