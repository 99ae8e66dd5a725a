/* SPDX-License-Identifier: MIT
 *
 * What the monitor's commands share; for monitor/ only. A command is a row of the table in command_table.c and a
 * function that does a step of it: it is called again and again while it returns true, each time with room for
 * SAY_STEP_MAX bytes of output, so that neither its time nor its output grows with the number of capsules.
 */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include "core/life.h"
#include "monitor/line_editor.h"
#include "monitor/monitor.h"

enum {
    SAY_STEP_MAX = 1024, /* bytes that one step may say */
    SAY_LINE_MAX = 256,  /* bytes that one say() may; more are cut */
    SAY_COLUMNS = 79,    /* of the screen */
    STEP_CAPSULES = 16,  /* that one step looks at if it says nothing of them */
    ARGUMENTS_MAX = 2,
};

/* What a command's first argument is: for completion. WORD_CAPSULE is looked up before the first step. */
enum monitor_word { WORD_NONE, WORD_CAPSULE, WORD_COMMAND, WORD_LEVEL };

struct monitor_job;

struct monitor_command {
    const char *name;
    const char *arguments; /* for help: "NAME [vCPU]" */
    const char *summary;   /* one line */
    const char *details;   /* what else help COMMAND says */
    bool (*step)(struct monitor_job *job);
    unsigned least, most; /* arguments */
    enum monitor_word word;
    enum capsule_request request; /* for those whose step is command_request */
};

/* A command that is being executed. */
struct monitor_job {
    const struct monitor_command *command;
    const char *arguments[ARGUMENTS_MAX]; /* "" where there is none; they point into text */
    unsigned argument_count;
    bool confirmed;          /* it asked, and was told to go on */
    bool asks;               /* set by the step: going on needs a confirmation */
    uint32_t capsule_id;     /* its first argument is this capsule; 0: it isn't one */
    struct capsule *capsule; /* the same, for this step only */

    /* The command's own, 0 at first: */
    unsigned stage;
    uint32_t cursor;
    uint64_t sums[3];
    struct nearest nearest; /* when a capsule's name is wrong */
    char text[LINE_LENGTH_MAX + 1];
};

/* The table, and its row for a word: the one of that name, or the only one that begins so. On NULL *candidates is how
 * many begin so. */
extern const struct monitor_command monitor_commands[];
extern const size_t monitor_command_count;
const struct monitor_command *monitor_command_find(const char *word, unsigned *candidates);

/* Words of `loglevel`, by enum log_level. */
extern const char *const monitor_level_names[3];

/* Output of the command that is being executed; "\n" ends a line. Bytes that aren't printable ASCII come out as '?'. */
void say(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
/* Text of others, up to SAY_COLUMNS of it: here no byte ends a line. */
void say_text(const char *text, size_t length);
/* lead and then text, in lines of SAY_COLUMNS with the later ones indented by lead's length. */
void say_wrapped(const char *lead, const char *text);
/* "Refused: …" with the published cause and cure. */
void say_refusal(const struct refusal *refusal);
/* A capsule's id and name in 20 columns; a long name gets a line of its own. */
void say_capsule_name(const struct capsule *capsule);
/* The same, its bytes taken as they are: for text that was filtered already. */
void say_bytes(const char *bytes, size_t length);

/* The capsule after job->cursor, which moves on to it; NULL: that was the last. For this step only. */
struct capsule *next_capsule(struct monitor_job *job);
/* Whether it would lose something if the machine were switched off. */
bool capsule_is_alive(const struct capsule *capsule);

const struct monitor_host *the_host(void);
/* After this step the monitor is left. told: monitor_left() tells the terminal. */
void leave_monitor(bool told);

/* Steps; commands_*.c */
bool command_list(struct monitor_job *job);
bool command_info(struct monitor_job *job);
bool command_request(struct monitor_job *job);
bool command_create(struct monitor_job *job);
bool command_focus(struct monitor_job *job);
bool command_log(struct monitor_job *job);
bool command_loglevel(struct monitor_job *job);
bool command_stat(struct monitor_job *job);
bool command_regs(struct monitor_job *job);
bool command_mem(struct monitor_job *job);
bool command_harts(struct monitor_job *job);
bool command_reboot(struct monitor_job *job);
bool command_poweroff(struct monitor_job *job);
bool command_yes(struct monitor_job *job);
bool command_repeat(struct monitor_job *job);
bool command_help(struct monitor_job *job);
bool command_quit(struct monitor_job *job);

#endif
