/* SPDX-License-Identifier: MIT
 *
 * The end of a capsule's memory: see reaper.h. Capsules come in rounds: those that come during one wait for the next.
 */
#include "core/reaper.h"

#include "core/affinity.h"
#include "core/capsules.h"
#include "core/events.h"
#include "core/hart.h"

static struct {
    struct spinlock lock;   /* guards the lists; a leaf */
    struct capsule *coming; /* linked by next */
    struct capsule *round;  /* given back when every hart has passed */
    atomic_uint harts;      /* that have not passed yet */
    atomic_uint waiting;    /* capsules in both lists */
    void (*when_given_back)(void);
} reaper;

static void ring_everyone(void)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        hart_ask(harts[n], HART_PASS);
    }
}

/* Begins a round if there is none and somebody waits. */
static void begin_round(void)
{
    spinlock_take(&reaper.lock);
    const bool begins = reaper.round == NULL && reaper.coming != NULL;
    if (begins) {
        reaper.round = reaper.coming;
        reaper.coming = NULL;
        atomic_store(&reaper.harts, hart_count);
    }
    spinlock_release(&reaper.lock);
    if (begins) {
        ring_everyone();
    }
}

static void give_back(struct capsule *capsule)
{
    while (capsule != NULL) {
        struct capsule *next = capsule->next;
        capsule->hooks->discard(capsule);
        atomic_fetch_sub(&reaper.waiting, 1);
        if (reaper.when_given_back != NULL) {
            reaper.when_given_back();
        }
        capsule = next;
    }
}

/* From hart_serve, at its beginning. */
static void passed(void)
{
    if (atomic_fetch_sub(&reaper.harts, 1) != 1) {
        return;
    }
    spinlock_take(&reaper.lock);
    struct capsule *capsule = reaper.round;
    reaper.round = NULL;
    spinlock_release(&reaper.lock);
    give_back(capsule);
    begin_round();
}

void reaper_init(void (*last)(void))
{
    hart_ops.passed = passed;
    reaper.when_given_back = last;
}

void reaper_take(struct capsule *capsule)
{
    timer_cancel(&capsule->life.timer);
    capsules_remove(capsule);
    event_report(capsule, EVENT_DESTROYED, "");
    if (capsule->config.dedicated) {
        affinity_apply_all();
    }
    if (capsule->hooks->detach != NULL) {
        capsule->hooks->detach(capsule);
    }
    atomic_fetch_add(&reaper.waiting, 1);
    spinlock_take(&reaper.lock);
    capsule->next = reaper.coming;
    reaper.coming = capsule;
    spinlock_release(&reaper.lock);
    begin_round();
}

unsigned reaper_waiting(void)
{
    return atomic_load(&reaper.waiting);
}
