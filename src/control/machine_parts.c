/* SPDX-License-Identifier: MIT
 *
 * The capsule machine's devices, at the addresses and interrupts of QEMU's virt machine.
 */
#include "control/machine_parts.h"

#include "control/virtio_parts.h"
#include "core/hart.h"
#include "core/memory.h"
#include "device/goldfish_rtc.h"
#include "device/plic.h"
#include "device/sunxi_wdt.h"
#include "device/syscon.h"
#include "device/uart16550.h"

#define PART_SYSCON   0x00100000u
#define PART_RTC      0x00101000u
#define PART_WATCHDOG 0x00102000u
#define PART_PLIC     0x0c000000u
#define PART_UART     0x10000000u
#define PART_VIRTIO   0x10001000u /* slots of 4 KiB */
enum { IRQ_UART = 10, IRQ_RTC = 11 };

/* Where the windows go instead if the capsule's RAM lies over them (boards with RAM at 0). */
#define PARTS_SPAN 0x20000000u

struct machine_parts {
    struct capsule *capsule;
    struct plic plic;
    struct uart16550 uart;
    struct goldfish_rtc rtc;
    struct timer alarm; /* rtc's */
    struct syscon syscon;
    struct sunxi_wdt watchdog; /* only if the capsule has one; its fields are 0 else */
    struct timer patience;     /* watchdog's */
    struct virtio_parts virtio;
    struct guest_tree tree;
};

#define NANOSECONDS  1000000000ull
#define YEAR_SECONDS (365ull * 86400)

static uint64_t (*clock_ns)(void);

void machine_parts_set_clock(uint64_t (*now_ns)(void))
{
    clock_ns = now_ns;
}

static uint64_t now_ns(void)
{
    return clock_ns == NULL ? 0 : clock_ns();
}

static void ring_alarm(struct timer *timer)
{
    struct machine_parts *parts = CONTAINER_OF(timer, struct machine_parts, alarm);
    goldfish_rtc_fire(&parts->rtc);
}

/* In ticks from now; far alarms are cut to a year, when the clock looks again. */
static uint64_t ticks_until(uint64_t when_ns)
{
    uint64_t now = now_ns();
    uint64_t wait = MIN(when_ns > now ? when_ns - now : 0, YEAR_SECONDS * NANOSECONDS);
    return wait / NANOSECONDS * clock_hz + wait % NANOSECONDS * clock_hz / NANOSECONDS + 1;
}

/* The clock's alarm is a deadline on the hart that set it; any hart may take it back. */
static void arm_alarm(struct goldfish_rtc *rtc, uint64_t when_ns)
{
    struct machine_parts *parts = CONTAINER_OF(rtc, struct machine_parts, rtc);
    timer_cancel(&parts->alarm);
    if (when_ns != GOLDFISH_RTC_NEVER) {
        parts->alarm.fire = ring_alarm;
        timer_arm(&hart_this()->timers, &parts->alarm, clock_now() + ticks_until(when_ns));
    }
}

static void lose_patience(struct timer *timer)
{
    struct machine_parts *parts = CONTAINER_OF(timer, struct machine_parts, patience);
    sunxi_wdt_fire(&parts->watchdog);
}

/* Likewise the watchdog's deadline: the watchdog's lock keeps harts from arming it at once. */
static void arm_watchdog(struct sunxi_wdt *watchdog, uint64_t deadline)
{
    struct machine_parts *parts = CONTAINER_OF(watchdog, struct machine_parts, watchdog);
    timer_cancel(&parts->patience);
    if (deadline != TIMER_NEVER) {
        parts->patience.fire = lose_patience;
        timer_arm(&hart_this()->timers, &parts->patience, deadline);
    }
}

static bool watchdog_held(struct sunxi_wdt *watchdog)
{
    const struct machine_parts *parts = CONTAINER_OF(watchdog, struct machine_parts, watchdog);
    return capsule_state(parts->capsule) == CAPSULE_PAUSED;
}

static void on_watchdog(struct sunxi_wdt *watchdog, uint32_t milliseconds)
{
    const struct machine_parts *parts = CONTAINER_OF(watchdog, struct machine_parts, watchdog);
    if (milliseconds % 1000 == 0) {
        capsule_stop(parts->capsule, STOP_WATCHDOG, "not fed for %u s", (unsigned)milliseconds / 1000);
    } else {
        capsule_stop(parts->capsule, STOP_WATCHDOG, "not fed for %u ms", (unsigned)milliseconds);
    }
}

static void on_plic(void *arg, uint32_t vcpu, bool level)
{
    const struct capsule *capsule = arg;
    vcpu_set_external(capsule_vcpu(capsule, vcpu), level);
}

static void on_syscon(void *arg, bool reboot)
{
    struct capsule *capsule = arg;
    capsule_stop(capsule, reboot ? STOP_RESET : STOP_POWER_OFF, "%s", "");
}

/* News from the terminal: the devices look at the port again, and whoever waits for room tries again. */
static void on_console(void *arg)
{
    struct capsule *capsule = arg;
    uart16550_notify(&capsule->parts->uart);
    if (capsule->parts->virtio.console != NULL) {
        virtio_console_notify(capsule->parts->virtio.console);
    }
    uint32_t waiters = atomic_exchange(&capsule->console_waiters, 0);
    while (waiters != 0) {
        uint32_t id = (uint32_t)__builtin_ctz(waiters);
        waiters &= waiters - 1;
        vcpu_unblock(capsule_vcpu(capsule, id));
    }
}

/* 0, or how far the windows must move to be clear of RAM. */
static uint64_t windows_base(struct range ram)
{
    const struct range usual = {0, PARTS_SPAN};
    return range_overlaps(usual, ram) ? align_up(ram.base + ram.size, PARTS_SPAN) : 0;
}

static void make_watchdog(struct machine_parts *parts, gpa_t base, uint32_t seconds)
{
    sunxi_wdt_init(&parts->watchdog, base, seconds);
    parts->watchdog.arm = arm_watchdog;
    parts->watchdog.held = watchdog_held;
    parts->watchdog.expired = on_watchdog;
}

static void make(struct capsule *capsule, struct machine_parts *parts)
{
    uint64_t base = windows_base(capsule->ram);
    parts->capsule = capsule;
    plic_init(&parts->plic, (gpa_t){base + PART_PLIC}, capsule->config.vcpus, on_plic, capsule);
    uart16550_init(&parts->uart, (gpa_t){base + PART_UART}, &capsule->console,
                   (struct irq_line){plic_line_set, &parts->plic, IRQ_UART});
    goldfish_rtc_init(&parts->rtc, (gpa_t){base + PART_RTC}, (struct irq_line){plic_line_set, &parts->plic, IRQ_RTC},
                      now_ns);
    parts->rtc.arm = arm_alarm;
    syscon_init(&parts->syscon, (gpa_t){base + PART_SYSCON}, on_syscon, capsule);
    if (capsule->config.watchdog) {
        make_watchdog(parts, (gpa_t){base + PART_WATCHDOG}, capsule->config.watchdog_seconds);
    }
    capsule->console.notify = on_console;
    capsule->console.receiver = capsule;
}

enum dx_error machine_parts_create(struct capsule *capsule, struct refusal *refusal)
{
    struct machine_parts *parts = memory_alloc(sizeof(*parts));
    if (parts == NULL) {
        return refuse(refusal, DX_NO_MEMORY, "%s: no memory for its devices", capsule->config.name);
    }
    capsule->parts = parts;
    capsule->parts_size = sizeof(*parts);
    make(capsule, parts);
    struct device *const devices[] = {&parts->syscon.device, &parts->rtc.device, &parts->plic.device,
                                      &parts->uart.device, &parts->watchdog.device};
    const size_t count = ARRAY_LENGTH(devices) - (capsule->config.watchdog ? 0 : 1);
    for (size_t n = 0; n < count; n++) {
        enum dx_error error = device_bus_add(&capsule->bus, devices[n]);
        if (error != DX_OK) {
            return refuse(refusal, error, "%s: device %s", capsule->config.name, devices[n]->class->name);
        }
    }
    const gpa_t slots = {windows_base(capsule->ram) + PART_VIRTIO};
    return virtio_parts_create(&parts->virtio, capsule, slots, &parts->plic, refusal);
}

bool machine_parts_fill(struct capsule *capsule)
{
    return virtio_parts_fill(&capsule->parts->virtio, &capsule->config);
}

bool machine_parts_scrub(struct capsule *capsule)
{
    return virtio_parts_scrub(&capsule->parts->virtio);
}

struct guest_tree *machine_parts_tree(struct capsule *capsule)
{
    return &capsule->parts->tree;
}

void machine_parts_silence(struct capsule *capsule)
{
    capsule->parts->tree.buffer = NULL; /* it may have been stopped while it was being started */
    virtio_parts_silence(&capsule->parts->virtio);
    uart16550_silence(&capsule->parts->uart);
    goldfish_rtc_silence(&capsule->parts->rtc);
    if (capsule->config.watchdog) {
        sunxi_wdt_silence(&capsule->parts->watchdog);
    }
}

bool machine_parts_device_stats(const struct capsule *capsule, uint32_t index, struct device_stats *out)
{
    return virtio_parts_stats(&capsule->parts->virtio, index, out);
}

void machine_parts_detach(struct capsule *capsule)
{
    virtio_parts_detach(&capsule->parts->virtio);
}

void machine_parts_resume(struct capsule *capsule)
{
    if (capsule->config.watchdog) {
        sunxi_wdt_feed(&capsule->parts->watchdog);
    }
}

void machine_parts_destroy(struct capsule *capsule)
{
    if (capsule->parts != NULL) {
        uart16550_silence(&capsule->parts->uart);
        timer_cancel(&capsule->parts->alarm);
        timer_cancel(&capsule->parts->patience);
        virtio_parts_destroy(&capsule->parts->virtio);
        memory_free(capsule->parts, sizeof(*capsule->parts));
        capsule->parts = NULL;
    }
}
