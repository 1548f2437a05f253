/* Bodies of the requests by which Supabase's clients broadcast over HTTP -> messages. Pure: bytes, rules and limits go in, messages or what
 * is wrong come out. All or nothing, as for every publish.
 *
 * -- any thread -- */
#pragma once

#include "api_parse.h"
#include "../json/json_slice.h"

/* {"messages":[{"topic","event","payload","private"}]}: topics without their prefix. Members that are not read are passed over, since other
 * versions of these clients may send some. bad->detail is a sentence of its own. The order is initialised by the callee and empty on error.
 * limits->key stands for the whole request: message i, from 0, gets KEY#i. */
FM_MUST_CHECK enum fm_err fm_supabase_body_batch(const struct fm_api_limits *limits, struct fm_slice body, struct fm_api_order *order,
                                                 struct fm_api_bad *bad);

/* One message, whose topic (without its prefix) and event stand in the path. binary: the body is bytes, else it is JSON. */
FM_MUST_CHECK enum fm_err fm_supabase_body_one(const struct fm_api_limits *limits, struct fm_slice topic, struct fm_slice event,
                                               bool binary, struct fm_slice body, struct fm_api_order *order, struct fm_api_bad *bad);

/* TOPIC/events/EVENT as it stands in a path, percent-encoded; each part is decoded into a buffer. FM_E_INVALID: it is not that, or a part
 * is empty, longer than a topic or event may be, or not UTF-8. */
FM_MUST_CHECK enum fm_err fm_supabase_path(struct fm_slice raw, struct fm_buf *topic, struct fm_buf *event);
