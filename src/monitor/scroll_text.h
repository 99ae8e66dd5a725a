/* SPDX-License-Identifier: MIT
 *
 * A guest's output made fit to be looked at: printable ASCII and plain UTF-8 alone, in lines that each begin with the
 * guest's name and are no wider than the screen, so that nothing in it can be taken for somebody else's line. Pure.
 */
#ifndef MONITOR_SCROLL_TEXT_H
#define MONITOR_SCROLL_TEXT_H

#include "lib/base.h"

enum { SCROLL_BYTE_MAX = 40 }; /* bytes of output that one byte can lead to */

struct scroll_text {
    const char *name;
    void (*put)(const char *bytes, size_t length);
    unsigned column;    /* of the screen; 0: no line has begun */
    unsigned escape;    /* where in a sequence that is left out */
    uint8_t pending[4]; /* the beginning of a character */
    unsigned pending_length, pending_wanted;
};

/* name: at most 31 characters, stays the caller's. */
void scroll_text_begin(struct scroll_text *text, const char *name, void (*put)(const char *bytes, size_t length));
void scroll_text_byte(struct scroll_text *text, uint8_t byte);
/* Ends the last line, if one has begun. */
void scroll_text_end(struct scroll_text *text);

#endif
