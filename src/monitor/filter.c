/* SPDX-License-Identifier: MIT
 *
 * The filter: a terminal's parser of escape sequences (ECMA-48) that throws them away, and a decoder of UTF-8.
 */
#include "monitor/filter.h"

#include <string.h>

enum { NUL = 0, BEL = 7, SO = 0x0e, SI = 0x0f, CAN = 0x18, SUB = 0x1a, ESC = 0x1b, DEL = 0x7f };

enum state {
    TEXT,
    ESCAPE,     /* behind an ESC, and what says that more follows */
    CONTROL,    /* ESC [: to its final byte */
    STRING,     /* ESC ] and the like: to BEL or ESC \ */
    STRING_END, /* ESC in a string */
};

/* The states' answers to bytes that a sequence may have; the newline and what aborts are dealt with before. */
static enum state next_state(enum state state, uint8_t byte)
{
    switch (state) {
    case ESCAPE:
        if (byte == '[') {
            return CONTROL;
        }
        if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_') {
            return STRING;
        }
        return byte >= ' ' && byte <= '/' ? ESCAPE : TEXT;
    case CONTROL:
        return byte >= '@' && byte <= '~' ? TEXT : CONTROL;
    case STRING:
        return byte == BEL ? TEXT : STRING;
    case STRING_END:
    case TEXT:
        break;
    }
    return TEXT;
}

/* True if the byte belongs to an escape sequence. */
static bool skip(struct filter *filter, uint8_t byte)
{
    enum state state = (enum state)filter->state;
    if (byte == ESC) {
        filter->state = state == STRING ? STRING_END : ESCAPE;
        return true;
    }
    if (byte == '\n' || byte == CAN || byte == SUB) {
        filter->state = TEXT;
        return byte != '\n';
    }
    if (state == STRING_END && byte != '\\') {
        state = ESCAPE; /* the string was broken off by another sequence */
    }
    filter->state = (uint8_t)next_state(state, byte);
    return state != TEXT;
}

/* The bytes of the UTF-8 sequence that begins with this one; 0: none does. */
static unsigned sequence_length(uint8_t byte)
{
    if (byte >= 0xc2 && byte <= 0xdf) {
        return 2;
    }
    if (byte >= 0xe0 && byte <= 0xef) {
        return 3;
    }
    return byte >= 0xf0 && byte <= 0xf4 ? 4 : 0;
}

static uint32_t code_point(const struct filter *filter)
{
    uint32_t code = filter->bytes[0] & (0xffu >> (filter->need + 1));
    for (unsigned n = 1; n < filter->need; n++) {
        code = code << 6 | (filter->bytes[n] & 0x3f);
    }
    return code;
}

/* Not: overlong forms, surrogates, C1 controls, and what changes the direction of writing or begins a line. */
static bool may_show(uint32_t code, unsigned length)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x80, 0x9f},     {0x61c, 0x61c},   {0x200e, 0x200f}, {0x2028, 0x202e},
        {0x2066, 0x2069}, {0xd800, 0xdfff}, {0xfff9, 0xfffb}, {0x110000, UINT32_MAX},
    };
    static const uint32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    for (size_t n = 0; n < ARRAY_LENGTH(hidden); n++) {
        if (code >= hidden[n].first && code <= hidden[n].last) {
            return false;
        }
    }
    return code >= least[length];
}

/* Adds a byte to the sequence that has begun. True if it is one of its. */
static bool continues(struct filter *filter, uint8_t byte, char *out, size_t *length)
{
    bool belongs = (byte & 0xc0) == 0x80;
    if (belongs) {
        filter->bytes[filter->have++] = byte;
        if (filter->have < filter->need) {
            return true;
        }
    }
    if (belongs && may_show(code_point(filter), filter->need)) {
        memcpy(out, filter->bytes, filter->need);
        *length = filter->need;
    } else {
        out[0] = '?';
        *length = 1;
    }
    filter->have = 0;
    return belongs;
}

static bool vanishes(uint8_t byte)
{
    return byte == NUL || byte == BEL || byte == SO || byte == SI;
}

size_t filter_byte(struct filter *filter, uint8_t byte, char out[FILTER_OUT_MAX])
{
    size_t length = 0;
    if (filter->have > 0 && continues(filter, byte, out, &length)) {
        return length;
    }
    if (skip(filter, byte) || vanishes(byte)) {
        return length;
    }
    filter->need = (uint8_t)sequence_length(byte);
    if (filter->need != 0) {
        filter->bytes[0] = byte;
        filter->have = 1;
        return length;
    }
    bool shown = (byte >= ' ' && byte < DEL) || byte == '\t' || byte == '\b' || byte == '\r' || byte == '\n';
    out[length++] = shown ? (char)byte : '?';
    return length;
}
