/* SPDX-License-Identifier: MIT
 *
 * Memory that a capsule is made from: see kept.h.
 */
#include "core/kept.h"

#include <string.h>

#include "core/memory.h"

enum { SCRUB_STEP = 16 * KIB };

bool kept_take(struct kept *kept, uint64_t bytes)
{
    *kept = (struct kept){0};
    if (!memory_take_high(align_up(bytes, PAGE_SIZE), PAGE_SIZE, &kept->host)) {
        kept->host = (struct range){0};
        return false;
    }
    return true;
}

uint8_t *kept_bytes(const struct kept *kept)
{
    return hpa_pointer((hpa_t){kept->host.base});
}

bool kept_scrub(struct kept *kept)
{
    const uint64_t length = MIN(kept->host.size - kept->scrubbed, (uint64_t)SCRUB_STEP);
    if (length != 0) {
        memset(kept_bytes(kept) + kept->scrubbed, 0, (size_t)length);
        kept->scrubbed += length;
    }
    return kept->scrubbed == kept->host.size;
}

void kept_give(struct kept *kept)
{
    assert(kept->scrubbed == kept->host.size);
    if (kept->host.size != 0) {
        memory_give(kept->host);
    }
    *kept = (struct kept){0};
}
