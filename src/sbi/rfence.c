/* SPDX-License-Identifier: MIT
 *
 * SBI RFENCE: fences on other vCPUs of the capsule. Every range and ASID is widened to a whole fence, which is
 * always correct, costs the same for any argument, and leaves no range that could overflow. Guests have no H
 * extension: the HFENCE functions (3 to 6) are NOT_SUPPORTED.
 */
#include "core/fence.h"
#include "sbi/sbi.h"

static void fence_here(unsigned event)
{
    if (event == EVENT_FENCE_I) {
        arch_fence_i();
    } else {
        arch_fence_vma();
    }
}

/* (mask, base, …). Stopped vCPUs may be named: fence_remote skips them, and no start begins without a fence. */
static long fence(struct sbi_call *call, unsigned event)
{
    struct vcpu *caller = call->vcpu;
    uint32_t set;
    if (!sbi_hart_set(caller->capsule, call->args[0], call->args[1], &set)) {
        return SBI_ERR_INVALID_PARAM;
    }
    if (set == 0) {
        return SBI_SUCCESS;
    }
    if (set == BIT(caller->id)) {
        fence_here(event);
        return SBI_SUCCESS;
    }
    /* Others may wake the caller, on another hart even, from inside fence_remote on: its answer comes first. */
    sbi_answer_success(call);
    if (!fence_remote(caller, set, event)) {
        call->outcome = OUTCOME_YIELD;
    }
    return SBI_SUCCESS;
}

static long remote_fence_i(struct sbi_call *call)
{
    return fence(call, EVENT_FENCE_I);
}

/* (mask, base, start, size) and, with ASID, a fifth */
static long remote_sfence_vma(struct sbi_call *call)
{
    return fence(call, EVENT_FENCE_VMA);
}

static sbi_function *const functions[] = {
    [SBI_RFENCE_FENCE_I] = remote_fence_i,
    [SBI_RFENCE_SFENCE_VMA] = remote_sfence_vma,
    [SBI_RFENCE_SFENCE_VMA_ASID] = remote_sfence_vma,
};
const struct sbi_functions sbi_rfence = {functions, ARRAY_LENGTH(functions)};
