/* SPDX-License-Identifier: MIT
 *
 * The log: lines into a ring of text and to the sink.
 *
 * Lock order: sink_lock, then whatever the sink takes (the terminal's lock). ring_lock is innermost: no other lock is
 * taken and nothing is called with it held, so the ring can be read with any lock held.
 */
#include "core/log.h"

#include <string.h>

#include "arch/arch.h"
#include "lib/format.h"
#include "lib/spinlock.h"

static atomic_uint highest_level = LOG_INFO;

/* Held from a line's entry into the ring until the sink has it, so that both see the same order. */
static struct spinlock sink_lock;
static void (*sink)(enum log_level level, const char *line, size_t length);

static struct spinlock ring_lock;
/* ring_lock guards this: bytes tail … head − 1, modulo the size, are whole lines that end in "\n" */
static struct {
    uint64_t head; /* counts bytes ever put */
    uint64_t tail; /* counts bytes ever dropped */
    char text[LOG_RING_SIZE];
} ring;

static_assert((LOG_RING_SIZE & (LOG_RING_SIZE - 1)) == 0, "counts are taken modulo the size");

static const char *const prefixes[] = {
    [LOG_ALERT] = "[!]",
    [LOG_INFO] = "[-]",
    [LOG_DEBUG] = "[?]",
};

void log_set_level(enum log_level level)
{
    atomic_store(&highest_level, level);
}

enum log_level log_level_current(void)
{
    return (enum log_level)atomic_load(&highest_level);
}

void log_set_sink(void (*new_sink)(enum log_level level, const char *line, size_t length))
{
    spinlock_take(&sink_lock);
    sink = new_sink;
    spinlock_release(&sink_lock);
}

static char *ring_byte(uint64_t count)
{
    return &ring.text[count % LOG_RING_SIZE];
}

/* Forgets the oldest line. ring_lock is held and the ring is not empty. */
static void ring_drop_line(void)
{
    while (*ring_byte(ring.tail++) != '\n') {
    }
}

static void ring_put(const char *line, size_t length)
{
    spinlock_take(&ring_lock);
    while (LOG_RING_SIZE - (ring.head - ring.tail) < length + 1) {
        ring_drop_line();
    }
    for (size_t i = 0; i < length; i++) {
        *ring_byte(ring.head++) = line[i];
    }
    *ring_byte(ring.head++) = '\n';
    spinlock_release(&ring_lock);
}

size_t log_copy(char *out, size_t size)
{
    size_t length = 0;

    if (size == 0) {
        return 0;
    }
    spinlock_take(&ring_lock);
    uint64_t next = ring.tail;
    if (ring.head - next > size - 1) {
        next = ring.head - (size - 1);
        while (next != ring.head && *ring_byte(next - 1) != '\n') {
            next++; /* not from the middle of a line */
        }
    }
    while (next != ring.head) {
        out[length++] = *ring_byte(next++);
    }
    spinlock_release(&ring_lock);
    out[length] = '\0';
    return length;
}

size_t log_read(uint64_t *first, uint8_t *bytes, size_t size)
{
    spinlock_take(&ring_lock);
    const uint64_t from = MIN(MAX(*first, ring.tail), ring.head);
    const size_t length = (size_t)MIN((uint64_t)size, ring.head - from);
    for (size_t n = 0; n < length; n++) {
        bytes[n] = (uint8_t)*ring_byte(from + n);
    }
    spinlock_release(&ring_lock);
    *first = from;
    return length;
}

uint64_t log_written(void)
{
    spinlock_take(&ring_lock);
    const uint64_t written = ring.head;
    spinlock_release(&ring_lock);
    return written;
}

void log_read_begin(struct log_reader *reader)
{
    spinlock_take(&ring_lock);
    *reader = (struct log_reader){.next = ring.tail, .end = ring.head};
    spinlock_release(&ring_lock);
}

bool log_read_line(struct log_reader *reader, char *out, size_t size)
{
    size_t length = 0;

    spinlock_take(&ring_lock);
    if (reader->next < ring.tail) {
        reader->next = ring.tail; /* what comes next was dropped; whatever is left is whole lines */
    }
    bool found = reader->next < reader->end;
    while (found) {
        char byte = *ring_byte(reader->next++);
        if (byte == '\n') {
            break;
        }
        if (length < size - 1) {
            out[length++] = byte;
        }
    }
    spinlock_release(&ring_lock);
    out[length] = '\0';
    return found;
}

/* A name from a manifest or a guest's text must not be able to begin a line of its own or to steer the terminal. */
static void make_printable(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            text[i] = '?';
        }
    }
}

/* Puts prefix and text into line, which has room for LOG_LINE_MAX bytes. Returns their length, the line's end not
 * counted. */
__attribute__((format(printf, 3, 0))) static size_t compose(char *line, enum log_level level, const char *pattern,
                                                            va_list arguments)
{
    const size_t room = LOG_LINE_MAX - 2; /* "\r\n" has to follow */
    size_t length = format(line, LOG_LINE_MAX, "%s CPU %lu: ", prefixes[level], arch_this_hart()->id);

    length += format_list(line + length, room + 1 - length, pattern, arguments);
    if (length > room) {
        length = room;
        memcpy(line + length - 3, "...", 3);
    }
    make_printable(line, length);
    return length;
}

void log_write_list(enum log_level level, const char *format, va_list arguments)
{
    char line[LOG_LINE_MAX];

    if (level > log_level_current()) {
        return;
    }
    size_t length = compose(line, level, format, arguments);

    spinlock_take(&sink_lock);
    ring_put(line, length);
    line[length++] = '\r';
    line[length++] = '\n';
    if (sink != NULL) {
        sink(level, line, length);
    }
    spinlock_release(&sink_lock);
}

void log_write(enum log_level level, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    log_write_list(level, format, arguments);
    va_end(arguments);
}
