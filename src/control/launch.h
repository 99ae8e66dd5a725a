/* SPDX-License-Identifier: MIT
 *
 * From a capsule's configuration to a capsule: takes all its memory, makes its vCPUs, devices and isolation, and plans
 * what its RAM holds at start.
 */
#ifndef CONTROL_LAUNCH_H
#define CONTROL_LAUNCH_H

#include "core/capsule.h"
#include "core/machine.h"
#include "core/refusal.h"

/* What every guest is told of the machine; set once at boot. */
struct launch_host {
    const struct machine *machine;
    struct launch_kind {
        char isa[MACHINE_ISA_MAX];     /* what the host's tree says of all harts of this kind */
        char mmu_type[16];             /* the least */
        struct hart_features features; /* what all of them have */
        uint32_t cbom_block_size;      /* bytes, the same for all of them; likewise the next two */
        uint32_t cboz_block_size;
        uint32_t cbop_block_size;
    } kinds[HART_KINDS];
    void (*prove)(struct hart *hart, struct capsule *capsule); /* capsule_hooks.prove and .detach */
    void (*detach)(struct capsule *capsule);
};
/* what must stay valid: it is not copied. */
void launch_init(const struct launch_host *what);

/* Makes a capsule and appends it to the list of capsules, in state LOADED. On a refusal nothing is left behind. Logs
 * "Created capsule". */
[[nodiscard]] enum dx_error capsule_create(const struct capsule_config *config, struct capsule **result,
                                           struct refusal *refusal);

/* One capsule is made at a time, from boot on: false, another one is. No waiting. */
[[nodiscard]] bool launch_begin(void);
void launch_end(void);

/* Mixes entropy into what guests' rng-seeds are made from. */
void launch_seed(const uint8_t *bytes, size_t length);
/* Says that there was some among it that nobody can guess. */
void launch_trust_seed(void);
bool launch_has_entropy(void);
/* Unpredictable bytes. Any hart, any device's lock held. */
void launch_random(uint8_t *bytes, size_t length);

#endif
