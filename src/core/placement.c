/* SPDX-License-Identifier: MIT
 *
 * Which hart a vCPU waits on: see placement.h.
 */
#include "core/placement.h"

#include "core/capsule.h"

enum { OFFER_SHARE = 8 /* of so many harts, one is told at a time */ };

static uint64_t steal_margin;

void placement_init(uint64_t margin)
{
    steal_margin = margin;
}

/* --- where to ------------------------------------------------------------------------------------------------ */

/* How long the vCPU would wait there, roughly: the less the better. A hart that runs nothing now takes what comes. */
static unsigned cost(const struct hart *hart, const struct vcpu *vcpu)
{
    enum { BUSY = 1 << 8, EQUAL = 1 << 16 };
    const unsigned running = atomic_load(&hart->running);
    const unsigned waiting = 2 * MIN(atomic_load(&hart->queue.length), 100U);
    const unsigned elsewhere = vcpu->last_hart == hart ? 0 : 1;
    const unsigned mine = vcpu->capsule->config.priority + 1;
    if (running == 0) {
        return waiting + elsewhere;
    }
    if (running < mine) {
        return BUSY * running + waiting + elsewhere;
    }
    return EQUAL + waiting + 2 * elsewhere;
}

static struct hart *cheapest(const struct vcpu *vcpu)
{
    struct hart *best = NULL;
    unsigned least = ~0U;
    for (uint32_t n = 0; n < hart_count; n++) {
        if (hart_set_has(&vcpu->allowed, n)) {
            const unsigned price = cost(harts[n], vcpu);
            best = price < least ? harts[n] : best;
            least = MIN(price, least);
        }
    }
    return best;
}

/* A set changes by halves (core/hart_set.h): whoever looks meanwhile may find it empty, and looks again. */
struct hart *placement_choose(const struct vcpu *vcpu)
{
    enum { LOOKS = 16 };
    struct hart *best = NULL;
    for (unsigned n = 0; n < LOOKS && best == NULL; n++) {
        best = cheapest(vcpu);
    }
    assert(best != NULL);
    return best;
}

/* One that sleeps, or is about to and has not seen our vCPU. */
static void rouse_any(const struct vcpu *vcpu)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        if (hart_set_has(&vcpu->allowed, n) && atomic_load(&harts[n]->idle) &&
            atomic_exchange(&harts[n]->idle, false)) {
            hart_ring(harts[n]);
            return;
        }
    }
}

void placement_tell(const struct vcpu *vcpu, struct hart *hart)
{
    struct hart *self = hart_this();
    const unsigned running = atomic_load(&hart->running);
    const unsigned mine = vcpu->capsule->config.priority + 1;
    if (atomic_exchange(&hart->idle, false)) {
        if (hart != self) {
            hart_ring(hart);
        }
        return;
    }
    if (hart == self && self->current == NULL && self->fetched == NULL && atomic_load(&hart->queue.length) <= 1) {
        return; /* takes it next */
    }
    if (running < mine && running != 0) {
        if (hart == self) {
            self->reschedule = true;
        } else {
            hart_ask(hart, HART_RESCHEDULE);
        }
        return;
    }
    if (hart != self && running != 0 && !atomic_load(&hart->ticking)) {
        hart_ring(hart); /* it has run one alone: now it needs a slice. One that runs nothing looks before it does */
    }
    rouse_any(vcpu);
}

/* --- where from ---------------------------------------------------------------------------------------------- */

struct candidate {
    struct hart *hart;
    unsigned running; /* priority plus 1; 0: nobody */
    uint64_t used;
};

/* Who waits there for this hart, if anybody. */
static struct candidate look(struct hart *from, const struct hart *hart, uint64_t now)
{
    struct candidate found = {.hart = NULL};
    if (atomic_load(&from->queue.length) != 0) {
        spinlock_take(&from->queue.lock);
        const struct vcpu *vcpu = run_queue_first_for(&from->queue, hart->index);
        if (vcpu != NULL) {
            found = (struct candidate){from, vcpu->capsule->config.priority + 1, share_used(&vcpu->share, now)};
        }
        spinlock_release(&from->queue.lock);
    }
    return found;
}

/* Whether it is worth it to look there: whether somebody is there who may be better than best. */
static bool promises(const struct hart *from, const struct candidate *best, bool thorough)
{
    const unsigned first = atomic_load(&from->queue.first);
    return first > best->running || (thorough && first == best->running && first != 0);
}

struct hart *placement_source(struct hart *hart, const struct vcpu *current)
{
    const uint64_t now = clock_now();
    struct candidate best = look(hart, hart, now);
    if (current != NULL) {
        const unsigned running = current->capsule->config.priority + 1;
        const uint64_t used = share_used(&current->share, now);
        if (best.hart == NULL || running > best.running || (running == best.running && used < best.used)) {
            best = (struct candidate){NULL, running, used};
        }
    }
    for (uint32_t n = 1; n < hart_count; n++) {
        struct hart *from = harts[(hart->index + n) % hart_count];
        if (from->kind != hart->kind || !promises(from, &best, current != NULL)) {
            continue;
        }
        const struct candidate other = look(from, hart, now);
        if (other.running > best.running ||
            (other.hart != NULL && other.running == best.running && other.used + steal_margin < best.used)) {
            best = other;
        }
    }
    return best.hart;
}

/* --- to whom ------------------------------------------------------------------------------------------------- */

/* Whether that hart runs one vCPU alone that should perhaps give way to one that waits here. */
static bool might_take(const struct hart *hart, const struct vcpu *vcpu)
{
    return hart_set_has(&vcpu->allowed, hart->index) && atomic_load(&hart->queue.length) == 0 &&
           atomic_load(&hart->running) <= vcpu->capsule->config.priority + 1;
}

/* The next one from offer_next on; NULL if there is none. */
static struct hart *taker(struct hart *hart)
{
    struct hart *found = NULL;
    spinlock_take(&hart->queue.lock);
    const struct vcpu *first = run_queue_first(&hart->queue);
    for (uint32_t n = 0; n < hart_count && first != NULL && found == NULL; n++) {
        struct hart *other = harts[(hart->offer_next + n) % hart_count];
        if (other != hart && might_take(other, first)) {
            found = other;
        }
    }
    spinlock_release(&hart->queue.lock);
    return found;
}

void placement_offer(struct hart *hart)
{
    for (uint32_t n = 0; n <= hart_count / OFFER_SHARE; n++) {
        struct hart *other = taker(hart);
        if (other == NULL) {
            return;
        }
        hart->offer_next = other->index + 1;
        hart_ask(other, HART_RESCHEDULE);
    }
}
