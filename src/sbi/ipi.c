/* SPDX-License-Identifier: MIT
 *
 * SBI IPI: supervisor software interrupts between the vCPUs of a capsule.
 */
#include "sbi/sbi.h"

static void send_to(struct vcpu *caller, uint32_t id)
{
    if (id == caller->id) {
        arch_virtual_interrupt(BIT(IRQ_S_SOFT), true); /* it is loaded here: no need to ring anybody */
        return;
    }
    struct vcpu *target = capsule_vcpu(caller->capsule, id);
    /* A stopped vCPU may be named, but must not find the interrupt pending when it is started. */
    if (atomic_load(&target->hsm) != SBI_HSM_STOPPED) {
        vcpu_post(target, EVENT_IPI);
    }
}

/* send(mask, base) */
static long send(struct sbi_call *call)
{
    uint32_t set;
    if (!sbi_hart_set(call->vcpu->capsule, call->args[0], call->args[1], &set)) {
        return SBI_ERR_INVALID_PARAM;
    }
    for (uint32_t id = 0; set != 0; id++, set >>= 1) {
        if ((set & 1) != 0) {
            send_to(call->vcpu, id);
        }
    }
    return SBI_SUCCESS;
}

static sbi_function *const functions[] = {
    [SBI_IPI_SEND] = send,
};
const struct sbi_functions sbi_ipi = {functions, ARRAY_LENGTH(functions)};
