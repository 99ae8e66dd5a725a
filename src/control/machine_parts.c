/* SPDX-License-Identifier: MIT
 *
 * The capsule machine's devices, at the addresses and interrupts of QEMU's virt machine.
 */
#include "control/machine_parts.h"

#include "core/hart.h"
#include "core/memory.h"
#include "device/goldfish_rtc.h"
#include "device/plic.h"
#include "device/syscon.h"
#include "device/uart16550.h"

#define PART_SYSCON 0x00100000u
#define PART_RTC    0x00101000u
#define PART_PLIC   0x0c000000u
#define PART_UART   0x10000000u
enum { IRQ_UART = 10, IRQ_RTC = 11 };

/* Where the windows go instead if the capsule's RAM lies over them (boards with RAM at 0). */
#define PARTS_SPAN 0x20000000u

struct machine_parts {
    struct plic plic;
    struct uart16550 uart;
    struct goldfish_rtc rtc;
    struct timer alarm; /* rtc's */
    struct syscon syscon;
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

/* News from the terminal: the UART looks at the port again, and whoever waits for room tries again. */
static void on_console(void *arg)
{
    struct capsule *capsule = arg;
    uart16550_notify(&capsule->parts->uart);
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

static void make(struct capsule *capsule, struct machine_parts *parts)
{
    uint64_t base = windows_base(capsule->ram);
    plic_init(&parts->plic, (gpa_t){base + PART_PLIC}, capsule->config.vcpus, on_plic, capsule);
    uart16550_init(&parts->uart, (gpa_t){base + PART_UART}, &capsule->console,
                   (struct irq_line){plic_line_set, &parts->plic, IRQ_UART});
    goldfish_rtc_init(&parts->rtc, (gpa_t){base + PART_RTC}, (struct irq_line){plic_line_set, &parts->plic, IRQ_RTC},
                      now_ns);
    parts->rtc.arm = arm_alarm;
    syscon_init(&parts->syscon, (gpa_t){base + PART_SYSCON}, on_syscon, capsule);
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
    make(capsule, parts);
    struct device *const devices[] = {&parts->syscon.device, &parts->rtc.device, &parts->plic.device,
                                      &parts->uart.device};
    for (size_t n = 0; n < ARRAY_LENGTH(devices); n++) {
        enum dx_error error = device_bus_add(&capsule->bus, devices[n]);
        if (error != DX_OK) {
            return refuse(refusal, error, "%s: device %s", capsule->config.name, devices[n]->class->name);
        }
    }
    return DX_OK;
}

void machine_parts_destroy(struct capsule *capsule)
{
    if (capsule->parts != NULL) {
        timer_cancel(&capsule->parts->alarm);
        memory_free(capsule->parts, sizeof(*capsule->parts));
        capsule->parts = NULL;
    }
}
