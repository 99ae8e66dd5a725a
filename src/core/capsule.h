/* SPDX-License-Identifier: MIT
 *
 * A capsule: a virtual machine. Its life is a small state machine; all of its memory is taken when it is created.
 */
#ifndef CORE_CAPSULE_H
#define CORE_CAPSULE_H

#include "core/config.h"
#include "core/console.h"
#include "core/device.h"
#include "core/hart_set.h"
#include "core/log.h"
#include "core/refusal.h"
#include "core/vcpu.h"

/* See core/life.h for who may move it where. */
enum capsule_state {
    CAPSULE_LOADED,  /* made, not started (manual) */
    CAPSULE_FILLING, /* RAM is being scrubbed and loaded, 64 KiB a step */
    CAPSULE_RUNNING,
    CAPSULE_STOPPING,   /* its vCPUs are leaving their harts; the last one to leave commits */
    CAPSULE_COMMITTING, /* the last one has left and is clearing up */
    CAPSULE_STOPPED,
    CAPSULE_CRASHED,
    CAPSULE_PAUSED,     /* its vCPUs are off their harts, or leaving them, and stay as they are */
    CAPSULE_BACKOFF,    /* stopped by itself, waits for its restart */
    CAPSULE_DESTROYING, /* RAM is being scrubbed, then everything is given back */
};

/* Why a capsule stops; what follows is decided at commit. */
enum stop_reason {
    STOP_POWER_OFF,
    STOP_RESET,   /* cold or warm reboot: fill again and run */
    STOP_FAILURE, /* the guest says that it failed */
    STOP_CRASH,   /* the guest did something that it cannot go on from */
    STOP_KILLED,
    STOP_RESTART,  /* the operator wants it started anew */
    STOP_WATCHDOG, /* the guest did not feed its watchdog */
};

/* One piece of what RAM holds at start: length bytes from bytes, at offset from RAM's start. */
struct load_piece {
    uint64_t offset;
    const uint8_t *bytes;
    uint64_t length;
};

enum { LOAD_PIECES_MAX = 20 };

/* What a start puts into RAM; pieces ascending, not overlapping; everything else is zeroed. */
struct load_plan {
    struct load_piece pieces[LOAD_PIECES_MAX];
    size_t piece_count;
    uint64_t entry;       /* guest-physical */
    uint64_t tree_offset; /* where the generated tree goes, from RAM's start; 8-byte aligned */
    uint64_t tree_room;   /* bytes set aside for it */
    struct range initrd;  /* guest-physical; size 0: none */
};

/* A part of a capsule's RAM that lies in one place of the host. */
struct ram_piece {
    uint64_t offset; /* bytes from the start of the capsule's RAM */
    uint64_t size;   /* bytes; whole pages */
    hpa_t host;      /* page-aligned */
};

enum { RAM_PIECES_MAX = 4 };

/* Stage-2 tables of a capsule in hyp isolation; memory is empty in pmp. */
struct capsule_stage2 {
    const struct stage2_mode *mode;
    struct range memory; /* of the host: a power of two in size and alignment, so that one PMP entry admits it */
    uint64_t used;       /* bytes of it */
    uint64_t generation; /* of vmid; 0: has none yet */
    unsigned vmid;       /* isolation/hyp.c's lock guards the two */
};

/* An isolation backend; see isolation/isolation.h. */
struct isolation_ops {
    const char *name;
    /* Whether a hart that is prepared can run guests in this isolation. */
    bool (*serves)(const struct hart *hart);
    /* Creation, in this order. Takes memory for the RAM that config asks for: sets ram, pieces. On a refusal nothing is
     * taken. */
    enum dx_error (*take_ram)(struct capsule *capsule, struct refusal *refusal);
    /* Checks that its harts can confine the capsule, and computes what enter loads. release undoes both, whatever was
     * done of them; RAM must have been scrubbed. */
    enum dx_error (*prepare)(struct capsule *capsule, struct refusal *refusal);
    void (*release)(struct capsule *capsule);
    /* One line for the log: how the capsule is confined. */
    void (*describe)(const struct capsule *capsule);
    /* Lets this hart's guests reach the capsule's memory and nothing else. Called before each load of a vCPU whose
     * capsule is not hart->protected_for; no vCPU is loaded. */
    void (*enter)(struct hart *hart, struct capsule *capsule);
    /* Debug builds, before every return to the guest: asserts that the hart is really set up for the capsule. */
    void (*verify)(const struct hart *hart, const struct capsule *capsule);
    /* Tries on this hart, before its first guest, whether guests' rights really stop at the capsule's edges: no byte of
     * the hypervisor and none at other, which is any host address outside the capsule, may be loaded. */
    enum dx_error (*self_test)(struct hart *hart, struct capsule *capsule, hpa_t other, struct refusal *refusal);
};

/* What is remembered from one of its lives to the next: core/life.c. */
struct life {
    struct spinlock lock; /* guards all of this; nothing but a timer heap's lock is taken with it held */
    struct timer timer;   /* the next step of a stop, or the end of a back-off */
    uint64_t due;         /* when it fires; ~0: it doesn't */
    unsigned asked;       /* steps that were made to have the guest power off; 0: nobody asked */
    bool killed;          /* while it was stopping already: it stays stopped, whatever it stops of */
    unsigned short_lives; /* in a row */
    uint64_t started;     /* when this life began: from when on its guest runs, once its RAM is filled */
    uint64_t starts;
};

struct device_stats;

/* What the core asks of the layers above at certain moments of a life. Any may be NULL. No lock is held. */
struct capsule_hooks {
    /* One more bounded step of FILLING, once RAM is full: true when nothing is left to do. scrub: of DESTROYING,
     * likewise. */
    bool (*fill)(struct capsule *capsule);
    bool (*scrub)(struct capsule *capsule);
    /* RAM is filled: a bounded step of resetting devices and writing the guest's tree; true when all is done. */
    bool (*prepare)(struct capsule *capsule);
    void (*silence)(struct capsule *capsule); /* no vCPU runs any more: devices take back their timers */
    void (*resume)(struct capsule *capsule);  /* it is paused and is about to run again */
    /* Tries on this hart, before the capsule's first vCPU there, that it is confined; halts the machine if not. */
    void (*prove)(struct hart *hart, struct capsule *capsule);
    /* As capsule_device_stats; index is one of its config's. Any hart, no lock held. */
    bool (*device_stats)(const struct capsule *capsule, uint32_t index, struct device_stats *out);
    void (*detach)(struct capsule *capsule);  /* it is not in the list any more: forget all pointers to it */
    void (*discard)(struct capsule *capsule); /* nobody has a pointer to it any more: give its memory back */
};

struct capsule {
    uint32_t id; /* 1 …; never used again */
    struct capsule_config config;
    struct range ram;                        /* guest-physical */
    struct ram_piece pieces[RAM_PIECES_MAX]; /* where it lies in the host: ascending, without gaps (pmp: one, at the
                                              * same address) */
    size_t piece_count;
    enum hart_kind hart_kind; /* runs on these */
    const struct isolation_ops *isolation;
    struct capsule_stage2 stage2;
    struct pmp_image pmp; /* what harts load to run it; entry 0 is replaced by the hart's own guard */
    const struct capsule_hooks *hooks;
    struct load_plan plan;
    struct device_bus bus;
    struct machine_parts *parts; /* its devices; control/machine_parts.c alone knows them */
    size_t parts_size;           /* bytes */
    struct console_port console;
    struct vcpu *vcpus; /* config.vcpus of them, vcpu_stride bytes apart */
    size_t vcpu_stride;

    /* enum capsule_state in bits 7:0; while STOPPING the stop_reason in bits 15:8; above, how many hold it: vCPUs on
     * harts and requests being made. Whoever lets go of a STOPPING capsule last commits the stop. */
    atomic_uint state;
    struct hart_set proven;      /* harts that have tried its walls; atomic */
    atomic_uint started;         /* vCPUs that HSM holds started or suspended */
    atomic_uint console_waiters; /* bit n: vCPU n blocks until the console has room */
    uint64_t fill_cursor;        /* FILLING, DESTROYING: bytes done, by the hart that runs vCPU 0 */
    char why[120];               /* details for the report; written by whoever made the state STOPPING */
    char last_stop[200];         /* how its last life ended, for people; written at commit */
    struct life life;

    struct {
        atomic_uint pages, vcpus;
    } used; /* a manager's: what has been charged to it */

    struct capsule *next; /* list of all capsules */
};

static_assert(sizeof(struct capsule) <= (size_t)3 * PAGE_SIZE, "12 KiB of the 16 KiB that a capsule may cost");

enum { CAPSULE_STATE_MASK = 0xff, CAPSULE_REASON_SHIFT = 8, CAPSULE_HOLD = 1 << 16 };

static inline enum capsule_state capsule_state(const struct capsule *capsule)
{
    return (enum capsule_state)(atomic_load(&capsule->state) & CAPSULE_STATE_MASK);
}

static inline unsigned capsule_holds(const struct capsule *capsule)
{
    return atomic_load(&capsule->state) / CAPSULE_HOLD;
}

/* Holds the capsule, and says in which state it was: no stop is committed until capsule_left. */
static inline enum capsule_state capsule_hold(struct capsule *capsule)
{
    return (enum capsule_state)(atomic_fetch_add(&capsule->state, CAPSULE_HOLD) & CAPSULE_STATE_MASK);
}

static inline struct vcpu *capsule_vcpu(const struct capsule *capsule, uint32_t id)
{
    return (struct vcpu *)(void *)((char *)capsule->vcpus + id * capsule->vcpu_stride);
}

/* The one place where a guest-physical address becomes the hypervisor's: a pointer into the capsule's RAM if all
 * *length bytes lie there, else NULL. *length is cut to what is adjacent in the host: less than asked for where RAM is
 * in several pieces, whose edges are multiples of 2 MiB (RV32: 4 MiB). Length 0 gives NULL. The bytes may change under
 * the caller: copy once, then check. */
[[nodiscard]] void *capsule_ram_part(const struct capsule *capsule, gpa_t address, uint64_t *length);
/* The same for what is used as a whole: NULL too if not all length bytes are adjacent in the host. What is aligned to
 * its size and at most 2 MiB always is. */
[[nodiscard]] void *capsule_ram(const struct capsule *capsule, gpa_t address, uint64_t length);

/* Moves the state, with its holds as they are. False if it is not in from any more. */
[[nodiscard]] bool capsule_move(struct capsule *capsule, enum capsule_state from, enum capsule_state to);

/* Asks for a stop of a capsule that is FILLING, RUNNING or PAUSED; does nothing to others. Only the first request of a
 * life counts: true if it is this one. A guest that asks must then not be resumed (OUTCOME_STOP). */
bool capsule_stop(struct capsule *capsule, enum stop_reason reason, const char *pattern, ...)
    __attribute__((format(printf, 3, 4)));

/* From that state, if it is in it: fills RAM anew and runs from the kernel's entry. False: it is in another. */
bool capsule_begin(struct capsule *capsule, enum capsule_state from);
/* From LOADED, STOPPED or CRASHED; does nothing to others, and says false. */
bool capsule_start(struct capsule *capsule);
/* One bounded step of FILLING, in time charged to vCPU 0. True when the capsule is RUNNING. */
bool capsule_fill(struct capsule *capsule);
/* From that state, if it is in it: its vCPU 0 goes through the scheduler, for the work of scrubbing RAM. False: it is
 * in another. */
bool capsule_scrub_begin(struct capsule *capsule, enum capsule_state from);
/* One bounded step of DESTROYING, in time charged to vCPU 0. True when all of RAM is zero. */
bool capsule_scrub(struct capsule *capsule);
/* Rings the harts that run its vCPUs: its state has changed. */
void capsule_ring(struct capsule *capsule);
/* Lets go of a hold: the last to leave a stopping capsule commits the stop. */
void capsule_left(struct capsule *capsule);
/* Reports a guest that cannot go on and stops its capsule: the trap and, at debug level, the registers. */
void capsule_crash(struct vcpu *vcpu, unsigned long cause, unsigned long value, const char *what);
/* What happens when no capsule is left to run: set once at boot, when those that start then have been started. */
void capsule_set_idle(void (*all_stopped)(void));
/* Looks whether that is so now. No lock held. */
void capsule_look_idle(void);

#endif
