/* SPDX-License-Identifier: MIT
 *
 * The manifest: a device tree blob that says which capsules the hypervisor boots with. Users' page:
 * docs/manifest.md. The blob is hostile until manifest_check has passed it and is never written; what is handed
 * out points into it, so it must stay where it is. Nothing here takes a lock; called at boot by one hart.
 */
#ifndef MANIFEST_MANIFEST_H
#define MANIFEST_MANIFEST_H

#include "core/config.h"
#include "core/refusal.h"

enum { CAPSULE_BOOTARGS_MAX = 2047 }; /* characters */

/* An opened manifest: where in the blob its parts are. */
struct manifest {
    const void *blob;
    int capsules;             /* offset of /capsules */
    int after_capsules;       /* of the root's next child; negative if there is none */
    int networks;             /* of /networks; likewise
                               */
    int images;               /* of /images; negative if there is none */
    bool places_are_physical; /* memory-base is a host address unless isolation says otherwise; the opener's to set */
};

/* Whether the bytes at blob (8-byte aligned; limit of them may be read) are a sound device tree that calls itself a
 * manifest and has /capsules. DX_UNALIGNED, DX_BAD_TREE, DX_BAD_VALUE (not a manifest), DX_MISSING. */
[[nodiscard]] enum dx_error manifest_check(const void *blob, size_t limit, struct refusal *refusal);

/* manifest_check, then fills in *manifest. */
[[nodiscard]] enum dx_error manifest_open(struct manifest *manifest, const void *blob, size_t limit,
                                          struct refusal *refusal);

/* Goes through the networks that it describes; *cursor starts as 0. Each call that returns true gives one, or an
 * error other than DX_OK and the reason. False at the end. */
bool manifest_next_network(const struct manifest *manifest, int *cursor, struct network_config *config,
                           struct refusal *refusal, enum dx_error *error);

/* Goes through an opened manifest; *cursor starts as 0. Each call that returns true gives one of:
 *   *error == DX_OK   *config is a capsule, checked on its own and against the capsules before it;
 *   else              *refusal says in one line what was refused and why; the next call goes on behind it.
 *                     config->name is the capsule's name made printable, or "" if no capsule is concerned.
 * False at the end; *config, *refusal and *error then say nothing. */
bool manifest_next(const struct manifest *manifest, int *cursor, struct capsule_config *config, struct refusal *refusal,
                   enum dx_error *error);

/* Whether this is 1 to CAPSULE_NAME_MAX of a-z, 0-9 and -; at most so many and a NUL are looked at. */
bool name_allowed(const char *name);

#endif
