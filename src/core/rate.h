/* SPDX-License-Identifier: MIT
 *
 * A limit to what somebody moves in a second, in bytes, in operations, or both. What was used is remembered as the time
 * at which it would all have been moved at the limit's speed; as long as that lies no more than a burst ahead, there
 * may be more. So nobody fills a bucket, and a large request is let through at once and waited for afterwards. Pure:
 * the caller knows the time, and holds a lock.
 */
#ifndef CORE_RATE_H
#define CORE_RATE_H

#include "lib/base.h"

struct rate_limit {
    uint64_t bytes, operations; /* a second; 0: no limit */
};

struct rate {
    struct rate_limit limit;
    uint64_t bytes_until, operations_until; /* in ticks of the host's time */
};

static inline bool rate_is_limited(const struct rate *rate)
{
    return rate->limit.bytes != 0 || rate->limit.operations != 0;
}

/* How long from now until there may be more: ticks, 0 for at once. ticks_per_second is not 0. */
uint64_t rate_wait(const struct rate *rate, uint64_t now, uint64_t ticks_per_second);
/* One operation with so many bytes, at most 2^32, has been let through. */
void rate_use(struct rate *rate, uint64_t bytes, uint64_t now, uint64_t ticks_per_second);

#endif
