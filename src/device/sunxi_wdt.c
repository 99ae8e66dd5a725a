/* SPDX-License-Identifier: MIT
 *
 * The watchdog's model. A guest sets the period and starts it by MODE, and feeds it by CTRL. What CONFIG says happens
 * when it isn't fed: the capsule stops, or nothing, since the interrupt that the chip has instead leads nowhere here.
 */
#include "device/sunxi_wdt.h"

#include <string.h>

#include "core/hart.h"
#include "device/tree_node.h"

enum {
    CTRL_KEY = 0xa57 << 1, /* bits 12:1 of what feeds it */
    CTRL_FEED = 1 << 0,
    CTRL_MASK = 0x1fff,
    CONFIG_MASK = 3,
    CONFIG_RESET = 1, /* the whole system */
    MODE_ENABLE = 1 << 0,
    MODE_INTERVAL_SHIFT = 4,
    MODE_INTERVAL_MASK = 0xf,
};

/* What the intervals of MODE stand for. Those after the last are reserved and taken for it. */
static const uint16_t interval_ms[] = {500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10000, 12000, 14000, 16000};

static struct sunxi_wdt *wdt_of(struct device *device)
{
    return CONTAINER_OF(device, struct sunxi_wdt, device);
}

static uint32_t mode_period(uint32_t mode)
{
    const uint32_t interval = mode >> MODE_INTERVAL_SHIFT & MODE_INTERVAL_MASK;
    if ((mode & MODE_ENABLE) == 0) {
        return 0;
    }
    return interval_ms[MIN(interval, ARRAY_LENGTH(interval_ms) - 1)];
}

/* What a driver finds if it runs with this period already: the longest interval that is no longer, so that a driver
 * that keeps to it feeds in time. */
static uint32_t mode_for(uint32_t period_ms)
{
    uint32_t interval = ARRAY_LENGTH(interval_ms) - 1;
    while (interval > 0 && interval_ms[interval] > period_ms) {
        interval--;
    }
    return period_ms == 0 ? 0 : interval << MODE_INTERVAL_SHIFT | MODE_ENABLE;
}

/* A whole period from now; or off. */
static void begin(struct sunxi_wdt *wdt)
{
    wdt->due = TIMER_NEVER;
    if (wdt->period_ms != 0) {
        wdt->due = clock_now() + wdt->period_ms * clock_hz / 1000 + 1;
    }
    wdt->arm(wdt, wdt->due);
}

/* Whether the guest has failed to feed it; if not, it goes on. */
static bool check(struct sunxi_wdt *wdt)
{
    if (wdt->period_ms == 0) {
        return false;
    }
    if (clock_now() < wdt->due) {
        wdt->arm(wdt, wdt->due);
        return false;
    }
    if (wdt->config != CONFIG_RESET || wdt->held(wdt)) {
        begin(wdt);
        return false;
    }
    return true;
}

void sunxi_wdt_fire(struct sunxi_wdt *wdt)
{
    spinlock_take(&wdt->device.lock);
    const uint32_t period_ms = wdt->period_ms;
    const bool unfed = check(wdt);
    spinlock_release(&wdt->device.lock);
    if (unfed) {
        wdt->expired(wdt, period_ms);
    }
}

void sunxi_wdt_feed(struct sunxi_wdt *wdt)
{
    spinlock_take(&wdt->device.lock);
    begin(wdt);
    spinlock_release(&wdt->device.lock);
}

void sunxi_wdt_silence(struct sunxi_wdt *wdt)
{
    spinlock_take(&wdt->device.lock);
    wdt->period_ms = 0;
    begin(wdt);
    spinlock_release(&wdt->device.lock);
}

static void ctrl_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    if ((value & CTRL_MASK) == (CTRL_KEY | CTRL_FEED)) {
        begin(wdt_of(device));
    }
}

static uint64_t config_read(struct device *device, uint32_t index)
{
    (void)index;
    return wdt_of(device)->config;
}

static void config_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    wdt_of(device)->config = (uint32_t)value & CONFIG_MASK;
}

static uint64_t mode_read(struct device *device, uint32_t index)
{
    (void)index;
    return wdt_of(device)->mode;
}

/* Only a change begins a period: Linux's way to reset the machine writes the same value for ever and waits. With the
 * first write the guest's own period takes the place of the initial one. */
static void mode_write(struct device *device, uint32_t index, uint64_t value)
{
    struct sunxi_wdt *wdt = wdt_of(device);

    (void)index;
    wdt->mode = (uint32_t)value & (MODE_INTERVAL_MASK << MODE_INTERVAL_SHIFT | MODE_ENABLE);
    if (mode_period(wdt->mode) != wdt->period_ms) {
        wdt->period_ms = mode_period(wdt->mode);
        begin(wdt);
    }
}

static void wdt_reset(struct device *device)
{
    struct sunxi_wdt *wdt = wdt_of(device);

    wdt->config = CONFIG_RESET;
    wdt->mode = mode_for(wdt->initial_ms);
    wdt->period_ms = wdt->initial_ms;
    begin(wdt);
}

/* Drivers need neither the clock nor the interrupt that the binding asks for, and there is neither. */
static int wdt_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "allwinner,sun6i-a31-wdt";
    struct tree_node node = {.tree = tree};

    (void)context;
    tree_node_begin_device(&node, "watchdog", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_end(&node);
    return node.error;
}

static const struct device_register registers[] = {
    {.name = "CTRL", .offset = 0x10, .width = 4, .access = REG_W, .write = ctrl_write},
    {.name = "CONFIG", .offset = 0x14, .width = 4, .access = REG_RW, .read = config_read, .write = config_write},
    {.name = "MODE", .offset = 0x18, .width = 4, .access = REG_RW, .read = mode_read, .write = mode_write},
};

static const struct device_class wdt_class = {
    .name = "sunxi_wdt",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .reset = wdt_reset,
    .describe = wdt_describe,
};

void sunxi_wdt_init(struct sunxi_wdt *wdt, gpa_t base, uint32_t initial_seconds)
{
    memset(wdt, 0, sizeof(*wdt));
    wdt->device.class = &wdt_class;
    wdt->device.window = (struct range){base.at, SUNXI_WDT_WINDOW_SIZE};
    wdt->initial_ms = initial_seconds * 1000;
    wdt->config = CONFIG_RESET;
    wdt->due = TIMER_NEVER;
}
