/* SPDX-License-Identifier: MIT
 *
 * The floating-point and vector registers, for tests of what the hypervisor keeps of them (fp.S).
 */
#ifndef GUEST_REGISTERS_H
#define GUEST_REGISTERS_H

#include "guest.h"

enum { FIELD_OFF = 0, FIELD_INITIAL = 1, FIELD_CLEAN = 2, FIELD_DIRTY = 3, VECTOR_BYTES_MAX = 32 * 64 };

static inline void status_field(unsigned long mask, unsigned long value)
{
    csr_clear(sstatus, mask);
    csr_set(sstatus, value * (mask & (0 - mask)));
}

unsigned long form_vlenb(unsigned long a, unsigned long b, unsigned long c);

/* Whether the hart has the extension at all. The field stays on. QEMU lets VS be turned on even without V. */
static inline bool field_works(unsigned long mask)
{
    csr_set(sstatus, mask);
    return (csr_read(sstatus) & mask) != 0 && (mask != STATUS_VS || !catch_trap(form_vlenb, 0, 0, 0).trapped);
}

void fp_load(const uint64_t registers[32]);
void fp_store(uint64_t registers[32]);
void vector_load(const void *registers);
void vector_store(void *registers);
unsigned long vector_set(unsigned long length);
void vector_state(unsigned long out[5]); /* vlenb, vl, vtype, vstart, vcsr */
unsigned long form_vle(unsigned long address, unsigned long b, unsigned long c);
unsigned long form_vse(unsigned long address, unsigned long b, unsigned long c);

#endif
