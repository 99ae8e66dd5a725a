/* SPDX-License-Identifier: MIT
 *
 * The device bus: which device and which register an access reaches, at every offset and width; and the lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/device.h"
#include "support.h"

#define BASE UINT64_C(0x3fffff000) /* above 32 bits, as RV32 guests can have it */

/* What the last handler was given. */
static struct {
    unsigned calls;
    char what; /* the row's letter */
    bool write;
    uint32_t index;
    uint64_t value;
} seen;

static bool lock_held(const struct device *device)
{
    return device->lock.next != device->lock.serving;
}

static uint64_t on_read(struct device *device, char what, uint32_t index)
{
    assert_true(lock_held(device));
    seen.calls++;
    seen.what = what;
    seen.write = false;
    seen.index = index;
    return UINT64_C(0x8877665544332211);
}

static void on_write(struct device *device, char what, uint32_t index, uint64_t value)
{
    assert_true(lock_held(device));
    seen.calls++;
    seen.what = what;
    seen.write = true;
    seen.index = index;
    seen.value = value;
}

#define HANDLERS(letter)                                                                                               \
    static uint64_t read_##letter(struct device *device, uint32_t index)                                               \
    {                                                                                                                  \
        return on_read(device, #letter[0], index);                                                                     \
    }                                                                                                                  \
    static void write_##letter(struct device *device, uint32_t index, uint64_t value)                                  \
    {                                                                                                                  \
        on_write(device, #letter[0], index, value);                                                                    \
    }
HANDLERS(a)
HANDLERS(b)
HANDLERS(c)
HANDLERS(d)
HANDLERS(e)
HANDLERS(f)
HANDLERS(g)

/* clang-format off */
static const struct device_register rows[] = {
    {.name = "a", .offset = 0x04, .width = 1, .access = REG_RW, .read = read_a, .write = write_a},
    {.name = "b", .offset = 0x06, .width = 2, .access = REG_R, .read = read_b, .write = write_b},
    {.name = "c", .offset = 0x08, .width = 4, .access = REG_W, .read = read_c, .write = write_c},
    {.name = "d", .offset = 0x10, .width = 8, .access = REG_RW, .read = read_d, .write = write_d},
    {.name = "silent", .offset = 0x18, .width = 4, .access = REG_RW},
    {.name = "e", .offset = 0x20, .count = 4, .stride = 4, .width = 4, .access = REG_RW,
     .read = read_e, .write = write_e},
    {.name = "f", .offset = 0x40, .count = 3, .stride = 0x10, .width = 4, .access = REG_RW,
     .read = read_f, .write = write_f},
    {.name = "g", .offset = 0x44, .count = 3, .stride = 0x10, .width = 4, .access = REG_RW,
     .read = read_g, .write = write_g},
};
/* clang-format on */

static unsigned resets;

static void on_reset(struct device *device)
{
    assert_true(lock_held(device));
    resets++;
}

static const struct device_class with_registers = {
    .name = "test",
    .registers = rows,
    .register_count = ARRAY_LENGTH(rows),
    .reset = on_reset,
};
static const struct device_class without_registers = {.name = "empty"};

enum { WINDOW = 0x80 };

static struct device make(const struct device_class *class, uint64_t base, uint64_t size)
{
    return (struct device){.class = class, .window = {base, size}};
}

/* The row that an exact access means, found the slow way; NULL if none. */
static const struct device_register *expected(uint64_t offset, unsigned width, uint32_t *index)
{
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        uint32_t count = rows[i].count == 0 ? 1 : rows[i].count;

        for (*index = 0; *index < count; (*index)++) {
            if (offset == rows[i].offset + (uint64_t)*index * rows[i].stride && width == rows[i].width) {
                return &rows[i];
            }
        }
    }
    return NULL;
}

static void test_every_offset_and_width(void **state)
{
    struct device device = make(&with_registers, BASE, WINDOW);

    (void)state;
    for (uint64_t offset = 0; offset < WINDOW; offset++) {
        for (unsigned width = 1; width <= 8 && offset + width <= WINDOW; width *= 2) {
            uint32_t index = 0;
            const struct device_register *row = expected(offset, width, &index);
            bool reads = row != NULL && row->read != NULL && (row->access & REG_R) != 0;
            bool writes = row != NULL && row->write != NULL && (row->access & REG_W) != 0;
            uint64_t mask = width == 8 ? UINT64_MAX : (UINT64_C(1) << (width * 8)) - 1;

            memset(&seen, 0, sizeof(seen));
            assert_int_equal(device_read(&device, (gpa_t){BASE + offset}, width),
                             reads ? UINT64_C(0x8877665544332211) & mask : 0);
            assert_int_equal(seen.calls, reads);
            if (reads) {
                assert_int_equal(seen.what, row->name[0]);
                assert_int_equal(seen.index, index);
                assert_false(seen.write);
            }

            memset(&seen, 0, sizeof(seen));
            device_write(&device, (gpa_t){BASE + offset}, width, UINT64_C(0xfedcba9876543210));
            assert_int_equal(seen.calls, writes);
            if (writes) {
                assert_int_equal(seen.what, row->name[0]);
                assert_int_equal(seen.index, index);
                assert_int_equal(seen.value, UINT64_C(0xfedcba9876543210) & mask);
            }
            assert_false(lock_held(&device));
        }
    }
}

static void test_no_registers(void **state)
{
    struct device device = make(&without_registers, BASE, WINDOW);

    (void)state;
    assert_int_equal(device_read(&device, (gpa_t){BASE}, 4), 0);
    device_write(&device, (gpa_t){BASE}, 4, 1);
}

static void test_outside_is_our_own_mistake(void **state)
{
    struct device device = make(&with_registers, BASE, WINDOW);

    (void)state;
    assert_true(PANICS((void)device_read(&device, (gpa_t){BASE + WINDOW}, 1)));
    assert_true(PANICS((void)device_read(&device, (gpa_t){BASE - 1}, 1)));
    assert_true(PANICS(device_write(&device, (gpa_t){BASE + WINDOW - 1}, 2, 0)));
}

static void test_find(void **state)
{
    struct device_bus bus = {.count = 0};
    struct device middle = make(&with_registers, 0x10000000, 0x100);
    struct device low = make(&with_registers, 0x100000, 0x1000);
    struct device last = make(&with_registers, UINT64_MAX - 0xfff, 0x1000);

    (void)state;
    assert_null(device_bus_find(&bus, (gpa_t){0}, 4));
    assert_int_equal(device_bus_add(&bus, &middle), DX_OK);
    assert_int_equal(device_bus_add(&bus, &last), DX_OK);
    assert_int_equal(device_bus_add(&bus, &low), DX_OK);

    assert_ptr_equal(device_bus_find(&bus, (gpa_t){0x100000}, 4), &low);
    assert_ptr_equal(device_bus_find(&bus, (gpa_t){0x100fff}, 1), &low);
    assert_null(device_bus_find(&bus, (gpa_t){0x100fff}, 2));
    assert_null(device_bus_find(&bus, (gpa_t){0x101000}, 1));
    assert_null(device_bus_find(&bus, (gpa_t){0xfffff}, 1));
    assert_null(device_bus_find(&bus, (gpa_t){0xfffff}, 2));
    assert_ptr_equal(device_bus_find(&bus, (gpa_t){0x100000ff}, 1), &middle);
    assert_null(device_bus_find(&bus, (gpa_t){0x100000fc}, 8));
    assert_ptr_equal(device_bus_find(&bus, (gpa_t){UINT64_MAX}, 1), &last);
    assert_null(device_bus_find(&bus, (gpa_t){UINT64_MAX}, 2)); /* would wrap */
}

static void test_add_refuses_overlaps(void **state)
{
    struct device_bus bus = {.count = 0};
    struct device present = make(&with_registers, 0x1000, 0x1000);
    static const struct range bad[] = {
        {0x1000, 0x1000}, {0x0, 0x1001}, {0x1fff, 1}, {0x1800, 0x10}, {0x800, 0x2000},
    };
    struct device below = make(&with_registers, 0x0, 0x1000);
    struct device above = make(&with_registers, 0x2000, 0x1000);

    (void)state;
    assert_int_equal(device_bus_add(&bus, &present), DX_OK);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct device other = make(&with_registers, bad[i].base, bad[i].size);

        assert_int_equal(device_bus_add(&bus, &other), DX_OVERLAP);
        assert_int_equal(bus.count, 1);
    }
    assert_int_equal(device_bus_add(&bus, &above), DX_OK);
    assert_int_equal(device_bus_add(&bus, &below), DX_OK);
    assert_ptr_equal(bus.devices[0], &below);
    assert_ptr_equal(bus.devices[1], &present);
    assert_ptr_equal(bus.devices[2], &above);
}

static void test_add_impossible_windows(void **state)
{
    struct device_bus bus = {.count = 0};
    struct device empty = make(&with_registers, 0x1000, 0);
    struct device wraps = make(&with_registers, UINT64_MAX, 2);

    (void)state;
    assert_true(PANICS((void)device_bus_add(&bus, &empty)));
    assert_true(PANICS((void)device_bus_add(&bus, &wraps)));
}

static void test_full_bus_finds_each(void **state)
{
    struct device_bus bus = {.count = 0};
    struct device devices[DEVICE_BUS_MAX + 1];

    (void)state;
    /* 29 and 48 have no common factor: every place once, in no order */
    for (size_t i = 0; i < DEVICE_BUS_MAX; i++) {
        devices[i] = make(&with_registers, (i * 29 % DEVICE_BUS_MAX) * 0x2000, 0x1000);
        assert_int_equal(device_bus_add(&bus, &devices[i]), DX_OK);
    }
    devices[DEVICE_BUS_MAX] = make(&with_registers, 0x10000000, 0x1000);
    assert_int_equal(device_bus_add(&bus, &devices[DEVICE_BUS_MAX]), DX_TOO_MANY);
    assert_int_equal(bus.count, DEVICE_BUS_MAX);

    for (size_t i = 0; i < DEVICE_BUS_MAX; i++) {
        uint64_t base = devices[i].window.base;

        assert_ptr_equal(device_bus_find(&bus, (gpa_t){base + 0xffc}, 4), &devices[i]);
        assert_null(device_bus_find(&bus, (gpa_t){base + 0x1000}, 4));
    }
}

static void test_reset(void **state)
{
    struct device_bus bus = {.count = 0};
    struct device one = make(&with_registers, 0x1000, 0x1000);
    struct device none = make(&without_registers, 0x2000, 0x1000);
    struct device two = make(&with_registers, 0x3000, 0x1000);

    (void)state;
    assert_int_equal(device_bus_add(&bus, &one), DX_OK);
    assert_int_equal(device_bus_add(&bus, &none), DX_OK);
    assert_int_equal(device_bus_add(&bus, &two), DX_OK);
    resets = 0;
    device_bus_reset(&bus);
    assert_int_equal(resets, 2);
    assert_false(lock_held(&one));
    assert_false(lock_held(&two));
}

static void ask_again(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    device->again = value != 0;
}

/* A handler's word that there is more to do is for the store that it was called for alone. */
static void test_again(void **state)
{
    static const struct device_register row = {.name = "again", .width = 4, .access = REG_W, .write = ask_again};
    static const struct device_class class = {.name = "again", .registers = &row, .register_count = 1};
    struct device device = make(&class, BASE, WINDOW);
    (void)state;
    assert_true(device_write(&device, (gpa_t){BASE}, 4, 0));
    assert_false(device_write(&device, (gpa_t){BASE}, 4, 1));
    assert_true(device_write(&device, (gpa_t){BASE + 4}, 4, 1)); /* no register */
    assert_false(device_write(&device, (gpa_t){BASE}, 4, 1));
    assert_true(device_write(&device, (gpa_t){BASE}, 4, 0));
}

static void test_line_to_nowhere(void **state)
{
    const struct irq_line line = {.set = NULL};

    (void)state;
    irq_line_set(&line, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_offset_and_width),
        cmocka_unit_test(test_no_registers),
        cmocka_unit_test(test_outside_is_our_own_mistake),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_add_refuses_overlaps),
        cmocka_unit_test(test_add_impossible_windows),
        cmocka_unit_test(test_full_bus_finds_each),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_line_to_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
