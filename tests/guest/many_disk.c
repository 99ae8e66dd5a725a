/* SPDX-License-Identifier: MIT
 *
 * The storm of a disk: as many requests in flight as it takes, each in as many pieces as there may be, and at once
 * again when it is answered. Its rings and buffers lie in the second half of RAM, of which there must be 2 MiB.
 */
#include "many.h"

enum { RING = 128, CHAINS = 32, PIECES = 124, PIECE = 512, NEXT = 1, WRITE = 2, INDIRECT = 4 };
enum { ID = 0x8, FEATURES = 0x20, FEATURES_SEL = 0x24, NUM = 0x38, READY = 0x44, NOTIFY = 0x50 };
enum { STATUS = 0x70, DESCRIPTORS = 0x80, DRIVER = 0x90, DEVICE = 0xa0 };
enum { VERSION_1 = 1, FEATURE_INDIRECT = 1 << 28, WORKING = 15 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct storage {
    struct descriptor table[RING];
    uint16_t available[2 + RING + 1];
    uint32_t used[1 + 2 * RING + 1] __attribute__((aligned(4096)));
    struct descriptor chains[CHAINS][PIECES + 2];
    uint64_t headers[CHAINS][2]; /* reads from sector 0 */
    uint8_t answers[CHAINS];
    uint8_t data[CHAINS][PIECES * PIECE];
};

static struct storage *storage;
static volatile uint32_t *disk;
static uint16_t answered;

static uint64_t at(const volatile void *place)
{
    return (uint64_t)(uintptr_t)place;
}

static void set_64(unsigned offset, uint64_t value)
{
    disk[offset / 4] = (uint32_t)value;
    disk[offset / 4 + 1] = (uint32_t)(value >> 32);
}

static void offer(unsigned chain)
{
    storage->available[2 + storage->available[1] % RING] = (uint16_t)chain;
    fence_all();
    storage->available[1]++;
}

static void make_chain(unsigned n)
{
    struct descriptor *chain = storage->chains[n];
    chain[0] = (struct descriptor){at(storage->headers[n]), 16, NEXT, 1};
    for (unsigned i = 0; i < PIECES; i++) {
        chain[1 + i] = (struct descriptor){at(&storage->data[n][i * PIECE]), PIECE, NEXT | WRITE, (uint16_t)(2 + i)};
    }
    chain[1 + PIECES] = (struct descriptor){at(&storage->answers[n]), 1, WRITE, 0};
    storage->table[n] = (struct descriptor){at(chain), sizeof(storage->chains[n]), INDIRECT, 0};
    offer(n);
}

static bool find_disk(void)
{
    for (size_t n = 0; n < machine.device_count; n++) {
        if (text_equal(machine.devices[n].compatible, "virtio,mmio")) {
            disk = (volatile uint32_t *)(uintptr_t)machine.devices[n].base;
            return disk[ID / 4] == 2;
        }
    }
    return false;
}

static void start(void)
{
    static const uint32_t steps[] = {0, 1, 3};
    storage = (struct storage *)(uintptr_t)(machine.ram_base + machine.ram_size / 2);
    for (unsigned n = 0; n < COUNT_OF(steps); n++) {
        disk[STATUS / 4] = steps[n];
    }
    disk[FEATURES_SEL / 4] = 1;
    disk[FEATURES / 4] = VERSION_1;
    disk[FEATURES_SEL / 4] = 0;
    disk[FEATURES / 4] = FEATURE_INDIRECT;
    disk[STATUS / 4] = 11;
    disk[NUM / 4] = RING;
    set_64(DESCRIPTORS, at(storage->table));
    set_64(DRIVER, at(storage->available));
    set_64(DEVICE, at(storage->used));
    disk[READY / 4] = 1;
    disk[STATUS / 4] = WORKING;
    for (unsigned n = 0; n < CHAINS; n++) {
        make_chain(n);
    }
}

void storm_disk(void)
{
    static bool tried, found;
    if (!tried) {
        tried = true;
        found = find_disk();
        if (found) {
            start();
        }
    }
    if (!found) {
        return;
    }
    const volatile uint32_t *used = storage->used;
    while ((uint16_t)(used[0] >> 16) != answered) {
        fence_all();
        offer(used[1 + 2 * (answered % RING)]);
        answered++;
    }
    fence_all();
    disk[NOTIFY / 4] = 0;
}
