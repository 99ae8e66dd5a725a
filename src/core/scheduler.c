/* SPDX-License-Identifier: MIT
 *
 * The scheduler: see scheduler.h and ARCHITECTURE.md.
 */
#include "core/scheduler.h"

#include "core/fence.h"

/* One queue for each kind of hart. */
static struct run_queue {
    struct spinlock lock; /* guards the list, and every move to or from RUN_QUEUED */
    struct vcpu *head, *tail;
    atomic_uint length; /* read without the lock as a hint; exact under it */
    atomic_int started;
} queues[HART_KINDS];
static uint64_t slice_ticks;

void scheduler_init(uint32_t timebase_hz)
{
    clock_hz = timebase_hz;
    slice_ticks = (uint64_t)timebase_hz * SLICE_MICROSECONDS / 1000000;
}

static struct run_queue *queue_of(const struct vcpu *vcpu)
{
    return &queues[vcpu->capsule->hart_kind];
}

static void append(struct run_queue *queue, struct vcpu *vcpu)
{
    vcpu->queue_next = NULL;
    vcpu->queue_back = queue->tail;
    if (queue->tail != NULL) {
        queue->tail->queue_next = vcpu;
    } else {
        queue->head = vcpu;
    }
    queue->tail = vcpu;
    atomic_fetch_add(&queue->length, 1);
}

static void detach(struct run_queue *queue, struct vcpu *vcpu)
{
    if (vcpu->queue_back != NULL) {
        vcpu->queue_back->queue_next = vcpu->queue_next;
    } else {
        queue->head = vcpu->queue_next;
    }
    if (vcpu->queue_next != NULL) {
        vcpu->queue_next->queue_back = vcpu->queue_back;
    } else {
        queue->tail = vcpu->queue_back;
    }
    vcpu->queue_next = vcpu->queue_back = NULL;
    atomic_fetch_sub(&queue->length, 1);
}

/* Rings one sleeping hart, the vCPU's last one if it sleeps. A hart that is about to sleep looks at the queue once more
 * after it has set its idle flag, so none is missed. */
static void rouse(struct run_queue *queue, const struct hart *preferred)
{
    const struct hart *self = hart_this();
    if (&queues[self->kind] == queue && self->current == NULL && atomic_load(&queue->length) <= 1) {
        return; /* this hart has nothing to run and takes it next */
    }
    for (uint32_t n = 0; n <= hart_count; n++) {
        struct hart *hart = n == 0 ? NULL : harts[n - 1];
        if (n == 0 && preferred != NULL) {
            hart = harts[preferred->index];
        }
        if (hart != NULL && &queues[hart->kind] == queue && atomic_exchange(&hart->idle, false) != 0) {
            if (hart != self) {
                hart_ring(hart);
            }
            return;
        }
    }
}

bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from, bool (*ready)(const struct vcpu *vcpu))
{
    struct run_queue *queue = queue_of(vcpu);
    const struct hart *last = NULL;
    spinlock_take(&queue->lock);
    bool woken = atomic_load(&vcpu->run) == from && (ready == NULL || ready(vcpu));
    if (woken) {
        last = vcpu->last_hart; /* whoever takes it may change that */
        atomic_store(&vcpu->run, RUN_QUEUED);
        append(queue, vcpu);
    }
    spinlock_release(&queue->lock);
    if (woken) {
        rouse(queue, last);
    }
    return woken;
}

/* For the hart that loaded it and takes the next from the queue at once: nobody needs to be roused. */
static void requeue(struct vcpu *vcpu)
{
    struct run_queue *queue = queue_of(vcpu);
    spinlock_take(&queue->lock);
    atomic_store(&vcpu->run, RUN_QUEUED);
    append(queue, vcpu);
    spinlock_release(&queue->lock);
}

static void sweep(struct run_queue *queue, struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        if (atomic_load(&vcpu->run) == RUN_QUEUED) {
            detach(queue, vcpu);
        }
        atomic_store(&vcpu->run, RUN_OFF);
    }
}

bool scheduler_sweep(struct capsule *capsule, unsigned *state)
{
    struct run_queue *queue = &queues[capsule->hart_kind];
    spinlock_take(&queue->lock);
    *state = atomic_load(&capsule->state);
    bool swept = (*state & 0xff) == CAPSULE_STOPPING && atomic_load(&capsule->loaded) == 0;
    if (swept) {
        atomic_store(&capsule->state, CAPSULE_COMMITTING);
        sweep(queue, capsule);
    }
    spinlock_release(&queue->lock);
    return swept;
}

static bool overcommitted(enum hart_kind kind)
{
    return atomic_load_explicit(&queues[kind].started, memory_order_relaxed) > (int)hart_kind_count[kind];
}

/* Harts that run a vCPU without a slice must learn that others now wait for their turn. */
void scheduler_count_started(const struct capsule *capsule, int change)
{
    const enum hart_kind kind = capsule->hart_kind;
    const int limit = (int)hart_kind_count[kind];
    const int before = atomic_fetch_add(&queues[kind].started, change);
    if (before > limit || before + change <= limit) {
        return;
    }
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n]->kind == kind && harts[n] != hart_this()) {
            hart_ring(harts[n]);
        }
    }
}

static struct vcpu *take(struct run_queue *queue)
{
    if (atomic_load(&queue->length) == 0) {
        return NULL;
    }
    spinlock_take(&queue->lock);
    struct vcpu *vcpu = queue->head;
    if (vcpu != NULL) {
        detach(queue, vcpu);
        atomic_fetch_add(&vcpu->capsule->loaded, 1); /* under the lock: a stop can't commit past us */
        atomic_store(&vcpu->run, RUN_LOADED);
    }
    spinlock_release(&queue->lock);
    return vcpu;
}

/* Sleeps until something may have changed. The idle flag is set before the last look at the queue. */
static void idle(struct hart *hart)
{
    atomic_store(&hart->idle, true);
    hart_program_timer(hart);
    if (atomic_load(&queues[hart->kind].length) == 0 && arch_hart_pending() == 0) {
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
    timer_arm(&hart->timers, &hart->slice, clock_now() + slice_ticks);
}

/* Puts a vCPU that take() returned onto this hart. */
static void load(struct hart *hart, struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    bool moved = vcpu->last_hart != hart;
    vcpu_arrive(vcpu, hart);
    bool resident = hart->resident == vcpu && !moved; /* unless arriving made a new context of it */
    if (hart->protected_for != capsule) {
        capsule->isolation->enter(hart, capsule);
        hart->protected_for = capsule;
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
        struct vcpu *vcpu = take(&queues[hart->kind]);
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
        if (atomic_load(&queues[hart->kind].length) != 0) {
            vcpu->leaving = RUN_QUEUED;
        }
    }
    if (vcpu->leaving != RUN_LOADED) {
        unload(hart, vcpu);
    } else if (overcommitted(hart->kind) && hart->slice.heap == NULL) {
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
           atomic_load_explicit(&vcpu->capsule->state, memory_order_relaxed) == CAPSULE_RUNNING &&
           atomic_load_explicit(&hart->timers.changes, memory_order_relaxed) == hart->timer_changes &&
           (hart->slice.heap != NULL || !overcommitted(hart->kind));
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
