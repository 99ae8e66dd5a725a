/* SPDX-License-Identifier: MIT
 *
 * SBI DBCN and the legacy calls, on a real console port.
 */
#include "sbi_world.h"

/* Buffers that a guest may not pass: length, low, high. */
static const unsigned long bad_buffers[][3] = {
    {1, 0, 0},
    {1, RAM_BASE - 1, 0},
    {2, RAM_BASE - 1, 0},
    {1, RAM_BASE + RAM_SIZE, 0},
    {2, RAM_BASE + RAM_SIZE - 1, 0},
    {64, RAM_BASE + RAM_SIZE - 8, 0},
    {RAM_SIZE + 1ul, RAM_BASE, 0},
    {~0ul, RAM_BASE, 0},
    {~0ul, RAM_BASE + 1, 0},
    {~0ul - RAM_BASE + 1, RAM_BASE, 0}, /* ends at 2^XLEN */
    {~0ul - RAM_BASE + 2, RAM_BASE, 0}, /* wraps to 0 */
    {64, (unsigned long)-8, 0},
    {1, 0x10000000, 0}, /* a device */
    {1, RAM_BASE, 1},
    {1, RAM_BASE, 2},
    {1, RAM_BASE, 4},
    {1, RAM_BASE, ~0ul},
};

static void fill_ram(void)
{
    for (size_t i = 0; i < RAM_SIZE; i++) {
        world.ram[i] = (uint8_t)(i * 7 + (i >> 8));
    }
}

static void fill_output(uint32_t room)
{
    struct console_port *port = &world.capsule.console;
    console_port_show(port, true);
    while (CONSOLE_OUTPUT_SIZE - (port->head - port->taken) > room) {
        assert_true(console_port_put(port, 'x'));
    }
}

/* --- DBCN --- */

static void test_write(void **state)
{
    (void)state;
    uint8_t out[300];
    fill_ram();
    EXPECT(SBI_SUCCESS, 5, SBI_EXT_DBCN, SBI_DBCN_WRITE, 5, RAM_BASE + 16, 0);
    assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), 5);
    assert_memory_equal(out, world.ram + 16, 5);
    EXPECT(SBI_SUCCESS, 1, SBI_EXT_DBCN, SBI_DBCN_WRITE, 1, RAM_BASE + RAM_SIZE - 1, 0);
    assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), 1);
    assert_int_equal(out[0], world.ram[RAM_SIZE - 1]);
}

/* One call moves 128 bytes at most, but the whole range has to be good. */
static void test_write_is_bounded(void **state)
{
    (void)state;
    uint8_t out[300];
    fill_ram();
    EXPECT(SBI_SUCCESS, 128, SBI_EXT_DBCN, SBI_DBCN_WRITE, RAM_SIZE, RAM_BASE, 0);
    assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), 128);
    assert_memory_equal(out, world.ram, 128);
    EXPECT(SBI_SUCCESS, 127, SBI_EXT_DBCN, SBI_DBCN_WRITE, 127, RAM_BASE, 0);
}

static void test_write_to_full_console(void **state)
{
    (void)state;
    fill_output(3);
    EXPECT(SBI_SUCCESS, 3, SBI_EXT_DBCN, SBI_DBCN_WRITE, 10, RAM_BASE, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE, 10, RAM_BASE, 0);
    assert_nothing_done();
}

static void test_read(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 172; i++) {
        assert_true(console_port_feed(&world.capsule.console, (uint8_t)(i + 1)));
    }
    EXPECT(SBI_SUCCESS, 4, SBI_EXT_DBCN, SBI_DBCN_READ, 4, RAM_BASE + 8, 0);
    assert_memory_equal(world.ram + 7, "\0\1\2\3\4\0", 6);
    EXPECT(SBI_SUCCESS, 128, SBI_EXT_DBCN, SBI_DBCN_READ, RAM_SIZE, RAM_BASE, 0);
    assert_int_equal(world.ram[0], 5);
    assert_int_equal(world.ram[127], (uint8_t)(5 + 127));
    assert_int_equal(world.ram[128], 0);
    EXPECT(SBI_SUCCESS, 40, SBI_EXT_DBCN, SBI_DBCN_READ, 100, RAM_BASE, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_READ, 100, RAM_BASE, 0);
}

/* A buffer whose bytes lie in two places of the host: a call moves those in the first, and the guest calls again. */
static void test_edge_of_a_piece(void **state)
{
    (void)state;
    enum { EDGE = 4096 };
    static const struct {
        unsigned long address, length, moved;
    } rows[] = {
        {EDGE - 1, 1, 1},       {EDGE - 1, 2, 1},       {EDGE - 1, 300, 1}, {EDGE - 10, 64, 10}, {EDGE - 128, 129, 128},
        {EDGE - 300, 300, 128}, {EDGE - 127, 128, 127}, {EDGE, 64, 64},     {EDGE, 4096, 128},   {0, 2 * EDGE, 128},
    };
    uint8_t out[300];
    world.edge = EDGE;
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        const unsigned long moved = rows[n].moved;
        const uint8_t *place = world.ram + rows[n].address;
        fill_ram();
        EXPECT(SBI_SUCCESS, (long)moved, SBI_EXT_DBCN, SBI_DBCN_WRITE, rows[n].length, RAM_BASE + rows[n].address, 0);
        assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), moved);
        assert_memory_equal(out, place, moved);
        while (console_port_feed(&world.capsule.console, 'k')) {
        }
        const uint32_t waiting = byte_ring_used(&world.capsule.console.input);
        assert_true(waiting > moved);
        const uint8_t behind = (uint8_t)((rows[n].address + moved) * 7 + ((rows[n].address + moved) >> 8));
        EXPECT(SBI_SUCCESS, (long)moved, SBI_EXT_DBCN, SBI_DBCN_READ, rows[n].length, RAM_BASE + rows[n].address, 0);
        assert_int_equal(byte_ring_used(&world.capsule.console.input), waiting - moved);
        assert_int_equal(place[0], 'k');
        assert_int_equal(place[moved - 1], 'k');
        assert_int_equal(rows[n].address + moved < RAM_SIZE ? place[moved] : behind, behind);
    }
    /* The whole range has to be RAM all the same. */
    EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE, RAM_SIZE, RAM_BASE + 1, 0);
}

static void test_bad_buffers(void **state)
{
    (void)state;
    fill_ram();
    assert_true(console_port_feed(&world.capsule.console, 'i'));
    for (size_t i = 0; i < ARRAY_LENGTH(bad_buffers); i++) {
        const unsigned long *b = bad_buffers[i];
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE, b[0], b[1], b[2]);
        EXPECT(SBI_ERR_INVALID_PARAM, 0, SBI_EXT_DBCN, SBI_DBCN_READ, b[0], b[1], b[2]);
    }
    assert_false(console_port_has_output(&world.capsule.console));
    assert_int_equal(byte_ring_used(&world.capsule.console.input), 1);
    for (size_t i = 0; i < RAM_SIZE; i++) {
        assert_int_equal(world.ram[i], (uint8_t)(i * 7 + (i >> 8)));
    }
}

/* No byte is moved, so no address is looked at. */
static void test_length_0(void **state)
{
    (void)state;
    assert_true(console_port_feed(&world.capsule.console, 'i'));
    for (size_t i = 0; i < ARRAY_LENGTH(bad_buffers); i++) {
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE, 0, bad_buffers[i][1], bad_buffers[i][2]);
        EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_READ, 0, bad_buffers[i][1], bad_buffers[i][2]);
    }
    assert_false(console_port_has_output(&world.capsule.console));
}

static void test_write_byte(void **state)
{
    (void)state;
    uint8_t out[4];
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, (~0ul << 8) | 'a', ~0ul, ~0ul);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, 0, 0, 0);
    EXPECT(SBI_SUCCESS, 0, SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE, 255, 0, 0);
    assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), 3);
    assert_memory_equal(out, "a\0\377", 3);
}

/* A full console: the caller sleeps with all its registers as they were, and the same call succeeds later. */
static void check_blocks(unsigned long extension, unsigned long function)
{
    uint8_t out;
    fill_output(0);
    atomic_store(&world.capsule.console.output_was_full, false);
    assert_int_equal(ecall(extension, function, 'q', 17, 18), OUTCOME_YIELD);
    assert_int_equal(world.blocks, 1);
    assert_true(console_port_refused(&world.capsule.console));
    assert_int_equal(world.capsule.console_waiters, 1 << CALLER);
    assert_int_equal(caller()->context.pc, PC);
    assert_memory_equal(caller()->context.x, world.before, sizeof(world.before));

    assert_int_equal(console_port_drain(&world.capsule.console, &out, 1), 1);
    assert_int_equal(sbi_handle(caller()), OUTCOME_SKIP);
    assert_int_equal(caller()->context.x[REG_A0], SBI_SUCCESS);
    assert_int_equal(world.blocks, 1);
    assert_false(console_port_has_room(&world.capsule.console));
    assert_int_equal(world.capsule.console.output[(world.capsule.console.head - 1) % CONSOLE_OUTPUT_SIZE], 'q');
}

static void test_write_byte_blocks(void **state)
{
    (void)state;
    check_blocks(SBI_EXT_DBCN, SBI_DBCN_WRITE_BYTE);
}

/* --- legacy --- */

/* Legacy results are a0 alone; a1 stays as the caller had it. */
static long legacy(unsigned long extension, unsigned long a0, unsigned long a1)
{
    struct answer answer = call(extension, 0xbad, a0, a1, 0);
    assert_int_equal(answer.value, (long)a1);
    return answer.error;
}

static void test_legacy_set_timer(void **state)
{
    (void)state;
    assert_int_equal(legacy(SBI_EXT_LEGACY_SET_TIMER, 5, 7), 0);
    assert_true(world.deadline == (XLEN == 32 ? (uint64_t)7 << 32 | 5 : 5));
    assert_int_equal(world.timers, 1);
}

static void test_legacy_putchar(void **state)
{
    (void)state;
    uint8_t out[4];
    assert_int_equal(legacy(SBI_EXT_LEGACY_PUTCHAR, 0x100 | 'p', 9), 0);
    assert_int_equal(console_port_drain(&world.capsule.console, out, sizeof(out)), 1);
    assert_int_equal(out[0], 'p');
    check_blocks(SBI_EXT_LEGACY_PUTCHAR, 0);
}

static void test_legacy_getchar(void **state)
{
    (void)state;
    assert_int_equal(legacy(SBI_EXT_LEGACY_GETCHAR, 0, 9), -1);
    assert_true(console_port_feed(&world.capsule.console, 0));
    assert_true(console_port_feed(&world.capsule.console, 255));
    assert_int_equal(legacy(SBI_EXT_LEGACY_GETCHAR, 0, 9), 0);
    assert_int_equal(legacy(SBI_EXT_LEGACY_GETCHAR, 0, 9), 255);
    assert_int_equal(legacy(SBI_EXT_LEGACY_GETCHAR, 0, 9), -1);
}

/* Whether raised or only posted, it is cleared and reported; other events and interrupts stay. */
static void test_legacy_clear_ipi(void **state)
{
    (void)state;
    fake_arch.virtual_pending = BIT(IRQ_S_TIMER);
    atomic_store(&caller()->pending, EVENT_EXTERNAL);
    assert_int_equal(legacy(SBI_EXT_LEGACY_CLEAR_IPI, 3, 9), 0);

    fake_arch.virtual_pending |= BIT(IRQ_S_SOFT);
    assert_int_equal(legacy(SBI_EXT_LEGACY_CLEAR_IPI, 3, 9), 1);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));

    atomic_fetch_or(&caller()->pending, EVENT_IPI);
    assert_int_equal(legacy(SBI_EXT_LEGACY_CLEAR_IPI, 3, 9), 1);
    assert_int_equal(atomic_load(&caller()->pending), EVENT_EXTERNAL);
    assert_int_equal(legacy(SBI_EXT_LEGACY_CLEAR_IPI, 3, 9), 0);
}

static void test_legacy_shutdown(void **state)
{
    (void)state;
    assert_int_equal(ecall(SBI_EXT_LEGACY_SHUTDOWN, 0, 0, 0, 0), OUTCOME_STOP);
    assert_int_equal(world.stops, 1);
    assert_int_equal(world.stop_reason, STOP_POWER_OFF);
}

static void test_legacy_others_are_not_offered(void **state)
{
    (void)state;
    static const unsigned long ids[] = {4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        assert_int_equal(legacy(ids[i], RAM_BASE, 0x1234), SBI_ERR_NOT_SUPPORTED);
    }
    assert_nothing_done();
}

#define TEST(name) cmocka_unit_test_setup(name, world_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_write),
        TEST(test_write_is_bounded),
        TEST(test_write_to_full_console),
        TEST(test_read),
        TEST(test_edge_of_a_piece),
        TEST(test_bad_buffers),
        TEST(test_length_0),
        TEST(test_write_byte),
        TEST(test_write_byte_blocks),
        TEST(test_legacy_set_timer),
        TEST(test_legacy_putchar),
        TEST(test_legacy_getchar),
        TEST(test_legacy_clear_ipi),
        TEST(test_legacy_shutdown),
        TEST(test_legacy_others_are_not_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
