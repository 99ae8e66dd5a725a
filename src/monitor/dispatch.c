/* SPDX-License-Identifier: MIT
 *
 * Lines become commands: parts between ';', words, the table's row, the capsule that is meant; and what to say if there
 * is no such thing.
 */
#include "monitor/dispatch.h"

#include <string.h>

enum { REPEATS_MAX = 100000, WORDS_MAX = ARGUMENTS_MAX + 2 /* the command, and one too many */ };

static struct {
    char line[LINE_LENGTH_MAX + 1];
    size_t at;                           /* of line: what is before has begun */
    char again[LINE_LENGTH_MAX + 1];     /* what is to be repeated */
    unsigned repeats;                    /* how many times more */
    struct monitor_job job;              /* being executed unless its command is NULL */
    const struct monitor_command *asked; /* what waits for a confirmation */
    struct line_completion completion;
    bool completes;
} dispatch;

static void forget_line(void)
{
    dispatch.line[0] = '\0';
    dispatch.at = 0;
    dispatch.repeats = 0;
    dispatch.completes = false;
    dispatch.job.command = NULL;
}

/* --- words ----------------------------------------------------------------------------------------------------- */

static const char *skip_spaces(const char *text)
{
    while (*text == ' ') {
        text++;
    }
    return text;
}

static size_t word_length(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0' && text[length] != ' ') {
        length++;
    }
    return length;
}

/* Cuts text into words, in place; the last one of WORDS_MAX is what is left over. */
static unsigned split(char *text, char *words[WORDS_MAX])
{
    unsigned count = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ') {
            *text = '\0';
        } else if (count == 0 || text[-1] == '\0') {
            if (count == WORDS_MAX) {
                break;
            }
            words[count++] = text;
        }
    }
    for (unsigned n = count; n < WORDS_MAX; n++) {
        words[n] = text + strlen(text); /* "" */
    }
    return count;
}

/* A number of at most 9 digits; false: it is none. */
static bool number_of(const char *word, uint32_t *number)
{
    *number = 0;
    size_t length = strlen(word);
    for (size_t n = 0; n < length; n++) {
        if (word[n] < '0' || word[n] > '9' || length > 9) {
            return false;
        }
        *number = *number * 10 + (uint32_t)(word[n] - '0');
    }
    return length != 0;
}

static struct capsule *capsule_of_id(uint32_t id)
{
    struct capsule *capsule = id == 0 ? NULL : capsule_after(id - 1);
    return capsule != NULL && capsule->id == id ? capsule : NULL;
}

/* By its name; or by its number, if none is called so. */
static struct capsule *capsule_of_word(const char *word)
{
    uint32_t id;
    struct capsule *capsule = capsule_find(word);
    return capsule == NULL && number_of(word, &id) ? capsule_of_id(id) : capsule;
}

/* --- what isn't there ------------------------------------------------------------------------------------------ */

static void say_nearest(const char *what, const struct nearest *nearest)
{
    if (nearest->word[0] == '\0') {
        say("No %s is called '%s'.\n", what, nearest->typed);
    } else {
        say("No %s is called '%s': did you mean '%s'?\n", what, nearest->typed, nearest->word);
    }
}

static void say_unknown_command(const char *word, unsigned candidates)
{
    struct nearest nearest;
    if (candidates == 0) {
        nearest_begin(&nearest, word);
        for (size_t n = 0; n < monitor_command_count; n++) {
            nearest_offer(&nearest, monitor_commands[n].name);
        }
        say_nearest("command", &nearest);
        return;
    }
    say("'%s' may be:", word);
    for (size_t n = 0; n < monitor_command_count; n++) {
        if (strncmp(monitor_commands[n].name, word, strlen(word)) == 0) {
            say(" %s", monitor_commands[n].name);
        }
    }
    say("\n");
}

/* Looks for the capsule whose name is most like the one that was typed, some capsules a step. */
static bool suggest(struct monitor_job *job)
{
    for (unsigned n = 0; n < STEP_CAPSULES; n++) {
        struct capsule *capsule = next_capsule(job);
        if (capsule == NULL) {
            say_nearest("capsule", &job->nearest);
            return false;
        }
        nearest_offer(&job->nearest, capsule->config.name);
    }
    return true;
}

static const struct monitor_command suggester = {.name = "", .step = suggest};

/* --- completion ------------------------------------------------------------------------------------------------ */

static void offer_commands(struct line_completion *completion)
{
    for (size_t n = 0; n < monitor_command_count; n++) {
        line_completion_offer(completion, monitor_commands[n].name);
    }
}

static void offer_levels(struct line_completion *completion)
{
    for (size_t n = 0; n < ARRAY_LENGTH(monitor_level_names); n++) {
        line_completion_offer(completion, monitor_level_names[n]);
    }
}

/* Some capsules a step. */
static bool offer_capsules(struct monitor_job *job)
{
    for (unsigned n = 0; n < STEP_CAPSULES; n++) {
        struct capsule *capsule = next_capsule(job);
        if (capsule == NULL) {
            return false;
        }
        line_completion_offer(&dispatch.completion, capsule->config.name);
    }
    return true;
}

/* The part behind the last ';', and behind "repeat N". */
static const char *part_to_complete(const char *before)
{
    unsigned candidates;
    char word[LINE_LENGTH_MAX + 1];
    const char *last = strrchr(before, ';');
    const char *part = skip_spaces(last == NULL ? before : last + 1);
    const size_t length = word_length(part);
    memcpy(word, part, length);
    word[length] = '\0';
    const struct monitor_command *command = monitor_command_find(word, &candidates);
    if (part[length] == ' ' && command != NULL && command->step == command_repeat) {
        const char *number = skip_spaces(part + length);
        const char *rest = number + word_length(number);
        return *rest == ' ' ? skip_spaces(rest) : "? ? "; /* a number can't be guessed */
    }
    return part;
}

/* What kind of word stands, or begins, at the end of text, which is cut up. */
static enum monitor_word kind_of_last(char *text)
{
    unsigned candidates;
    char *words[WORDS_MAX] = {NULL};
    const size_t length = strlen(text);
    const bool begins = length == 0 || text[length - 1] == ' ';
    const unsigned count = split(text, words) + (begins ? 1 : 0);
    if (count == 1) {
        return WORD_COMMAND;
    }
    const struct monitor_command *command = monitor_command_find(words[0], &candidates);
    return count == 2 && command != NULL ? command->word : WORD_NONE;
}

static bool complete(struct monitor_job *job)
{
    if (job->stage == 0) {
        char text[LINE_LENGTH_MAX + 1];
        const char *part = part_to_complete(job->text);
        memcpy(text, part, strlen(part) + 1);
        job->stage = 1 + (unsigned)kind_of_last(text);
    }
    switch ((enum monitor_word)(job->stage - 1)) {
    case WORD_COMMAND:
        offer_commands(&dispatch.completion);
        return false;
    case WORD_LEVEL:
        offer_levels(&dispatch.completion);
        return false;
    case WORD_CAPSULE:
        return offer_capsules(job);
    case WORD_NONE:
    default:
        return false;
    }
}

static const struct monitor_command completer = {.name = "", .step = complete};

void dispatch_completion(const char *before, size_t length)
{
    forget_line();
    line_completion_begin(&dispatch.completion, before, length);
    dispatch.completes = true;
    dispatch.job = (struct monitor_job){.command = &completer};
    memcpy(dispatch.job.text, before, length); /* terminated by what is 0 */
}

const struct line_completion *dispatch_completed(void)
{
    return dispatch.completes ? &dispatch.completion : NULL;
}

/* --- commands -------------------------------------------------------------------------------------------------- */

/* repeat N COMMAND: COMMAND's words are left as they are. */
static void begin_repeat(const char *part)
{
    char word[LINE_LENGTH_MAX + 1];
    uint32_t times;
    const char *number = skip_spaces(part + word_length(part));
    const size_t length = word_length(number);
    const char *rest = skip_spaces(number + length);
    memcpy(word, number, length);
    word[length] = '\0';
    if (!number_of(word, &times) || times == 0 || times > REPEATS_MAX || *rest == '\0' || dispatch.repeats != 0) {
        say("Usage: repeat N COMMAND, with N from 1 to %u, and no repeat in it\n", (unsigned)REPEATS_MAX);
        dispatch.repeats = 0;
        return;
    }
    memcpy(dispatch.again, rest, strlen(rest) + 1);
    dispatch.repeats = times;
}

/* True if the first argument names a capsule that is there, or doesn't have to. */
static bool find_capsule(struct monitor_job *job)
{
    if (job->command->word != WORD_CAPSULE || job->argument_count == 0) {
        return true;
    }
    struct capsule *capsule = capsule_of_word(job->arguments[0]);
    if (capsule == NULL) {
        nearest_begin(&job->nearest, job->arguments[0]);
        job->command = &suggester;
        return false;
    }
    job->capsule_id = capsule->id;
    return true;
}

/* Whoever was asked says yes, or gives the command again; anything else means no. */
static void settle_confirmation(struct monitor_job *job)
{
    if (dispatch.asked != NULL && (job->command->step == command_yes || job->command == dispatch.asked)) {
        job->command = dispatch.asked;
        job->confirmed = true;
    }
    dispatch.asked = NULL;
}

/* job->text is a command; afterwards job->command is what to do, or NULL if it has been said why not. */
static void begin_job(struct monitor_job *job)
{
    char *words[WORDS_MAX];
    unsigned candidates;
    const unsigned count = split(job->text, words);
    job->command = monitor_command_find(words[0], &candidates);
    if (job->command == NULL) {
        dispatch.asked = NULL;
        say_unknown_command(words[0], candidates);
        return;
    }
    settle_confirmation(job);
    job->argument_count = count - 1;
    if (job->argument_count < job->command->least || job->argument_count > job->command->most) {
        say("Usage: %s %s\n", job->command->name, job->command->arguments);
        job->command = NULL;
        return;
    }
    for (unsigned n = 0; n < ARGUMENTS_MAX; n++) {
        job->arguments[n] = words[n + 1];
    }
    find_capsule(job);
}

/* The next command of the line, or the one that is repeated. False: there is none. */
static bool next_part(char part[LINE_LENGTH_MAX + 1])
{
    if (dispatch.repeats != 0) {
        dispatch.repeats--;
        memcpy(part, dispatch.again, sizeof(dispatch.again));
        return true;
    }
    const char *from = dispatch.line + dispatch.at;
    while (*from == ' ' || *from == ';') {
        from++;
    }
    size_t length = 0;
    while (from[length] != '\0' && from[length] != ';') {
        length++;
    }
    memcpy(part, from, length);
    part[length] = '\0';
    dispatch.at = (size_t)(from - dispatch.line) + length;
    return length != 0;
}

static bool is_repeat(const char *part)
{
    unsigned candidates;
    char copy[LINE_LENGTH_MAX + 1];
    char *words[WORDS_MAX];
    memcpy(copy, part, strlen(part) + 1);
    split(copy, words);
    const struct monitor_command *command = monitor_command_find(words[0], &candidates);
    return command != NULL && command->step == command_repeat;
}

static bool begin_next(void)
{
    struct monitor_job *job = &dispatch.job;
    *job = (struct monitor_job){.command = NULL};
    const unsigned before = dispatch.repeats;
    if (!next_part(job->text)) {
        return false;
    }
    if (is_repeat(job->text)) {
        dispatch.repeats = before;
        begin_repeat(job->text);
    } else {
        begin_job(job);
    }
    return true;
}

static bool step_job(struct monitor_job *job)
{
    if (job->capsule_id != 0) {
        job->capsule = capsule_of_id(job->capsule_id);
        if (job->capsule == NULL) {
            say("The capsule is gone.\n");
            job->command = NULL;
            return true;
        }
    }
    if (!job->command->step(job)) {
        dispatch.asked = job->asks ? job->command : dispatch.asked;
        job->command = NULL;
    }
    return !dispatch.completes || job->command != NULL;
}

bool dispatch_step(void)
{
    return dispatch.job.command != NULL ? step_job(&dispatch.job) : begin_next();
}

void dispatch_line(const char *line)
{
    const size_t length = strnlen(line, LINE_LENGTH_MAX);
    forget_line();
    memcpy(dispatch.line, line, length);
    dispatch.line[length] = '\0';
}

void dispatch_drop(void)
{
    forget_line();
    dispatch.asked = NULL;
}

bool dispatch_is_quit(const char *line)
{
    unsigned candidates;
    char copy[LINE_LENGTH_MAX + 1];
    char *words[WORDS_MAX];
    const size_t length = strnlen(line, LINE_LENGTH_MAX);
    memcpy(copy, line, length);
    copy[length] = '\0';
    if (split(copy, words) != 1) {
        return false;
    }
    const struct monitor_command *command = monitor_command_find(words[0], &candidates);
    return command != NULL && command->step == command_quit;
}
