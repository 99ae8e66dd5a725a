/* SPDX-License-Identifier: MIT
 *
 * Compiled to assembly only: each line "@@ NAME value" becomes a #define in the generated offsets.h.
 */
#include "arch/arch.h"

#define OFFSET(name, type, member) __asm__ volatile("\n@@ " #name " %0" : : "i"(offsetof(type, member)))

void offsets(void);
void offsets(void)
{
    OFFSET(CONTEXT_X, struct arch_context, x);
    OFFSET(CONTEXT_PC, struct arch_context, pc);
    OFFSET(CONTEXT_STATUS, struct arch_context, status);
    OFFSET(CONTEXT_STATUS_HIGH, struct arch_context, status_high);
    OFFSET(CONTEXT_HART, struct arch_context, hart);
    OFFSET(CONTEXT_F, struct arch_context, f);
    OFFSET(HART_STACK_TOP, struct arch_hart, stack_top);
    OFFSET(HART_RECOVER, struct arch_hart, recover);
    OFFSET(HART_RECOVER_CAUSE, struct arch_hart, recover_cause);
    OFFSET(HART_SCRATCH, struct arch_hart, scratch);
    OFFSET(HART_EMERGENCY_TOP, struct arch_hart, emergency_top);
    OFFSET(HART_ID, struct arch_hart, id);
    OFFSET(HART_IS_VIRTUAL, struct arch_hart, is_virtual);
}
