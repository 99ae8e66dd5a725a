/* SPDX-License-Identifier: MIT
 *
 * The subtests of the timing program: what a guest may expect while its vCPUs share harts with others.
 */
#ifndef GUEST_TIMING_H
#define GUEST_TIMING_H

#include "guest.h"

/* One of the harts that run_all runs something on. */
struct member {
    unsigned long id, index;
    volatile unsigned long rounds, bad, detail;
    uint64_t longest; /* ticks */
};
extern struct member members[HARTS_MAX];
extern volatile bool over; /* members leave when it is set */
/* Runs function on all harts (this one too) for so many milliseconds, each with its member; how many there were. */
size_t run_all(void (*function)(struct member *member), unsigned long duration);
void spin_patterned(const unsigned long in[32], unsigned long out[32]);

void timing_fairness(void);
void timing_monotonic(void);
void timing_atomics(void);
void timing_witness(void);
void timing_wake_timer(void);
void timing_wake_masked(void);
void timing_wake_ipi(void);
void timing_storm(void);
void timing_integer(void);
void timing_float(void);
void timing_vector(void);
void timing_csrs(void);
void timing_spaces(void);
void timing_shootdown(void);

#endif
