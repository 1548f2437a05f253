/* The load programs' own reader and writer of Phoenix V2 text frames. It is deliberately not the gateway's: a mistake shared by both sides
 * would be invisible. It knows only what such a program sends and receives: strings without escapes where they are compared.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/vector.h"

struct fm_wire { /* strings without their quotes; null is an empty slice; payload as raw JSON */
    struct fm_slice join_ref, ref, topic, event, payload;
};

/* [join_ref, ref, topic, event, payload]. FM_E_SYNTAX: not that. The payload is not looked into. */
FM_MUST_CHECK enum fm_err fm_wire_read(struct fm_slice text, struct fm_wire *w);
/* The raw value of a member of an object (of its top level); empty where there is none or the object is broken. */
struct fm_slice fm_wire_member(struct fm_slice object, const char *name);
/* The same, a string without its quotes; empty if it is none. */
struct fm_slice fm_wire_text(struct fm_slice object, const char *name);
/* The same, a whole number; false if it is none. */
FM_MUST_CHECK bool fm_wire_number(struct fm_slice object, const char *name, uint64_t *out);
/* Reads ["origin-seq",...] into v, which is emptied before. FM_E_SYNTAX, FM_E_TOO_MANY, FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_wire_cursor(struct fm_slice list, struct fm_vector *v);

/* What fanmesh-load puts into a payload, and finds again in a broadcast. */
struct fm_stamp {
    uint64_t number; /* of the message on its topic, from 0 */
    uint64_t stream; /* the connection that published it */
    uint64_t topic;  /* its number: what a message says of its topic may be wrong, or nothing */
    uint64_t sent_ns;
};

/* {"k":number,"s":stream,"r":topic,"t":sent_ns,"pad":"..."} padded to `size` bytes (or as long as it must be). */
void fm_stamp_put(struct fm_buf *out, const struct fm_stamp *stamp, size_t size);
FM_MUST_CHECK bool fm_stamp_read(struct fm_slice payload, struct fm_stamp *stamp);
