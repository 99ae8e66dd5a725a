/* SPDX-License-Identifier: MIT
 *
 * A virtual CPU: its architectural context, where it stands with the scheduler, and what other harts want of it.
 */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include <stdatomic.h>

#include "arch/arch.h"
#include "core/hart_set.h"
#include "core/share.h"
#include "core/timer.h"
#include "lib/address.h"

struct capsule;
struct hart;

/* Harts by whom they serve. All harts of a kind can run all vCPUs of a capsule that runs on that kind. */
enum hart_kind {
    HART_PMP, /* capsules in pmp isolation */
    HART_HYP, /* those in hyp; those in pmp too if no hart is of the other kind */
    HART_KINDS,
};

/* Events in vcpu->pending, set by any hart, folded in by the hart that runs the vCPU on its way to the guest. */
enum vcpu_event {
    EVENT_IPI = 1 << 0,      /* raise the software interrupt */
    EVENT_TIMER = 1 << 1,    /* its deadline may have passed */
    EVENT_EXTERNAL = 1 << 2, /* vcpu->external changed */
    EVENT_FENCE_VMA = 1 << 3,
    EVENT_FENCE_I = 1 << 4,
    EVENT_UNBLOCK = 1 << 5, /* a request that it blocks on has completed */
};

/* Where a vCPU stands with the scheduler. Only the transitions of core/scheduler.c. */
enum vcpu_run {
    RUN_OFF,     /* not to be run: HSM-stopped, or its capsule is not running */
    RUN_QUEUED,  /* runnable, in a hart's run queue */
    RUN_LOADED,  /* on a hart (vcpu->hart) */
    RUN_WAITING, /* asleep until an event: WFI or HSM suspend */
    RUN_BLOCKED, /* until a request of its own completes (remote fence, console room) */
    RUN_PARKED,  /* runnable, but its capsule is paused */
};

/* Why a vCPU came back to the hypervisor: exceptions by their cause, then interrupts of the host. */
enum vcpu_exit {
    EXIT_SOFT = CAUSE_EXCEPTIONS, /* a ring from another hart */
    EXIT_TIMER,
    EXIT_DEVICE,
    VCPU_EXITS,
};

enum { WALK_LEVELS_MAX = 5, FETCH_MEMOS = 2, DATA_MEMOS = 8 };

/* A walk of the guest's page tables that was made, with what was read on the way: while all that still stands there, it
 * would end as it did. trap/guest_access.c */
struct walk_memo {
    unsigned long page; /* the virtual address's, satp and rights: what was asked */
    unsigned long satp;
    unsigned rights; /* 0: the memo is empty */
    unsigned reads;
    const volatile unsigned long *entry[WALK_LEVELS_MAX];
    unsigned long value[WALK_LEVELS_MAX];
    gpa_t place;                   /* the page's */
    const volatile uint16_t *host; /* the same, if it is RAM */
};

struct vcpu {
    struct arch_context context; /* must be first: trap.S finds the vCPU by it */
    struct capsule *capsule;
    uint32_t id;                 /* 0 … n−1 in its capsule: the guest's hart id */
    atomic_uint run;             /* enum vcpu_run */
    atomic_uint pending;         /* vcpu_event bits */
    atomic_uint external;        /* level of its external interrupt, as the interrupt controller drives it */
    atomic_uint hsm;             /* enum sbi_hsm_state */
    _Atomic(struct hart *) hart; /* that has it loaded, or NULL */

    /* Owned by the hart that has it loaded, or by whoever may start it while RUN_OFF: */
    enum vcpu_run leaving;  /* RUN_LOADED: stays; else what it becomes when it leaves its hart */
    struct hart *last_hart; /* whose registers may still hold its state; NULL after a reset */
    uint64_t deadline;      /* guest timer without Sstc; ~0: none */
    struct timer timer;     /* wakes it at its deadline */
    bool external_raised;   /* as last folded into the hart */
    unsigned long retry_pc; /* where it last faulted in RAM that it has (trap/mmio.c), and how often in a row */
    unsigned retries;
    struct {
        bool resumes; /* non-retentive suspend: restart at entry when woken */
        unsigned long entry, argument;
    } suspend;

    uint64_t steal_ticks; /* it could have run and waited for a hart; the scheduler counts them */
    struct {              /* and core/steal.c tells the guest, if it asked for that: */
        bool on;
        gpa_t address;     /* of a struct sbi_sta_shared */
        uint32_t sequence; /* as it was last written there */
        uint64_t told;     /* steal_ticks, likewise */
        bool counts;       /* since is that of this life */
        uint64_t since;    /* the steal_ticks that are 0 to the guest */
    } sta;

    /* Remote fences: who waits for this vCPU, and for how many this one waits. */
    atomic_uint fence_waiters; /* bit n: vCPU n of the capsule */
    atomic_uint fences_outstanding;

    /* With the scheduler. lock guards every move of run but two: from QUEUED to LOADED, which a hart makes with the
     * lock of the queue that has the vCPU, and out of LOADED, which only its hart makes. Taken before a queue's. */
    struct spinlock lock;
    struct hart_set allowed;     /* where it may run; atomic */
    atomic_uint queued_on;       /* whose queue has it, by the hart's index, while QUEUED */
    struct heap_node queue_node; /* that queue's lock guards it and arrival */
    uint32_t arrival;            /* counts arrivals in queues: of equals the first goes first */
    /* Owned by whoever may move run: */
    struct share share;
    uint64_t since; /* QUEUED: when it came there; LOADED: until when it was charged */
    uint64_t cpu_ticks;

    uint64_t exits[VCPU_EXITS]; /* by its hart; see core/stats.h for this and the next */
    uint64_t interrupts;

    /* Owned by its hart. Last: they are large, and what each trap needs is nearer in front of them. */
    struct walk_memo fetches[FETCH_MEMOS], data[DATA_MEMOS];
};

static_assert(offsetof(struct vcpu, context) == 0, "trap.S");

/* Sets events and makes sure that they are seen soon: rings the hart that runs the vCPU, or wakes it. Any hart, any
 * lock of a device held. */
void vcpu_post(struct vcpu *vcpu, unsigned events);
/* Level of the external interrupt; called by the interrupt controller's model with its lock held. */
void vcpu_set_external(struct vcpu *vcpu, bool level);
/* The loaded vCPU's guest timer, in host ticks. Clears a pending timer interrupt unless it is due already. */
void vcpu_set_timer(struct vcpu *vcpu, uint64_t deadline);

/* A RUN_OFF vCPU whose hsm the caller has moved to START_PENDING: resets its context, makes it runnable, STARTED. */
void vcpu_start(struct vcpu *vcpu, unsigned long entry, unsigned long argument);
/* The loaded caller leaves for good (HSM stop): the caller then returns OUTCOME_STOP, and hsm becomes STOPPED when
 * nothing of it can run any more. If it was the last one started, its capsule stops. */
void vcpu_off(struct vcpu *vcpu);
/* The loaded caller sleeps until an enabled interrupt is pending (HSM suspend); then OUTCOME_YIELD. Non-retentive:
 * it goes on at entry with a0 = its id, a1 = argument, as after a start. */
void vcpu_suspend(struct vcpu *vcpu, bool non_retentive, unsigned long entry, unsigned long argument);
/* The loaded caller sleeps until an interrupt is pending that its sie enables (WFI); then OUTCOME_YIELD. */
void vcpu_wait(struct vcpu *vcpu);
/* The loaded caller sleeps until vcpu_unblock; then OUTCOME_YIELD. An unblock that came first is not lost. */
void vcpu_block(struct vcpu *vcpu);
void vcpu_unblock(struct vcpu *vcpu);

/* For the hart that has it loaded, on its way back to the guest: folds posted events into its registers. */
void vcpu_fold(struct vcpu *vcpu);
/* The scheduler's: a vCPU comes onto a hart, before its context is loaded; goes off, after it was saved; and has left,
 * when its new state is published and events that came meanwhile must be looked at. */
void vcpu_arrive(struct vcpu *vcpu, struct hart *hart);
void vcpu_depart(struct vcpu *vcpu, struct hart *hart);
void vcpu_left(struct vcpu *vcpu, enum vcpu_run left);

/* Whether an event that ends WFI or suspend is pending. Only for a vCPU that is RUN_WAITING and can't cease to be:
 * scheduler_wake's condition, with the vCPU's lock held. */
bool vcpu_must_wake(const struct vcpu *vcpu);

#endif
