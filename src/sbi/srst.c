/* SPDX-License-Identifier: MIT
 *
 * SBI SRST: the guest turns its capsule off or restarts it.
 */
#include "sbi/sbi.h"

/* What each type of reset asks for; the report's text comes from the reason. */
static const enum stop_reason resets[] = {
    [SBI_SRST_SHUTDOWN] = STOP_POWER_OFF,
    [SBI_SRST_COLD_REBOOT] = STOP_RESET,
    [SBI_SRST_WARM_REBOOT] = STOP_RESET,
};

/* reset(type, reason), both 32 bits wide. SBI 2.0, 10.1: types and reasons that are reserved, or platform-specific
 * and not implemented, are INVALID_PARAM; NOT_SUPPORTED is for an implemented type that lacks something. */
static long reset(struct sbi_call *call)
{
    uint32_t type = (uint32_t)call->args[0];
    uint32_t reason = (uint32_t)call->args[1];
    if (type >= ARRAY_LENGTH(resets) || reason > SBI_SRST_REASON_FAILURE) {
        return SBI_ERR_INVALID_PARAM;
    }
    bool failed = type == SBI_SRST_SHUTDOWN && reason == SBI_SRST_REASON_FAILURE;
    capsule_stop(call->vcpu->capsule, failed ? STOP_FAILURE : resets[type], "%s", "");
    call->outcome = OUTCOME_STOP;
    return SBI_SUCCESS;
}

static sbi_function *const functions[] = {
    [SBI_SRST_RESET] = reset,
};
const struct sbi_functions sbi_srst = {functions, ARRAY_LENGTH(functions)};
