/* SPDX-License-Identifier: MIT
 *
 * Fair shares: how much of the harts a vCPU has had lately. Its use is the time that it was on a hart, divided by its
 * weight, and halves every epoch: so it means the same on all harts, needs no common clock, and forgets. Of equals in
 * priority whoever has used least runs next. See docs/decisions/0018-shares.md.
 */
#ifndef CORE_SHARE_H
#define CORE_SHARE_H

#include "lib/base.h"

struct share {
    uint64_t used;  /* as of epoch */
    uint32_t epoch; /* wraps */
};

/* Once at boot: an epoch is about half a second. */
void share_init(uint64_t ticks_per_second);

/* What was used, as of now. */
uint64_t share_used(const struct share *share, uint64_t now);
/* Adds ticks on a hart that ended now, of somebody with that weight (not 0). */
void share_charge(struct share *share, uint64_t ticks, uint32_t weight, uint64_t now);
/* At least so much counts as used from now on. */
void share_raise(struct share *share, uint64_t used, uint64_t now);
/* The use that so many ticks are at the usual weight. */
uint64_t share_of(uint64_t ticks);

/* How much more a has used than b, as of the later of their epochs: negative if less. In every later epoch it is nearer
 * to 0, and never of the other sign. */
int64_t share_compare(const struct share *a, const struct share *b);

#endif
