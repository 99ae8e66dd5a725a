/* SPDX-License-Identifier: MIT
 *
 * The supervisor binary interface: one call from a guest, dispatched through a const table, one file per extension.
 */
#ifndef SBI_SBI_H
#define SBI_SBI_H

#include "core/capsule.h"
#include "diosix/sbi.h"

/* One call's registers, copied once from the vCPU. Arguments 64 bits wide come in two registers on RV32. */
struct sbi_call {
    struct vcpu *vcpu;  /* the caller, loaded on this hart */
    uint32_t extension; /* a7 and a6, cut to the 32 bits that the specification gives them */
    uint32_t function;
    unsigned long args[6]; /* a0 … a5 */
    long value;            /* a1 on return if the call succeeds; on an error a1 is 0 */
    enum outcome outcome;  /* SKIP unless the handler sets another. SKIP: sbi_handle writes a0 and a1, and whoever
                              called sbi_handle steps over the ecall. All others: the registers stay as the handler
                              left them; to go on after the call it has used sbi_answer_success, and one that leaves
                              pc alone makes the same call again */
};

/* Returns a0: SBI_SUCCESS or an error. Runs on the caller's hart with no lock held. */
typedef long sbi_function(struct sbi_call *call);

/* An extension's functions in the order of their ids; NULL or beyond the end: NOT_SUPPORTED. */
struct sbi_functions {
    sbi_function *const *list;
    size_t count;
};

struct sbi_extension_row {
    const char *name;
    uint32_t first, last; /* extension ids */
    const struct sbi_functions *functions;
    bool legacy; /* SBI 0.1: the extension id chooses the function, and only a0 is written */
};

extern const struct sbi_extension_row sbi_extensions[];
extern const size_t sbi_extension_count;

/* The rows' functions, each in the file of its name. */
extern const struct sbi_functions sbi_base, sbi_time, sbi_ipi, sbi_rfence, sbi_hsm, sbi_srst, sbi_dbcn, sbi_sta,
    sbi_legacy;

/* The trap handler for an ecall from the guest's supervisor mode. Call with the vCPU loaded and its x, pc and
 * status current. SKIP, RESUME: back to the guest. YIELD: the scheduler chooses. STOP: the caller doesn't return. */
enum outcome sbi_handle(struct vcpu *vcpu);

/* Writes a0, a1 and pc as for a call that ends with SUCCESS, before the handler lets other harts have the caller.
 * Sets the outcome to RESUME. Not for legacy calls. */
void sbi_answer_success(struct sbi_call *call);

/* Whether a call to this extension id would find a handler (BASE's probe). */
bool sbi_extension_present(unsigned long extension);

/* A hart mask and base as a set of vCPU ids in *set (bit n: vCPU n). False if it names a vCPU that the capsule
 * doesn't have: then nothing may be done. Base −1 names all; mask 0 with any other base names none. */
bool sbi_hart_set(const struct capsule *capsule, unsigned long mask, unsigned long base, uint32_t *set);

/* The capsule's vCPU with this hart id, compared at full width, or NULL. */
struct vcpu *sbi_hart(const struct capsule *capsule, unsigned long hartid);

/* A 64-bit argument whose low word is args[index]; RV32 has the high word in the next register. */
static inline uint64_t sbi_argument64(const struct sbi_call *call, size_t index)
{
    if (XLEN == 32) {
        return (uint64_t)call->args[index + 1] << 32 | call->args[index];
    }
    return call->args[index];
}

/* Puts one byte into the caller's console. If it is full the caller sleeps until there is room and then makes the
 * same call again: the outcome says so, and the return value is not used. */
long sbi_console_put(struct sbi_call *call, uint8_t byte);

#endif
