/* SPDX-License-Identifier: MIT
 *
 * All capsules: see capsules.h.
 */
#include "core/capsules.h"

#include <string.h>

struct capsule *capsules;
static struct spinlock list_lock; /* guards the list and next_id */
static uint32_t next_id = 1;

void capsules_add(struct capsule *capsule)
{
    spinlock_take(&list_lock);
    struct capsule **link = &capsules;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    capsule->id = next_id++;
    capsule->next = NULL;
    *link = capsule;
    spinlock_release(&list_lock);
}

void capsules_remove(struct capsule *capsule)
{
    spinlock_take(&list_lock);
    struct capsule **link = &capsules;
    while (*link != capsule) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = capsule->next;
    spinlock_release(&list_lock);
}

struct capsule *capsule_find(const char *name)
{
    spinlock_take(&list_lock);
    struct capsule *capsule = capsules;
    while (capsule != NULL && strcmp(capsule->config.name, name) != 0) {
        capsule = capsule->next;
    }
    spinlock_release(&list_lock);
    return capsule;
}

struct capsule *capsule_after(uint32_t after)
{
    spinlock_take(&list_lock);
    struct capsule *capsule = capsules;
    while (capsule != NULL && capsule->id <= after) {
        capsule = capsule->next;
    }
    spinlock_release(&list_lock);
    return capsule;
}

struct capsule *capsule_after_of(uint32_t after, uint32_t manager)
{
    spinlock_take(&list_lock);
    struct capsule *capsule = capsules;
    while (capsule != NULL &&
           (capsule->id <= after || (capsule->id != manager && capsule->config.origin.creator != manager))) {
        capsule = capsule->next;
    }
    spinlock_release(&list_lock);
    return capsule;
}

void capsules_each(void (*visit)(struct capsule *capsule, void *argument), void *argument)
{
    spinlock_take(&list_lock);
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        visit(capsule, argument);
    }
    spinlock_release(&list_lock);
}
