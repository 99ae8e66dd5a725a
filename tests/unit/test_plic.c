/* SPDX-License-Identifier: MIT
 *
 * The PLIC: each rule of the specification by itself, hostile ids and offsets, and long random runs against a second
 * model that is written as the specification reads, one flag per source.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "described.h"
#include "device/plic.h"
#include "support.h"

#include <libfdt.h>

#define BASE UINT64_C(0x0c000000)
#define SEED UINT64_C(0x706c6963)

enum { SOURCES = PLIC_SOURCE_MAX + 1, RANDOM_STEPS = 200000 };
enum { PRIORITY = 0, PENDING = 0x1000, ENABLE = 0x2000, CONTEXT = 0x200000 };

static struct plic plic;
static bool output[PLIC_VCPUS_MAX];
static unsigned output_calls;

static void on_output(void *arg, uint32_t vcpu, bool level)
{
    assert_ptr_equal(arg, &output_calls);
    assert_true(vcpu < plic.vcpus);
    assert_true(plic.device.lock.next != plic.device.lock.serving);
    assert_int_not_equal(output[vcpu], level); /* only changes */
    output[vcpu] = level;
    output_calls++;
}

static void make(uint32_t vcpus)
{
    memset(output, 0, sizeof(output));
    plic_init(&plic, (gpa_t){BASE}, vcpus, on_output, &output_calls);
    output_calls = 0;
}

static int setup(void **state)
{
    (void)state;
    make(2);
    return 0;
}

static uint32_t get(uint32_t offset)
{
    return (uint32_t)device_read(&plic.device, (gpa_t){BASE + offset}, 4);
}

static void set(uint32_t offset, uint32_t value)
{
    device_write(&plic.device, (gpa_t){BASE + offset}, 4, value);
}

static uint32_t s_context(uint32_t vcpu)
{
    return 2 * vcpu + 1;
}

static uint32_t enable_at(uint32_t vcpu, uint32_t source)
{
    return ENABLE + 0x80 * s_context(vcpu) + 4 * (source / 32);
}

static uint32_t threshold_at(uint32_t vcpu)
{
    return CONTEXT + 0x1000 * s_context(vcpu);
}

static uint32_t claim_at(uint32_t vcpu)
{
    return threshold_at(vcpu) + 4;
}

static void enable(uint32_t vcpu, uint32_t source, bool on)
{
    uint32_t bit = UINT32_C(1) << (source % 32);
    uint32_t word = get(enable_at(vcpu, source));

    set(enable_at(vcpu, source), on ? word | bit : word & ~bit);
}

static void listen(uint32_t vcpu, uint32_t source, uint32_t priority)
{
    set(PRIORITY + 4 * source, priority);
    enable(vcpu, source, true);
}

static void line(uint32_t source, bool level)
{
    plic_line_set(&plic, source, level);
}

static bool is_pending(uint32_t source)
{
    return (get(PENDING + 4 * (source / 32)) >> (source % 32) & 1) != 0;
}

static void test_raise_claim_complete(void **state)
{
    (void)state;
    listen(0, 10, 1);
    assert_false(output[0]);
    line(10, true);
    assert_true(output[0]);
    assert_false(output[1]);
    assert_true(is_pending(10));
    assert_int_equal(get(claim_at(0)), 10);
    assert_false(output[0]);
    assert_false(is_pending(10));
    assert_int_equal(get(claim_at(0)), 0);
    line(10, false);
    set(claim_at(0), 10);
    assert_false(output[0]);
    assert_int_equal(output_calls, 2);
}

static void test_gateway_keeps_and_closes(void **state)
{
    (void)state;
    listen(0, 95, 1);
    line(95, true);
    line(95, false);
    assert_true(is_pending(95)); /* a forwarded request isn't taken back */
    assert_int_equal(get(claim_at(0)), 95);
    line(95, true); /* nothing new until completion */
    line(95, false);
    line(95, true);
    assert_false(is_pending(95));
    set(claim_at(0), 95); /* still high: again */
    assert_true(is_pending(95));
    assert_true(output[0]);
}

static void test_idempotent_line(void **state)
{
    (void)state;
    listen(0, 3, 1);
    line(3, true);
    line(3, true);
    assert_int_equal(get(claim_at(0)), 3);
    line(3, true);
    assert_false(output[0]);
    assert_int_equal(output_calls, 2);
}

static void test_priorities_and_threshold(void **state)
{
    (void)state;
    listen(0, 40, 3);
    listen(0, 41, 5);
    listen(0, 7, 3);
    listen(0, 8, 0);
    line(8, true);
    assert_false(output[0]); /* priority 0: never */
    line(40, true);
    line(41, true);
    line(7, true);
    assert_int_equal(get(claim_at(0)), 41); /* the highest priority */
    assert_int_equal(get(claim_at(0)), 7);  /* then the lowest number */
    set(threshold_at(0), 3);
    assert_false(output[0]);
    set(threshold_at(0), 2);
    assert_true(output[0]);
    set(threshold_at(0), 7);
    assert_int_equal(get(claim_at(0)), 40); /* claims don't care for the threshold */
    assert_int_equal(get(claim_at(0)), 0);
    set(threshold_at(0), 0);
    set(PRIORITY + 4 * 8, 1);
    assert_true(output[0]);
}

static void test_values_are_masked(void **state)
{
    (void)state;
    set(PRIORITY + 4 * 5, 0xffffffff);
    assert_int_equal(get(PRIORITY + 4 * 5), 7);
    set(threshold_at(1), 0xfffffffe);
    assert_int_equal(get(threshold_at(1)), 6);
    set(PRIORITY, 7); /* source 0 isn't one */
    assert_int_equal(get(PRIORITY), 0);
    set(enable_at(0, 0), 0xffffffff);
    assert_int_equal(get(enable_at(0, 0)), 0xfffffffe);
    set(enable_at(0, 95), 0xffffffff);
    assert_int_equal(get(enable_at(0, 95)), 0xffffffff);
    set(PENDING, 0xffffffff);
    assert_int_equal(get(PENDING), 0);
    set(PRIORITY + 4 * 96, 7);
    assert_int_equal(get(PRIORITY + 4 * 96), 0);
    set(enable_at(0, 95) + 4, 0xffffffff);
    assert_int_equal(get(enable_at(0, 95) + 4), 0);
}

static void test_m_contexts_and_absent_vcpus(void **state)
{
    static const uint32_t absent[] = {0, 2, 4, 5, 62, 63, 64, 1023};

    (void)state;
    set(PRIORITY + 4, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(absent); i++) {
        set(ENABLE + 0x80 * absent[i], 0xffffffff);
        assert_int_equal(get(ENABLE + 0x80 * absent[i]), 0);
        set(CONTEXT + 0x1000 * absent[i], 3);
        assert_int_equal(get(CONTEXT + 0x1000 * absent[i]), 0);
    }
    line(1, true);
    for (size_t i = 0; i < ARRAY_LENGTH(absent); i++) {
        assert_int_equal(get(CONTEXT + 0x1000 * absent[i] + 4), 0);
        set(CONTEXT + 0x1000 * absent[i] + 4, 1);
    }
    assert_true(is_pending(1));
    assert_int_equal(output_calls, 0);
}

static void test_first_claim_wins(void **state)
{
    (void)state;
    listen(0, 10, 1);
    listen(1, 10, 1);
    line(10, true);
    assert_true(output[0] && output[1]);
    assert_int_equal(get(claim_at(1)), 10);
    assert_false(output[0] || output[1]);
    assert_int_equal(get(claim_at(0)), 0);
    set(claim_at(0), 10); /* another context that has it enabled may complete it */
    assert_true(output[0] && output[1]);
}

static void test_disabled_completion_is_ignored(void **state)
{
    (void)state;
    listen(0, 10, 1);
    listen(1, 11, 1);
    line(10, true);
    assert_int_equal(get(claim_at(0)), 10);
    enable(0, 10, false);
    set(claim_at(0), 10);
    set(claim_at(1), 10);
    enable(0, 10, true);
    assert_false(output[0]);
    set(claim_at(0), 10);
    assert_true(output[0]);
    enable(0, 10, false);
    assert_false(output[0]);
    assert_true(is_pending(10));
}

static void test_hostile_completions(void **state)
{
    static const uint32_t ids[] = {0, 5, 96, 97, 1023, 1024, 0x80000000, 0xffffffff};

    (void)state;
    for (uint32_t source = 0; source < SOURCES; source++) {
        listen(0, source, 1);
    }
    enable(0, 5, false);
    line(5, true);
    line(6, true);
    assert_int_equal(get(claim_at(0)), 6);
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        set(claim_at(0), ids[i]);
    }
    assert_false(output[0]);
    set(claim_at(0), 7); /* enabled, never claimed */
    assert_false(output[0]);
    set(claim_at(0), 6);
    assert_true(output[0]);
}

static void test_hostile_lines(void **state)
{
    static const uint32_t ids[] = {0, 96, 1024, 0xffffffff};

    (void)state;
    for (uint32_t source = 0; source < SOURCES; source++) {
        listen(0, source, 1);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        line(ids[i], true);
        for (uint32_t word = 0; word < PLIC_SOURCE_WORDS; word++) {
            assert_int_equal(get(PENDING + 4 * word), 0);
        }
    }
    assert_int_equal(output_calls, 0);
}

static void test_reset(void **state)
{
    struct device_bus bus = {.count = 0};

    (void)state;
    assert_int_equal(device_bus_add(&bus, &plic.device), DX_OK);
    listen(0, 10, 7);
    listen(1, 10, 7);
    listen(0, 11, 7);
    set(threshold_at(1), 2);
    line(10, true);
    line(11, true);
    assert_int_equal(get(claim_at(0)), 10);
    line(12, true);
    device_bus_reset(&bus);
    assert_false(output[0] || output[1]);
    assert_int_equal(get(PENDING), 0);
    assert_int_equal(get(PRIORITY + 40), 0);
    assert_int_equal(get(enable_at(0, 10)), 0);
    assert_int_equal(get(threshold_at(1)), 0);
    listen(0, 10, 1);
    assert_false(output[0]);
    line(10, true); /* the claim of the former life is forgotten */
    assert_true(output[0]);
}

static void test_most_vcpus(void **state)
{
    (void)state;
    make(PLIC_VCPUS_MAX);
    listen(PLIC_VCPUS_MAX - 1, 95, 1);
    line(95, true);
    assert_true(output[PLIC_VCPUS_MAX - 1]);
    assert_int_equal(output_calls, 1);
    assert_int_equal(get(claim_at(PLIC_VCPUS_MAX - 1)), 95);
    assert_true(PANICS(make(0)));
    assert_true(PANICS(make(PLIC_VCPUS_MAX + 1)));
}

/* Every word of the window, and accesses of other widths. */
static void test_whole_window(void **state)
{
    (void)state;
    make(PLIC_VCPUS_MAX);
    for (uint32_t offset = 0; offset + 4 <= PLIC_WINDOW_SIZE; offset += 4) {
        set(offset, 0xffffffff);
        (void)get(offset);
    }
    for (uint32_t offset = 0; offset + 8 <= 0x3000; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width != 4 || offset % 4 != 0) {
                device_write(&plic.device, (gpa_t){BASE + offset}, width, 0);
                assert_int_equal(device_read(&plic.device, (gpa_t){BASE + offset}, width), 0);
            }
        }
    }
    assert_int_equal(get(PRIORITY + 4), 7);
    assert_int_equal(get(enable_at(0, 32)), 0xffffffff);
    assert_int_equal(output_calls, 0);
}

/* --- as the specification reads --- */

static struct {
    bool line[SOURCES], pending[SOURCES], in_service[SOURCES];
    uint32_t priority[SOURCES];
    bool enabled[PLIC_VCPUS_MAX][SOURCES];
    uint32_t threshold[PLIC_VCPUS_MAX];
} spec;

static void spec_gateway(uint32_t source)
{
    spec.pending[source] = spec.pending[source] || (spec.line[source] && !spec.in_service[source]);
}

static uint32_t spec_best(uint32_t vcpu, uint32_t above)
{
    uint32_t best = 0;

    for (uint32_t source = 1; source < SOURCES; source++) {
        bool wanted = spec.pending[source] && spec.enabled[vcpu][source] && spec.priority[source] > above;

        if (wanted && (best == 0 || spec.priority[source] > spec.priority[best])) {
            best = source;
        }
    }
    return best;
}

static void random_step(uint64_t *random, uint32_t vcpus)
{
    uint64_t dice = test_random(random);
    uint32_t source = 1 + (uint32_t)(dice >> 8) % PLIC_SOURCE_MAX;
    uint32_t vcpu = (uint32_t)(dice >> 40) % vcpus;
    uint32_t value = (uint32_t)(dice >> 56) % 8;
    uint32_t claimed;

    switch (dice % 8) {
    case 0:
        spec.priority[source] = value;
        set(PRIORITY + 4 * source, value);
        break;
    case 1:
        spec.enabled[vcpu][source] = value != 0;
        enable(vcpu, source, value != 0);
        break;
    case 2:
        spec.threshold[vcpu] = value / 2;
        set(threshold_at(vcpu), value / 2);
        break;
    case 3:
    case 4:
        spec.line[source] = value % 2 == 0;
        spec_gateway(source);
        line(source, value % 2 == 0);
        break;
    case 5:
    case 6:
        claimed = spec_best(vcpu, 0);
        assert_int_equal(get(claim_at(vcpu)), claimed);
        spec.pending[claimed] = false;
        spec.in_service[claimed] = claimed != 0;
        break;
    default:
        if (spec.enabled[vcpu][source]) {
            spec.in_service[source] = false;
            spec_gateway(source);
        }
        set(claim_at(vcpu), source);
        break;
    }
}

static void test_random_against_specification(void **state)
{
    const uint32_t vcpus = 3;
    uint64_t random = SEED;

    (void)state;
    make(vcpus);
    memset(&spec, 0, sizeof(spec));
    for (unsigned step = 0; step < RANDOM_STEPS; step++) {
        random_step(&random, vcpus);
        for (uint32_t vcpu = 0; vcpu < vcpus; vcpu++) {
            if (output[vcpu] != (spec_best(vcpu, spec.threshold[vcpu]) != 0)) {
                fail_msg("step %u: output of vCPU %u is %d", step, vcpu, output[vcpu]);
            }
        }
        if (step % 64 == 0) {
            for (uint32_t source = 0; source < SOURCES; source++) {
                assert_int_equal(is_pending(source), spec.pending[source]);
            }
        }
    }
    assert_true(output_calls > 1000);
}

static void test_describe(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/plic@c000000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 2, .next_phandle = 10};
    static const uint32_t extended[] = {1, 0xffffffff, 1, 9, 2, 0xffffffff, 2, 9};
    static const uint32_t reg[] = {0, 0x0c000000, 0, 0x600000};

    (void)state;
    assert_int_equal(described(&plic.device, tree, sizeof(tree), &context), 0);
    assert_true(described_has_string(tree, path, "compatible", "sifive,plic-1.0.0"));
    assert_true(described_has_string(tree, path, "compatible", "riscv,plic0"));
    assert_int_equal(described_cell(tree, path, "riscv,ndev", 0), 95);
    assert_int_equal(described_cell(tree, path, "phandle", 0), 9);
    assert_int_equal(described_cell(tree, path, "#interrupt-cells", 0), 1);
    assert_int_equal(described_cell(tree, path, "#address-cells", 0), 0);
    assert_int_equal(described_length(tree, path, "interrupt-controller"), 0);
    assert_int_equal(described_length(tree, path, "interrupts-extended"), sizeof(extended));
    for (size_t i = 0; i < ARRAY_LENGTH(extended); i++) {
        assert_int_equal(described_cell(tree, path, "interrupts-extended", i), extended[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(reg); i++) {
        assert_int_equal(described_cell(tree, path, "reg", i), reg[i]);
    }
    assert_int_equal(fdt_node_offset_by_phandle(tree, 9), fdt_path_offset(tree, path));
    described_needs_room(&plic.device, &context);
}

static void test_describe_most_vcpus(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    struct tree_context context = {.plic_phandle = 100, .vcpu_phandle_base = 1, .vcpus = 32, .next_phandle = 101};

    (void)state;
    make(PLIC_VCPUS_MAX);
    assert_int_equal(described(&plic.device, tree, sizeof(tree), &context), 0);
    assert_int_equal(described_length(tree, "/soc/plic@c000000", "interrupts-extended"), 32 * 4 * 4);
    assert_int_equal(described_cell(tree, "/soc/plic@c000000", "interrupts-extended", 126), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_raise_claim_complete, setup),
        cmocka_unit_test_setup(test_gateway_keeps_and_closes, setup),
        cmocka_unit_test_setup(test_idempotent_line, setup),
        cmocka_unit_test_setup(test_priorities_and_threshold, setup),
        cmocka_unit_test_setup(test_values_are_masked, setup),
        cmocka_unit_test_setup(test_m_contexts_and_absent_vcpus, setup),
        cmocka_unit_test_setup(test_first_claim_wins, setup),
        cmocka_unit_test_setup(test_disabled_completion_is_ignored, setup),
        cmocka_unit_test_setup(test_hostile_completions, setup),
        cmocka_unit_test_setup(test_hostile_lines, setup),
        cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_most_vcpus, setup),
        cmocka_unit_test_setup(test_whole_window, setup),
        cmocka_unit_test_setup(test_random_against_specification, setup),
        cmocka_unit_test_setup(test_describe, setup),
        cmocka_unit_test_setup(test_describe_most_vcpus, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
