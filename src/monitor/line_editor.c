/* SPDX-License-Identifier: MIT
 *
 * The line editor: see line_editor.h. The line takes one row of the screen, of which the part from left on is seen.
 */
#include "monitor/line_editor.h"

#include <string.h>

#include "lib/format.h"

enum {
    KEY_BELL = 7,
    KEY_BACKSPACE = 8,
    KEY_RETURN = 13,
    KEY_ESCAPE = 27,
    KEY_DELETE = 127,
    KEY_CONTROLS = 32,      /* those below are control characters */
    ESCAPE_LENGTH_MAX = 16, /* no sequence that is known is longer */
    ESCAPE_NUMBER_MAX = 1000,
};

/* --- the screen ------------------------------------------------------------------------------------------------ */

static void put(struct line_editor *editor, const char *bytes, size_t length)
{
    if (length != 0) {
        editor->put(editor->screen, bytes, length);
    }
}

static void put_text(struct line_editor *editor, const char *text)
{
    put(editor, text, strlen(text));
}

static void put_many(struct line_editor *editor, char byte, size_t count)
{
    char bytes[LINE_COLUMNS];
    memset(bytes, byte, sizeof(bytes));
    put(editor, bytes, MIN(count, sizeof(bytes)));
}

static void ring_bell(struct line_editor *editor)
{
    put_text(editor, "\a");
}

/* How many characters of the line are seen at most. The last column stays free for the cursor. */
static size_t window(const struct line_editor *editor)
{
    return LINE_COLUMNS - strlen(editor->prompt) - 1;
}

/* Moves the window so that the cursor is in it. */
static void scroll(struct line_editor *editor)
{
    const size_t width = window(editor);
    if (editor->cursor < editor->left) {
        editor->left = editor->cursor;
    } else if (editor->cursor > editor->left + width) {
        editor->left = editor->cursor - width;
    }
}

/* Shows the line where the screen's cursor stands right behind the prompt. */
static void show(struct line_editor *editor)
{
    const size_t shown = MIN(editor->length - editor->left, window(editor));
    put(editor, editor->line + editor->left, shown);
    if (!editor->plain) {
        put_text(editor, "\033[K");
    } else if (editor->shown > shown) {
        put_many(editor, ' ', editor->shown - shown);
        put_many(editor, '\b', editor->shown - shown);
    }
    put_many(editor, '\b', shown - (editor->cursor - editor->left));
    editor->shown = shown;
}

/* The line has changed. column: of the screen's cursor, from the prompt. */
static void redraw(struct line_editor *editor, size_t column)
{
    scroll(editor);
    if (editor->plain) {
        put_many(editor, '\b', column);
    } else {
        put_text(editor, "\r");
        put_text(editor, editor->prompt);
    }
    show(editor);
}

static size_t column_of(const struct line_editor *editor)
{
    return editor->cursor - editor->left;
}

void line_editor_reprint(struct line_editor *editor)
{
    scroll(editor);
    put_text(editor, "\r\n");
    put_text(editor, editor->prompt);
    editor->shown = 0;
    show(editor);
}

/* --- changing the line ----------------------------------------------------------------------------------------- */

static void move_to(struct line_editor *editor, size_t cursor)
{
    const size_t before = editor->cursor;
    const size_t column = column_of(editor);
    editor->cursor = cursor;
    if (cursor < editor->left || cursor > editor->left + window(editor)) {
        redraw(editor, column);
    } else if (cursor < before) {
        put_many(editor, '\b', before - cursor);
    } else {
        put(editor, editor->line + before, cursor - before);
    }
}

static void insert(struct line_editor *editor, char byte)
{
    const size_t column = column_of(editor);
    if (editor->length == LINE_LENGTH_MAX) {
        ring_bell(editor);
        return;
    }
    char *at = editor->line + editor->cursor;
    memmove(at + 1, at, editor->length - editor->cursor + 1);
    *at = byte;
    editor->length++;
    editor->cursor++;
    if (editor->cursor == editor->length && column < window(editor)) {
        put(editor, &byte, 1);
        editor->shown++;
    } else {
        redraw(editor, column);
    }
}

/* Takes the bytes from … to − 1 out; the cursor, which is at one of the two ends, goes to from. */
static void erase(struct line_editor *editor, size_t from, size_t to)
{
    const size_t column = column_of(editor);
    if (from == to) {
        return;
    }
    memmove(editor->line + from, editor->line + to, editor->length - to + 1);
    editor->length -= to - from;
    editor->cursor = from;
    redraw(editor, column);
}

static void replace(struct line_editor *editor, const char *line)
{
    const size_t column = column_of(editor);
    editor->length = strnlen(line, LINE_LENGTH_MAX);
    memcpy(editor->line, line, editor->length);
    editor->line[editor->length] = '\0';
    editor->cursor = editor->length;
    editor->left = 0;
    redraw(editor, column);
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

static enum line_event key_home(struct line_editor *editor)
{
    move_to(editor, 0);
    return LINE_EDITED;
}

static enum line_event key_end(struct line_editor *editor)
{
    move_to(editor, editor->length);
    return LINE_EDITED;
}

static enum line_event key_left(struct line_editor *editor)
{
    move_to(editor, editor->cursor - (editor->cursor > 0 ? 1 : 0));
    return LINE_EDITED;
}

static enum line_event key_right(struct line_editor *editor)
{
    move_to(editor, editor->cursor + (editor->cursor < editor->length ? 1 : 0));
    return LINE_EDITED;
}

static enum line_event key_backspace(struct line_editor *editor)
{
    erase(editor, editor->cursor - (editor->cursor > 0 ? 1 : 0), editor->cursor);
    return LINE_EDITED;
}

static enum line_event key_delete(struct line_editor *editor)
{
    erase(editor, editor->cursor, editor->cursor + (editor->cursor < editor->length ? 1 : 0));
    return LINE_EDITED;
}

static enum line_event key_delete_or_end(struct line_editor *editor)
{
    return editor->length == 0 ? LINE_ENDED : key_delete(editor);
}

static enum line_event key_erase_before(struct line_editor *editor)
{
    erase(editor, 0, editor->cursor);
    return LINE_EDITED;
}

static enum line_event key_erase_after(struct line_editor *editor)
{
    erase(editor, editor->cursor, editor->length);
    return LINE_EDITED;
}

static enum line_event key_erase_word(struct line_editor *editor)
{
    size_t from = editor->cursor;
    while (from > 0 && editor->line[from - 1] == ' ') {
        from--;
    }
    while (from > 0 && editor->line[from - 1] != ' ') {
        from--;
    }
    erase(editor, from, editor->cursor);
    return LINE_EDITED;
}

static enum line_event key_clear_screen(struct line_editor *editor)
{
    if (editor->plain) {
        line_editor_reprint(editor);
    } else {
        put_text(editor, "\033[H\033[2J");
        redraw(editor, 0);
    }
    return LINE_EDITED;
}

static enum line_event key_drop(struct line_editor *editor)
{
    put_text(editor, "^C\r\n");
    return LINE_DROPPED;
}

static enum line_event key_tab(struct line_editor *editor)
{
    (void)editor;
    return LINE_TAB;
}

/* The line from so far back; 0 is what was being typed. */
static void recall(struct line_editor *editor, unsigned back)
{
    if (back > MIN(editor->entered, (unsigned)LINE_HISTORY)) {
        ring_bell(editor);
        return;
    }
    if (editor->back == 0) {
        memcpy(editor->draft, editor->line, sizeof(editor->draft));
    }
    editor->back = back;
    replace(editor, back == 0 ? editor->draft : editor->history[(editor->entered - back) % LINE_HISTORY]);
}

static enum line_event key_older(struct line_editor *editor)
{
    recall(editor, editor->back + 1);
    return LINE_EDITED;
}

static enum line_event key_newer(struct line_editor *editor)
{
    if (editor->back == 0) {
        ring_bell(editor);
    } else {
        recall(editor, editor->back - 1);
    }
    return LINE_EDITED;
}

/* Neither empty lines nor the same one twice in a row. */
static void remember(struct line_editor *editor)
{
    const char *last = editor->history[(editor->entered - 1) % LINE_HISTORY];
    if (editor->length == 0 || (editor->entered > 0 && strcmp(last, editor->line) == 0)) {
        return;
    }
    memcpy(editor->history[editor->entered % LINE_HISTORY], editor->line, sizeof(editor->line));
    editor->entered++;
}

static enum line_event key_enter(struct line_editor *editor)
{
    remember(editor);
    put_text(editor, "\r\n");
    return LINE_ENTERED;
}

static enum line_event (*const controls[KEY_CONTROLS])(struct line_editor *editor) = {
    ['A' - '@'] = key_home,          ['B' - '@'] = key_left,         ['C' - '@'] = key_drop,
    ['D' - '@'] = key_delete_or_end, ['E' - '@'] = key_end,          ['F' - '@'] = key_right,
    [KEY_BACKSPACE] = key_backspace, ['I' - '@'] = key_tab,          ['J' - '@'] = key_enter,
    ['K' - '@'] = key_erase_after,   ['L' - '@'] = key_clear_screen, [KEY_RETURN] = key_enter,
    ['N' - '@'] = key_newer,         ['P' - '@'] = key_older,        ['U' - '@'] = key_erase_before,
    ['W' - '@'] = key_erase_word,
};

/* --- escape sequences ------------------------------------------------------------------------------------------ */

/* ESC [ … final and ESC O final; number: the first one in between, for those that end in "~". */
static const struct {
    char final;
    uint8_t number;
    enum line_event (*key)(struct line_editor *editor);
} sequences[] = {
    {'A', 0, key_older},  {'B', 0, key_newer}, {'C', 0, key_right}, {'D', 0, key_left},
    {'H', 0, key_home},   {'F', 0, key_end},   {'~', 1, key_home},  {'~', 7, key_home},
    {'~', 3, key_delete}, {'~', 4, key_end},   {'~', 8, key_end},
};

static enum line_event end_sequence(struct line_editor *editor, char final)
{
    editor->escape = ESCAPE_NONE;
    for (size_t n = 0; n < ARRAY_LENGTH(sequences); n++) {
        if (sequences[n].final == final && (final != '~' || sequences[n].number == editor->escape_number)) {
            return sequences[n].key(editor);
        }
    }
    return LINE_EDITED; /* a key that means nothing here */
}

/* A byte within ESC [ …: parameters, then a letter or "~". */
static enum line_event in_brackets(struct line_editor *editor, char byte)
{
    if (byte >= '@') {
        return end_sequence(editor, byte);
    }
    if (byte >= '0' && byte <= '9' && editor->escape_number < ESCAPE_NUMBER_MAX) {
        editor->escape_number = editor->escape_number * 10 + (unsigned)(byte - '0');
    } else if (byte == ';') {
        editor->escape_number += ESCAPE_NUMBER_MAX; /* what follows is another number */
    }
    if (++editor->escape_length == ESCAPE_LENGTH_MAX) {
        editor->escape = ESCAPE_NONE;
    }
    return LINE_EDITED;
}

/* A printable byte after ESC. */
static enum line_event in_sequence(struct line_editor *editor, char byte)
{
    switch (editor->escape) {
    case ESCAPE_BEGUN:
        editor->escape = byte == '[' ? ESCAPE_BRACKET : byte == 'O' ? ESCAPE_LETTER : ESCAPE_NONE;
        editor->escape_number = editor->escape_length = 0;
        return LINE_EDITED;
    case ESCAPE_LETTER:
        return end_sequence(editor, byte);
    case ESCAPE_BRACKET:
        return in_brackets(editor, byte);
    case ESCAPE_NONE:
    default:
        return LINE_EDITED;
    }
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */

/* A control character ends a sequence that was cut, and counts. */
static enum line_event control(struct line_editor *editor, uint8_t byte, bool returned)
{
    editor->escape = byte == KEY_ESCAPE ? ESCAPE_BEGUN : ESCAPE_NONE;
    if (byte == KEY_DELETE) {
        return key_backspace(editor);
    }
    editor->returned = byte == KEY_RETURN;
    if (controls[byte] == NULL || (byte == '\n' && returned)) {
        return LINE_EDITED;
    }
    return controls[byte](editor);
}

enum line_event line_editor_type(struct line_editor *editor, uint8_t byte)
{
    const bool returned = editor->returned;
    editor->returned = false;
    if (byte < KEY_CONTROLS || byte == KEY_DELETE) {
        return control(editor, byte, returned);
    }
    if (byte > KEY_DELETE) { /* no command and no name has such */
        editor->escape = ESCAPE_NONE;
        ring_bell(editor);
        return LINE_EDITED;
    }
    if (editor->escape != ESCAPE_NONE) {
        return in_sequence(editor, (char)byte);
    }
    insert(editor, (char)byte);
    return LINE_EDITED;
}

void line_editor_begin(struct line_editor *editor)
{
    editor->line[0] = '\0';
    editor->length = editor->cursor = editor->left = editor->shown = 0;
    editor->back = 0;
    put_text(editor, editor->prompt);
}

void line_editor_init(struct line_editor *editor, const char *prompt,
                      void (*put_on)(void *screen, const char *bytes, size_t length), void *screen)
{
    memset(editor, 0, sizeof(*editor));
    editor->prompt = prompt;
    editor->put = put_on;
    editor->screen = screen;
}

/* --- completion ------------------------------------------------------------------------------------------------ */

void line_completion_begin(struct line_completion *completion, const char *before, size_t length)
{
    size_t from = length;
    while (from > 0 && before[from - 1] != ' ' && before[from - 1] != ';') {
        from--;
    }
    memset(completion, 0, sizeof(*completion));
    completion->hopeless = length - from > WORD_MAX;
    memcpy(completion->word, before + from, MIN(length - from, (size_t)WORD_MAX));
}

static void list_word(struct line_completion *completion, const char *word)
{
    const bool wraps = completion->list_column + 2 + strlen(word) > LINE_COLUMNS;
    const size_t needed = strlen(word) + 2 + (wraps ? 2 : 0);
    if (completion->unlisted != 0 || completion->list_length + needed >= sizeof(completion->list)) {
        completion->unlisted++;
        return;
    }
    if (wraps) {
        completion->list_column = 0;
    }
    char *at = completion->list + completion->list_length;
    size_t length =
        format(at, needed + 1, "%s%s%s", wraps ? "\r\n" : "", completion->list_column == 0 ? "" : "  ", word);
    completion->list_length += length;
    completion->list_column += length - (wraps ? 2 : 0);
}

void line_completion_offer(struct line_completion *completion, const char *word)
{
    const size_t length = strlen(word);
    if (completion->hopeless || length > WORD_MAX || strncmp(word, completion->word, strlen(completion->word)) != 0) {
        return;
    }
    if (completion->matches == 0) {
        memcpy(completion->common, word, length + 1);
    }
    size_t same = 0;
    while (completion->common[same] != '\0' && completion->common[same] == word[same]) {
        same++;
    }
    completion->common[same] = '\0';
    completion->matches++;
    list_word(completion, word);
}

static void list_matches(struct line_editor *editor, const struct line_completion *completion)
{
    char more[32] = "";
    if (completion->unlisted != 0) {
        format(more, sizeof(more), "\r\nand %u more", completion->unlisted);
    }
    put_text(editor, "\r\n");
    put(editor, completion->list, completion->list_length);
    put_text(editor, more);
    line_editor_reprint(editor);
}

void line_editor_complete(struct line_editor *editor, const struct line_completion *completion)
{
    const char *rest = completion->common + strlen(completion->word);
    if (completion->matches == 0) {
        ring_bell(editor);
    } else if (completion->matches > 1 && *rest == '\0') {
        list_matches(editor, completion);
    } else {
        for (; *rest != '\0'; rest++) {
            insert(editor, *rest);
        }
        if (completion->matches == 1 && editor->line[editor->cursor] != ' ') {
            insert(editor, ' ');
        }
    }
}
