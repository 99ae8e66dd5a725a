/* SPDX-License-Identifier: MIT
 *
 * A queue anywhere in RAM that the fuzzer fills: whatever chain comes out is bounded and all of it in RAM.
 */
#include "device/virtqueue.h"
#include "fuzz_world.h"

static void check(const struct virtqueue *queue, const struct virtqueue_chain *chain)
{
    uint64_t sum = 0;
    assert(chain->count >= 1 && chain->count <= queue->size && chain->readable_count <= chain->count);
    assert(chain->head < queue->size);
    for (unsigned n = 0; n < chain->count; n++) {
        assert(range_holds(world.ram, chain->segments[n].address.at, chain->segments[n].length));
        sum += chain->segments[n].length;
    }
    assert(sum == chain->readable + chain->writable && sum <= UINT32_MAX);
}

static void serve(struct virtqueue *queue, struct input *input)
{
    static struct virtqueue_chain chain;
    static uint8_t bytes[RAM_SIZE];
    for (unsigned n = 0; n < 300 && virtqueue_take(queue, &chain) == QUEUE_CHAIN; n++) {
        check(queue, &chain);
        const uint64_t readable = MIN(chain.readable, sizeof(bytes)), writable = MIN(chain.writable, sizeof(bytes));
        virtqueue_read(queue, &chain, chain.readable - readable, bytes, (size_t)readable);
        virtqueue_write(queue, &chain, chain.writable - writable, bytes, (size_t)writable);
        virtqueue_give(queue, &chain, (uint32_t)chain.writable);
        (void)virtqueue_interrupts(queue);
        store(take(input, 2), take(input, 2), 2); /* what the guest does meanwhile */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    struct virtqueue queue;
    world_make();
    virtqueue_reset(&queue, &world);
    const unsigned flags = (unsigned)take(&input, 1);
    queue.size = (flags & 0x80) != 0 ? (uint32_t)take(&input, 4) : 1U << (flags & 7);
    queue.event_index = (flags & 0x10) != 0;
    queue.indirect = (flags & 0x20) != 0;
    queue.descriptors.at = RAM_BASE + take(&input, 2);
    queue.driver.at = RAM_BASE + take(&input, 2);
    queue.device.at = RAM_BASE + take(&input, 2);
    for (unsigned n = 0; n < 24; n++) { /* descriptors in RAM more often than chance has them */
        const uint64_t at = queue.descriptors.at - RAM_BASE + 16ULL * n;
        store(at, RAM_BASE + take(&input, 2), 8);
        store(at + 8, take(&input, 2), 4);
        store(at + 12, take(&input, 1), 2);
        store(at + 14, take(&input, 1), 2);
    }
    store(queue.driver.at - RAM_BASE + 2, take(&input, 2), 2);
    for (uint64_t at = 4; input.left > 64; at++) {
        store(queue.driver.at - RAM_BASE + at, take(&input, 1), 1);
    }
    virtqueue_enable(&queue);
    if (queue.ready) {
        serve(&queue, &input);
    }
    world_free();
    return 0;
}
