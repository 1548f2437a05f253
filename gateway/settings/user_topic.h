/* The topic of a user: what stands for {user} in the option user_topic.
 *
 * -- any thread -- */
#pragma once

#include "../../broker/msg.h"

/* Written to out. False: it would have more than FM_TOPIC_MAX bytes, or the pattern has no {user}, or is NULL. */
FM_MUST_CHECK bool fm_user_topic(const char *pattern, struct fm_slice user, uint8_t out[FM_TOPIC_MAX], struct fm_slice *topic);
