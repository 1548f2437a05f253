/* One cursor channel as a client sees it (Phoenix Channels V2): what it sends to join, and what the server's frames mean. Pure: frames in,
 * lines of JSON out, so that `subscribe` is tested without a network.
 *
 * A line is {"id","event","payload"}, or with "payload_base64" for a binary message. A binary message carries no id; the position after it
 * comes in an event fm_cursor. Until that has come, it and what follows it are held back: if the connection breaks in between, they come
 * again by the cursor, and nothing is printed twice. A gap is a line too, with a null id.
 *
 * -- owner only -- */
#pragma once

#include "../../broker/vector.h"

enum fm_channel_state {
    FM_CHANNEL_JOINING,
    FM_CHANNEL_OPEN,
    FM_CHANNEL_AGAIN, /* to be joined again, a little later; `why` says the reason */
    FM_CHANNEL_ENDED, /* for good */
};

struct fm_channel {
    const char *topic; /* borrowed */
    uint64_t last;     /* of the first join */
    enum fm_channel_state state;
    bool joined_once;
    bool unrecovered;        /* set by a join whose reply says recovered: false; the caller clears it */
    struct fm_vector cursor; /* everything up to here is in `lines` */
    struct fm_buf lines;     /* to be printed; the caller empties it */
    struct fm_buf held;
    bool holding;
    unsigned joins; /* number of the newest join, which is its ref */
    char why[256];
};

void fm_channel_fini(struct fm_channel *c);
/* Appends the frame that joins; the state is then JOINING. What was held is forgotten: it comes again. */
void fm_channel_join(struct fm_channel *c, struct fm_buf *frame);
/* One frame from the server. FM_E_SYNTAX: no Phoenix server sends this. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_channel_text(struct fm_channel *c, struct fm_slice frame);
FM_MUST_CHECK enum fm_err fm_channel_binary(struct fm_channel *c, struct fm_slice frame);
