/* SPDX-License-Identifier: MIT
 *
 * The line editor, on a screen that the test plays: what stands there after any keys is what the line holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/human.h"
#include "monitor/line_editor.h"
#include "support.h"

/* --- a screen of one row that matters --- */

enum { WIDTH = 80 };
static struct {
    char row[WIDTH + 1];
    size_t column, rows, bells;
    char before[8 * WIDTH]; /* rows that were left behind */
    unsigned escape;
    bool escapes; /* any were seen */
} screen;

static struct line_editor editor;

static void screen_clear(void)
{
    memset(screen.row, ' ', WIDTH);
    screen.row[WIDTH] = '\0';
}

static void next_row(void)
{
    size_t end = WIDTH;
    while (end > 0 && screen.row[end - 1] == ' ') {
        end--;
    }
    size_t used = strlen(screen.before);
    assert_true(used + end + 2 < sizeof(screen.before));
    snprintf(screen.before + used, sizeof(screen.before) - used, "%.*s\n", (int)end, screen.row);
    screen_clear();
    screen.rows++;
}

/* After ESC: [K to the line's end, [H home, [2J everything. */
static void screen_escape(char byte)
{
    if (byte == 'K') {
        memset(screen.row + screen.column, ' ', WIDTH - screen.column);
    } else if (byte == 'H') {
        screen.column = 0;
    } else if (byte == 'J') {
        screen_clear();
    } else {
        assert_true(byte == '[' || byte == '2');
        return;
    }
    screen.escape = 0;
}

static void screen_put(void *unused, const char *bytes, size_t length)
{
    (void)unused;
    for (size_t n = 0; n < length; n++) {
        char byte = bytes[n];
        if (screen.escape != 0) {
            screen_escape(byte);
        } else if (byte == '\033') {
            screen.escape = 1;
            screen.escapes = true;
        } else if (byte == '\r') {
            screen.column = 0;
        } else if (byte == '\n') {
            next_row();
        } else if (byte == '\b') {
            assert_true(screen.column > 0);
            screen.column--;
        } else if (byte == '\a') {
            screen.bells++;
        } else {
            assert_true(byte >= ' ' && byte <= '~');
            assert_true(screen.column < WIDTH - 1); /* never where a terminal may wrap */
            screen.row[screen.column++] = byte;
        }
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&screen, 0, sizeof(screen));
    screen_clear();
    line_editor_init(&editor, "> ", screen_put, NULL);
    line_editor_begin(&editor);
    return 0;
}

static enum line_event type_bytes(const char *bytes, size_t length)
{
    enum line_event event = LINE_EDITED;
    for (size_t n = 0; n < length; n++) {
        event = line_editor_type(&editor, (uint8_t)bytes[n]);
    }
    return event;
}

#define TYPE(text) type_bytes(text, sizeof(text) - 1)

#define UP     "\033[A"
#define DOWN   "\033[B"
#define RIGHT  "\033[C"
#define LEFT   "\033[D"
#define DELETE "\033[3~"

/* The row shows the prompt, the part of the line from left on, and nothing else, with the cursor where it belongs. */
static void assert_screen(void)
{
    char expected[WIDTH + 1];
    memset(expected, ' ', WIDTH);
    expected[WIDTH] = '\0';
    memcpy(expected, "> ", 2);
    const size_t shown = MIN(editor.length - editor.left, (size_t)LINE_COLUMNS - 3);
    memcpy(expected + 2, editor.line + editor.left, shown);
    assert_string_equal(screen.row, expected);
    assert_int_equal(screen.column, 2 + editor.cursor - editor.left);
    assert_int_equal(strlen(editor.line), editor.length);
    assert_true(editor.cursor <= editor.length);
}

static void assert_line(const char *line, size_t cursor)
{
    assert_string_equal(editor.line, line);
    assert_int_equal(editor.cursor, cursor);
    assert_screen();
}

/* --- keys --- */

static void test_typing(void **state)
{
    (void)state;
    assert_int_equal(TYPE("list"), LINE_EDITED);
    assert_line("list", 4);
    assert_int_equal(TYPE("\r"), LINE_ENTERED);
    assert_string_equal(editor.line, "list");
    assert_string_equal(screen.before, "> list\n");
    line_editor_begin(&editor);
    assert_line("", 0);
}

static void test_line_ends(void **state)
{
    (void)state;
    static const char *const ends[] = {"\r", "\n", "\r\n"};
    for (size_t n = 0; n < ARRAY_LENGTH(ends); n++) {
        unsigned entered = 0;
        for (const char *byte = ends[n]; *byte != '\0'; byte++) {
            if (line_editor_type(&editor, (uint8_t)*byte) == LINE_ENTERED) {
                line_editor_begin(&editor);
                entered++;
            }
        }
        assert_int_equal(entered, 1);
        TYPE("x");
    }
    TYPE("\r");
    line_editor_begin(&editor);
    assert_int_equal(TYPE("x\n"), LINE_ENTERED); /* not CR's own */
}

static void test_moving_and_inserting(void **state)
{
    (void)state;
    TYPE("bd" LEFT "c\001a" RIGHT RIGHT RIGHT RIGHT RIGHT "e");
    assert_line("abcde", 5);
    TYPE("\002\002X\006Y");
    assert_line("abcXdYe", 6);
    TYPE("\033[H1\033[F2\033OH3\033OF4\033[1~5\033[4~6\033[7~7\033[8~8");
    assert_line("7531abcXdYe2468", 15);
    TYPE("\001\005.");
    assert_line("7531abcXdYe2468.", 16);
    TYPE("\033[1;5D!");
    assert_line("7531abcXdYe2468!.", 16);
}

static void test_erasing(void **state)
{
    (void)state;
    TYPE("abc def  ghi");
    TYPE("\b\177");
    assert_line("abc def  g", 10);
    TYPE("\027");
    assert_line("abc def  ", 9);
    TYPE("\027");
    assert_line("abc ", 4);
    TYPE("defghi" LEFT LEFT DELETE "\004");
    assert_line("abc defg", 8);
    TYPE(DELETE);
    assert_line("abc defg", 8);
    TYPE(LEFT LEFT LEFT "\013");
    assert_line("abc d", 5);
    TYPE(LEFT "\025");
    assert_line("d", 0);
    TYPE("\b\027\025");
    assert_line("d", 0);
    TYPE("\004\013");
    assert_line("", 0);
}

static void test_ends_and_drops(void **state)
{
    (void)state;
    assert_int_equal(TYPE("\004"), LINE_ENDED);
    assert_int_equal(TYPE("x\001"), LINE_EDITED);
    assert_int_equal(TYPE("\004"), LINE_EDITED); /* not empty: deletes */
    assert_int_equal(TYPE("kill a\003"), LINE_DROPPED);
    assert_string_equal(screen.before, "> kill a^C\n");
    line_editor_begin(&editor);
    TYPE(UP);
    assert_line("", 0); /* what was dropped is not remembered */
    assert_int_equal(TYPE("\t"), LINE_TAB);
}

static void test_longest_line(void **state)
{
    (void)state;
    char line[LINE_LENGTH_MAX + 1];
    for (unsigned n = 0; n < LINE_LENGTH_MAX; n++) {
        line[n] = (char)('a' + (int)(n % 26));
        assert_int_equal(line_editor_type(&editor, (uint8_t)line[n]), LINE_EDITED);
        assert_screen();
    }
    line[LINE_LENGTH_MAX] = '\0';
    assert_line(line, LINE_LENGTH_MAX);
    assert_int_equal(screen.bells, 0);
    TYPE("x\001y");
    assert_int_equal(screen.bells, 2);
    assert_line(line, 0);
    for (unsigned n = 0; n < LINE_LENGTH_MAX; n++) {
        TYPE(RIGHT);
        assert_screen();
    }
    assert_line(line, LINE_LENGTH_MAX);
    for (unsigned n = 0; n < LINE_LENGTH_MAX; n++) {
        TYPE(LEFT);
        assert_screen();
    }
    assert_line(line, 0);
}

static void test_bytes_that_mean_nothing(void **state)
{
    (void)state;
    TYPE("a\x80\xff\xc3\xa4");
    assert_line("a", 1);
    assert_int_equal(screen.bells, 4);
    TYPE("\000\007\021\022\023\024\026\030\031\032\034\035\036\037");
    assert_line("a", 1);
    TYPE("\033[5~\033[200~\033[20~\033OP\033[Z\033x\033[?25h\033[3;5~\033[1;2;3;4m");
    assert_line("a", 1);
}

/* What comes after a sequence that was cut counts again, at the latest at the next control character. */
static void test_cut_sequences(void **state)
{
    (void)state;
    static const char *const cuts[] = {"\033", "\033[", "\033[1", "\033[1;", "\033O", "\033\033"};
    for (size_t n = 0; n < ARRAY_LENGTH(cuts); n++) {
        TYPE("ab");
        type_bytes(cuts[n], strlen(cuts[n]));
        assert_int_equal(TYPE("\r"), LINE_ENTERED);
        line_editor_begin(&editor);
        type_bytes(cuts[n], strlen(cuts[n]));
        TYPE("\033[Dz");
        assert_line("z", 1);
        TYPE("\025");
    }
    TYPE("\033[1111111111111111111111x");
    assert_true(editor.length > 0); /* no sequence goes on for ever */
    assert_screen();
}

/* --- history --- */

static void enter(const char *line)
{
    type_bytes(line, strlen(line));
    assert_int_equal(TYPE("\r"), LINE_ENTERED);
    line_editor_begin(&editor);
}

static void test_history(void **state)
{
    (void)state;
    TYPE(UP);
    assert_int_equal(screen.bells, 1);
    enter("one");
    enter("two");
    enter("two");
    enter("");
    enter("three");
    TYPE("dra" UP);
    assert_line("three", 5);
    TYPE("\020\020");
    assert_line("one", 3);
    TYPE(UP);
    assert_line("one", 3);
    assert_int_equal(screen.bells, 2);
    TYPE(DOWN "\016");
    assert_line("three", 5);
    TYPE(DOWN);
    assert_line("dra", 3);
    TYPE(DOWN);
    assert_line("dra", 3);
    assert_int_equal(screen.bells, 3);
    TYPE(UP UP "x");
    assert_line("twox", 4);
    assert_int_equal(TYPE("\r"), LINE_ENTERED);
    line_editor_begin(&editor);
    TYPE(UP UP UP);
    assert_line("two", 3); /* as it was entered */
}

static void test_history_keeps_the_newest(void **state)
{
    (void)state;
    char line[16];
    for (unsigned n = 0; n < 3 * LINE_HISTORY; n++) {
        snprintf(line, sizeof(line), "line %u", n);
        enter(line);
    }
    for (unsigned n = 3 * LINE_HISTORY; n-- > 2 * LINE_HISTORY;) {
        TYPE(UP);
        snprintf(line, sizeof(line), "line %u", n);
        assert_line(line, strlen(line));
    }
    TYPE(UP);
    assert_line(line, strlen(line));
    assert_int_equal(screen.bells, 1);
}

/* --- other terminals, other output --- */

static void test_plain(void **state)
{
    (void)state;
    editor.plain = true;
    TYPE("abc def" LEFT LEFT "x\b\bY\027\001Z\013 a long line that is taken back\025\005q" UP "\014");
    assert_line("q", 1);
    char line[LINE_LENGTH_MAX + 1];
    memset(line, 'w', LINE_LENGTH_MAX);
    type_bytes(line, LINE_LENGTH_MAX);
    TYPE("\001\005\001");
    assert_screen();
    assert_false(screen.escapes);
}

static void test_clear_screen(void **state)
{
    (void)state;
    TYPE("abc" LEFT);
    memset(screen.row, '#', WIDTH);
    TYPE("\014");
    assert_line("abc", 2);
}

static void test_reprint(void **state)
{
    (void)state;
    TYPE("abc" LEFT);
    memset(screen.row, '#', WIDTH);
    line_editor_reprint(&editor);
    assert_line("abc", 2);
}

/* --- completion --- */

static const char *const words[] = {"list", "log", "loglevel", "kill"};

static void complete(const char *const *list, size_t count)
{
    struct line_completion completion;
    line_completion_begin(&completion, editor.line, editor.cursor);
    for (size_t n = 0; n < count; n++) {
        line_completion_offer(&completion, list[n]);
    }
    line_editor_complete(&editor, &completion);
    assert_screen();
}

static void test_completion(void **state)
{
    (void)state;
    TYPE("k");
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill ", 5);
    TYPE("lo");
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill log", 8);
    assert_string_equal(screen.before, "");
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill log", 8);
    assert_string_equal(screen.before, "> kill log\nlog  loglevel\n");
    TYPE("l");
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill loglevel ", 14);
    TYPE("x");
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill loglevel x", 15);
    assert_int_equal(screen.bells, 1);
}

static void test_completion_in_the_middle(void **state)
{
    (void)state;
    TYPE("ki a" LEFT LEFT);
    complete(words, ARRAY_LENGTH(words));
    assert_line("kill a", 4); /* the space is there already */
    TYPE("\025x;l");
    complete(words, 1);
    assert_line("x;list a", 6);
}

static void test_completion_has_limits(void **state)
{
    (void)state;
    static char names[256][WORD_MAX + 1];
    const char *list[256];
    for (unsigned n = 0; n < 256; n++) {
        snprintf(names[n], sizeof(names[n]), "capsule-of-a-rather-long-name-%c", (char)('a' + (int)(n % 26)));
        list[n] = names[n];
    }
    TYPE("capsule-of-a-rather-long-name-");
    complete(list, 256);
    assert_non_null(strstr(screen.before, "more\n"));
    for (const char *row = screen.before; row != NULL && *row != '\0'; row = strchr(row, '\n') + 1) {
        assert_true(strcspn(row, "\n") < WIDTH);
    }
    TYPE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    complete(list, 256);
    assert_int_equal(screen.bells, 1);
    while (editor.length < LINE_LENGTH_MAX - 2) {
        TYPE(" ");
    }
    complete(words + 3, 1); /* no room for all of it */
    assert_int_equal(editor.length, LINE_LENGTH_MAX);
}

/* --- any keys --- */

static void test_any_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {UP,     DOWN, LEFT, RIGHT, DELETE,  "\001", "\005",  "\013", "\025",
                                       "\027", "\b", "a",  "bc ", "defgh", "\014", "\033[", "\r",   "word"};
    uint64_t seed = 0x1d0c5;
    for (unsigned plain = 0; plain < 2; plain++) {
        for (unsigned n = 0; n < 20000; n++) {
            const char *key = keys[test_below(&seed, ARRAY_LENGTH(keys))];
            for (; *key != '\0'; key++) {
                if (line_editor_type(&editor, (uint8_t)*key) == LINE_ENTERED) {
                    line_editor_begin(&editor);
                }
                screen.before[0] = '\0';
            }
            assert_screen();
        }
        TYPE("\025\r");
        line_editor_begin(&editor);
        editor.plain = true;
        screen_clear();
        memcpy(screen.row, "> ", 2);
    }
}

/* --- words that are nearly alike, numbers for people --- */

static void test_distance(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {{"", "", 0},
                {"", "abc", 3},
                {"abc", "", 3},
                {"abc", "abc", 0},
                {"abc", "acb", 1},
                {"kitten", "sitting", 3},
                {"list", "lsit", 1},
                {"debian", "debain", 1},
                {"a-31-characters-long-name-xxxxx", "a-31-characters-long-name-xxxxy", 1}};
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_int_equal(word_distance(rows[n].a, rows[n].b), rows[n].distance);
        assert_int_equal(word_distance(rows[n].b, rows[n].a), rows[n].distance);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    struct nearest nearest;
    nearest_begin(&nearest, "lits");
    nearest_offer(&nearest, "quit");
    nearest_offer(&nearest, "list");
    nearest_offer(&nearest, "log");
    assert_string_equal(nearest.word, "list");
    nearest_begin(&nearest, "xyz");
    nearest_offer(&nearest, "a");
    nearest_offer(&nearest, "mem");
    assert_string_equal(nearest.word, "");
    nearest_begin(&nearest, "a-word-that-is-longer-than-any-name-could-be");
    nearest_offer(&nearest, "a-word-that-is-longer-than-any");
    assert_string_equal(nearest.word, "a-word-that-is-longer-than-any");
}

static void test_human_bytes(void **state)
{
    (void)state;
    assert_string_equal(human_bytes(0).text, "0 B");
    assert_string_equal(human_bytes(1023).text, "1023 B");
    assert_string_equal(human_bytes(1024).text, "1 KiB");
    assert_string_equal(human_bytes(1536).text, "1.5 KiB");
    assert_string_equal(human_bytes(64 * KIB).text, "64 KiB");
    assert_string_equal(human_bytes(1023 * (uint64_t)MIB + 1).text, "1023 MiB");
    assert_string_equal(human_bytes((uint64_t)3 << 29).text, "1.5 GiB");
    assert_string_equal(human_bytes(UINT64_MAX).text, "15 EiB");
}

static void test_human_counts_and_shares(void **state)
{
    (void)state;
    assert_string_equal(human_count(0).text, "0");
    assert_string_equal(human_count(9999999).text, "9999999");
    assert_string_equal(human_count(10000000).text, "10.0 M");
    assert_string_equal(human_count(999999999).text, "999.9 M");
    assert_string_equal(human_count(1234567890).text, "1.2 G");
    assert_string_equal(human_count(UINT64_MAX).text, "18446744.0 T");
    assert_string_equal(human_share(1, 3).text, "33.3 %");
    assert_string_equal(human_share(5, 3).text, "100.0 %");
    assert_string_equal(human_share(0, 0).text, "-");
    assert_string_equal(human_share(UINT64_MAX / 2, UINT64_MAX).text, "49.9 %");
}

static void test_human_times(void **state)
{
    (void)state;
    assert_string_equal(human_time(0, 10000000).text, "0 us");
    assert_string_equal(human_time(9999, 10000000).text, "999 us");
    assert_string_equal(human_time(15000, 10000000).text, "1.5 ms");
    assert_string_equal(human_time(9999999, 10000000).text, "999 ms");
    assert_string_equal(human_time(15000000, 10000000).text, "1.5 s");
    assert_string_equal(human_time(9999999999, 10000000).text, "999.9 s");
    assert_string_equal(human_time((uint64_t)1000 * 10000000, 10000000).text, "16 min");
    assert_string_equal(human_time((uint64_t)36000 * 10000000, 10000000).text, "10 h");
    assert_string_equal(human_time(UINT64_MAX, UINT32_MAX).text, "1193046 h");
    assert_string_equal(human_time(5, 0).text, "?");
}

#define EDITOR_TEST(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDITOR_TEST(test_typing),
        EDITOR_TEST(test_line_ends),
        EDITOR_TEST(test_moving_and_inserting),
        EDITOR_TEST(test_erasing),
        EDITOR_TEST(test_ends_and_drops),
        EDITOR_TEST(test_longest_line),
        EDITOR_TEST(test_bytes_that_mean_nothing),
        EDITOR_TEST(test_cut_sequences),
        EDITOR_TEST(test_history),
        EDITOR_TEST(test_history_keeps_the_newest),
        EDITOR_TEST(test_plain),
        EDITOR_TEST(test_clear_screen),
        EDITOR_TEST(test_reprint),
        EDITOR_TEST(test_completion),
        EDITOR_TEST(test_completion_in_the_middle),
        EDITOR_TEST(test_completion_has_limits),
        EDITOR_TEST(test_any_keys),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_human_bytes),
        cmocka_unit_test(test_human_counts_and_shares),
        cmocka_unit_test(test_human_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
