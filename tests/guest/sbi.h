/* SPDX-License-Identifier: MIT
 *
 * The subtests of the sbi program, one file for each group, and what they share.
 */
#ifndef GUEST_SBI_H
#define GUEST_SBI_H

#include "guest.h"

enum { HSM_START = 0, HSM_STOP = 1, HSM_STATUS = 2, HSM_SUSPEND = 3 };

/* A hart that takes interrupts and counts them until told to stop; in sbi.c. */
struct worker {
    volatile bool stop;
    volatile bool ready;
    volatile unsigned long rounds;
    unsigned long enable; /* for sie */
};
void worker_run(void *worker);
/* Starts one on the first other hart; false (and a skipped test) with one hart only. */
bool worker_start(struct worker *worker, unsigned long *id, const char *name);
void worker_stop(struct worker *worker, unsigned long id, const char *name);
/* Waits until *counter is at least value; false after a second. */
bool reaches(volatile unsigned long *counter, unsigned long value);

/* Addresses that no guest may hand over: below, above and across its RAM, devices, odd ends of the address space. */
size_t foreign_addresses(unsigned long *addresses, size_t most);

void sbi_base(void);
void sbi_registers(void);
void sbi_unknown(void);
void sbi_legacy(void);
void sbi_reset(void);
void sbi_time(void);
void sbi_ipi(void);
void sbi_fence(void);
void sbi_hsm(void);
void sbi_hsm_suspend(void);
void sbi_hsm_race(void);
void sbi_hsm_storm(void);
void sbi_console(void);
void sbi_sta(void);
void sbi_sta_grows(void);
void sbi_fuzz(void);
void sbi_user(void);

#endif
