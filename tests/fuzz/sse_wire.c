/* Fuzz target: the query of an event stream, a Last-Event-ID, and the head of an event. The input is a query, a line end, an id. */
#include "../../gateway/sse/sse_wire.h"

#include <stdlib.h>

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void id_check(struct fm_sse_topics *t)
{
    struct fm_buf id = {0}, again = {0};
    for (uint32_t i = 0; i < t->n; i++)
        if (t->of[i].cut)
            return;
    fm_sse_id_write(&id, t);
    must(id.n <= FM_SSE_ID_MAX && (id.n == 0 || !memchr(id.p, '\n', id.n)));
    must(fm_sse_id_read(fm_buf_view(&id), t) == FM_OK);
    fm_sse_id_write(&again, t);
    must(t->of[0].cut || fm_slice_eq(fm_buf_view(&id), fm_buf_view(&again)));
    fm_buf_fini(&id);
    fm_buf_fini(&again);
}

static void event(struct fm_slice in)
{
    struct fm_sse_event e;
    struct fm_id id;
    struct fm_buf line = {0};
    size_t n = 0;
    if (!fm_sse_event_read(in, &e))
        return;
    while (fm_sse_event_id(&e, &id))
        n++;
    must(n <= FM_CURSOR_MAX && e.topic.n <= FM_TOPIC_MAX && e.lines.n <= in.n);
    fm_sse_line(&line, e.lines);
    must(line.n == 0 || (!memchr(line.p, '\n', line.n) && !memchr(line.p, '\r', line.n)));
    fm_buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fm_sse_topics t;
    const char *why = NULL;
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    struct fm_slice query = fm_slice_of(data, end ? (size_t)(end - data) : n);
    struct fm_slice rest = fm_slice_of(data + query.n + (end ? 1 : 0), n - query.n - (end ? 1 : 0));
    event(fm_slice_of(data, n));
    if (fm_sse_topics_read(query, 8, &t, &why)) {
        must(t.n == 0);
        return 0;
    }
    must(t.n >= 1 && t.n <= 8);
    if (fm_sse_id_read(rest, &t) == FM_OK)
        id_check(&t);
    fm_sse_topics_fini(&t);
    return 0;
}
