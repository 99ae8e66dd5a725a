/* SPDX-License-Identifier: MIT
 *
 * ISA strings: taking them apart, and what of a hart's a capsule may be told of. Pure.
 */
#ifndef DT_GUEST_ISA_H
#define DT_GUEST_ISA_H

#include "lib/base.h"

enum { GUEST_ISA_MAX = 512 }; /* bytes that hold whatever guest_isa can write */

/* Extensions that a capsule has only if somebody provides for them. */
struct guest_isa_options {
    bool vector; /* vector state is switched */
    bool sstc;   /* the guest has its own timer compare register */
    bool zicbom; /* menvcfg lets S-mode use them, and the block's size is known: without it Linux complains */
    bool zicboz;
    bool zicbop; /* the block's size is known */
    bool svpbmt; /* menvcfg lets page tables say memory types */
    bool svadu;  /* menvcfg lets hardware set A and D; else it faults where they are clear, or does as it always did */
    bool svinval;
};

/* Writes the part of a host's ISA string (lower case, as in struct machine_hart) that a capsule may use: known
 * unprivileged extensions whose state is switched, and S-mode ones that need no help or have it by options.
 * Single letters in the standard order, then the others in the host's, "_" before each. Extensions that aren't
 * known, or don't fit into size bytes with the NUL, are left out; "" if host_isa is no RISC-V ISA string. */
void guest_isa(const char *host_isa, const struct guest_isa_options *options, char *out, size_t size);

/* The same as a list of strings, one after the other with their NULs, for riscv,isa-extensions: writes at most size
 * bytes (GUEST_ISA_MAX hold any that guest_isa wrote) and returns how many. */
size_t guest_isa_list(const char *isa, char *out, size_t size);

/* Takes out of isa, in place, every extension that other doesn't name. Version numbers go too. */
void isa_keep_common(char *isa, const char *other);

/* One extension of an ISA string: length characters at name, version number left out. */
struct isa_extension {
    const char *name;
    size_t length;
};

/* The position behind "rv32" or "rv64", where extensions begin; NULL if the string starts with neither. */
const char *isa_extensions(const char *isa);
/* Takes the next extension off *cursor; false at the end. */
bool isa_next(const char **cursor, struct isa_extension *extension);

#endif
