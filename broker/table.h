/* uthash with a keyed hash, since the keys (topics, idempotency keys) come from outside. Include this instead of <uthash.h>. */
#pragma once

#include "bytes.h"

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)fm_slice_hash(fm_slice_of((keyptr), (keylen))))
#include <uthash.h>
