/* SPDX-License-Identifier: MIT
 *
 * What may be shown of a guest's bytes among lines of others: text, and nothing that moves the cursor, changes colours
 * or can be taken for something else. Pure.
 */
#ifndef MONITOR_FILTER_H
#define MONITOR_FILTER_H

#include "lib/base.h"

enum { FILTER_OUT_MAX = 5 };

/* Where a stream stands. Zeroed: at its beginning. */
struct filter {
    uint8_t state;      /* in which escape sequence */
    uint8_t have, need; /* bytes of a UTF-8 sequence that came, and that it has */
    uint8_t bytes[4];
};

/* What the next byte adds: at most FILTER_OUT_MAX bytes in out; returns their number. They are printable ASCII, tab,
 * whole UTF-8 sequences of what is neither a control character nor changes the direction of writing, and '\b', '\r' and
 * '\n', each as the only byte or the last, for the caller to act on. '?' stands for a byte or a sequence that isn't
 * text. Escape sequences, bells and the like vanish; a newline ends any sequence. */
size_t filter_byte(struct filter *filter, uint8_t byte, char out[FILTER_OUT_MAX]);

#endif
