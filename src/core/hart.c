/* SPDX-License-Identifier: MIT
 *
 * Harts: their interrupts, their timer, their clock.
 */
#include "core/hart.h"

enum { NUDGES_PER_SECOND = 20 };

struct hart *harts[MACHINE_HARTS_MAX];
struct hart *hart_server;
uint32_t hart_count;
uint32_t hart_kind_count[HART_KINDS];
struct hart_ops hart_ops;
uint64_t clock_hz;

uint64_t clock_now(void)
{
    return hart_ops.time != NULL ? hart_ops.time() : arch_time();
}

void hart_ring(struct hart *hart)
{
    arch_fence_memory();
    hart_ops.ring(hart);
}

void hart_arm(struct hart *hart, struct timer *timer, uint64_t deadline)
{
    if (timer_arm(&hart->timers, timer, deadline) && hart != hart_this()) {
        hart_ring(hart); /* it alone can set its timer */
    }
}

bool hart_is_wanted(void)
{
    struct hart *hart = hart_this();
    return hart->reschedule || (arch_hart_pending() & BIT(IRQ_M_SOFT)) != 0 ||
           timer_heap_next(&hart->timers) <= clock_now();
}

void hart_ask(struct hart *hart, enum hart_request request)
{
    atomic_fetch_or(&hart->requests, request);
    hart_ring(hart);
}

void hart_program_timer(struct hart *hart)
{
    unsigned changes = atomic_load_explicit(&hart->timers.changes, memory_order_relaxed);
    if (changes == hart->timer_changes) {
        return; /* most traps arm nothing; a timer that another hart cancels meanwhile only wakes this one in vain */
    }
    hart->timer_changes = changes;
    uint64_t next = timer_heap_next(&hart->timers);
    if (next != hart->timer_programmed) {
        hart->timer_programmed = next;
        hart_ops.timer_set(hart, next);
        arch_hart_interrupt_enable(BIT(IRQ_M_TIMER), next != TIMER_NEVER);
    }
}

/* The trap was all that was needed. */
static void nudged(struct timer *timer)
{
    struct hart *hart = CONTAINER_OF(timer, struct hart, nudge);
    if (hart->current != NULL) {
        hart_nudge(hart);
    }
}

void hart_nudge(struct hart *hart)
{
    if (!timer_is_armed(&hart->nudge)) {
        hart->nudge.fire = nudged;
        timer_arm(&hart->timers, &hart->nudge, clock_now() + clock_hz / NUDGES_PER_SECOND);
    }
}

static void serve_timer(struct hart *hart)
{
    uint64_t next = timer_heap_run(&hart->timers, clock_now());
    hart->timer_programmed = next;
    hart_ops.timer_set(hart, next);
    arch_hart_interrupt_enable(BIT(IRQ_M_TIMER), next != TIMER_NEVER);
}

/* A ring only says "look": what to look at lies in memory and is read after the ring is cleared. */
static void serve_ring(struct hart *hart)
{
    hart_ops.ring_clear(hart);
    arch_fence_memory();
    unsigned requests = atomic_exchange(&hart->requests, 0);
    if ((requests & HART_HALT) != 0) {
        arch_hart_halt();
    }
    if ((requests & HART_RESCHEDULE) != 0) {
        hart->reschedule = true;
    }
    if ((requests & HART_PASS) != 0 && hart_ops.passed != NULL) {
        hart_ops.passed();
    }
    if ((requests & HART_TERMINAL) != 0 && hart_ops.terminal != NULL) {
        hart_ops.terminal();
    }
}

void hart_serve(struct hart *hart)
{
    unsigned long pending = arch_hart_pending();
    if ((pending & BIT(IRQ_M_SOFT)) != 0) {
        serve_ring(hart);
    }
    if ((pending & BIT(IRQ_M_TIMER)) != 0) {
        serve_timer(hart);
    }
    if ((pending & BIT(IRQ_M_EXTERNAL)) != 0 && hart_ops.external != NULL) {
        hart_ops.external();
    }
}

void hart_halt_others(void)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n] != hart_this() && atomic_load(&harts[n]->online)) {
            hart_ask(harts[n], HART_HALT);
        }
    }
}
