/* SPDX-License-Identifier: MIT
 *
 * What commands say, made safe for the screen: whatever isn't printable ASCII comes out as '?', so that nothing steers
 * the terminal or begins a line of its own.
 */
#include "monitor/command.h"

#include <string.h>

#include "core/log.h"
#include "lib/format.h"

static bool printable(char byte)
{
    return byte >= ' ' && byte <= '~';
}

void say(const char *pattern, ...)
{
    char text[SAY_LINE_MAX];
    va_list arguments;
    va_start(arguments, pattern);
    const size_t wanted = format_list(text, sizeof(text), pattern, arguments);
    va_end(arguments);
    const size_t length = MIN(wanted, sizeof(text) - 1);
    size_t said = 0;
    for (size_t n = 0; n < length; n++) {
        if (text[n] == '\n') {
            say_bytes(text + said, n - said);
            say_bytes("\r\n", 2);
            said = n + 1;
        } else if (!printable(text[n])) {
            text[n] = '?';
        }
    }
    say_bytes(text + said, length - said);
}

/* How many of text's bytes go into a line of this width: up to the last space, if there is one. */
static size_t line_part(const char *text, size_t width)
{
    size_t length = strlen(text);
    if (length <= width) {
        return length;
    }
    length = width;
    while (length > 0 && text[length] != ' ') {
        length--;
    }
    return length == 0 ? width : length;
}

void say_text(const char *text, size_t length)
{
    char line[SAY_COLUMNS + 1];
    length = MIN(length, sizeof(line) - 1);
    for (size_t n = 0; n < length; n++) {
        line[n] = printable(text[n]) ? text[n] : '?';
    }
    line[length] = '\0';
    say_bytes(line, length);
}

void say_wrapped(const char *lead, const char *text)
{
    const size_t indent = strlen(lead);
    const size_t width = SAY_COLUMNS - MIN(indent, (size_t)(SAY_COLUMNS / 2));
    bool first = true;
    while (*text != '\0' || first) {
        const size_t length = line_part(text, width);
        say("%*s", (int)indent, first ? lead : "");
        say_text(text, length);
        say("\n");
        text += length;
        while (*text == ' ') {
            text++;
        }
        first = false;
    }
}

void say_refusal(const struct refusal *refusal)
{
    char text[2 * SAY_LINE_MAX];
    format(text, sizeof(text), "%s (%s; %s)", refusal->text, error_cause(refusal->error), error_cure(refusal->error));
    say_wrapped("Refused: ", text);
}

void say_capsule_name(const struct capsule *capsule)
{
    enum { NAME_COLUMNS = 16 };
    if (strlen(capsule->config.name) > NAME_COLUMNS) {
        say("%3u %s\n%20s", (unsigned)capsule->id, capsule->config.name, "");
    } else {
        say("%3u %-*s", (unsigned)capsule->id, (int)NAME_COLUMNS, capsule->config.name);
    }
}
