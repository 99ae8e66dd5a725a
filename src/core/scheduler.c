/* SPDX-License-Identifier: MIT
 *
 * The scheduler: see scheduler.h and ARCHITECTURE.md. Where vCPUs go is in placement.c.
 */
#include "core/scheduler.h"

#include "core/capsules.h"
#include "core/fence.h"
#include "core/placement.h"
#include "core/reaper.h"
#include "core/steal.h"

static uint64_t slice_ticks;
static uint64_t lead_max; /* how far a vCPU may be behind in use and still go first until it has caught up */

void scheduler_init(uint32_t timebase_hz)
{
    clock_hz = timebase_hz;
    slice_ticks = (uint64_t)timebase_hz * SLICE_MICROSECONDS / 1000000;
    share_init(timebase_hz);
    lead_max = 3 * share_of(slice_ticks);
    placement_init(share_of(slice_ticks));
}

/* --- into queues --------------------------------------------------------------------------------------------- */

/* With the vCPU's lock held; it is in no queue. Returns where it is now. */
static struct hart *enqueue(struct vcpu *vcpu)
{
    struct hart *hart = placement_choose(vcpu);
    vcpu->since = clock_now();
    atomic_store(&vcpu->queued_on, hart->index);
    spinlock_take(&hart->queue.lock);
    atomic_store(&vcpu->run, RUN_QUEUED);
    run_queue_insert(&hart->queue, vcpu);
    spinlock_release(&hart->queue.lock);
    return hart;
}

/* With the vCPU's lock held. False, and PARKED, if its capsule is paused; a resume that comes meanwhile looks for
 * parked vCPUs after it has changed the state, as we look at the state after we have parked. */
static bool may_queue(struct vcpu *vcpu)
{
    if (capsule_state(vcpu->capsule) != CAPSULE_PAUSED) {
        return true;
    }
    atomic_store(&vcpu->run, RUN_PARKED);
    return capsule_state(vcpu->capsule) != CAPSULE_PAUSED;
}

bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from, bool (*ready)(const struct vcpu *vcpu))
{
    struct hart *hart = NULL;
    spinlock_take(&vcpu->lock);
    const bool woken = atomic_load(&vcpu->run) == from && (ready == NULL || ready(vcpu));
    if (woken && may_queue(vcpu)) {
        hart = enqueue(vcpu);
    }
    spinlock_release(&vcpu->lock);
    if (hart != NULL) {
        placement_tell(vcpu, hart);
    }
    return woken;
}

void scheduler_yield(struct hart *hart)
{
    hart->reschedule = true;
    hart->yields = true;
}

void scheduler_drop(struct vcpu *vcpu)
{
    spinlock_take(&vcpu->lock);
    struct run_queue *queue = &harts[atomic_load(&vcpu->queued_on)]->queue;
    spinlock_take(&queue->lock);
    if (atomic_load(&vcpu->run) == RUN_QUEUED) {
        run_queue_remove(queue, vcpu);
    }
    atomic_store(&vcpu->run, RUN_OFF);
    spinlock_release(&queue->lock);
    spinlock_release(&vcpu->lock);
}

/* A vCPU that waits where it may not run any more goes where it may. */
static void replace(struct vcpu *vcpu)
{
    struct hart *to = NULL;
    spinlock_take(&vcpu->lock);
    struct hart *from = harts[atomic_load(&vcpu->queued_on)];
    if (!hart_set_has(&vcpu->allowed, from->index)) {
        spinlock_take(&from->queue.lock);
        const bool queued = atomic_load(&vcpu->run) == RUN_QUEUED;
        if (queued) {
            run_queue_remove(&from->queue, vcpu);
        }
        spinlock_release(&from->queue.lock);
        to = queued ? enqueue(vcpu) : NULL;
    }
    spinlock_release(&vcpu->lock);
    if (to != NULL) {
        placement_tell(vcpu, to);
    }
}

/* Harts let go of what they may not run when they look: then it goes elsewhere by itself. */
void scheduler_reallow(void)
{
    for (struct capsule *capsule = capsule_after(0); capsule != NULL; capsule = capsule_after(capsule->id)) {
        for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
            replace(capsule_vcpu(capsule, id));
        }
    }
    for (uint32_t n = 0; n < hart_count; n++) {
        hart_ask(harts[n], HART_RESCHEDULE);
    }
}

/* --- out of queues ------------------------------------------------------------------------------------------- */

/* With the queue's lock held: the vCPU leaves it for the hart, unless its capsule has ceased to run. The capsule is
 * held (capsule_hold) in the same step that tells its state: a stop can't commit past us. False: let the hold go, and
 * look whether it is parked. */
static bool take_out(struct run_queue *queue, struct vcpu *vcpu)
{
    run_queue_remove(queue, vcpu);
    const enum capsule_state state = capsule_hold(vcpu->capsule);
    if (state == CAPSULE_RUNNING || state == CAPSULE_FILLING || state == CAPSULE_DESTROYING) {
        atomic_store(&vcpu->run, RUN_LOADED);
        return true;
    }
    atomic_store(&vcpu->run, state == CAPSULE_PAUSED ? RUN_PARKED : RUN_OFF);
    return false;
}

/* After take_out failed, no lock held: as in may_queue, a resume may have come between. */
static void let_lie(struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    if (capsule_state(capsule) == CAPSULE_RUNNING) {
        scheduler_wake(vcpu, RUN_PARKED, NULL);
    }
    capsule_left(capsule);
}

/* Takes what run_queue_first_for finds there for this hart; NULL if there is nobody. */
static struct vcpu *take_from(struct hart *from, const struct hart *hart)
{
    for (;;) {
        spinlock_take(&from->queue.lock);
        struct vcpu *vcpu = run_queue_first_for(&from->queue, hart->index);
        const bool taken = vcpu != NULL && take_out(&from->queue, vcpu);
        spinlock_release(&from->queue.lock);
        if (taken || vcpu == NULL) {
            return vcpu;
        }
        let_lie(vcpu);
    }
}

/* The best that waits for this hart; NULL if there is nobody. */
static struct vcpu *take(struct hart *hart)
{
    for (;;) {
        struct hart *from = placement_source(hart, NULL);
        struct vcpu *vcpu = from == NULL ? NULL : take_from(from, hart);
        if (vcpu != NULL || from == NULL) {
            hart->steals += vcpu != NULL && from != hart ? 1 : 0;
            return vcpu;
        }
    }
}

/* --- loading and unloading ----------------------------------------------------------------------------------- */

static void slice_ended(struct timer *timer)
{
    struct hart *hart = CONTAINER_OF(timer, struct hart, slice);
    atomic_store(&hart->ticking, false);
    hart->reschedule = true;
}

static void arm_slice(struct hart *hart)
{
    hart->slice.fire = slice_ended;
    atomic_store(&hart->ticking, true);
    timer_arm(&hart->timers, &hart->slice, clock_now() + slice_ticks);
}

static void disarm_slice(struct hart *hart)
{
    timer_cancel(&hart->slice);
    atomic_store(&hart->ticking, false);
}

static void charge(struct vcpu *vcpu)
{
    const uint64_t now = clock_now();
    const uint64_t ticks = now > vcpu->since ? now - vcpu->since : 0;
    vcpu->cpu_ticks += ticks;
    vcpu->since = now;
    share_charge(&vcpu->share, MAX(ticks, (uint64_t)1), vcpu->capsule->config.weight, now); /* nothing is for nothing */
}

/* Puts a vCPU that take() returned onto this hart. */
static void load(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    const uint64_t now = clock_now();
    bool moved = vcpu->last_hart != hart;
    vcpu->steal_ticks += now > vcpu->since ? now - vcpu->since : 0;
    vcpu->since = now;
    vcpu_arrive(vcpu, hart);
    /* unless arriving made a new context of it */
    bool resident = hart->resident == vcpu && hart->resident_id == capsule->id && !moved;
    if (!hart_set_has(&capsule->proven, hart->index) && capsule->hooks->prove != NULL) {
        capsule->hooks->prove(hart, capsule);
    }
    if (hart->protected_for != capsule->id) {
        capsule->isolation->enter(hart, capsule);
        hart->protected_for = capsule->id;
    }
    if (moved) {
        arch_fence_i();
    }
    arch_context_load(&vcpu->context, &hart->features, resident);
    hart->switches += resident ? 0 : 1;
    hart->resident = NULL;
    hart->current = vcpu;
    if (hart->features.loses_timers) {
        hart_nudge(hart);
    }
    hart->reschedule = false;
    hart->yields = false;
    atomic_store(&hart->running, capsule->config.priority + 1);
    steal_publish(vcpu);
}

/* Takes the current vCPU off this hart; it becomes what vcpu->leaving says. After the state is published any hart
 * may take the vCPU, so it is looked at once more only through scheduler_wake. Who asked for a fence while it was
 * loaded must not wait until it runs again, and is answered before: later the answer would be another hart's to give.
 */
static void unload(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    arch_context_save(&vcpu->context, &hart->features);
    disarm_slice(hart);
    hart->current = NULL;
    atomic_store(&hart->running, 0);
    hart->resident = vcpu;
    hart->resident_id = capsule->id;
    vcpu_depart(vcpu, hart);
    fence_answer(vcpu);
    charge(vcpu);
    if (vcpu->leaving == RUN_QUEUED) {
        scheduler_wake(vcpu, RUN_LOADED, NULL);
    } else {
        enum vcpu_run left = vcpu->leaving;
        atomic_store(&vcpu->run, left);
        vcpu_left(vcpu, left);
    }
    capsule_left(capsule);
}

/* A step of the work that the vCPU stands for, in its own time; true when that is done. */
static bool do_step(struct vcpu *vcpu, bool (*step)(struct capsule *capsule))
{
    vcpu->since = clock_now();
    const bool done = step(vcpu->capsule);
    charge(vcpu);
    return done;
}

/* vCPU 0 of a capsule that is being filled, or scrubbed to be destroyed, stands for that work. False if it isn't. */
static bool fill_for(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    const enum capsule_state state = capsule_state(capsule);
    if (state != CAPSULE_FILLING && state != CAPSULE_DESTROYING) {
        return false;
    }
    hart_program_timer(hart); /* whoever sleeps is to be woken between two steps */
    const bool done = do_step(vcpu, state == CAPSULE_FILLING ? capsule_fill : capsule_scrub);
    if (done && state == CAPSULE_DESTROYING) {
        atomic_store(&vcpu->run, RUN_OFF);
        capsule_left(capsule);
        reaper_take(capsule);
    } else {
        vcpu->last_hart = NULL; /* new code: fence.i before it runs */
        scheduler_wake(vcpu, RUN_LOADED, NULL);
        capsule_left(capsule);
    }
    hart_serve(hart);
    return true;
}

/* Sleeps until something may have changed, unless there is something to take after all: the idle flag is set before the
 * last look. */
static struct vcpu *idle(struct hart *hart)
{
    atomic_store(&hart->idle, true);
    struct vcpu *vcpu = take(hart);
    if (vcpu == NULL) {
        const uint64_t before = clock_now();
        hart_program_timer(hart);
        if (arch_hart_pending() == 0) {
            arch_hart_wait();
        }
        hart->idle_ticks += clock_now() - before;
    }
    atomic_store(&hart->idle, false);
    if (vcpu == NULL) {
        hart_serve(hart);
    }
    return vcpu;
}

static struct vcpu *find(struct hart *hart)
{
    for (;;) {
        struct vcpu *vcpu = hart->fetched != NULL ? hart->fetched : take(hart);
        hart->fetched = NULL;
        vcpu = vcpu == NULL ? idle(hart) : vcpu;
        if (vcpu == NULL || fill_for(hart, vcpu)) {
            continue;
        }
        const enum capsule_state state = capsule_state(vcpu->capsule); /* once: it may be resumed at any moment */
        if (state == CAPSULE_RUNNING) {
            return vcpu;
        }
        if (state == CAPSULE_PAUSED) {
            scheduler_wake(vcpu, RUN_LOADED, NULL); /* parks it */
        } else {
            atomic_store(&vcpu->run, RUN_OFF);
        }
        capsule_left(vcpu->capsule);
    }
}

/* --- whose turn it is ---------------------------------------------------------------------------------------- */

/* The vCPU has had a slice: of those that run here none may be far behind the others for what it didn't use while it
 * slept, or was where more were waiting. */
static void limit_lead(struct hart *hart, struct vcpu *vcpu)
{
    const uint64_t now = clock_now();
    if (hart->mark_priority != vcpu->capsule->config.priority) { /* it says nothing of this one's equals */
        hart->mark_priority = vcpu->capsule->config.priority;
        hart->mark = vcpu->share;
        return;
    }
    const uint64_t mark = share_used(&hart->mark, now);
    if (mark > lead_max) {
        share_raise(&vcpu->share, mark - lead_max, now);
    }
    share_raise(&hart->mark, share_used(&vcpu->share, now), now);
}

/* It would rather wait: then it has no lead over the first of its equals that wait here. */
static void give_up_lead(struct hart *hart, struct vcpu *vcpu)
{
    const uint64_t now = clock_now();
    uint64_t used = 0;
    spinlock_take(&hart->queue.lock);
    const struct vcpu *first = run_queue_first(&hart->queue);
    if (first != NULL && first->capsule->config.priority == vcpu->capsule->config.priority) {
        used = share_used(&first->share, now);
    }
    spinlock_release(&hart->queue.lock);
    share_raise(&vcpu->share, used, now);
}

/* The current vCPU's slice is over, or something has happened that may be more urgent: whether it lets others go on. */
static bool must_give_way(struct hart *hart, struct vcpu *vcpu)
{
    charge(vcpu);
    limit_lead(hart, vcpu);
    if (hart->yields) {
        hart->yields = false;
        give_up_lead(hart, vcpu);
    }
    struct hart *from = placement_source(hart, vcpu);
    if (from != NULL && from != hart) {
        hart->fetched = take_from(from, hart);
        hart->steals += hart->fetched != NULL ? 1 : 0;
    }
    if (atomic_load(&hart->queue.length) != 0) {
        placement_offer(hart);
    }
    return from == hart || hart->fetched != NULL || !hart_set_has(&vcpu->allowed, hart->index);
}

/* After a vCPU was loaded too: a stop that was asked for before vcpu->hart was set rang nobody. The state is looked at
 * once: a paused capsule may run again a moment later. */
static void let_go_if_due(struct hart *hart)
{
    struct vcpu *vcpu = hart->current;
    const enum capsule_state state = capsule_state(vcpu->capsule);
    if (state == CAPSULE_PAUSED) {
        vcpu->leaving = vcpu->leaving == RUN_LOADED ? RUN_QUEUED : vcpu->leaving;
    } else if (state != CAPSULE_RUNNING) {
        vcpu->leaving = RUN_OFF;
    } else if (vcpu->leaving == RUN_LOADED && hart->reschedule) {
        hart->reschedule = false;
        vcpu->leaving = must_give_way(hart, vcpu) ? RUN_QUEUED : RUN_LOADED;
    }
    if (vcpu->leaving != RUN_LOADED) {
        unload(hart, vcpu);
    } else if (atomic_load(&hart->queue.length) != 0 && !atomic_load(&hart->ticking)) {
        arm_slice(hart);
    }
}

/* Whether there is nothing to do between this trap and the return to the same guest. Whoever changes what is looked at
 * here from another hart rings this one afterwards, so that it looks again: no order of memory is needed. */
static bool nothing_new(const struct hart *hart)
{
    const struct vcpu *vcpu = hart->current;
    return vcpu != NULL && !DIOSIX_DEBUG && vcpu->leaving == RUN_LOADED && !hart->reschedule &&
           atomic_load_explicit(&vcpu->pending, memory_order_relaxed) == 0 &&
           (atomic_load_explicit(&vcpu->capsule->state, memory_order_relaxed) & CAPSULE_STATE_MASK) ==
               CAPSULE_RUNNING &&
           atomic_load_explicit(&hart->timers.changes, memory_order_relaxed) == hart->timer_changes &&
           (atomic_load_explicit(&hart->queue.length, memory_order_relaxed) == 0 ||
            atomic_load_explicit(&hart->ticking, memory_order_relaxed));
}

struct arch_context *scheduler_next(struct hart *hart)
{
    if (nothing_new(hart)) {
        return &hart->current->context;
    }
    if (hart->current != NULL) {
        let_go_if_due(hart);
    }
    while (hart->current == NULL) {
        load(hart, find(hart));
        let_go_if_due(hart);
    }
    struct vcpu *vcpu = hart->current;
    vcpu_fold(vcpu);
    hart_program_timer(hart);
    if (DIOSIX_DEBUG) {
        vcpu->capsule->isolation->verify(hart, vcpu->capsule);
    }
    return &vcpu->context;
}
