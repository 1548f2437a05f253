#include "../../../../load/lib/http_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void an_answer_is_read_when_its_headers_are_whole(void **state)
{
    (void)state;
    const char text[] = "HTTP/1.1 201 Created\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello";
    struct fm_http_answer a;
    for (size_t n = 0; n < sizeof text - 6; n++)
        assert_int_equal(fm_http_answer_read(fm_slice_of(text, n), &a), FM_E_SHORT);
    assert_int_equal(fm_http_answer_read(fm_slice_str(text), &a), FM_OK);
    assert_true(a.status == 201 && a.sized && a.body == 5 && a.last && !a.chunked && !a.events);
    assert_int_equal(a.headers, sizeof text - 6);
    assert_int_equal(fm_http_answer_read(FM_LIT("HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"), &a), FM_OK);
    assert_true(a.sized && a.body == 0);
    assert_int_equal(
        fm_http_answer_read(
            FM_LIT("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"), &a),
        FM_OK);
    assert_true(a.status == 200 && a.events && a.chunked && !a.sized);
}

static void what_is_no_answer_is_refused(void **state)
{
    (void)state;
    struct fm_http_answer a;
    static char endless[FM_ANSWER_HEADERS_MAX + 1];
    memset(endless, 'x', sizeof endless);
    const char *bad[] = {"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "nonsense of some length\r\n\r\n",
                         "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(fm_http_answer_read(fm_slice_str(bad[i]), &a), FM_E_SYNTAX);
    assert_int_equal(fm_http_answer_read(fm_slice_of(endless, sizeof endless), &a), FM_E_TOO_LARGE);
}

/* Reads text in two pieces cut at `cut` and puts together what the chunks held. */
static enum fm_err gather(struct fm_slice text, size_t cut, struct fm_buf *out)
{
    struct fm_chunks c = {0};
    struct fm_slice bytes;
    struct fm_rd r = fm_rd_of(fm_slice_of(text.p, cut));
    enum fm_err err;
    while (!(err = fm_chunks_next(&c, &r, &bytes)))
        fm_buf_slice(out, bytes);
    if (err != FM_E_SHORT)
        return err;
    r = fm_rd_of(fm_slice_of(r.p, (size_t)(text.p + text.n - r.p)));
    while (!(err = fm_chunks_next(&c, &r, &bytes)))
        fm_buf_slice(out, bytes);
    return err;
}

static void a_chunked_body_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    struct fm_slice text = FM_LIT("5\r\nhello\r\n1;x=y\r\n \r\n00A\r\n0123456789\r\n0\r\n\r\n");
    struct fm_buf b = {0};
    for (size_t cut = 0; cut <= text.n; cut++) {
        b.n = 0;
        assert_int_equal(gather(text, cut, &b), FM_E_CLOSED);
        assert_true(fm_slice_eq(fm_buf_view(&b), FM_LIT("hello 0123456789")));
    }
    fm_buf_fini(&b);
}

static void what_is_no_chunk_is_refused(void **state)
{
    (void)state;
    struct fm_buf b = {0};
    const char *bad[] = {"\r\n", "x\r\n", "-1\r\n", "5\nhello", "1\r\nxx\r\n", "123456789\r\n", "5 x\nhello"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(gather(fm_slice_str(bad[i]), 0, &b), FM_E_SYNTAX);
    fm_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_read_when_its_headers_are_whole),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(a_chunked_body_is_the_same_however_it_is_cut),
        cmocka_unit_test(what_is_no_chunk_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
