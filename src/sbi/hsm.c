/* SPDX-License-Identifier: MIT
 *
 * SBI HSM: starting, stopping and suspending the capsule's vCPUs. vcpu->hsm is one atomic word; whoever moves it
 * from STOPPED to START_PENDING owns the start. The other transitions are the scheduler's.
 */
#include "sbi/sbi.h"

/* Whether a vCPU can be entered there: an even address whose first half-word lies in the capsule's RAM. What lies
 * beyond the last byte is the guest's own access fault. */
static bool entry_valid(const struct capsule *capsule, unsigned long entry)
{
    return (entry & 1) == 0 && capsule_ram(capsule, (gpa_t){entry}, 2) != NULL;
}

/* start(hartid, entry, argument). Checked in this order: hart, address, state. */
static long start(struct sbi_call *call)
{
    const struct capsule *capsule = call->vcpu->capsule;
    struct vcpu *target = sbi_hart(capsule, call->args[0]);
    if (target == NULL) {
        return SBI_ERR_INVALID_PARAM;
    }
    if (!entry_valid(capsule, call->args[1])) {
        return SBI_ERR_INVALID_ADDRESS;
    }
    /* Of two that start the same vCPU one wins here; nothing is written into a target that wasn't stopped. */
    unsigned state = SBI_HSM_STOPPED;
    if (!atomic_compare_exchange_strong(&target->hsm, &state, SBI_HSM_START_PENDING)) {
        return state == SBI_HSM_STARTED ? SBI_ERR_ALREADY_AVAILABLE : SBI_ERR_INVALID_PARAM;
    }
    vcpu_start(target, call->args[1], call->args[2]);
    return SBI_SUCCESS;
}

/* Others see STOP_PENDING until the scheduler has really taken the caller off its hart. */
static long stop(struct sbi_call *call)
{
    atomic_store(&call->vcpu->hsm, SBI_HSM_STOP_PENDING);
    vcpu_off(call->vcpu);
    call->outcome = OUTCOME_STOP;
    return SBI_SUCCESS;
}

static long status(struct sbi_call *call)
{
    struct vcpu *target = sbi_hart(call->vcpu->capsule, call->args[0]);
    if (target == NULL) {
        return SBI_ERR_INVALID_PARAM;
    }
    call->value = (long)atomic_load(&target->hsm);
    return SBI_SUCCESS;
}

/* suspend(type, entry, argument). The type has 32 bits. Platform-specific types are not implemented, which is
 * INVALID_PARAM as for reserved ones. */
static long suspend(struct sbi_call *call)
{
    uint32_t type = (uint32_t)call->args[0];
    bool non_retentive = type == SBI_HSM_SUSPEND_NON_RETENTIVE;
    if (!non_retentive && type != SBI_HSM_SUSPEND_RETENTIVE) {
        return SBI_ERR_INVALID_PARAM;
    }
    if (non_retentive && !entry_valid(call->vcpu->capsule, call->args[1])) {
        return SBI_ERR_INVALID_ADDRESS;
    }
    sbi_answer_success(call); /* first: from vcpu_suspend on the vCPU may be woken */
    vcpu_suspend(call->vcpu, non_retentive, call->args[1], call->args[2]);
    call->outcome = OUTCOME_YIELD;
    return SBI_SUCCESS;
}

static sbi_function *const functions[] = {
    [SBI_HSM_START] = start,
    [SBI_HSM_STOP] = stop,
    [SBI_HSM_STATUS] = status,
    [SBI_HSM_SUSPEND] = suspend,
};
const struct sbi_functions sbi_hsm = {functions, ARRAY_LENGTH(functions)};
