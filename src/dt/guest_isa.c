/* SPDX-License-Identifier: MIT
 *
 * Filters a host's ISA string down to what a capsule may use.
 */
#include "dt/guest_isa.h"

#include <string.h>

/* What an extension needs of the hypervisor. Without any an extension is harmless: no state of its own, or none that
 * isn't switched with F and D. */
enum needs {
    ALWAYS = 0,
    VECTOR = 1 << 0,
    SSTC = 1 << 1,
    CBOM = 1 << 2,
    CBOZ = 1 << 3,
    SVPBMT = 1 << 4,
    SVADU = 1 << 5,
    SVADE = 1 << 6, /* that is: no Svadu. With both named a guest would have to ask for what it has */
    SVINVAL = 1 << 7,
    CBOP = 1 << 8,
};

/* Related ones side by side are easier to read. */
/* clang-format off */
static const struct row {
    const char *name; /* a "*" at its end stands for any rest */
    unsigned needs;
} rows[] = {
    /* cache blocks: prefetching is a hint that nobody has to allow */
    {"zicbom", CBOM}, {"zicboz", CBOZ}, {"zicbop", CBOP},
    /* integer, hints and conditional operations */
    {"zicntr", ALWAYS}, {"zicond", ALWAYS}, {"zicsr", ALWAYS}, {"zifencei", ALWAYS}, {"zihintntl", ALWAYS},
    {"zihintpause", ALWAYS}, {"zmmul", ALWAYS},
    /* atomics */
    {"zaamo", ALWAYS}, {"zabha", ALWAYS}, {"zacas", ALWAYS}, {"zalrsc", ALWAYS}, {"zawrs", ALWAYS},
    /* floating point */
    {"zfa", ALWAYS}, {"zfh", ALWAYS}, {"zfhmin", ALWAYS},
    /* compressed */
    {"zca", ALWAYS}, {"zcb", ALWAYS}, {"zcd", ALWAYS}, {"zcf", ALWAYS},
    /* bit manipulation and scalar cryptography; not zkr, whose seed CSR is the hypervisor's */
    {"zba", ALWAYS}, {"zbb", ALWAYS}, {"zbc", ALWAYS}, {"zbs", ALWAYS}, {"zbkb", ALWAYS}, {"zbkc", ALWAYS},
    {"zbkx", ALWAYS}, {"zkn", ALWAYS}, {"zknd", ALWAYS}, {"zkne", ALWAYS}, {"zknh", ALWAYS}, {"zks", ALWAYS},
    {"zksed", ALWAYS}, {"zksh", ALWAYS}, {"zkt", ALWAYS},
    /* vector */
    {"zvfh", VECTOR}, {"zvfhmin", VECTOR}, {"zvb*", VECTOR}, {"zvk*", VECTOR},
    /* supervisor */
    {"sstc", SSTC}, {"svade", SVADE}, {"svadu", SVADU}, {"svinval", SVINVAL}, {"svnapot", ALWAYS}, {"svpbmt", SVPBMT},
};
/* clang-format on */

/* Single letters in the standard order; h, s and u are the hypervisor's own business. */
static const char letters[] = "imafdcv";

const char *isa_extensions(const char *isa)
{
    return strncmp(isa, "rv32", 4) == 0 || strncmp(isa, "rv64", 4) == 0 ? isa + 4 : NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* How many characters at the text's end are a version number such as "2p1"; 0 if none. Digits without the p belong to
 * the name. */
static size_t version_length(const char *text, size_t length)
{
    size_t at = length;

    while (at > 0 && is_digit(text[at - 1])) {
        at--;
    }
    if (at == length || at == 0 || text[at - 1] != 'p') {
        return 0;
    }
    size_t point = --at;
    while (at > 0 && is_digit(text[at - 1])) {
        at--;
    }
    return at == point ? 0 : length - at;
}

/* The version number behind a single letter: digits, and with a "p" more digits. */
static const char *version_skip(const char *text)
{
    const char *at = text;

    while (is_digit(*at)) {
        at++;
    }
    if (at != text && at[0] == 'p' && is_digit(at[1])) {
        at++;
        while (is_digit(*at)) {
            at++;
        }
    }
    return at;
}

/* Longer names begin with z, x or s; but old trees end their letters in "su", for the modes. */
static bool is_long_name(const char *text, size_t length)
{
    if (text[0] == 's') {
        return length > 2 || (length == 2 && text[1] != 'u');
    }
    return text[0] == 'z' || text[0] == 'x';
}

bool isa_next(const char **cursor, struct isa_extension *extension)
{
    const char *at = *cursor;

    while (*at == '_') {
        at++;
    }
    if (*at == '\0') {
        *cursor = at;
        return false;
    }
    const char *end = strchr(at, '_');
    size_t length = end == NULL ? strlen(at) : (size_t)(end - at);
    if (is_long_name(at, length)) {
        *extension = (struct isa_extension){at, length - version_length(at, length)};
        *cursor = at + length;
    } else {
        *extension = (struct isa_extension){at, 1};
        *cursor = version_skip(at + 1);
    }
    return true;
}

static unsigned provided(const struct guest_isa_options *options)
{
    return (options->vector ? VECTOR : 0U) | (options->sstc ? SSTC : 0U) | (options->zicbom ? CBOM : 0U) |
           (options->zicboz ? CBOZ : 0U) | (options->zicbop ? CBOP : 0U) | (options->svpbmt ? SVPBMT : 0U) |
           (options->svinval ? SVINVAL : 0U) | (options->svadu ? SVADU : (unsigned)SVADE);
}

static bool row_matches(const struct row *row, const struct isa_extension *extension)
{
    size_t length = strlen(row->name);
    if (row->name[length - 1] == '*') {
        return extension->length >= length && memcmp(row->name, extension->name, length - 1) == 0;
    }
    return extension->length == length && memcmp(row->name, extension->name, length) == 0;
}

static bool allowed(const struct isa_extension *extension, unsigned has)
{
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (row_matches(&rows[i], extension)) {
            return (rows[i].needs & ~has) == 0;
        }
    }
    return false;
}

/* True if the host's string has this single letter; "g" stands for imafd. */
static bool has_letter(const char *extensions, char letter)
{
    struct isa_extension extension;

    while (isa_next(&extensions, &extension)) {
        char name = extension.length == 1 ? extension.name[0] : '\0';
        if (name == letter || (name == 'g' && strchr("imafd", letter) != NULL)) {
            return true;
        }
    }
    return false;
}

void guest_isa(const char *host_isa, const struct guest_isa_options *options, char *out, size_t size)
{
    const char *cursor = isa_extensions(host_isa);
    unsigned has = provided(options);
    struct isa_extension extension;
    size_t used = 4;

    assert(size > 4 + sizeof(letters));
    out[0] = '\0';
    if (cursor == NULL) {
        return;
    }
    memcpy(out, host_isa, used);
    for (const char *letter = letters; *letter != '\0'; letter++) {
        if (has_letter(cursor, *letter) && (*letter != 'v' || options->vector)) {
            out[used++] = *letter;
        }
    }
    while (isa_next(&cursor, &extension)) {
        if (extension.length > 1 && extension.length + 1 < size - used && allowed(&extension, has)) {
            out[used++] = '_';
            memcpy(out + used, extension.name, extension.length);
            used += extension.length;
        }
    }
    out[used] = '\0';
}

size_t guest_isa_list(const char *isa, char *out, size_t size)
{
    const char *cursor = isa_extensions(isa);
    struct isa_extension extension;
    size_t used = 0;
    while (cursor != NULL && isa_next(&cursor, &extension) && extension.length < size - used) {
        memcpy(out + used, extension.name, extension.length);
        used += extension.length;
        out[used++] = '\0';
    }
    return used;
}

/* Whether any of the extensions is this one; a "g" stands for its five letters. */
static bool has_extension(const char *extensions, const struct isa_extension *wanted)
{
    struct isa_extension extension;
    if (wanted->length == 1 && wanted->name[0] != 'g') {
        return has_letter(extensions, wanted->name[0]);
    }
    if (wanted->length == 1) {
        bool all = true;
        for (const char *letter = "imafd"; *letter != '\0'; letter++) {
            all = all && has_letter(extensions, *letter);
        }
        return all;
    }
    while (isa_next(&extensions, &extension)) {
        if (extension.length == wanted->length && memcmp(extension.name, wanted->name, wanted->length) == 0) {
            return true;
        }
    }
    return false;
}

void isa_keep_common(char *isa, const char *other)
{
    const char *cursor = isa_extensions(isa);
    const char *others = isa_extensions(other);
    struct isa_extension extension;
    if (cursor == NULL || others == NULL) {
        isa[0] = '\0';
        return;
    }
    /* What is kept moves towards the start, never past the place that is read: an underscore is written only where one
     * was read since the last name. Behind a long name there always is one. */
    char *end = isa + (cursor - isa);
    bool apart = false;
    while (isa_next(&cursor, &extension)) {
        apart = apart || extension.name[-1] == '_';
        if (has_extension(others, &extension)) {
            if (apart && end > isa + 4) {
                *end++ = '_';
            }
            memmove(end, extension.name, extension.length);
            end += extension.length;
            apart = false;
        }
    }
    *end = '\0';
}
