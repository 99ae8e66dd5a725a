/* SPDX-License-Identifier: MIT
 *
 * The PMP backend: what harts are refused, what a hart's registers hold for each capsule, and a self-test that must
 * notice a PMP that doesn't work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/memory.h"
#include "fake_arch.h"
#include "isolation/isolation.h"
#include "isolation/pmp_plan.h"
#include "isolation/pmp_wall.h"
#include "support.h"

enum { HARTS = 2 };

static const struct range image = {0x9ff80000, 0x80000};
static const struct range guards[HARTS] = {{0x9fe00000, PAGE_SIZE}, {0x9fd00000, PAGE_SIZE}};
static const struct range rams[2] = {{0x80000000, 0x8000000}, {0x88000000, 0x6001000}}; /* NAPOT, and not */
static struct hart machine_harts[HARTS];
static struct capsule guests[2];
static struct refusal refusal;
static uint64_t wrong_byte;
static const struct isolation_ops *const pmp = &isolation_pmp;

/* What hardware would say, by the registers as they stand. */
static bool by_registers(hpa_t address)
{
    return pmp_rights(&fake_arch.pmp, address.at, 1) == PMP_RWX;
}

/* A PMP that works but for one byte. */
static bool all_but_one(hpa_t address)
{
    return by_registers(address) != (address.at == wrong_byte);
}

static void place(struct capsule *guest, struct range ram)
{
    guest->isolation = pmp;
    guest->ram = ram;
    guest->pieces[0] = (struct ram_piece){.size = ram.size, .host = {ram.base}};
    guest->piece_count = 1;
}

static void prepare_hart(unsigned n)
{
    fake_arch.hart = &machine_harts[n].arch;
    assert_int_equal(isolation_hart_prepare(&machine_harts[n], guards[n], image, &refusal), DX_OK);
}

static int setup(void **state)
{
    (void)state;
    fake_arch_reset();
    fake_arch.supervisor_can_load_at = by_registers;
    memset(machine_harts, 0, sizeof(machine_harts));
    memset(guests, 0, sizeof(guests));
    hart_count = HARTS;
    for (unsigned n = 0; n < HARTS; n++) {
        struct hart *hart = &machine_harts[n];
        hart->arch.id = n + 4;
        hart->arch.stack_top = (unsigned long)guards[n].base + 5 * PAGE_SIZE;
        hart->features.pmp = (struct pmp_features){.entries = 16, .granule_log = 2};
        atomic_store(&hart->online, true);
        harts[n] = hart;
    }
    for (unsigned n = HARTS; n-- > 0;) {
        prepare_hart(n);
    }
    for (unsigned n = 0; n < 2; n++) {
        place(&guests[n], rams[n]);
        assert_int_equal(pmp->prepare(&guests[n], &refusal), DX_OK);
    }
    return 0;
}

/* --- harts --- */

static void test_hart_closes_everything(void **state)
{
    (void)state;
    assert_true((fake_arch.pmp.config[0] & PMP_LOCKED) != 0); /* M-mode must fault on its guard too */
    static const uint64_t places[] = {0, 0x80000000, 0x88000000, 0x9fe00000, 0x9ff80000, 0x9fffffff, 0x10000000};
    for (size_t n = 0; n < ARRAY_LENGTH(places); n++) {
        assert_int_equal(pmp_rights(&fake_arch.pmp, places[n], 1), 0);
    }
}

static void test_harts_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct hart_features features;
        enum dx_error error;
    } cases[] = {
        {{.pmp_locked = true, .pmp = {.entries = 16, .granule_log = 2}}, DX_NO_PMP},
        {{.pmp = {.entries = 0, .granule_log = 2}}, DX_NO_PMP},
        {{.pmp = {.entries = 1, .granule_log = 2}}, DX_NO_PMP},
        {{.pmp = {.entries = 16, .granule_log = 13}}, DX_UNALIGNED}, /* a guard page can't be expressed */
    };
    for (size_t n = 0; n < ARRAY_LENGTH(cases); n++) {
        struct hart hart = {.features = cases[n].features, .arch.id = 9};
        unsigned loads = fake_arch.pmp_loads;
        assert_int_equal(isolation_hart_prepare(&hart, guards[0], image, &refusal), cases[n].error);
        assert_int_equal(fake_arch.pmp_loads, loads);
        assert_true(refusal.text[0] != '\0');
    }
}

/* --- capsules --- */

static void check_edges(const struct range *open, const struct range *closed)
{
    assert_int_equal(pmp_rights(&fake_arch.pmp, open->base, open->size), PMP_RWX);
    assert_int_equal(pmp_rights(&fake_arch.pmp, open->base - 1, 1), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, open->base + open->size, 1), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, closed->base, 1), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, range_last(*closed), 1), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, image.base, 1), 0);
    assert_int_equal(pmp_rights(&fake_arch.pmp, range_last(image), 1), 0);
}

static void test_enter(void **state)
{
    (void)state;
    for (unsigned hart = 0; hart < HARTS; hart++) {
        for (unsigned n = 0; n < 4; n++) {
            struct capsule *guest = &guests[n % 2];
            guest->isolation->enter(&machine_harts[hart], guest);
            check_edges(&rams[n % 2], &rams[(n + 1) % 2]);
            /* each hart keeps its own guard */
            assert_int_equal(pmp_rights(&fake_arch.pmp, guards[hart].base, 1), 0);
            assert_int_equal(fake_arch.pmp.address[0], machine_harts[hart].guard_address);
            assert_memory_equal(&machine_harts[hart].loaded_image, &fake_arch.pmp, sizeof(fake_arch.pmp));
        }
    }
    assert_int_not_equal(machine_harts[0].guard_address, machine_harts[1].guard_address);
}

static void test_capsules_that_are_refused(void **state)
{
    (void)state;
    struct capsule guest = {.id = 3};
    place(&guest, (struct range){0x80000001, 0x1000});
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_UNALIGNED);
    place(&guest, (struct range){0x80001000, 0x5000});
    machine_harts[1].features.pmp.entries = 3; /* one of the harts can't: it isn't NAPOT */
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_NO_PMP);
    machine_harts[1].features.pmp = (struct pmp_features){.entries = 16, .granule_log = 2, .napot_only = true};
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_NO_PMP);
    machine_harts[1].kind = HART_HYP; /* but if that one is for others … */
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_OK);
}

/* All harts that run the capsule load the same wall. Where they would need different ones (here: a guard page at 0 is
 * TOR for the one, NAPOT for the other) it is refused; harts that don't run it are not asked. */
static void test_harts_that_differ(void **state)
{
    (void)state;
    struct capsule guest = {.id = 3};
    place(&guest, rams[0]);
    machine_harts[1].features.pmp.granule_log = 12; /* a coarser granule that fits makes the same */
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_OK);
    const struct range first_page = {0, PAGE_SIZE};
    assert_int_equal(isolation_hart_prepare(&machine_harts[0], first_page, image, &refusal), DX_OK);
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_OK);
    machine_harts[1].features.pmp.napot_only = true;
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_NO_PMP);
    assert_string_equal(refusal.text, "hart 5 has another kind of PMP than the harts before it");
    machine_harts[1].kind = HART_HYP;
    assert_int_equal(pmp->prepare(&guest, &refusal), DX_OK);
}

/* --- RAM, where guest-physical is host-physical --- */

static void free_memory(struct range range)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, range);
    memory_init(&map);
}

static struct capsule wish(uint64_t memory)
{
    struct capsule guest = {.id = 7, .isolation = pmp, .config = {.name = "guest", .memory = memory}};
    return guest;
}

static void test_ram(void **state)
{
    (void)state;
    free_memory((struct range){0x10001000, 0x10000000});
    const uint64_t before = memory_free_bytes();
    struct capsule guest = wish(64 * MIB);
    assert_int_equal(pmp->take_ram(&guest, &refusal), DX_OK);
    assert_true(guest.ram.base == 0x14000000 && guest.ram.size == 64 * MIB);
    assert_int_equal(guest.piece_count, 1);
    assert_true(guest.pieces[0].offset == 0 && guest.pieces[0].size == 64 * MIB);
    assert_true(guest.pieces[0].host.at == guest.ram.base);
    assert_true(memory_free_bytes() == before - 64 * MIB);
    pmp->release(&guest);
    assert_true(memory_free_bytes() == before);
    pmp->release(&guest); /* twice does no harm */
    assert_true(memory_free_bytes() == before);
    guest = wish(64 * MIB);
    guest.config.has_memory_base = true;
    guest.config.memory_base = 0x18001000;
    assert_int_equal(pmp->take_ram(&guest, &refusal), DX_OK);
    assert_true(guest.ram.base == 0x18001000 && guest.pieces[0].host.at == 0x18001000);
    struct capsule second = guest;
    second.piece_count = 0;
    assert_int_equal(pmp->take_ram(&second, &refusal), DX_NO_MEMORY);
    assert_string_equal(refusal.text,
                        "guest: memory-base 0x18001000 size 0x4000000 is not free RAM of this machine (pmp: "
                        "guest-physical is host-physical)");
    assert_int_equal(second.piece_count, 0);
    pmp->release(&second);
    second = wish(0x10000000);
    assert_int_equal(pmp->take_ram(&second, &refusal), DX_NO_MEMORY);
    assert_string_equal(refusal.text, "guest: memory of 256 MiB does not fit: 192 MiB are free");
    pmp->release(&guest);
    assert_true(memory_free_bytes() == before);
}

static void test_serves(void **state)
{
    (void)state;
    machine_harts[0].arch.is_virtual = 1;
    assert_true(pmp->serves(&machine_harts[0]) && pmp->serves(&machine_harts[1]));
}

static void test_describe(void **state)
{
    (void)state;
    static char text[16384];
    guests[0].id = 41;
    guests[1].id = 42;
    guests[1].hart_kind = HART_HYP;
    machine_harts[1].kind = HART_HYP;
    machine_harts[1].arch.is_virtual = 1;
    pmp->describe(&guests[0]);
    pmp->describe(&guests[1]);
    log_copy(text, sizeof(text));
    assert_non_null(strstr(text, "Capsule 41 (): isolation pmp, 3 PMP entries\n"));
    assert_non_null(strstr(text, "Capsule 42 (): isolation pmp, 4 PMP entries, in VS-mode without stage 2\n"));
}

/* --- on a hart with H: no stage 2 of another capsule may stay --- */

static void test_enter_with_h(void **state)
{
    (void)state;
    fake_arch.stage2 = 0x4711;
    pmp->enter(&machine_harts[0], &guests[0]);
    assert_int_equal(fake_arch.stage2_loads, 0); /* without H there is none */
    machine_harts[0].arch.is_virtual = 1;
    pmp->enter(&machine_harts[0], &guests[0]);
    assert_int_equal(fake_arch.stage2_loads, 1);
    assert_int_equal(fake_arch.stage2, 0);
    fake_arch.pmp.count = 16;
    pmp->verify(&machine_harts[0], &guests[0]);
    fake_arch.stage2 = 1;
    assert_true(PANICS(pmp->verify(&machine_harts[0], &guests[0])));
}

/* --- walls of several pieces, and of tables: what hyp stands on --- */

static void make_wall(struct capsule *guest)
{
    *guest = (struct capsule){.id = 9, .isolation = pmp, .piece_count = 3};
    guest->pieces[0] = (struct ram_piece){0, 0x400000, {0x90000000}};
    guest->pieces[1] = (struct ram_piece){0x400000, 0x600000, {0x80200000}}; /* no power of two */
    guest->pieces[2] = (struct ram_piece){0xa00000, 0x200000, {0x80800000}}; /* right behind the second */
    guest->stage2.memory = (struct range){0x90400000, 0x8000};               /* right behind the first */
    assert_int_equal(pmp_wall_plan(guest, &refusal), DX_OK);
}

static void test_wall_of_pieces(void **state)
{
    (void)state;
    struct capsule guest;
    make_wall(&guest);
    fake_arch.hart = &machine_harts[0].arch;
    pmp_wall_enter(&machine_harts[0], &guest);
    for (size_t n = 0; n < guest.piece_count; n++) {
        assert_int_equal(pmp_rights(&fake_arch.pmp, guest.pieces[n].host.at, guest.pieces[n].size), PMP_RWX);
    }
    assert_int_equal(pmp_rights(&fake_arch.pmp, guest.stage2.memory.base, guest.stage2.memory.size), PMP_R);
    static const uint64_t closed[] = {0x8fffffff, 0x90408000, 0x801fffff, 0x80a00000, 0x9ff80000, 0x9fe00000, 0};
    for (size_t n = 0; n < ARRAY_LENGTH(closed); n++) {
        assert_int_equal(pmp_rights(&fake_arch.pmp, closed[n], 1), 0);
    }
    fake_arch.pmp.count = 16;
    pmp_wall_verify(&machine_harts[0], &guest);
    guest.piece_count = 2;
    assert_true(PANICS(pmp_wall_verify(&machine_harts[0], &guest)));
}

/* Its own pieces and tables beside an edge are no leak; a byte beside the last of them is. */
static void test_wall_test_of_pieces(void **state)
{
    (void)state;
    struct capsule guest;
    make_wall(&guest);
    const hpa_t other = {0xa0000000};
    fake_arch.hart = &machine_harts[0].arch;
    pmp_wall_enter(&machine_harts[0], &guest);
    assert_int_equal(pmp_wall_test(&machine_harts[0], &guest, other, &refusal), DX_OK);
    fake_arch.supervisor_can_load_at = all_but_one;
    static const uint64_t bytes[] = {0x90000000, 0x903fffff, 0x8fffffff, 0x80200000, 0x807fffff, 0x801fffff,
                                     0x80800000, 0x809fffff, 0x80a00000, 0xa0000000, 0x9ff80000};
    for (size_t n = 0; n < ARRAY_LENGTH(bytes); n++) {
        wrong_byte = bytes[n];
        assert_int_equal(pmp_wall_test(&machine_harts[0], &guest, other, &refusal), DX_NO_PMP);
        assert_non_null(strstr(refusal.text, "hart 4: PMP "));
    }
    wrong_byte = 0x90400000; /* its tables, right behind the first piece, which the walk reads */
    assert_int_equal(pmp_wall_test(&machine_harts[0], &guest, other, &refusal), DX_OK);
}

/* --- the debug build's check before each return to a guest --- */

static void test_verify(void **state)
{
    (void)state;
    struct capsule *guest = &guests[1];
    fake_arch.hart = &machine_harts[0].arch;
    guest->isolation->enter(&machine_harts[0], guest);
    fake_arch.pmp.count = 16; /* the registers, as they are read back */
    guest->isolation->verify(&machine_harts[0], guest);
    const struct pmp_image good = fake_arch.pmp;
    for (unsigned n = 0; n < 16; n++) {
        fake_arch.pmp.config[n] ^= PMP_W;
        assert_true(PANICS(guest->isolation->verify(&machine_harts[0], guest)));
        fake_arch.pmp = good;
        fake_arch.pmp.address[n] ^= 1ul << 10;
        assert_true(PANICS(guest->isolation->verify(&machine_harts[0], guest)));
        fake_arch.pmp = good;
    }
    assert_true(PANICS(guest->isolation->verify(&machine_harts[0], &guests[0])));
    assert_true(PANICS(guest->isolation->verify(&machine_harts[1], guest))); /* another hart's guard */
}

/* --- the self-test --- */

static enum dx_error self_test(void)
{
    return pmp->self_test(&machine_harts[0], &guests[0], (hpa_t){rams[1].base}, &refusal);
}

static void test_self_test_passes(void **state)
{
    (void)state;
    machine_harts[0].protected_for = guests[1].id;
    assert_int_equal(self_test(), DX_OK);
    assert_int_equal(machine_harts[0].protected_for, 0); /* the next vCPU loads what it needs */
    assert_int_equal(pmp->self_test(&machine_harts[1], &guests[1], (hpa_t){rams[0].base}, &refusal), DX_OK);
}

static bool everything(hpa_t address)
{
    (void)address;
    return true;
}

static bool nothing(hpa_t address)
{
    (void)address;
    return false;
}

static void test_self_test_fails(void **state)
{
    (void)state;
    fake_arch.supervisor_can_load_at = everything;
    assert_int_equal(self_test(), DX_NO_PMP);
    fake_arch.supervisor_can_load_at = nothing;
    assert_int_equal(self_test(), DX_NO_PMP);
    fake_arch.supervisor_can_load_at = all_but_one;
    const uint64_t bytes[] = {
        image.base,
        range_last(image),
        machine_harts[0].arch.stack_top - 1,
        rams[1].base,
        rams[0].base,
        range_last(rams[0]),
        rams[0].base - 1,
        range_last(rams[0]) + 1,
    };
    for (size_t n = 0; n < ARRAY_LENGTH(bytes); n++) {
        wrong_byte = bytes[n];
        assert_int_equal(self_test(), DX_NO_PMP);
    }
    wrong_byte = 1;
    assert_int_equal(self_test(), DX_OK);
}

/* A hart whose registers don't take what is written. */
static void test_self_test_reads_the_hart(void **state)
{
    (void)state;
    guests[0].pmp.config[guests[0].pmp.count - 1] = 0;
    assert_int_equal(self_test(), DX_NO_PMP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hart_closes_everything, setup),
        cmocka_unit_test_setup(test_harts_that_are_refused, setup),
        cmocka_unit_test_setup(test_enter, setup),
        cmocka_unit_test_setup(test_capsules_that_are_refused, setup),
        cmocka_unit_test_setup(test_harts_that_differ, setup),
        cmocka_unit_test_setup(test_ram, setup),
        cmocka_unit_test_setup(test_serves, setup),
        cmocka_unit_test_setup(test_describe, setup),
        cmocka_unit_test_setup(test_enter_with_h, setup),
        cmocka_unit_test_setup(test_wall_of_pieces, setup),
        cmocka_unit_test_setup(test_wall_test_of_pieces, setup),
        cmocka_unit_test_setup(test_verify, setup),
        cmocka_unit_test_setup(test_self_test_passes, setup),
        cmocka_unit_test_setup(test_self_test_fails, setup),
        cmocka_unit_test_setup(test_self_test_reads_the_hart, setup),
    };
    return cmocka_run_group_tests_name("isolation pmp", tests, NULL, NULL);
}
