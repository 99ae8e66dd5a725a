/* SPDX-License-Identifier: MIT
 *
 * Memory of the host that holds what a capsule is made from: what a manager has sent. One piece, not zeroed at first.
 */
#ifndef CORE_KEPT_H
#define CORE_KEPT_H

#include "lib/address.h"

struct kept {
    struct range host; /* of whole pages; size 0: none */
    uint64_t scrubbed; /* bytes from its beginning that have been cleared, on its way back */
};

/* Room for so many bytes (not 0). False: there is none, and *kept has none. */
[[nodiscard]] bool kept_take(struct kept *kept, uint64_t bytes);
/* The first byte, page-aligned. It has some. */
uint8_t *kept_bytes(const struct kept *kept);
/* Clears its next piece; true when none is left, at once if it has nothing. Short. */
bool kept_scrub(struct kept *kept);
/* Gives back what has been scrubbed. */
void kept_give(struct kept *kept);

#endif
