/* SPDX-License-Identifier: MIT
 *
 * A hostile driver of virtio disks, a console, and two devices on one network: broken rings one by one, rings where no
 * RAM is, then noise and resets from all harts at once. After each the device must be as new. The first disk is
 * read-only, and its byte n is 7·n; the second is written to at random.
 */
#include "forms.h"
#include "guest.h"

enum { SIZE = 8, DISKS = 2, CONSOLE = DISKS, SENDER, RECEIVER, DEVICES, NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum { ID = 0x8, FEATURES = 0x20, FEATURES_SEL = 0x24, SELECT = 0x30, NUM = 0x38, READY = 0x44, NOTIFY = 0x50 };
enum { ACK = 0x64, STATUS = 0x70, DESCRIPTORS = 0x80, DRIVER = 0x90, DEVICE = 0xa0 };
enum { NEEDS_RESET = 64, WORKING = 15, VERSION_1 = 1, FEATURE_INDIRECT = 1 << 28, FEATURE_MULTIPORT = 1 << 1 };
enum { CONFIG = 0x100, FEATURES_NET = 0x8983 }; /* checksums, TSO4, both ways, and merged buffers */

/* All that a device may touch; what lies around it must never change. */
static struct rings {
    uint8_t before[4096];
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } table[SIZE], inner[SIZE];
    uint16_t available[4 + SIZE];
    uint32_t used[2 + 2 * SIZE];
    uint64_t header[2];
    uint8_t data[2048];
    uint8_t state;
    uint8_t after[4096];
} __attribute__((aligned(4096))) rings[DEVICES];

static unsigned long disks[DEVICES]; /* and the others */
static unsigned queue;               /* that is driven */

static unsigned long get(unsigned disk, unsigned offset)
{
    return must_load(disks[disk] + offset, 4) & 0xffffffff;
}

static void set(unsigned disk, unsigned offset, unsigned long value)
{
    must_store(disks[disk] + offset, 4, value);
}

static uint64_t at(const volatile void *place)
{
    return (uint64_t)(uintptr_t)place;
}

static void set_64(unsigned disk, unsigned offset, uint64_t value)
{
    set(disk, offset, (unsigned long)(value & 0xffffffff));
    set(disk, offset + 4, (unsigned long)(value >> 32));
}

static void place_rings(unsigned disk, uint64_t table, uint64_t available, uint64_t used, unsigned long size)
{
    set(disk, SELECT, queue);
    set(disk, NUM, size);
    set_64(disk, DESCRIPTORS, table);
    set_64(disk, DRIVER, available);
    set_64(disk, DEVICE, used);
    set(disk, READY, 1);
}

static unsigned long features_of(unsigned disk)
{
    return disk == CONSOLE ? FEATURE_MULTIPORT : disk < DISKS ? 0 : FEATURES_NET;
}

static void negotiate(unsigned disk)
{
    set(disk, STATUS, 0);
    set(disk, STATUS, 1);
    set(disk, STATUS, 3);
    set(disk, FEATURES_SEL, 1);
    set(disk, FEATURES, VERSION_1);
    set(disk, FEATURES_SEL, 0);
    set(disk, FEATURES, FEATURE_INDIRECT | features_of(disk));
    set(disk, STATUS, 11);
}

static void describe(unsigned disk, unsigned n, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
    rings[disk].table[n].address = address;
    rings[disk].table[n].length = length;
    rings[disk].table[n].flags = (uint16_t)flags;
    rings[disk].table[n].next = (uint16_t)next;
}

/* A device that works, and in its ring a request that reads the first two sectors. */
static void drive(unsigned disk)
{
    struct rings *own = &rings[disk];
    negotiate(disk);
    memset(own, 0, sizeof(*own));
    memset(own->data, 0xee, sizeof(own->data));
    own->state = 0xee;
    describe(disk, 0, at(own->header), sizeof(own->header), NEXT, 1);
    describe(disk, 1, at(own->data), 1024, NEXT | WRITE, 2);
    describe(disk, 2, at(&own->state), 1, WRITE, 0);
    own->available[1] = 1;
    place_rings(disk, at(own->table), at(own->available), at(own->used), SIZE);
    set(disk, STATUS, WORKING);
}

static void notify(unsigned disk)
{
    fence_all();
    set(disk, NOTIFY, queue);
    fence_all();
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        if (bytes[n] != 0) {
            return false;
        }
    }
    return true;
}

static bool untouched(unsigned disk)
{
    return is_zero(rings[disk].before, sizeof(rings[disk].before)) &&
           is_zero(rings[disk].after, sizeof(rings[disk].after));
}

/* A disk of the machine takes its time; a RAM disk's answer is there already. */
static void await_answer(unsigned disk)
{
    const uint64_t end = now() + milliseconds(5000);
    while (*(volatile uint32_t *)&rings[disk].used[0] == 0 && (get(disk, STATUS) & NEEDS_RESET) == 0 && now() < end) {
    }
    fence_all();
}

/* Whether a device does what it should, from a reset on. */
static bool serves(unsigned disk)
{
    struct rings *own = &rings[disk];
    drive(disk);
    notify(disk);
    await_answer(disk);
    for (unsigned n = 0; disk == 0 && n < 1024; n++) {
        if (own->data[n] != (uint8_t)(7 * n)) {
            return false;
        }
    }
    return (own->used[0] >> 16) == 1 && own->state == 0 && own->data[1024] == 0xee && untouched(disk) &&
           get(disk, STATUS) == WORKING;
}

static void virtio_find(void)
{
    unsigned found = 0;
    unsigned nets = 0;
    for (size_t n = 0; n < machine.device_count; n++) {
        const struct machine_device *device = &machine.devices[n];
        if (!text_equal(device->compatible, "virtio,mmio")) {
            continue;
        }
        const unsigned long id = must_load((unsigned long)device->base + ID, 4);
        if (id == 2 && found < DISKS) {
            disks[found++] = (unsigned long)device->base;
        } else if (id == 3) {
            disks[CONSOLE] = (unsigned long)device->base;
        } else if (id == 1 && nets < 2) {
            disks[SENDER + nets++] = (unsigned long)device->base;
        }
    }
    check(found == DISKS && disks[CONSOLE] != 0 && nets == 2, "the tree has %u virtio disks, a console, %u networks",
          found, nets);
    if (found != DISKS || disks[CONSOLE] == 0 || nets != 2) {
        finish();
    }
    check(serves(0), "a read gives what is on the disk");
    check(serves(1), "the other disk works too");
}

/* --- one rule after the other --------------------------------------------------------------------------------- */

/* What is wrong with the request that drive made. */
static void break_it(unsigned n)
{
    struct rings *own = &rings[0];
    switch (n) {
    case 0:
        own->available[1] = SIZE + 1;
        break;
    case 1:
        own->available[2] = SIZE;
        break;
    case 2:
        own->available[2] = 0xffff;
        break;
    case 3:
        own->table[1].next = SIZE;
        break;
    case 4:
        own->table[1].next = 1; /* a loop */
        break;
    case 5:
        own->table[1].length = 0;
        break;
    case 6:
        own->table[2].flags = NEXT; /* readable behind writable */
        own->table[2].next = 3;
        describe(0, 3, at(&own->state), 1, WRITE, 0);
        break;
    case 7:
        own->table[0].length = 15;
        break;
    case 8:
        own->table[0].flags = 0;
        break;
    case 9:
        describe(0, 0, at(own->inner), 16 * SIZE, INDIRECT | NEXT, 1);
        break;
    case 10:
        describe(0, 0, at(own->inner), 16 * SIZE + 16, INDIRECT, 0);
        break;
    case 11:
        describe(0, 0, at(own->inner), 15, INDIRECT, 0);
        break;
    case 12:
        describe(0, 0, at(own->inner), 16, INDIRECT, 0);
        own->inner[0].address = at(own->inner);
        own->inner[0].length = 16;
        own->inner[0].flags = INDIRECT;
        break;
    default:
        own->table[1].length = 0xffffffff;
        break;
    }
}

static void virtio_rules(void)
{
    enum { RULES = 14 };
    for (unsigned n = 0; n < RULES; n++) {
        drive(0);
        break_it(n);
        notify(0);
        case_check((get(0, STATUS) & NEEDS_RESET) != 0, "rule %u: status 0x%lx", n, get(0, STATUS));
        case_check(rings[0].used[0] == 0 && rings[0].state == 0xee && untouched(0), "rule %u: something was done", n);
        notify(0);
        case_check(rings[0].used[0] == 0, "rule %u: not silent", n);
        case_check(serves(0), "rule %u: not as new after a reset", n);
    }
    cases_end("rules: each that is broken is answered, and a reset mends it");
}

/* --- addresses --------------------------------------------------------------------------------------------------- */

static void virtio_addresses(void)
{
    const uint64_t end = machine.ram_base + machine.ram_size;
    const uint64_t bad[] = {0,
                            0x1000,
                            machine.ram_base - 4096,
                            end,
                            end - 16,
                            end + 4096,
                            (uint64_t)disks[0],
                            0x0c000000,
                            argument("foreign", 0),
                            machine.ram_base | 1ull << 32,
                            machine.ram_base | 1ull << 62,
                            ~0ull - 15,
                            ~0ull - 4095};
    const struct rings *own = &rings[0];
    for (unsigned n = 0; n < COUNT_OF(bad); n++) {
        drive(0);
        rings[0].table[1].address = bad[n];
        notify(0);
        case_check((get(0, STATUS) & NEEDS_RESET) != 0, "a buffer at 0x%llx", (unsigned long long)bad[n]);
        drive(0);
        describe(0, 0, bad[n], 32, INDIRECT, 0);
        notify(0);
        case_check((get(0, STATUS) & NEEDS_RESET) != 0, "a table at 0x%llx", (unsigned long long)bad[n]);
        for (unsigned which = 0; which < 3; which++) {
            negotiate(0);
            place_rings(0, which == 0 ? bad[n] : at(own->table), which == 1 ? bad[n] : at(own->available),
                        which == 2 ? bad[n] : at(own->used), SIZE);
            case_check(get(0, READY) == 0, "ring %u at 0x%llx", which, (unsigned long long)bad[n]);
            set(0, STATUS, WORKING);
            notify(0);
        }
        case_check(serves(0), "not as new after 0x%llx", (unsigned long long)bad[n]);
    }
    cases_end("addresses: none outside RAM is used");
}

/* --- the console's queues ----------------------------------------------------------------------------------------- */

enum { INPUT, OUTPUT, TO_DRIVER, FROM_DRIVER, QUEUES };
static const char line[] = "# the console works\r\n";

/* A console that works with the one queue, in whose ring is a buffer of so many bytes. */
static void drive_console(unsigned which, uint64_t buffer, uint32_t length, unsigned flags)
{
    struct rings *own = &rings[CONSOLE];
    queue = which;
    negotiate(CONSOLE);
    memset(own, 0, sizeof(*own));
    memcpy(own->data, line, sizeof(line));
    describe(CONSOLE, 0, buffer, length, flags, 0);
    own->available[1] = 1;
    place_rings(CONSOLE, at(own->table), at(own->available), at(own->used), SIZE);
    set(CONSOLE, STATUS, WORKING);
}

static bool console_serves(void)
{
    struct rings *own = &rings[CONSOLE];
    drive_console(OUTPUT, at(own->data), sizeof(line) - 1, 0);
    notify(CONSOLE);
    await_answer(CONSOLE); /* while the terminal has no room for it */
    return (own->used[0] >> 16) == 1 && get(CONSOLE, STATUS) == WORKING && untouched(CONSOLE);
}

/* What each queue's buffers may not be; of the two that the device writes to nothing is taken while it has nothing. */
static void abuse_queue(unsigned which)
{
    const uint64_t data = at(rings[CONSOLE].data);
    const bool hears = which == OUTPUT || which == FROM_DRIVER;
    const struct {
        uint64_t buffer;
        uint32_t length;
        unsigned flags;
    } bad[] = {
        {data, 16, hears ? WRITE : 0},
        {data, 0, 0},
        {data, 16, NEXT},
        {data, 16, INDIRECT},
        {0x1000, 16, 0},
        {argument("foreign", 0), 16, 0},
        {~0ull - 7, 16, 0},
        {data, 0xffffffff, 0},
    };
    for (unsigned n = 0; n < COUNT_OF(bad); n++) {
        drive_console(which, bad[n].buffer, bad[n].length, bad[n].flags);
        notify(CONSOLE);
        case_check(!hears || (get(CONSOLE, STATUS) & NEEDS_RESET) != 0, "queue %u, buffer %u", which, n);
        case_check(rings[CONSOLE].used[0] == 0 && untouched(CONSOLE), "queue %u, buffer %u: used", which, n);
        case_check(console_serves(), "queue %u, buffer %u: not as new", which, n);
    }
}

/* Messages about ports and events that there are not, of any value. */
static void send_messages(void)
{
    struct rings *own = &rings[CONSOLE];
    uint64_t state = 77;
    drive_console(FROM_DRIVER, at(own->data), 8, 0);
    for (unsigned n = 1; n <= 2000; n++) {
        const uint64_t noise = random64(&state);
        const uint32_t words[] = {(noise & 1) != 0 ? 0 : (uint32_t)(noise >> 32), (uint32_t)(noise >> 8) & 0x3000f};
        memcpy(own->data, words, sizeof(words));
        own->available[2 + (n - 1) % SIZE] = 0;
        own->available[1] = (uint16_t)n;
        notify(CONSOLE);
    }
    case_check((own->used[0] >> 16) == 2000 && get(CONSOLE, STATUS) == WORKING, "messages: used 0x%lx",
               (unsigned long)own->used[0]);
    case_check(console_serves(), "messages: not as new");
}

static void virtio_console(void)
{
    check(console_serves(), "a line goes out");
    for (unsigned which = 0; which < QUEUES; which++) {
        abuse_queue(which);
    }
    send_messages();
    cases_end("console: none of its queues takes what it may not");
    set(CONSOLE, STATUS, 0);
    queue = 0;
}

/* --- two devices on one network ---------------------------------------------------------------------------------- */

enum { RECEIVE, TRANSMIT };
enum { NET_HEADER = 12, FRAME = 60, ADDRESS = 6 };

static void drive_net(unsigned device, unsigned which, uint32_t length, unsigned flags)
{
    struct rings *own = &rings[device];
    queue = which;
    negotiate(device);
    memset(own, 0, sizeof(*own));
    describe(device, 0, at(own->data), length, flags, 0);
    own->available[1] = 1;
    place_rings(device, at(own->table), at(own->available), at(own->used), SIZE);
    set(device, STATUS, WORKING);
}

static void put_address(uint8_t *place, unsigned device)
{
    for (unsigned n = 0; n < ADDRESS; n++) {
        place[n] = (uint8_t)must_load(disks[device] + CONFIG + n, 1);
    }
}

/* One is about to send a frame, the other has a buffer for it. */
static void drive_nets(void)
{
    uint8_t *data = rings[SENDER].data;
    drive_net(RECEIVER, RECEIVE, sizeof(rings[RECEIVER].data), WRITE);
    drive_net(SENDER, TRANSMIT, NET_HEADER + FRAME, 0);
    put_address(data + NET_HEADER, RECEIVER);
    put_address(data + NET_HEADER + ADDRESS, SENDER);
    for (unsigned n = 2 * ADDRESS; n < FRAME; n++) {
        data[NET_HEADER + n] = (uint8_t)(3 * n);
    }
}

static unsigned used_by(unsigned device)
{
    return rings[device].used[0] >> 16;
}

static bool nets_untouched(void)
{
    return untouched(SENDER) && untouched(RECEIVER);
}

static bool nets_serve(void)
{
    drive_nets();
    notify(SENDER);
    for (unsigned n = 0; n < FRAME; n++) {
        if (rings[RECEIVER].data[NET_HEADER + n] != rings[SENDER].data[NET_HEADER + n]) {
            return false;
        }
    }
    return used_by(SENDER) == 1 && used_by(RECEIVER) == 1 && rings[RECEIVER].used[2] == NET_HEADER + FRAME &&
           get(SENDER, STATUS) == WORKING && get(RECEIVER, STATUS) == WORKING && nets_untouched();
}

/* Buffers that one of the two may not have: it is the one that is asked for a reset. */
static void abuse_net(unsigned device, unsigned right)
{
    const struct rings *own = &rings[device];
    const unsigned other = device == SENDER ? RECEIVER : SENDER;
    const uint64_t data = at(own->data);
    const struct {
        uint64_t buffer;
        uint32_t length;
        unsigned flags;
    } bad[] = {
        {data, 72, right ^ WRITE},
        {data, 0, right},
        {data, 11, right},
        {data, 72, right | NEXT},
        {data, 72, INDIRECT},
        {0x1000, 72, right},
        {argument("foreign", 0), 72, right},
        {(uint64_t)disks[device], 72, right},
        {~0ull - 7, 72, right},
        {data, 0xffffffff, right},
    };
    for (unsigned n = 0; n < COUNT_OF(bad); n++) {
        drive_nets();
        describe(device, 0, bad[n].buffer, bad[n].length, bad[n].flags, 0);
        notify(SENDER);
        case_check((get(device, STATUS) & NEEDS_RESET) != 0, "net %u, buffer %u", device, n);
        case_check(get(other, STATUS) == WORKING, "net %u, buffer %u: the other one suffers", device, n);
        case_check(used_by(RECEIVER) == 0 && used_by(device) == 0 && nets_untouched(), "net %u, buffer %u: used",
                   device, n);
        case_check(nets_serve(), "net %u, buffer %u: not as new", device, n);
    }
}

/* Frames that are nobody's, or whose headers lie: they are taken, and nobody gets them. */
static void send_lies(void)
{
    enum { SOURCE = NET_HEADER + ADDRESS };
    static const struct {
        unsigned at;
        uint8_t value;
        uint32_t length;
    } lies[][4] = {
        {{SOURCE + 5, 0x99, 72}},                               /* from another address */
        {{SOURCE, 0xff, 72}},                                   /* from a group */
        {{0, 0, NET_HEADER + 1519}},                            /* longer than the network takes */
        {{0, 1, 72}, {6, 13, 72}},                              /* a checksum over the Ethernet header */
        {{0, 1, 72}, {6, 50, 72}, {8, 9, 72}},                  /* beyond the frame */
        {{0, 1, 72}, {6, 34, 72}, {9, 0xff, 72}},               /* likewise */
        {{1, 1, 72}, {4, 100, 72}},                             /* to be cut, without a checksum */
        {{0, 1, 72}, {1, 1, 72}, {6, 34, 72}, {8, 16, 72}},     /* in pieces of 0 bytes */
        {{0, 1, 72}, {1, 3, 72}, {4, 100, 72}, {6, 34, 72}},    /* UDP */
        {{0, 1, 72}, {1, 0x81, 72}, {4, 100, 72}, {6, 34, 72}}, /* ECN */
    };
    for (unsigned n = 0; n < COUNT_OF(lies); n++) {
        drive_nets();
        for (unsigned k = 0; k < COUNT_OF(lies[n]) && lies[n][k].length != 0; k++) {
            uint8_t *byte = &rings[SENDER].data[lies[n][k].at];
            const bool is_true = lies[n][k].at >= NET_HEADER && *byte == lies[n][k].value; /* addresses are random */
            *byte = is_true ? (uint8_t)~lies[n][k].value : lies[n][k].value;
            rings[SENDER].table[0].length = lies[n][k].length;
        }
        notify(SENDER);
        case_check(used_by(SENDER) == 1 && get(SENDER, STATUS) == WORKING, "lie %u is not taken", n);
        case_check(used_by(RECEIVER) == 0 && get(RECEIVER, STATUS) == WORKING, "lie %u is believed", n);
        case_check(nets_serve(), "lie %u: not as new", n);
    }
}

static void virtio_net(void)
{
    check(nets_serve(), "a frame goes from one device to the other");
    abuse_net(SENDER, 0);
    abuse_net(RECEIVER, WRITE);
    send_lies();
    cases_end("net: no queue takes what it may not, nobody gets what he may not");
    set(SENDER, STATUS, 0);
    set(RECEIVER, STATUS, 0);
    queue = 0;
}

/* --- noise from all harts ---------------------------------------------------------------------------------------- */

static volatile unsigned storm_rounds;

/* A frame for the other one, whose header is noise, and buffers that are both to be read and written. */
static void storm_frame(uint64_t noise, unsigned net)
{
    struct rings *own = &rings[net];
    const uint32_t header[] = {(noise & 1) != 0 ? 0 : (uint32_t)(noise >> 16) & 0x00400101, (uint32_t)(noise >> 24)};
    memcpy(own->data, header, sizeof(header));
    put_address(own->data + NET_HEADER, SENDER + RECEIVER - net);
    put_address(own->data + NET_HEADER + ADDRESS, (noise & 14) != 0 ? net : RECEIVER);
    describe(net, (unsigned)(noise >> 40) % SIZE, at(own->data), 26 + (uint32_t)(noise >> 48) % 1600,
             noise >> 4 & WRITE, 0);
}

static void storm_nets(uint64_t noise, unsigned net)
{
    struct rings *own = &rings[net];
    if (noise % 8 == 0) {
        negotiate(net);
        for (unsigned n = 0; n < 2; n++) { /* both with the same rings */
            set(net, SELECT, n);
            set(net, NUM, SIZE);
            set_64(net, DESCRIPTORS, at(own->table));
            set_64(net, DRIVER, at(own->available));
            set_64(net, DEVICE, at(own->used));
            set(net, READY, 1);
        }
        set(net, STATUS, WORKING);
    } else {
        storm_frame(noise >> 3, net);
        fence_all();
        set(net, NOTIFY, TRANSMIT);
    }
}

static void storm_step(uint64_t *state, unsigned disk)
{
    struct rings *own = &rings[disk];
    const uint64_t noise = random64(state);
    const unsigned n = (unsigned)(noise >> 8) % SIZE;
    switch ((unsigned)noise % 16) {
    case 0:
        set(disk, STATUS, 0);
        break;
    case 1:
        negotiate(disk);
        place_rings(disk, at(own->table), at(own->available), at(own->used), SIZE);
        set(disk, STATUS, WORKING);
        break;
    case 2:
        set(disk, (unsigned)(noise >> 16) % 0x100 & ~3u, (unsigned long)(noise >> 32) & 0xff);
        break;
    case 3:
    case 4:
        own->header[0] = (noise >> 16) % 16;
        own->header[1] = (noise >> 20) % 300;
        break;
    case 5:
    case 6:
    case 7:
        describe(disk, n, at(own->data) + (noise >> 16) % 256, (uint32_t)(noise >> 32) % 1700,
                 (unsigned)(noise >> 48) % 8, (unsigned)(noise >> 52) % 9);
        break;
    case 8:
        describe(disk, n, at(own->header), 16, NEXT, (n + 1) % SIZE);
        break;
    case 9:
        describe(disk, n, at(&own->state), 1, WRITE, 0);
        break;
    case 10:
        set(disk, ACK, 3);
        break;
    default:
        own->available[2 + own->available[1] % SIZE] = (uint16_t)n;
        own->available[1]++;
        notify(disk);
        break;
    }
}

static void storm(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument;
    for (unsigned n = 0; n < storm_rounds; n++) {
        storm_step(&state, (unsigned)(random64(&state) % DISKS));
        const uint64_t noise = random64(&state);
        const unsigned net = SENDER + (unsigned)(noise >> 63);
        if ((noise >> 60 & 3) == 0) {
            storm_nets(noise, net);
        } else if ((noise >> 60 & 3) == 1) {
            storm_step(&state, net);
        }
    }
}

static void virtio_storm(void)
{
    unsigned long others[HARTS_MAX];
    const size_t count = other_harts(others, HARTS_MAX);
    storm_rounds = (unsigned)argument("rounds", 20000);
    serves(0);
    serves(1);
    for (size_t n = 0; n < count; n++) {
        same("storm: a hart starts", (unsigned long)hart_run(others[n], storm, (void *)(uintptr_t)(n + 2)), 0);
    }
    storm((void *)(uintptr_t)1);
    for (size_t n = 0; n < count; n++) {
        check(hart_wait(others[n]), "storm: hart %lu comes to its end", others[n]);
    }
    check(untouched(0) && untouched(1) && nets_untouched(), "storm: nothing was written beside the buffers");
    check(serves(0), "storm: the read-only disk is as it was");
    check(serves(1), "storm: the other disk works");
    check(nets_serve(), "storm: the network works");
}

const struct subtest subtests[] = {
    {"find", virtio_find, false},       {"rules", virtio_rules, false}, {"addresses", virtio_addresses, false},
    {"console", virtio_console, false}, {"net", virtio_net, false},     {"storm", virtio_storm, false},
};
const size_t subtest_count = COUNT_OF(subtests);
