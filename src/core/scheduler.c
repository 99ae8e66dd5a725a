/* SPDX-License-Identifier: MIT
 *
 * The scheduler: see scheduler.h and ARCHITECTURE.md.
 */
#include "core/scheduler.h"

#include "core/fence.h"

static struct {
    struct spinlock lock; /* guards the list, and every move to or from RUN_QUEUED */
    struct vcpu *head, *tail;
    atomic_uint length; /* read without the lock as a hint; exact under it */
    atomic_int started;
    uint64_t slice_ticks;
} queue;

void scheduler_init(uint32_t timebase_hz)
{
    clock_hz = timebase_hz;
    queue.slice_ticks = (uint64_t)timebase_hz * SLICE_MICROSECONDS / 1000000;
}

static void append(struct vcpu *vcpu)
{
    vcpu->queue_next = NULL;
    vcpu->queue_back = queue.tail;
    if (queue.tail != NULL) {
        queue.tail->queue_next = vcpu;
    } else {
        queue.head = vcpu;
    }
    queue.tail = vcpu;
    atomic_fetch_add(&queue.length, 1);
}

static void detach(struct vcpu *vcpu)
{
    if (vcpu->queue_back != NULL) {
        vcpu->queue_back->queue_next = vcpu->queue_next;
    } else {
        queue.head = vcpu->queue_next;
    }
    if (vcpu->queue_next != NULL) {
        vcpu->queue_next->queue_back = vcpu->queue_back;
    } else {
        queue.tail = vcpu->queue_back;
    }
    vcpu->queue_next = vcpu->queue_back = NULL;
    atomic_fetch_sub(&queue.length, 1);
}

/* Rings one sleeping hart, the vCPU's last one if it sleeps. A hart that is about to sleep looks at the queue once more
 * after it has set its idle flag, so none is missed. */
static void rouse(const struct hart *preferred)
{
    if (hart_this()->current == NULL && atomic_load(&queue.length) <= 1) {
        return; /* this hart has nothing to run and takes it next */
    }
    for (uint32_t n = 0; n <= hart_count; n++) {
        struct hart *hart = n == 0 ? NULL : harts[n - 1];
        if (n == 0 && preferred != NULL) {
            hart = harts[preferred->index];
        }
        if (hart != NULL && atomic_exchange(&hart->idle, false) != 0) {
            if (hart != hart_this()) {
                hart_ring(hart);
            }
            return;
        }
    }
}

bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from, bool (*ready)(const struct vcpu *vcpu))
{
    const struct hart *last = NULL;
    spinlock_take(&queue.lock);
    bool woken = atomic_load(&vcpu->run) == from && (ready == NULL || ready(vcpu));
    if (woken) {
        last = vcpu->last_hart; /* whoever takes it may change that */
        atomic_store(&vcpu->run, RUN_QUEUED);
        append(vcpu);
    }
    spinlock_release(&queue.lock);
    if (woken) {
        rouse(last);
    }
    return woken;
}

/* For the hart that loaded it and takes the next from the queue at once: nobody needs to be roused. */
static void requeue(struct vcpu *vcpu)
{
    spinlock_take(&queue.lock);
    atomic_store(&vcpu->run, RUN_QUEUED);
    append(vcpu);
    spinlock_release(&queue.lock);
}

static void sweep(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        if (atomic_load(&vcpu->run) == RUN_QUEUED) {
            detach(vcpu);
        }
        atomic_store(&vcpu->run, RUN_OFF);
    }
}

bool scheduler_sweep(struct capsule *capsule, unsigned *state)
{
    spinlock_take(&queue.lock);
    *state = atomic_load(&capsule->state);
    bool swept = (*state & 0xff) == CAPSULE_STOPPING && atomic_load(&capsule->loaded) == 0;
    if (swept) {
        atomic_store(&capsule->state, CAPSULE_COMMITTING);
        sweep(capsule);
    }
    spinlock_release(&queue.lock);
    return swept;
}

static bool overcommitted(void)
{
    return atomic_load(&queue.started) > (int)hart_count;
}

/* Harts that run a vCPU without a slice must learn that others now wait for their turn. */
void scheduler_count_started(int change)
{
    bool before = overcommitted();
    atomic_fetch_add(&queue.started, change);
    if (before || !overcommitted()) {
        return;
    }
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n] != hart_this()) {
            hart_ring(harts[n]);
        }
    }
}

static struct vcpu *take(void)
{
    if (atomic_load(&queue.length) == 0) {
        return NULL;
    }
    spinlock_take(&queue.lock);
    struct vcpu *vcpu = queue.head;
    if (vcpu != NULL) {
        detach(vcpu);
        atomic_fetch_add(&vcpu->capsule->loaded, 1); /* under the lock: a stop can't commit past us */
        atomic_store(&vcpu->run, RUN_LOADED);
    }
    spinlock_release(&queue.lock);
    return vcpu;
}

/* Sleeps until something may have changed. The idle flag is set before the last look at the queue. */
static void idle(struct hart *hart)
{
    atomic_store(&hart->idle, true);
    hart_program_timer(hart);
    if (atomic_load(&queue.length) == 0 && arch_hart_pending() == 0) {
        arch_hart_wait();
    }
    atomic_store(&hart->idle, false);
    hart_serve(hart);
}

static void slice_ended(struct timer *timer)
{
    struct hart *hart = CONTAINER_OF(timer, struct hart, slice);
    hart->reschedule = true;
}

static void arm_slice(struct hart *hart)
{
    hart->slice.fire = slice_ended;
    timer_arm(&hart->timers, &hart->slice, clock_now() + queue.slice_ticks);
}

/* Puts a vCPU that take() returned onto this hart. */
static void load(struct hart *hart, struct vcpu *vcpu)
{
    const struct capsule *capsule = vcpu->capsule;
    bool moved = vcpu->last_hart != hart;
    vcpu_arrive(vcpu, hart);
    bool resident = hart->resident == vcpu && !moved; /* unless arriving made a new context of it */
    if (hart->protected_for != capsule) {
        capsule->isolation->enter(hart, capsule);
        hart->protected_for = (struct capsule *)vcpu->capsule;
    }
    if (moved) {
        arch_fence_i();
    }
    arch_context_load(&vcpu->context, &hart->features, resident);
    hart->resident = NULL;
    hart->current = vcpu;
    hart->reschedule = false;
}

/* Takes the current vCPU off this hart; it becomes what vcpu->leaving says. After the state is published any hart
 * may take the vCPU, so it is looked at once more only through scheduler_wake. Who asked for a fence while it was
 * loaded must not wait until it runs again, and is answered before: later the answer would be another hart's to give.
 */
static void unload(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    arch_context_save(&vcpu->context, &hart->features);
    timer_cancel(&hart->slice);
    hart->current = NULL;
    hart->resident = vcpu;
    vcpu_depart(vcpu, hart);
    fence_answer(vcpu);
    if (vcpu->leaving == RUN_QUEUED) {
        scheduler_wake(vcpu, RUN_LOADED, NULL);
    } else {
        enum vcpu_run left = vcpu->leaving;
        atomic_store(&vcpu->run, left);
        vcpu_left(vcpu, left);
    }
    capsule_left(capsule);
}

/* A vCPU of a capsule that is being filled stands for the work of filling it. */
static bool fill_for(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    if (capsule_state(capsule) != CAPSULE_FILLING) {
        return false;
    }
    bool done = capsule_fill(capsule);
    if (done) {
        vcpu->last_hart = NULL; /* new code: fence.i before it runs */
    }
    requeue(vcpu);
    capsule_left(capsule);
    hart_serve(hart);
    return true;
}

/* Whether the vCPU may go on into its guest, here and now. */
static bool may_run(const struct vcpu *vcpu)
{
    return capsule_state(vcpu->capsule) == CAPSULE_RUNNING;
}

static struct vcpu *find(struct hart *hart)
{
    for (;;) {
        struct vcpu *vcpu = take();
        if (vcpu == NULL) {
            idle(hart);
        } else if (fill_for(hart, vcpu)) {
            continue;
        } else if (!may_run(vcpu)) {
            atomic_store(&vcpu->run, RUN_OFF);
            capsule_left(vcpu->capsule);
        } else {
            return vcpu;
        }
    }
}

/* After a vCPU was loaded too: a stop that was asked for before vcpu->hart was set rang nobody. */
static void let_go_if_due(struct hart *hart)
{
    struct vcpu *vcpu = hart->current;
    if (!may_run(vcpu)) {
        vcpu->leaving = RUN_OFF;
    } else if (vcpu->leaving == RUN_LOADED && hart->reschedule) {
        hart->reschedule = false;
        if (atomic_load(&queue.length) != 0) {
            vcpu->leaving = RUN_QUEUED;
        }
    }
    if (vcpu->leaving != RUN_LOADED) {
        unload(hart, vcpu);
    } else if (overcommitted() && hart->slice.heap == NULL) {
        arm_slice(hart);
    }
}

struct arch_context *scheduler_next(struct hart *hart)
{
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
