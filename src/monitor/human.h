/* SPDX-License-Identifier: MIT
 *
 * Numbers for people: short, with their unit, of 8 characters at most. Pure.
 */
#ifndef MONITOR_HUMAN_H
#define MONITOR_HUMAN_H

#include "lib/base.h"

/* By value, so that one can stand in an argument list: say("%8s", human_bytes(n).text). */
struct human {
    char text[24];
};

struct human human_bytes(uint64_t bytes);                  /* "64 KiB", "1.5 GiB" */
struct human human_count(uint64_t count);                  /* "1234567", "12.3 M" */
struct human human_time(uint64_t ticks, uint64_t hz);      /* "250 us", "1.5 s", "20 min"; "?" if hz is 0 */
struct human human_share(uint64_t part, uint64_t of_what); /* "97.1 %"; "-" of nothing */

#endif
