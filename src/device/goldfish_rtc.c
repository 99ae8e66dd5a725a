/* SPDX-License-Identifier: MIT
 *
 * The Goldfish RTC's model. Times are 64 bits of nanoseconds in two registers each: reading TIME_LOW latches the
 * high half, writing ALARM_LOW sets the alarm with the high half that was written before.
 */
#include "device/goldfish_rtc.h"

#include <string.h>

#include "device/tree_node.h"

static struct goldfish_rtc *rtc_of(struct device *device)
{
    return CONTAINER_OF(device, struct goldfish_rtc, device);
}

static uint64_t guest_now(const struct goldfish_rtc *rtc)
{
    return rtc->now_ns() + rtc->offset;
}

static uint64_t with_low(uint64_t value, uint64_t low)
{
    return (value & ~UINT64_C(0xffffffff)) | low;
}

static uint64_t with_high(uint64_t value, uint64_t high)
{
    return (value & 0xffffffff) | high << 32;
}

static void update_line(const struct goldfish_rtc *rtc)
{
    irq_line_set(&rtc->irq, rtc->irq_pending && rtc->irq_enabled);
}

static void disarm(struct goldfish_rtc *rtc)
{
    rtc->alarm_set = false;
    if (rtc->arm != NULL) {
        rtc->arm(rtc, GOLDFISH_RTC_NEVER);
    }
}

/* Rings if the alarm is due, else asks to be called when it will be. */
static void check_alarm(struct goldfish_rtc *rtc)
{
    uint64_t host_now = rtc->now_ns();
    uint64_t now = host_now + rtc->offset;

    if (!rtc->alarm_set) {
        return;
    }
    if (rtc->alarm <= now) {
        disarm(rtc);
        rtc->irq_pending = true;
        update_line(rtc);
    } else if (rtc->arm != NULL) {
        uint64_t left = rtc->alarm - now;

        rtc->arm(rtc, left < GOLDFISH_RTC_NEVER - host_now ? host_now + left : GOLDFISH_RTC_NEVER);
    }
}

void goldfish_rtc_fire(struct goldfish_rtc *rtc)
{
    spinlock_take(&rtc->device.lock);
    check_alarm(rtc);
    spinlock_release(&rtc->device.lock);
}

void goldfish_rtc_silence(struct goldfish_rtc *rtc)
{
    spinlock_take(&rtc->device.lock);
    disarm(rtc);
    spinlock_release(&rtc->device.lock);
}

/* Moves this capsule's clock, and with it the moment that a set alarm rings. */
static void set_time(struct goldfish_rtc *rtc, uint64_t time)
{
    rtc->offset = time - rtc->now_ns();
    check_alarm(rtc);
}

static uint64_t time_low_read(struct device *device, uint32_t index)
{
    struct goldfish_rtc *rtc = rtc_of(device);
    uint64_t now = guest_now(rtc);

    (void)index;
    rtc->latched_high = (uint32_t)(now >> 32);
    return (uint32_t)now;
}

static uint64_t time_high_read(struct device *device, uint32_t index)
{
    (void)index;
    return rtc_of(device)->latched_high;
}

static void time_low_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    set_time(rtc, with_low(guest_now(rtc), value));
}

static void time_high_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    set_time(rtc, with_high(guest_now(rtc), value));
}

static uint64_t alarm_low_read(struct device *device, uint32_t index)
{
    (void)index;
    return (uint32_t)rtc_of(device)->alarm;
}

static uint64_t alarm_high_read(struct device *device, uint32_t index)
{
    (void)index;
    return rtc_of(device)->alarm >> 32;
}

static void alarm_low_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    rtc->alarm = with_low(rtc->alarm, value);
    rtc->alarm_set = true;
    check_alarm(rtc);
}

static void alarm_high_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    rtc->alarm = with_high(rtc->alarm, value);
}

static uint64_t irq_enabled_read(struct device *device, uint32_t index)
{
    (void)index;
    return rtc_of(device)->irq_enabled;
}

static void irq_enabled_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    rtc->irq_enabled = (value & 1) != 0;
    update_line(rtc);
}

static void clear_alarm_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    (void)value;
    disarm(rtc_of(device));
}

static uint64_t alarm_status_read(struct device *device, uint32_t index)
{
    (void)index;
    return rtc_of(device)->alarm_set;
}

static void clear_interrupt_write(struct device *device, uint32_t index, uint64_t value)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    (void)index;
    (void)value;
    rtc->irq_pending = false;
    update_line(rtc);
}

static void rtc_reset(struct device *device)
{
    struct goldfish_rtc *rtc = rtc_of(device);

    disarm(rtc);
    rtc->latched_high = 0;
    rtc->alarm = 0;
    rtc->irq_pending = false;
    rtc->irq_enabled = false;
    update_line(rtc);
}

static int rtc_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "google,goldfish-rtc";
    const struct goldfish_rtc *rtc = (const struct goldfish_rtc *)(const void *)device;
    struct tree_node node = {.tree = tree};

    tree_node_begin_device(&node, "rtc", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_interrupt(&node, &rtc->irq, context);
    tree_node_end(&node);
    return node.error;
}

static_assert(offsetof(struct goldfish_rtc, device) == 0, "rtc_describe");

/* A row is easier to read on two lines than on six. */
/* clang-format off */
static const struct device_register registers[] = {
    {.name = "TIME_LOW", .offset = 0x00, .width = 4, .access = REG_RW,
     .read = time_low_read, .write = time_low_write},
    {.name = "TIME_HIGH", .offset = 0x04, .width = 4, .access = REG_RW,
     .read = time_high_read, .write = time_high_write},
    {.name = "ALARM_LOW", .offset = 0x08, .width = 4, .access = REG_RW,
     .read = alarm_low_read, .write = alarm_low_write},
    {.name = "ALARM_HIGH", .offset = 0x0c, .width = 4, .access = REG_RW,
     .read = alarm_high_read, .write = alarm_high_write},
    {.name = "IRQ_ENABLED", .offset = 0x10, .width = 4, .access = REG_RW,
     .read = irq_enabled_read, .write = irq_enabled_write},
    {.name = "CLEAR_ALARM", .offset = 0x14, .width = 4, .access = REG_W, .write = clear_alarm_write},
    {.name = "ALARM_STATUS", .offset = 0x18, .width = 4, .access = REG_R, .read = alarm_status_read},
    {.name = "CLEAR_INTERRUPT", .offset = 0x1c, .width = 4, .access = REG_W, .write = clear_interrupt_write},
};
/* clang-format on */

static const struct device_class rtc_class = {
    .name = "goldfish_rtc",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .reset = rtc_reset,
    .describe = rtc_describe,
};

void goldfish_rtc_init(struct goldfish_rtc *rtc, gpa_t base, struct irq_line irq, uint64_t (*now_ns)(void))
{
    assert(now_ns != NULL);
    memset(rtc, 0, sizeof(*rtc));
    rtc->device.class = &rtc_class;
    rtc->device.window = (struct range){base.at, GOLDFISH_RTC_WINDOW_SIZE};
    rtc->irq = irq;
    rtc->now_ns = now_ns;
}
