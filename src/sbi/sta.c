/* SPDX-License-Identifier: MIT
 *
 * SBI STA: where the caller wants to be told how long it had to wait for a hart.
 */
#include "core/steal.h"
#include "sbi/sbi.h"

/* set_shmem(low, high, flags), for the calling vCPU; all ones switches it off. flags has 32 bits, and no meaning yet.
 */
static long set_shmem(struct sbi_call *call)
{
    const uint64_t address = sbi_argument64(call, 0);
    if ((uint32_t)call->args[2] != 0) {
        return SBI_ERR_INVALID_PARAM;
    }
    if (call->args[0] == ~0ul && call->args[1] == ~0ul) {
        steal_forget(call->vcpu);
        return SBI_SUCCESS;
    }
    if (address % sizeof(struct sbi_sta_shared) != 0) {
        return SBI_ERR_INVALID_PARAM;
    }
    if (XLEN == 64 && call->args[1] != 0) {
        return SBI_ERR_INVALID_ADDRESS; /* no address has more than 64 bits */
    }
    return steal_tell(call->vcpu, (gpa_t){address}) ? SBI_SUCCESS : SBI_ERR_INVALID_ADDRESS;
}

static sbi_function *const functions[] = {
    [SBI_STA_SET_SHMEM] = set_shmem,
};
const struct sbi_functions sbi_sta = {functions, ARRAY_LENGTH(functions)};
