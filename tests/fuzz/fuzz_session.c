/* SPDX-License-Identifier: MIT
 *
 * A control session under a hostile client: any bytes in any pieces, ports closed and opened at any time. It answers
 * whole messages, one reply each, asks nothing of capsules that aren't there, and nobody's reply goes to another
 * client.
 */
#include <libfdt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/served.h"
#include "control/session.h"
#include "control/watch.h"
#include "core/capsules.h"
#include "core/events.h"
#include "core/hart.h"
#include "core/memory.h"
#include "core/quota.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "fake_arch.h"

enum { CAPSULES = 3, STEPS = 300, POOL = 64 * KIB };

static struct hart hart;
static struct capsule made[CAPSULES];
static struct vcpu vcpus[CAPSULES];
static struct session session;
static struct disk_user user;
static uint32_t tokens; /* of its requests in flight */
static uint8_t sectors[2048];
static uint64_t now;
static unsigned sent, replies;
static bool is_open;
static uint8_t pool[POOL + PAGE_SIZE];
static uint8_t tree[2048] __attribute__((aligned(8)));
static struct {
    uint8_t bytes[DX_CONTROL_MESSAGE_MAX + 2048]; /* a disk's are longer */
    size_t length;
} reply;

static uint64_t time_of_world(void)
{
    return now;
}

static void ring(struct hart *which)
{
    (void)which;
}

static bool go_on(struct session *which)
{
    assert(which == &session);
    return false;
}

static const struct isolation_ops isolation = {.name = "pmp"};
static const struct capsule_hooks hooks;

static enum dx_error make(struct capsule_config *config, struct capsule **result, struct refusal *refusal)
{
    static struct capsule capsule;
    assert(config->origin.creator == made[0].id && config->kernel.bytes != NULL && config->name[0] != '\0');
    if (config->vcpus > 1) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no", config->name);
    }
    capsule.config = *config;
    capsule.id = 9;
    *result = &capsule;
    quota_give_back(made[0].id, config->origin.charged); /* and it is destroyed at once */
    while (!kept_scrub(&config->origin.image)) {
    }
    kept_give(&config->origin.image);
    return DX_OK;
}

/* A manifest that is sound until a byte of it is changed. */
static void make_tree(void)
{
    fdt_create(tree, sizeof(tree));
    fdt_finish_reservemap(tree);
    fdt_begin_node(tree, "");
    fdt_property_string(tree, "compatible", "diosix,manifest");
    fdt_begin_node(tree, "capsules");
    fdt_begin_node(tree, "new");
    fdt_property_u32(tree, "memory", 64 * KIB);
    fdt_property_u32(tree, "vcpus", 1);
    fdt_property_string(tree, "bootargs", "a b");
    fdt_property(tree, "kernel", pool, 100);
    fdt_begin_node(tree, "disk0");
    fdt_property_string(tree, "type", "disk");
    fdt_property(tree, "data", pool, 512);
    for (unsigned n = 0; n < 4; n++) {
        fdt_end_node(tree);
    }
    fdt_finish(tree);
}

/* What is asked of it is refused in these, and goes no further; the last one has a console that can be waited for. */
static enum capsule_state state_of(unsigned n)
{
    return n == CAPSULES - 1 ? CAPSULE_COMMITTING : CAPSULE_DESTROYING;
}

static void make_world(bool manages_all)
{
    static struct memory map;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){align_up((uintptr_t)pool, PAGE_SIZE), POOL});
    memory_init(&map);
    upload_make = make;
    watch_init();
    make_tree();
    capsules = NULL;
    memset(&hart, 0, sizeof(hart));
    memset(made, 0, sizeof(made));
    memset(vcpus, 0, sizeof(vcpus));
    now = 1000;
    harts[0] = &hart;
    hart_count = 1;
    hart_ops = (struct hart_ops){.ring = ring, .time = time_of_world};
    fake_arch.hart = &hart.arch;
    clock_hz = 1000000;
    for (unsigned n = 0; n < CAPSULES; n++) {
        made[n].config.vcpus = 1;
        made[n].config.name[0] = (char)('a' + n);
        made[n].isolation = &isolation;
        made[n].hooks = &hooks;
        made[n].life.due = TIMER_NEVER;
        made[n].vcpus = &vcpus[n];
        made[n].vcpu_stride = sizeof(struct vcpu);
        vcpus[n] = (struct vcpu){.capsule = &made[n], .deadline = TIMER_NEVER};
        console_port_init(&made[n].console, made[n].config.name);
        atomic_store(&made[n].state, state_of(n));
        capsules_add(&made[n]);
    }
    made[0].config.manager = true;
    made[0].config.manages_all = manages_all;
    made[0].config.quota = (struct charge){40, 3};
    session_init(&session, 0, &made[0], go_on);
    user.disk = NULL;
    tokens = 0;
    is_open = false;
    sent = replies = 0;
    reply.length = 0;
}

static void hear(uint8_t byte)
{
    struct dx_control_header header;
    assert(reply.length < sizeof(reply.bytes));
    reply.bytes[reply.length++] = byte;
    memcpy(&header, reply.bytes, sizeof(header));
    if (reply.length < sizeof(header) || reply.length < header.length) {
        return;
    }
    assert(header.length == reply.length && (header.kind & DX_CONTROL_REPLY) != 0 && header.reserved == 0);
    reply.length = 0;
    replies++;
    assert(replies <= sent / (sizeof(header) - 4)); /* a byte of an image may have one too */
}

static void fetch(size_t piece)
{
    uint8_t bytes[64];
    const size_t length = session_give(&session, bytes, piece % sizeof(bytes));
    for (size_t n = 0; n < length; n++) {
        hear(bytes[n]);
    }
}

static void send(const uint8_t **input, size_t *left, size_t piece)
{
    const size_t taken = session_take(&session, *input, MIN(piece, *left));
    assert(taken <= MIN(piece, *left));
    *input += taken;
    *left -= taken;
    sent += (unsigned)taken;
}

/* A message that is whole and in order, but for what is in it. */
static void send_sound(unsigned kind, uint32_t a, uint32_t b)
{
    const uint32_t bytes = kind == DX_CONTROL_CREATE ? 24 : kind == DX_CONTROL_REQUEST ? 8 : 4;
    const struct dx_control_header header = {.length = (uint32_t)sizeof(header) + bytes, .kind = (uint16_t)kind};
    const uint32_t payload[] = {a, b, 0, 0, 0, 0};
    uint8_t message[40];
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), payload, sizeof(payload));
    sent += (unsigned)session_take(&session, message, header.length);
}

/* One about a console, events or everything, whose payload is in order. */
static void send_watch(uint8_t what, uint8_t noise)
{
    static const struct {
        uint16_t kind, bytes;
    } kinds[] = {{DX_CONTROL_INFO, 8}, {DX_CONTROL_READ, 16}, {DX_CONTROL_WRITE, 24}, {DX_CONTROL_EVENTS, 16}};
    const unsigned n = what % ARRAY_LENGTH(kinds);
    const struct dx_control_header header = {.length = (uint32_t)sizeof(header) + kinds[n].bytes,
                                             .kind = kinds[n].kind};
    const uint32_t id = noise % 5;
    const uint32_t how = noise / 8 % 4;
    const uint32_t position[] = {noise < 128 ? 0 : UINT32_MAX, noise < 128 ? 0 : UINT32_MAX};
    const uint32_t payloads[][6] = {
        {id, 0}, {position[0], position[1], id, how}, {id, how, what, what}, {position[0], position[1], how, 0}};
    uint8_t message[40];
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), payloads[n], sizeof(payloads[n]));
    sent += (unsigned)session_take(&session, message, header.length);
}

/* The client becomes a disk, or answers as one: to requests that may be there, with bytes that may be. */
static void send_disk(uint8_t what, uint8_t noise)
{
    const struct dx_control_serve serve = {.name = "d", .sectors = 8 + what % 2, .flags = what / 2 % 2};
    const struct dx_control_disk disk = {.token = what % 4 == 0 ? DX_CONTROL_DISK_NONE : noise,
                                         .error = noise / 128,
                                         .bytes = what % 3 == 0 ? 0 : what % 3 * 512U,
                                         .how = what / 16 % 2};
    const bool serves = what % 8 == 0;
    const size_t bytes = serves ? sizeof(serve) : sizeof(disk);
    const struct dx_control_header header = {.length = (uint32_t)(sizeof(header) + bytes),
                                             .kind = serves ? DX_CONTROL_SERVE : DX_CONTROL_DISK};
    uint8_t message[sizeof(header) + sizeof(serve) + 1024] = {0};
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), serves ? (const void *)&serve : (const void *)&disk, bytes);
    sent += (unsigned)session_take(&session, message, header.length + (serves ? 0 : disk.bytes));
}

static void on_done(struct disk_user *of, uint32_t token, enum disk_answer answer)
{
    assert(of == &user && token < 32 && (tokens >> token & 1) != 0 && (answer == DISK_DONE || answer == DISK_FAILED));
    tokens &= ~(UINT32_C(1) << token);
}

static void on_room(struct disk_user *of)
{
    assert(of == &user);
}

static void detach(void)
{
    for (unsigned n = 0; n < 40 && tokens != 0; n++) { /* it is late in the end */
        now += clock_hz;
        (void)timer_heap_run(&hart.timers, now);
    }
    assert(tokens == 0);
    if (user.disk != NULL) {
        disk_detach(&user);
        disk_let_go(user.disk);
        user.disk = NULL;
    }
}

/* The user of the disk comes, asks for something, or goes. */
static void use_disk(uint8_t what)
{
    const struct disk_user *other;
    const struct range pieces[] = {{(uintptr_t)sectors, 512}, {(uintptr_t)sectors + 1024, 512}};
    const enum disk_operation operation = what / 2 % 5;
    const bool moves = operation == DISK_READ || operation == DISK_WRITE;
    struct disk_order order = {.user = &user,
                               .operation = operation,
                               .sectors = 1,
                               .piece_count = moves ? 1 + what / 16 % 2 : 0,
                               .pieces = pieces};
    if (user.disk == NULL) {
        user = (struct disk_user){
            .capsule = &made[1], .disk = served_find(made[0].id, "d"), .sectors = 8, .done = on_done, .room = on_room};
        if (user.disk != NULL) {
            assert(disk_attach(&user, &other) == DX_OK);
        }
    } else if (what % 16 == 15) {
        detach();
    } else if (disk_reserve(&user)) {
        while ((tokens >> order.token & 1) != 0) {
            order.token++;
        }
        if (disk_send(&order, 512)) {
            tokens |= UINT32_C(1) << order.token;
        } else {
            disk_unreserve(&user);
        }
    }
}

/* What clients wait for. */
static void news(uint8_t what)
{
    static const uint8_t block[300];
    if (what % 2 == 0) {
        (void)console_port_write(&made[CAPSULES - 1].console, block, what);
    } else {
        event_report(&made[what / 2 % CAPSULES], EVENT_PAUSED, "text");
    }
}

/* As much of the tree as is taken, with one byte changed. */
static void send_tree(uint8_t where, uint8_t what)
{
    tree[where * 8 % sizeof(tree)] ^= what;
    sent += (unsigned)session_take(
        &session, tree, fdt32_to_cpu(((const struct fdt_header *)(const void *)tree)->totalsize) % sizeof(tree));
}

static void toggle(void)
{
    is_open = !is_open;
    session_open(&session, is_open);
    reply.length = 0;
    sent = replies = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0) {
        return 0;
    }
    make_world((bytes[0] & 1) != 0);
    toggle();
    bytes++;
    length--;
    for (unsigned n = 0; n < STEPS && length > 0; n++) {
        const uint8_t what = *bytes++;
        length--;
        switch (what % 16) {
        case 0:
        case 1:
            send(&bytes, &length, what / 8);
            break;
        case 2:
            fetch(what / 4);
            break;
        case 3:
            now += what < 200 ? 2 : 200000;
            (void)timer_heap_run(&hart.timers, now);
            break;
        case 4:
            toggle();
            break;
        case 5:
            send_sound(DX_CONTROL_HELLO, DX_CONTROL_VERSION, 0);
            break;
        case 6:
            send_sound(DX_CONTROL_LIST, what / 8, 0);
            break;
        case 7:
            make_tree();
            send_sound(DX_CONTROL_CREATE, fdt_totalsize(tree) + (what / 128), 0);
            break;
        case 8:
            send_tree(length > 0 ? bytes[0] : 0, length > 1 ? bytes[1] : 0);
            break;
        case 9:
        case 10:
            send_watch(what / 16, length > 0 ? bytes[0] : 0);
            break;
        case 11:
            news(length > 0 ? bytes[0] : 0);
            break;
        case 12:
            send_disk(what / 16, length > 0 ? bytes[0] : 0);
            break;
        case 13:
        case 14:
            use_disk(length > 0 ? bytes[0] : 0);
            break;
        default:
            send_sound(DX_CONTROL_REQUEST, what / 8 % 8, what / 64);
            break;
        }
    }
    session_open(&session, false);
    detach();
    for (unsigned n = 0; n < 3; n++) { /* the disk goes too */
        now += clock_hz;
        (void)timer_heap_run(&hart.timers, now);
    }
    for (unsigned n = 0; n < 100 && session_holds(&session); n++) {
        now += 100;
        (void)timer_heap_run(&hart.timers, now);
    }
    assert(!session_holds(&session) && memory_free_bytes() == memory_total_bytes());
    assert(atomic_load(&made[0].used.pages) == 0 && atomic_load(&made[0].used.vcpus) == 0);
    session_end(&session);
    for (unsigned n = 0; n < CAPSULES; n++) {
        assert(capsule_state(&made[n]) == state_of(n));
    }
    return 0;
}
