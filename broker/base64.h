/* Base64, read strictly: the standard or the URL alphabet, padding complete or absent, no white space, no stray bits.
 *
 * -- any thread -- */
#pragma once

#include "bytes.h"

/* Appends the bytes to out. FM_E_SYNTAX: *at is the offset of the first character that can't stand there. FM_E_NOMEM. */
FM_MUST_CHECK enum fm_err fm_base64_decode(struct fm_slice text, struct fm_buf *out, size_t *at);
/* Appends standard base64 with padding. */
void fm_base64_encode(struct fm_buf *out, struct fm_slice bytes);
