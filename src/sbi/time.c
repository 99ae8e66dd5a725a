/* SPDX-License-Identifier: MIT
 *
 * SBI TIME: the guest's timer. Offered with Sstc too.
 */
#include "sbi/sbi.h"

/* A time that has passed, 0 included, makes the interrupt pending; a later one clears it; −1 never comes. */
static long set_timer(struct sbi_call *call)
{
    vcpu_set_timer(call->vcpu, sbi_argument64(call, 0));
    return SBI_SUCCESS;
}

static sbi_function *const functions[] = {
    [SBI_TIME_SET_TIMER] = set_timer,
};
const struct sbi_functions sbi_time = {functions, ARRAY_LENGTH(functions)};
