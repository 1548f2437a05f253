/* HTTP/1.1 answers as the load programs meet them: those to a POST, and the endless ones of EventSource.
 *
 * -- any thread, one owner at a time -- */
#pragma once

#include "../../broker/bytes.h"

enum { FM_ANSWER_HEADERS_MAX = 16 * 1024, FM_ANSWER_BODY_MAX = 1024 * 1024 };

struct fm_http_answer {
    unsigned status;
    size_t headers; /* bytes of them, with the empty line */
    size_t body;    /* `sized`: its bytes */
    bool sized;
    bool chunked;
    bool last;   /* the server closes the connection behind it */
    bool events; /* Content-Type: text/event-stream */
};

/* The headers at the start of `in`. FM_E_SHORT: they are not complete. FM_E_SYNTAX; FM_E_TOO_LARGE: beyond the limits above. */
FM_MUST_CHECK enum fm_err fm_http_answer_read(struct fm_slice in, struct fm_http_answer *a);

struct fm_chunks { /* zero is the start of a chunked body */
    uint64_t left; /* of the chunk */
    bool inside;   /* of one */
    bool over;     /* the last one was read */
};

/* Takes what there is of the next chunk off `in`: *bytes, which are never none. FM_E_SHORT: nothing is there. FM_E_CLOSED: the body is
 * over. FM_E_SYNTAX. */
FM_MUST_CHECK enum fm_err fm_chunks_next(struct fm_chunks *c, struct fm_rd *in, struct fm_slice *bytes);
