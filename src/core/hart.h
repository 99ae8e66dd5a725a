/* SPDX-License-Identifier: MIT
 *
 * A physical hart: what is its own, and what others may touch.
 */
#ifndef CORE_HART_H
#define CORE_HART_H

#include <stdatomic.h>

#include "core/machine.h"
#include "core/timer.h"
#include "core/vcpu.h"

struct hart {
    struct arch_hart arch; /* must be first: tp points here, and trap.S uses it */
    const struct machine_hart *tree;
    uint32_t index; /* 0 … n−1 in the order of the tree */
    struct hart_features features;
    enum hart_kind kind; /* set once, before any hart runs guests */

    /* Only this hart touches these: */
    struct vcpu *current;          /* loaded, or NULL */
    struct vcpu *resident;         /* whose registers are still in the hart, though it was saved; or NULL */
    struct capsule *protected_for; /* whose memory its guests may reach now, or NULL */
    uint64_t vmid_generation;      /* of the translations that this hart may still hold (isolation/hyp.c) */
    unsigned long guard_address;   /* pmpaddr of the page below the stack: locked, entry 0 */
    struct pmp_image loaded_image; /* what the PMP registers hold */
    struct timer slice;
    unsigned timer_changes;    /* timers.changes when timer_programmed was computed */
    uint64_t timer_programmed; /* what the hardware timer was last set to */
    bool reschedule;           /* the slice ended, or someone asked */

    /* Anybody may touch these: */
    struct timer_heap timers;
    atomic_bool online;   /* prepared and serving */
    atomic_uint idle;     /* asleep or about to be: ring it after queueing work */
    atomic_uint requests; /* enum hart_request bits */
};

enum hart_request { HART_RESCHEDULE = 1 << 0, HART_HALT = 1 << 1 };

static_assert(offsetof(struct hart, arch) == 0, "trap.S and arch_this_hart");

static inline struct hart *hart_this(void)
{
    return (struct hart *)(void *)arch_this_hart();
}

/* All harts that are usable, in the order of the tree. */
extern struct hart *harts[MACHINE_HARTS_MAX];
extern uint32_t hart_count;
/* How many of them are of each kind. */
extern uint32_t hart_kind_count[HART_KINDS];

/* How the machine's timer and software interrupts are reached; set once at boot. */
struct hart_ops {
    void (*ring)(struct hart *hart);                         /* raises its machine software interrupt */
    void (*ring_clear)(struct hart *hart);                   /* this hart only */
    void (*timer_set)(struct hart *hart, uint64_t deadline); /* this hart only; TIMER_NEVER: silent */
    uint64_t (*time)(void);                                  /* NULL: the time CSR */
    void (*external)(void);                                  /* this hart's external interrupt is pending */
};
extern struct hart_ops hart_ops;

/* The host's time in ticks of the machine's timebase. */
uint64_t clock_now(void);
/* Ticks per second; set once at boot by scheduler_init. */
extern uint64_t clock_hz;

/* Serves this hart's pending machine interrupts: rings, timer, devices. */
void hart_serve(struct hart *hart);
/* Sets the hardware timer to the earliest deadline if that changed. */
void hart_program_timer(struct hart *hart);
/* Stops every other hart for good (power off, panic). */
void hart_halt_others(void);

/* Rings a hart so that it looks at its requests and at its vCPU's events. */
void hart_ring(struct hart *hart);

#endif
