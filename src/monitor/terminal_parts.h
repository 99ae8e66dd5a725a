/* SPDX-License-Identifier: MIT
 *
 * What the terminal's files share: its state, and what each file does for the others. terminal.lock guards all of it;
 * it is held by whoever calls one of these functions.
 *
 *   keys.c     what the operator types: the escape key, input for the capsule in focus
 *   modes.c    who is shown, and who has the keyboard
 *   mux.c      which capsule's output is next, and bytes out to the UART
 *   screen.c   lines on the screen: labels, and the one line that isn't complete
 *   terminal.c serving, the log, setting up
 */
#ifndef MONITOR_TERMINAL_PARTS_H
#define MONITOR_TERMINAL_PARTS_H

#include "core/capsule.h"
#include "core/hart.h"
#include "monitor/filter.h"

enum {
    SEATS_MAX = CAPSULES_MAX,
    NOBODY = CONSOLE_NO_SLOT,      /* for a seat's number */
    THE_MONITOR = NOBODY - 1,      /* for screen.line_of */
    TICKS_PER_SECOND = 20,         /* while something waits for time to pass */
    RESTS_PER_SECOND = 10000,      /* at most, while there is more to put out than goes out in one go */
    STAGE_SIZE = 16384,            /* log lines and labelled output on their way to the UART; a power of two */
    STAGE_FOR_GUESTS = 1024,       /* guests' lines are added while it holds less, so that the log's always find room */
    LINE_PIECE_MAX = 240,          /* bytes of a line that are put out although its end hasn't come */
    SCREEN_COLUMNS = 80,           /* a line that is longer can't be erased: it may have been wrapped */
    TYPE_AHEAD_SIZE = 256,         /* bytes typed for a guest whose ring is full */
    HELD_TICKS = TICKS_PER_SECOND, /* how long input waits for a guest that reads nothing, until it is dropped */
    ECHO_TICKS = 4,                /* how long after a key the lines of the one in focus are shown as they come */
};

static_assert(SEATS_MAX < THE_MONITOR, "numbers of seats");

/* A set of seats. */
struct seat_set {
    uint32_t words[SEATS_MAX / 32];
};

static inline void set_add(struct seat_set *set, uint32_t seat)
{
    set->words[seat / 32] |= UINT32_C(1) << seat % 32;
}

static inline void set_remove(struct seat_set *set, uint32_t seat)
{
    set->words[seat / 32] &= ~(UINT32_C(1) << seat % 32);
}

static inline bool set_has(const struct seat_set *set, uint32_t seat)
{
    return (set->words[seat / 32] >> seat % 32 & 1) != 0;
}

/* The first of the set from this seat on, around the end; NOBODY if it is empty. */
uint32_t set_next(const struct seat_set *set, uint32_t from);

static inline bool set_is_empty(const struct seat_set *set)
{
    return set_next(set, 0) == NOBODY;
}

/* An attached capsule. */
struct seat {
    struct capsule *capsule; /* NULL: the seat is free */
    struct filter filter;
    bool cut;         /* its line was broken off on the screen: what follows is marked as the rest */
    uint64_t dropped; /* bytes that went unseen, to be told before its next line */
};

/* What the screen shows, as of the last byte in the stage. */
struct screen {
    uint32_t head, tail; /* of the stage */
    uint8_t stage[STAGE_SIZE];
    /* The line that the cursor is in, if it isn't complete: */
    uint32_t line_of; /* a seat, THE_MONITOR, or NOBODY: the cursor is at the beginning of an empty line */
    bool drawn;       /* false: it was erased for others' lines, and comes back when they are through */
    uint32_t columns; /* not more than these, its label included; SCREEN_COLUMNS: too long to be erased */
    uint32_t length;  /* of text: what is behind the label */
    char text[SCREEN_COLUMNS];
    bool returned;    /* the last byte was a return: what follows takes the text's place */
    bool raw_in_line; /* raw: the capsule's last byte did not end a line */
};

enum terminal_mode { MODE_LABELLED, MODE_RAW };

struct terminal {
    struct spinlock lock;
    struct seat seats[SEATS_MAX];
    struct seat_set taken; /* seats with a capsule */

    enum terminal_mode mode; /* raw: the one in focus alone has the terminal */
    bool in_monitor;         /* keyboard and screen are the monitor's, and mode is how it was before */
    bool monitor_more;       /* the monitor's output was not yet all taken */
    uint32_t focus;          /* whose the keyboard is; NOBODY if no capsule is attached */
    bool color, started, flushing;

    /* Output, labelled. A seat with output is ready; if that's no whole line yet, it's young, then old, then late: */
    struct seat_set ready;
    struct seat_set young, old; /* nothing came since less than one tick, and longer */
    struct seat_set late;       /* were quiet long enough: what there is is shown */
    uint64_t echo_until;        /* until then the focus's lines are shown as they come: somebody types */
    uint32_t writer;            /* whose turn it was last */
    struct screen screen;

    /* Without the lock: seats whose ports had something while another had the lock, for him to see to. */
    atomic_bool called;
    _Atomic uint32_t wrote[SEATS_MAX / 32], read[SEATS_MAX / 32];

    struct seat_set told;         /* ports that must be notified, from terminal_serve, without the lock */
    bool receive_on, transmit_on; /* the UART's interrupts as they were last set */

    /* Input: */
    bool escaped;     /* the escape key was the last */
    bool receive_off; /* bytes are left in the UART: type_ahead is full */
    bool hung;        /* the one in focus reads nothing: bytes for it are dropped */
    uint32_t held;    /* ticks since type_ahead was full */
    uint32_t ahead_head, ahead_tail;
    uint8_t type_ahead[TYPE_AHEAD_SIZE];

    struct hart *hart; /* that serves the terminal; NULL before terminal_start */
    struct timer tick;
    uint64_t tick_period;
    bool tick_armed;
    struct timer rest;
    uint64_t rest_period;
    bool resting; /* until it fires, output that is left waits, and the transmitter's interrupt is off */
};

extern struct terminal terminal;

static inline struct console_port *seat_port(uint32_t seat)
{
    return &terminal.seats[seat].capsule->console;
}

static inline const char *seat_name(uint32_t seat)
{
    return terminal.seats[seat].capsule->console.label;
}

/* Has ticks come, on the serving hart, as long as somebody asks for one after the other. terminal.c */
void terminal_want_tick(void);
/* Leaves the transmitter's interrupt off for a while, then serves again. terminal.c */
void terminal_want_rest(void);

/* --- screen.c --- */

uint32_t screen_staged(void);
/* The next byte for the UART; false: none is staged. */
bool screen_take(uint8_t *byte);
/* Stages the bytes, whole or, if there is no room, not at all. */
bool screen_put(const char *text, size_t length);
/* A line of the hypervisor's, without its end, on a line of its own. */
void screen_line(const char *text, size_t length);
/* The terminal's own: "[-] …". */
void screen_notice(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
/* What the filter let pass of a seat's output: at most one newline, at its end. */
void screen_guest(uint32_t seat, const char *text, size_t length);
void screen_monitor(const char *text, size_t length);
/* Ends an incomplete line for good: the screen is another's from now on. */
void screen_settle(void);
/* After a capsule that had it raw: the colours, margins and character sets of the beginning (color=on). */
void screen_reset(void);
/* Brings an erased line back. */
void screen_restore(void);
bool screen_is_erased(void);

/* --- mux.c --- */

bool mux_is_raw(void); /* the one in focus has the screen byte for byte */
void mux_move_out(void);
/* The capsule there has written: true if all of it is with the UART and nothing else is to be done. */
bool mux_pass_raw(uint32_t seat);
void mux_set_interrupts(void);
/* At the end of a go: what is left waits a while, if the UART could take it now. */
void mux_rest(void);
/* If it is raw: all that the capsule has written and the stage has room for, then the end of its line. */
void mux_settle_raw(void);
/* The next byte for the UART, from the stage or, raw, from the capsule. */
bool mux_next_byte(uint8_t *byte);
/* Labelled: moves lines from ports to the stage. */
void mux_fill(void);
void mux_tick(void);

/* --- modes.c --- */

bool seat_is_living(uint32_t seat);  /* runs, or will by itself or when it is told to go on */
bool seat_is_running(uint32_t seat); /* writes to the screen at any moment */
/* The first choice, when guests begin to run. */
void modes_start(void);
/* If the one that has the terminal raw has stopped for good, and there are others, all get it. */
void modes_refresh(void);
void modes_set(enum terminal_mode mode);
void modes_focus(uint32_t seat);  /* leaves the monitor */
void modes_choose(uint32_t seat); /* the same, but the monitor stays where it is */
/* The next living one in focus, forwards or back. */
void modes_step(bool forwards);
void modes_enter_monitor(void);
void modes_leave_monitor(void);
/* Shows the ports that are to be seen, and no others. */
void modes_apply(void);
/* A capsule comes, and goes. */
void modes_attach(uint32_t seat);
void modes_detach(uint32_t seat);

/* --- keys.c --- */

enum keys_result {
    KEYS_NOTHING,       /* no byte was received, or it must wait */
    KEYS_DONE,          /* one was, and that was all */
    KEYS_ENTER_MONITOR, /* now call monitor_enter, without the lock */
    KEYS_MONITOR,       /* *byte is the monitor's */
};
enum keys_result keys_take(uint8_t *byte);
/* The one in focus has read, and can take more. */
void keys_read_by(uint32_t seat);
/* The focus goes to another: forgets what was typed for this one and not taken. */
void keys_change_focus(void);
void keys_tick(void);

#endif
