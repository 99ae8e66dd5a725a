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

/* What an isolation backend does for the scheduler and the trap path; see isolation/isolation.h. */
struct isolation_ops {
    const char *name;
    /* Lets this hart's guests reach the capsule's memory and nothing else. Called before each load of a vCPU whose
     * capsule is not hart->protected_for. */
    void (*enter)(struct hart *hart, const struct capsule *capsule);
    /* Debug builds, before every return to the guest: asserts that the hart is really set up for the capsule. */
    void (*verify)(const struct hart *hart, const struct capsule *capsule);
};

struct capsule {
    uint32_t id; /* 1 … */
    struct capsule_config config;
    struct range ram; /* guest-physical */
    hpa_t ram_host;   /* where ram.base lies in the host (pmp: the same number) */
    const struct isolation_ops *isolation;
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

/* The one place where a guest-physical address becomes the hypervisor's: a pointer to length bytes that all lie in
 * the capsule's RAM, or NULL. length 0 gives NULL. The bytes may change under the caller: copy once, then check. */
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
