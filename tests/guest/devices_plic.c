/* SPDX-License-Identifier: MIT
 *
 * The interrupt controller: registers, claim and complete, and two harts that claim at once. The UART's transmitter
 * interrupt serves as the source.
 */
#include "devices.h"

static unsigned sources(void)
{
    return 96; /* the most that riscv,ndev may say; priorities of absent ones read 0 */
}

static void line_up(void)
{
    uart_write(UART_IER, 0);
    (void)uart_drained();
    uart_write(UART_IER, 2); /* THRI, with the transmitter empty */
}

static void line_down(void)
{
    uart_write(UART_IER, 0);
    (void)uart_read(UART_IIR);
}

static unsigned long claim(unsigned context)
{
    return must_load(plic_claim(context), 4);
}

static void complete(unsigned context, unsigned long source)
{
    must_store(plic_claim(context), 4, source);
}

static bool external_becomes(bool want)
{
    uint64_t end = now() + milliseconds(500);
    while (is_pending(EXTERNAL) != want && now() < end) {
    }
    return is_pending(EXTERNAL) == want;
}

static void registers(void)
{
    unsigned context = own_context();
    static const unsigned long values[] = {~0ul & 0xffffffff, 0, 1, 7, 8, 0x80000000, 5};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        must_store(plic + 4ul * uart_irq, 4, values[i]);
        unsigned long got = must_load(plic + 4ul * uart_irq, 4);
        case_check(got <= 7 && (values[i] > 7 || got == values[i]), "priority: 0x%lx after 0x%lx", got, values[i]);
        must_store(plic_threshold(context), 4, values[i]);
        got = must_load(plic_threshold(context), 4);
        case_check(got <= 7 && (values[i] > 7 || got == values[i]), "threshold: 0x%lx after 0x%lx", got, values[i]);
        must_store(plic, 4, values[i]);
        case_check(must_load(plic, 4) == 0, "priority of source 0");
        if (on_diosix) {
            must_store(plic_threshold(context - 1), 4, values[i]); /* an M context: not there */
            case_check(must_load(plic_threshold(context - 1), 4) == 0, "threshold of an M context");
            must_store(plic_enable(context - 1), 4, values[i]);
            case_check(must_load(plic_enable(context - 1), 4) == 0, "enable of an M context");
        }
        unsigned long pending = must_load(plic + PLIC_PENDING, 4);
        must_store(plic + PLIC_PENDING, 4, values[i]);
        case_check(must_load(plic + PLIC_PENDING, 4) == pending, "pending can be written");
    }
    must_store(plic_enable(context), 4, ~0ul);
    unsigned long enabled = must_load(plic_enable(context), 4);
    case_check((enabled & 1) == 0 || !on_diosix, "source 0 can be enabled: 0x%lx", enabled);
    case_check((enabled & BIT(uart_irq)) != 0, "the UART's source can't be enabled: 0x%lx", enabled);
    must_store(plic_enable(context), 4, 0);
    must_store(plic_threshold(context), 4, 0);
    cases_end("plic: what the registers keep");
}

static void claim_and_complete(void)
{
    unsigned context = own_context();
    same("plic: claim of nothing", claim(context), 0);
    must_store(plic + 4ul * uart_irq, 4, 1);
    must_store(plic_enable(context), 4, BIT(uart_irq));
    must_store(plic_threshold(context), 4, 0);
    line_up();
    check(external_becomes(true), "plic: a line that is enabled raises the external interrupt");
    check((must_load(plic + PLIC_PENDING, 4) & BIT(uart_irq)) != 0, "plic: and is pending");
    same("plic: claim", claim(context), uart_irq);
    same("plic: second claim", claim(context), 0);
    check(external_becomes(false), "plic: a claim lowers the external interrupt");
    complete(context, 0);
    complete(context, uart_irq + 1);
    static const unsigned long wrong[] = {96, 127, 128, 1023, 1024, 0x7fffffff, 0x80000000, 0xffffffff, 0x10000};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        complete(context, wrong[i]);
        complete(context - 1, uart_irq);
    }
    check(on_diosix ? !is_pending(EXTERNAL) : true, "plic: completing something else does nothing");
    must_store(plic_enable(context), 4, 0);
    complete(context, uart_irq);
    must_store(plic_enable(context), 4, BIT(uart_irq));
    differs(!is_pending(EXTERNAL), "plic: completing a disabled source does nothing", is_pending(EXTERNAL));
    complete(context, uart_irq);
    check(external_becomes(true), "plic: completing it with its line still high raises it again");
    same("plic: claim again", claim(context), uart_irq);
    line_down();
    complete(context, uart_irq);
    check(external_becomes(false), "plic: with its line low it stays down");
    same("plic: claim of nothing again", claim(context), 0);
}

static void masks(void)
{
    unsigned context = own_context();
    line_up();
    must_store(plic_threshold(context), 4, 1);
    check(external_becomes(false), "plic: a threshold of its priority masks it");
    if (on_diosix) {
        same("plic: but a claim ignores the threshold", claim(context), uart_irq);
        complete(context, uart_irq);
    }
    must_store(plic + 4ul * uart_irq, 4, 2);
    check(external_becomes(true), "plic: a higher priority passes the threshold");
    must_store(plic + 4ul * uart_irq, 4, 0);
    check(external_becomes(false), "plic: priority 0 is never");
    same("plic: priority 0 can't be claimed", claim(context), 0);
    must_store(plic + 4ul * uart_irq, 4, 7);
    check(external_becomes(true), "plic: priority 7");
    must_store(plic_threshold(context), 4, 7);
    check(external_becomes(false), "plic: threshold 7 masks everything");
    must_store(plic_threshold(context), 4, 0);
    must_store(plic_enable(context), 4, 0);
    check(external_becomes(false), "plic: not enabled, not raised");
    must_store(plic_enable(context), 4, BIT(uart_irq));
    line_down();
    unsigned long source = claim(context); /* a forwarded request stays though the line is low */
    check(source == uart_irq || source == 0, "plic: claim after the line fell: %lu", source);
    complete(context, source);
    must_store(plic_enable(context), 4, 0);
    must_store(plic + 4ul * uart_irq, 4, 0);
}

void devices_plic(void)
{
    registers();
    claim_and_complete();
    masks();
}

/* Every register of the window, sampled: nothing may trap, and nothing but the known registers may keep a value.
 * bootargs: stride=BYTES. */
void devices_plic_sweep(void)
{
    unsigned long stride = argument("stride", 0x3fc), kept = 0;
    const struct machine_device *device = find_device("sifive,plic-1.0.0");
    if (!on_diosix) {
        skip("sweep", "not on QEMU's own");
        return;
    }
    unsigned long last = (unsigned long)device->size & ~3ul;
    for (unsigned long offset = 0; offset < last; offset += offset < 0x3000 ? 4 : stride & ~3ul) {
        struct trap load = try_load(plic + offset, 4), store = try_store(plic + offset, 4, 0xffffffff);
        struct trap again = try_load(plic + offset, 4), wide = try_load(plic + offset, 1);
        try_store(plic + offset, 4, 0);
        case_check(!load.trapped && !store.trapped && !again.trapped && !wide.trapped, "offset 0x%lx traps", offset);
        case_check(wide.result == 0, "offset 0x%lx, byte: 0x%lx", offset, wide.result);
        kept += !again.trapped && again.result != 0;
    }
    for (unsigned context = 0; context < 2 * HARTS_MAX; context++) {
        try_store(plic_enable(context), 4, 0);
        try_store(plic_threshold(context), 4, 0);
    }
    cases_end("plic-sweep: all offsets answer 32-bit accesses");
    check(kept > 0 && kept < 0x1000, "plic-sweep: %lu of them keep a value", kept);
    for (unsigned source = 0; source < sources(); source++) {
        must_store(plic + 4ul * source, 4, 0);
    }
}

/* --- two harts claim the same source: one gets it --- */
static volatile unsigned long race_turn, race_done, race_won;

static void claimer(void *argument)
{
    unsigned context = own_context();
    unsigned long rounds = *(unsigned long *)argument;
    for (unsigned long i = 1; i <= rounds; i++) {
        while (race_turn < i) {
        }
        if (claim(context) == uart_irq) {
            __atomic_add_fetch(&race_won, 1, __ATOMIC_SEQ_CST);
        }
        race_done = i;
    }
}

void devices_plic_race(void)
{
    unsigned long id, rounds = argument("count", 300);
    if (other_harts(&id, 1) == 0) {
        skip("race: claims", "needs two harts");
        return;
    }
    unsigned context = own_context(), other = (unsigned)(2 * id + 1);
    race_turn = race_done = race_won = 0;
    must_store(plic + 4ul * uart_irq, 4, 1);
    must_store(plic_enable(context), 4, BIT(uart_irq));
    must_store(plic_enable(other), 4, BIT(uart_irq));
    check(hart_run(id, claimer, &rounds) == SBI_SUCCESS, "race: the other hart starts");
    for (unsigned long i = 1; i <= rounds; i++) {
        line_up();
        case_check(external_becomes(true), "round %lu: not raised", i);
        race_turn = i;
        bool mine = claim(context) == uart_irq;
        uint64_t end = now() + milliseconds(2000);
        while (race_done < i && now() < end) {
        }
        case_check(race_won + mine == i, "round %lu: %lu claims so far, mine now %d", i, race_won, mine);
        race_won = i;
        case_check(external_becomes(false), "round %lu: still raised", i);
        line_down();
        complete(i % 2 != 0 ? context : other, uart_irq); /* by whichever has it enabled */
    }
    case_check(hart_wait(id), "the other hart does not stop");
    cases_end("race: of two claims exactly one gets the source");
    must_store(plic_enable(context), 4, 0);
    must_store(plic_enable(other), 4, 0);
}
