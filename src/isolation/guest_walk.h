/* SPDX-License-Identifier: MIT
 *
 * Walks a guest's own page tables in software, for the address of an access that trapped. Every table address is
 * checked against the capsule's RAM before it is read; the result is a guest-physical address that the caller must
 * check in turn, since the guest may change its tables at any time.
 */
#ifndef ISOLATION_GUEST_WALK_H
#define ISOLATION_GUEST_WALK_H

#include "lib/address.h"

/* A paging mode as data: (privileged specification, 4.3 to 4.6). */
struct paging_mode {
    const char *name;  /* "sv39" */
    uint8_t xlen;      /* 32 or 64 */
    uint8_t satp_mode; /* value of satp.MODE */
    uint8_t levels;
    uint8_t index_bits;   /* per level */
    uint8_t entry_size;   /* bytes */
    uint8_t virtual_bits; /* addresses must be sign-extended from here (RV64) */
    uint8_t ppn_bits;
};

/* The row for satp's MODE on this word size, or NULL if reserved. Bare is a row with 0 levels. */
const struct paging_mode *paging_mode_find(unsigned xlen, unsigned long satp);

enum guest_access { GUEST_FETCH, GUEST_LOAD, GUEST_STORE };

/* Whose rights the access has. */
struct guest_view {
    unsigned xlen;
    unsigned long satp;
    bool user; /* made in U-mode */
    bool sum;  /* sstatus.SUM */
    bool mxr;  /* sstatus.MXR */
    /* A = 0, or D = 0 on a store, is a page fault: the guest sets them and tries again. Else they are not looked at, as
     * is right where hardware has made this very translation before it trapped. */
    bool checks_bits;
    /* Copies the size (4 or 8) bytes of a table entry at a guest-physical address; false if it is not all RAM. */
    bool (*read_entry)(void *context, gpa_t address, unsigned size, uint64_t *entry);
    void *context;
};

enum walk_result {
    WALK_OK,
    WALK_PAGE_FAULT,   /* reflect as page fault of the access's kind */
    WALK_ACCESS_FAULT, /* a table lies outside RAM: reflect as access fault of the access's kind */
};

/* Translates one virtual address. A and D are never set. */
enum walk_result guest_walk(const struct guest_view *view, gva_t address, enum guest_access access, gpa_t *result);

#endif
