/* SPDX-License-Identifier: MIT
 *
 * Loads, stores and atomics of every instruction form, one function each (forms.S): f(address, value) returns what was
 * loaded. They are called through catch_trap.
 */
#ifndef GUEST_FORMS_H
#define GUEST_FORMS_H

#include "guest.h"

struct form {
    const char *name;
    catchable function;
    unsigned char width; /* bytes */
    bool store;
    bool sign; /* extends the sign */
    bool wide; /* RV64 only */
};

/* Integer forms, compressed ones included: a device must answer all of them. */
extern const struct form integer_forms[];
extern const size_t integer_form_count;
/* Atomics: a device may answer none of them. */
extern const struct form atomic_forms[];
extern const size_t atomic_form_count;
/* Floating-point ones (fp.S): answered or refused, at the hypervisor's choice. */
extern const struct form fp_forms[];
extern const size_t fp_form_count;

/* The plain ones of a width of 1, 2, 4 or sizeof(long). */
struct trap try_load(unsigned long address, unsigned width);
struct trap try_store(unsigned long address, unsigned width, unsigned long value);
struct trap try_fetch(unsigned long address);
/* try_load's result, for where a trap would be the test guest's own mistake. */
unsigned long must_load(unsigned long address, unsigned width);
void must_store(unsigned long address, unsigned width, unsigned long value);

#endif
