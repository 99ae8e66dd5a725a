/* SPDX-License-Identifier: MIT
 *
 * A physical hart: what is its own, and what others may touch.
 */
#ifndef CORE_HART_H
#define CORE_HART_H

#include <stdatomic.h>

#include "core/machine.h"
#include "core/run_queue.h"
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
    struct vcpu *resident;         /* whose registers are still in the hart, though it was saved; or NULL. Only a
                                    * vCPU of resident_id is meant: memory is used again, ids aren't */
    uint32_t resident_id;          /* of its capsule */
    uint32_t protected_for;        /* id of the capsule whose memory its guests may reach now; 0: of none */
    uint64_t vmid_generation;      /* of the translations that this hart may still hold (isolation/hyp.c) */
    unsigned long guard_address;   /* pmpaddr of the page below the stack: locked, entry 0 */
    struct pmp_image loaded_image; /* what the PMP registers hold */
    struct timer slice;
    struct timer nudge;        /* armed while guests run on a hart that loses timers */
    unsigned timer_changes;    /* timers.changes when timer_programmed was computed */
    uint64_t timer_programmed; /* what the hardware timer was last set to */
    bool reschedule;           /* the slice ended, or someone asked */
    bool yields;               /* the current vCPU would rather wait */
    struct vcpu *fetched;      /* from another hart's queue: it runs next */
    struct share mark;         /* the most that any of mark_priority has used that ran here lately */
    uint32_t mark_priority;
    uint32_t offer_next; /* whom it offers its waiting vCPUs next (core/placement.c) */
    uint64_t idle_ticks, switches, steals, up_since;

    /* Anybody may touch these: */
    struct timer_heap timers;
    atomic_bool online;  /* prepared and serving */
    atomic_uint idle;    /* asleep or about to be: ring it after queueing work */
    atomic_bool ticking; /* its slice is armed: who queues something here needn't ring it */
    atomic_uint running; /* 0: nothing; else the priority of what it runs, plus 1 */
    struct run_queue queue;
    atomic_uint requests; /* enum hart_request bits */
};

enum hart_request {
    HART_RESCHEDULE = 1 << 0, /* look whether something else should run here */
    HART_HALT = 1 << 1,
    HART_PASS = 1 << 2,     /* tell core/reaper.c that this hart holds on to nothing */
    HART_TERMINAL = 1 << 3, /* serve the terminal */
};

static_assert(offsetof(struct hart, arch) == 0, "trap.S and arch_this_hart");

static inline struct hart *hart_this(void)
{
    return (struct hart *)(void *)arch_this_hart();
}

/* All harts that are usable, in the order of the tree. */
extern struct hart *harts[MACHINE_HARTS_MAX];
extern uint32_t hart_count;
/* The one that serves the machine's devices; NULL: none does yet. Written once. */
extern struct hart *hart_server;
/* How many of them are of each kind. */
extern uint32_t hart_kind_count[HART_KINDS];

/* How the machine's timer and software interrupts are reached; set once at boot. */
struct hart_ops {
    void (*ring)(struct hart *hart);                         /* raises its machine software interrupt */
    void (*ring_clear)(struct hart *hart);                   /* this hart only */
    void (*timer_set)(struct hart *hart, uint64_t deadline); /* this hart only; TIMER_NEVER: silent */
    uint64_t (*time)(void);                                  /* NULL: the time CSR */
    void (*external)(void);                                  /* this hart's external interrupt is pending */
    void (*passed)(void);                                    /* HART_PASS: the reaper's */
    void (*terminal)(void);                                  /* HART_TERMINAL */
};
extern struct hart_ops hart_ops;

/* The host's time in ticks of the machine's timebase. */
uint64_t clock_now(void);
/* Ticks per second; set once at boot by scheduler_init. */
extern uint64_t clock_hz;
/* Ticks for which who could go on lets others of his hart come first: 50 us. */
static inline uint64_t clock_rest(void)
{
    return clock_hz / 20000 + 1;
}

/* Serves this hart's pending machine interrupts: rings, timer, devices. */
void hart_serve(struct hart *hart);
/* Sets the hardware timer to the earliest deadline if that changed. */
void hart_program_timer(struct hart *hart);
/* A vCPU is loaded on this hart, which loses timers (hart_features): a trap will come within a twentieth of a second.
 */
void hart_nudge(struct hart *hart);
/* Stops every other hart for good (power off, panic). */
void hart_halt_others(void);

/* Whether this hart has something else to do by now, which may be urgent: who takes long asks between his steps. */
bool hart_is_wanted(void);
/* Rings a hart so that it looks at its requests and at its vCPU's events. */
void hart_ring(struct hart *hart);
/* Arms a timer on its heap, as timer_arm, and has it set its timer if that is the earliest now. */
void hart_arm(struct hart *hart, struct timer *timer, uint64_t deadline);
/* Makes a request of it, and rings it. */
void hart_ask(struct hart *hart, enum hart_request request);

#endif
