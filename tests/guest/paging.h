/* SPDX-License-Identifier: MIT
 *
 * Page tables for the test guests: Sv39 or Sv32. The lower half of the address space is mapped one to one with the
 * largest pages; tests map what they like from TEST_VA on.
 */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include "guest.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_G = 32, PTE_A = 64, PTE_D = 128 };
#define PTE_RW  ((unsigned long)(PTE_V | PTE_R | PTE_W | PTE_A | PTE_D))
#define PTE_RWX (PTE_RW | PTE_X)
#define TEST_VA (0ul - 0x40000000ul)

/* Levels of a leaf: 0 is 4 KiB, 1 is 2 MiB (Sv32: 4 MiB), 2 is 1 GiB (Sv39). */
unsigned long *table_new(void);      /* zeroed; the pool is given back by tables_reset */
unsigned long *table_new_root(void); /* with the identity map */
void tables_reset(void);
/* The entry for va at a level, its tables made on the way. */
unsigned long *table_entry(unsigned long *root, unsigned long va, unsigned level);
void table_map(unsigned long *root, unsigned long va, uint64_t pa, unsigned level, unsigned long flags);
unsigned long table_pte(uint64_t pa, unsigned long flags);
void paging_on(unsigned long *root, unsigned long asid);
void paging_off(void);
unsigned long paging_satp(const unsigned long *root, unsigned long asid);
static inline void fence_vma(void)
{
    __asm__ volatile("sfence.vma" : : : "memory");
}

#endif
