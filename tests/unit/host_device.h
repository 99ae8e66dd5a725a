/* SPDX-License-Identifier: MIT
 *
 * A fake virtio disk of the machine behind virtio-mmio, legacy or version 2, for the tests of its driver: it reads the
 * driver's rings where they lie, as a device would, and answers when, and in what order, the test wants.
 */
#ifndef UNIT_HOST_DEVICE_H
#define UNIT_HOST_DEVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>

#include <cmocka.h>

#include "core/hart.h"
#include "core/memory.h"
#include "driver/host_blk.h"
#include "lib/format.h"
#include "fake_arch.h"
#include "support.h"

enum { FAKE_BLOCKS_MAX = 4096, FAKE_QUEUE = 256, FAKE_PENDING_MAX = 1024 };
enum { FAKE_SOURCE = 8, FAKE_HZ = 10000000, FAKE_POOL = 4 * MIB };

static struct {
    uint64_t base;
    uint32_t id;               /* 2: a disk; 4: entropy */
    bool modern, lazy, resets; /* lazy: answers only when told; resets: Status can be cleared */
    bool mute;                 /* never answers */
    uint64_t features;         /* offered */
    uint8_t config[64];
    uint8_t answer;     /* status of every request */
    uint32_t gives;     /* bytes of entropy that it says it has written */
    uint32_t queue_max; /* entries */
    uint8_t *bytes;
    /* what the driver has set */
    uint32_t status, select, queue_size, ready;
    uint64_t accepted, place[3];
    uint16_t seen, given;
    unsigned notifications, resets_seen, sent;
    uint16_t pending[FAKE_PENDING_MAX]; /* heads */
    unsigned pending_count;
} fake;

static struct machine_virtio fake_slot;

struct fake_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static inline uint16_t *fake_ring(unsigned which)
{
    return (uint16_t *)(uintptr_t)fake.place[which];
}

static inline void fake_legacy_rings(uint64_t table)
{
    fake.place[0] = table;
    fake.place[1] = table + 16 * (uint64_t)fake.queue_size;
    fake.place[2] = align_up(fake.place[1] + 2 * (3 + (uint64_t)fake.queue_size), PAGE_SIZE);
}

/* A device with SIZE_MAX takes no longer segments. */
static inline void fake_check_length(uint32_t length)
{
    uint32_t most;
    memcpy(&most, fake.config + 8, sizeof(most));
    assert_true((fake.accepted & 2) == 0 || length <= most);
}

static inline uint32_t fake_entropy(const struct fake_descriptor *buffer)
{
    assert_int_equal(buffer->flags, 2);
    for (uint32_t n = 0; n < buffer->length; n++) {
        ((uint8_t *)(uintptr_t)buffer->address)[n] = (uint8_t)(0x40 + n);
    }
    return fake.gives;
}

/* Does what the chain asks for, and writes its status; how many bytes were written. */
static inline uint32_t fake_perform(uint16_t head)
{
    const struct fake_descriptor *table = (const struct fake_descriptor *)(uintptr_t)fake.place[0];
    if (fake.id == VIRTIO_ID_RNG) {
        return fake_entropy(&table[head]);
    }
    const struct fake_descriptor *next = &table[head];
    uint32_t type, written = 1, flags[4];
    uint64_t sector;
    assert_int_equal(next->length, 16);
    memcpy(&type, (const void *)(uintptr_t)next->address, sizeof(type));
    memcpy(&sector, (const uint8_t *)(uintptr_t)next->address + 8, sizeof(sector));
    uint8_t *at = fake.bytes + sector * 512;
    for (; (next->flags & 1) != 0;) {
        next = &table[next->next];
        void *place = (void *)(uintptr_t)next->address;
        if ((next->flags & 1) == 0) {
            break; /* the status */
        }
        fake_check_length(next->length);
        if (type == 0 && fake.answer == 0) {
            assert_int_equal(next->flags & 2, 2);
            memcpy(place, at, next->length);
            written += next->length;
        } else if (type == 1) {
            assert_int_equal(next->flags & 2, 0);
            memcpy(at, place, next->length);
        } else if (type == 8) {
            memcpy(place, "fake-1\x01\0rest of it   ", next->length);
        } else if (type == 11 || type == 13) {
            memcpy(flags, place, sizeof(flags));
            memset(fake.bytes + 512 * (size_t)flags[0], 0, 512 * (size_t)flags[2]);
        }
        at += next->length;
    }
    assert_int_equal(next->length, 1);
    *(uint8_t *)(uintptr_t)next->address = fake.answer;
    return written;
}

static inline void fake_give(uint32_t head, uint32_t written)
{
    uint16_t *used = fake_ring(2);
    uint32_t element[2] = {head, written};
    memcpy(used + 2 + 4 * (size_t)(fake.given % fake.queue_size), element, sizeof(element));
    used[1] = ++fake.given;
}

/* Answers the n-th of those that wait. */
static inline void fake_answer(unsigned n)
{
    const uint16_t head = fake.pending[n];
    assert_true(n < fake.pending_count);
    memmove(&fake.pending[n], &fake.pending[n + 1], (--fake.pending_count - n) * sizeof(head));
    fake_give(head, fake_perform(head));
}

static inline void fake_notified(void)
{
    const uint16_t *available = fake_ring(1);
    fake.notifications++;
    while (fake.seen != available[1]) {
        assert_true(fake.pending_count < FAKE_PENDING_MAX);
        fake.pending[fake.pending_count++] = available[2 + fake.seen++ % fake.queue_size];
        fake.sent++;
    }
    while (!fake.lazy && !fake.mute && fake.pending_count > 0) {
        fake_answer(0);
    }
}

static inline uint32_t fake_read(uint64_t address, unsigned bytes)
{
    const uint64_t offset = address - fake.base;
    uint32_t value = 0;
    if (offset >= 0x100) {
        memcpy(&value, fake.config + (offset - 0x100), bytes);
        return value;
    }
    assert_int_equal(bytes, 4);
    switch (offset) {
    case 0x000:
        return 0x74726976;
    case 0x004:
        return fake.modern ? 2 : 1;
    case 0x008:
        return fake.id;
    case 0x010:
        return (uint32_t)(fake.features >> (32 * fake.select));
    case 0x034:
        return fake.queue_max;
    case 0x044:
        return fake.ready;
    case 0x070:
        return fake.status;
    default:
        return 0;
    }
}

static inline void fake_reset(void)
{
    fake.status = 0;
    fake.accepted = 0;
    fake.ready = 0;
    fake.seen = 0;
    fake.given = 0;
    fake.pending_count = 0;
    fake.resets_seen++;
    memset(fake.place, 0, sizeof(fake.place));
}

static inline void fake_write(uint64_t address, unsigned bytes, uint32_t value)
{
    const uint64_t offset = address - fake.base;
    assert_int_equal(bytes, 4);
    switch (offset) {
    case 0x014:
        fake.select = value;
        break;
    case 0x024:
        fake.select = value;
        break;
    case 0x020:
        fake.accepted |= (uint64_t)value << (32 * fake.select);
        break;
    case 0x038:
        fake.queue_size = value;
        break;
    case 0x040:
        assert_false(fake.modern);
        fake_legacy_rings((uint64_t)value * PAGE_SIZE);
        break;
    case 0x044:
        fake.ready = value;
        break;
    case 0x050:
        fake_notified();
        break;
    case 0x070:
        if (value != 0) {
            fake.status = value;
        } else if (fake.resets) {
            fake_reset();
        }
        break;
    case 0x080:
    case 0x090:
    case 0x0a0:
        fake.place[(offset - 0x080) / 16] = value;
        break;
    case 0x084:
    case 0x094:
    case 0x0a4:
        fake.place[(offset - 0x080) / 16] |= (uint64_t)value << 32;
        break;
    default:
        break;
    }
}

/* A device that works, of so many sectors; the n-th of this program, so that the driver takes it for another one. */
static inline void fake_make(bool modern, uint64_t sectors)
{
    static unsigned count;
    static uint8_t bytes[FAKE_BLOCKS_MAX * 512];
    memset(&fake, 0, sizeof(fake));
    memset(bytes, 0, sizeof(bytes));
    fake.base = 0x10000000 + 0x1000 * (uint64_t)count;
    fake.id = VIRTIO_ID_BLOCK;
    fake.modern = modern;
    fake.resets = true;
    fake.queue_max = FAKE_QUEUE;
    fake.bytes = bytes;
    fake.features = UINT64_C(1) << 2 | UINT64_C(1) << 6 | UINT64_C(1) << 9 | UINT64_C(1) << 13 | UINT64_C(1) << 14 |
                    UINT64_C(1) << 28 | (modern ? UINT64_C(1) << 32 : 0);
    memcpy(fake.config, &sectors, sizeof(sectors));
    const uint32_t fields[][2] = {{12, 126}, {20, 512}, {36, 1000}, {44, 1}, {48, 500}, {56, 1}};
    for (unsigned n = 0; n < ARRAY_LENGTH(fields); n++) {
        memcpy(fake.config + fields[n][0], &fields[n][1], 4);
    }
    fake_slot = (struct machine_virtio){.base = fake.base, .interrupt = FAKE_SOURCE + count};
    (void)format(fake_slot.path, sizeof(fake_slot.path), "/soc/virtio_mmio@%u", count++);
    fake_arch.on_mmio_read = fake_read;
    fake_arch.on_mmio_write = fake_write;
}

/* What the last timer of that hart was armed for has come. */
static inline void fake_pass(uint64_t ticks)
{
    fake_arch.time += ticks;
    (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
}

/* Who polls grows old. */
static inline uint64_t fake_time_passes(void)
{
    return fake_arch.time += 10;
}

/* Drivers remember their devices for ever, so their memory is never given back; a legacy device reaches low addresses
 * alone. */
static inline int fake_group_setup(void **state)
{
    static struct memory map;
    void *pool = mmap(NULL, FAKE_POOL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    (void)state;
    assert_ptr_not_equal(pool, MAP_FAILED);
    memory_map_add(&map, (struct range){(uintptr_t)pool, FAKE_POOL});
    memory_init(&map);
    clock_hz = FAKE_HZ;
    hart_ops.time = fake_time_passes;
    return 0;
}

#endif
