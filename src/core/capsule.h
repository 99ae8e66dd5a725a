/* SPDX-License-Identifier: MIT
 *
 * A capsule: a virtual machine. Its life is a small state machine; all of its memory is taken when it is created.
 */
#ifndef CORE_CAPSULE_H
#define CORE_CAPSULE_H

#include "core/config.h"
#include "core/console.h"
#include "core/device.h"
#include "core/log.h"
#include "core/refusal.h"
#include "core/vcpu.h"

enum capsule_state {
    CAPSULE_LOADED,  /* made, not started (manual) */
    CAPSULE_FILLING, /* RAM is being scrubbed and loaded, 64 KiB a step */
    CAPSULE_RUNNING,
    CAPSULE_STOPPING,   /* its vCPUs are leaving their harts; the last one to leave commits */
    CAPSULE_COMMITTING, /* the last one has left and is clearing up */
    CAPSULE_STOPPED,
    CAPSULE_CRASHED,
};

/* Why a capsule stops; what follows is decided at commit. */
enum stop_reason {
    STOP_POWER_OFF,
    STOP_RESET,   /* cold or warm reboot: fill again and run */
    STOP_FAILURE, /* the guest says that it failed */
    STOP_CRASH,   /* the guest did something that it cannot go on from */
    STOP_KILLED,
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

struct capsule {
    uint32_t id; /* 1 … */
    struct capsule_config config;
    struct range ram;                        /* guest-physical */
    struct ram_piece pieces[RAM_PIECES_MAX]; /* where it lies in the host: ascending, without gaps (pmp: one, at the
                                              * same address) */
    size_t piece_count;
    enum hart_kind hart_kind; /* runs on these */
    const struct isolation_ops *isolation;
    struct capsule_stage2 stage2;
    struct pmp_image pmp; /* what harts load to run it; entry 0 is replaced by the hart's own guard */
    void (*prepare)(struct capsule *capsule); /* RAM is filled: reset devices, write the guest's tree */
    struct load_plan plan;
    struct device_bus bus;
    struct machine_parts *parts; /* its devices; control/machine_parts.c alone knows them */
    struct console_port console;
    struct vcpu *vcpus; /* config.vcpus of them, vcpu_stride bytes apart */
    size_t vcpu_stride;

    atomic_uint state;           /* enum capsule_state, and while STOPPING the stop_reason in bits 15:8 */
    atomic_uint loaded;          /* vCPUs on harts now, and stop requests being made */
    atomic_uint started;         /* vCPUs that HSM holds started or suspended */
    atomic_uint console_waiters; /* bit n: vCPU n blocks until the console has room */
    uint64_t fill_cursor;        /* FILLING: bytes done, by the hart that runs vCPU 0 */
    char why[160];               /* details for the report; written by whoever made the state STOPPING */
    struct log_limiter resets;   /* a guest that resets itself again and again must not fill the log */

    struct capsule *next; /* list of all capsules */
};

/* All capsules, in order of creation; the list is only changed before harts run guests. */
extern struct capsule *capsules;

static inline enum capsule_state capsule_state(const struct capsule *capsule)
{
    return (enum capsule_state)(atomic_load(&capsule->state) & 0xff);
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

/* Asks for a stop. Only the first request of a life counts; the caller must then leave the guest (OUTCOME_STOP). */
void capsule_stop(struct capsule *capsule, enum stop_reason reason, const char *pattern, ...)
    __attribute__((format(printf, 3, 4)));

/* From LOADED, STOPPED or CRASHED: fills RAM anew and runs from the kernel's entry. */
void capsule_start(struct capsule *capsule);
/* One bounded step of FILLING, in time charged to vCPU 0. True when the capsule is RUNNING. */
bool capsule_fill(struct capsule *capsule);
/* A hart has let one of its vCPUs go: the last to leave a stopping capsule commits the stop. */
void capsule_left(struct capsule *capsule);
/* Reports a guest that cannot go on and stops its capsule: the trap and, at debug level, the registers. */
void capsule_crash(struct vcpu *vcpu, unsigned long cause, unsigned long value, const char *what);
/* What happens when no capsule is left to run: set once at boot. */
void capsule_set_idle(void (*all_stopped)(void));

#endif
