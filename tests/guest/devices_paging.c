/* SPDX-License-Identifier: MIT
 *
 * Devices behind the guest's own page tables: other virtual addresses, all page sizes, rights, instructions that
 * straddle pages, tables that lie in a device.
 */
#include "devices.h"
#include "paging.h"

/* A device register through a mapping of its own; the virtual address is far from the physical one. */
static void through(unsigned level, const char *name)
{
    unsigned long size = PAGE << level * (XLEN == 32 ? 10 : 9);
    unsigned long physical = plic_threshold(own_context());
    unsigned long va = TEST_VA + physical % size;
    tables_reset();
    unsigned long *root = table_new_root();
    table_map(root, TEST_VA, physical & ~(size - 1), level, PTE_RW);
    must_store(physical, 4, 6);
    paging_on(root, 0);
    struct trap load = try_load(va, 4), store = try_store(va, 4, 1), again = try_load(va, 4);
    struct trap fetch = try_fetch(va);
    struct trap beyond = level == 0 ? try_load(TEST_VA + PAGE, 4) : (struct trap){.trapped = true, .cause = LOAD_PAGE};
    paging_off();
    case_check(!load.trapped && load.result == 6, "%s: load: cause %lu, 0x%lx", name, load.cause, load.result);
    case_check(!store.trapped && again.result == 1, "%s: store: cause %lu, then 0x%lx", name, store.cause,
               again.result);
    case_check(fetch.trapped && fetch.cause == FETCH_PAGE, "%s: fetch without execute right: cause %lu", name,
               fetch.cause);
    case_check(beyond.trapped && beyond.cause == LOAD_PAGE, "%s: the next page: cause %lu", name, beyond.cause);
    must_store(physical, 4, 0);
}

/* A mapping that lacks a right: the guest's page fault, not the device's answer. */
static void rights(void)
{
    static const struct {
        const char *name;
        unsigned long flags;
        bool load, store;
        unsigned long status;
    } rows[] = {
        {"read only", PTE_V | PTE_R | PTE_A | PTE_D, true, false, 0},
        {"not valid", PTE_RW & ~(unsigned long)PTE_V, false, false, 0},
        {"write only (reserved)", PTE_V | PTE_W | PTE_A | PTE_D, false, false, 0},
        {"user's, SUM off", PTE_RW | PTE_U, false, false, 0},
        {"user's, SUM on", PTE_RW | PTE_U, true, true, STATUS_SUM},
        {"execute only", PTE_V | PTE_X | PTE_A, false, false, 0},
        {"execute only, MXR on", PTE_V | PTE_X | PTE_A, true, false, STATUS_MXR},
    };
    unsigned long physical = plic_threshold(own_context()), va = TEST_VA + physical % PAGE;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        tables_reset();
        unsigned long *root = table_new_root();
        table_map(root, TEST_VA, physical & ~(PAGE - 1), 0, rows[i].flags);
        must_store(physical, 4, 4);
        csr_set(sstatus, rows[i].status);
        paging_on(root, 0);
        struct trap load = try_load(va, 4), store = try_store(va, 4, 2);
        paging_off();
        csr_clear(sstatus, STATUS_SUM | STATUS_MXR);
        unsigned long value = must_load(physical, 4), want = rows[i].store ? 2 : 4;
        case_check(load.trapped != rows[i].load && (rows[i].load ? load.result == 4 : load.cause == LOAD_PAGE),
                   "%s: load: trapped %d, cause %lu, 0x%lx", rows[i].name, load.trapped, load.cause, load.result);
        case_check(store.trapped != rows[i].store && (rows[i].store || store.cause == STORE_PAGE) && value == want,
                   "%s: store: trapped %d, cause %lu, now %lu", rows[i].name, store.trapped, store.cause, value);
    }
    must_store(physical, 4, 0);
    cases_end("paging: rights of the guest's own tables hold for devices");
}

/* Loads from user mode, through its own pages: its rights, and it may be given a device. */
static void user_access(void)
{
    static uint32_t code[PAGE / 4] __attribute__((aligned(4096)));
    unsigned long physical = plic_threshold(own_context()), va = TEST_VA + physical % PAGE;
    code[0] = 0x00052503; /* lw a0, 0(a0) */
    code[1] = CODE_ECALL;
    for (unsigned user = 0; user < 2; user++) {
        tables_reset();
        unsigned long *root = table_new_root();
        table_map(root, TEST_VA, physical & ~(PAGE - 1), 0, user != 0 ? PTE_RW | PTE_U : PTE_RW);
        table_map(root, TEST_VA + 0x10000000, (uintptr_t)code, 0, PTE_RWX | PTE_U);
        must_store(physical, 4, 7);
        fence_i();
        paging_on(root, 0);
        struct trap trap = catch_trap(user_enter, TEST_VA + 0x10000000, va, 0);
        paging_off();
        unsigned long want = user != 0 ? ECALL_U : LOAD_PAGE;
        case_check(trap.cause == want && (user == 0 || trap.result == 7), "%s: cause %lu want %lu, a0 0x%lx",
                   user != 0 ? "user's page" : "supervisor's page", trap.cause, want, trap.result);
    }
    must_store(physical, 4, 0);
    cases_end("paging: a device from user mode, as the pages allow");
}

void devices_paging(void)
{
    through(0, "4 KiB");
    through(1, XLEN == 32 ? "4 MiB" : "2 MiB");
    if (XLEN == 64) {
        through(2, "1 GiB");
    }
    cases_end("paging: devices through pages of every size");
    rights();
    user_access();
}

/* An instruction of 4 bytes, its halves on two pages that lie apart; then with the second page unusable. */
void devices_straddle(void)
{
    static unsigned char code[3 * PAGE] __attribute__((aligned(4096)));
    unsigned long physical = plic_threshold(own_context()), first = (uintptr_t)code, second = first + 2 * PAGE;
    static const uint16_t load[] = {0x2503, 0x0005, 0x8082}; /* lw a0, 0(a0); ret */
    memcpy(code + PAGE - 2, &load[0], 2);
    memcpy(code + 2 * PAGE, &load[1], 4);
    must_store(physical, 4, 5);
    fence_i();
    tables_reset();
    unsigned long *root = table_new_root();
    table_map(root, TEST_VA, first, 0, PTE_RWX);
    table_map(root, TEST_VA + PAGE, second, 0, PTE_RWX);
    paging_on(root, 0);
    struct trap good = catch_trap((catchable)(uintptr_t)(TEST_VA + PAGE - 2), physical, 0, 0);
    table_map(root, TEST_VA + PAGE, second, 0, PTE_RW);
    struct trap bad = catch_trap((catchable)(uintptr_t)(TEST_VA + PAGE - 2), physical, 0, 0);
    table_map(root, TEST_VA, first, 0, PTE_V | PTE_X | PTE_A);
    table_map(root, TEST_VA + PAGE, second, 0, PTE_V | PTE_X | PTE_A);
    struct trap execute_only = catch_trap((catchable)(uintptr_t)(TEST_VA + PAGE - 2), physical, 0, 0);
    paging_off();
    check(!good.trapped && good.result == 5, "straddle: load by an instruction on two pages: cause %lu, 0x%lx",
          good.cause, good.result);
    check(bad.trapped && bad.cause == FETCH_PAGE && bad.value == TEST_VA + PAGE,
          "straddle: second page can't be executed: cause %lu, stval 0x%lx", bad.cause, bad.value);
    check(!execute_only.trapped && execute_only.result == 5,
          "straddle: on pages that can only be executed: cause %lu, 0x%lx", execute_only.cause, execute_only.result);
    must_store(physical, 4, 0);
}

void devices_tables(void)
{
    const unsigned long windows[] = {plic, plic + 0x200000, uart, rtc};
    if (!on_diosix) {
        skip("tables", "QEMU reads its own devices as tables");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        for (unsigned level = 1; level < (XLEN == 32 ? 2u : 3u); level++) {
            tables_reset();
            unsigned long *root = table_new_root();
            *table_entry(root, TEST_VA, level) = table_pte(windows[i], PTE_V);
            paging_on(root, 0);
            struct trap load = try_load(TEST_VA, 4), store = try_store(TEST_VA, 4, 0), fetch = try_fetch(TEST_VA);
            paging_off();
            case_check(load.trapped && load.cause == LOAD_ACCESS && load.value == TEST_VA,
                       "load, table at 0x%lx: cause %lu", windows[i], load.cause);
            case_check(store.trapped && store.cause == STORE_ACCESS && store.value == TEST_VA,
                       "store, table at 0x%lx: cause %lu", windows[i], store.cause);
            case_check(fetch.trapped && fetch.cause == FETCH_ACCESS && fetch.value == TEST_VA,
                       "fetch, table at 0x%lx: cause %lu", windows[i], fetch.cause);
        }
    }
    cases_end("tables: page tables in a device fault as the access that was made");
}

/* --- what another hart changes between the trap and our look at it --- */

enum { LW_A0_A0 = 0x00052503, LW_A0_A1 = 0x0005a503, MV_A0_A0 = 0x00050513 }; /* their second halves are the same */
enum { FROM_DEVICE = 5, FROM_RAM = 66 };

struct race {
    const char *name;
    volatile uint32_t *instruction; /* one of the two is toggled */
    volatile unsigned long *entry;
    unsigned long values[2];
    unsigned long other;   /* what a0 becomes if not FROM_DEVICE */
    bool may_fault;        /* as the load that it was */
    unsigned long address; /* a0 before */
    volatile bool over;
    volatile unsigned long rounds;
};

static void toggle(void *argument)
{
    struct race *race = argument;
    for (unsigned long i = 0; !race->over; i++) {
        if (race->instruction != NULL) {
            *race->instruction = (uint32_t)race->values[i & 1];
        } else {
            *race->entry = race->values[i & 1];
        }
        fence_all();
        race->rounds++;
    }
}

/* Many times: what comes of it is one of two things, and never a third. */
static void run_race(struct race *race, unsigned long id, const uint32_t *code)
{
    static unsigned long ram_word[] = {FROM_RAM};
    unsigned long seen[2] = {0, 0}, faults = 0;
    uint64_t end = now() + milliseconds(argument("duration", 300));
    if (hart_run(id, toggle, race) != SBI_SUCCESS) {
        check(false, "%s: the other hart does not start", race->name);
        return;
    }
    while (now() < end || race->rounds == 0) {
        fence_i();
        fence_vma();
        struct trap trap = catch_trap((catchable)(uintptr_t)code, race->address, (uintptr_t)ram_word, 0);
        unsigned long value = trap.result & 0xffffffff;
        bool device = !trap.trapped && value == FROM_DEVICE, other = !trap.trapped && value == race->other;
        bool fault = race->may_fault && trap.trapped && trap.cause == LOAD_ACCESS && trap.value == race->address;
        case_check(device || other || fault, "trapped %d, cause %lu, stval 0x%lx, a0 0x%lx", trap.trapped, trap.cause,
                   trap.value, value);
        seen[0] += device;
        seen[1] += other;
        faults += fault;
    }
    race->over = true;
    case_check(hart_wait(id) && seen[0] > 0 && seen[1] > 0, "%lu and %lu", seen[0], seen[1]);
    note("%s: %lu from the device, %lu otherwise, %lu faults, %lu changes", race->name, seen[0], seen[1], faults,
         race->rounds);
    cases_end(race->name);
}

void devices_swap(void)
{
    static uint32_t code[] __attribute__((aligned(64))) = {LW_A0_A0, CODE_RET};
    static unsigned long page[PAGE / sizeof(long)] __attribute__((aligned(4096)));
    unsigned long id, physical = plic_threshold(own_context()), offset = physical % PAGE;
    if (other_harts(&id, 1) == 0 || !on_diosix) {
        skip("swap", "needs two harts, and Diosix");
        return;
    }
    must_store(physical, 4, FROM_DEVICE);
    struct race loads = {.name = "swap: a load becomes another load",
                         .instruction = code,
                         .values = {LW_A0_A0, LW_A0_A1},
                         .other = FROM_RAM,
                         .address = physical};
    run_race(&loads, id, code);
    struct race moves = {.name = "swap: a load becomes something else",
                         .instruction = code,
                         .values = {LW_A0_A0, MV_A0_A0},
                         .other = physical,
                         .may_fault = true,
                         .address = physical};
    code[0] = LW_A0_A0;
    run_race(&moves, id, code);
    code[0] = LW_A0_A0;
    page[offset / sizeof(long)] = FROM_RAM;
    tables_reset();
    unsigned long *root = table_new_root();
    struct race maps = {.name = "swap: a device's page becomes RAM",
                        .entry = table_entry(root, TEST_VA, 0),
                        .values = {table_pte(physical & ~(PAGE - 1), PTE_RW), table_pte((uintptr_t)page, PTE_RW)},
                        .other = FROM_RAM,
                        .address = TEST_VA + offset};
    *maps.entry = maps.values[0];
    paging_on(root, 0);
    run_race(&maps, id, code);
    paging_off();
    must_store(physical, 4, 0);
}
