/* SPDX-License-Identifier: MIT
 *
 * Events of a vCPU and its ways to sleep. An event is a bit that any hart sets before it looks where the vCPU stands;
 * a hart that puts a vCPU to sleep publishes that first and looks at the events afterwards. So one of the two sees the
 * other, and no wake-up is lost.
 */
#include "core/vcpu.h"

#include "core/capsule.h"
#include "core/fence.h"
#include "core/scheduler.h"
#include "core/steal.h"
#include "diosix/sbi.h"

/* Whether what a blocked vCPU waits for has come; stray unblocks must not cut a remote fence short. */
static bool may_unblock(const struct vcpu *vcpu)
{
    return (atomic_load(&vcpu->pending) & EVENT_UNBLOCK) != 0 && atomic_load(&vcpu->fences_outstanding) == 0;
}

bool vcpu_must_wake(const struct vcpu *vcpu)
{
    unsigned events = atomic_load(&vcpu->pending);
    unsigned long bits = vcpu->context.sip;
    const struct hart *last = vcpu->last_hart;
    bool sstc = last != NULL && last->features.sstc;
    uint64_t deadline = sstc ? vcpu->context.stimecmp : vcpu->deadline;
    bits |= atomic_load(&vcpu->external) != 0 ? BIT(IRQ_S_EXTERNAL) : 0;
    bits |= (events & EVENT_IPI) != 0 ? BIT(IRQ_S_SOFT) : 0;
    bits |= deadline != TIMER_NEVER && deadline <= clock_now() ? BIT(IRQ_S_TIMER) : 0;
    return (bits & vcpu->context.sie) != 0;
}

void vcpu_post(struct vcpu *vcpu, unsigned events)
{
    atomic_fetch_or(&vcpu->pending, events);
    switch ((enum vcpu_run)atomic_load(&vcpu->run)) {
    case RUN_LOADED: {
        struct hart *hart = atomic_load(&vcpu->hart);
        if (hart != NULL && hart != hart_this()) {
            hart_ring(hart);
        }
        break;
    }
    case RUN_WAITING:
        scheduler_wake(vcpu, RUN_WAITING, vcpu_must_wake);
        break;
    case RUN_BLOCKED:
        scheduler_wake(vcpu, RUN_BLOCKED, may_unblock);
        break;
    case RUN_QUEUED:
    case RUN_PARKED:
    case RUN_OFF:
        break;
    }
}

void vcpu_set_external(struct vcpu *vcpu, bool level)
{
    if ((atomic_exchange(&vcpu->external, level) != 0) != level) {
        vcpu_post(vcpu, EVENT_EXTERNAL);
    }
}

static void fire(struct timer *timer)
{
    vcpu_post(CONTAINER_OF(timer, struct vcpu, timer), EVENT_TIMER);
}

static void arm(struct vcpu *vcpu, struct hart *hart, uint64_t deadline)
{
    if (deadline != TIMER_NEVER) {
        vcpu->timer.fire = fire;
        timer_arm(&hart->timers, &vcpu->timer, deadline);
    }
}

/* Without Sstc: the interrupt follows the comparison, and the hart's timer follows the deadline. */
static void compare_timer(struct vcpu *vcpu, struct hart *hart)
{
    bool due = vcpu->deadline <= clock_now();
    timer_cancel(&vcpu->timer);
    arch_virtual_interrupt(BIT(IRQ_S_TIMER), due && vcpu->deadline != TIMER_NEVER);
    if (!due) {
        arm(vcpu, hart, vcpu->deadline);
    }
}

void vcpu_set_timer(struct vcpu *vcpu, uint64_t deadline)
{
    struct hart *hart = hart_this();
    if (hart->features.sstc) {
        arch_virtual_timer_set(deadline);
        return;
    }
    vcpu->deadline = deadline;
    compare_timer(vcpu, hart);
}

void vcpu_start(struct vcpu *vcpu, unsigned long entry, unsigned long argument)
{
    arch_context_reset(&vcpu->context, entry, vcpu->id, argument);
    vcpu->deadline = TIMER_NEVER;
    vcpu->last_hart = NULL;
    vcpu->leaving = RUN_LOADED;
    vcpu->suspend.resumes = false;
    steal_forget(vcpu);
    /* Notes to fence stay: who left one may wait for the answer. */
    atomic_fetch_and(&vcpu->pending, (unsigned)(EVENT_FENCE_VMA | EVENT_FENCE_I));
    atomic_fetch_add(&vcpu->capsule->started, 1);
    atomic_store(&vcpu->hsm, SBI_HSM_STARTED);
    scheduler_wake(vcpu, RUN_OFF, NULL);
}

void vcpu_off(struct vcpu *vcpu)
{
    atomic_store(&vcpu->hsm, SBI_HSM_STOP_PENDING);
    vcpu->leaving = RUN_OFF;
}

void vcpu_suspend(struct vcpu *vcpu, bool non_retentive, unsigned long entry, unsigned long argument)
{
    vcpu->suspend.resumes = non_retentive;
    vcpu->suspend.entry = entry;
    vcpu->suspend.argument = argument;
    atomic_store(&vcpu->hsm, SBI_HSM_SUSPENDED);
    vcpu->leaving = RUN_WAITING;
}

void vcpu_wait(struct vcpu *vcpu)
{
    vcpu->leaving = RUN_WAITING;
}

void vcpu_block(struct vcpu *vcpu)
{
    vcpu->leaving = RUN_BLOCKED;
}

void vcpu_unblock(struct vcpu *vcpu)
{
    vcpu_post(vcpu, EVENT_UNBLOCK);
}

/* The guest resumes from a non-retentive suspend as from a start, but what woke it must still be pending. */
static void restart_suspended(struct vcpu *vcpu)
{
    unsigned long pending = vcpu->context.sip;
    uint64_t compare = vcpu->context.stimecmp;
    arch_context_reset(&vcpu->context, vcpu->suspend.entry, vcpu->id, vcpu->suspend.argument);
    vcpu->context.sip = pending;
    vcpu->context.stimecmp = compare;
    vcpu->suspend.resumes = false;
    hart_this()->resident = NULL;
}

void vcpu_arrive(struct vcpu *vcpu, struct hart *hart)
{
    timer_cancel(&vcpu->timer);
    vcpu->leaving = RUN_LOADED;
    if (atomic_load(&vcpu->hsm) == SBI_HSM_SUSPENDED) {
        atomic_store(&vcpu->hsm, SBI_HSM_STARTED);
        if (vcpu->suspend.resumes) {
            restart_suspended(vcpu);
        }
    }
    vcpu->context.hart = hart;
    vcpu->last_hart = hart;
    vcpu->external_raised = false; /* loading the context lowers it */
    vcpu->retries = 0;
    atomic_store(&vcpu->hart, hart);
    atomic_fetch_or(&vcpu->pending, EVENT_EXTERNAL | EVENT_TIMER);
}

void vcpu_depart(struct vcpu *vcpu, struct hart *hart)
{
    atomic_store(&vcpu->hart, NULL);
    timer_cancel(&vcpu->timer);
    if (vcpu->leaving == RUN_WAITING && (vcpu->context.sie & BIT(IRQ_S_TIMER)) != 0) {
        arm(vcpu, hart, hart->features.sstc ? vcpu->context.stimecmp : vcpu->deadline);
    }
}

/* Nothing of the vCPU can run any more: only now may others see it stopped, and start it again. */
static void left_for_good(struct vcpu *vcpu)
{
    struct capsule *capsule = vcpu->capsule;
    if (atomic_load(&vcpu->hsm) != SBI_HSM_STOP_PENDING) {
        return; /* its capsule is stopping: capsule.c clears up */
    }
    bool last = atomic_fetch_sub(&capsule->started, 1) == 1;
    atomic_store(&vcpu->hsm, SBI_HSM_STOPPED);
    if (last) {
        capsule_stop(capsule, STOP_POWER_OFF, "its last vCPU stopped");
    }
}

void vcpu_left(struct vcpu *vcpu, enum vcpu_run left)
{
    if (left == RUN_WAITING) {
        scheduler_wake(vcpu, RUN_WAITING, vcpu_must_wake);
    } else if (left == RUN_BLOCKED) {
        scheduler_wake(vcpu, RUN_BLOCKED, may_unblock);
    } else if (left == RUN_OFF) {
        left_for_good(vcpu);
    }
}

/* Whoever is answered here has left its note before we look for notes once more: so the fence that it wants is made
 * after it asked. A note that comes later brings the vCPU here again, with whoever left it. */
static void fold_fences(struct vcpu *vcpu, unsigned events)
{
    uint32_t waiters = fence_take_waiters(vcpu);
    events |= atomic_load(&vcpu->pending);
    if ((events & EVENT_FENCE_VMA) != 0) {
        arch_fence_vma();
    }
    if ((events & EVENT_FENCE_I) != 0) {
        arch_fence_i();
    }
    fence_tell(vcpu, waiters);
}

void vcpu_fold(struct vcpu *vcpu)
{
    if (atomic_load(&vcpu->pending) == 0) {
        return;
    }
    unsigned events = atomic_exchange(&vcpu->pending, 0);
    struct hart *hart = hart_this();
    if ((events & EVENT_IPI) != 0) {
        arch_virtual_interrupt(BIT(IRQ_S_SOFT), true);
    }
    if ((events & EVENT_TIMER) != 0 && !hart->features.sstc) {
        compare_timer(vcpu, hart);
    }
    if ((events & (EVENT_FENCE_VMA | EVENT_FENCE_I)) != 0) {
        fold_fences(vcpu, events);
    }
    bool level = atomic_load(&vcpu->external) != 0;
    if (level != vcpu->external_raised) {
        vcpu->external_raised = level;
        vcpu->interrupts += level ? 1 : 0;
        arch_virtual_interrupt(BIT(IRQ_S_EXTERNAL), level);
    }
}
