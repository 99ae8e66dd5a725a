/* SPDX-License-Identifier: MIT
 *
 * Which extensions of a host a capsule is told of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "dt/guest_isa.h"
#include "support.h"

static const struct guest_isa_options none = {.vector = false};
static const struct guest_isa_options all = {
    .vector = true, .sstc = true, .zicbom = true, .zicboz = true, .zicbop = true, .svpbmt = true, .svinval = true};

static void assert_isa(const char *host, const struct guest_isa_options *options, const char *want)
{
    char out[GUEST_ISA_MAX];
    guest_isa(host, options, out, sizeof(out));
    assert_string_equal(out, want);
}

static void test_qemu_7_2(void **state)
{
    (void)state;
    static const char host[] = "rv64imafdch_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_sstc";
    assert_isa(host, &none, "rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs");
    assert_isa(host, &all, "rv64imafdc_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_sstc");
    assert_isa("rv32imafdch_zicsr", &none, "rv32imafdc_zicsr");
}

static void test_qemu_10(void **state)
{
    (void)state;
    static const char host[] =
        "rv64imafdch_zic64b_zicbom_zicbop_zicboz_ziccamoa_ziccif_zicclsm_ziccrse_zicntr_zicsr_zifencei_zihintntl_"
        "zihintpause_zihpm_zmmul_za64rs_zaamo_zalrsc_zawrs_zfa_zca_zcd_zba_zbb_zbc_zbs_shcounterenw_shgatpa_shtvala_"
        "shvsatpa_shvstvala_shvstvecd_smrnmi_ssccptr_sscounterenw_sstc_sstvala_sstvecd_svadu_svvptc";
    assert_isa(
        host, &none,
        "rv64imafdc_zicntr_zicsr_zifencei_zihintntl_zihintpause_zmmul_zaamo_zalrsc_zawrs_zfa_zca_zcd_zba_zbb_zbc_"
        "zbs");
    assert_isa(host, &all,
               "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicsr_zifencei_zihintntl_zihintpause_zmmul_zaamo_zalrsc_zawrs_"
               "zfa_zca_zcd_zba_zbb_zbc_zbs_sstc");
}

static void test_list(void **state)
{
    (void)state;
    char out[GUEST_ISA_MAX];
    assert_int_equal(guest_isa_list("rv64imac_zicsr_zba", out, sizeof(out)), 18);
    assert_memory_equal(out, "i\0m\0a\0c\0zicsr\0zba", 18);
    assert_int_equal(guest_isa_list("rv64imac_zicsr_zba", out, 14), 14); /* what fits whole */
    assert_int_equal(guest_isa_list("rv64imac_zicsr_zba", out, 17), 14);
    assert_int_equal(guest_isa_list("rv64imac_zicsr_zba", out, 0), 0);
    assert_int_equal(guest_isa_list("", out, sizeof(out)), 0);
}

static void test_each_option_alone(void **state)
{
    (void)state;
    static const char host[] = "rv64imv_zicbom_zicboz_zicbop_zvfh_zvbb_zvkned_sstc_svpbmt";
    assert_isa(host, &none, "rv64im");
    assert_isa(host, &(struct guest_isa_options){.vector = true}, "rv64imv_zvfh_zvbb_zvkned");
    assert_isa(host, &(struct guest_isa_options){.sstc = true}, "rv64im_sstc");
    assert_isa(host, &(struct guest_isa_options){.zicbom = true}, "rv64im_zicbom");
    assert_isa(host, &(struct guest_isa_options){.zicboz = true}, "rv64im_zicboz");
    assert_isa(host, &(struct guest_isa_options){.svpbmt = true}, "rv64im_svpbmt");
    assert_isa(host, &(struct guest_isa_options){.zicbop = true}, "rv64im_zicbop");
}

/* A guest of a hart that has both is told of the one that it has from the start. */
static void test_hardware_sets_a_and_d(void **state)
{
    (void)state;
    static const char host[] = "rv64i_svade_svadu_svinval";
    assert_isa(host, &none, "rv64i_svade");
    assert_isa(host, &(struct guest_isa_options){.svadu = true}, "rv64i_svadu");
    assert_isa(host, &(struct guest_isa_options){.svinval = true}, "rv64i_svade_svinval");
    assert_isa("rv64i_svade", &(struct guest_isa_options){.svadu = true}, "rv64i");
}

static void test_never_told(void **state)
{
    (void)state;
    assert_isa("rv64imah_zkr_zk_smaia_ssaia_smstateen_ssnpm_zicfiss_zicfilp_sscofpmf_svadu_xventanacondops_zvb", &all,
               "rv64ima");
    /* a name that only begins or ends like one that is told */
    assert_isa("rv64i_zbaa_zb_zicsrx_xzba", &all, "rv64i");
}

static void test_old_spellings(void **state)
{
    (void)state;
    assert_isa("rv64imafdcsu", &none, "rv64imafdc");
    assert_isa("rv64imafdcsuh", &none, "rv64imafdc");
    assert_isa("rv64gc", &none, "rv64imafdc");
    assert_isa("rv64gc_zba", &none, "rv64imafdc_zba");
    assert_isa("rv64cafdmi", &none, "rv64imafdc");
    assert_isa("rv64i_m_a_c", &none, "rv64imac");
    assert_isa("rv64imaczicsr_zifencei", &none, "rv64imac_zicsr_zifencei");
    assert_isa("rv64imacsvinval", &all, "rv64imac_svinval");
}

static void test_versions(void **state)
{
    (void)state;
    assert_isa("rv64i2p1m2a2p1_zicsr2p0_zba1p0_zksed", &none, "rv64ima_zicsr_zba_zksed");
    assert_isa("rv64i2p_zicsrp0_zicsr20", &none, "rv64i");
    assert_isa("rv64i_p0_2p0_9", &none, "rv64i");
}

static void test_not_an_isa(void **state)
{
    (void)state;
    static const char *const hosts[] = {"", "rv", "rv6", "rv128i", "x86", "RV64I", "_rv64i"};
    for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
        assert_isa(hosts[i], &all, "");
    }
    assert_isa("rv64", &all, "rv64");
    assert_isa("rv64____", &all, "rv64");
}

static void test_does_not_fit(void **state)
{
    (void)state;
    char out[64];
    for (size_t size = 13; size < sizeof(out); size++) {
        memset(out, '#', sizeof(out));
        guest_isa("rv64imafdc_zihintpause_zba_zicsr", &none, out, size);
        assert_true(strlen(out) < size);
        for (size_t i = size; i < sizeof(out); i++) {
            assert_int_equal(out[i], '#');
        }
    }
    guest_isa("rv64imafdc_zihintpause_zba_zicsr", &none, out, 20);
    assert_string_equal(out, "rv64imafdc_zba");
    assert_true(PANICS(guest_isa("rv64i", &none, out, 8)));
}

static void test_everything_fits(void **state)
{
    (void)state;
    /* all that can be told of: the longest answer, vector's wildcards aside */
    static const char host[] =
        "rv64imafdcv_zicbom_zicboz_zicbop_zicntr_zicond_zicsr_zifencei_zihintntl_zihintpause_zmmul_zaamo_zabha_zacas_"
        "zalrsc_zawrs_zfa_zfh_zfhmin_zca_zcb_zcd_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zkn_zknd_zkne_zknh_zks_zksed_zksh_zkt_"
        "zvfh_zvfhmin_zvbb_zvbc_zvkb_zvkg_zvkn_zvknc_zvkned_zvkng_zvknha_zvknhb_zvks_zvksc_zvksed_zvksg_zvksh_zvkt_"
        "sstc_svinval_svnapot_svpbmt";
    assert_isa(host, &all, host);
}

static void test_any_text_is_safe(void **state)
{
    (void)state;
    static const char alphabet[] = "rv64imafdcgszxzubp_0192";
    uint64_t seed = 77;
    char host[64] = "rv64";
    char out[GUEST_ISA_MAX];
    char again[GUEST_ISA_MAX];
    for (int round = 0; round < 20000; round++) {
        size_t length = 4 + (size_t)(test_random(&seed) % 59);
        for (size_t i = 4; i < length; i++) {
            host[i] = alphabet[test_random(&seed) % (sizeof(alphabet) - 1)];
        }
        host[length] = '\0';
        guest_isa(host, &all, out, sizeof(out));
        /* what is told is told again */
        guest_isa(out, &all, again, sizeof(again));
        assert_string_equal(out, again);
    }
}

/* --- what two harts have in common --- */

static void assert_common(const char *isa, const char *other, const char *want)
{
    char out[160] = {0};
    const size_t length = strlen(isa);
    assert_true(length + 2 < sizeof(out));
    strcpy(out, isa);
    out[length + 1] = '#'; /* nothing is written behind the NUL */
    isa_keep_common(out, other);
    if (strcmp(out, want) != 0) {
        fail_msg("%s and %s: %s instead of %s", isa, other, out, want);
    }
    assert_int_equal(out[length + 1], '#');
}

static void test_common(void **state)
{
    (void)state;
    static const struct {
        const char *isa, *other, *common;
    } rows[] = {
        {"rv64imafdc", "rv64imafdc", "rv64imafdc"},
        {"rv64imafdc", "rv64imac", "rv64imac"},
        {"rv64imac", "rv64imafdc", "rv64imac"},
        {"rv64imafdc", "rv64cdfami", "rv64imafdc"}, /* in the order of the first */
        {"rv64ima_zba_zbb_sstc", "rv64ima_sstc_zba", "rv64ima_zba_sstc"},
        {"rv64ima_zba", "rv64ima", "rv64ima"},
        {"rv64_zba_zbb", "rv64_zbb", "rv64zbb"},
        {"rv64i_zba", "rv64m_zba", "rv64zba"},
        {"rv64i_zbaa", "rv64i_zba", "rv64i"}, /* whole names */
        {"rv64i_zba", "rv64i_zbaa", "rv64i"},
        /* five letters in one */
        {"rv64gc", "rv64imafdc", "rv64gc"},
        {"rv64imafdc", "rv64gc", "rv64imafdc"},
        {"rv64gc", "rv64gc_zba", "rv64gc"},
        {"rv64gc", "rv64imac", "rv64c"},
        {"rv64imafdcg", "rv64g", "rv64imafdg"},
        /* versions */
        {"rv64i2p1m2a2p1_zicsr2p0_zba1p0", "rv64ima_zicsr_zba", "rv64ima_zicsr_zba"},
        {"rv64ima_zba", "rv64i2p1a_zba1p1", "rv64ia_zba"},
        /* old spellings: long names that follow letters directly, letters apart, letters after long names */
        {"rv64imaczicsr_zifencei", "rv64imaczicsr_zifencei", "rv64imaczicsr_zifencei"},
        {"rv64imaczicsr_zifencei", "rv64imac_zifencei_zicsr", "rv64imaczicsr_zifencei"},
        {"rv64imacsvinval", "rv64imsvinval", "rv64imsvinval"},
        {"rv64i_m_a_c", "rv64iac", "rv64i_a_c"},
        {"rv64i_zicsr_m", "rv64im_zicsr", "rv64i_zicsr_m"},
        {"rv64imafdcsu", "rv64imafdcsu", "rv64imafdcsu"},
        {"rv64i____zba__", "rv64i_zba", "rv64i_zba"},
        /* nothing to compare */
        {"rv64", "rv64ima", "rv64"},
        {"rv64ima", "rv64", "rv64"},
        {"rv64ima", "", ""},
        {"", "rv64ima", ""},
        {"x86", "rv64ima", ""},
        {"rv128i", "rv128i", ""},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_common(rows[n].isa, rows[n].other, rows[n].common);
    }
}

/* Whether the text has the extension, looked up anew; "g" as itself. */
static bool names(const char *isa, const struct isa_extension *wanted)
{
    const char *cursor = isa_extensions(isa);
    struct isa_extension extension;
    while (cursor != NULL && isa_next(&cursor, &extension)) {
        if (extension.length == wanted->length && memcmp(extension.name, wanted->name, wanted->length) == 0) {
            return true;
        }
    }
    return false;
}

/* Without the letter that stands for others: exactly what both name, in the order of the first. */
static void check_common(const char *isa, const char *other, const char *common)
{
    const char *cursor = isa_extensions(isa);
    const char *kept = isa_extensions(common);
    struct isa_extension extension, next;
    while (isa_next(&cursor, &extension)) {
        if (names(other, &extension)) {
            if (!isa_next(&kept, &next) || next.length != extension.length ||
                memcmp(next.name, extension.name, next.length) != 0) {
                fail_msg("%s and %s: %s", isa, other, common);
            }
        }
    }
    if (isa_next(&kept, &next)) {
        fail_msg("%s and %s: %s has too much", isa, other, common);
    }
}

static void random_isa(uint64_t *seed, char *isa, uint32_t length_max)
{
    static const char alphabet[] = "imafdcszxzubp__0192";
    const uint32_t length = 4 + test_below(seed, length_max - 4);
    memcpy(isa, "rv64", 4);
    for (uint32_t n = 4; n < length; n++) {
        isa[n] = alphabet[test_below(seed, sizeof(alphabet) - 1)];
    }
    isa[length] = '\0';
}

static void test_common_of_any_texts(void **state)
{
    (void)state;
    uint64_t seed = 4711;
    for (int round = 0; round < 50000; round++) {
        char isa[40], other[40], common[40];
        random_isa(&seed, isa, 12 + test_below(&seed, 27));
        random_isa(&seed, other, 12 + test_below(&seed, 27));
        if (round % 3 == 0) {
            strcpy(other, isa);
            other[4 + test_below(&seed, 30)] = '\0';
        }
        strcpy(common, isa);
        isa_keep_common(common, other);
        assert_true(strlen(common) <= strlen(isa));
        check_common(isa, other, common);
        char again[40];
        strcpy(again, common);
        isa_keep_common(again, other);
        assert_string_equal(again, common);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qemu_7_2),
        cmocka_unit_test(test_qemu_10),
        cmocka_unit_test(test_each_option_alone),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_hardware_sets_a_and_d),
        cmocka_unit_test(test_common),
        cmocka_unit_test(test_common_of_any_texts),
        cmocka_unit_test(test_never_told),
        cmocka_unit_test(test_old_spellings),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_not_an_isa),
        cmocka_unit_test(test_does_not_fit),
        cmocka_unit_test(test_everything_fits),
        cmocka_unit_test(test_any_text_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
