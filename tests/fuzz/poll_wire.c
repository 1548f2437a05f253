/* Fuzz target: LongPoll's tokens, bodies of pushes, and notes between workers. What a reader accepts is written again, and must then be the
 * same. The first byte chooses. */
#include "../../gateway/polling/poll_wire.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void token(struct fm_slice in)
{
    struct fm_poll_token t;
    char text[FM_POLL_TOKEN_TEXT + 1];
    if (fm_poll_token_read(in, &t))
        return;
    fm_poll_token_print(&t, text);
    must(fm_slice_eq(fm_slice_str(text), in));
}

static void body(struct fm_slice in, bool lines)
{
    struct fm_buf out = {0};
    const char *why = NULL;
    bool binary;
    unsigned n = 0;
    if (fm_poll_body(in, lines, &out, &why) == FM_OK) {
        struct fm_slice rest = fm_buf_view(&out), bytes;
        while (fm_poll_frame_next(&rest, &binary, &bytes)) {
            must(binary || !lines || (bytes.n && (bytes.p[0] == '[' || bytes.p[0] == '{')));
            n++;
        }
        must(rest.n == 0 && n <= FM_POLL_LINES_MAX);
    } else {
        must(why != NULL);
    }
    fm_buf_fini(&out);
}

static void note(struct fm_slice in)
{
    struct fm_poll_note n;
    struct fm_buf out = {0}, again = {0};
    if (fm_poll_note_read(in, &n))
        return;
    fm_poll_note_write(&out, &n);
    must(out.n <= in.n);
    must(fm_poll_note_read(fm_buf_view(&out), &n) == FM_OK);
    fm_poll_note_write(&again, &n);
    must(fm_slice_eq(fm_buf_view(&out), fm_buf_view(&again)));
    fm_buf_fini(&out);
    fm_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    struct fm_slice rest = fm_slice_of(data + 1, n - 1);
    switch (data[0] % 4) {
    case 0:
        token(rest);
        break;
    case 1:
        body(rest, true);
        break;
    case 2:
        body(rest, false);
        break;
    default:
        note(rest);
    }
    return 0;
}
