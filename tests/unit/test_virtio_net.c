/* SPDX-License-Identifier: MIT
 *
 * Networks and virtio-net: three devices of one fake capsule on one network, each with its own rings.
 */
#include <stdio.h>

#include "core/hart.h"
#include "device/virtio_net.h"

#include "fake_arch.h"
#include "virtio_world.h"

enum { DEVICES = 3, RX = 0, TX = 1, SIZE = 16, MTU = 1500, BUFFER = 512 };
enum { CSUM = 1 << 0, GUEST_CSUM = 1 << 1, GUEST_TSO4 = 1 << 7, HOST_TSO4 = 1 << 11, MRG = 1 << 15 };
#define ALL UINT32_C(0x18983)

/* Where device d's queue q has its table; its rings follow, and then what it sends. */
#define RINGS(d, q) (RAM_BASE + 0x800 * (2 * (uint64_t)(d) + (q)))
#define AVAIL(d, q) (RINGS(d, q) + 0x200)
#define USE(d, q)   (RINGS(d, q) + 0x400)
/* A receive queue of 128, where other rings and frames aren't. */
#define WIDE_RINGS (RAM_BASE + 0x5000)
#define WIDE_AVAIL (RAM_BASE + 0x5800)
#define WIDE_USE   (RAM_BASE + 0x5c00)
#define FRAME      (EDGE_1 - 100)                          /* across an edge of RAM */
#define BUFFERS(d) (EDGE_2 - 300 + 0x2000 * (uint64_t)(d)) /* the first device's likewise */

static struct virtio_net nets[DEVICES];
static bool levels[DEVICES];
static struct network *network;
static unsigned offered[DEVICES][2];

static void on_line(void *controller, uint32_t source, bool to)
{
    (void)source;
    *(bool *)controller = to;
}

static bool set(unsigned d, unsigned offset, uint64_t value)
{
    return device_write(&nets[d].virtio.device, (gpa_t){0x10001000 + offset}, 4, value);
}

static uint32_t status(unsigned d)
{
    return (uint32_t)device_read(&nets[d].virtio.device, (gpa_t){0x10001000 + 0x70}, 4);
}

/* Both queues with their rings where they are told, of so many entries each. */
static void drive_at(unsigned d, uint32_t features, const uint64_t places[2][3], unsigned size)
{
    static const uint32_t steps[] = {0, 1, 3};
    for (unsigned n = 0; n < 3; n++) {
        set(d, 0x70, steps[n]);
    }
    set(d, 0x24, 1);
    set(d, 0x20, 1);
    set(d, 0x24, 0);
    set(d, 0x20, features);
    set(d, 0x70, 11);
    for (unsigned q = 0; q < 2; q++) {
        put(places[q][1], 0, 4);
        put(places[q][2], 0, 4);
        offered[d][q] = 0;
        set(d, 0x30, q);
        set(d, 0x38, size);
        set(d, 0x80, places[q][0]);
        set(d, 0x90, places[q][1]);
        set(d, 0xa0, places[q][2]);
        set(d, 0x44, 1);
    }
    set(d, 0x70, 15);
    assert_int_equal(status(d), 15);
}

static void drive(unsigned d, uint32_t features)
{
    const uint64_t places[2][3] = {{RINGS(d, RX), AVAIL(d, RX), USE(d, RX)}, {RINGS(d, TX), AVAIL(d, TX), USE(d, TX)}};
    drive_at(d, features, places, SIZE);
}

static void offer_to(unsigned d, unsigned q, unsigned head)
{
    put(AVAIL(d, q) + 4 + 2 * (offered[d][q] % SIZE), head, 2);
    put(AVAIL(d, q) + 2, ++offered[d][q], 2);
}

static uint16_t used_by(unsigned d, unsigned q)
{
    return (uint16_t)get(USE(d, q) + 2, 2);
}

static uint32_t used_length_by(unsigned d, unsigned n)
{
    return (uint32_t)get(USE(d, RX) + 4 + 8 * (n % SIZE) + 4, 4);
}

static void give_buffers(unsigned d, unsigned count, uint32_t length)
{
    for (unsigned n = 0; n < count; n++) {
        describe_at(RINGS(d, RX), n, BUFFERS(d) + (uint64_t)n * length, length, WRITE, 0);
        offer_to(d, RX, n);
    }
}

/* A frame of so many bytes, whose n-th is 3 * n behind the addresses, and virtio's header before it. */
static void make_frame(unsigned from, unsigned to, uint32_t length)
{
    for (unsigned n = 0; n < 12; n++) {
        put(FRAME + n, 0, 1);
    }
    for (unsigned n = 0; n < length; n++) {
        put(FRAME + 12 + n, 3 * n, 1);
    }
    static const uint8_t group[] = {255, 255, 255, 255, 255, 255};
    put_bytes(FRAME + 12, to < DEVICES ? nets[to].port.address : group, 6);
    put_bytes(FRAME + 18, nets[from].port.address, 6);
}

static unsigned send_bytes(unsigned d, uint32_t bytes)
{
    unsigned times = 1;
    describe_at(RINGS(d, TX), 0, FRAME, bytes, 0, 0);
    offer_to(d, TX, 0);
    while (!set(d, 0x50, TX)) {
        assert_true(++times < 100);
    }
    return times;
}

static void send(unsigned from, unsigned to, uint32_t length)
{
    make_frame(from, to, length);
    (void)send_bytes(from, 12 + length);
}

static void has_frame(unsigned d, uint32_t length)
{
    for (unsigned n = 12; n < length; n++) {
        assert_int_equal(get(BUFFERS(d) + 12 + n, 1), (uint8_t)(3 * n));
    }
}

static int setup(void **state)
{
    static unsigned count;
    static char name[16];
    (void)state;
    world_make();
    (void)snprintf(name, sizeof(name), "n%u", count++);
    network = network_add(name, MTU);
    assert_non_null(network);
    assert_ptr_equal(network_find(name), network);
    for (unsigned d = 0; d < DEVICES; d++) {
        const struct network_port port = {.network = network, .address = {2, 0, 0, 0, 0, (uint8_t)d}};
        virtio_net_init(&nets[d], (gpa_t){0x10001000}, &world, (struct irq_line){on_line, &levels[d], 1}, &port);
        assert_int_equal(network_attach(&nets[d].port), DX_OK);
        network_open(&nets[d].port);
        drive(d, ALL);
        levels[d] = false;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned d = 0; d < DEVICES; d++) {
        network_detach(&nets[d].port);
    }
    world_free();
    return 0;
}

static void test_unicast(void **state)
{
    (void)state;
    give_buffers(0, 4, 1600);
    give_buffers(1, 4, 1600);
    send(2, 1, 700);
    assert_int_equal(used_by(2, TX), 1);
    assert_int_equal(used_by(1, RX), 1);
    assert_int_equal(used_length_by(1, 0), 712);
    assert_int_equal(get(BUFFERS(1) + 10, 2), 1);
    has_frame(1, 700);
    assert_true(levels[1]);
    assert_int_equal(used_by(0, RX), 0);
    assert_false(levels[0]);
    assert_int_equal(nets[2].port.counts.sent, 1);
    assert_int_equal(nets[1].port.counts.received, 1);
    send(2, 2, 700); /* to itself: nobody */
    assert_int_equal(used_by(2, TX), 2);
    assert_int_equal(used_by(1, RX), 1);
}

static void test_group(void **state)
{
    (void)state;
    give_buffers(0, 4, 1600);
    give_buffers(1, 4, 1600);
    give_buffers(2, 4, 1600);
    send(0, DEVICES, 60);
    assert_int_equal(used_by(0, RX), 0);
    assert_int_equal(used_by(1, RX), 1);
    assert_int_equal(used_by(2, RX), 1);
    has_frame(2, 60);
}

static void test_spoofed(void **state)
{
    (void)state;
    give_buffers(1, 4, 1600);
    make_frame(0, 1, 60);
    put(FRAME + 18 + 5, 2, 1); /* it is device 2's */
    (void)send_bytes(0, 72);
    assert_int_equal(used_by(0, TX), 1);
    assert_int_equal(used_by(1, RX), 0);
    assert_int_equal(nets[0].port.counts.spoofed, 1);
    const struct network_port thief = {.network = network, .address = {2, 0, 0, 0, 0, 1}};
    struct network_port port = thief;
    assert_int_equal(network_attach(&port), DX_DUPLICATE);
}

static void test_isolated(void **state)
{
    (void)state;
    nets[0].port.isolated = true;
    nets[1].port.isolated = true;
    give_buffers(0, 4, 1600);
    give_buffers(1, 4, 1600);
    give_buffers(2, 4, 1600);
    send(0, 1, 60);
    send(0, DEVICES, 60);
    send(2, 0, 60);
    assert_int_equal(used_by(1, RX), 0);
    assert_int_equal(used_by(2, RX), 1);
    assert_int_equal(used_by(0, RX), 1);
}

/* In as many buffers as it takes, of which the driver sees all or none. */
static void test_merged(void **state)
{
    (void)state;
    give_buffers(1, 3, 500);
    send(0, 1, 1500);
    assert_int_equal(used_by(1, RX), 0);
    assert_int_equal(nets[1].port.counts.dropped, 1);
    describe_at(RINGS(1, RX), 3, BUFFERS(1) + 1500, 500, WRITE, 0);
    offer_to(1, RX, 3);
    send(0, 1, 1500);
    assert_int_equal(used_by(1, RX), 4);
    assert_int_equal(used_length_by(1, 0), 500);
    assert_int_equal(used_length_by(1, 3), 12);
    assert_int_equal(get(BUFFERS(1) + 10, 2), 4);
    has_frame(1, 1500);
    drive(1, ALL & ~(uint32_t)MRG);
    give_buffers(1, 4, 500);
    send(0, 1, 1500);
    assert_int_equal(used_by(1, RX), 0);
    send(0, 1, 488);
    assert_int_equal(used_by(1, RX), 1);
}

/* Two devices of one capsule, whose driver has them share memory: garbage, in those bytes alone. */
static void test_overlap(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 300; shift += 13) {
        drive(1, ALL);
        make_frame(0, 1, 500);
        describe_at(RINGS(1, RX), 0, FRAME - 100 + shift, 600, WRITE, 0);
        offer_to(1, RX, 0);
        put(FRAME + 812, 0xa5, 1);
        put(FRAME - 101, 0xa5, 1);
        (void)send_bytes(0, 512);
        assert_int_equal(used_by(1, RX), 1);
        assert_int_equal(used_length_by(1, 0), 512);
        assert_int_equal(get(FRAME + 812, 1), 0xa5);
        assert_int_equal(get(FRAME - 101, 1), 0xa5);
    }
}

/* Buffers in many pieces cost the sender no more than a queue full of pieces: a frame that needs more is dropped. */
static void test_many_pieces(void **state)
{
    enum { PIECES_OF_12 = 10, PIECE = 12 };
    (void)state;
    const uint64_t places[2][3] = {{WIDE_RINGS, WIDE_AVAIL, WIDE_USE}, {RINGS(1, TX), AVAIL(1, TX), USE(1, TX)}};
    drive_at(1, ALL, places, 128);
    for (unsigned n = 0; n < 128; n++) {
        const bool last = n % PIECES_OF_12 == PIECES_OF_12 - 1 || n == 127;
        describe_at(WIDE_RINGS, n, BUFFERS(1) + (uint64_t)n * PIECE, PIECE, WRITE | (last ? 0 : NEXT), n + 1);
    }
    for (unsigned n = 0; n < 40; n++) { /* heads come again: that is the driver's affair */
        put(WIDE_AVAIL + 4 + 2 * n, n % 12 * PIECES_OF_12, 2);
    }
    put(WIDE_AVAIL + 2, 40, 2);
    send(0, 1, 1000); /* 85 pieces */
    assert_int_equal(get(WIDE_USE + 2, 2), 9);
    send(0, 1, 1518); /* 128 */
    assert_int_equal(get(WIDE_USE + 2, 2), 22);
    make_frame(0, 1, 1800);
    put(FRAME, 1, 1);
    put(FRAME + 1, 1, 1);
    put(FRAME + 4, 1448, 2);
    put(FRAME + 6, 34, 2);
    put(FRAME + 8, 16, 2);
    (void)send_bytes(0, 1812); /* 151 */
    assert_int_equal(get(WIDE_USE + 2, 2), 22);
    assert_int_equal(nets[1].port.counts.dropped, 1);
    send(0, 1, 1000); /* its buffers are still there */
    assert_int_equal(get(WIDE_USE + 2, 2), 31);
    assert_int_equal(status(1), 15);
}

/* What comes from the hypervisor must be what a receiver would compute. */
static void test_checksum(void **state)
{
    (void)state;
    for (uint32_t length = 60; length < 1500; length += 7) {
        for (unsigned whole = 0; whole < 2; whole++) {
            uint32_t total = 0;
            drive(1, whole != 0 ? ALL & ~(uint32_t)GUEST_CSUM : ALL);
            give_buffers(1, 1, 1600);
            make_frame(0, 1, length);
            put(FRAME, 1, 1);
            put(FRAME + 6, 34, 2);
            put(FRAME + 8, 16, 2);
            (void)send_bytes(0, 12 + length);
            assert_int_equal(used_by(1, RX), 1);
            assert_int_equal(get(BUFFERS(1), 1), whole != 0 ? 0 : 1);
            assert_int_equal(get(BUFFERS(1) + 6, 2), whole != 0 ? 0 : 34);
            for (unsigned n = 34; n < length; n++) {
                const bool field = whole != 0 && (n == 50 || n == 51);
                total += (uint32_t)get((field ? FRAME : BUFFERS(1)) + 12 + n, 1) << ((n & 1) != 0 ? 0 : 8);
            }
            total = (total & 0xffff) + (total >> 16);
            total = ~((total & 0xffff) + (total >> 16)) & 0xffff;
            const uint32_t got = (uint32_t)(get(BUFFERS(1) + 62, 1) << 8 | get(BUFFERS(1) + 63, 1));
            if (whole != 0) {
                assert_int_equal(got, total == 0 ? 0xffff : total);
            }
        }
    }
}

static void test_malformed(void **state)
{
    static const struct {
        uint8_t flags, gso;
        uint16_t header, size, start, offset;
        uint32_t length;
    } rows[] = {
        {0, 0, 0, 0, 0, 0, MTU + 19},   {1, 0, 0, 0, 13, 6, 60},      {1, 0, 0, 0, 50, 9, 60},
        {1, 0, 0, 0, 65535, 0, 60},     {1, 0, 0, 0, 34, 65535, 60},  {0, 1, 54, 1000, 0, 0, 60},
        {1, 1, 54, 0, 34, 16, 60},      {1, 1, 61, 1000, 34, 16, 60}, {1, 3, 54, 1000, 34, 6, 60},
        {1, 0x81, 54, 1000, 34, 6, 60}, {1, 5, 54, 1000, 34, 6, 60},
    };
    (void)state;
    give_buffers(1, 8, 1600);
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        make_frame(0, 1, rows[n].length);
        put(FRAME, rows[n].flags, 1);
        put(FRAME + 1, rows[n].gso, 1);
        put(FRAME + 2, rows[n].header, 2);
        put(FRAME + 4, rows[n].size, 2);
        put(FRAME + 6, rows[n].start, 2);
        put(FRAME + 8, rows[n].offset, 2);
        (void)send_bytes(0, 12 + rows[n].length);
        assert_int_equal(nets[0].port.counts.malformed, n + 1);
        assert_int_equal(used_by(1, RX), 0);
    }
    (void)send_bytes(0, 25);
    assert_true((status(0) & VIRTIO_NEEDS_RESET) != 0);
}

/* Large ones go to those that have agreed to take them. */
static void test_large(void **state)
{
    (void)state;
    give_buffers(1, 8, 900);
    make_frame(0, 1, 5000);
    put(FRAME, 1, 1);
    put(FRAME + 1, 1, 1);
    put(FRAME + 2, 54, 2);
    put(FRAME + 4, 1448, 2);
    put(FRAME + 6, 34, 2);
    put(FRAME + 8, 16, 2);
    (void)send_bytes(0, 5012);
    assert_int_equal(used_by(1, RX), 6);
    assert_int_equal(get(BUFFERS(1) + 4, 2), 1448);
    drive(1, ALL & ~(uint32_t)GUEST_TSO4);
    give_buffers(1, 8, 900);
    (void)send_bytes(0, 5012);
    assert_int_equal(used_by(1, RX), 0);
    drive(0, ALL & ~(uint32_t)HOST_TSO4);
    (void)send_bytes(0, 5012);
    assert_int_equal(nets[0].port.counts.malformed, 1);
}

/* Somebody works on the receiver: the store is made again, and what was taken isn't lost. */
static void test_busy(void **state)
{
    (void)state;
    give_buffers(1, 4, 1600);
    make_frame(0, 1, 60);
    spinlock_take(&nets[1].virtio.device.lock);
    describe_at(RINGS(0, TX), 0, FRAME, 72, 0, 0);
    offer_to(0, TX, 0);
    assert_false(set(0, 0x50, TX));
    assert_false(set(0, 0x50, TX));
    assert_int_equal(used_by(0, TX), 0);
    spinlock_release(&nets[1].virtio.device.lock);
    assert_true(set(0, 0x50, TX));
    assert_int_equal(used_by(1, RX), 1);
    assert_int_equal(used_by(0, TX), 1);
}

enum { HZ = 1000000 };

/* Time passes, and timers fire when they should. */
static void pass(uint64_t ticks)
{
    for (const uint64_t end = fake_arch.time + ticks; fake_arch.time < end; fake_arch.time++) {
        (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
    }
}

static void send_many(unsigned from, unsigned to, uint32_t length, unsigned count)
{
    make_frame(from, to, length);
    describe_at(RINGS(from, TX), 0, FRAME, 12 + length, 0, 0);
    for (unsigned n = 0; n < count; n++) {
        offer_to(from, TX, 0);
    }
    assert_true(set(from, 0x50, TX)); /* nobody traps again to wait */
}

/* The rest stays in the ring, goes by itself when its time has come, and nothing is lost. */
static void test_rate(void **state)
{
    (void)state;
    clock_hz = HZ;
    nets[0].rate.limit = (struct rate_limit){.bytes = 10000};
    give_buffers(1, 16, 600);
    send_many(0, 1, 500, 12);
    assert_int_equal(used_by(0, TX), 3); /* a tenth of a second's worth, and what is over */
    pass(49000);
    assert_int_equal(used_by(0, TX), 3);
    levels[0] = false;
    pass(2000);
    assert_int_equal(used_by(0, TX), 4);
    assert_int_equal(used_by(1, RX), 4);
    assert_true(levels[0]); /* its driver hears of it */
    spinlock_take(&nets[1].virtio.device.lock);
    pass(60000); /* the receiver is busy all the time */
    spinlock_release(&nets[1].virtio.device.lock);
    assert_int_equal(used_by(0, TX), 4);
    pass(HZ);
    assert_int_equal(used_by(0, TX), 12);
    assert_int_equal(used_by(1, RX), 12);
    assert_null(hart_this()->timers.root);
    nets[0].rate.limit = (struct rate_limit){0, 0};
    clock_hz = 0;
}

/* Operations are frames, good or bad; and there is no way around by a reset, after which nothing is armed. */
static void test_rate_outlives_a_reset(void **state)
{
    (void)state;
    clock_hz = HZ;
    nets[0].rate.limit = (struct rate_limit){.operations = 100};
    pass(HZ);
    give_buffers(1, 16, 600);
    make_frame(2, 1, 60); /* from an address that isn't its own */
    (void)send_bytes(0, 72);
    (void)send_bytes(0, 72);
    assert_int_equal(nets[0].port.counts.spoofed, 2);
    drive(0, ALL);
    send_many(0, 0, 60, 14);             /* to itself */
    assert_int_equal(used_by(0, TX), 9); /* of 11 at once */
    assert_non_null(hart_this()->timers.root);
    drive(0, ALL);
    assert_null(hart_this()->timers.root);
    send_many(0, 1, 60, 3);
    assert_int_equal(used_by(0, TX), 0);
    assert_non_null(hart_this()->timers.root);
    pass(31000);
    assert_int_equal(used_by(0, TX), 3);
    pass(HZ);
    set(0, 0x70, 0);
    assert_null(hart_this()->timers.root);
    clock_hz = 0;
}

/* A frame that waits for a busy receiver is not for whoever has that place later. */
static void test_place_taken_over(void **state)
{
    (void)state;
    nets[0].port.isolated = true;
    for (unsigned to = 1; to <= DEVICES; to += 2) { /* to one, to all */
        give_buffers(2, 4, 1600);
        network_detach(&nets[2].port);
        make_frame(0, to, 60);
        spinlock_take(&nets[1].virtio.device.lock);
        describe_at(RINGS(0, TX), 0, FRAME, 72, 0, 0);
        offer_to(0, TX, 0);
        assert_false(set(0, 0x50, TX));
        spinlock_release(&nets[1].virtio.device.lock);
        const unsigned place = nets[1].port.place;
        network_detach(&nets[1].port);
        nets[2].port.isolated = true;
        network->ports[place] = &nets[2].port;
        nets[2].port.place = place;
        network_open(&nets[2].port);
        assert_true(set(0, 0x50, TX));
        assert_int_equal(used_by(2, RX), 0);
        network_detach(&nets[2].port);
        assert_int_equal(network_attach(&nets[2].port), DX_OK);
        assert_int_equal(network_attach(&nets[1].port), DX_OK);
        network_open(&nets[1].port);
        network_open(&nets[2].port);
    }
}

/* Others don't find what isn't made in whole yet, but it has its address. */
static void test_not_open(void **state)
{
    struct network_port port = {.network = network, .address = {2, 0, 0, 0, 0, 77}};
    struct network_port other = port;
    (void)state;
    assert_int_equal(network_attach(&port), DX_OK);
    assert_int_equal(network_attach(&other), DX_DUPLICATE);
    const uint64_t open = UINT64_C(1) << nets[1].port.place | UINT64_C(1) << nets[2].port.place;
    assert_int_equal(network_targets(&nets[0].port, (const uint8_t[]){255, 255, 255, 255, 255, 255}), open);
    assert_int_equal(network_targets(&nets[0].port, port.address), 0);
    assert_null(network_target(&nets[0].port, port.address, port.place));
    network_open(&port);
    assert_ptr_equal(network_target(&nets[0].port, port.address, port.place), &port);
    assert_null(network_target(&nets[0].port, nets[1].port.address, port.place));
    network_detach(&port);
    assert_null(network_target(&nets[0].port, port.address, port.place));
}

/* What was judged is what is delivered, whatever the sender writes there meanwhile. */
static void test_judged_from_a_copy(void **state)
{
    (void)state;
    give_buffers(1, 4, 1600);
    make_frame(0, 1, 100);
    put(FRAME, 1, 1);
    put(FRAME + 6, 34, 2);
    put(FRAME + 8, 16, 2);
    spinlock_take(&nets[1].virtio.device.lock);
    describe_at(RINGS(0, TX), 0, FRAME, 112, 0, 0);
    offer_to(0, TX, 0);
    assert_false(set(0, 0x50, TX)); /* the receiver is busy */
    spinlock_release(&nets[1].virtio.device.lock);
    put_bytes(FRAME + 12, nets[2].port.address, 6);
    put_bytes(FRAME + 18, nets[2].port.address, 6);
    put(FRAME + 1, 1, 1);
    put(FRAME + 4, 1, 2);
    put(FRAME + 6, 0xfff0, 2);
    describe_at(RINGS(0, TX), 0, FRAME, 30, 0, 0);
    assert_true(set(0, 0x50, TX));
    assert_int_equal(used_by(1, RX), 1);
    assert_int_equal(used_length_by(1, 0), 112);
    for (unsigned n = 0; n < 6; n++) {
        assert_int_equal(get(BUFFERS(1) + 12 + n, 1), nets[1].port.address[n]);
        assert_int_equal(get(BUFFERS(1) + 18 + n, 1), nets[0].port.address[n]);
    }
    assert_int_equal(get(BUFFERS(1), 2), 1);
    assert_int_equal(get(BUFFERS(1) + 4, 2), 0);
    assert_int_equal(get(BUFFERS(1) + 6, 2), 34);
}

/* A receiver that breaks a rule, or isn't there, is its own affair. */
static void test_bad_receiver(void **state)
{
    (void)state;
    describe_at(RINGS(1, RX), 0, 0x1000, 100, WRITE, 0);
    offer_to(1, RX, 0);
    send(0, 1, 60);
    assert_true((status(1) & VIRTIO_NEEDS_RESET) != 0);
    assert_int_equal(status(0), 15);
    assert_int_equal(used_by(0, TX), 1);
    drive(1, ALL);
    describe_at(RINGS(1, RX), 0, BUFFERS(1), 100, 0, 0); /* to be read */
    offer_to(1, RX, 0);
    send(0, 1, 60);
    assert_true((status(1) & VIRTIO_NEEDS_RESET) != 0);
    set(1, 0x70, 0);
    send(0, 1, 60);
    network_detach(&nets[1].port);
    send(0, 1, 60);
    assert_int_equal(used_by(0, TX), 4);
    assert_int_equal(nets[1].port.counts.received, 0);
}

/* What an uplink gets: whole, and all that is for nobody here. */
static uint8_t outside[2000];
static unsigned outside_count;
static uint32_t outside_length;

static enum network_result to_outside(struct network_port *port, struct network_frame *frame)
{
    (void)port;
    network_sum(frame);
    network_read_whole(frame, 0, outside, frame->length);
    outside_length = frame->length;
    outside_count++;
    return NETWORK_DELIVERED;
}

static void test_uplink(void **state)
{
    struct network_port uplink = {.network = network, .address = {6}, .is_uplink = true, .deliver = to_outside};
    uint32_t total = 0;
    (void)state;
    outside_count = 0;
    assert_int_equal(network_attach(&uplink), DX_OK);
    network_open(&uplink);
    give_buffers(0, 8, 1600);
    give_buffers(1, 8, 1600);
    send(0, 1, 60);
    assert_int_equal(outside_count, 0);
    send(0, DEVICES, 60);
    assert_int_equal(outside_count, 1);
    assert_int_equal(used_by(1, RX), 2);
    nets[0].port.isolated = true;
    make_frame(0, 1, 999);
    put(FRAME + 12 + 5, 99, 1); /* nobody's here */
    put(FRAME, 1, 1);
    put(FRAME + 6, 34, 2);
    put(FRAME + 8, 16, 2);
    (void)send_bytes(0, 12 + 999);
    assert_int_equal(outside_count, 2);
    assert_int_equal(outside_length, 999);
    assert_int_equal(used_by(1, RX), 2);
    for (unsigned n = 34; n < 999; n++) { /* with the sum of the pseudo header, of which we know what it was */
        const uint8_t byte = n == 50 || n == 51 ? (uint8_t)(3 * n) : outside[n];
        total += (uint32_t)byte << ((n & 1) != 0 ? 0 : 8);
    }
    while (total >> 16 != 0) {
        total = (total & 0xffff) + (total >> 16);
    }
    assert_int_equal(outside[50] << 8 | outside[51], ~total & 0xffff);
    assert_true(network_has(&uplink, nets[1].port.address));
    assert_false(network_has(&nets[1].port, nets[1].port.address));
    assert_int_equal(network_targets(&uplink, nets[1].port.address), UINT64_C(1) << nets[1].port.place);
    assert_int_equal(network_targets(&uplink, (const uint8_t[]){2, 9, 9, 9, 9, 9}), 0);
    network_detach(&uplink);
}

static void test_many_ports(void **state)
{
    static struct network_port ports[NETWORK_PORTS_MAX];
    unsigned count = 0;
    (void)state;
    for (; count < NETWORK_PORTS_MAX; count++) {
        ports[count] = (struct network_port){.network = network, .address = {2, 1, 0, 0, 0, (uint8_t)count}};
        if (network_attach(&ports[count]) != DX_OK) {
            break;
        }
    }
    assert_int_equal(count, NETWORK_PORTS_MAX - DEVICES);
    assert_int_equal(network_attach(&ports[count]), DX_TOO_MANY);
    while (count > 0) {
        network_detach(&ports[--count]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unicast, setup, teardown),
        cmocka_unit_test_setup_teardown(test_group, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spoofed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_isolated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_outlives_a_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_place_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judged_from_a_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_receiver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uplink, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_ports, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
