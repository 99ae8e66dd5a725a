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
    .vector = true, .sstc = true, .zicbom = true, .zicboz = true, .svpbmt = true, .svinval = true};

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
    assert_isa(host, &none,
               "rv64imafdc_zicbop_zicntr_zicsr_zifencei_zihintntl_zihintpause_zmmul_zaamo_zalrsc_zawrs_zfa_zca_zcd_zba_"
               "zbb_zbc_zbs");
    assert_isa(host, &all,
               "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicsr_zifencei_zihintntl_zihintpause_zmmul_zaamo_zalrsc_zawrs_"
               "zfa_zca_zcd_zba_zbb_zbc_zbs_sstc");
}

static void test_each_option_alone(void **state)
{
    (void)state;
    static const char host[] = "rv64imv_zicbom_zicboz_zicbop_zvfh_zvbb_zvkned_sstc_svpbmt";
    assert_isa(host, &none, "rv64im_zicbop");
    assert_isa(host, &(struct guest_isa_options){.vector = true}, "rv64imv_zicbop_zvfh_zvbb_zvkned");
    assert_isa(host, &(struct guest_isa_options){.sstc = true}, "rv64im_zicbop_sstc");
    assert_isa(host, &(struct guest_isa_options){.zicbom = true}, "rv64im_zicbom_zicbop");
    assert_isa(host, &(struct guest_isa_options){.svpbmt = true}, "rv64im_zicbop_svpbmt");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qemu_7_2),          cmocka_unit_test(test_qemu_10),
        cmocka_unit_test(test_each_option_alone), cmocka_unit_test(test_never_told),
        cmocka_unit_test(test_old_spellings),     cmocka_unit_test(test_versions),
        cmocka_unit_test(test_not_an_isa),        cmocka_unit_test(test_does_not_fit),
        cmocka_unit_test(test_everything_fits),   cmocka_unit_test(test_any_text_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
