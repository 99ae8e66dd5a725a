/* SPDX-License-Identifier: MIT
 *
 * SBI STA and core/steal.c: what a guest is told of the time that was taken from it, where, and when no more.
 */
#include "core/steal.h"
#include "sbi_world.h"

enum { SHARED = sizeof(struct sbi_sta_shared), PLACE = 128, HZ = 10000000 };
#define NS_PER_TICK (1000000000ull / HZ)

static int setup(void **state)
{
    clock_hz = HZ;
    memset(&world, 0, sizeof(world));
    const int result = world_setup(state);
    for (size_t i = 0; i < RAM_SIZE; i++) {
        world.ram[i] = (uint8_t)(i * 7 + 1);
    }
    return result;
}

static struct sbi_sta_shared at(unsigned long offset)
{
    struct sbi_sta_shared copy;
    memcpy(&copy, world.ram + offset, sizeof(copy));
    return copy;
}

/* No byte of RAM was touched but the 64 at but (RAM_SIZE: none). */
static void assert_untouched(unsigned long but)
{
    for (size_t i = 0; i < RAM_SIZE; i++) {
        if (i < but || i >= but + SHARED) {
            assert_int_equal(world.ram[i], (uint8_t)(i * 7 + 1));
        }
    }
}

static void set(unsigned long offset)
{
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, RAM_BASE + offset, 0, 0);
}

static void lose(uint64_t ticks)
{
    caller()->steal_ticks += ticks;
    steal_publish(caller());
}

static void assert_told(unsigned long offset, uint32_t sequence, uint64_t ticks)
{
    const struct sbi_sta_shared told = at(offset);
    static const uint8_t zeros[47];
    assert_int_equal(told.sequence, sequence);
    assert_true(told.steal == ticks * NS_PER_TICK);
    assert_int_equal(told.flags + told.preempted, 0);
    assert_memory_equal(told.unused, zeros, sizeof(zeros));
}

/* --- telling --- */

static void test_tells(void **state)
{
    (void)state;
    caller()->steal_ticks = 12345; /* before the guest asked: not its concern */
    set(PLACE);
    assert_told(PLACE, 0, 0);
    steal_publish(caller());
    assert_told(PLACE, 0, 0); /* nothing new: not written */
    lose(7);
    assert_told(PLACE, 2, 7);
    lose(0);
    assert_told(PLACE, 2, 7);
    lose(1000);
    assert_told(PLACE, 4, 1007);
    assert_untouched(PLACE);
    assert_nothing_done();
}

static void test_edges_of_ram(void **state)
{
    (void)state;
    static const unsigned long places[] = {0, RAM_SIZE - SHARED, 4096 - SHARED, 4096};
    world.edge = 4096; /* where RAM's next piece begins: no place straddles it */
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
        setup(state);
        world.edge = 4096;
        set(places[i]);
        lose(5);
        assert_told(places[i], 2, 5);
        assert_untouched(places[i]);
    }
}

/* Ticks whose nanoseconds don't fit 64 bits on the way there must not be cut; at any frequency. */
static void test_long_times(void **state)
{
    (void)state;
    static const struct {
        uint64_t hz, ticks, nanoseconds;
    } rows[] = {
        {HZ, UINT64_C(31536000) * 100 * HZ, UINT64_C(3153600000000000000)}, /* a century */
        {1, 17, UINT64_C(17000000000)},
        {3, 4, UINT64_C(1333333333)},
        {UINT32_MAX, UINT32_MAX - 1, UINT64_C(999999999)},
        {32768, 1, 30517},
        {1000000000, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        setup(state);
        clock_hz = rows[i].hz;
        set(PLACE);
        lose(rows[i].ticks);
        assert_true(at(PLACE).steal == rows[i].nanoseconds);
    }
}

/* What the guest writes there is its own loss, and lost with the next count. */
static void test_guest_writes_there(void **state)
{
    (void)state;
    set(PLACE);
    lose(10);
    memset(world.ram + PLACE, 0xff, SHARED);
    lose(10);
    const struct sbi_sta_shared told = at(PLACE);
    assert_int_equal(told.sequence, 4);
    assert_true(told.steal == 20 * NS_PER_TICK);
    assert_untouched(PLACE);
}

/* Each vCPU has its own. */
static void test_vcpus_are_apart(void **state)
{
    (void)state;
    set(PLACE);
    world.vcpus[2].steal_ticks = 99;
    steal_publish(&world.vcpus[2]);
    assert_told(PLACE, 0, 0);
    assert_untouched(PLACE);
}

/* --- another place, off and on, another life --- */

static void test_moves(void **state)
{
    (void)state;
    set(PLACE);
    lose(3);
    set(PLACE + SHARED);
    assert_told(PLACE + SHARED, 2, 3); /* it does not go back */
    lose(4);
    assert_told(PLACE, 2, 3); /* what is not in use any more is left alone */
    assert_told(PLACE + SHARED, 4, 7);
    set(PLACE + SHARED);
    assert_told(PLACE + SHARED, 2, 7);
}

static void test_off_and_on(void **state)
{
    (void)state;
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, ~0ul, ~0ul, 0); /* off already */
    lose(1);
    assert_untouched(RAM_SIZE);
    set(PLACE);
    lose(2);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, ~0ul, ~0ul, 0);
    lose(4);
    assert_told(PLACE, 2, 2);
    set(PLACE);
    assert_told(PLACE, 2, 6);
    steal_forget(caller()); /* as a stop of the vCPU and its next start */
    lose(8);
    assert_told(PLACE, 2, 6);
    set(PLACE);
    assert_told(PLACE, 2, 14);
}

static void test_another_life(void **state)
{
    (void)state;
    set(PLACE);
    lose(5);
    steal_reset(caller());
    lose(5);
    assert_told(PLACE, 2, 5);
    set(PLACE);
    assert_told(PLACE, 0, 0);
    lose(1);
    assert_told(PLACE, 2, 1);
}

/* --- refusals: nothing is written, and what was set stays --- */

static void expect_refused(long error, unsigned long low, unsigned long high, unsigned long flags)
{
    EXPECT(error, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, low, high, flags);
    assert_untouched(PLACE);
    lose(1);
    assert_untouched(PLACE);
}

static void test_refusals(void **state)
{
    (void)state;
    static const unsigned long foreign[] = {
        0, 64, RAM_BASE - 64, RAM_BASE + RAM_SIZE, 0x10000000, 0x0c000000, RAM_BASE * 2ul, ~0ul << 6, ~0ul >> 1 << 6,
    };
    set(PLACE);
    for (unsigned long off = 1; off < SHARED; off++) {
        expect_refused(SBI_ERR_INVALID_PARAM, RAM_BASE + 256 + off, 0, 0);
        expect_refused(SBI_ERR_INVALID_PARAM, RAM_BASE + RAM_SIZE - off, 0, 0); /* half outside */
    }
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++) {
        expect_refused(SBI_ERR_INVALID_ADDRESS, foreign[i], 0, 0);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        expect_refused(SBI_ERR_INVALID_PARAM, RAM_BASE + 256, 0, 1ul << bit);
        expect_refused(SBI_ERR_INVALID_PARAM, ~0ul, ~0ul, 1ul << bit); /* and it is not switched off */
    }
    for (unsigned bit = 0; bit < (unsigned)XLEN; bit++) {
        expect_refused(SBI_ERR_INVALID_ADDRESS, RAM_BASE + 256, 1ul << bit, 0);
    }
    expect_refused(SBI_ERR_INVALID_ADDRESS, RAM_BASE + 256, ~0ul, 0);
    expect_refused(SBI_ERR_INVALID_PARAM, ~0ul, 0, 0);
    expect_refused(SBI_ERR_INVALID_PARAM, ~0ul, ~0ul >> 1, 0);
    assert_told(PLACE, at(PLACE).sequence, caller()->steal_ticks); /* still told, all the while */
    assert_true(at(PLACE).sequence > 0);
    assert_nothing_done();
}

/* RAM that ends with a part of the 64 bytes: no machine of ours has it, but nothing may rely on that. */
static void test_ram_with_a_crooked_end(void **state)
{
    (void)state;
    set(PLACE);
    world.capsule.ram.size = RAM_SIZE - 32;
    expect_refused(SBI_ERR_INVALID_ADDRESS, RAM_BASE + RAM_SIZE - SHARED, 0, 0);
    world.capsule.ram.size = RAM_SIZE;
    world.edge = RAM_SIZE - 32;
    expect_refused(SBI_ERR_INVALID_ADDRESS, RAM_BASE + RAM_SIZE - SHARED, 0, 0);
}

/* flags has 32 bits; an address has 64, in two registers of RV32. */
static void test_widths(void **state)
{
    (void)state;
    if (XLEN == 64) {
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, RAM_BASE, 0, high_bit(32) | high_bit(63));
        assert_untouched(0);
        return;
    }
    world.capsule.ram.base = UINT64_C(0x340000000);
    EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, RAM_BASE, 0, 0);
    EXPECT(SBI_ERR_INVALID_ADDRESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, RAM_BASE, 2, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_STA, SBI_STA_SET_SHMEM, RAM_BASE, 3, 0);
    lose(9);
    assert_told(0, 2, 9);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tells),           TEST(test_edges_of_ram),
        TEST(test_long_times),      TEST(test_guest_writes_there),
        TEST(test_vcpus_are_apart), TEST(test_moves),
        TEST(test_off_and_on),      TEST(test_another_life),
        TEST(test_refusals),        TEST(test_ram_with_a_crooked_end),
        TEST(test_widths),
    };
    return cmocka_run_group_tests_name("sbi_sta", tests, NULL, NULL);
}
