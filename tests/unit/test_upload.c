/* SPDX-License-Identifier: MIT
 *
 * What a manager sends to have a capsule made of: the protocol around it, quotas, rights, the bounds of what is read,
 * and that all is given back.
 */
#include <libfdt.h>

#include "control/session.h"
#include "core/disk.h"
#include "core/memory.h"
#include "core/quota.h"
#include "core_world.h"
#include "manifest/bounded.h"

enum { POOL = 256 * KIB, TREE = 64 * KIB };

static struct session session;
static uint8_t reply[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));
static uint8_t pool[POOL + PAGE_SIZE];
static uint8_t tree[TREE] __attribute__((aligned(8)));
static struct capsule *manager;
static struct capsule new_one;
static enum dx_error make_error;
static unsigned makes;

static bool go_on(struct session *which)
{
    (void)which;
    return false;
}

static enum dx_error make(struct capsule_config *config, struct capsule **made, struct refusal *refusal)
{
    makes++;
    if (make_error != DX_OK) {
        return refuse(refusal, make_error, "%s: no", config->name);
    }
    new_one.config = *config;
    new_one.id = 99;
    *made = &new_one;
    return DX_OK;
}

/* Without a quota none is made. */
static void begin(uint32_t pages, uint32_t vcpus)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){align_up((uintptr_t)pool, PAGE_SIZE), POOL});
    memory_init(&map);
    capsules = NULL;
    for (unsigned n = 0; n < CAPSULES; n++) {
        make_capsule(n, 1);
    }
    manager = &core.capsules[0];
    atomic_store(&manager->used.pages, 0);
    atomic_store(&manager->used.vcpus, 0);
    manager->config.manager = true;
    manager->config.quota = (struct charge){pages, vcpus};
    upload_make = make;
    make_error = DX_OK;
    makes = 0;
    session_init(&session, 0, manager, go_on);
    session_open(&session, true);
}

static void works(unsigned times)
{
    for (unsigned n = 0; n < times; n++) {
        core.now += 100;
        (void)timer_heap_run(&hart_this()->timers, core.now);
    }
}

/* The error of the reply that is there. */
static unsigned fetch(void)
{
    memset(reply, 0, sizeof(reply));
    const size_t length = session_give(&session, reply, sizeof(reply));
    const struct dx_control_header *header = (const void *)reply;
    assert_int_equal(length, header->length);
    return header->error;
}

static const char *reason(void)
{
    return (const char *)reply + sizeof(struct dx_control_header);
}

static void assert_reason(const char *part)
{
    if (strstr(reason(), part) == NULL) {
        fail_msg("\"%s\" isn't in \"%s\"", part, reason());
    }
}

static unsigned ask(unsigned kind, const void *payload, size_t bytes)
{
    uint8_t message[64];
    const struct dx_control_header header = {.length = (uint32_t)(sizeof(header) + bytes), .kind = (uint16_t)kind};
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), payload, bytes);
    assert_int_equal(session_take(&session, message, header.length), header.length);
    works(1);
    return fetch();
}

static unsigned ask_to_create(struct dx_control_create create)
{
    const struct dx_control_hello hello = {DX_CONTROL_VERSION};
    assert_int_equal(ask(DX_CONTROL_HELLO, &hello, sizeof(hello)), DX_OK);
    return ask(DX_CONTROL_CREATE, &create, sizeof(create));
}

static unsigned ask_create(uint64_t bytes)
{
    return ask_to_create((struct dx_control_create){.bytes = bytes});
}

static unsigned send_tree(size_t piece)
{
    const size_t all = fdt_totalsize(tree);
    unsigned error = ask_create(all);
    if (error != DX_OK) {
        return error;
    }
    for (size_t done = 0; done < all; done += piece) {
        const size_t part = MIN(piece, all - done);
        assert_int_equal(session_take(&session, tree + done, part), part);
    }
    works(1);
    return fetch();
}

/* A sound one, until more is put into it. */
static void open_tree(void)
{
    fdt_create(tree, TREE);
    fdt_finish_reservemap(tree);
    fdt_begin_node(tree, "");
    fdt_property_string(tree, "compatible", "diosix,manifest");
    fdt_begin_node(tree, "capsules");
}

static void put_capsule(const char *name)
{
    static const uint8_t kernel[6000];
    fdt_begin_node(tree, name);
    fdt_property_u32(tree, "memory", 64 * KIB);
    fdt_property(tree, "kernel", kernel, sizeof(kernel));
}

static void close_tree(unsigned nodes)
{
    for (unsigned n = 0; n < nodes; n++) {
        assert_int_equal(fdt_end_node(tree), 0);
    }
    assert_int_equal(fdt_finish(tree), 0);
}

static void sound_tree(void)
{
    open_tree();
    put_capsule("fresh");
    close_tree(3);
}

static void assert_nothing_left(void)
{
    works(100);
    assert_int_equal(session.upload.state, UPLOAD_NONE);
    assert_int_equal(atomic_load(&manager->used.pages), 0);
    assert_int_equal(atomic_load(&manager->used.vcpus), 0);
    assert_int_equal(memory_free_bytes(), memory_total_bytes());
}

static void test_made(void **state)
{
    (void)state;
    const size_t pieces[] = {1, 100, TREE};
    for (size_t n = 0; n < ARRAY_LENGTH(pieces); n++) {
        begin(1000, 4);
        sound_tree();
        assert_int_equal(send_tree(pieces[n]), DX_OK);
        assert_int_equal(((const struct dx_control_create_reply *)(const void *)reason())->id, 99);
        assert_int_equal(makes, 1);
        const struct capsule_origin *origin = &new_one.config.origin;
        assert_string_equal(new_one.config.name, "fresh");
        assert_true(new_one.config.manual);
        assert_int_equal(origin->creator, manager->id);
        assert_int_equal(origin->charged.pages, atomic_load(&manager->used.pages));
        assert_int_equal(origin->charged.vcpus, 1);
        const uint8_t *first = kept_bytes(&origin->image);
        assert_true(new_one.config.kernel.bytes > first &&
                    new_one.config.kernel.bytes < first + origin->image.host.size);
        session_open(&session, false);
        works(10);
        assert_int_equal(atomic_load(&manager->used.pages), origin->charged.pages); /* it is the capsule's now */
        quota_give_back(manager->id, origin->charged);
        struct kept image = origin->image;
        while (!kept_scrub(&image)) {
        }
        kept_give(&image);
        assert_nothing_left();
    }
}

static void test_quota(void **state)
{
    (void)state;
    sound_tree();
    begin(0, 4);
    assert_int_equal(send_tree(TREE), DX_DENIED);
    assert_reason("has no quota-memory");
    begin(1, 4); /* not even the image fits */
    assert_int_equal(ask_create(fdt_totalsize(tree)), DX_NO_MEMORY);
    assert_reason("quota-memory");
    assert_nothing_left();
    begin(20, 4); /* that fits, the RAM doesn't */
    assert_int_equal(send_tree(TREE), DX_NO_MEMORY);
    assert_nothing_left();
    begin(1000, 0);
    assert_int_equal(send_tree(TREE), DX_TOO_MANY);
    assert_reason("quota-vcpus of 0 0 are left");
    assert_nothing_left();
    /* What is said beforehand is refused beforehand. */
    begin(1000, 2);
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .memory = 1000 * PAGE_SIZE}), DX_NO_MEMORY);
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .vcpus = 3}), DX_TOO_MANY);
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .vcpus = UINT32_MAX}), DX_BAD_VALUE);
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .memory = UINT64_MAX}), DX_BAD_VALUE);
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .reserved = 1}), DX_BAD_VALUE);
    assert_nothing_left();
    assert_int_equal(ask_to_create((struct dx_control_create){.bytes = 1, .memory = 64 * KIB, .vcpus = 2}), DX_OK);
    assert_int_equal(atomic_load(&manager->used.vcpus), 2);
    session_open(&session, false);
    assert_nothing_left();
    begin(100000, 4);
    assert_int_equal(ask_create(2 * POOL), DX_NO_MEMORY);
    assert_reason("in one piece");
    begin(1000, 4);
    assert_int_equal(ask_create(0), DX_BAD_VALUE);
    assert_int_equal(ask_create(UINT64_MAX), DX_BAD_VALUE);
    make_error = DX_NO_MEMORY;
    assert_int_equal(send_tree(TREE), DX_NO_MEMORY);
    assert_string_equal(reason(), "fresh: no");
    assert_nothing_left();
    assert_int_equal(ask(DX_CONTROL_QUOTA, "", 0), DX_OK);
    const struct dx_control_quota_reply *quota = (const void *)reason();
    assert_int_equal(quota->memory, 1000 * PAGE_SIZE);
    assert_int_equal(quota->memory_used, 0);
    assert_int_equal(quota->vcpus, 4);
}

/* The client goes at any moment, or what it has sent is nothing; who comes next is served once all has been cleared. */
static void test_given_up(void **state)
{
    (void)state;
    sound_tree();
    const size_t all = fdt_totalsize(tree);
    for (size_t sent = 0; sent <= all; sent += 500) {
        begin(1000, 4);
        assert_int_equal(ask_create(all), DX_OK);
        assert_int_equal(session_take(&session, tree, sent), sent);
        session_open(&session, false);
        session_open(&session, true);
        assert_int_equal(session_take(&session, tree, 1), 0);
        assert_nothing_left();
        assert_int_equal(makes, 0);
    }
    begin(1000, 4);
    assert_int_equal(ask_create(all), DX_OK);
    assert_int_equal(session_take(&session, tree, all), all);
    session_open(&session, false); /* whole, and at work */
    make_error = DX_NO_MEMORY;
    assert_nothing_left();
    assert_int_equal(session_give(&session, reply, sizeof(reply)), 0);
}

/* What was given up is cleared in steps, with rests between in which the hart is others'. */
static void test_cleared_in_steps(void **state)
{
    (void)state;
    enum { IMAGE = 128 * KIB, STEP = 16 * KIB };
    begin(1000, 4);
    assert_int_equal(ask_create(IMAGE), DX_OK);
    session_open(&session, false);
    unsigned steps = 0;
    for (; session_holds(&session); steps++) {
        assert_true(timer_heap_next(&hart_this()->timers) >= core.now + clock_rest());
        core.now += clock_rest();
        (void)timer_heap_run(&hart_this()->timers, core.now);
    }
    assert_int_equal(steps, IMAGE / STEP);
    assert_nothing_left();
}

static void expect(enum dx_error error, const char *part)
{
    begin(1000, 4);
    assert_int_equal(send_tree(TREE), error);
    assert_reason(part);
    assert_int_equal(makes, 0);
    assert_nothing_left();
}

static void test_rights(void **state)
{
    (void)state;
    open_tree();
    put_capsule("one");
    fdt_end_node(tree);
    put_capsule("two");
    close_tree(3);
    expect(DX_BAD_VALUE, "it must have one capsule");
    open_tree();
    close_tree(2);
    expect(DX_BAD_VALUE, "it must have one capsule");
    static const struct {
        const char *name;
        uint32_t value;
        const char *says;
    } rows[] = {
        {"priority", 1, "priority: no more than this manager's own, 0"},
        {"weight", CAPSULE_WEIGHT_USUAL + 1, "weight: no more than this manager's own, 100"},
        {"memory-base", RAM_BASE, "fresh: memory-base: only a manager"},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        open_tree();
        put_capsule("fresh");
        fdt_property_u32(tree, rows[n].name, rows[n].value);
        close_tree(3);
        expect(DX_DENIED, rows[n].says);
    }
    open_tree();
    put_capsule("fresh");
    fdt_begin_node(tree, "disk0");
    fdt_property_string(tree, "type", "disk");
    fdt_property_string(tree, "source", "serial:x");
    close_tree(4);
    expect(DX_DENIED, "fresh: disk0: no more than this manager has for-capsules");
    open_tree();
    put_capsule("fresh");
    fdt_property(tree, "manager", "", 0);
    fdt_property_string(tree, "manages", "all");
    close_tree(3);
    expect(DX_DENIED, "fresh: manages: only a manager");
    open_tree();
    put_capsule("fresh");
    fdt_property(tree, "manager", "", 0);
    fdt_property_u32(tree, "quota-memory", 1u << 30);
    close_tree(3);
    expect(DX_NO_MEMORY, "quota-memory"); /* what it may give on is part of its own */
}

static void test_too_many(void **state)
{
    (void)state;
    static struct capsule more[CAPSULES_MAX - CAPSULES];
    memset(more, 0, sizeof(more));
    sound_tree();
    begin(1000, 4);
    for (size_t n = 0; n < ARRAY_LENGTH(more) - 1; n++) {
        capsules_add(&more[n]);
    }
    assert_int_equal(send_tree(TREE), DX_OK);
    begin(1000, 4);
    for (size_t n = 0; n < ARRAY_LENGTH(more); n++) {
        capsules_add(&more[n]);
    }
    assert_int_equal(send_tree(TREE), DX_TOO_MANY);
    assert_reason("there are 256 capsules");
    assert_nothing_left();
}

static unsigned bounded(size_t length)
{
    struct refusal refusal;
    return manifest_bounded((struct blob){tree, length}, &refusal);
}

/* What would take long to read. */
static struct disk machine_disk = {.serial = "x", .path = "/soc/x", .limits = {.sectors = 100, .block_size = 512}};

static void put_disk(uint64_t first, uint64_t sectors, bool read_only)
{
    open_tree();
    put_capsule("fresh");
    fdt_begin_node(tree, "disk0");
    fdt_property_string(tree, "type", "disk");
    fdt_property_string(tree, "source", "path:/soc/x"); /* the same disk by another name */
    fdt_property_u64(tree, "first-sector", first);
    fdt_property_u64(tree, "sectors", sectors);
    if (read_only) {
        fdt_property(tree, "read-only", "", 0);
    }
    close_tree(4);
}

static void put_net(const char *network)
{
    open_tree();
    put_capsule("fresh");
    fdt_begin_node(tree, "net0");
    fdt_property_string(tree, "type", "net");
    fdt_property(tree, "network", network, (int)strlen(network) + 1);
    close_tree(4);
}

static void judge(bool may)
{
    if (!may) {
        expect(DX_DENIED, "no more than this manager has for-capsules");
        return;
    }
    begin(1000, 4);
    assert_int_equal(send_tree(TREE), DX_OK);
    assert_int_equal(makes, 1);
}

/* Networks and stretches of disks that the manager has been given for its capsules, and nothing beside them. */
static void test_grants(void **state)
{
    (void)state;
    begin(1000, 4);
    if (disk_find("serial:x") == NULL) {
        disk_add(&machine_disk);
    }
    manager->config.devices[0] = (struct device_config){.type = DEVICE_NET, .network = "lan"};
    manager->config.devices[1] = (struct device_config){
        .type = DEVICE_DISK, .for_capsules = true, .source = "serial:x", .first_sector = 8, .sectors = 16};
    manager->config.devices[2] = (struct device_config){
        .type = DEVICE_DISK, .for_capsules = true, .read_only = true, .source = "serial:x", .first_sector = 50};
    manager->config.device_count = 3;
    put_net("lan");
    judge(false); /* it is on it itself, which is another thing */
    manager->config.devices[0].for_capsules = true;
    judge(true);
    put_net("la");
    judge(false);
    static const struct {
        uint64_t first, sectors;
        bool read_only, may;
    } rows[] = {{8, 16, false, true},  {8, 17, false, false}, {7, 16, false, false}, {23, 1, false, true},
                {24, 1, false, false}, {0, 0, true, false},   {50, 50, true, true},  {50, 0, true, true},
                {60, 1, true, true},   {60, 1, false, false}, {49, 2, true, false},  {99, 2, true, false}};
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        put_disk(rows[n].first, rows[n].sectors, rows[n].read_only);
        judge(rows[n].may);
    }
    manager->config.manages_all = true;
    put_disk(0, 0, false);
    judge(true);
    manager->config.manages_all = false;
    manager->config.device_count = 0;
}

static void test_bounds(void **state)
{
    (void)state;
    static uint8_t large[BOUNDED_VALUE_MAX + 1];
    static char name[BOUNDED_NAME_MAX + 2];
    sound_tree();
    assert_int_equal(bounded(fdt_totalsize(tree)), DX_OK);
    for (size_t length = 0; length < fdt_totalsize(tree) - fdt_size_dt_strings(tree); length += 7) {
        assert_int_not_equal(bounded(length), DX_OK);
    }
    open_tree();
    put_capsule("fresh");
    fdt_property(tree, "bootargs", large, sizeof(large));
    close_tree(3);
    expect(DX_BAD_VALUE, "more than 4096 bytes");
    memset(name, 'x', sizeof(name) - 1);
    open_tree();
    put_capsule(name);
    close_tree(3);
    expect(DX_BAD_VALUE, "longer than 63 characters");
    open_tree();
    put_capsule("fresh");
    for (unsigned n = 0; n < BOUNDED_TOKENS_MAX; n++) {
        fdt_property(tree, "x", "", 0);
    }
    close_tree(3);
    expect(DX_TOO_MANY, "more than 512 nodes and properties");
    sound_tree();
    fdt_set_size_dt_strings(tree, BOUNDED_STRINGS_MAX + 1);
    expect(DX_BAD_TREE, "not a compiled manifest");
    sound_tree();
    tree[fdt_off_mem_rsvmap(tree)] = 1;
    expect(DX_BAD_VALUE, "memory reservations");
    sound_tree();
    fdt_set_magic(tree, 1);
    expect(DX_BAD_TREE, "not a compiled manifest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_made),   CORE_TEST(test_quota),  CORE_TEST(test_given_up), CORE_TEST(test_rights),
        CORE_TEST(test_grants), CORE_TEST(test_bounds), CORE_TEST(test_too_many), CORE_TEST(test_cleared_in_steps),
    };
    return cmocka_run_group_tests_name("upload", tests, NULL, NULL);
}
