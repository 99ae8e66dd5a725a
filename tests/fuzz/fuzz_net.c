/* SPDX-License-Identifier: MIT
 *
 * Two network devices on one network under guests that write what they like, into registers and into RAM, and a third
 * port that looks at every frame: whatever was sent, it comes from the sender's own address, and nothing that its
 * header names lies outside it. Devices come and go, one of them has a rate.
 */
#include "core/hart.h"
#include "device/virtio_net.h"
#include "fake_arch.h"
#include "fuzz_world.h"

#define DEVICE_BASE UINT64_C(0x10001000)
enum { DEVICES = 2, QUEUES = 2, SIZE = 8, STEPS = 400, HZ = 1000000, MTU = 1500, FRAME_MOST = MTU + 14 + 4 };
enum { RECEIVE = 0, TRANSMIT = 1, WRITE = 2 };
/* Where a queue has its table, the last one across an edge; its rings follow. */
enum { RINGS = 0x3f0, RINGS_STEP = 0x400, AVAILABLE = 0x100, USED = 0x200, FRAME = 0x1400, BUFFERS = 0x1c00 };

static struct network *network;
static struct virtio_net nets[DEVICES];
static struct network_port watcher;
static uint16_t available[DEVICES][QUEUES];
static bool lines[DEVICES];
static bool attached[DEVICES];
static unsigned sender; /* who acts now */

static void on_line(void *controller, uint32_t source, bool level)
{
    (void)source;
    *(bool *)controller = level;
}

/* What every receiver may rely on. */
static enum network_result on_frame(struct network_port *port, struct network_frame *frame)
{
    static uint8_t bytes[VIRTIO_NET_FRAME_MOST];
    (void)port;
    assert(frame->length >= VIRTIO_NET_ETHERNET && frame->length <= VIRTIO_NET_FRAME_MOST);
    assert(frame->gso_type != 0 || frame->length <= FRAME_MOST);
    assert(frame->gso_type == 0 || (frame->needs_checksum && frame->gso_size != 0));
    assert(frame->gso_type == 0 || frame->header_length <= frame->length);
    if (frame->needs_checksum) {
        assert((uint32_t)frame->checksum_start + frame->checksum_offset + 2 <= frame->length);
        assert(frame->checksum_start >= VIRTIO_NET_ETHERNET);
    }
    frame->read(frame, 0, bytes, frame->length);
    assert(memcmp(bytes + NETWORK_ADDRESS, nets[sender].port.address, NETWORK_ADDRESS) == 0);
    network_sum(frame);
    network_read_whole(frame, 0, bytes, frame->length);
    return bytes[12] == 1 ? NETWORK_DROPPED : NETWORK_DELIVERED;
}

static void put(struct virtio_device *virtio, uint64_t offset, unsigned width, uint64_t value)
{
    for (unsigned n = 0; !device_write(&virtio->device, (gpa_t){DEVICE_BASE + offset}, width, value); n++) {
        assert(n < 1000);
    }
}

static uint64_t get(struct virtio_device *virtio, uint64_t offset, unsigned width)
{
    return device_read(&virtio->device, (gpa_t){DEVICE_BASE + offset}, width);
}

static uint64_t rings_of(unsigned d, unsigned queue)
{
    return RINGS + RINGS_STEP * ((uint64_t)d * QUEUES + queue);
}

static void drive(unsigned d, uint64_t without)
{
    struct virtio_device *virtio = &nets[d].virtio;
    put(virtio, 0x70, 4, 0);
    put(virtio, 0x70, 4, 3);
    put(virtio, 0x24, 4, 1);
    put(virtio, 0x20, 4, 1);
    put(virtio, 0x24, 4, 0);
    put(virtio, 0x20, 4, virtio->offered & UINT32_MAX & ~without);
    put(virtio, 0x70, 4, 11);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        const uint64_t rings[] = {0, AVAILABLE, USED};
        put(virtio, 0x30, 4, queue);
        put(virtio, 0x38, 4, SIZE);
        for (unsigned n = 0; n < 3; n++) {
            put(virtio, 0x80 + 0x10 * n, 4, RAM_BASE + rings_of(d, queue) + rings[n]);
            put(virtio, 0x84 + 0x10 * n, 4, 0);
        }
        put(virtio, 0x44, 4, 1);
        store(rings_of(d, queue) + AVAILABLE, 0, 4);
        available[d][queue] = 0;
    }
    put(virtio, 0x70, 4, 15);
}

static void describe(unsigned d, unsigned queue, uint64_t n, uint64_t place, uint64_t length, uint64_t flags)
{
    const uint64_t at = rings_of(d, queue) + 16 * n;
    store(at, RAM_BASE + place, 8);
    store(at + 8, length, 4);
    store(at + 12, flags, 4); /* and next */
}

static void offer(unsigned d, unsigned queue, uint64_t head)
{
    const uint64_t ring = rings_of(d, queue) + AVAILABLE;
    store(ring + 4 + 2 * (available[d][queue] % SIZE), head, 2);
    store(ring + 2, ++available[d][queue], 2);
}

/* A frame that may well be good: its header, whom it is for and how long it is are the fuzzer's. */
static void send(unsigned d, struct input *input)
{
    static const uint64_t everyone = 0xffffffffffff;
    const uint64_t to = take(input, 1);
    uint64_t address = everyone;
    memcpy(&address, to % 4 < DEVICES ? nets[to % 4].port.address : watcher.address, NETWORK_ADDRESS);
    store(FRAME, take(input, 2), 8); /* flags and gso_type */
    store(FRAME + 2, take(input, 2), 2);
    store(FRAME + 4, take(input, 2), 2);
    store(FRAME + 6, take(input, 1), 2);
    store(FRAME + 8, take(input, 1), 4);
    store(FRAME + 12, to % 4 == 3 ? everyone : address, 6);
    for (unsigned n = 0; n < NETWORK_ADDRESS; n++) {
        store(FRAME + 18 + n, nets[(to & 64) == 0 ? d : 1 - d].port.address[n], 1); /* its own, or the other's */
    }
    describe(d, TRANSMIT, 0, FRAME, 12 + take(input, 2) % 0x1c00, 0);
    offer(d, TRANSMIT, 0);
    put(&nets[d].virtio, 0x50, 4, TRANSMIT);
}

static void give_buffers(unsigned d, struct input *input)
{
    const uint64_t length = take(input, 2) % 0x800;
    for (unsigned n = 1; n < SIZE; n++) {
        describe(d, RECEIVE, n, BUFFERS + take(input, 1), length, WRITE);
        offer(d, RECEIVE, n);
    }
}

static void come_or_go(unsigned d)
{
    if (attached[d]) {
        network_detach(&nets[d].port);
    } else {
        assert(network_attach(&nets[d].port) == DX_OK);
        network_open(&nets[d].port);
    }
    attached[d] = !attached[d];
}

static void pass(uint64_t ticks)
{
    fake_arch.time += ticks;
    sender = 1; /* the one that has a rate */
    (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
}

static void step(struct input *input)
{
    const uint64_t what = take(input, 1);
    const unsigned d = what >> 4 & 1;
    const unsigned queue = what >> 5 & 1;
    struct virtio_device *virtio = &nets[d].virtio;
    sender = d;
    switch (what % 16) {
    case 0:
        put(virtio, take(input, 2) % VIRTIO_WINDOW_SIZE & ~3ULL, 4, take(input, 4));
        break;
    case 1:
        (void)get(virtio, take(input, 2) % (VIRTIO_WINDOW_SIZE - 8), 1U << (what >> 6 & 3));
        break;
    case 2:
        drive(d, take(input, 4));
        break;
    case 3:
        describe(d, queue, take(input, 1) % (SIZE + 1), take(input, 2), take(input, 2), take(input, 3));
        break;
    case 4:
        offer(d, queue, take(input, 1) % (SIZE + 1));
        put(virtio, 0x50, 4, queue);
        break;
    case 5:
        store(take(input, 2), take(input, 8), 8);
        break;
    case 6:
        come_or_go(d);
        break;
    case 7:
        pass(take(input, 2));
        break;
    case 8:
        drive(d, 0);
        break;
    case 9:
    case 10:
        give_buffers(d, input);
        break;
    default:
        send(d, input);
        break;
    }
}

static void check(unsigned d)
{
    const uint64_t status = get(&nets[d].virtio, 0x70, 4);
    assert((status & 4) == 0 || (status & 8) != 0);
    assert((nets[d].virtio.accepted & ~nets[d].virtio.offered) == 0 || (status & 8) == 0);
    assert(lines[d] == (get(&nets[d].virtio, 0x60, 4) != 0));
    /* a frame that was begun is over, since the store is; or a timer is about to go on with it */
    assert(!nets[d].busy || (status & (64 | 128)) != 0 || nets[d].later.heap != NULL);
}

static void begin(unsigned kind)
{
    world_make();
    fake_arch_reset();
    clock_hz = HZ;
    fake_arch.time = 1;
    network = network != NULL ? network : network_add("fuzz", MTU);
    watcher = (struct network_port){.network = network, .address = {2, 7, 7, 7, 7, 7}, .deliver = on_frame};
    assert(network_attach(&watcher) == DX_OK);
    network_open(&watcher);
    for (unsigned d = 0; d < DEVICES; d++) {
        const struct network_port port = {
            .network = network, .address = {2, 0, 0, 0, 0, (uint8_t)(d + 1)}, .isolated = (kind >> d & 1) != 0};
        lines[d] = false;
        attached[d] = false;
        virtio_net_init(&nets[d], (gpa_t){DEVICE_BASE}, &world, (struct irq_line){on_line, &lines[d], 1}, &port);
        come_or_go(d);
        drive(d, 0);
    }
    nets[1].rate.limit = (struct rate_limit){(kind & 4) != 0 ? 100000 : 0, (kind & 8) != 0 ? 100 : 0};
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    begin((unsigned)take(&input, 1));
    for (unsigned n = 0; n < STEPS && input.left > 0; n++) {
        step(&input);
        check(0);
        check(1);
    }
    for (unsigned d = 0; d < DEVICES; d++) {
        virtio_device_reset(&nets[d].virtio);
        network_detach(&nets[d].port);
    }
    assert(hart_this()->timers.root == NULL);
    network_detach(&watcher);
    world_free();
    return 0;
}
