/* SPDX-License-Identifier: MIT
 *
 * Fair shares: see share.h.
 */
#include "core/share.h"

#include "core/config.h"

enum {
    EPOCHS_PER_SECOND = 2,
    EPOCHS_REMEMBERED = 2, /* what halving leaves of a life on a hart, and no more */
    SCALE = 100 << 16,     /* use of one tick at weight 1: at the largest weight still some hundreds */
    HALVINGS_MAX = 63,
};

static unsigned epoch_shift = 20;

void share_init(uint64_t ticks_per_second)
{
    epoch_shift = 0;
    while ((ticks_per_second / EPOCHS_PER_SECOND) >> epoch_shift > 1) {
        epoch_shift++;
    }
}

static uint32_t epoch_of(uint64_t now)
{
    return (uint32_t)(now >> epoch_shift);
}

/* A clock that another hart read a little later may be an epoch ahead: then nothing is halved. */
static uint64_t halved(const struct share *share, uint32_t epoch)
{
    const int32_t passed = (int32_t)(epoch - share->epoch);
    return passed <= 0 ? share->used : share->used >> MIN(passed, (int32_t)HALVINGS_MAX);
}

uint64_t share_used(const struct share *share, uint64_t now)
{
    return halved(share, epoch_of(now));
}

void share_charge(struct share *share, uint64_t ticks, uint32_t weight, uint64_t now)
{
    const uint64_t most = (uint64_t)EPOCHS_REMEMBERED << epoch_shift;
    const uint64_t rate = (uint64_t)SCALE / MAX(weight, 1U);
    const uint64_t used = share_used(share, now) + MIN(ticks, most) * rate;
    *share = (struct share){.used = MIN(used, most * rate), .epoch = epoch_of(now)};
}

void share_raise(struct share *share, uint64_t used, uint64_t now)
{
    if (share_used(share, now) < used) {
        *share = (struct share){.used = used, .epoch = epoch_of(now)};
    }
}

uint64_t share_of(uint64_t ticks)
{
    return ticks * (SCALE / CAPSULE_WEIGHT_USUAL);
}

int64_t share_compare(const struct share *a, const struct share *b)
{
    const uint32_t epoch = (int32_t)(a->epoch - b->epoch) > 0 ? a->epoch : b->epoch;
    return (int64_t)(halved(a, epoch) - halved(b, epoch));
}
