/* SPDX-License-Identifier: MIT
 *
 * A line that an operator types: editing, history, completion. Bytes come one at a time and may stop in the middle of
 * an escape sequence; what is to be shown goes to a function. Holds no lock, calls nothing else: its owner sees to it
 * that one hart at a time is in it.
 */
#ifndef MONITOR_LINE_EDITOR_H
#define MONITOR_LINE_EDITOR_H

#include "monitor/nearest.h"

enum {
    LINE_LENGTH_MAX = 120, /* bytes of a line; more are refused with BEL */
    LINE_HISTORY = 16,     /* lines that are remembered */
    LINE_COLUMNS = 79,     /* of the screen; a longer line shows the part around the cursor */
};

/* What a byte has led to. */
enum line_event {
    LINE_EDITED,  /* nothing that concerns anybody else */
    LINE_ENTERED, /* the line is finished; the screen is on a new line */
    LINE_TAB,     /* the word before the cursor is to be completed: line_editor_complete */
    LINE_DROPPED, /* Ctrl-C: the line was given up; the screen is on a new line */
    LINE_ENDED,   /* Ctrl-D on an empty line */
};

enum line_escape { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_BRACKET, ESCAPE_LETTER };

struct line_editor {
    const char *prompt;
    bool plain; /* the terminal knows no escape sequences: backspaces and spaces alone */
    void (*put)(void *screen, const char *bytes, size_t length);
    void *screen;

    char line[LINE_LENGTH_MAX + 1]; /* always terminated */
    size_t length;
    size_t cursor;
    size_t left;  /* of the line: the first character on the screen */
    size_t shown; /* characters on the screen beside the prompt */

    char history[LINE_HISTORY][LINE_LENGTH_MAX + 1];
    unsigned entered;                /* lines ever put into history */
    unsigned back;                   /* how far back in history the line is from; 0: it isn't */
    char draft[LINE_LENGTH_MAX + 1]; /* what was typed before going back */

    enum line_escape escape;
    unsigned escape_number, escape_length;
    bool returned; /* the last byte was CR: LF after it belongs to it */
};

/* An empty line, no history. prompt: shorter than half of LINE_COLUMNS, constant. */
void line_editor_init(struct line_editor *editor, const char *prompt,
                      void (*put)(void *screen, const char *bytes, size_t length), void *screen);
/* Begins an empty line at the start of a new one of the screen. */
void line_editor_begin(struct line_editor *editor);
enum line_event line_editor_type(struct line_editor *editor, uint8_t byte);
/* Something else has been written, or bytes of ours were lost: shows prompt and line on a new line of the screen. */
void line_editor_reprint(struct line_editor *editor);

/* Words that could end the word before the cursor. */
struct line_completion {
    char word[WORD_MAX + 1];   /* as far as it is typed */
    bool hopeless;             /* it is too long to be one */
    char common[WORD_MAX + 1]; /* what all matches begin with */
    unsigned matches;
    char list[4 * LINE_COLUMNS]; /* of the matches, in lines that end in "\r\n" */
    size_t list_length, list_column;
    unsigned unlisted; /* matches that had no room there */
};

/* before: what stands before the cursor. */
void line_completion_begin(struct line_completion *completion, const char *before, size_t length);
/* A word; one that begins differently is no match. */
void line_completion_offer(struct line_completion *completion, const char *word);
/* Puts in what all matches have in common, lists them if that is nothing new, rings if there are none. The line must be
 * as it was at line_completion_begin. */
void line_editor_complete(struct line_editor *editor, const struct line_completion *completion);

#endif
