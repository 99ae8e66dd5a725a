/* SPDX-License-Identifier: MIT
 *
 * Stage-2 page tables: guest-physical to host-physical, built whole when a capsule is created and never changed
 * afterwards. Pure: the tables are written through a pointer, and hold addresses counted from where they lie in the
 * host. (Privileged specification, 18.5.)
 */
#ifndef ISOLATION_STAGE2_H
#define ISOLATION_STAGE2_H

#include "core/capsule.h"
#include "lib/address.h"

/* A stage-2 paging mode as data. */
struct stage2_mode {
    const char *name;   /* "Sv39x4" */
    uint8_t xlen;       /* 32 or 64 */
    uint8_t hgatp_mode; /* value of hgatp.MODE */
    uint8_t levels;
    uint8_t index_bits; /* per level; the root has two more */
    uint8_t entry_size; /* bytes */
    uint8_t guest_bits; /* of a guest-physical address */
    uint8_t ppn_bits;   /* of a page number in an entry */
};

enum { STAGE2_ROOT_SIZE = 16 * KIB }; /* and its alignment */

/* The smallest mode of this word size whose MODE value is among modes (bit n: value n) and that holds the
 * guest-physical address last; NULL if there is none. */
const struct stage2_mode *stage2_mode_find(unsigned xlen, unsigned modes, uint64_t last);
/* The smallest mode among modes; NULL if modes has none of this word size. For the log. */
const struct stage2_mode *stage2_mode_least(unsigned xlen, unsigned modes);

/* Where tables are: size bytes, a multiple of PAGE_SIZE, zeroed. */
struct stage2_tables {
    void *memory;  /* on STAGE2_ROOT_SIZE in the host; natively wherever the test has it, on 8 bytes */
    hpa_t at;      /* the same place as an address of the host; a multiple of STAGE2_ROOT_SIZE */
    uint64_t size; /* bytes */
    uint64_t used; /* bytes, root included */
};

/* How many bytes of tables map these pieces: exactly, a multiple of PAGE_SIZE, root included. pieces are a capsule's
 * (core/capsule.h): ascending, adjacent in the guest, page-aligned, within the mode's addresses. base is
 * guest-physical, where piece 0 begins. */
uint64_t stage2_room(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count);

/* Maps every byte of the pieces, readable, writable and executable, for U (which is how stage 2 sees all guests), A and
 * D set, with the largest pages that fit; nothing else. tables->size is at least stage2_room() of the same arguments.
 */
void stage2_build(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count,
                  struct stage2_tables *tables);

/* What hardware would make of one guest-physical address. */
struct stage2_leaf {
    hpa_t host;         /* of the address itself */
    uint64_t page_size; /* bytes */
    uint8_t rights;     /* PMP_R, PMP_W, PMP_X */
};
/* Walks the tables as hardware does; false for a guest-page fault. Checks what it reads: an entry that leads out of the
 * tables, or has bits set that this file never sets, gives false too. For tests and debug builds. */
bool stage2_lookup(const struct stage2_mode *mode, const struct stage2_tables *tables, gpa_t address,
                   struct stage2_leaf *leaf);

#endif
