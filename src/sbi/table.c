/* SPDX-License-Identifier: MIT
 *
 * The table of SBI extensions, the way from an ecall to its function and back, and what extensions share.
 */
#include "sbi/sbi.h"

/* The most frequent first. HFENCE, SUSP, PMU and whatever else isn't here are NOT_SUPPORTED. */
const struct sbi_extension_row sbi_extensions[] = {
    {.name = "TIME", .first = SBI_EXT_TIME, .last = SBI_EXT_TIME, .functions = &sbi_time},
    {.name = "IPI", .first = SBI_EXT_IPI, .last = SBI_EXT_IPI, .functions = &sbi_ipi},
    {.name = "RFENCE", .first = SBI_EXT_RFENCE, .last = SBI_EXT_RFENCE, .functions = &sbi_rfence},
    {.name = "HSM", .first = SBI_EXT_HSM, .last = SBI_EXT_HSM, .functions = &sbi_hsm},
    {.name = "DBCN", .first = SBI_EXT_DBCN, .last = SBI_EXT_DBCN, .functions = &sbi_dbcn},
    {.name = "BASE", .first = SBI_EXT_BASE, .last = SBI_EXT_BASE, .functions = &sbi_base},
    {.name = "SRST", .first = SBI_EXT_SRST, .last = SBI_EXT_SRST, .functions = &sbi_srst},
    {.name = "STA", .first = SBI_EXT_STA, .last = SBI_EXT_STA, .functions = &sbi_sta},
    /* Calls of this range that aren't offered preserve a1 too: their callers know no other convention. */
    {.name = "legacy", .first = 0x00, .last = 0x0f, .functions = &sbi_legacy, .legacy = true},
};
const size_t sbi_extension_count = ARRAY_LENGTH(sbi_extensions);

static const struct sbi_extension_row *find_extension(uint32_t extension)
{
    for (size_t i = 0; i < sbi_extension_count; i++) {
        if (extension >= sbi_extensions[i].first && extension <= sbi_extensions[i].last) {
            return &sbi_extensions[i];
        }
    }
    return NULL;
}

/* NULL if there is none; row may be NULL. */
static sbi_function *find_function(const struct sbi_extension_row *row, uint32_t extension, uint32_t function)
{
    if (row == NULL) {
        return NULL;
    }
    uint32_t index = row->legacy ? extension : function;
    return index < row->functions->count ? row->functions->list[index] : NULL;
}

bool sbi_extension_present(unsigned long extension)
{
    const struct sbi_extension_row *row = find_extension((uint32_t)extension);
    return row != NULL && (!row->legacy || find_function(row, (uint32_t)extension, 0) != NULL);
}

/* From on_ecall in the trap handlers. Extension and function ids are 32 bits wide in the specification: here, and
 * in sbi_extension_present, is where RV64's upper halves of a7, a6 and a probed id are dropped. */
enum outcome sbi_handle(struct vcpu *vcpu)
{
    unsigned long *x = vcpu->context.x;
    struct sbi_call call = {
        .vcpu = vcpu,
        .extension = (uint32_t)x[REG_A7],
        .function = (uint32_t)x[REG_A6],
        .args = {x[REG_A0], x[REG_A0 + 1], x[REG_A0 + 2], x[REG_A0 + 3], x[REG_A0 + 4], x[REG_A0 + 5]},
        .outcome = OUTCOME_SKIP,
    };

    const struct sbi_extension_row *row = find_extension(call.extension);
    sbi_function *function = find_function(row, call.extension, call.function);
    long error = function != NULL ? function(&call) : SBI_ERR_NOT_SUPPORTED;

    if (call.outcome == OUTCOME_SKIP) {
        x[REG_A0] = (unsigned long)error;
        if (row == NULL || !row->legacy) {
            x[REG_A1] = error == SBI_SUCCESS ? (unsigned long)call.value : 0;
        }
    }
    return call.outcome;
}

void sbi_answer_success(struct sbi_call *call)
{
    struct arch_context *context = &call->vcpu->context;
    context->x[REG_A0] = SBI_SUCCESS;
    context->x[REG_A1] = (unsigned long)call->value;
    context->pc += 4; /* ecall has no compressed form */
    call->outcome = OUTCOME_RESUME;
}

bool sbi_hart_set(const struct capsule *capsule, unsigned long mask, unsigned long base, uint32_t *set)
{
    uint32_t vcpus = capsule->config.vcpus; /* 1 … 32 */
    if (base == ~0UL) {
        *set = UINT32_MAX >> (32 - vcpus);
        return true;
    }
    if (mask == 0) {
        *set = 0;
        return true;
    }
    /* Bits of the mask that have a vCPU: vcpus − base of them. In 64 bits no shift reaches the width. */
    uint64_t wanted = mask;
    if (base >= vcpus || wanted >> (vcpus - base) != 0) {
        return false;
    }
    *set = (uint32_t)(wanted << base);
    return true;
}

struct vcpu *sbi_hart(const struct capsule *capsule, unsigned long hartid)
{
    if (hartid >= capsule->config.vcpus) {
        return NULL;
    }
    /* A hart that speculates past the test must not compute an address from the guest's number either. */
    static_assert((CAPSULE_VCPUS_MAX & (CAPSULE_VCPUS_MAX - 1)) == 0, "a mask bounds the index");
    return capsule_vcpu(capsule, (uint32_t)hartid & (CAPSULE_VCPUS_MAX - 1));
}
