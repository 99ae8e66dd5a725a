/* SPDX-License-Identifier: MIT
 *
 * The subtests of the program many: guests that live beside others, in 64 KiB of RAM. Each says what it is called
 * (bootargs name=NAME) in its lines, which are say's, since the capsules of one test run the same program.
 */
#ifndef GUEST_MANY_H
#define GUEST_MANY_H

#include "guest.h"

/* What a vCPU has done. */
struct work {
    uint64_t units, wrong;
    uint64_t ran; /* ticks between looks at the clock that were close enough together for nobody else to have run */
};
/* One unit of work: some thousand instructions, whose result is known. False if it came out wrong. */
bool work_unit(void);
/* When a subtest is over that lasts as long as bootargs name=NUMBER says, in milliseconds; ~0 if they don't. */
uint64_t end_after(const char *name);
/* Sleeps: unlike spin it costs an emulator that counts instructions nothing. SIE must be off. */
void rest(unsigned long milliseconds);

void many_worker(void);
void many_density(void);
void many_storm(void);
void storm_disk(void); /* one step of it; does nothing if the capsule's first virtio device is no disk */
void many_waker(void);
void many_quiet(void);
void many_turns(void);
void many_clocks(void);
void many_steal(void);
void many_hang(void);
void many_fail(void);
void many_talker(void);
void many_echo(void);
void many_forge(void);

#endif
