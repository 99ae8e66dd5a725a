/* SPDX-License-Identifier: MIT
 *
 * The machine's entropy devices: see host_rng.h. One request at a time.
 */
#include "driver/host_rng.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/timer.h"

enum { RNGS_MAX = 2, ANSWER_SECONDS = 5, ENOUGH = 32 /* bytes, to start with */ };

/* Used at boot by the boot hart, then by the hart that serves devices alone: no lock. */
struct host_rng {
    struct host_virtio virtio;
    struct host_queue queue;
    void (*mix)(const uint8_t *bytes, size_t length);
    uint8_t *bytes; /* a page that the device writes to */
    struct timer again;
};

static struct host_rng *rngs[RNGS_MAX];
static unsigned rng_count;

static void ask(struct host_rng *rng)
{
    const struct host_buffer buffer = {{(uintptr_t)rng->bytes, HOST_RNG_BYTES}, .writable = true};
    (void)host_queue_add(&rng->queue, &buffer, 1);
    host_queue_publish(&rng->queue);
}

/* Mixes an answer in, so many bytes; false: there is none. */
static bool take(struct host_rng *rng, uint32_t *length)
{
    uint16_t head;
    if (!host_queue_take(&rng->queue, &head, length)) {
        return false;
    }
    *length = MIN(*length, (uint32_t)HOST_RNG_BYTES);
    rng->mix(rng->bytes, *length);
    memset(rng->bytes, 0, HOST_RNG_BYTES);
    return true;
}

static void ask_again(struct timer *timer)
{
    ask(CONTAINER_OF(timer, struct host_rng, again));
}

void host_rng_serve(uint32_t source)
{
    for (unsigned n = 0; n < rng_count; n++) {
        struct host_rng *rng = rngs[n];
        uint32_t length;
        if (rng->virtio.where->interrupt != source) {
            continue;
        }
        host_virtio_acknowledge(&rng->virtio);
        if (take(rng, &length)) {
            rng->again.fire = ask_again;
            timer_arm(&hart_this()->timers, &rng->again, clock_now() + (uint64_t)HOST_RNG_AGAIN * clock_hz);
        }
    }
}

/* --- boot -------------------------------------------------------------------------------------------------------- */

/* It may give less than it is asked for. */
static bool gives_enough(struct host_rng *rng)
{
    const uint64_t end = clock_now() + (uint64_t)ANSWER_SECONDS * clock_hz;
    uint32_t left = ENOUGH;
    ask(rng);
    while (clock_now() <= end) {
        uint32_t length;
        if (take(rng, &length)) {
            host_virtio_acknowledge(&rng->virtio);
            ask(rng); /* the last one is answered when its interrupt is open */
            left -= MIN(left, length);
            if (left == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool start(struct host_rng *rng)
{
    if (!host_virtio_begin(&rng->virtio, 0) || !host_queue_begin(&rng->queue, &rng->virtio, 0)) {
        return false;
    }
    rng->bytes = memory_alloc(PAGE_SIZE);
    if (rng->bytes == NULL) {
        return false;
    }
    host_virtio_go(&rng->virtio);
    return gives_enough(rng);
}

bool host_rng_start(const struct host_virtio *device, void (*mix)(const uint8_t *bytes, size_t length))
{
    struct host_rng *rng = rng_count == RNGS_MAX ? NULL : memory_alloc(sizeof(*rng));
    if (rng == NULL) {
        log_alert("Entropy device %s is not used: no memory, or there are %d already", device->where->path, RNGS_MAX);
        return false;
    }
    rng->virtio = *device;
    rng->mix = mix;
    if (device->where->interrupt == 0 || !start(rng)) {
        log_alert("Entropy device %s is not used: it has no interrupt, or gives nothing", device->where->path);
        (void)host_virtio_reset(&rng->virtio); /* it may not: its memory is never given back */
        return false;
    }
    rngs[rng_count++] = rng;
    log_info("Entropy device %s", device->where->path);
    return true;
}
