/* SPDX-License-Identifier: MIT
 *
 * The subtests of the isolation program, one file for each group, and the addresses that they share.
 */
#ifndef GUEST_ISOLATION_H
#define GUEST_ISOLATION_H

#include "forms.h"
#include "guest.h"

/* Addresses outside the capsule's RAM and devices; in isolation.c. bootargs foreign=ADDRESS adds one that the
 * hypervisor or another capsule is known to be at. */
size_t outside(unsigned long *addresses, size_t most);
/* Whether the address may be tried: the capsule has nothing there. */
bool is_outside(unsigned long address);

void isolation_entry(void);
void isolation_loads(void);
void isolation_stores(void);
void isolation_fetches(void);
void isolation_edges(void);
void isolation_scan(void);
void isolation_tables(void);
void isolation_table_walks(void);
void isolation_csrs(void);
void isolation_csrs_user(void);
void isolation_instructions(void);
void isolation_user(void);
void isolation_wfi(void);
void isolation_float(void);
void isolation_hypervisor(void);
void isolation_modes(void);
void isolation_rights(void);
void isolation_update(void);
void isolation_high_bits(void);
void isolation_interrupts(void);
void isolation_counters(void);
void isolation_units(void);
void isolation_ram(void);
void isolation_zero(void);
void isolation_residue(void); /* only when asked for; does not return */

#endif
