/* SPDX-License-Identifier: MIT
 *
 * The small snprintf: text with numbers and strings put in, never more than fits.
 */
#include "lib/format.h"

#include <string.h>

enum { PAD_MAX = 256 }; /* widths are cut to this, so that no number can keep a hart busy */

/* What is being written; length counts on past the end of out. */
struct output {
    char *out;
    size_t size;
    size_t length;
};

/* One conversion, as parsed. */
struct conversion {
    bool left;
    bool zero;
    size_t width;
    size_t precision; /* SIZE_MAX: none given */
    unsigned bytes;   /* of the argument: 1, 2, sizeof(int), sizeof(long) or 8 */
    char letter;
};

/* The argument list in a struct: a va_list as a parameter may be a copy or not, depending on the machine. */
struct arguments {
    va_list list;
};

static void put(struct output *output, char character)
{
    if (output->size > 0 && output->length < output->size - 1) {
        output->out[output->length] = character;
    }
    output->length++;
}

static void put_many(struct output *output, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        put(output, text[i]);
    }
}

static void pad(struct output *output, char character, size_t width, size_t used)
{
    for (; used < width; used++) {
        put(output, character);
    }
}

/* Text in its field. Zeros go between prefix (a sign or 0x) and text, spaces outside of both. */
static void put_field(struct output *output, const struct conversion *how, const char *prefix, const char *text,
                      size_t length)
{
    size_t prefix_length = strlen(prefix);
    size_t used = prefix_length + length;
    bool zeros = how->zero && !how->left;

    pad(output, ' ', how->left || zeros ? 0 : how->width, used);
    put_many(output, prefix, prefix_length);
    pad(output, '0', zeros ? how->width : 0, used);
    put_many(output, text, length);
    pad(output, ' ', how->left ? how->width : 0, used);
}

static void put_number(struct output *output, const struct conversion *how, const char *prefix, uint64_t value,
                       unsigned base)
{
    const char *digits = how->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[20]; /* 2^64 − 1 has 20 decimal digits */
    size_t first = sizeof(text);

    do {
        text[--first] = digits[value % base];
        value /= base;
    } while (value != 0);
    put_field(output, how, prefix, text + first, sizeof(text) - first);
}

static uint64_t take_unsigned(struct arguments *arguments, unsigned bytes)
{
    if (bytes > sizeof(long)) {
        return va_arg(arguments->list, unsigned long long);
    }
    if (bytes > sizeof(int)) {
        return va_arg(arguments->list, unsigned long);
    }
    unsigned value = va_arg(arguments->list, unsigned);
    return bytes == 1 ? (uint8_t)value : bytes == 2 ? (uint16_t)value : value;
}

static int64_t take_signed(struct arguments *arguments, unsigned bytes)
{
    uint64_t value = take_unsigned(arguments, bytes);
    unsigned unused = 64 - 8 * bytes;

    return (int64_t)(value << unused) >> unused;
}

static void put_signed(struct output *output, const struct conversion *how, int64_t value)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    put_number(output, how, value < 0 ? "-" : "", size, 10);
}

static void put_text(struct output *output, struct conversion *how, const char *text)
{
    if (text == NULL) {
        text = "(null)";
    }
    how->zero = false;
    put_field(output, how, "", text, strnlen(text, how->precision));
}

static void put_character(struct output *output, struct conversion *how, char character)
{
    how->zero = false;
    put_field(output, how, "", &character, 1);
}

/* Writes one conversion. False, with no argument used, if its letter is not known. */
static bool put_conversion(struct output *output, struct conversion *how, struct arguments *arguments)
{
    switch (how->letter) {
    case '%':
        put(output, '%');
        return true;
    case 'c':
        put_character(output, how, (char)va_arg(arguments->list, int));
        return true;
    case 's':
        put_text(output, how, va_arg(arguments->list, const char *));
        return true;
    case 'd':
    case 'i':
        put_signed(output, how, take_signed(arguments, how->bytes));
        return true;
    case 'u':
        put_number(output, how, "", take_unsigned(arguments, how->bytes), 10);
        return true;
    case 'x':
    case 'X':
        put_number(output, how, "", take_unsigned(arguments, how->bytes), 16);
        return true;
    case 'p':
        put_number(output, how, "0x", (uintptr_t)va_arg(arguments->list, void *), 16);
        return true;
    default:
        return false;
    }
}

static const char *parse_flags(const char *next, struct conversion *how)
{
    for (; *next == '-' || *next == '0'; next++) {
        how->left = how->left || *next == '-';
        how->zero = how->zero || *next == '0';
    }
    return next;
}

/* Digits, or a * that stands for an int argument, whose value may be negative. */
static const char *parse_count(const char *next, struct arguments *arguments, int *count)
{
    *count = 0;
    if (*next == '*') {
        *count = va_arg(arguments->list, int);
        return next + 1;
    }
    for (; *next >= '0' && *next <= '9'; next++) {
        *count = MIN(*count * 10 + (*next - '0'), 1 << 16);
    }
    return next;
}

static const char *parse_width(const char *next, struct conversion *how, struct arguments *arguments)
{
    int width;

    next = parse_count(next, arguments, &width);
    how->left = how->left || width < 0;
    how->width = (size_t)(width < 0 ? -MAX(width, -PAD_MAX) : MIN(width, PAD_MAX));
    return next;
}

static const char *parse_precision(const char *next, struct conversion *how, struct arguments *arguments)
{
    int precision;

    if (*next != '.') {
        return next;
    }
    next = parse_count(next + 1, arguments, &precision);
    how->precision = precision < 0 ? SIZE_MAX : (size_t)precision;
    return next;
}

static const char *parse_length(const char *next, struct conversion *how)
{
    static const struct {
        const char *letters;
        unsigned bytes;
    } lengths[] = {
        {"hh", 1}, {"h", 2}, {"ll", 8}, {"l", sizeof(long)}, {"z", sizeof(size_t)},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        size_t length = strlen(lengths[i].letters);
        if (strncmp(next, lengths[i].letters, length) == 0) {
            how->bytes = lengths[i].bytes;
            return next + length;
        }
    }
    return next;
}

/* next is just after the %. Returns where the pattern goes on. */
static const char *convert(struct output *output, const char *next, struct arguments *arguments)
{
    const char *start = next - 1;
    struct conversion how = {.precision = SIZE_MAX, .bytes = sizeof(int)};

    next = parse_flags(next, &how);
    next = parse_width(next, &how, arguments);
    next = parse_precision(next, &how, arguments);
    next = parse_length(next, &how);
    how.letter = *next;
    if (how.letter != '\0') {
        next++;
    }
    if (!put_conversion(output, &how, arguments)) {
        put_many(output, start, (size_t)(next - start));
    }
    return next;
}

size_t format_list(char *out, size_t size, const char *pattern, va_list list)
{
    struct output output = {.out = out, .size = size};
    struct arguments arguments;

    va_copy(arguments.list, list);
    while (*pattern != '\0') {
        if (*pattern == '%') {
            pattern = convert(&output, pattern + 1, &arguments);
        } else {
            put(&output, *pattern++);
        }
    }
    va_end(arguments.list);

    if (size > 0) {
        out[MIN(output.length, size - 1)] = '\0';
    }
    return output.length;
}

size_t format(char *out, size_t size, const char *pattern, ...)
{
    va_list list;

    va_start(list, pattern);
    size_t length = format_list(out, size, pattern, list);
    va_end(list);
    return length;
}
