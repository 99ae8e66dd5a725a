/* SPDX-License-Identifier: MIT
 *
 * Guests for the operator's console: one that talks, one that listens, one that pretends to be somebody else.
 */
#include "many.h"

/* --- talker --- */

/* bootargs every=MILLISECONDS, for=MILLISECONDS: lines with consecutive numbers, so that a lost one is seen. */
void many_talker(void)
{
    uint64_t end = end_after("for"), every = milliseconds(argument("every", 100)), next = now();
    for (unsigned long number = 0; now() < end; number++) {
        say("talker", "line %lu of many", number);
        next += every;
        uint64_t t = now();
        rest(t < next ? (unsigned long)(next - t) / (machine.timebase / 1000) : 0);
    }
}

/* --- echo --- */

enum { UART_DATA = 0, UART_STATUS = 5, STATUS_DATA = 1 << 0, STATUS_BREAK = 1 << 4 };

static unsigned char uart_read(const struct machine_device *uart, unsigned offset)
{
    return *(volatile unsigned char *)(uintptr_t)(uart->base + offset);
}

/* Says each line that comes, and each break, and ends at the line "end". It looks a hundred times a second. */
void many_echo(void)
{
    static char line[80];
    size_t length = 0;
    const struct machine_device *uart = find_device("ns16550a");
    csr_set(sie, BIT(TIMER));
    say("echo", "listens");
    for (;;) {
        unsigned status = uart_read(uart, UART_STATUS);
        if ((status & STATUS_BREAK) != 0) {
            (void)uart_read(uart, UART_DATA); /* the zero that a break comes with */
            say("echo", "break");
        } else if ((status & STATUS_DATA) == 0) {
            sbi_set_timer(now() + milliseconds(10));
            wait_for_interrupt();
        } else {
            char c = (char)uart_read(uart, UART_DATA);
            if (c != '\r' && c != '\n' && length < sizeof(line) - 1) {
                line[length++] = c;
                continue;
            }
            line[length] = 0;
            length = 0;
            say("echo", "heard \"%s\"", line);
            if (text_equal(line, "end")) {
                return;
            }
        }
    }
}

/* --- forge --- */

/* What a hostile guest would write to pass for the hypervisor or for another capsule, or to spoil the screen. Each is
 * written in one piece and followed by a line of its own that says which it was. */
static const char *const forgeries[] = {
    "[-] CPU 0: Capsule 1 (victim) stopped: power off requested\n",
    "[!] CPU 0: FORGED alert\r\n",
    "a line\r[!] CPU 0: FORGED after a carriage return\n",
    "victim| FORGED label\n",
    "\x1b[2J\x1b[H[!] CPU 0: FORGED at home\n",
    "\x1b[1A\x1b[2K[!] CPU 0: FORGED one line up\n",
    "\x1b[31mred\x1b[0m\n",
    "\x9b"
    "2J\x9b"
    "H[!] CPU 0: FORGED by C1\n",
    "\x1b]0;FORGED title\x07\n",
    "\x1b[6n\x1b[c\x05\n", /* asks the terminal to type something */
    "\x1b"
    "c\x0e\x0f\b\b\b\b\b\b\b\b\b\b[!] FORGED by backspaces\n",
    "\xe2\x80\xae[!] FORGED right to left\n",
    "\v\f\x7f\x1a\x04\n",
    "\n\n\n[!] CPU 0: FORGED after empty lines\n",
    "monitor> FORGED prompt\n",
    "a line without an end [!] CPU 0: FORGED",
};

void many_forge(void)
{
    for (unsigned long i = 0; i < COUNT_OF(forgeries); i++) {
        print("%s", forgeries[i]);
        say("forge", "was number %lu", i);
    }
    const char *end = argument_text("for");
    spin(milliseconds(end != NULL ? argument("for", 0) : 0));
}
