/* SPDX-License-Identifier: MIT
 *
 * PMP plans against what their rules mean, byte for byte around every edge; and how refusals are made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "isolation/pmp_plan.h"

enum { SPACE_BITS = sizeof(long) == 4 ? 34 : 56, RULES_MAX = 8, ROUNDS = 20000 };

#define SPACE_SIZE (UINT64_C(1) << SPACE_BITS)
#define SEED       UINT64_C(0x6469b05178000001) /* change it to look elsewhere; every failure names its round */

static const struct pmp_features full = {.entries = 16, .granule_log = 2};

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t random_below(uint64_t limit)
{
    return (random_next() >> 11) % limit;
}

/* --- the rules' own meaning --- */

static uint8_t rules_say(const struct pmp_rule *rules, size_t count, uint64_t address, uint64_t length)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t inside = 0;
        for (uint64_t byte = address; byte < address + length; byte++) {
            inside += byte >= rules[i].range.base && byte - rules[i].range.base < rules[i].range.size;
        }
        if (inside != 0) {
            return inside == length ? rules[i].rights : 0;
        }
    }
    return 0;
}

/* --- what a hart makes of the registers, byte by byte (privileged specification, 3.7.1) --- */

/* Bits of an address register that a hart with this granule does not have: it takes them for 0, or for 1 in NAPOT. */
static uint64_t register_value(const struct pmp_features *features, const struct pmp_image *image, uint32_t entry,
                               bool napot)
{
    const uint64_t value = image->address[entry] & ((UINT64_C(1) << (SPACE_BITS - 2)) - 1);
    const unsigned missing = features->granule_log - 2;
    const uint64_t zeros = (UINT64_C(1) << missing) - 1;
    return napot ? value | zeros >> 1 : value & ~zeros;
}

static bool entry_has_byte(const struct pmp_features *features, const struct pmp_image *image, uint32_t entry,
                           uint64_t byte)
{
    const uint64_t word = byte >> 2;
    uint64_t value;
    unsigned ones = 0;
    switch (image->config[entry] >> 3 & 3) {
    case 1:
        value = register_value(features, image, entry, false);
        return word < value && (entry == 0 || word >= register_value(features, image, entry - 1, false));
    case 2:
        assert_int_equal(features->granule_log, 2); /* harts with larger granules have no NA4 */
        return word == register_value(features, image, entry, false);
    case 3:
        value = register_value(features, image, entry, true);
        while ((value >> ones & 1) != 0) {
            ones++;
        }
        return word >> (ones + 1) == value >> (ones + 1) && byte >> SPACE_BITS == 0;
    default:
        return false;
    }
}

static uint8_t registers_say(const struct pmp_features *features, const struct pmp_image *image, uint64_t address,
                             uint64_t length)
{
    for (uint32_t entry = 0; entry < image->count; entry++) {
        uint64_t inside = 0;
        for (uint64_t byte = address; byte < address + length; byte++) {
            inside += entry_has_byte(features, image, entry, byte);
        }
        if (inside != 0) {
            return inside == length ? image->config[entry] & 7 : 0;
        }
    }
    return 0;
}

/* The fewest entries that express the rules in their order, or a number past all limits: tries both ways at each. */
static uint32_t fewest_entries(const struct pmp_features *features, const struct pmp_rule *rules, size_t count)
{
    const uint32_t never = 1000;
    uint32_t open = never; /* cheapest so far, ending in something else than TOR */
    uint32_t chain = 0;    /* cheapest so far, ending in TOR at end */
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const struct range r = rules[i].range;
        if (r.size == 0) {
            continue;
        }
        bool napot = false;
        for (unsigned log = 2; log <= 56; log++) {
            napot = napot || (r.size == UINT64_C(1) << log && r.base % r.size == 0);
        }
        const uint32_t any = MIN(open, chain);
        const bool tor = !features->napot_only && r.base + r.size < SPACE_SIZE;
        const uint32_t by_tor = tor ? MIN(any + 2, r.base == end ? chain + 1 : never) : never;
        open = napot ? any + 1 : never;
        chain = by_tor;
        end = r.base + r.size;
    }
    return MIN(open, chain);
}

/* One image, the rules that it was made from, and the hart that it was made for. */
struct plan {
    const struct pmp_features *features;
    const struct pmp_image *image;
    const struct pmp_rule *rules;
    size_t count;
    unsigned round;
};

static void check_access(const struct plan *plan, uint64_t address, uint64_t length)
{
    const uint8_t want = rules_say(plan->rules, plan->count, address, length);
    const uint8_t got = pmp_rights(plan->image, address, length);
    const uint8_t does = registers_say(plan->features, plan->image, address, length);
    if (got != want || does != want) {
        fail_msg("seed %llx round %u: %llu bytes at 0x%llx: the rules say %x, pmp_rights %x, a hart gives %x",
                 (unsigned long long)SEED, plan->round, (unsigned long long)length, (unsigned long long)address, want,
                 got, does);
    }
}

/* Every access of 1, 2, 4 and 8 bytes that touches an edge or comes near it. */
static void check_edge(const struct plan *plan, uint64_t edge)
{
    for (uint64_t address = edge < 9 ? 0 : edge - 9; address <= edge + 4; address++) {
        for (uint64_t length = 1; length <= 8; length *= 2) {
            check_access(plan, address, length);
        }
    }
}

static void check_plan(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct range range = plan->rules[i].range;
        check_edge(plan, range.base);
        check_edge(plan, range.base + range.size);
        check_access(plan, range.base + range.size / 2, 1);
    }
    check_edge(plan, 0);
    check_edge(plan, SPACE_SIZE);
    for (uint32_t i = plan->image->count; i < PMP_ENTRIES_MAX; i++) {
        assert_true(plan->image->config[i] == 0 && plan->image->address[i] == 0);
    }
}

/* --- random rule sets --- */

static struct pmp_rule random_rule(const struct pmp_features *features, const struct pmp_rule *before)
{
    static const uint8_t rights[] = {0, PMP_R, PMP_X, PMP_R | PMP_W, PMP_R | PMP_X, PMP_RWX};
    static const uint64_t areas[] = {0, 0x80000000, SPACE_SIZE - (UINT64_C(1) << 24)};
    const uint64_t granule = UINT64_C(1) << features->granule_log;
    struct range r = {
        .base = areas[random_below(ARRAY_LENGTH(areas))] + random_below(64) * granule,
        .size = random_below(24) * granule,
    };
    switch (random_below(6)) {
    case 0: /* a NAPOT range */
        r.size = granule << random_below(6);
        r.base &= ~(r.size - 1);
        break;
    case 1: /* on from the one before */
        r.base = before == NULL ? 0 : before->range.base + before->range.size;
        break;
    case 2: /* to the very top, where TOR cannot go */
        if (random_below(4) == 0) {
            r.base = SPACE_SIZE - r.size;
        }
        break;
    case 3: /* anywhere, of any size */
        r.base = random_below(SPACE_SIZE) >> random_below(SPACE_BITS - 1) & ~(granule - 1);
        r.size = random_below(SPACE_SIZE) >> random_below(SPACE_BITS - 1) & ~(granule - 1);
        break;
    case 4: /* a NAPOT range anywhere */
        r.size = granule << random_below(SPACE_BITS - features->granule_log + 1);
        r.base = random_below(SPACE_SIZE) & ~(r.size - 1);
        break;
    default:
        break;
    }
    if (r.base + r.size > SPACE_SIZE) {
        r.base = 0;
    }
    return (struct pmp_rule){.range = r, .rights = rights[random_below(ARRAY_LENGTH(rights))]};
}

static void random_round(unsigned round, unsigned *planned, unsigned *refused)
{
    static const uint32_t limits[] = {0, 1, 8, 16, 64};
    const struct pmp_features features = {
        .entries = PMP_ENTRIES_MAX,
        .granule_log = (uint32_t)(2 + random_below(15)),
        .napot_only = random_below(8) == 0,
    };
    struct pmp_rule rules[RULES_MAX];
    const size_t count = (size_t)random_below(RULES_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        rules[i] = random_rule(&features, i == 0 ? NULL : &rules[i - 1]);
    }
    const uint32_t limit = limits[random_below(ARRAY_LENGTH(limits))];
    const uint32_t fewest = fewest_entries(&features, rules, count);

    struct pmp_image image;
    struct refusal refusal;
    const enum dx_error error = pmp_plan(&features, rules, count, limit, &image, &refusal);
    if ((error == DX_OK) != (fewest <= limit) || (error != DX_OK && error != DX_NO_PMP) ||
        (error == DX_OK && image.count != fewest)) {
        fail_msg("seed %llx round %u: error %d, limit %u, fewest %u", (unsigned long long)SEED, round, (int)error,
                 (unsigned)limit, (unsigned)fewest);
    }
    if (error == DX_OK) {
        check_plan(&(struct plan){&features, &image, rules, count, round});
        *planned += 1;
    } else {
        *refused += 1;
    }
}

static void test_random_rules(void **state)
{
    (void)state;
    unsigned planned = 0;
    unsigned refused = 0;
    random_state = SEED;
    for (unsigned round = 0; round < ROUNDS; round++) {
        random_round(round, &planned, &refused);
    }
    assert_true(planned > ROUNDS / 4 && refused > ROUNDS / 8); /* both kinds are really tried */
}

/* --- single rules, to the bit --- */

static struct pmp_image plan_ok(const struct pmp_rule *rules, size_t count, uint32_t limit)
{
    struct pmp_image image;
    struct refusal refusal = {.error = DX_OK};
    const enum dx_error error = pmp_plan(&full, rules, count, limit, &image, &refusal);
    if (error != DX_OK) {
        fail_msg("refused: %s", refusal.text);
    }
    return image;
}

static void check_entry(const struct pmp_image *image, uint32_t entry, uint8_t config, unsigned long address)
{
    assert_int_equal(image->config[entry], config);
    assert_true(image->address[entry] == address);
}

static void test_encodings(void **state)
{
    (void)state;
    const struct pmp_rule rules[] = {
        {{0x1000, 4}, PMP_R},                 /* NA4 */
        {{0x2008, 8}, PMP_X},                 /* the smallest NAPOT */
        {{0x80000000, 0x08000000}, PMP_RWX},  /* NAPOT */
        {{0x80002000, 0x3000}, PMP_R | PMP_W} /* TOR with its base */
    };
    const struct pmp_image image = plan_ok(rules, ARRAY_LENGTH(rules), 16);
    assert_int_equal(image.count, 5);
    check_entry(&image, 0, PMP_NA4 | PMP_R, 0x400);
    check_entry(&image, 1, PMP_NAPOT | PMP_X, 0x802);
    check_entry(&image, 2, PMP_NAPOT | PMP_RWX, 0x20ffffff);
    check_entry(&image, 3, PMP_OFF, 0x20000800);
    check_entry(&image, 4, PMP_TOR | PMP_R | PMP_W, 0x20001400);
}

static void test_tor_chain(void **state)
{
    (void)state;
    const struct pmp_rule rules[] = {
        {{0, 0x3000}, PMP_R},        /* entry 0 starts at 0 by itself */
        {{0x3000, 0}, PMP_RWX},      /* takes nothing */
        {{0x3001, 0}, PMP_RWX},      /* nor does it have to be aligned */
        {{0x3000, 0x1000}, 0},       /* NAPOT too, but TOR keeps the chain */
        {{0x4000, 0x5000}, PMP_RWX}, /* goes on */
        {{0, 0x3000}, PMP_R},        /* no longer at entry 0: needs its base */
    };
    const struct pmp_image image = plan_ok(rules, ARRAY_LENGTH(rules), 5);
    assert_int_equal(image.count, 5);
    check_entry(&image, 0, PMP_TOR | PMP_R, 0xc00);
    check_entry(&image, 1, PMP_TOR, 0x1000);
    check_entry(&image, 2, PMP_TOR | PMP_RWX, 0x2400);
    check_entry(&image, 3, PMP_OFF, 0);
    check_entry(&image, 4, PMP_TOR | PMP_R, 0xc00);
}

static void test_whole_space(void **state)
{
    (void)state;
    const struct pmp_rule all = {{0, SPACE_SIZE}, PMP_RWX};
    const struct pmp_image image = plan_ok(&all, 1, 1);
    check_entry(&image, 0, PMP_NAPOT | PMP_RWX, (unsigned long)((SPACE_SIZE >> 3) - 1));
    assert_int_equal(pmp_rights(&image, 0, 8), PMP_RWX);
    assert_int_equal(pmp_rights(&image, SPACE_SIZE - 8, 8), PMP_RWX);
    assert_int_equal(pmp_rights(&image, SPACE_SIZE - 4, 8), 0);
}

static void test_no_rules(void **state)
{
    (void)state;
    const struct pmp_image image = plan_ok(NULL, 0, 0);
    assert_int_equal(image.count, 0);
    assert_int_equal(pmp_rights(&image, 0x80000000, 1), 0);
}

/* --- refusals --- */

static const struct {
    const char *what;
    struct pmp_features features;
    struct range range;
    uint8_t rights;
    uint32_t limit;
    enum dx_error want;
} refused_rows[] = {
    {"base off 4 bytes", {16, 2, false}, {0x1002, 0x1000}, PMP_R, 16, DX_UNALIGNED},
    {"size off 4 bytes", {16, 2, false}, {0x1000, 0x1001}, PMP_R, 16, DX_UNALIGNED},
    {"base off granule", {16, 12, false}, {0x80000800, 0x1000}, PMP_R, 16, DX_UNALIGNED},
    {"end off granule", {16, 12, false}, {0x80000000, 0x1800}, PMP_R, 16, DX_UNALIGNED},
    {"a huge granule", {16, 63, false}, {0x80000000, 0x1000}, PMP_R, 16, DX_UNALIGNED},
    {"wraps", {16, 2, false}, {UINT64_MAX - 3, 8}, PMP_R, 16, DX_BAD_VALUE},
    {"at the top of 64 bits", {16, 2, false}, {UINT64_MAX - 7, 8}, PMP_R, 16, DX_BAD_VALUE},
    {"past the space", {16, 2, false}, {SPACE_SIZE, 4}, PMP_R, 16, DX_BAD_VALUE},
    {"one byte past the space", {16, 2, false}, {SPACE_SIZE, 1}, PMP_R, 16, DX_BAD_VALUE},
    {"out of the space", {16, 2, false}, {SPACE_SIZE - 8, 12}, PMP_R, 16, DX_BAD_VALUE},
    {"write only", {16, 2, false}, {0x1000, 0x1000}, PMP_W, 16, DX_BAD_VALUE},
    {"write and execute", {16, 2, false}, {0x1000, 0x1000}, PMP_W | PMP_X, 16, DX_BAD_VALUE},
    {"locked", {16, 2, false}, {0x1000, 0x1000}, PMP_R | PMP_LOCKED, 16, DX_BAD_VALUE},
    {"a mode as rights", {16, 2, false}, {0x1000, 0x1000}, PMP_R | PMP_TOR, 16, DX_BAD_VALUE},
    {"no entries", {16, 2, false}, {0x1000, 0x1000}, PMP_R, 0, DX_NO_PMP},
    {"one entry for TOR", {16, 2, false}, {0x1000, 0x3000}, PMP_R, 1, DX_NO_PMP},
    {"TOR to the top", {16, 2, false}, {SPACE_SIZE - 0x3000, 0x3000}, PMP_R, 16, DX_NO_PMP},
    {"TOR on NAPOT only", {16, 2, true}, {0x1000, 0x3000}, PMP_R, 16, DX_NO_PMP},
    {"NAPOT size, TOR place", {16, 2, true}, {0x1000, 0x2000}, PMP_R, 16, DX_NO_PMP},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(refused_rows); i++) {
        const struct pmp_rule rules[] = {
            {{0, 0}, PMP_R},
            {refused_rows[i].range, refused_rows[i].rights},
        };
        struct pmp_image image;
        struct pmp_image before;
        memset(&image, 0xa5, sizeof(image));
        memset(&before, 0xa5, sizeof(before));
        struct refusal refusal = {.error = DX_OK};
        const enum dx_error error =
            pmp_plan(&refused_rows[i].features, rules, ARRAY_LENGTH(rules), refused_rows[i].limit, &image, &refusal);
        if (error != refused_rows[i].want || refusal.error != error || refusal.text[0] == '\0') {
            fail_msg("%s: error %d", refused_rows[i].what, (int)error);
        }
        assert_memory_equal(&image, &before, sizeof(image));
    }
}

/* A refusal after good rules leaves the image alone too. */
static void test_refused_late(void **state)
{
    (void)state;
    const struct pmp_rule rules[] = {{{0x1000, 0x1000}, PMP_R}, {{0x4000, 0x3000}, PMP_R}, {{0x9000, 0x1000}, PMP_R}};
    struct pmp_image image = {.count = 7};
    struct refusal refusal;
    assert_int_equal(pmp_plan(&full, rules, 3, 3, &image, &refusal), DX_NO_PMP);
    assert_int_equal(image.count, 7);
    assert_int_equal(pmp_plan(&full, rules, 3, 4, &image, &refusal), DX_OK);
    assert_int_equal(image.count, 4);
}

/* --- the matcher, on images that no plan makes --- */

static void test_matcher(void **state)
{
    (void)state;
    const struct pmp_image tor_after_off = {
        .count = 2, .config = {PMP_OFF | PMP_RWX, PMP_TOR | PMP_R}, .address = {0x400, 0x800}};
    assert_int_equal(pmp_rights(&tor_after_off, 0xfff, 1), 0);
    assert_int_equal(pmp_rights(&tor_after_off, 0x1000, 4), PMP_R);
    assert_int_equal(pmp_rights(&tor_after_off, 0x1ffc, 4), PMP_R);
    assert_int_equal(pmp_rights(&tor_after_off, 0x1ffd, 4), 0);
    assert_int_equal(pmp_rights(&tor_after_off, 0x2000, 1), 0);

    const struct pmp_image tor_backwards = {
        .count = 3, .config = {PMP_OFF, PMP_TOR | PMP_RWX, PMP_TOR | PMP_R}, .address = {0x800, 0x400, 0x400}};
    assert_int_equal(pmp_rights(&tor_backwards, 0x1000, 4), 0);
    assert_int_equal(pmp_rights(&tor_backwards, 0x1ffc, 4), 0);

    /* A TOR entry that ends where it starts matches nothing, not even an access across that place. */
    const struct pmp_image tor_at_0 = {.count = 1, .config = {PMP_TOR | PMP_RWX}, .address = {0}};
    assert_int_equal(pmp_rights(&tor_at_0, 0, 1), 0);
    const struct pmp_image tor_empty = {
        .count = 3, .config = {PMP_OFF, PMP_TOR, PMP_NAPOT | PMP_RWX}, .address = {0x400, 0x400, 0xfff}};
    assert_int_equal(pmp_rights(&tor_empty, 0xffc, 8), PMP_RWX);

    const struct pmp_image all_ones = {.count = 1, .config = {PMP_NAPOT | PMP_X}, .address = {~0UL}};
    assert_int_equal(pmp_rights(&all_ones, 0, 1), PMP_X);
    assert_int_equal(pmp_rights(&all_ones, SPACE_SIZE - 1, 1), PMP_X);

    /* Locked binds machine mode too; what others may do is the same. */
    const struct pmp_image locked = {.count = 1, .config = {PMP_LOCKED | PMP_NA4 | PMP_R}, .address = {0x400}};
    assert_int_equal(pmp_rights(&locked, 0x1000, 4), PMP_R);
    assert_int_equal(pmp_rights(&locked, 0x1000, 0), 0);
    assert_int_equal(pmp_rights(&locked, UINT64_MAX, 2), 0);
    assert_int_equal(pmp_rights(&locked, 0xffc, 8), 0);
    assert_int_equal(pmp_rights(&locked, 0xffe, 8), 0);
}

/* Registers at random, crowded together; every access to their edges. */
static void test_random_registers(void **state)
{
    (void)state;
    random_state = SEED;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct pmp_image image = {.count = (uint32_t)random_below(5)};
        for (uint32_t entry = 0; entry < image.count; entry++) {
            image.config[entry] = (uint8_t)random_below(256);
            image.address[entry] = (unsigned long)(random_below(64) == 0 ? random_next() : random_below(16));
        }
        for (unsigned i = 0; i < 16; i++) {
            const uint64_t address = random_below(80);
            const uint64_t length = UINT64_C(1) << random_below(4);
            const uint8_t want = registers_say(&full, &image, address, length);
            if (pmp_rights(&image, address, length) != want) {
                fail_msg("seed %llx round %u: %llu bytes at 0x%llx: a hart gives %x", (unsigned long long)SEED, round,
                         (unsigned long long)length, (unsigned long long)address, want);
            }
        }
    }
}

static void test_lowest_entry_decides(void **state)
{
    (void)state;
    const struct pmp_image image = {
        .count = 2, .config = {PMP_NA4, PMP_NAPOT | PMP_RWX}, .address = {0x401, (0x1000 >> 2) | 0x1ff}};
    assert_int_equal(pmp_rights(&image, 0x1000, 4), PMP_RWX);
    assert_int_equal(pmp_rights(&image, 0x1004, 4), 0);
    assert_int_equal(pmp_rights(&image, 0x1000, 8), 0);
    assert_int_equal(pmp_rights(&image, 0x1002, 4), 0);
    assert_int_equal(pmp_rights(&image, 0x1008, 8), PMP_RWX);
    assert_int_equal(pmp_rights(&image, 0x1ffc, 8), 0);
}

/* --- refuse() --- */

static void test_refuse(void **state)
{
    (void)state;
    struct refusal refusal = {.error = DX_OK};
    assert_int_equal(refuse(&refusal, DX_MISSING, "%s: no %s", "debian", "memory"), DX_MISSING);
    assert_int_equal(refusal.error, DX_MISSING);
    assert_string_equal(refusal.text, "debian: no memory");
}

static void test_refuse_cuts(void **state)
{
    (void)state;
    struct refusal refusal;
    memset(&refusal, 'x', sizeof(refusal));
    assert_int_equal(refuse(&refusal, DX_TOO_LARGE, "%0*d", 2 * REFUSAL_TEXT_MAX, 1), DX_TOO_LARGE);
    assert_int_equal(strlen(refusal.text), REFUSAL_TEXT_MAX - 1);
    /* A format inside an argument is text. */
    assert_int_equal(refuse(&refusal, DX_UNKNOWN, "%s", "%n%s"), DX_UNKNOWN);
    assert_string_equal(refusal.text, "%n%s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rules),     cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_tor_chain),        cmocka_unit_test(test_whole_space),
        cmocka_unit_test(test_no_rules),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refused_late),     cmocka_unit_test(test_matcher),
        cmocka_unit_test(test_random_registers), cmocka_unit_test(test_lowest_entry_decides),
        cmocka_unit_test(test_refuse),           cmocka_unit_test(test_refuse_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
