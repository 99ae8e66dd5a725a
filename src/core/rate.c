/* SPDX-License-Identifier: MIT
 *
 * Limits to bytes and operations in a second: see rate.h.
 */
#include "core/rate.h"

enum { BURSTS_PER_SECOND = 10 }; /* a tenth of a second's worth goes at once after a rest */

static uint64_t wait_for(uint64_t until, uint64_t now, uint64_t burst)
{
    return until > now && until - now > burst ? until - now - burst : 0;
}

uint64_t rate_wait(const struct rate *rate, uint64_t now, uint64_t ticks_per_second)
{
    const uint64_t burst = ticks_per_second / BURSTS_PER_SECOND;
    const uint64_t bytes = wait_for(rate->bytes_until, now, burst);
    const uint64_t operations = wait_for(rate->operations_until, now, burst);
    return MAX(bytes, operations);
}

/* count * ticks / limit, where count is at most 2^32; it saturates. */
static uint64_t duration(uint64_t count, uint64_t limit, uint64_t ticks)
{
    const uint64_t seconds = count / limit;
    const uint64_t rest = count % limit;
    if (seconds > UINT64_C(1) << 32 || ticks > UINT32_MAX) {
        return UINT64_MAX;
    }
    return seconds * ticks + rest * ticks / limit;
}

static void use(uint64_t *until, uint64_t count, uint64_t limit, uint64_t now, uint64_t ticks)
{
    if (limit == 0) {
        return;
    }
    const uint64_t from = MAX(*until, now);
    const uint64_t more = duration(count, limit, ticks);
    *until = more > UINT64_MAX - from ? UINT64_MAX : from + more;
}

void rate_use(struct rate *rate, uint64_t bytes, uint64_t now, uint64_t ticks_per_second)
{
    use(&rate->bytes_until, bytes, rate->limit.bytes, now, ticks_per_second);
    use(&rate->operations_until, 1, rate->limit.operations, now, ticks_per_second);
}
