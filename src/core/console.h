/* SPDX-License-Identifier: MIT
 *
 * A capsule's console port: what lies between whatever the guest writes to (UART, SBI) and the operator's terminal.
 *
 * Output goes into a ring that is the capsule's scroll-back too. While the terminal shows the port, nothing is lost: a
 * write that would push out bytes that the terminal hasn't taken is refused. While it doesn't, every write succeeds,
 * and the oldest lines go first. Input, with its BREAKs, waits in a small ring. Nothing here ever blocks: a refused
 * writer finds another time, and is told when it has come. A manager's client that watches the port holds it up like
 * the terminal, but for a short time only after each read.
 */
#ifndef CORE_CONSOLE_H
#define CORE_CONSOLE_H

#include <stdatomic.h>

#include "lib/base.h"
#include "lib/spinlock.h"

enum {
    CONSOLE_OUTPUT_SIZE = 8192, /* bytes, a power of two: scroll-back */
    CONSOLE_INPUT_SIZE = 1024,  /* bytes, a power of two */
    CONSOLE_BREAKS_MAX = 4,     /* BREAKs that may wait among the input */
    CONSOLE_BREAK = 0x100,      /* console_port_receive's answer for one */
    CONSOLE_NO_SLOT = 0xffff,
};

struct byte_ring {
    uint32_t head; /* counts bytes ever put */
    uint32_t tail; /* counts bytes ever taken */
    uint8_t bytes[CONSOLE_INPUT_SIZE];
};

static inline uint32_t byte_ring_used(const struct byte_ring *ring)
{
    return ring->head - ring->tail;
}

static inline uint32_t byte_ring_room(const struct byte_ring *ring)
{
    return CONSOLE_INPUT_SIZE - byte_ring_used(ring);
}

/* False if full / empty. */
bool byte_ring_put(struct byte_ring *ring, uint8_t byte);
bool byte_ring_take(struct byte_ring *ring, uint8_t *byte);

/* A BREAK and the byte behind it, as the UART hears them while the input is claimed. */
enum console_alarm { ALARM_NONE, ALARM_NO_KEY_YET, ALARM_BREAK, ALARM_BREAK_TOLD, ALARM_KEY };

struct console_port {
    struct spinlock lock; /* innermost lock but the log's */
    /* lock guards these: */
    uint64_t head;     /* bytes of output ever written */
    uint64_t taken;    /* of them, what the terminal has taken or nobody will ever see; tail … head */
    uint64_t tail;     /* the oldest that is kept: head − CONSOLE_OUTPUT_SIZE … head */
    uint64_t line_end; /* behind the newest newline */
    uint64_t dropped;  /* bytes that nobody has seen and that are gone */
    uint64_t untold;   /* of them, what the terminal has not been told of yet */
    uint64_t fed;      /* bytes of input ever taken from the terminal */
    uint64_t watched;  /* what a client that watches has taken, until then: ticks of clock_now; 0: nobody does */
    uint64_t watched_until;
    struct byte_ring input;
    uint32_t breaks[CONSOLE_BREAKS_MAX]; /* each stands before the input's byte of that count; ascending */
    uint32_t break_count;
    bool break_told;     /* the first one's arrival was told (console_port_tell_break) */
    bool input_was_full; /* the terminal was refused since the last read */
    uint8_t alarm;       /* enum console_alarm */
    uint8_t alarm_key;
    /* Written with the lock held, read by anyone: */
    atomic_bool shown;
    atomic_bool output_was_full; /* a writer was refused and hasn't been told of room since */
    atomic_bool again;           /* the receiver was told and has not done all: it wants to be told once more, soon */
    atomic_bool claimed;         /* a device takes the input instead of the UART */
    atomic_uint awaited;         /* somebody wants to be told of the next output: console_news */

    _Atomic uint16_t slot; /* the terminal's; its lock guards changes */

    /* Called with no lock held when input arrived or refused output found room again. NULL: nobody cares. */
    void (*notify)(void *receiver);
    void *receiver;

    /* Called after the guest wrote output that is shown (output true) or made room for refused input (output false), so
     * that the terminal moves bytes. May be called with a device's lock held. */
    void (*pump)(struct console_port *port, bool output);
    char label[32];
    uint8_t output[CONSOLE_OUTPUT_SIZE];
};

static_assert(sizeof(struct console_port) <= 9540, "9.3 KiB of the 16 KiB that a capsule may cost");

/* Not shown, empty. */
void console_port_init(struct console_port *port, const char *label);

/* --- the guest's side: any hart, with any lock held but the terminal's ------------------------------------------- */

/* put is false, and get −1, if nothing could be moved. write moves as many as fit. get skips BREAKs. */
bool console_port_put(struct console_port *port, uint8_t byte);
size_t console_port_write(struct console_port *port, const uint8_t *bytes, size_t length);
int console_port_get(struct console_port *port);
bool console_port_has_room(struct console_port *port); /* for output; remembers a refusal if not */
/* As if a writer had been refused: the receiver is told after the next drain. */
void console_port_ask_for_room(struct console_port *port);

/* For a receiver that knows of BREAKs: what comes next; and takes it: a byte, CONSOLE_BREAK, or −1 for nothing. */
enum console_next { CONSOLE_NEXT_NOTHING, CONSOLE_NEXT_BYTE, CONSOLE_NEXT_BREAK, CONSOLE_NEXT_BREAK_TOLD };
enum console_next console_port_next(struct console_port *port);
int console_port_receive(struct console_port *port);
/* Makes of a NEXT_BREAK a NEXT_BREAK_TOLD. */
void console_port_tell_break(struct console_port *port);
bool console_port_has_input(struct console_port *port);
/* From now on a device takes the input instead of the UART, or no longer does. */
void console_port_claim(struct console_port *port, bool claimed);
/* The same for the UART. While the input is claimed it hears the last BREAK and the byte behind it alone, which the
 * other device hears too: Linux takes SysRq from the console that it prints on, and nobody knows here which that is. */
enum console_next console_port_line_next(struct console_port *port);
int console_port_line_receive(struct console_port *port);
void console_port_line_tell_break(struct console_port *port);

/* Forgets the input; output stays, so that a dying guest's last words come out. */
void console_port_reset(struct console_port *port);

/* --- the terminal's side: any hart, with no port's lock held ------------------------------------------------------ */

/* Whether the port is shown, from now on. Returns how many bytes were dropped, unseen, that it has not told of yet:
 * when it becomes shown, else 0. Whoever was refused must be told (console_port_notify) when it is shown no more. */
uint64_t console_port_show(struct console_port *port, bool shown);
/* Takes up to length bytes of output that haven't been taken. */
size_t console_port_drain(struct console_port *port, uint8_t *bytes, size_t length);
/* The same for at most one line: up to its newline, or length bytes if it is longer. What is not a whole line yet is
 * taken only if unfinished is true. */
size_t console_port_drain_line(struct console_port *port, uint8_t *bytes, size_t length, bool unfinished);
/* Whether there is output that hasn't been taken. */
bool console_port_has_output(struct console_port *port);
/* Offers one byte of input. */
bool console_port_feed(struct console_port *port, uint8_t byte);
bool console_port_can_feed(struct console_port *port); /* remembers a refusal if not */
/* Offers a BREAK, which the UART reports in order with the bytes fed. False if CONSOLE_BREAKS_MAX of them wait. */
bool console_port_feed_break(struct console_port *port);
/* Tells the receiver that input arrived, or output found room; call with no lock held after feed, drain and show. */
void console_port_notify(struct console_port *port);

/* Whether a writer waits to be told of room. No lock is taken: asked after a drain, it knows of whoever was refused
 * before. */
static inline bool console_port_refused(const struct console_port *port)
{
    return atomic_load(&port->output_was_full);
}

/* --- for anyone -------------------------------------------------------------------------------------------------- */

/* Copies up to size bytes of scroll-back from *cursor on, a count of bytes ever written (0: from the oldest), and moves
 * the cursor behind them. What is no longer kept is skipped. Returns their number: 0 at the end. These are a guest's
 * bytes as it wrote them. */
size_t console_port_scrollback(struct console_port *port, uint64_t *cursor, uint8_t *bytes, size_t size);

/* The same for a client: where its bytes begin is said in *first, so that it sees what it has missed. */
size_t console_port_read(struct console_port *port, uint64_t *first, uint8_t *bytes, size_t size);
/* A client has taken all bytes before this count: until then (ticks) output that it hasn't taken is not pushed out, and
 * writers are refused instead. until 0: it is gone. console_port_notify must follow. With several clients the last call
 * counts. */
void console_port_watch(struct console_port *port, uint64_t taken, uint64_t until);
/* console_news is called once, at the next output: ask before looking at what there is. */
void console_port_await(struct console_port *port);
/* There is output that console_port_await asked for. Any lock may be held but a port's. Set once at boot; NULL: nobody
 * asks. */
extern void (*console_news)(struct console_port *port);
/* Bytes of output ever written. */
uint64_t console_port_written(struct console_port *port);

struct console_counts {
    uint64_t out, in; /* bytes, since the port was made */
    uint64_t dropped; /* of out: nobody has seen them and the ring had no room for them */
};
/* Without the lock: on 32-bit harts a count that just passes a multiple of 2^32 may be off by that once. */
void console_port_counts(const struct console_port *port, struct console_counts *counts);

#endif
