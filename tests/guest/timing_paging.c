/* SPDX-License-Identifier: MIT
 *
 * Address spaces: each vCPU has its own tables, all with the same ASID and global entries, and the same virtual page
 * shows each its own memory. Translations of another vCPU that ran on the hart before must be gone; and after a remote
 * fence, so must those that the guest itself has changed. (QEMU drops all translations when satp changes, so there only
 * the second can fail.)
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

/* --- shoot-down --- */

static unsigned long *shared_root;
static volatile unsigned long seen, looks;
static volatile bool stop_looking;

/* Looks at one virtual page all the time. What it sees is published before the count of looks. */
static void look(void *argument)
{
    (void)argument;
    csr_write(satp, paging_satp(shared_root, ASID));
    fence_vma();
    while (!stop_looking) {
        seen = *(volatile unsigned long *)TEST_VA;
        fence_all();
        looks++;
    }
    csr_write(satp, 0);
    fence_vma();
}

/* Two whole looks that began after now. */
static bool look_again(void)
{
    unsigned long before = looks;
    uint64_t end = now() + milliseconds(5000);
    while (looks < before + 2 && now() < end) {
    }
    return looks >= before + 2;
}

/* The page is moved back and forth between two frames; after each remote fence the other hart must see the new one. */
void timing_shootdown(void)
{
    unsigned long id, rounds = argument("count", 500);
    tables_reset();
    shared_root = table_new_root();
    for (unsigned long frame = 0; frame < 2; frame++) {
        own[0][frame][0] = 1000 + frame;
    }
    table_map(shared_root, TEST_VA, (uintptr_t)own[0][0], 0, PTE_RW);
    unsigned long *entry = table_entry(shared_root, TEST_VA, 0);
    stop_looking = false;
    looks = 0;
    if (other_harts(&id, 1) == 0 || hart_run(id, look, NULL) != SBI_SUCCESS) {
        skip("shootdown: remote fences", "needs two harts");
        return;
    }
    case_check(look_again(), "the other hart does not look");
    for (unsigned long i = 1; i <= rounds; i++) {
        *(volatile unsigned long *)entry = table_pte((uintptr_t)own[0][i % 2], PTE_RW);
        fence_all();
        unsigned long args[6] = {1, id, i % 4 < 2 ? TEST_VA : 0, i % 4 < 2 ? PAGE : ~0ul, ASID, 0};
        long error = sbi_call(SBI_EXT_RFENCE, 1 + i % 2, args).error;
        bool looked = look_again();
        case_check(error == SBI_SUCCESS && looked && seen == 1000 + i % 2, "round %lu: error %ld, looked %d, saw %lu",
                   i, error, looked, seen);
    }
    stop_looking = true;
    case_check(hart_wait(id), "the other hart does not stop");
    cases_end("shootdown: after a remote fence the other hart sees the new page");
}
