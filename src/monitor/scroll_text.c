/* SPDX-License-Identifier: MIT
 *
 * Guests' output, filtered: see scroll_text.h.
 */
#include "monitor/scroll_text.h"

#include <string.h>

enum { COLUMNS = 79, ESCAPE = 27 };
enum { OUTSIDE, AFTER_ESCAPE, IN_BRACKETS, IN_STRING };

static void line_begin(struct scroll_text *text)
{
    const size_t length = strlen(text->name);
    text->put(text->name, length);
    text->put("| ", 2);
    text->column = (unsigned)length + 2;
}

void scroll_text_end(struct scroll_text *text)
{
    if (text->column != 0) {
        text->put("\r\n", 2);
        text->column = 0;
    }
}

/* A character of so many columns; it goes to the next line if this one has no room. */
static void character(struct scroll_text *text, const char *bytes, size_t length, unsigned columns)
{
    if (text->column + columns > COLUMNS) {
        scroll_text_end(text);
    }
    if (text->column == 0) {
        line_begin(text);
    }
    text->put(bytes, length);
    text->column += columns;
}

/* --- UTF-8 ----------------------------------------------------------------------------------------------------- */

/* Characters that take no room or turn the direction of writing could make a text look like another one. */
static bool plain(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } others[] = {{0, 0x9f},        {0xad, 0xad},     {0x300, 0x36f},     {0x61c, 0x61c},   {0x200b, 0x200f},
                  {0x2028, 0x202e}, {0x2060, 0x206f}, {0xd800, 0xf8ff},   {0xfe00, 0xfe0f}, {0xfeff, 0xfeff},
                  {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff}};
    for (size_t n = 0; n < ARRAY_LENGTH(others); n++) {
        if (code >= others[n].first && code <= others[n].last) {
            return false;
        }
    }
    return code <= 0x10ffff;
}

static bool complete_is_plain(const struct scroll_text *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* shorter forms exist for less */
    uint32_t code = text->pending[0] & (0xffu >> (text->pending_length + 1));
    for (unsigned n = 1; n < text->pending_length; n++) {
        code = code << 6 | (text->pending[n] & 0x3f);
    }
    return code >= least[text->pending_length] && plain(code);
}

/* A byte above ASCII. Wide characters take two columns, and it isn't known here which are wide. */
static void high_byte(struct scroll_text *text, uint8_t byte)
{
    if ((byte & 0xc0) != 0x80) {
        text->pending_wanted = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte < 0xe0 ? 2 : 0;
        text->pending_length = 0;
    }
    if (text->pending_length == text->pending_wanted) { /* 0: nothing has begun, or nothing can begin so */
        character(text, "?", 1, 1);
        return;
    }
    text->pending[text->pending_length++] = byte;
    if (text->pending_length == text->pending_wanted) {
        if (complete_is_plain(text)) {
            character(text, (const char *)text->pending, text->pending_length, 2);
        } else {
            character(text, "?", 1, 1);
        }
        text->pending_length = text->pending_wanted = 0;
    }
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */

/* Colours, cursor movements, titles: left out. True if the byte belongs to such a sequence. */
static bool in_escape(struct scroll_text *text, uint8_t byte)
{
    if (byte == ESCAPE) {
        text->escape = AFTER_ESCAPE;
        return true;
    }
    if (byte == '\n' || byte == '\a') { /* ends whatever was begun: a lost end must not swallow everything */
        const bool within = text->escape != OUTSIDE;
        text->escape = OUTSIDE;
        return within && byte == '\a';
    }
    switch (text->escape) {
    case AFTER_ESCAPE:
        text->escape = byte == '[' ? IN_BRACKETS : byte == ']' || byte == 'P' ? IN_STRING : OUTSIDE;
        return true;
    case IN_BRACKETS:
        text->escape = byte >= '@' && byte <= '~' ? OUTSIDE : IN_BRACKETS;
        return true;
    case IN_STRING:
        return true;
    case OUTSIDE:
    default:
        return false;
    }
}

void scroll_text_byte(struct scroll_text *text, uint8_t byte)
{
    if (in_escape(text, byte)) {
        return;
    }
    if (byte >= 0x80) {
        high_byte(text, byte);
        return;
    }
    text->pending_length = text->pending_wanted = 0;
    if (byte == '\n') {
        if (text->column == 0) {
            line_begin(text);
        }
        scroll_text_end(text);
    } else if (byte == '\t') {
        character(text, " ", 1, 1);
    } else if (byte >= ' ' && byte <= '~') {
        character(text, (const char *)&byte, 1, 1);
    } else if (byte != '\r' && byte != '\0' && byte != '\a') {
        character(text, "?", 1, 1);
    }
}

void scroll_text_begin(struct scroll_text *text, const char *name, void (*put)(const char *bytes, size_t length))
{
    *text = (struct scroll_text){.name = name, .put = put};
}
