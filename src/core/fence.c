/* SPDX-License-Identifier: MIT
 *
 * Remote fences: see fence.h. Each target has a bit set of waiters, each waiter a count of targets that owe it an
 * answer, plus one while it is still asking.
 */
#include "core/fence.h"

#include "core/capsule.h"
#include "diosix/sbi.h"

static void answered(struct vcpu *waiter)
{
    if (atomic_fetch_sub(&waiter->fences_outstanding, 1) == 1) {
        vcpu_unblock(waiter);
    }
}

uint32_t fence_take_waiters(struct vcpu *vcpu)
{
    return atomic_exchange(&vcpu->fence_waiters, 0);
}

void fence_tell(struct vcpu *vcpu, uint32_t waiters)
{
    while (waiters != 0) {
        uint32_t id = (uint32_t)__builtin_ctz(waiters);
        waiters &= waiters - 1;
        answered(capsule_vcpu(vcpu->capsule, id));
    }
}

void fence_answer(struct vcpu *vcpu)
{
    fence_tell(vcpu, fence_take_waiters(vcpu));
}

/* The note (a pending event) comes first, so that whoever sees our bit also has the note: a target that fences and
 * answers, or leaves its hart and answers, has it done or will do it before it runs again. One that took the note
 * before our bit was there gets it again. A target that is on no hart fences before it runs again: nobody needs to
 * wait, and the bit is taken back unless it was answered meanwhile. Whoever takes a vCPU off its hart clears vcpu->hart
 * first and answers then, so it sees our bit or we see that. */
static void ask(struct vcpu *caller, struct vcpu *target, unsigned events)
{
    uint32_t bit = (uint32_t)1 << caller->id;
    atomic_fetch_add(&caller->fences_outstanding, 1);
    atomic_fetch_or(&target->pending, events);
    atomic_fetch_or(&target->fence_waiters, bit);
    vcpu_post(target, events);
    if (atomic_load(&target->hart) == NULL && (atomic_fetch_and(&target->fence_waiters, ~bit) & bit) != 0) {
        atomic_fetch_sub(&caller->fences_outstanding, 1);
    }
}

static void fence_here(unsigned events)
{
    if ((events & EVENT_FENCE_VMA) != 0) {
        arch_fence_vma();
    }
    if ((events & EVENT_FENCE_I) != 0) {
        arch_fence_i();
    }
}

bool fence_remote(struct vcpu *caller, uint32_t set, unsigned events)
{
    uint32_t self = (uint32_t)1 << caller->id;
    if ((set & self) != 0) {
        fence_here(events);
    }
    set &= ~self;
    if (set == 0) {
        return true;
    }
    atomic_store(&caller->fences_outstanding, 1);
    while (set != 0) {
        struct vcpu *target = capsule_vcpu(caller->capsule, (uint32_t)__builtin_ctz(set));
        set &= set - 1;
        if (atomic_load(&target->hsm) != SBI_HSM_STOPPED) {
            ask(caller, target, events);
        }
    }
    if (atomic_fetch_sub(&caller->fences_outstanding, 1) == 1) {
        return true;
    }
    vcpu_block(caller);
    return false;
}
