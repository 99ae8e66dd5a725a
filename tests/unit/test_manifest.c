/* SPDX-License-Identifier: MIT
 *
 * Unit tests of manifest/manifest.c and what it reads a capsule with: every property's good and bad values, what is
 * refused between capsules and at the root, and blobs that are hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libfdt.h>

#include "manifest/manifest.h"
#include "support.h"

enum { BLOB_MAX = 256 * KIB, STEPS_MAX = 2000 };

/* One property of one node; length 0 is a flag. */
struct property {
    const char *name;
    const void *bytes;
    int length;
};

#define TEXT(name, string)                                                                                             \
    {                                                                                                                  \
        name, string, (int)sizeof(string)                                                                              \
    }
#define CELLS(name, ...)                                                                                               \
    {                                                                                                                  \
        name, (const uint8_t[]){__VA_ARGS__}, (int)sizeof((const uint8_t[]){__VA_ARGS__})                              \
    }
#define FLAG(name)                                                                                                     \
    {                                                                                                                  \
        name, "", 0                                                                                                    \
    }
#define MEMORY_16M CELLS("memory", 0x01, 0, 0, 0)
#define KERNEL     CELLS("kernel", 0x13, 0, 0, 0, 0x6f, 0, 0, 0)

static uint64_t blob_words[BLOB_MAX / 8];
static uint8_t *const blob = (uint8_t *)blob_words;

static void must(int status)
{
    assert_int_equal(status, 0);
}

static void put(const struct property *properties, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        must(fdt_property(blob, properties[i].name, properties[i].bytes, properties[i].length));
    }
}

static void root_begin(void)
{
    must(fdt_create(blob, BLOB_MAX));
    must(fdt_finish_reservemap(blob));
    must(fdt_begin_node(blob, ""));
    must(fdt_property_string(blob, "compatible", "diosix,manifest"));
}

/* Three images: phandle 1 (data "zImage"), 2 (no data), and one without a phandle. */
static void images(void)
{
    must(fdt_begin_node(blob, "images"));
    must(fdt_begin_node(blob, "linux"));
    must(fdt_property(blob, "data", "zImage", 6));
    must(fdt_property_u32(blob, "phandle", 1));
    must(fdt_end_node(blob));
    must(fdt_begin_node(blob, "hollow"));
    must(fdt_property_u32(blob, "phandle", 2));
    must(fdt_end_node(blob));
    must(fdt_begin_node(blob, "unlabelled"));
    must(fdt_property(blob, "data", "secret", 6));
    must(fdt_end_node(blob));
    must(fdt_end_node(blob));
}

static void node(const char *name, const struct property *properties, size_t count)
{
    must(fdt_begin_node(blob, name));
    put(properties, count);
    must(fdt_end_node(blob));
}

static void finish(void)
{
    must(fdt_end_node(blob));
    must(fdt_finish(blob));
}

static void capsules_begin(void)
{
    must(fdt_begin_node(blob, "capsules"));
}

static void capsules_finish(void)
{
    must(fdt_end_node(blob));
    finish();
}

static void plain_capsule(const char *name)
{
    const struct property properties[] = {MEMORY_16M, KERNEL};
    node(name, properties, ARRAY_LENGTH(properties));
}

static void place(const char *name, uint64_t base, uint64_t size, const char *isolation)
{
    must(fdt_begin_node(blob, name));
    must(fdt_property_u64(blob, "memory", size));
    must(fdt_property_u64(blob, "memory-base", base));
    must(fdt_property(blob, "kernel", "\x13\0\0\0", 4));
    must(fdt_property(blob, "isolation", isolation, (int)strlen(isolation) + 1));
    must(fdt_end_node(blob));
}

/* What the walk gave, for looking at after it. */
struct walk {
    struct manifest manifest;
    int cursor;
    struct capsule_config config;
    struct refusal refusal;
    enum dx_error error;
};

static struct walk opened(void)
{
    struct walk walk = {.cursor = 0};
    assert_int_equal(manifest_open(&walk.manifest, blob, BLOB_MAX, &walk.refusal), DX_OK);
    return walk;
}

static bool step(struct walk *walk)
{
    return manifest_next(&walk->manifest, &walk->cursor, &walk->config, &walk->refusal, &walk->error);
}

static void expect_capsule(struct walk *walk, const char *name)
{
    assert_true(step(walk));
    if (walk->error != DX_OK) {
        print_message("%s\n", walk->refusal.text);
    }
    assert_int_equal(walk->error, DX_OK);
    assert_string_equal(walk->config.name, name);
}

static void expect_refusal(struct walk *walk, enum dx_error error, const char *text)
{
    assert_true(step(walk));
    assert_int_equal(walk->error, error);
    assert_int_equal(walk->refusal.error, error);
    if (strstr(walk->refusal.text, text) == NULL) {
        print_message("\"%s\" is not in \"%s\"\n", text, walk->refusal.text);
        fail();
    }
}

static void expect_end(struct walk *walk)
{
    assert_false(step(walk));
    assert_false(step(walk));
}

/* A manifest of capsule "debian" with these properties, and a sound capsule after it. */
static struct walk with_properties(const struct property *properties, size_t count)
{
    root_begin();
    images();
    capsules_begin();
    node("debian", properties, count);
    plain_capsule("other");
    capsules_finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_MISSING, "image hollow: has no data");
    return walk;
}

static void a_capsule_with_everything(void **state)
{
    (void)state;
    const struct property properties[] = {
        CELLS("vcpus", 0, 0, 0, 32),
        CELLS("memory", 0, 0, 0, 0, 0x10, 0, 0, 0),
        CELLS("memory-base", 0, 0, 0, 0, 0x80, 0, 0, 0),
        TEXT("isolation", "pmp"),
        CELLS("kernel-image", 0, 0, 0, 1),
        CELLS("kernel-offset", 0, 0x20, 0, 0),
        CELLS("initrd", 'r', 'a', 'm'),
        TEXT("bootargs", "console=ttyS0 quiet"),
        FLAG("manager"),
        FLAG("manual"),
        TEXT("restart", "on-failure"),
        CELLS("priority", 0, 0, 0, 15),
        CELLS("weight", 0, 0, 0x27, 0x10),
        CELLS("harts", 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
        CELLS("watchdog", 0, 0, 0x02, 0x58),
        CELLS("phandle", 0, 0, 0, 9),
        CELLS("linux,phandle", 0, 0, 0, 9),
    };
    struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
    expect_capsule(&walk, "debian");
    const struct capsule_config *config = &walk.config;
    assert_int_equal(config->vcpus, 32);
    assert_true(config->memory == 0x10000000 && config->has_memory_base && config->memory_base == 0x80000000);
    assert_int_equal(config->isolation, ISOLATION_PMP);
    assert_int_equal(config->kernel.length, 6);
    assert_memory_equal(config->kernel.bytes, "zImage", 6);
    assert_true(config->has_kernel_offset && config->kernel_offset == 0x200000);
    assert_int_equal(config->initrd.length, 3);
    assert_memory_equal(config->initrd.bytes, "ram", 3);
    assert_string_equal(config->bootargs, "console=ttyS0 quiet");
    assert_true(config->manager && config->manual && config->watchdog && !config->dedicated);
    assert_int_equal(config->restart, RESTART_ON_FAILURE);
    assert_int_equal(config->priority, 15);
    assert_int_equal(config->weight, 10000);
    assert_int_equal(config_hart_count(config), 2);
    assert_int_equal(config_hart(config, 0), 0xffffffff);
    assert_int_equal(config_hart(config, 1), 0);
    assert_int_equal(config->watchdog_seconds, 600);
    expect_capsule(&walk, "other");
    expect_end(&walk);
}

static void defaults(void **state)
{
    (void)state;
    const struct property properties[] = {KERNEL, MEMORY_16M};
    struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
    expect_capsule(&walk, "debian");
    const struct capsule_config *config = &walk.config;
    assert_int_equal(config->vcpus, 1);
    assert_true(config->memory == 16 * MIB);
    assert_false(config->has_memory_base || config->has_kernel_offset || config->manager || config->manual);
    assert_int_equal(config->isolation, ISOLATION_AUTO);
    assert_null(config->initrd.bytes);
    assert_string_equal(config->bootargs, "");
    assert_int_equal(config->kernel.length, 8);
    assert_int_equal(config->restart, RESTART_NEVER);
    assert_int_equal(config->priority, 0);
    assert_int_equal(config->weight, CAPSULE_WEIGHT_USUAL);
    assert_int_equal(config_hart_count(config), 0);
    assert_false(config->dedicated || config->watchdog);
    assert_int_equal(config->watchdog_seconds, 0);
}

static void wishes_of_isolation(void **state)
{
    (void)state;
    static const struct property wishes[] = {TEXT("isolation", "auto"), TEXT("isolation", "pmp"),
                                             TEXT("isolation", "hyp")};
    static const enum isolation_wish expected[] = {ISOLATION_AUTO, ISOLATION_PMP, ISOLATION_HYP};
    for (size_t i = 0; i < ARRAY_LENGTH(wishes); i++) {
        const struct property properties[] = {MEMORY_16M, KERNEL, wishes[i]};
        struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
        expect_capsule(&walk, "debian");
        assert_int_equal(walk.config.isolation, expected[i]);
    }
}

static void restart_policies(void **state)
{
    (void)state;
    static const struct property wishes[] = {TEXT("restart", "never"), TEXT("restart", "on-failure"),
                                             TEXT("restart", "always")};
    static const enum restart_policy expected[] = {RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS};
    for (size_t i = 0; i < ARRAY_LENGTH(wishes); i++) {
        const struct property properties[] = {MEMORY_16M, KERNEL, wishes[i]};
        struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
        expect_capsule(&walk, "debian");
        assert_int_equal(walk.config.restart, expected[i]);
    }
}

/* The least and the greatest value of each. */
static void shares_at_their_edges(void **state)
{
    (void)state;
    const struct property least[] = {MEMORY_16M, KERNEL, CELLS("priority", 0, 0, 0, 0), CELLS("weight", 0, 0, 0, 1),
                                     CELLS("watchdog", 0, 0, 0, 1)};
    struct walk walk = with_properties(least, ARRAY_LENGTH(least));
    expect_capsule(&walk, "debian");
    assert_int_equal(walk.config.priority, 0);
    assert_int_equal(walk.config.weight, 1);
    assert_true(walk.config.watchdog);
    assert_int_equal(walk.config.watchdog_seconds, 1);

    const struct property flag[] = {MEMORY_16M, KERNEL, FLAG("watchdog")};
    walk = with_properties(flag, ARRAY_LENGTH(flag));
    expect_capsule(&walk, "debian");
    assert_true(walk.config.watchdog);
    assert_int_equal(walk.config.watchdog_seconds, 0);
}

/* count harts, from 100 on. */
static struct property many_harts(uint8_t (*cells)[4 * (CAPSULE_HARTS_MAX + 1)], unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        memcpy(*cells + (size_t)4 * n, (const uint8_t[]){0, 0, 0, (uint8_t)(100 + n)}, 4);
    }
    return (struct property){"harts", cells, (int)(4 * count)};
}

static void sets_of_harts(void **state)
{
    (void)state;
    static uint8_t cells[4 * (CAPSULE_HARTS_MAX + 1)];
    const struct property most[] = {MEMORY_16M, KERNEL, many_harts(&cells, CAPSULE_HARTS_MAX)};
    struct walk walk = with_properties(most, ARRAY_LENGTH(most));
    expect_capsule(&walk, "debian");
    assert_int_equal(config_hart_count(&walk.config), CAPSULE_HARTS_MAX);
    assert_int_equal(config_hart(&walk.config, 63), 163);

    const struct property too_many[] = {MEMORY_16M, KERNEL, many_harts(&cells, CAPSULE_HARTS_MAX + 1)};
    walk = with_properties(too_many, ARRAY_LENGTH(too_many));
    expect_refusal(&walk, DX_TOO_MANY, "capsule debian: harts: must not be more than 64, are 65");

    cells[4 * 63 + 3] = 100; /* the last is the first once more */
    const struct property twins[] = {MEMORY_16M, KERNEL, {"harts", cells, 4 * CAPSULE_HARTS_MAX}};
    walk = with_properties(twins, ARRAY_LENGTH(twins));
    expect_refusal(&walk, DX_DUPLICATE, "capsule debian: harts: has 100 twice");
}

/* In whatever order the three stand. */
static void dedicated_harts(void **state)
{
    (void)state;
    const struct property vcpus = CELLS("vcpus", 0, 0, 0, 2), flag = FLAG("dedicated");
    const struct property one = CELLS("harts", 0, 0, 0, 1), three = CELLS("harts", 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3);
    const struct property enough[] = {flag, three, vcpus, MEMORY_16M, KERNEL};
    struct walk walk = with_properties(enough, ARRAY_LENGTH(enough));
    expect_capsule(&walk, "debian");
    assert_true(walk.config.dedicated);
    assert_int_equal(config_hart_count(&walk.config), 3);

    const struct property few[] = {MEMORY_16M, KERNEL, one, flag, vcpus};
    walk = with_properties(few, ARRAY_LENGTH(few));
    expect_refusal(&walk, DX_BAD_VALUE, "capsule debian: dedicated: needs as many harts as vcpus, has 1 for 2");
    const struct property none[] = {MEMORY_16M, KERNEL, flag};
    walk = with_properties(none, ARRAY_LENGTH(none));
    expect_refusal(&walk, DX_MISSING, "capsule debian: dedicated: harts must be given too");
    /* without the flag its vCPUs share what harts there are */
    const struct property shared[] = {MEMORY_16M, KERNEL, one, vcpus};
    walk = with_properties(shared, ARRAY_LENGTH(shared));
    expect_capsule(&walk, "debian");
}

/* Each row is one property too many or too odd beside a sound memory and kernel. */
static void one_wrong_property(void **state)
{
    (void)state;
    static char long_text[CAPSULE_BOOTARGS_MAX + 2];
    memset(long_text, 'a', sizeof(long_text) - 1);
    const struct {
        struct property property;
        enum dx_error error;
        const char *text;
    } rows[] = {
        {CELLS("vcpus", 0, 0, 0, 0), DX_BAD_VALUE, "capsule debian: vcpus: must be 1 to 32, is 0"},
        {CELLS("vcpus", 0, 0, 0, 33), DX_BAD_VALUE, "must be 1 to 32, is 33"},
        {CELLS("vcpus", 0, 0, 0, 0, 0, 0, 0, 1), DX_BAD_VALUE, "capsule debian: vcpus: must be one number"},
        {FLAG("vcpus"), DX_BAD_VALUE, "vcpus: must be one number"},
        {MEMORY_16M, DX_DUPLICATE, "capsule debian: memory: is given twice"},
        {CELLS("memory-base", 0x80, 0, 0, 1), DX_UNALIGNED, "capsule debian: memory-base: must be a multiple"},
        {CELLS("memory-base", 0x80, 0, 0), DX_BAD_VALUE, "memory-base: must be one number of 32 or 64 bits, has 3"},
        {CELLS("memory-base", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0), DX_BAD_VALUE, "memory-base: 0x"},
        {CELLS("memory-base", 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0), DX_BAD_VALUE, "end beyond"},
        {TEXT("isolation", "vm"), DX_BAD_VALUE, "capsule debian: isolation: must be \"auto\""},
        {CELLS("isolation", 'p', 'm', 'p'), DX_BAD_VALUE, "isolation: must be one string"},
        {FLAG("isolation"), DX_BAD_VALUE, "isolation: must be one string"},
        {TEXT("isolation", "pmp\0hyp"), DX_BAD_VALUE, "isolation: must be one string"},
        {KERNEL, DX_DUPLICATE, "kernel: is given twice"},
        {CELLS("kernel-image", 0, 0, 0, 1), DX_DUPLICATE, "capsule debian: kernel-image: given both"},
        {CELLS("kernel-image", 0, 0, 1), DX_BAD_VALUE, "kernel-image: must be one number"},
        {CELLS("initrd-image", 0, 0, 0, 7), DX_NOT_FOUND, "capsule debian: initrd-image: must refer to a node"},
        {CELLS("initrd-image", 0, 0, 0, 0), DX_NOT_FOUND, "initrd-image: must refer to a node"},
        {CELLS("initrd-image", 0, 0, 0, 2), DX_MISSING, "/images/hollow has no data"},
        {FLAG("initrd"), DX_BAD_VALUE, "capsule debian: initrd: is empty"},
        {CELLS("kernel-offset", 1, 2, 3, 4, 5), DX_BAD_VALUE, "kernel-offset: must be one number of 32 or 64"},
        {CELLS("bootargs", 'x'), DX_BAD_VALUE, "capsule debian: bootargs: must be one string"},
        {{"bootargs", long_text, sizeof(long_text)}, DX_BAD_VALUE, "bootargs: must not be longer than 2047"},
        {CELLS("manager", 0, 0, 0, 1), DX_BAD_VALUE, "capsule debian: manager: takes no value, has 4 bytes"},
        {TEXT("manages", "some"), DX_BAD_VALUE, "capsule debian: manages: must be \"all\" or \"created\""},
        {FLAG("manages"), DX_BAD_VALUE, "manages: must be one string"},
        {TEXT("manages", "all"), DX_MISSING, "capsule debian: manages: manager must be given too"},
        {CELLS("quota-memory", 0, 0, 0, 1), DX_BAD_VALUE, "quota-memory: must be a multiple of 4 KiB"},
        {TEXT("quota-memory", "much"), DX_BAD_VALUE, "quota-memory: must be"},
        {CELLS("quota-memory", 0, 0, 0x10, 0), DX_MISSING, "quota-memory, quota-vcpus: manager must be given too"},
        {CELLS("quota-vcpus", 0, 0, 0, 1), DX_MISSING, "quota-memory, quota-vcpus: manager must be given too"},
        {CELLS("quota-vcpus", 0, 1, 0, 0), DX_BAD_VALUE, "quota-vcpus: must be 0 to 65535"},
        {TEXT("manual", "yes"), DX_BAD_VALUE, "manual: takes no value"},
        {TEXT("restart", "sometimes"), DX_BAD_VALUE,
         "capsule debian: restart: must be \"never\", \"on-failure\" or \"always\""},
        {CELLS("restart", 1), DX_BAD_VALUE, "restart: must be one string"},
        {CELLS("priority", 0, 0, 0, 16), DX_BAD_VALUE, "capsule debian: priority: must be 0 to 15, is 16"},
        {CELLS("priority", 0xff, 0xff, 0xff, 0xff), DX_BAD_VALUE, "must be 0 to 15, is 4294967295"},
        {FLAG("priority"), DX_BAD_VALUE, "priority: must be one number"},
        {CELLS("weight", 0, 0, 0, 0), DX_BAD_VALUE, "capsule debian: weight: must be 1 to 10000, is 0"},
        {CELLS("weight", 0, 0, 0x27, 0x11), DX_BAD_VALUE, "weight: must be 1 to 10000, is 10001"},
        {TEXT("weight", "x"), DX_BAD_VALUE, "weight: must be one number"},
        {CELLS("harts", 0, 0, 1), DX_BAD_VALUE, "capsule debian: harts: must be numbers of 32 bits, has 3 bytes"},
        {CELLS("harts", 0, 0, 0, 1, 0), DX_BAD_VALUE, "harts: must be numbers of 32 bits, has 5 bytes"},
        {FLAG("harts"), DX_BAD_VALUE, "harts: must be numbers of 32 bits, has 0 bytes"},
        {CELLS("harts", 0, 0, 0, 1, 0, 0, 0, 1), DX_DUPLICATE, "capsule debian: harts: has 1 twice"},
        {CELLS("dedicated", 0, 0, 0, 1), DX_BAD_VALUE, "capsule debian: dedicated: takes no value"},
        {CELLS("watchdog", 0, 0, 0, 0), DX_BAD_VALUE, "capsule debian: watchdog: must be 1 to 600, is 0"},
        {CELLS("watchdog", 0, 0, 0x02, 0x59), DX_BAD_VALUE, "watchdog: must be 1 to 600, is 601"},
        {TEXT("watchdog", "60 s"), DX_BAD_VALUE, "watchdog: must be one number of 32 bits, has 5 bytes"},
        {CELLS("quota", 1), DX_NOT_SUPPORTED, "quota: is not supported yet"},
        {CELLS("rate", 1), DX_NOT_SUPPORTED, "rate: is not supported yet"},
        {FLAG("isolated"), DX_NOT_SUPPORTED, "isolated: is not supported yet"},
        {TEXT("after", "other"), DX_NOT_SUPPORTED, "after: is not supported yet"},
        {CELLS("vcpu", 0, 0, 0, 2), DX_UNKNOWN, "capsule debian: vcpu: there is no such property"},
        {FLAG("\033[2J%s%n\x7f\xff"), DX_UNKNOWN, "capsule debian: ?[2J%s%n??: there is no such property"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct property properties[] = {MEMORY_16M, KERNEL, rows[i].property};
        struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
        expect_refusal(&walk, rows[i].error, rows[i].text);
        assert_string_equal(walk.config.name, "debian");
        expect_capsule(&walk, "other");
        expect_end(&walk);
    }
}

static void memory_must_be_sound(void **state)
{
    (void)state;
    const struct {
        struct property property;
        enum dx_error error;
        const char *text;
    } rows[] = {
        {CELLS("memory", 0, 0, 0, 0), DX_BAD_VALUE, "capsule debian: memory: must not be 0"},
        {CELLS("memory", 0, 0, 0x10, 1), DX_UNALIGNED, "must be a multiple of 4 KiB, is 0x1001"},
        {CELLS("memory", 0x80, 0, 0, 0, 0, 0, 0, 0), DX_BAD_VALUE, "0x8000000000000000 is more than"},
        {CELLS("memory", 1, 0, 0, 0, 0, 0, 0x10, 0), DX_BAD_VALUE, "is more than"},
        {TEXT("memory", "16M!!"), DX_BAD_VALUE, "must be one number of 32 or 64 bits, has 6 bytes"},
        {FLAG("memory"), DX_BAD_VALUE, "has 0 bytes"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct property properties[] = {KERNEL, rows[i].property};
        struct walk walk = with_properties(properties, ARRAY_LENGTH(properties));
        expect_refusal(&walk, rows[i].error, rows[i].text);
        expect_capsule(&walk, "other");
    }
}

static void memory_and_kernel_are_required(void **state)
{
    (void)state;
    const struct property only_kernel[] = {KERNEL};
    struct walk walk = with_properties(only_kernel, 1);
    expect_refusal(&walk, DX_MISSING, "capsule debian: memory: must be given");
    const struct property only_memory[] = {MEMORY_16M};
    walk = with_properties(only_memory, 1);
    expect_refusal(&walk, DX_MISSING, "capsule debian: kernel: kernel or kernel-image must be given");
    const struct property empty_kernel[] = {MEMORY_16M, FLAG("kernel")};
    walk = with_properties(empty_kernel, 2);
    expect_refusal(&walk, DX_BAD_VALUE, "capsule debian: kernel: is empty");
    expect_capsule(&walk, "other");
}

static void no_images_at_all(void **state)
{
    (void)state;
    const struct property properties[] = {MEMORY_16M, CELLS("kernel-image", 0, 0, 0, 1)};
    root_begin();
    capsules_begin();
    node("debian", properties, ARRAY_LENGTH(properties));
    capsules_finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_NOT_FOUND, "capsule debian: kernel-image: must refer to a node in /images");
    expect_end(&walk);
}

static void a_phandle_outside_of_images(void **state)
{
    (void)state;
    const struct property first[] = {MEMORY_16M, KERNEL, CELLS("phandle", 0, 0, 0, 5)};
    const struct property second[] = {MEMORY_16M, CELLS("kernel-image", 0, 0, 0, 5)};
    root_begin();
    must(fdt_begin_node(blob, "images"));
    must(fdt_end_node(blob));
    capsules_begin();
    node("a", first, ARRAY_LENGTH(first));
    node("b", second, ARRAY_LENGTH(second));
    capsules_finish();
    struct walk walk = opened();
    expect_capsule(&walk, "a");
    expect_refusal(&walk, DX_NOT_FOUND, "capsule b: kernel-image");
    expect_end(&walk);
}

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "0-9", "-", "abcdefghijklmnopqrstuvwxyz-0123"};
    static const char *const bad[] = {"", "Debian", "a_b", "a.b", "deb@1", "a b", "abcdefghijklmnopqrstuvwxyz-01234"};
    root_begin();
    capsules_begin();
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        plain_capsule(good[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        plain_capsule(bad[i]);
    }
    plain_capsule("\033]0;x\x07");
    capsules_finish();
    struct walk walk = opened();
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        expect_capsule(&walk, good[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        expect_refusal(&walk, DX_BAD_VALUE, "a name is 1 to 31 of a-z, 0-9 and -");
    }
    expect_refusal(&walk, DX_BAD_VALUE, "capsule ?]0;x?: a name is");
    assert_string_equal(walk.config.name, "?]0;x?");
    expect_end(&walk);
}

static void the_second_of_a_name_is_refused(void **state)
{
    (void)state;
    root_begin();
    capsules_begin();
    plain_capsule("a");
    plain_capsule("b");
    plain_capsule("a");
    plain_capsule("c");
    capsules_finish();
    struct walk walk = opened();
    expect_capsule(&walk, "a");
    expect_capsule(&walk, "b");
    expect_refusal(&walk, DX_DUPLICATE, "capsule a: another capsule before it has this name");
    expect_capsule(&walk, "c");
    expect_end(&walk);
}

static void places_must_not_overlap(void **state)
{
    (void)state;
    root_begin();
    capsules_begin();
    place("first", 0x80000000, 0x1000000, "auto");
    place("inside", 0x80fff000, 0x1000, "auto");
    place("after", 0x81000000, 0x1000, "pmp");
    place("around", 0x7ffff000, 0x2000000, "pmp");
    place("below", 0x7ffff000, 0x1000, "auto");
    place("virtual", 0x80000000, 0x1000000, "hyp");
    place("virtual-too", 0x80000000, 0x1000000, "hyp");
    plain_capsule("anywhere");
    place("broken", 0x90000000, 0x1001, "pmp");
    place("fine", 0x90000000, 0x2000, "pmp");
    capsules_finish();
    struct walk walk = opened();
    walk.manifest.places_are_physical = true;
    expect_capsule(&walk, "first");
    expect_refusal(&walk, DX_OVERLAP,
                   "capsule inside: memory-base: 0x80fff000-0x80ffffff overlaps first's 0x80000000-0x80ffffff");
    expect_capsule(&walk, "after");
    expect_refusal(&walk, DX_OVERLAP, "capsule around: memory-base");
    expect_refusal(&walk, DX_OVERLAP, "capsule below: memory-base: 0x7ffff000-0x7fffffff overlaps around's");
    expect_capsule(&walk, "virtual");
    expect_capsule(&walk, "virtual-too");
    expect_capsule(&walk, "anywhere");
    expect_refusal(&walk, DX_UNALIGNED, "capsule broken: memory");
    expect_capsule(&walk, "fine");
    expect_end(&walk);
}

/* Where hyp is what "auto" becomes, memory-base is the guest's own affair, unless the capsule asks for pmp. */
static void places_of_the_guest_may_overlap(void **state)
{
    (void)state;
    root_begin();
    capsules_begin();
    place("first", 0x80000000, 0x1000000, "auto");
    place("second", 0x80000000, 0x1000000, "auto");
    place("physical", 0x80000000, 0x1000000, "pmp");
    place("third", 0x80fff000, 0x1000, "auto");
    place("inside", 0x80fff000, 0x1000, "pmp");
    place("virtual", 0x80000000, 0x1000000, "hyp");
    capsules_finish();
    static const char *const physical[] = {"first", NULL, NULL, NULL, NULL, "virtual"};
    static const char *const virtual[] = {"first", "second", "physical", "third", NULL, "virtual"};
    for (unsigned n = 0; n < 2; n++) {
        const char *const *names = n == 0 ? virtual : physical;
        struct walk walk = opened();
        assert_false(walk.manifest.places_are_physical); /* unless the opener says so */
        walk.manifest.places_are_physical = n == 1;
        for (size_t i = 0; i < ARRAY_LENGTH(physical); i++) {
            if (names[i] != NULL) {
                expect_capsule(&walk, names[i]);
            } else {
                expect_refusal(&walk, DX_OVERLAP, n == 0 ? "overlaps physical's 0x80000000" : "overlaps first's");
            }
        }
        expect_end(&walk);
    }
}

/* A manifest of capsule "debian" with this device beside a good one, and a sound capsule after it. */
static struct walk with_device(const char *name, const struct property *properties, size_t count)
{
    const struct property own[] = {MEMORY_16M, KERNEL};
    const struct property rng[] = {TEXT("type", "rng")};
    root_begin();
    images();
    capsules_begin();
    must(fdt_begin_node(blob, "debian"));
    put(own, ARRAY_LENGTH(own));
    node("first", rng, 1);
    node(name, properties, count);
    must(fdt_end_node(blob));
    plain_capsule("other");
    capsules_finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_MISSING, "image hollow: has no data");
    return walk;
}

static uint8_t sectors[3 * DISK_SECTOR];

static void devices(void **state)
{
    (void)state;
    const struct property disk[] = {
        TEXT("type", "disk"), {"data", sectors, sizeof(sectors)}, FLAG("read-only"), CELLS("phandle", 0, 0, 0, 9)};
    for (unsigned read_only = 0; read_only < 2; read_only++) {
        struct walk walk = with_device("disk-0", disk, 2 + 2 * read_only);
        expect_capsule(&walk, "debian");
        assert_int_equal(walk.config.device_count, 2);
        const struct device_config *devices = walk.config.devices;
        assert_string_equal(devices[0].name, "first");
        assert_int_equal(devices[0].type, DEVICE_RNG);
        assert_null(devices[0].data.bytes);
        assert_string_equal(devices[1].name, "disk-0");
        assert_int_equal(devices[1].type, DEVICE_DISK);
        assert_int_equal(devices[1].read_only, read_only);
        assert_int_equal(devices[1].data.length, sizeof(sectors));
        assert_memory_equal(devices[1].data.bytes, sectors, sizeof(sectors));
        expect_capsule(&walk, "other");
        assert_int_equal(walk.config.device_count, 0);
    }
}

static void bad_devices(void **state)
{
    (void)state;
#define NET  TEXT("type", "net")
#define LAN  TEXT("network", "lan")
#define DISK TEXT("type", "disk")
#define DATA                                                                                                           \
    {                                                                                                                  \
        "data", sectors, sizeof(sectors)                                                                               \
    }
    const struct {
        const char *name;
        struct property properties[3];
        enum dx_error error;
        const char *text;
    } rows[] = {
        {"dev0", {NET}, DX_MISSING, "debian: dev0: network: must be the name of one in /networks"},
        {"dev0", {NET, FLAG("network")}, DX_BAD_VALUE, "dev0: network: must be one string"},
        {"dev0", {NET, LAN, FLAG("mac-address")}, DX_BAD_VALUE, "dev0: mac-address: must be 6 bytes"},
        {"dev0", {NET, LAN, {"mac-address", (const uint8_t *)"\1zzzzz", 6}}, DX_BAD_VALUE, "must not be a group's"},
        {"dev0",
         {NET, LAN, {"mac-address", (const uint8_t *)"\0\0\0\0\0", 6}},
         DX_BAD_VALUE,
         "or zero; begin it with 02"},
        {"dev0", {NET, LAN, CELLS("isolated", 0, 0, 0, 1)}, DX_BAD_VALUE, "dev0: isolated: takes no value"},
        {"dev0", {NET, LAN, FLAG("rate")}, DX_BAD_VALUE, "dev0: rate: must be /bits/ 64 <BYTES OPERATIONS>"},
        {"dev0", {TEXT("type", "rng"), FLAG("rate")}, DX_NOT_SUPPORTED, "dev0: rate: is not supported yet"},
        {"dev0", {NET, LAN, FLAG("read-only")}, DX_UNKNOWN, "dev0: read-only: there is no such property"},
        {"dev0", {TEXT("type", "console"), DATA}, DX_UNKNOWN, "debian: dev0: data: there is no such property"},
        {"dev0", {TEXT("type", "console"), FLAG("rate")}, DX_UNKNOWN, "debian: dev0: rate: there is no such property"},
        {"dev0", {TEXT("type", "dis")}, DX_UNKNOWN, "debian: dev0: not a device of a known type"},
        {"dev0", {CELLS("type", 'd', 'i', 's', 'k')}, DX_UNKNOWN, "debian: dev0: not a device of a known type"},
        {"dev0", {DATA}, DX_UNKNOWN, "debian: dev0: not a device of a known type"},
        {"dev0", {DISK}, DX_MISSING, "debian: dev0: data: source, data or data-image must be given"},
        {"dev0", {DISK, {"data", sectors, 511}}, DX_UNALIGNED, "dev0: data: must be a multiple of 512 bytes, has 511"},
        {"dev0", {DISK, {"data", sectors, 513}}, DX_UNALIGNED, "dev0: data: must be a multiple of 512 bytes, has 513"},
        {"dev0", {DISK, FLAG("data")}, DX_BAD_VALUE, "debian: dev0: data: is empty"},
        {"dev0", {DISK, CELLS("data-image", 0, 0, 0, 1)}, DX_UNALIGNED, "dev0: data: must be a multiple of 512"},
        {"dev0", {DISK, CELLS("data-image", 0, 0, 0, 7)}, DX_NOT_FOUND, "dev0: data-image: must refer to a node"},
        {"dev0", {DISK, DATA, CELLS("data-image", 0, 0, 0, 1)}, DX_DUPLICATE, "dev0: data-image: given both"},
        {"dev0", {DISK, DATA, DATA}, DX_DUPLICATE, "debian: dev0: data: is given twice"},
        {"dev0", {DISK, DATA, TEXT("read-only", "no")}, DX_BAD_VALUE, "debian: dev0: read-only: takes no value"},
        {"dev0",
         {DISK, DATA, TEXT("source", "serial:x")},
         DX_DUPLICATE,
         "dev0: source: a disk has either a source or data"},
        {"dev0", {DISK, TEXT("source", "x")}, DX_BAD_VALUE, "dev0: source: must be \"serial:NAME\", \"path:/NODE\" or"},
        {"dev0",
         {NET, LAN, FLAG("for-capsules")},
         DX_BAD_VALUE,
         "dev0: for-capsules: networks and disks of the machine can be for a manager's capsules"},
        {"dev0",
         {DISK, TEXT("source", "serial:x"), FLAG("for-capsules")},
         DX_BAD_VALUE,
         "dev0: for-capsules: networks and"},
        {"dev0", {TEXT("type", "rng"), FLAG("for-capsules")}, DX_UNKNOWN, "for-capsules: there is no such property"},
        {"dev0", {DISK, FLAG("source")}, DX_BAD_VALUE, "dev0: source: must be one string"},
        {"dev0", {DISK, DATA, FLAG("sectors")}, DX_BAD_VALUE, "dev0: sectors: must be one number of 32 or 64 bits"},
        {"dev0", {DISK, DATA, CELLS("sectors", 0, 0, 0, 8)}, DX_BAD_VALUE, "dev0: data: a RAM disk has no sectors"},
        {"dev0",
         {DISK, DATA, CELLS("first-sector", 0, 0, 0, 8)},
         DX_BAD_VALUE,
         "dev0: data: a RAM disk has no sectors"},
        {"dev0", {DISK, DATA, TEXT("partition", "a")}, DX_BAD_VALUE, "dev0: data: a RAM disk has no sectors"},
        {"dev0", {DISK, FLAG("partition")}, DX_BAD_VALUE, "dev0: partition: must be one string"},
        {"dev0", {DISK, DATA, FLAG("rate")}, DX_BAD_VALUE, "dev0: rate: must be /bits/ 64 <BYTES OPERATIONS>"},
        {"dev0", {DISK, DATA, {"rate", sectors, 8}}, DX_BAD_VALUE, "a second, has 8 bytes"},
        {"dev0",
         {DISK, DATA, {"rate", (const uint8_t *)"0123456789abcdef", 16}},
         DX_BAD_VALUE,
         "dev0: rate: a RAM disk"},
        {"dev0", {DISK, DATA, FLAG("readonly")}, DX_UNKNOWN, "debian: dev0: readonly: there is no such property"},
        {"dev0", {TEXT("type", "rng"), DATA}, DX_UNKNOWN, "debian: dev0: data: there is no such property"},
        {"dev0", {TEXT("type", "rng"), FLAG("read-only")}, DX_UNKNOWN, "dev0: read-only: there is no such property"},
        {"first", {DISK, DATA}, DX_DUPLICATE, "debian: first: two devices have this name"},
        {"Disk", {DISK, DATA}, DX_BAD_VALUE, "debian: Disk: a name is 1 to 31 of a-z, 0-9 and -"},
        {"disk0123456789012345678901234567", {DISK, DATA}, DX_BAD_VALUE, "a name is 1 to 31 of"},
    };
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        size_t count = 0;
        while (count < 3 && rows[n].properties[count].name != NULL) {
            count++;
        }
        struct walk walk = with_device(rows[n].name, rows[n].properties, count);
        expect_refusal(&walk, rows[n].error, rows[n].text);
        expect_capsule(&walk, "other");
        expect_end(&walk);
    }
}

static void many_devices(void **state)
{
    (void)state;
    const struct property rng[] = {TEXT("type", "rng")};
    const struct property own[] = {MEMORY_16M, KERNEL};
    for (unsigned count = CAPSULE_DEVICES_MAX; count <= CAPSULE_DEVICES_MAX + 1; count++) {
        root_begin();
        capsules_begin();
        must(fdt_begin_node(blob, "debian"));
        put(own, ARRAY_LENGTH(own));
        for (unsigned n = 0; n < count; n++) {
            node((const char[]){'d', (char)('0' + n), 0}, rng, 1);
        }
        must(fdt_end_node(blob));
        capsules_finish();
        struct walk walk = opened();
        if (count == CAPSULE_DEVICES_MAX) {
            expect_capsule(&walk, "debian");
            assert_int_equal(walk.config.device_count, CAPSULE_DEVICES_MAX);
        } else {
            expect_refusal(&walk, DX_TOO_MANY, "debian: d8: it may have no more than 8 devices");
        }
    }
}

/* With so many devices, of which the last may be its console, is a manager; what is read of it. */
static struct walk with_manager(unsigned devices, bool console, const char *manages)
{
    const struct property own[] = {MEMORY_16M, KERNEL, FLAG("manager"), {"manages", manages, (int)strlen(manages) + 1}};
    root_begin();
    capsules_begin();
    must(fdt_begin_node(blob, "debian"));
    put(own, ARRAY_LENGTH(own) - (manages[0] == '\0' ? 1 : 0));
    for (unsigned n = 0; n < devices; n++) {
        const char *word = console && n + 1 == devices ? "console" : "rng";
        const struct property type[] = {{"type", word, (int)strlen(word) + 1}};
        const char name[] = {'d', (char)('0' + n), '\0'};
        node(name, type, 1);
    }
    must(fdt_end_node(blob));
    capsules_finish();
    return opened();
}

/* For its control ports a manager gets a device, if it has no console, whose ports they are then. */
static void managers_have_control_ports(void **state)
{
    (void)state;
    struct walk walk = with_manager(2, false, "");
    expect_capsule(&walk, "debian");
    assert_int_equal(walk.config.device_count, 3);
    assert_int_equal(walk.config.devices[2].type, DEVICE_CONTROL);
    assert_true(walk.config.manager && !walk.config.manages_all);
    walk = with_manager(2, true, "all");
    expect_capsule(&walk, "debian");
    assert_int_equal(walk.config.device_count, 2);
    assert_true(walk.config.manages_all);
    walk = with_manager(CAPSULE_DEVICES_MAX, true, "created");
    expect_capsule(&walk, "debian");
    assert_int_equal(walk.config.device_count, CAPSULE_DEVICES_MAX);
    assert_false(walk.config.manages_all);
    walk = with_manager(CAPSULE_DEVICES_MAX, false, "");
    expect_refusal(&walk, DX_TOO_MANY, "capsule debian: manager: needs a device for its control ports");
}

/* A manager with a network for its capsules; more: what else is said there. */
static struct walk with_grant(const struct property *more)
{
    const struct property own[] = {MEMORY_16M, KERNEL, FLAG("manager")};
    const struct property grant[] = {TEXT("type", "net"), TEXT("network", "lan"), FLAG("for-capsules"),
                                     more == NULL ? own[0] : *more};
    root_begin();
    capsules_begin();
    must(fdt_begin_node(blob, "debian"));
    put(own, ARRAY_LENGTH(own));
    node("lan", grant, ARRAY_LENGTH(grant) - (more == NULL ? 1 : 0));
    must(fdt_end_node(blob));
    capsules_finish();
    return opened();
}

/* What would have no effect there is refused: nobody shall believe that his capsules' ports are isolated. */
static void managers_have_grants(void **state)
{
    static const struct property wrong[] = {FLAG("isolated"),
                                            {"mac-address", (const uint8_t *)"\2\0\0\0\0\1", 6},
                                            {"rate", (const uint8_t *)"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16}};
    (void)state;
    struct walk walk = with_grant(NULL);
    expect_capsule(&walk, "debian");
    assert_true(walk.config.devices[0].for_capsules);
    assert_string_equal(walk.config.devices[0].network, "lan");
    for (unsigned n = 0; n < ARRAY_LENGTH(wrong); n++) {
        walk = with_grant(&wrong[n]);
        expect_refusal(&walk, DX_BAD_VALUE, "lan: for-capsules: a mac-address, isolated or rate is said where");
    }
}

static void devices_have_no_nodes_inside(void **state)
{
    (void)state;
    const struct property rng[] = {TEXT("type", "rng")};
    const struct property own[] = {MEMORY_16M, KERNEL};
    root_begin();
    capsules_begin();
    must(fdt_begin_node(blob, "debian"));
    put(own, ARRAY_LENGTH(own));
    must(fdt_begin_node(blob, "dev0"));
    put(rng, 1);
    node("inner", NULL, 0);
    must(fdt_end_node(blob));
    must(fdt_end_node(blob));
    capsules_finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_UNKNOWN, "debian: dev0: must not have nodes inside");
}

static void the_root_is_checked_too(void **state)
{
    (void)state;
    const struct property stray[] = {CELLS("vcpus", 0, 0, 0, 1)};
    const struct property image_stray[] = {TEXT("data", "x"), TEXT("type", "kernel")};
    const struct property image[] = {TEXT("data", "x")};
    root_begin();
    must(fdt_property_string(blob, "model", "two capsules"));
    must(fdt_property_u32(blob, "#address-cells", 1));
    put(stray, 1);
    node("network", NULL, 0);
    must(fdt_begin_node(blob, "capsules"));
    put(stray, 1);
    plain_capsule("a");
    must(fdt_end_node(blob));
    node("networks", NULL, 0);
    must(fdt_begin_node(blob, "images"));
    node("odd", image_stray, 2);
    must(fdt_end_node(blob));
    node("images", stray, 1);
    must(fdt_begin_node(blob, "capsules"));
    plain_capsule("unseen");
    must(fdt_end_node(blob));
    node("__symbols__", stray, 1);
    finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_UNKNOWN, "manifest: vcpus: there is no such property in the root");
    assert_string_equal(walk.config.name, "");
    expect_refusal(&walk, DX_UNKNOWN, "manifest: /network: there is no such node");
    expect_refusal(&walk, DX_UNKNOWN, "manifest: vcpus: there is no such property in capsules");
    expect_capsule(&walk, "a");
    expect_refusal(&walk, DX_UNKNOWN, "manifest: type: there is no such property in odd");
    expect_refusal(&walk, DX_DUPLICATE, "manifest: /images is there twice");
    expect_refusal(&walk, DX_DUPLICATE, "manifest: /capsules is there twice");
    expect_end(&walk);

    root_begin();
    must(fdt_begin_node(blob, "images"));
    must(fdt_begin_node(blob, "deep"));
    put(image, 1);
    node("inner", image, 1);
    must(fdt_end_node(blob));
    must(fdt_end_node(blob));
    node("capsules", NULL, 0);
    finish();
    walk = opened();
    expect_refusal(&walk, DX_UNKNOWN, "manifest: image deep: must not have nodes inside");
    expect_end(&walk);
}

static void reads_networks(void **state)
{
    const struct {
        const char *name;
        struct property property;
        enum dx_error error;
        uint32_t mtu;
    } rows[] = {
        {"lan", {NULL, NULL, 0}, DX_OK, 1500},
        {"wide", CELLS("mtu", 0, 0, 0x23, 0x28), DX_OK, 9000},
        {"least", CELLS("mtu", 0, 0, 0, 68), DX_OK, 68},
        {"wider", CELLS("mtu", 0, 0, 0x23, 0x29), DX_BAD_VALUE, 0},
        {"less", CELLS("mtu", 0, 0, 0, 67), DX_BAD_VALUE, 0},
        {"flag", FLAG("mtu"), DX_BAD_VALUE, 0},
        {"up", TEXT("uplink", "path:/x"), DX_OK, 1500},
        {"down", TEXT("uplink", "serial:x"), DX_BAD_VALUE, 0},
        {"flat", FLAG("uplink"), DX_BAD_VALUE, 0},
        {"odd", FLAG("colour"), DX_UNKNOWN, 0},
        {"Bad_Name", {NULL, NULL, 0}, DX_BAD_VALUE, 0},
    };
    int cursor = 0;
    struct network_config config;
    struct refusal refusal;
    enum dx_error error;
    (void)state;
    root_begin();
    must(fdt_begin_node(blob, "networks"));
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        node(rows[n].name, &rows[n].property, rows[n].property.name == NULL ? 0 : 1);
    }
    must(fdt_end_node(blob));
    node("capsules", NULL, 0);
    finish();
    struct walk walk = opened();
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_true(manifest_next_network(&walk.manifest, &cursor, &config, &refusal, &error));
        assert_string_equal(config.name, rows[n].name);
        assert_int_equal(error, rows[n].error);
        if (error == DX_OK) {
            assert_int_equal(config.mtu, rows[n].mtu);
        }
    }
    assert_false(manifest_next_network(&walk.manifest, &cursor, &config, &refusal, &error));
    expect_end(&walk);
}

static void images_must_not_have_properties(void **state)
{
    (void)state;
    const struct property stray[] = {CELLS("vcpus", 0, 0, 0, 1)};
    root_begin();
    node("images", stray, 1);
    node("capsules", NULL, 0);
    finish();
    struct walk walk = opened();
    expect_refusal(&walk, DX_UNKNOWN, "manifest: vcpus: there is no such property in images");
    expect_end(&walk);
}

static void too_many_capsules(void **state)
{
    (void)state;
    root_begin();
    capsules_begin();
    for (int i = 0; i < CAPSULES_MAX + 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "c%d", i);
        plain_capsule(name);
    }
    must(fdt_end_node(blob));
    node("networks", NULL, 0);
    finish();
    struct walk walk = opened();
    for (int i = 0; i < CAPSULES_MAX; i++) {
        assert_true(step(&walk));
        assert_int_equal(walk.error, DX_OK);
    }
    expect_refusal(&walk, DX_TOO_MANY, "capsule c256: it and all after it are beyond the limit of 256");
    expect_end(&walk);
}

/* --- blobs that are not manifests ------------------------------------------------------------------------------- */

static void good_blob(void)
{
    root_begin();
    images();
    capsules_begin();
    const struct property properties[] = {MEMORY_16M,
                                          CELLS("kernel-image", 0, 0, 0, 1),
                                          CELLS("memory-base", 0x80, 0, 0, 0),
                                          TEXT("bootargs", "quiet"),
                                          TEXT("isolation", "pmp"),
                                          CELLS("harts", 0, 0, 0, 2, 0, 0, 0, 1),
                                          CELLS("weight", 0, 0, 0, 9),
                                          CELLS("watchdog", 0, 0, 0, 30),
                                          FLAG("dedicated"),
                                          FLAG("manager")};
    node("one", properties, ARRAY_LENGTH(properties));
    place("two", 0x82000000, 0x1000, "auto");
    plain_capsule("three");
    capsules_finish();
}

static void expect_not_a_manifest(const void *bytes, size_t limit, enum dx_error error, const char *text)
{
    struct refusal refusal = {.error = DX_OK};
    struct manifest manifest;
    assert_int_equal(manifest_check(bytes, limit, &refusal), error);
    assert_int_equal(manifest_open(&manifest, bytes, limit, &refusal), error);
    if (strstr(refusal.text, text) == NULL) {
        print_message("\"%s\" is not in \"%s\"\n", text, refusal.text);
        fail();
    }
}

static void headers(void **state)
{
    (void)state;
    good_blob();
    const size_t size = fdt_totalsize(blob_words);
    expect_not_a_manifest(blob + 4, size - 4, DX_UNALIGNED, "multiple of 8");
    expect_not_a_manifest(blob, 39, DX_BAD_TREE, "not a device tree");
    expect_not_a_manifest(blob, 0, DX_BAD_TREE, "not a device tree");
    expect_not_a_manifest(blob, size - 1, DX_BAD_TREE, "cut short");
    fdt_set_version(blob, 16);
    expect_not_a_manifest(blob, size, DX_BAD_TREE, "version 16");
    good_blob();
    fdt_set_off_dt_struct(blob, fdt_off_dt_struct(blob_words) + 1);
    expect_not_a_manifest(blob, size, DX_BAD_TREE, "not aligned");
    good_blob();
    fdt_set_off_mem_rsvmap(blob, fdt_off_mem_rsvmap(blob_words) + 4);
    expect_not_a_manifest(blob, size, DX_BAD_TREE, "not aligned");
    good_blob();
    fdt_set_size_dt_struct(blob, fdt_size_dt_struct(blob_words) - 4);
    expect_not_a_manifest(blob, size, DX_BAD_TREE, "manifest: ");
    good_blob();
    fdt_set_magic(blob, 0x7f454c46);
    expect_not_a_manifest(blob, size, DX_BAD_TREE, "not a device tree");
}

static void other_trees(void **state)
{
    (void)state;
    must(fdt_create(blob, BLOB_MAX));
    must(fdt_finish_reservemap(blob));
    must(fdt_begin_node(blob, ""));
    must(fdt_property_string(blob, "compatible", "riscv-virtio"));
    node("capsules", NULL, 0);
    finish();
    expect_not_a_manifest(blob, BLOB_MAX, DX_BAD_VALUE, "diosix,manifest");
    root_begin();
    images();
    finish();
    expect_not_a_manifest(blob, BLOB_MAX, DX_MISSING, "has no /capsules");
    root_begin();
    node("capsules", NULL, 0);
    finish();
    struct walk walk = opened();
    expect_end(&walk);
}

static bool in_blob(const uint8_t *bytes, size_t length, const uint8_t *from, size_t size)
{
    return bytes >= from && length <= size && (size_t)(bytes - from) <= size - length;
}

/* Walks a copy that ends where its allocation ends, so that the address sanitizer sees every step too far. */
static void walk_hostile(const uint8_t *bytes, size_t size, unsigned *opened_count)
{
    uint8_t *from = malloc(size);
    memcpy(from, bytes, size);
    struct walk walk = {.cursor = 0};
    if (manifest_open(&walk.manifest, from, size, &walk.refusal) == DX_OK) {
        unsigned steps = 0;
        ++*opened_count;
        while (step(&walk)) {
            assert_true(++steps < STEPS_MAX);
            if (walk.error != DX_OK) {
                assert_true(memchr(walk.refusal.text, '\0', sizeof(walk.refusal.text)) != NULL);
                continue;
            }
            const struct capsule_config *config = &walk.config;
            assert_true(config->memory > 0 && config->memory % PAGE_SIZE == 0 && config->vcpus >= 1);
            assert_true(config->vcpus <= CAPSULE_VCPUS_MAX);
            assert_true(config->priority <= CAPSULE_PRIORITY_MAX);
            assert_in_range(config->weight, 1, CAPSULE_WEIGHT_MAX);
            assert_true(config->watchdog_seconds <= CAPSULE_WATCHDOG_MAX);
            assert_true(config_hart_count(config) <= CAPSULE_HARTS_MAX);
            assert_true(!config->dedicated || config_hart_count(config) >= config->vcpus);
            assert_true(config->harts.bytes == NULL || in_blob(config->harts.bytes, config->harts.length, from, size));
            assert_true(in_blob(config->kernel.bytes, config->kernel.length, from, size));
            assert_true(config->initrd.bytes == NULL ||
                        in_blob(config->initrd.bytes, config->initrd.length, from, size));
            assert_true(config->bootargs[0] == '\0' ||
                        in_blob((const uint8_t *)config->bootargs, strlen(config->bootargs) + 1, from, size));
        }
    }
    free(from);
}

static void flipped_bytes(void **state)
{
    (void)state;
    good_blob();
    const size_t size = fdt_totalsize(blob_words);
    uint8_t *good = malloc(size);
    memcpy(good, blob, size);
    uint64_t seed = 0x6d616e6966657374;
    unsigned opened_count = 0;
    for (int round = 0; round < 20000; round++) {
        memcpy(blob, good, size);
        for (uint64_t flips = 1 + test_random(&seed) % 4; flips > 0; flips--) {
            uint64_t random = test_random(&seed);
            /* half of the flips leave the header alone, so that the walk behind it is reached */
            size_t first = random % 2 == 0 ? 0 : 40;
            blob[first + (random >> 8) % (size - first)] = (uint8_t)(random >> 56);
        }
        walk_hostile(blob, size, &opened_count);
    }
    assert_in_range(opened_count, 1000, 19999); /* both ends of the checks were reached */
    free(good);
}

static void truncated(void **state)
{
    (void)state;
    good_blob();
    const size_t size = fdt_totalsize(blob_words);
    unsigned opened_count = 0;
    for (size_t length = 0; length < size; length++) {
        walk_hostile(blob, length, &opened_count);
    }
    assert_int_equal(opened_count, 0);
    /* and with a header that says so itself */
    for (size_t length = 40; length < size; length++) {
        fdt_set_totalsize(blob, (uint32_t)length);
        walk_hostile(blob, length, &opened_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_capsule_with_everything),
        cmocka_unit_test(defaults),
        cmocka_unit_test(wishes_of_isolation),
        cmocka_unit_test(restart_policies),
        cmocka_unit_test(shares_at_their_edges),
        cmocka_unit_test(sets_of_harts),
        cmocka_unit_test(dedicated_harts),
        cmocka_unit_test(one_wrong_property),
        cmocka_unit_test(memory_must_be_sound),
        cmocka_unit_test(memory_and_kernel_are_required),
        cmocka_unit_test(no_images_at_all),
        cmocka_unit_test(a_phandle_outside_of_images),
        cmocka_unit_test(names),
        cmocka_unit_test(the_second_of_a_name_is_refused),
        cmocka_unit_test(places_must_not_overlap),
        cmocka_unit_test(places_of_the_guest_may_overlap),
        cmocka_unit_test(devices),
        cmocka_unit_test(bad_devices),
        cmocka_unit_test(many_devices),
        cmocka_unit_test(managers_have_control_ports),
        cmocka_unit_test(managers_have_grants),
        cmocka_unit_test(devices_have_no_nodes_inside),
        cmocka_unit_test(the_root_is_checked_too),
        cmocka_unit_test(images_must_not_have_properties),
        cmocka_unit_test(reads_networks),
        cmocka_unit_test(too_many_capsules),
        cmocka_unit_test(headers),
        cmocka_unit_test(other_trees),
        cmocka_unit_test(flipped_bytes),
        cmocka_unit_test(truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
