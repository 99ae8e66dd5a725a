/* SPDX-License-Identifier: MIT
 *
 * What a manager sends to have a capsule made of: the room for it, which is charged to the manager, its bytes as they
 * come, and what becomes of it. The session that it belongs to sees to that one call is made at a time.
 */
#ifndef CONTROL_UPLOAD_H
#define CONTROL_UPLOAD_H

#include "core/capsule.h"
#include "diosix/control.h"

struct upload {
    enum upload_state {
        UPLOAD_NONE,
        UPLOAD_RECEIVES,
        UPLOAD_COMPLETE,
        UPLOAD_DROPS, /* its room is on its way back */
    } state;
    struct kept image;
    struct charge charged;   /* to the manager: for the image, and for the capsule as far as its cost is known */
    uint64_t size, received; /* bytes */
};

/* Makes a capsule that has been checked: the boot layer's. Set once at boot; NULL: none is made. */
extern enum dx_error (*upload_make)(struct capsule_config *config, struct capsule **made, struct refusal *refusal);

/* From UPLOAD_NONE. */
[[nodiscard]] enum dx_error upload_begin(struct upload *upload, struct capsule *manager,
                                         const struct dx_control_create *wanted, struct refusal *refusal);
/* While it RECEIVES: how many of these bytes belong to it. COMPLETE after the last. */
size_t upload_take(struct upload *upload, const uint8_t *bytes, size_t length);
/* From COMPLETE to NONE, and the capsule is made; or to DROPS, on an error. */
[[nodiscard]] enum dx_error upload_finish(struct upload *upload, struct capsule *manager, uint32_t *id,
                                          struct refusal *refusal);
/* While it DROPS: a short step on the way to NONE. */
void upload_drop(struct upload *upload, const struct capsule *manager);

#endif
