/* SPDX-License-Identifier: MIT
 *
 * The screen, while it is shared: every line begins with its owner's label or is the hypervisor's, and nobody's line is
 * cut by another's. One line may be incomplete: the one with the cursor. When another's line must come, it is erased,
 * and drawn again later; if it can't be, it is ended and its rest gets another mark.
 */
#include <string.h>

#include "lib/format.h"
#include "monitor/terminal_parts.h"

#define ERASE_LINE "\r\x1b[K"
#define BOLD       "\x1b[1m"
#define PLAIN      "\x1b[0m"
#define SOFT_RESET "\x1b[!p\x1b[0m"

enum { TAB_COLUMNS = 8, LABEL_MAX = 64, NOTICE_MAX = 160 };

/* Of cyan, green, yellow, magenta and blue first the dark, then the bright; red looks like an alert. */
static const uint8_t colors[] = {36, 32, 33, 35, 34, 96, 92, 93, 95, 94};

/* --- the stage ------------------------------------------------------------------------------------------------- */

uint32_t screen_staged(void)
{
    return terminal.screen.head - terminal.screen.tail;
}

bool screen_take(uint8_t *byte)
{
    struct screen *screen = &terminal.screen;
    if (screen->head == screen->tail) {
        return false;
    }
    *byte = screen->stage[screen->tail++ % STAGE_SIZE];
    return true;
}

bool screen_put(const char *text, size_t length)
{
    struct screen *screen = &terminal.screen;
    if (length > STAGE_SIZE - screen_staged()) {
        return false;
    }
    for (size_t n = 0; n < length; n++) {
        screen->stage[screen->head++ % STAGE_SIZE] = (uint8_t)text[n];
    }
    return true;
}

static void put_text(const char *text)
{
    screen_put(text, strlen(text));
}

static void put_newline(void)
{
    put_text("\r\n");
}

/* --- the incomplete line ----------------------------------------------------------------------------------------- */

/* "name| ", or "name: " before the rest of a line that was broken off. Returns its columns. */
static uint32_t put_label(uint32_t seat)
{
    const char *name = seat_name(seat);
    char mark = terminal.seats[seat].cut ? ':' : '|';
    char label[LABEL_MAX];
    size_t length;
    if (terminal.color) {
        unsigned color = colors[(terminal.seats[seat].capsule->id + ARRAY_LENGTH(colors) - 1) % ARRAY_LENGTH(colors)];
        length = format(label, sizeof(label), "\x1b[%um%s%c" PLAIN " ", color, name, mark);
    } else {
        length = format(label, sizeof(label), "%s%c ", name, mark);
    }
    screen_put(label, MIN(length, sizeof(label) - 1));
    return (uint32_t)strlen(name) + 2;
}

static void begin(uint32_t owner)
{
    struct screen *screen = &terminal.screen;
    screen->line_of = owner;
    screen->drawn = true;
    screen->returned = false;
    screen->length = 0;
    screen->columns = owner == THE_MONITOR ? 0 : put_label(owner);
}

/* Keeps a byte that has been put, for when the line is drawn again. */
static void remember(char byte)
{
    struct screen *screen = &terminal.screen;
    uint32_t columns = screen->columns + (byte == '\t' ? TAB_COLUMNS : 1);
    if (columns < SCREEN_COLUMNS && screen->length < sizeof(screen->text)) {
        screen->text[screen->length++] = byte;
        screen->columns = columns;
    } else {
        screen->columns = SCREEN_COLUMNS;
    }
}

static bool is_plain(char byte)
{
    return byte >= ' ' && byte <= '~';
}

/* Takes the line's last character back, if that is one of its owner's and has one column. */
static void erase_last(void)
{
    struct screen *screen = &terminal.screen;
    if (screen->columns < SCREEN_COLUMNS && screen->length > 0 && is_plain(screen->text[screen->length - 1])) {
        screen->length--;
        screen->columns--;
        put_text("\b \b");
    }
}

bool screen_is_erased(void)
{
    return terminal.screen.line_of != NOBODY && !terminal.screen.drawn;
}

void screen_restore(void)
{
    struct screen *screen = &terminal.screen;
    if (screen_is_erased()) {
        if (screen->line_of != THE_MONITOR) {
            put_label(screen->line_of);
        }
        screen_put(screen->text, screen->length);
        screen->drawn = true;
    }
}

void screen_settle(void)
{
    struct screen *screen = &terminal.screen;
    if (screen->raw_in_line) {
        put_newline();
        screen->raw_in_line = false;
    }
    if (screen->line_of == NOBODY) {
        return;
    }
    screen_restore();
    put_newline();
    if (screen->line_of != THE_MONITOR) {
        terminal.seats[screen->line_of].cut = true;
    }
    screen->line_of = NOBODY;
}

void screen_reset(void)
{
    if (terminal.color) {
        put_text(SOFT_RESET);
    }
}

/* Makes room for another's line. */
static void interrupt(void)
{
    struct screen *screen = &terminal.screen;
    const bool again = terminal.color || screen->line_of == THE_MONITOR; /* whose prompt is wanted at the bottom */
    if (screen->line_of == NOBODY || !again || screen->columns >= SCREEN_COLUMNS) {
        screen_settle();
    } else if (screen->drawn) {
        put_text(terminal.color ? ERASE_LINE : "\r\n");
        screen->drawn = false;
    }
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

void screen_line(const char *text, size_t length)
{
    /* Among guests' lines ours are bold: a long line of a guest may be wrapped so that it seems to begin like one. */
    bool bold = terminal.color && !mux_is_raw();
    size_t whole = length + 2 + (bold ? sizeof(BOLD PLAIN) : 0);
    interrupt();
    if (whole > STAGE_SIZE - screen_staged()) {
        return; /* so that no line is torn */
    }
    if (bold) {
        put_text(BOLD);
    }
    screen_put(text, length);
    put_text(bold ? PLAIN "\r\n" : "\r\n");
}

void screen_notice(const char *pattern, ...)
{
    char text[NOTICE_MAX] = "[-] ";
    va_list arguments;
    va_start(arguments, pattern);
    size_t length = 4 + format_list(text + 4, sizeof(text) - 4, pattern, arguments);
    va_end(arguments);
    screen_line(text, MIN(length, sizeof(text) - 1));
}

/* What a return takes back when something follows it: the text of the line, as far as that can be done. */
static void erase_text(void)
{
    struct screen *screen = &terminal.screen;
    uint32_t before = 0;
    while (screen->columns < SCREEN_COLUMNS && screen->length != before) {
        before = screen->length;
        erase_last();
    }
    screen->returned = false;
}

/* Text at the cursor, in the line that is kept. */
static void put_characters(const char *text, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        if (text[n] == '\r') {
            terminal.screen.returned = true;
            continue;
        }
        if (terminal.screen.returned) {
            erase_text();
        }
        if (text[n] == '\b') {
            erase_last();
        } else {
            screen_put(&text[n], 1);
            remember(text[n]);
        }
    }
}

/* A line, or a piece of one, that the cursor doesn't stay in. */
static void put_alone(uint32_t seat, const char *text, size_t length)
{
    char line[LINE_PIECE_MAX + FILTER_OUT_MAX];
    size_t kept = 0;
    bool returned = false;
    for (size_t n = 0; n < length && kept < sizeof(line); n++) {
        if (text[n] == '\r') {
            returned = true;
        } else if (text[n] != '\b') {
            kept = returned ? 0 : kept;
            returned = false;
            line[kept++] = text[n];
        } else if (kept > 0 && is_plain(line[kept - 1])) {
            kept--;
        }
    }
    interrupt();
    put_label(seat);
    screen_put(line, kept);
    put_newline();
}

/* Text of another line than the one that the cursor is in. What has no end yet gets the cursor, unless the focus has
 * it: then it is broken off. */
static void begin_guest(uint32_t seat, const char *text, size_t length, bool complete)
{
    bool *cut = &terminal.seats[seat].cut;
    if (length == 0 && (*cut || !complete)) {
        *cut = *cut && !complete; /* the end of a line that was broken off: nothing is left to show */
        return;
    }
    if (!complete && (seat == terminal.focus || terminal.screen.line_of != terminal.focus)) {
        screen_settle();
        begin(seat);
        put_characters(text, length);
        return;
    }
    put_alone(seat, text, length);
    *cut = !complete;
}

void screen_guest(uint32_t seat, const char *text, size_t length)
{
    struct screen *screen = &terminal.screen;
    bool complete = length > 0 && text[length - 1] == '\n';
    if (complete) {
        length--;
    }
    if (screen->line_of != seat) {
        for (; length > 0 && (*text == '\b' || *text == '\r'); length--) {
            text++;
        }
        begin_guest(seat, text, length, complete);
        return;
    }
    screen_restore();
    put_characters(text, length);
    if (complete) {
        put_newline();
        screen->line_of = NOBODY;
        terminal.seats[seat].cut = false;
    }
}

/* The monitor edits its line itself: what it writes goes through, and of the line only that much is known as is needed
 * to draw it again. */
static void remember_monitor(char byte)
{
    static struct filter filter;
    struct screen *screen = &terminal.screen;
    char text[FILTER_OUT_MAX];
    if (byte == '\r') {
        screen->length = 0;
        screen->columns = 0;
        return;
    }
    size_t length = filter_byte(&filter, (uint8_t)byte, text);
    for (size_t n = 0; n < length; n++) {
        if (text[n] != '\b') {
            remember(text[n]);
        } else if (screen->columns < SCREEN_COLUMNS && screen->length > 0) {
            screen->length--;
            screen->columns--;
        }
    }
}

void screen_monitor(const char *text, size_t length)
{
    struct screen *screen = &terminal.screen;
    screen_restore();
    for (size_t n = 0; n < length; n++) {
        if (text[n] == '\n') {
            put_newline();
            screen->line_of = NOBODY;
            continue;
        }
        if (screen->line_of == NOBODY) {
            begin(THE_MONITOR);
        }
        screen_put(&text[n], 1);
        remember_monitor(text[n]);
    }
}
