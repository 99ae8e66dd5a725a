/* SPDX-License-Identifier: MIT
 *
 * Numbers for people. Everything is rounded down, so that nothing looks like more than it is.
 */
#include "monitor/human.h"

#include "lib/format.h"

typedef unsigned long long wide;

/* value is in tenths of the unit; the tenth is shown where it says something. */
static struct human tenths(uint64_t value, const char *unit, bool always)
{
    struct human human = {""};
    if (always || (value < 100 && value % 10 != 0)) {
        format(human.text, sizeof(human.text), "%llu.%u %s", (wide)(value / 10), (unsigned)(value % 10), unit);
    } else {
        format(human.text, sizeof(human.text), "%llu %s", (wide)(value / 10), unit);
    }
    return human;
}

struct human human_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    uint64_t rest = 0;
    while (bytes >= KIB) {
        rest = bytes % KIB;
        bytes /= KIB;
        unit++;
    }
    return tenths(bytes * 10 + rest * 10 / KIB, units[unit], false);
}

struct human human_count(uint64_t count)
{
    static const char *const units[] = {"M", "G", "T"};
    const uint64_t whole_below = 10000000;
    struct human human = {""};
    size_t unit = 0;
    if (count < whole_below) {
        format(human.text, sizeof(human.text), "%llu", (wide)count);
        return human;
    }
    count /= 100000; /* tenths of a million */
    while (count >= 10000 && unit + 1 < ARRAY_LENGTH(units)) {
        count /= 1000;
        unit++;
    }
    return tenths(count, units[unit], true);
}

struct human human_time(uint64_t ticks, uint64_t hz)
{
    if (hz == 0) {
        return (struct human){"?"};
    }
    const uint64_t seconds = ticks / hz;
    const uint64_t microseconds = ticks % hz * 1000000 / hz; /* hz has 32 bits */
    if (seconds == 0) {
        return microseconds < 1000 ? tenths(microseconds * 10, "us", false) : tenths(microseconds / 100, "ms", false);
    }
    if (seconds < 1000) {
        return tenths(seconds * 10 + microseconds / 100000, "s", true);
    }
    return seconds < 36000 ? tenths(seconds / 60 * 10, "min", false) : tenths(seconds / 3600 * 10, "h", false);
}

struct human human_share(uint64_t part, uint64_t of_what)
{
    if (of_what == 0) {
        return (struct human){"-"};
    }
    while (of_what > UINT64_MAX / 1000) { /* no digit that is shown depends on the last bit */
        part /= 2;
        of_what /= 2;
    }
    return tenths(MIN(part, of_what) * 1000 / of_what, "%", true);
}
