/* SPDX-License-Identifier: MIT
 *
 * SBI BASE: what this implementation is and what it offers. Every function succeeds.
 */
#include "core/hart.h"
#include "sbi/sbi.h"

static long spec_version(struct sbi_call *call)
{
    call->value = SBI_SPEC_VERSION;
    return SBI_SUCCESS;
}

static long impl_id(struct sbi_call *call)
{
    call->value = SBI_IMPL_ID;
    return SBI_SUCCESS;
}

/* "1.2.3" is 0x010203: major in bits 23:16, minor in 15:8, patch in 7:0. */
static long impl_version(struct sbi_call *call)
{
    long packed = 0;
    long part = 0;
    for (const char *text = DIOSIX_VERSION; *text == '.' || (*text >= '0' && *text <= '9'); text++) {
        if (*text == '.') {
            packed = (packed | part) << 8;
            part = 0;
        } else {
            part = part * 10 + (*text - '0');
        }
    }
    call->value = packed | part;
    return SBI_SUCCESS;
}

static long probe(struct sbi_call *call)
{
    call->value = sbi_extension_present(call->args[0]) ? 1 : 0;
    return SBI_SUCCESS;
}

/* The real ids of the hart that the caller is on: guests need that core's errata. */
static long mvendorid(struct sbi_call *call)
{
    call->value = (long)hart_this()->features.mvendorid;
    return SBI_SUCCESS;
}

static long marchid(struct sbi_call *call)
{
    call->value = (long)hart_this()->features.marchid;
    return SBI_SUCCESS;
}

static long mimpid(struct sbi_call *call)
{
    call->value = (long)hart_this()->features.mimpid;
    return SBI_SUCCESS;
}

static sbi_function *const functions[] = {
    [SBI_BASE_SPEC_VERSION] = spec_version,
    [SBI_BASE_IMPL_ID] = impl_id,
    [SBI_BASE_IMPL_VERSION] = impl_version,
    [SBI_BASE_PROBE] = probe,
    [SBI_BASE_MVENDORID] = mvendorid,
    [SBI_BASE_MARCHID] = marchid,
    [SBI_BASE_MIMPID] = mimpid,
};
const struct sbi_functions sbi_base = {functions, ARRAY_LENGTH(functions)};
