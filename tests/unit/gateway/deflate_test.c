/* permessage-deflate: what is offered and answered, and messages there and back. */
#include "../../../gateway/edge/deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <zlib.h>

/* ---- vocabulary ---- */

static void assert_answer(const char *offer, const char *answer)
{
    struct fm_deflate_terms terms;
    struct fm_buf b = {0};
    bool accepted = fm_deflate_offer(fm_slice_str(offer), &terms);
    assert_int_equal(accepted, terms.window > 0);
    if (accepted)
        fm_deflate_answer(&b, &terms);
    fm_buf_u8(&b, 0);
    assert_string_equal(b.p, answer ? answer : "");
    fm_buf_fini(&b);
}

static struct fm_packer *packer;
static struct fm_unpacker *unpacker;

static struct fm_buf packed_of(struct fm_slice text)
{
    struct fm_buf b = {0};
    assert_int_equal(fm_pack(&packer, text, &b), FM_OK);
    return b;
}

static enum fm_err unpacked(struct fm_slice packed, size_t max, struct fm_buf *out)
{
    enum fm_err err = fm_unpack(&unpacker, packed, max, out);
    assert_true(out->n <= max + 1);
    return err;
}

static int teardown(void **state)
{
    (void)state;
    fm_packer_free(&packer);
    fm_unpacker_free(&unpacker);
    return 0;
}

/* ---- tests ---- */

#define PLAIN "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

static void every_sound_offer_is_answered_without_takeover(void **state)
{
    (void)state;
    assert_answer("permessage-deflate", PLAIN);
    assert_answer("permessage-deflate; client_max_window_bits", PLAIN);
    assert_answer("permessage-deflate;client_max_window_bits=10", PLAIN);
    assert_answer(" \tpermessage-deflate ; server_no_context_takeover;client_no_context_takeover ", PLAIN);
    assert_answer("PerMessage-Deflate; Server_No_Context_Takeover", PLAIN);
    assert_answer("x-webkit-deflate-frame, permessage-deflate", PLAIN);
    assert_answer(",, permessage-deflate,", PLAIN);
    assert_answer("other; a=b; c=\"d\", permessage-deflate", PLAIN);
}

static void a_window_that_is_asked_for_is_named_in_the_answer(void **state)
{
    (void)state;
    assert_answer("permessage-deflate; server_max_window_bits=8", PLAIN "; server_max_window_bits=8");
    assert_answer("permessage-deflate; server_max_window_bits=15", PLAIN "; server_max_window_bits=15");
    assert_answer("permessage-deflate; server_max_window_bits=\"10\"", PLAIN "; server_max_window_bits=10");
}

static void an_offer_that_is_not_understood_is_passed_over(void **state)
{
    (void)state;
    assert_answer("permessage-deflate; server_max_window_bits=7", NULL);
    assert_answer("permessage-deflate; server_max_window_bits=16", NULL);
    assert_answer("permessage-deflate; server_max_window_bits=010", NULL);
    assert_answer("permessage-deflate; server_max_window_bits", NULL);
    assert_answer("permessage-deflate; client_max_window_bits=0", NULL);
    assert_answer("permessage-deflate; server_no_context_takeover=1", NULL);
    assert_answer("permessage-deflate; client_no_context_takeover; client_no_context_takeover", NULL);
    assert_answer("permessage-deflate; unknown", NULL);
    assert_answer("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9", PLAIN "; server_max_window_bits=9");
}

static void a_header_that_breaks_the_grammar_offers_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ",",
                                      ";",
                                      "permessage-deflate;",
                                      "permessage-deflate; =1",
                                      "permessage-deflate; server_max_window_bits=",
                                      "permessage-deflate; server_max_window_bits=\"10",
                                      "permessage-deflate x",
                                      "permessage-deflate/1",
                                      "=, permessage-deflate",
                                      "permessage-deflat",
                                      "permessage-deflatex"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_answer(bad[i], NULL);
}

static void a_message_comes_back_as_it_was(void **state)
{
    (void)state;
    static uint8_t bytes[200000];
    unsigned seed = 7;
    for (size_t n = 0; n < sizeof bytes; n++) {
        seed = seed * 1103515245 + 12345;
        bytes[n] = n % 3000 < 1500 ? (uint8_t)(seed >> 16) : 'a';
    }
    static const size_t sizes[] = {0, 1, 2, 125, 256, 257, 4096, 65536, sizeof bytes};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct fm_slice text = fm_slice_of(bytes, sizes[i]);
        struct fm_buf there = packed_of(text), back = {0};
        assert_int_equal(unpacked(fm_buf_view(&there), sizes[i], &back), FM_OK);
        assert_true(fm_slice_eq(fm_buf_view(&back), text));
        fm_buf_fini(&there);
        fm_buf_fini(&back);
    }
}

static void the_same_message_is_packed_into_the_same_bytes_whatever_came_before(void **state)
{
    (void)state;
    struct fm_buf one = packed_of(FM_LIT("a message, a message")), other = packed_of(FM_LIT("something else")),
                  two = packed_of(FM_LIT("a message, a message"));
    assert_true(fm_slice_eq(fm_buf_view(&one), fm_buf_view(&two)));
    fm_buf_fini(&one);
    fm_buf_fini(&other);
    fm_buf_fini(&two);
}

/* An inflater with a smaller window than the deflater's reads a message that is not longer than its window. */
static void a_message_as_long_as_a_window_is_read_with_that_window(void **state)
{
    (void)state;
    static uint8_t bytes[1 << FM_DEFLATE_WINDOW_MAX], out[sizeof bytes + 1];
    for (int bits = FM_DEFLATE_WINDOW_MIN; bits <= FM_DEFLATE_WINDOW_MAX; bits++) {
        size_t n = (size_t)1 << bits;
        unsigned seed = (unsigned)bits;
        for (size_t i = 0; i < n / 2; i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = bytes[n / 2 + i] = (uint8_t)(seed >> 16); /* refers back by half the message */
        }
        struct fm_buf b = packed_of(fm_slice_of(bytes, n));
        fm_buf_put(&b, "\x00\x00\xff\xff", 4);
        z_stream z = {.next_in = b.p, .avail_in = (uInt)b.n, .next_out = out, .avail_out = sizeof out};
        assert_int_equal(inflateInit2(&z, -bits), Z_OK);
        assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
        assert_int_equal(z.total_out, n);
        assert_memory_equal(out, bytes, n);
        inflateEnd(&z);
        fm_buf_fini(&b);
    }
}

/* RFC 7692, 7.2.3: the examples of what other deflaters send for "Hello". */
static void what_other_deflaters_send_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } messages[] = {
        {"\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"},
        {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello"},         /* not compressed */
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello"},                      /* a block that says it is the last */
        {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13, "Hello"}, /* two blocks */
        {"\xf3\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"},                          /* a last one and nothing behind it */
        {"\x02\x00", 2, ""},
        {"", 0, ""}, /* not even an empty message is sent so */
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct fm_buf out = {0};
        enum fm_err err = unpacked(fm_slice_of(messages[i].bytes, messages[i].n), 100, &out);
        assert_int_equal(err, messages[i].n ? FM_OK : FM_E_SYNTAX);
        assert_true(err || fm_slice_eq(fm_buf_view(&out), fm_slice_str(messages[i].text)));
        fm_buf_fini(&out);
    }
}

static void a_bomb_is_refused_before_it_is_unpacked(void **state)
{
    (void)state;
    static uint8_t zeros[4 << 20];
    struct fm_buf bomb = packed_of(fm_slice_of(zeros, sizeof zeros)), out = {0};
    assert_true(bomb.n < 8192);
    assert_int_equal(unpacked(fm_buf_view(&bomb), 65536, &out), FM_E_TOO_LARGE);
    assert_true(out.cap <= 4 * 65536);
    assert_int_equal(unpacked(fm_buf_view(&bomb), sizeof zeros - 1, &out), FM_E_TOO_LARGE);
    assert_int_equal(unpacked(fm_buf_view(&bomb), sizeof zeros, &out), FM_OK);
    fm_buf_fini(&bomb);
    fm_buf_fini(&out);
}

static void what_is_not_deflate_is_refused_and_the_next_message_is_read(void **state)
{
    (void)state;
    struct fm_buf good = packed_of(FM_LIT("good")), out = {0};
    assert_int_equal(unpacked(FM_LIT("\xff\xff\xff\xff"), 100, &out), FM_E_SYNTAX);
    assert_int_equal(unpacked(fm_slice_of(good.p, good.n - 2), 100, &out), FM_E_SYNTAX);
    assert_int_equal(unpacked(fm_buf_view(&good), 100, &out), FM_OK);
    assert_true(fm_slice_eq(fm_buf_view(&out), FM_LIT("good")));
    fm_buf_fini(&good);
    fm_buf_fini(&out);
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_sound_offer_is_answered_without_takeover),
        TEST(a_window_that_is_asked_for_is_named_in_the_answer),
        TEST(an_offer_that_is_not_understood_is_passed_over),
        TEST(a_header_that_breaks_the_grammar_offers_nothing),
        TEST(a_message_comes_back_as_it_was),
        TEST(the_same_message_is_packed_into_the_same_bytes_whatever_came_before),
        TEST(a_message_as_long_as_a_window_is_read_with_that_window),
        TEST(what_other_deflaters_send_is_read),
        TEST(a_bomb_is_refused_before_it_is_unpacked),
        TEST(what_is_not_deflate_is_refused_and_the_next_message_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
