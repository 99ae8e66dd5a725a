/* SPDX-License-Identifier: MIT
 *
 * A capsule's console port: a ring of output that forgets its oldest lines, a ring of input with BREAKs in it, and the
 * two promises that keep bytes moving: a refused writer is told when there is room, a refused terminal when bytes were
 * read. Both are called with the port's lock released.
 */
#include "core/console.h"

#include <string.h>

#include "core/hart.h"

void (*console_news)(struct console_port *port);

enum { LINE_REST_MAX = 256 }; /* bytes looked through for a line's end, when the oldest line must go */

static_assert((CONSOLE_INPUT_SIZE & (CONSOLE_INPUT_SIZE - 1)) == 0, "positions are taken modulo the size");
static_assert((CONSOLE_OUTPUT_SIZE & (CONSOLE_OUTPUT_SIZE - 1)) == 0, "positions are taken modulo the size");

bool byte_ring_put(struct byte_ring *ring, uint8_t byte)
{
    if (byte_ring_room(ring) == 0) {
        return false;
    }
    ring->bytes[ring->head % CONSOLE_INPUT_SIZE] = byte;
    ring->head++;
    return true;
}

bool byte_ring_take(struct byte_ring *ring, uint8_t *byte)
{
    if (byte_ring_used(ring) == 0) {
        return false;
    }
    *byte = ring->bytes[ring->tail % CONSOLE_INPUT_SIZE];
    ring->tail++;
    return true;
}

void console_port_init(struct console_port *port, const char *label)
{
    memset(port, 0, sizeof(*port));
    memcpy(port->label, label, strnlen(label, sizeof(port->label) - 1));
    port->slot = CONSOLE_NO_SLOT;
}

static void pump(struct console_port *port, bool output)
{
    if (port->pump != NULL) {
        port->pump(port, output);
    }
}

/* --- output: each function that says "held" is called with the port's lock held ----------------------------------- */

static uint8_t output_byte(const struct console_port *port, uint64_t count)
{
    return port->output[count % CONSOLE_OUTPUT_SIZE];
}

/* Held. Bytes before this count may go; head: all may. */
static inline uint64_t kept_from(const struct console_port *port)
{
    const uint64_t shown = atomic_load(&port->shown) ? port->taken : port->head;
    if (port->watched_until == 0 || clock_now() >= port->watched_until) {
        return shown;
    }
    return MIN(shown, MAX(port->watched, port->tail));
}

/* Held. At most the ring's size: who writes more than that writes in pieces. */
static inline size_t room_behind(const struct console_port *port, uint64_t from)
{
    return (size_t)(CONSOLE_OUTPUT_SIZE - (port->head - from));
}

/* Held. Forgets what is oldest, so that length more bytes (at most the ring's size) fit; then the rest of that line, if
 * it ends soon: but of what somebody looks at only bytes that he has taken. */
static void forget_oldest(struct console_port *port, size_t length, uint64_t limit)
{
    uint64_t end = port->head + length;

    if (end - port->tail <= CONSOLE_OUTPUT_SIZE) {
        return;
    }
    uint64_t first = end - CONSOLE_OUTPUT_SIZE;
    uint64_t next = first;
    for (unsigned n = 0; n < LINE_REST_MAX && next < limit; n++) {
        if (output_byte(port, next - 1) == '\n') {
            first = next;
            break;
        }
        next++;
    }
    port->tail = first;
    if (port->taken < first) {
        port->dropped += first - port->taken;
        port->untold += first - port->taken;
        port->taken = first;
    }
}

/* Held. At most the ring's size. */
static void append(struct console_port *port, const uint8_t *bytes, size_t length, uint64_t limit)
{
    forget_oldest(port, length, limit);
    for (size_t n = 0; n < length; n++) {
        port->output[port->head++ % CONSOLE_OUTPUT_SIZE] = bytes[n];
        if (bytes[n] == '\n') {
            port->line_end = port->head;
        }
    }
}

bool console_port_put(struct console_port *port, uint8_t byte)
{
    return console_port_write(port, &byte, 1) == 1;
}

size_t console_port_write(struct console_port *port, const uint8_t *bytes, size_t length)
{
    size_t done;
    bool shown;

    spinlock_take(&port->lock);
    shown = atomic_load(&port->shown);
    const uint64_t from = kept_from(port);
    done = MIN(length, room_behind(port, from));
    append(port, bytes, done, from);
    if (done < length) {
        atomic_store(&port->output_was_full, true);
    }
    spinlock_release(&port->lock);

    /* If it becomes shown now, whoever makes it so looks at the ring after that. */
    if (done > 0 && shown) {
        pump(port, true);
    }
    if (done > 0 && atomic_load(&port->awaited) != 0 && atomic_exchange(&port->awaited, 0) != 0) {
        console_news(port);
    }
    return done;
}

bool console_port_has_room(struct console_port *port)
{
    bool has;

    spinlock_take(&port->lock);
    has = room_behind(port, kept_from(port)) > 0;
    if (!has) {
        atomic_store(&port->output_was_full, true);
    }
    spinlock_release(&port->lock);
    return has;
}

void console_port_ask_for_room(struct console_port *port)
{
    atomic_store(&port->output_was_full, true);
}

uint64_t console_port_show(struct console_port *port, bool shown)
{
    uint64_t untold = 0;

    spinlock_take(&port->lock);
    atomic_store(&port->shown, shown);
    if (shown) {
        untold = port->untold;
        port->untold = 0;
    }
    spinlock_release(&port->lock);
    return untold;
}

/* Held. */
static void take_output(struct console_port *port, uint8_t *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        bytes[n] = output_byte(port, port->taken++);
    }
}

size_t console_port_drain(struct console_port *port, uint8_t *bytes, size_t length)
{
    spinlock_take(&port->lock);
    length = (size_t)MIN((uint64_t)length, port->head - port->taken);
    take_output(port, bytes, length);
    spinlock_release(&port->lock);
    return length;
}

/* Held. The bytes of the next line, at most limit. */
static size_t line_length(const struct console_port *port, size_t limit)
{
    size_t length = 0;

    while (length < limit && output_byte(port, port->taken + length++) != '\n') {
    }
    return length;
}

size_t console_port_drain_line(struct console_port *port, uint8_t *bytes, size_t length, bool unfinished)
{
    spinlock_take(&port->lock);
    uint64_t waiting = port->head - port->taken;
    bool has_line = port->line_end > port->taken;
    size_t taken = 0;
    if (has_line || unfinished || waiting >= length) {
        taken = line_length(port, (size_t)MIN((uint64_t)length, waiting));
        take_output(port, bytes, taken);
    }
    spinlock_release(&port->lock);
    return taken;
}

bool console_port_has_output(struct console_port *port)
{
    spinlock_take(&port->lock);
    bool has = port->head != port->taken;
    spinlock_release(&port->lock);
    return has;
}

size_t console_port_read(struct console_port *port, uint64_t *first, uint8_t *bytes, size_t size)
{
    spinlock_take(&port->lock);
    const uint64_t from = MIN(MAX(*first, port->tail), port->head);
    const size_t length = (size_t)MIN((uint64_t)size, port->head - from);
    for (size_t n = 0; n < length; n++) {
        bytes[n] = output_byte(port, from + n);
    }
    spinlock_release(&port->lock);
    *first = from;
    return length;
}

size_t console_port_scrollback(struct console_port *port, uint64_t *cursor, uint8_t *bytes, size_t size)
{
    const size_t length = console_port_read(port, cursor, bytes, size);
    *cursor += length;
    return length;
}

void console_port_watch(struct console_port *port, uint64_t taken, uint64_t until)
{
    spinlock_take(&port->lock);
    port->watched = taken;
    port->watched_until = until;
    spinlock_release(&port->lock);
}

void console_port_await(struct console_port *port)
{
    atomic_store(&port->awaited, 1);
}

uint64_t console_port_written(struct console_port *port)
{
    spinlock_take(&port->lock);
    const uint64_t written = port->head;
    spinlock_release(&port->lock);
    return written;
}

void console_port_counts(const struct console_port *port, struct console_counts *counts)
{
    *counts = (struct console_counts){.out = port->head, .in = port->fed, .dropped = port->dropped};
}

/* --- input -------------------------------------------------------------------------------------------------------- */

/* Held. Whether a BREAK comes before the next byte. */
static bool break_is_due(const struct console_port *port)
{
    return port->break_count > 0 && port->breaks[0] == port->input.tail;
}

/* Held. */
static void drop_break(struct console_port *port)
{
    port->break_count--;
    memmove(&port->breaks[0], &port->breaks[1], port->break_count * sizeof(port->breaks[0]));
    port->break_told = false;
}

enum console_next console_port_next(struct console_port *port)
{
    enum console_next next;

    spinlock_take(&port->lock);
    if (break_is_due(port)) {
        next = port->break_told ? CONSOLE_NEXT_BREAK_TOLD : CONSOLE_NEXT_BREAK;
    } else {
        next = byte_ring_used(&port->input) > 0 ? CONSOLE_NEXT_BYTE : CONSOLE_NEXT_NOTHING;
    }
    spinlock_release(&port->lock);
    return next;
}

bool console_port_has_input(struct console_port *port)
{
    return console_port_next(port) != CONSOLE_NEXT_NOTHING;
}

void console_port_tell_break(struct console_port *port)
{
    spinlock_take(&port->lock);
    port->break_told = break_is_due(port);
    spinlock_release(&port->lock);
}

/* Takes a byte, or a BREAK if it is one's turn; breaks false: they are skipped. */
static int take_input(struct console_port *port, bool breaks)
{
    int taken = -1;
    uint8_t byte = 0;
    bool terminal_waits = false;

    spinlock_take(&port->lock);
    while (taken < 0 && break_is_due(port)) {
        drop_break(port);
        taken = breaks ? CONSOLE_BREAK : -1;
    }
    if (taken < 0 && byte_ring_take(&port->input, &byte)) {
        taken = byte;
        terminal_waits = port->input_was_full;
        port->input_was_full = false;
    }
    spinlock_release(&port->lock);

    if (terminal_waits) {
        pump(port, false);
    }
    return taken;
}

int console_port_get(struct console_port *port)
{
    return take_input(port, false);
}

int console_port_receive(struct console_port *port)
{
    return take_input(port, true);
}

void console_port_claim(struct console_port *port, bool claimed)
{
    spinlock_take(&port->lock);
    if (atomic_load(&port->claimed) != claimed) {
        atomic_store(&port->claimed, claimed);
        port->alarm = ALARM_NONE;
    }
    spinlock_release(&port->lock);
}

enum console_next console_port_line_next(struct console_port *port)
{
    static const enum console_next next[] = {
        [ALARM_BREAK] = CONSOLE_NEXT_BREAK,
        [ALARM_BREAK_TOLD] = CONSOLE_NEXT_BREAK_TOLD,
        [ALARM_KEY] = CONSOLE_NEXT_BYTE,
    };
    if (!atomic_load(&port->claimed)) {
        return console_port_next(port);
    }
    spinlock_take(&port->lock);
    const enum console_next found = next[port->alarm];
    spinlock_release(&port->lock);
    return found;
}

int console_port_line_receive(struct console_port *port)
{
    int taken = -1;
    if (!atomic_load(&port->claimed)) {
        return console_port_receive(port);
    }
    spinlock_take(&port->lock);
    if (port->alarm == ALARM_BREAK || port->alarm == ALARM_BREAK_TOLD) {
        port->alarm = ALARM_KEY;
        taken = CONSOLE_BREAK;
    } else if (port->alarm == ALARM_KEY) {
        port->alarm = ALARM_NONE;
        taken = port->alarm_key;
    }
    spinlock_release(&port->lock);
    return taken;
}

void console_port_line_tell_break(struct console_port *port)
{
    if (!atomic_load(&port->claimed)) {
        console_port_tell_break(port);
        return;
    }
    spinlock_take(&port->lock);
    port->alarm = port->alarm == ALARM_BREAK ? ALARM_BREAK_TOLD : port->alarm;
    spinlock_release(&port->lock);
}

bool console_port_feed(struct console_port *port, uint8_t byte)
{
    bool fed;

    spinlock_take(&port->lock);
    fed = byte_ring_put(&port->input, byte);
    if (fed && port->alarm == ALARM_NO_KEY_YET) {
        port->alarm = ALARM_BREAK;
        port->alarm_key = byte;
    }
    if (fed) {
        port->fed++;
    } else {
        port->input_was_full = true;
    }
    spinlock_release(&port->lock);
    return fed;
}

bool console_port_can_feed(struct console_port *port)
{
    bool can;

    spinlock_take(&port->lock);
    can = byte_ring_room(&port->input) > 0;
    if (!can) {
        port->input_was_full = true;
    }
    spinlock_release(&port->lock);
    return can;
}

bool console_port_feed_break(struct console_port *port)
{
    bool fed;

    spinlock_take(&port->lock);
    fed = port->break_count < CONSOLE_BREAKS_MAX;
    if (fed) {
        port->breaks[port->break_count++] = port->input.head;
        port->alarm = atomic_load(&port->claimed) ? ALARM_NO_KEY_YET : ALARM_NONE;
    }
    spinlock_release(&port->lock);
    return fed;
}

void console_port_notify(struct console_port *port)
{
    bool tell;

    /* The refusal is forgotten only when the receiver is really told, so none is lost between drain and notify. */
    spinlock_take(&port->lock);
    tell = byte_ring_used(&port->input) > 0 || port->break_count > 0 || port->alarm >= ALARM_BREAK;
    if (atomic_load(&port->output_was_full) && room_behind(port, kept_from(port)) > 0) {
        atomic_store(&port->output_was_full, false);
        tell = true;
    }
    spinlock_release(&port->lock);

    if (tell && port->notify != NULL) {
        port->notify(port->receiver);
    }
}

void console_port_reset(struct console_port *port)
{
    bool terminal_waits;

    spinlock_take(&port->lock);
    port->input.tail = port->input.head;
    port->break_count = 0;
    port->break_told = false;
    port->alarm = ALARM_NONE;
    terminal_waits = port->input_was_full;
    port->input_was_full = false;
    spinlock_release(&port->lock);

    if (terminal_waits) {
        pump(port, false);
    }
}
