/* SPDX-License-Identifier: MIT
 *
 * The hyp backend: where a capsule's RAM is taken, the tables that map it, what a hart's registers hold for each
 * capsule, VMIDs against a model of a hart's translations, and a self-test that must notice a stage 2 that doesn't
 * work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/memory.h"
#include "fake_arch.h"
#include "isolation/isolation.h"
#include "isolation/pmp_plan.h"
#include "isolation/stage2.h"
#include "support.h"

enum { HARTS = 3, GUESTS = 6, TABLE_MEMORY = MIB, VMID_BITS = 7, VMIDS = 1 << VMID_BITS };

#define GUEST_BASE UINT64_C(0x80000000)
#define MODES      (XLEN == 32 ? 1U << 1 : 1U << 8 | 1U << 9)
#define SEED       UINT64_C(0x6469b05178000007)

/* RAM is never touched here, so any addresses do; tables are written, into memory that lies above all of it. */
static const struct range image = {0x0ff80000, 0x80000};
static const struct range guards[HARTS] = {{0x0fe00000, PAGE_SIZE}, {0x0fd00000, PAGE_SIZE}, {0x0fc00000, PAGE_SIZE}};
static void *table_memory;
static struct hart machine_harts[HARTS];
static struct capsule guests[GUESTS];
static struct refusal refusal;
static const struct isolation_ops *const hyp = &isolation_hyp;

/* --- what hardware would do, by the registers as they stand --- */

static const struct capsule *by_root(uint64_t root)
{
    for (size_t n = 0; n < GUESTS; n++) {
        if (guests[n].stage2.memory.size != 0 && guests[n].stage2.memory.base == root) {
            return &guests[n];
        }
    }
    return NULL;
}

static uint64_t register_root(void)
{
    return (uint64_t)(fake_arch.stage2 & (XLEN == 32 ? 0x3fffffUL : (unsigned long)0xfffffffffffULL)) << 12;
}

static unsigned register_vmid(void)
{
    return (unsigned)(fake_arch.stage2 >> (XLEN == 32 ? 22 : 44)) & (XLEN == 32 ? 0x7fU : 0x3fffU);
}

static unsigned register_mode(void)
{
    return (unsigned)(fake_arch.stage2 >> (XLEN == 32 ? 31 : 60));
}

static bool stage2_leads(gpa_t address, struct stage2_leaf *leaf)
{
    const struct capsule *guest = by_root(register_root());
    assert_non_null(guest);
    assert_int_equal(register_mode(), guest->stage2.mode->hgatp_mode);
    const struct range memory = guest->stage2.memory;
    const struct stage2_tables tables = {.memory = hpa_pointer((hpa_t){memory.base}),
                                         .at = {memory.base},
                                         .size = memory.size,
                                         .used = guest->stage2.used};
    return stage2_lookup(guest->stage2.mode, &tables, address, leaf);
}

/* A walk reads the tables under PMP too. */
static bool virtual_can_load(gpa_t address)
{
    struct stage2_leaf leaf;
    return (pmp_rights(&fake_arch.pmp, register_root(), STAGE2_ROOT_SIZE) & PMP_R) != 0 &&
           stage2_leads(address, &leaf) && (pmp_rights(&fake_arch.pmp, leaf.host.at, 1) & PMP_R) != 0;
}

static bool supervisor_can_load(hpa_t address)
{
    return (pmp_rights(&fake_arch.pmp, address.at, 1) & PMP_R) != 0;
}

/* --- the machine --- */

static void make_memory(const struct range *banks, size_t count)
{
    static struct memory map;
    map = (struct memory){.count = 0};
    for (size_t n = 0; n < count; n++) {
        assert_true(banks[n].base + banks[n].size <= (uintptr_t)table_memory);
        memory_map_add(&map, banks[n]);
    }
    if (table_memory != NULL) {
        memory_map_add(&map, (struct range){(uintptr_t)table_memory, TABLE_MEMORY});
    }
    memory_init(&map);
}

static void act_as(unsigned n)
{
    fake_arch.hart = &machine_harts[n].arch;
}

static void make_hart(unsigned n)
{
    struct hart *hart = &machine_harts[n];
    hart->arch.id = n + 4;
    hart->arch.is_virtual = 1;
    hart->arch.stack_top = (unsigned long)guards[n].base + 5 * PAGE_SIZE;
    hart->kind = HART_HYP;
    hart->features.pmp = (struct pmp_features){.entries = 16, .granule_log = 2};
    hart->features.hypervisor = true;
    hart->features.stage2_modes = MODES;
    hart->features.vmid_bits = VMID_BITS;
    atomic_store(&hart->online, true);
    harts[n] = hart;
    act_as(n);
    assert_int_equal(isolation_hart_prepare(hart, guards[n], image, &refusal), DX_OK);
}

static int setup(void **state)
{
    (void)state;
    static const struct range bank = {0x10000000, 0x40000000};
    fake_arch_reset();
    fake_arch.supervisor_can_load_at = supervisor_can_load;
    fake_arch.virtual_can_load_at = virtual_can_load;
    memset(machine_harts, 0, sizeof(machine_harts));
    memset(guests, 0, sizeof(guests));
    hart_count = HARTS;
    for (unsigned n = HARTS; n-- > 0;) {
        make_hart(n);
    }
    make_memory(&bank, 1);
    return 0;
}

static struct capsule *ask(unsigned n, uint64_t memory)
{
    struct capsule *guest = &guests[n];
    *guest = (struct capsule){.id = n + 1, .isolation = hyp, .hart_kind = HART_HYP};
    guest->config.memory = memory;
    strcpy(guest->config.name, "guest");
    return guest;
}

static struct capsule *make(unsigned n, uint64_t memory)
{
    struct capsule *guest = ask(n, memory);
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_OK);
    return guest;
}

/* Pieces hold all of RAM, and stage 2 leads from each byte of an edge to its place, and from nowhere else. */
static void check_pieces(struct capsule *guest)
{
    uint64_t offset = 0;
    struct stage2_leaf leaf;
    hyp->enter(&machine_harts[0], guest);
    for (size_t n = 0; n < guest->piece_count; n++) {
        const struct ram_piece *piece = &guest->pieces[n];
        assert_true(piece->offset == offset && piece->size != 0);
        const uint64_t edges[] = {0, piece->size / 2, piece->size - 1};
        for (size_t i = 0; i < ARRAY_LENGTH(edges); i++) {
            const gpa_t address = {guest->ram.base + offset + edges[i]};
            assert_true(stage2_leads(address, &leaf) && leaf.host.at == piece->host.at + edges[i]);
            assert_int_equal(leaf.rights, PMP_RWX);
            assert_true(virtual_can_load(address));
            assert_int_equal(pmp_rights(&fake_arch.pmp, leaf.host.at, 1), PMP_RWX);
        }
        offset += piece->size;
    }
    assert_true(offset == guest->ram.size);
    assert_false(stage2_leads((gpa_t){guest->ram.base - 1}, &leaf));
    assert_false(stage2_leads((gpa_t){guest->ram.base + offset}, &leaf));
}

/* --- VMIDs; these come first, with few VMIDs before many, as no machine ever loses some --- */

/* Whose translations each hart may still hold under each VMID. */
static const struct capsule *held[HARTS][VMIDS];
static unsigned fences_before[HARTS];

static void model_enter(unsigned hart, struct capsule *guest, unsigned vmids)
{
    act_as(hart);
    const unsigned fences = fake_arch.fences_stage2;
    hyp->enter(&machine_harts[hart], guest);
    if (fake_arch.fences_stage2 != fences) {
        memset(held[hart], 0, sizeof(held[hart]));
        fences_before[hart]++;
    }
    assert_int_equal(register_root(), guest->stage2.memory.base);
    const unsigned vmid = register_vmid();
    assert_true(vmid < vmids);
    if (held[hart][vmid] != NULL && held[hart][vmid] != guest) {
        fail_msg("%u VMIDs, hart %u: %u still has translations of capsule %u, now it is %u's", vmids, hart, vmid,
                 (unsigned)held[hart][vmid]->id, (unsigned)guest->id);
    }
    held[hart][vmid] = guest;
}

static void make_all(unsigned vmid_bits)
{
    for (unsigned n = 0; n < HARTS; n++) {
        machine_harts[n].features.vmid_bits = n == 1 ? vmid_bits : vmid_bits + 5; /* the one with the fewest decides */
    }
    for (unsigned n = 0; n < GUESTS; n++) {
        make(n, 16 * MIB);
    }
    memset(held, 0, sizeof(held));
    memset(fences_before, 0, sizeof(fences_before));
}

/* No hart ever uses a VMID under which it may hold another capsule's translations. Without VMIDs (0 bits) it forgets
 * all at each change. */
static void test_vmids_never_mix(void **state)
{
    uint64_t random = SEED;
    for (unsigned bits = 0; bits <= 4; bits++) {
        setup(state);
        make_all(bits);
        for (unsigned round = 0; round < 5000; round++) {
            model_enter(test_below(&random, HARTS), &guests[test_below(&random, GUESTS)], 1U << bits);
        }
        assert_true(bits != 0 || fences_before[0] + fences_before[1] + fences_before[2] == 5000);
    }
}

/* With one for each capsule a hart forgets once, before its first. */
static void test_vmids_for_all(void **state)
{
    (void)state;
    make_all(VMID_BITS);
    for (unsigned n = 0; n < 100 * GUESTS; n++) {
        model_enter(n % HARTS, &guests[n % GUESTS], VMIDS);
    }
    for (unsigned n = 0; n < HARTS; n++) {
        assert_true(fences_before[n] <= 1);
    }
    for (unsigned n = 1; n < GUESTS; n++) {
        assert_int_not_equal(guests[n].stage2.vmid, guests[0].stage2.vmid);
    }
}

/* --- harts --- */

static void test_serves(void **state)
{
    (void)state;
    struct hart *hart = &machine_harts[0];
    assert_true(hyp->serves(hart));
    hart->arch.is_virtual = 0;
    assert_false(hyp->serves(hart));
    hart->arch.is_virtual = 1;
    hart->features.stage2_modes = 0;
    assert_false(hyp->serves(hart));
    hart->features.stage2_modes = XLEN == 32 ? 1U << 8 : 1U << 1; /* another word size's */
    assert_false(hyp->serves(hart));
}

/* --- RAM --- */

/* From free memory that begins off every alignment. */
static const struct {
    const char *what;
    struct range bank;
    uint64_t size;
    uint64_t align; /* of the host's address: the lowest such */
} placed_rows[] = {
    {"a page", {0x10001000, 0x10000000}, 0x1000, 0x1000},
    {"three pages", {0x10001000, 0x10000000}, 0x3000, 0x1000},
    {"64 KiB", {0x10001000, 0x10000000}, 0x10000, 0x10000},
    {"64 MiB", {0x10001000, 0x70000000}, 64 * MIB, RAM_ALIGN},
    {"96 MiB", {0x10001000, 0x10000000}, 96 * MIB, RAM_ALIGN},
    {"100 MiB and a page", {0x10001000, 0x10000000}, 100 * MIB + PAGE_SIZE, RAM_ALIGN},
    {"1 GiB", {0x10001000, 0x70000000}, 1024 * MIB, 1024 * MIB},
    {"1 GiB without such a place", {0x10001000, 0x60000000}, 1024 * MIB, RAM_ALIGN},
    {"1 GiB and 2 pages", {0x10001000, 0x80000000}, 1024 * MIB + 2 * PAGE_SIZE, 1024 * MIB},
    {"64 MiB without such a place", {0x10001000, 64 * MIB}, 64 * MIB, PAGE_SIZE},
};

/* Where the largest pages can be used, they are. */
static void test_placed(void **state)
{
    (void)state;
    for (size_t n = 0; n < ARRAY_LENGTH(placed_rows); n++) {
        make_memory(&placed_rows[n].bank, 1);
        const uint64_t free = memory_free_bytes();
        struct capsule *guest = make(0, placed_rows[n].size);
        if (guest->piece_count != 1 ||
            guest->pieces[0].host.at != align_up(placed_rows[n].bank.base, placed_rows[n].align)) {
            fail_msg("%s: %u pieces, the first at 0x%llx", placed_rows[n].what, (unsigned)guest->piece_count,
                     (unsigned long long)guest->pieces[0].host.at);
        }
        assert_true(guest->ram.base == GUEST_BASE && guest->ram.size == placed_rows[n].size);
        check_pieces(guest);
        hyp->release(guest);
        assert_true(memory_free_bytes() == free);
    }
}

static void make_fragments(unsigned count)
{
    struct range banks[8];
    for (unsigned n = 0; n < count; n++) {
        banks[n] = (struct range){0x14000000 + n * 0x4000000 - PAGE_SIZE, 32 * MIB + 3 * PAGE_SIZE};
    }
    make_memory(banks, count);
}

static void test_several_pieces(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        unsigned fragments, pieces; /* pieces 0: refused */
    } rows[] = {
        {32 * MIB, 8, 1},
        {40 * MIB, 8, 2},
        {64 * MIB, 8, 2},
        {96 * MIB, 8, 3},
        {96 * MIB, 2, 0},
        {128 * MIB, 4, 4},
        {128 * MIB, 8, 4},
        {132 * MIB, 8, 0},
        {36 * MIB + PAGE_SIZE, 8, 0}, /* pieces would end off large pages' edges */
        {32 * MIB + PAGE_SIZE, 1, 1}, /* one piece may */
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        make_fragments(rows[n].fragments);
        const uint64_t free = memory_free_bytes();
        struct capsule *guest = ask(0, rows[n].size);
        const enum dx_error error = hyp->take_ram(guest, &refusal);
        assert_int_equal(error, rows[n].pieces == 0 ? DX_NO_MEMORY : DX_OK);
        assert_int_equal(guest->piece_count, rows[n].pieces);
        assert_true(memory_free_bytes() == free - (error == DX_OK ? rows[n].size : 0));
        if (error == DX_OK) {
            assert_int_equal(hyp->prepare(guest, &refusal), DX_OK);
            check_pieces(guest);
            hyp->release(guest);
            assert_true(memory_free_bytes() == free);
        }
    }
}

/* What code above relies on (core/capsule.h): edges within RAM are those of the guest's largest usual pages. */
static void test_edges_of_pieces(void **state)
{
    (void)state;
    make_fragments(8);
    struct capsule *guest = make(0, 100 * MIB);
    assert_int_equal(guest->piece_count, 4);
    for (size_t n = 1; n < guest->piece_count; n++) {
        assert_int_equal(guest->pieces[n].offset % RAM_ALIGN, 0);
        assert_int_equal(guest->pieces[n].host.at % RAM_ALIGN, 0);
    }
}

/* Guest-physical: no matter where RAM of the host is. */
static void test_memory_base(void **state)
{
    (void)state;
    static const uint64_t bases[] = {0, 0x1000, 0x80200000, 0x200000000, 0x3f0000000};
    for (size_t n = 0; n < ARRAY_LENGTH(bases); n++) {
        struct capsule *guest = ask(0, 32 * MIB);
        guest->config.has_memory_base = true;
        guest->config.memory_base = bases[n];
        assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
        assert_int_equal(hyp->prepare(guest, &refusal), DX_OK);
        assert_true(guest->ram.base == bases[n]);
        check_pieces(guest);
        assert_int_equal(hyp->self_test(&machine_harts[0], guest, (hpa_t){image.base}, &refusal), DX_OK);
        hyp->release(guest);
    }
}

static void test_memory_base_out_of_reach(void **state)
{
    (void)state;
    struct capsule *guest = ask(0, 32 * MIB);
    guest->config.has_memory_base = true;
    guest->config.memory_base = (UINT64_C(1) << (XLEN == 32 ? 34 : 50)) - 16 * MIB;
    const uint64_t free = memory_free_bytes();
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_BAD_VALUE);
    hyp->release(guest);
    assert_true(memory_free_bytes() == free);
}

/* --- tables --- */

static void test_tables_fit_one_pmp_entry(void **state)
{
    (void)state;
    make_fragments(8);
    for (unsigned n = 0; n < 4; n++) {
        struct range page; /* so that the next place is off every alignment */
        assert_true(memory_take_high(PAGE_SIZE, PAGE_SIZE, &page));
        struct capsule *guest = make(n, (4 + 24 * n) * MIB);
        const struct range memory = guest->stage2.memory;
        assert_true(is_power_of_two(memory.size) && memory.base % memory.size == 0);
        assert_true(memory.size >= STAGE2_ROOT_SIZE && guest->stage2.used <= memory.size);
        hyp->enter(&machine_harts[0], guest);
        assert_int_equal(pmp_rights(&fake_arch.pmp, memory.base, memory.size), PMP_R); /* the walk's, never a write */
        for (unsigned other = 0; other < n; other++) {
            assert_int_equal(pmp_rights(&fake_arch.pmp, guests[other].stage2.memory.base, 8), 0);
            assert_false(range_overlaps(memory, guests[other].stage2.memory));
        }
    }
}

/* The smallest that all of the capsule's harts have. */
static void test_mode(void **state)
{
    (void)state;
    if (XLEN == 32) {
        assert_string_equal(make(0, 4 * MIB)->stage2.mode->name, "Sv32x4");
        return;
    }
    assert_string_equal(make(0, 4 * MIB)->stage2.mode->name, "Sv39x4");
    machine_harts[2].features.stage2_modes = 1U << 9;
    assert_string_equal(make(1, 4 * MIB)->stage2.mode->name, "Sv48x4");
    machine_harts[2].kind = HART_PMP; /* runs no guests of this one's */
    assert_string_equal(make(2, 4 * MIB)->stage2.mode->name, "Sv39x4");
    struct capsule *guest = ask(3, 4 * MIB);
    guest->config.has_memory_base = true;
    guest->config.memory_base = UINT64_C(1) << 41;
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_OK);
    assert_string_equal(guest->stage2.mode->name, "Sv48x4");
}

static void test_no_common_mode(void **state)
{
    (void)state;
    machine_harts[1].features.stage2_modes = 1U << 10;
    struct capsule *guest = ask(0, 4 * MIB);
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_BAD_VALUE);
    assert_true(refusal.text[0] != '\0');
    hyp->release(guest);
}

static void test_no_memory_for_tables(void **state)
{
    (void)state;
    const struct range bank = {0x10000000, 32 * MIB};
    void *tables = table_memory;
    make_memory(&bank, 1);
    struct range all;
    assert_true(memory_take_high(TABLE_MEMORY, PAGE_SIZE, &all));
    assert_ptr_equal(hpa_pointer((hpa_t){all.base}), tables);
    const uint64_t free = memory_free_bytes();
    struct capsule *guest = ask(0, 32 * MIB);
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_NO_MEMORY);
    hyp->release(guest);
    assert_true(memory_free_bytes() == free);
}

static void test_too_few_pmp_entries(void **state)
{
    (void)state;
    make_fragments(8);
    const uint64_t free = memory_free_bytes();
    machine_harts[1].features.pmp.entries = 5; /* guard, image, tables, and two pieces */
    hyp->release(make(0, 64 * MIB));
    struct capsule *guest = ask(1, 96 * MIB);
    assert_int_equal(hyp->take_ram(guest, &refusal), DX_OK);
    assert_int_equal(hyp->prepare(guest, &refusal), DX_NO_PMP);
    hyp->release(guest);
    assert_true(memory_free_bytes() == free);
}

/* Nothing is left of a capsule that could not be made; twice does no harm. */
static void test_release(void **state)
{
    (void)state;
    const uint64_t free = memory_free_bytes();
    struct capsule *guest = make(0, 64 * MIB);
    const struct range tables = guest->stage2.memory;
    hyp->release(guest);
    const uint8_t *bytes = hpa_pointer((hpa_t){tables.base});
    for (size_t n = 0; n < tables.size; n++) {
        assert_int_equal(bytes[n], 0);
    }
    assert_true(memory_free_bytes() == free);
    hyp->release(guest);
    assert_true(memory_free_bytes() == free);
}

/* --- entering --- */

static void test_enter(void **state)
{
    (void)state;
    make(0, 64 * MIB);
    make(1, 48 * MIB + PAGE_SIZE);
    for (unsigned n = 0; n < 12; n++) {
        const unsigned hart = n % HARTS;
        struct capsule *guest = &guests[n % 2];
        const struct capsule *other = &guests[(n + 1) % 2];
        act_as(hart);
        hyp->enter(&machine_harts[hart], guest);
        assert_int_equal(register_root(), guest->stage2.memory.base);
        assert_int_equal(register_mode(), guest->stage2.mode->hgatp_mode);
        assert_int_equal(register_vmid(), guest->stage2.vmid);
        const struct range host = {guest->pieces[0].host.at, guest->ram.size};
        assert_int_equal(pmp_rights(&fake_arch.pmp, host.base, host.size), PMP_RWX);
        const uint64_t closed[] = {host.base - 1,
                                   range_last(host) + 1,
                                   other->pieces[0].host.at,
                                   other->pieces[0].host.at + other->ram.size - 1,
                                   other->stage2.memory.base,
                                   image.base,
                                   range_last(image),
                                   guards[hart].base};
        for (size_t i = 0; i < ARRAY_LENGTH(closed); i++) {
            const bool neighbour = i < 2 && range_holds((struct range){host.base, host.size}, closed[i], 1);
            assert_false(neighbour);
            assert_int_equal(pmp_rights(&fake_arch.pmp, closed[i], 1), 0);
        }
        assert_int_equal(fake_arch.pmp.address[0], machine_harts[hart].guard_address); /* each keeps its own guard */
        hyp->verify(&machine_harts[hart], guest);
    }
}

static char order[64];

static void note_order(const char *what)
{
    strncat(order, what, sizeof(order) - strlen(order) - 2);
    strcat(order, " ");
}

/* Translations of an older generation are forgotten once the new root stands, so that none can come back. */
static void test_order(void **state)
{
    (void)state;
    struct capsule *guest = make(0, 4 * MIB);
    fake_arch.on_change = note_order;
    order[0] = '\0';
    hyp->enter(&machine_harts[0], guest);
    assert_string_equal(order, "stage2 fence_stage2 pmp ");
    order[0] = '\0';
    hyp->enter(&machine_harts[0], guest);
    assert_string_equal(order, "stage2 pmp ");
}

/* --- the debug build's check before each return to a guest --- */

static bool verify_panics(unsigned hart, const struct capsule *guest)
{
    return PANICS(hyp->verify(&machine_harts[hart], guest));
}

static void test_verify(void **state)
{
    (void)state;
    struct capsule *guest = make(0, 64 * MIB);
    make(1, 64 * MIB);
    act_as(0);
    hyp->enter(&machine_harts[0], guest);
    fake_arch.pmp.count = 16; /* the registers, as they are read back */
    assert_false(verify_panics(0, guest));
    assert_true(verify_panics(0, &guests[1]));
    assert_true(verify_panics(1, guest)); /* another hart's guard */
    const struct pmp_image good = fake_arch.pmp;
    for (unsigned n = 0; n < 16; n++) {
        fake_arch.pmp.config[n] ^= PMP_W;
        assert_true(verify_panics(0, guest));
        fake_arch.pmp = good;
        fake_arch.pmp.address[n] ^= 1UL << 10;
        assert_true(verify_panics(0, guest));
        fake_arch.pmp = good;
    }
    assert_false(verify_panics(0, guest));
}

/* Every bit of hgatp but the VMID's, which may have been another when this hart came in. */
static void test_verify_root(void **state)
{
    (void)state;
    struct capsule *guest = make(0, 64 * MIB);
    act_as(0);
    hyp->enter(&machine_harts[0], guest);
    fake_arch.pmp.count = 16;
    const unsigned long vmid = arch_stage2_word(0, VMIDS - 1, (hpa_t){0});
    const unsigned long good = fake_arch.stage2;
    for (unsigned bit = 0; bit < XLEN; bit++) {
        fake_arch.stage2 = good ^ 1UL << bit;
        if (verify_panics(0, guest) != ((vmid >> bit & 1) == 0)) {
            fail_msg("bit %u of hgatp", bit);
        }
    }
    fake_arch.stage2 = 0;
    assert_true(verify_panics(0, guest));
}

/* --- the self-test --- */

static enum dx_error self_test(void)
{
    return hyp->self_test(&machine_harts[0], &guests[0], guests[1].pieces[0].host, &refusal);
}

static void make_two(void)
{
    make_fragments(8);
    make(0, 64 * MIB);
    make(1, 64 * MIB);
    act_as(0);
}

static void test_self_test_passes(void **state)
{
    (void)state;
    make_two();
    machine_harts[0].protected_for = guests[1].id;
    assert_int_equal(self_test(), DX_OK);
    assert_int_equal(machine_harts[0].protected_for, 0); /* the next vCPU loads what it needs */
}

static bool everything(gpa_t address)
{
    (void)address;
    return true;
}

static bool nothing(gpa_t address)
{
    (void)address;
    return false;
}

/* A stage 2, and a PMP, that work but for one byte. */
static uint64_t wrong_byte;

static bool virtual_but_one(gpa_t address)
{
    return virtual_can_load(address) != (address.at == wrong_byte);
}

static bool supervisor_but_one(hpa_t address)
{
    return supervisor_can_load(address) != (address.at == wrong_byte);
}

/* What a hart lets through whose PMP stands, whatever stage 2 maps. */
static bool within_ram(gpa_t address)
{
    return range_holds(guests[0].ram, address.at, 1);
}

/* A page too much in the tables, at either end: no load shows it. */
static void test_self_test_of_tables(void **state)
{
    (void)state;
    make_two();
    fake_arch.virtual_can_load_at = within_ram;
    const struct range ram = guests[0].ram;
    assert_int_equal(self_test(), DX_OK);
    guests[0].ram.size -= PAGE_SIZE;
    assert_int_equal(self_test(), DX_NO_HYP);
    guests[0].ram.base += PAGE_SIZE;
    assert_int_equal(self_test(), DX_NO_HYP);
    guests[0].ram = ram;
    assert_int_equal(self_test(), DX_OK);
}

static void test_self_test_of_stage2(void **state)
{
    (void)state;
    make_two();
    fake_arch.virtual_can_load_at = everything;
    assert_int_equal(self_test(), DX_NO_HYP);
    fake_arch.virtual_can_load_at = nothing;
    assert_int_equal(self_test(), DX_NO_HYP);
    fake_arch.virtual_can_load_at = virtual_but_one;
    const struct range ram = guests[0].ram;
    const uint64_t bytes[] = {ram.base, range_last(ram), ram.base - 1, range_last(ram) + 1};
    for (size_t n = 0; n < ARRAY_LENGTH(bytes); n++) {
        wrong_byte = bytes[n];
        assert_int_equal(self_test(), DX_NO_HYP);
    }
    wrong_byte = 1;
    assert_int_equal(self_test(), DX_OK);
}

static void test_self_test_of_pmp(void **state)
{
    (void)state;
    make_two();
    fake_arch.supervisor_can_load_at = supervisor_but_one;
    const struct ram_piece *pieces = guests[0].pieces;
    const uint64_t bytes[] = {
        image.base,
        range_last(image),
        machine_harts[0].arch.stack_top - 1,
        guests[1].pieces[0].host.at,
        pieces[0].host.at,
        pieces[0].host.at - 1,
        pieces[0].host.at + pieces[0].size - 1,
        pieces[0].host.at + pieces[0].size,
        pieces[1].host.at,
        pieces[1].host.at - 1,
        pieces[1].host.at + pieces[1].size - 1,
        pieces[1].host.at + pieces[1].size,
    };
    for (size_t n = 0; n < ARRAY_LENGTH(bytes); n++) {
        wrong_byte = bytes[n];
        assert_int_equal(self_test(), DX_NO_PMP);
    }
    wrong_byte = 1;
    assert_int_equal(self_test(), DX_OK);
}

/* The tables themselves: an entry that is missing, and one too many. */
static void test_self_test_walks(void **state)
{
    (void)state;
    make(0, 64 * MIB);
    make(1, 64 * MIB);
    char *entries = hpa_pointer((hpa_t){guests[0].stage2.memory.base});
    const size_t used = (size_t)guests[0].stage2.used;
    char *saved = malloc(used);
    assert_non_null(saved);
    memcpy(saved, entries, used);
    memset(entries, 0, used);
    assert_int_equal(self_test(), DX_NO_HYP);
    memcpy(entries, saved, used);
    assert_int_equal(self_test(), DX_OK);
    free(saved);
}

/* --- what the log says --- */

static void test_describe(void **state)
{
    (void)state;
    char text[16384];
    hyp->describe(make(0, 64 * MIB));
    make_fragments(8);
    hyp->describe(make(1, 64 * MIB));
    log_copy(text, sizeof(text));
    assert_non_null(strstr(text, "Capsule 1 (guest): isolation hyp, guest-physical RAM base 0x80000000, 1 piece,"));
    assert_non_null(strstr(text, "Capsule 2 (guest): isolation hyp, guest-physical RAM base 0x80000000, 2 pieces,"));
    assert_non_null(strstr(text, guests[0].stage2.mode->name));
}

static int group_setup(void **state)
{
    (void)state;
    table_memory = aligned_alloc(TABLE_MEMORY, TABLE_MEMORY);
    return table_memory == NULL ? -1 : 0;
}

static int group_teardown(void **state)
{
    (void)state;
    free(table_memory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vmids_never_mix, setup),
        cmocka_unit_test_setup(test_vmids_for_all, setup),
        cmocka_unit_test_setup(test_serves, setup),
        cmocka_unit_test_setup(test_placed, setup),
        cmocka_unit_test_setup(test_several_pieces, setup),
        cmocka_unit_test_setup(test_edges_of_pieces, setup),
        cmocka_unit_test_setup(test_memory_base, setup),
        cmocka_unit_test_setup(test_memory_base_out_of_reach, setup),
        cmocka_unit_test_setup(test_tables_fit_one_pmp_entry, setup),
        cmocka_unit_test_setup(test_mode, setup),
        cmocka_unit_test_setup(test_no_common_mode, setup),
        cmocka_unit_test_setup(test_no_memory_for_tables, setup),
        cmocka_unit_test_setup(test_too_few_pmp_entries, setup),
        cmocka_unit_test_setup(test_release, setup),
        cmocka_unit_test_setup(test_enter, setup),
        cmocka_unit_test_setup(test_order, setup),
        cmocka_unit_test_setup(test_verify, setup),
        cmocka_unit_test_setup(test_verify_root, setup),
        cmocka_unit_test_setup(test_self_test_passes, setup),
        cmocka_unit_test_setup(test_self_test_of_stage2, setup),
        cmocka_unit_test_setup(test_self_test_of_tables, setup),
        cmocka_unit_test_setup(test_self_test_of_pmp, setup),
        cmocka_unit_test_setup(test_self_test_walks, setup),
        cmocka_unit_test_setup(test_describe, setup),
    };
    return cmocka_run_group_tests_name("isolation hyp", tests, group_setup, group_teardown);
}
