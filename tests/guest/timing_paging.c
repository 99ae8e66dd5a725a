/* SPDX-License-Identifier: MIT
 *
 * Address spaces: each vCPU has its own tables, all with the same ASID and global entries, and the same virtual page
 * shows each its own memory. Translations of another vCPU that ran on the hart before must be gone.
 */
#include "paging.h"
#include "timing.h"

enum { PAGES = 8, ASID = 1 };

static unsigned long own[HARTS_MAX][PAGES][PAGE / sizeof(long)] __attribute__((aligned(4096)));
static unsigned long *roots[HARTS_MAX];

static void spaces_member(struct member *member)
{
    csr_write(satp, paging_satp(roots[member->index], ASID));
    if (csr_read(satp) != paging_satp(roots[member->index], ASID)) {
        member->bad++;
    }
    fence_vma();
    while (!over) {
        for (unsigned long page = 0; page < PAGES; page++) {
            unsigned long want = member->id * 100 + page;
            volatile unsigned long *at = (volatile unsigned long *)(TEST_VA + page * PAGE);
            if (at[0] != want || at[PAGE / sizeof(long) - 1] != ~want) {
                if (member->bad++ == 0) {
                    member->detail = at[0];
                }
            }
        }
        member->rounds++;
        if (member->rounds % 64 == 0) {
            sbi(SBI_EXT_RFENCE, 0, 0, ~0ul, 0); /* gives the scheduler something to do */
        }
    }
    csr_write(satp, 0);
    fence_vma();
}

void timing_spaces(void)
{
    tables_reset();
    unsigned long ids[HARTS_MAX];
    size_t others = other_harts(ids, HARTS_MAX - 1);
    for (size_t index = 0; index <= others; index++) {
        unsigned long id = index == 0 ? machine.boot_hart : ids[index - 1];
        roots[index] = table_new_root();
        for (unsigned long page = 0; page < PAGES; page++) {
            own[index][page][0] = id * 100 + page;
            own[index][page][PAGE / sizeof(long) - 1] = ~(id * 100 + page);
            table_map(roots[index], TEST_VA + page * PAGE, (uintptr_t)own[index][page], 0, PTE_RW | PTE_G);
        }
    }
    size_t ran = run_all(spaces_member, argument("duration", 1500));
    for (size_t i = 0; i < ran; i++) {
        case_check(members[i].bad == 0, "hart %lu: %lu wrong translations in %lu rounds, first showed %lu",
                   members[i].id, members[i].bad, members[i].rounds, members[i].detail);
        case_check(members[i].rounds > 0, "hart %lu did nothing", members[i].id);
    }
    cases_end("spaces: same ASID, same page, own memory on each vCPU");
}
