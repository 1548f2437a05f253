/* EventSource: the answer to a GET, in which each event is some lines and an empty one. It can only listen. */
#include "framing.h"

/* A line without its end, which is CR, LF or both. false: there is no whole one. */
static bool line_read(struct fm_rd *r, struct fm_slice *line)
{
    const uint8_t *start = r->p, *p = start;
    while (p < r->end && *p != '\n' && *p != '\r')
        p++;
    /* Behind a CR at the end of what came an LF may follow. */
    if (p == r->end || (*p == '\r' && p + 1 == r->end))
        return false;
    *line = fm_slice_of(start, (size_t)(p - start));
    r->p = p + (p[0] == '\r' && p[1] == '\n' ? 2 : 1);
    return true;
}

/* The value of a field's line, if it is this field's. */
static bool field_is(struct fm_slice line, struct fm_slice name, struct fm_slice *value)
{
    if (!fm_slice_starts(line, name))
        return false;
    size_t from = name.n + (line.n > name.n && line.p[name.n] == ' ');
    *value = fm_slice_of(line.p + from, line.n - from);
    return true;
}

static enum fm_err next(struct fm_rd *in, struct fm_saying *said)
{
    struct fm_rd r = *in;
    struct fm_slice line, data = {0}, id = {0};
    unsigned parts = 0;
    do {
        if (!line_read(&r, &line))
            return FM_E_SHORT;
        if (field_is(line, FM_LIT("data:"), &data))
            parts++;
        field_is(line, FM_LIT("id:"), &id); /* the server's position; whether it is one of fanmesh's ids nobody here knows */
    } while (line.n);
    *in = r;
    *said = (struct fm_saying){.what = parts ? FM_SAID_MESSAGE : FM_SAID_NOTHING, .seat = FM_SEAT_NONE, .detail = data};
    return parts > 1 ? FM_E_SYNTAX : FM_OK; /* what is published here is one line */
}

const struct fm_framing fm_framing_sse = {.name = "sse", .carrier = FM_CARRIER_HTTP, .next = next};
