/* SPDX-License-Identifier: MIT
 *
 * Misaligned accesses through the guest's own tables, at the edges of pages and of its RAM. What each instruction does
 * with its bytes is test_misaligned.c's.
 */
#include "trap_world.h"

enum {
    LW_A1_A0 = 0x00052583,
    SW_A1_A0 = 0x00b52023,
    LW_X0_A0 = 0x00052003,
    FLW_FA1_A0 = 0x00052587,
    FSW_FA1_A0 = 0x00b52027,
    AMOADD = 0x00b5252f,
    C_LW = 0x410c,
    FS_INITIAL = 1 << 13,
    VA_CODE = 0x10000,
    VA_DATA = 0x20000,
};

static unsigned long *a0, *a1;

static int unaligned_setup(void **state)
{
    trap_setup(state);
    a0 = &guest->context.x[REG_A0];
    a1 = &guest->context.x[REG_A1];
    return 0;
}

#define UNALIGNED_TEST(test) cmocka_unit_test_setup_teardown(test, unaligned_setup, teardown)

static void put_word(uint64_t address, uint32_t value)
{
    memcpy(guest_byte(address), &value, sizeof(value));
}

static uint32_t get_word(uint64_t address)
{
    uint32_t value;
    memcpy(&value, guest_byte(address), sizeof(value));
    return value;
}

static void test_load_and_store(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    put_word(RAM_BASE + 0x101, 0x12345678);
    code(LW_A1_A0);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(*a1, 0x12345678);
    *a0 = RAM_BASE + 0x203;
    code(SW_A1_A0);
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(get_word(RAM_BASE + 0x203), 0x12345678);
    assert_int_equal(*guest_byte(RAM_BASE + 0x207), 0);
    code(LW_X0_A0);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(4);
    code(C_LW);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(2);
}

/* Harts that report no address: the instruction's own is taken. */
static void test_no_address(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    put_word(RAM_BASE + 0x101, 77);
    code(LW_A1_A0);
    trap(CAUSE_LOAD_MISALIGNED, 0);
    assert_went_on(4);
    assert_int_equal(*a1, 77);
}

static void test_floating_point(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    fake_arch.fp[11] = 0xffffffff3f800000;
    guest->context.status |= FS_INITIAL;
    code(FSW_FA1_A0);
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(get_word(*a0), 0x3f800000);
    assert_int_equal(guest->context.status & STATUS_FS_DIRTY, FS_INITIAL);
    put_word(*a0, 0x40000000);
    code(FLW_FA1_A0);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(fake_arch.fp[11], 0xffffffff40000000);
    assert_int_equal(guest->context.status & STATUS_FS_DIRTY, STATUS_FS_DIRTY);
}

/* With FS off it can't have been this instruction that trapped: another vCPU has put it there. Its registers stay
 * closed; tried again, it is illegal. */
static void test_floating_point_off(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    fake_arch.fp[11] = 0x3f800000;
    put_word(*a0, 0x40000000);
    for (unsigned n = 0; n < 2; n++) {
        guest->context.is_virtual = n == 1;
        code(n == 0 ? FSW_FA1_A0 : FLW_FA1_A0);
        trap(n == 0 ? CAUSE_STORE_MISALIGNED : CAUSE_LOAD_MISALIGNED, *a0);
        assert_went_on(0);
        assert_int_equal(get_word(*a0), 0x40000000);
        assert_int_equal(fake_arch.fp[11], 0x3f800000);
        assert_int_equal(arch_virtual_status(&guest->context) & STATUS_FS_DIRTY, 0);
    }
}

/* A hart may trap before it looks at the page tables: the guest's kernel must learn of the access. */
static void test_accessed_and_dirty(void **state)
{
    (void)state;
    map_page(VA_CODE, CODE, PTE_X);
    map_page(VA_DATA, RAM_BASE + 0x4000, PTE_R | PTE_W);
    paging_on();
    *a0 = VA_DATA + 1;
    code(LW_A1_A0);
    clear_in_page(VA_DATA, PTE_D);
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_int_equal(guest->context.pc, VA_CODE + 4);
    code(SW_A1_A0);
    guest->context.pc = VA_CODE;
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_reflected(CAUSE_STORE_PAGE, VA_DATA + 1);
    clear_in_page(VA_DATA, PTE_A);
    code(LW_A1_A0);
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DATA + 1);
}

/* Not a byte outside RAM, on either side, and nothing loaded from a device by pieces. */
static void test_edges_of_ram(void **state)
{
    (void)state;
    static const unsigned long starts[] = {
        RAM_BASE - 1, RAM_BASE + RAM_SIZE - 1, RAM_BASE + RAM_SIZE + 1, DEVICE + 17, 1, -3ul};
    static const unsigned long faults[] = {RAM_BASE - 1, RAM_BASE + RAM_SIZE, RAM_BASE + RAM_SIZE + 1, DEVICE + 17, 1,
                                           -3ul};
    memset(core.ram[1], 0x5a, 64);
    for (size_t n = 0; n < ARRAY_LENGTH(starts); n++) {
        *a0 = starts[n];
        *a1 = 0x77;
        code(LW_A1_A0);
        trap(CAUSE_LOAD_MISALIGNED, *a0);
        assert_reflected(CAUSE_LOAD_ACCESS, faults[n]);
        assert_int_equal(*a1, 0x77);
        code(SW_A1_A0);
        trap(CAUSE_STORE_MISALIGNED, *a0);
        assert_reflected(CAUSE_STORE_ACCESS, faults[n]);
    }
    assert_int_equal(core.ram[1][0], 0x5a);
    assert_int_equal(box.reads + box.writes, 0);
}

/* Across two pages that lie apart; then with the second one missing, or not writable. */
static void test_across_pages(void **state)
{
    (void)state;
    map_page(VA_CODE, CODE, PTE_X);
    map_page(VA_DATA, RAM_BASE + 0x4000, PTE_R | PTE_W);
    map_page(VA_DATA + 0x1000, RAM_BASE + 0x7000, PTE_R);
    paging_on();
    put_word(RAM_BASE + 0x4ffc, 0x22110000);
    put_word(RAM_BASE + 0x7000, 0x00004433);
    *a0 = VA_DATA + 0xffe;
    code(LW_A1_A0);
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_int_equal(*a1, 0x44332211);
    code(SW_A1_A0);
    guest->context.pc = VA_CODE;
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_reflected(CAUSE_STORE_PAGE, VA_DATA + 0x1000);
    assert_int_equal(get_word(RAM_BASE + 0x7000), 0x00004433);
    *a0 = VA_DATA + 0x1ffd;
    code(LW_A1_A0);
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DATA + 0x2000);
}

/* Across two pieces of RAM, which lie apart in the host. */
static void test_across_pieces(void **state)
{
    (void)state;
    enum { EDGE = 0x4000 };
    struct capsule *capsule = guest->capsule;
    capsule->pieces[0].size = EDGE;
    capsule->pieces[1] = (struct ram_piece){EDGE, RAM_SIZE - EDGE, {(uintptr_t)core.ram[1]}};
    capsule->piece_count = 2;
    memset(core.ram[0] + EDGE, 0xaa, 8);
    memcpy(core.ram[0] + EDGE - 1, "\x11", 1);
    memcpy(core.ram[1], "\x22\x33\x44", 3);
    *a0 = RAM_BASE + EDGE - 1;
    code(LW_A1_A0);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(*a1, 0x44332211);
    *a1 = 0x08070605;
    code(SW_A1_A0);
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(core.ram[0][EDGE - 1], 5);
    assert_memory_equal(core.ram[1], "\6\7\10", 3);
    assert_int_equal(core.ram[0][EDGE], 0xaa);
}

/* A guest in VS-mode: SUM counts where its own status has it, and there a load makes FS dirty. */
static void test_in_virtual_mode(void **state)
{
    (void)state;
    guest->context.is_virtual = true;
    guest->context.vsstatus = FS_INITIAL;
    *a0 = RAM_BASE + 0x101;
    code(FLW_FA1_A0);
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_went_on(4);
    assert_int_equal(guest->context.vsstatus & STATUS_FS_DIRTY, STATUS_FS_DIRTY);
    assert_int_equal(guest->context.status & STATUS_FS_DIRTY, 0);
    map_page(VA_CODE, CODE, PTE_X);
    map_page(VA_DATA, RAM_BASE + 0x4000, PTE_R | PTE_U);
    paging_on();
    *a0 = VA_DATA + 1;
    code(LW_A1_A0);
    guest->context.status |= STATUS_SUM;
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_reflected(CAUSE_LOAD_PAGE, VA_DATA + 1);
    guest->context.vsstatus = STATUS_SUM;
    guest->context.pc = VA_CODE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_int_equal(guest->context.pc, VA_CODE + 4);
}

/* Another vCPU changed the instruction or its registers: nothing is done, it is tried again. */
static void test_changed_meanwhile(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    *a1 = 0x77;
    code(LW_A1_A0);
    trap(CAUSE_LOAD_MISALIGNED, RAM_BASE + 0x303);
    assert_int_equal(guest->context.pc, CODE);
    assert_int_equal(fake_arch.reflections, 0);
    assert_int_equal(*a1, 0x77);
}

/* Atomics are never taken apart. */
static void test_not_emulated(void **state)
{
    (void)state;
    *a0 = RAM_BASE + 0x101;
    code(AMOADD);
    trap(CAUSE_STORE_MISALIGNED, *a0);
    assert_reflected(CAUSE_STORE_MISALIGNED, *a0);
    guest->context.pc = DEVICE;
    trap(CAUSE_LOAD_MISALIGNED, *a0);
    assert_reflected(CAUSE_FETCH_ACCESS, DEVICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNALIGNED_TEST(test_load_and_store),     UNALIGNED_TEST(test_no_address),
        UNALIGNED_TEST(test_floating_point),     UNALIGNED_TEST(test_floating_point_off),
        UNALIGNED_TEST(test_accessed_and_dirty), UNALIGNED_TEST(test_edges_of_ram),
        UNALIGNED_TEST(test_across_pages),       UNALIGNED_TEST(test_changed_meanwhile),
        UNALIGNED_TEST(test_not_emulated),       UNALIGNED_TEST(test_across_pieces),
        UNALIGNED_TEST(test_in_virtual_mode),
    };
    return cmocka_run_group_tests_name("unaligned", tests, NULL, NULL);
}
