/* Message ids and cursors.
 *
 * An id is `origin-seq`: the origin is a node's incarnation (64 random bits drawn at every start, written in base 62), seq
 * counts from 1 in the order in which that node accepted. A cursor is a set of at most FM_CURSOR_MAX ids, one an origin:
 * "of each of these origins I have everything up to here". In JSON: ["k3fa9Qz-1234","9abX02c-88"]. One entry is not a node's: `asof-T` says
 * as of when it is complete, in milliseconds of the cluster's own time; by it a node knows what the cursor can't name.
 *
 * -- any thread -- */
#pragma once

#include "fanmesh/err.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    FM_CURSOR_MAX = 256,      /* ids in a cursor */
    FM_ORIGINS_MAX = 255,     /* that may be nodes' */
    FM_CURSOR_ASOF = 8790525, /* "asof" in base 62: no node has it as its incarnation */
    FM_ORIGIN_TEXT_MAX = 11,  /* base-62 digits of 64 bits */
    FM_ID_TEXT_MAX = FM_ORIGIN_TEXT_MAX + 1 + 20,
};

struct fm_id {
    uint64_t origin, seq;
};

/* Writes `origin` in base 62 (0-9A-Za-z, no leading zero) and a terminating zero; returns the length. */
FM_API size_t fm_origin_print(uint64_t origin, char out[FM_ORIGIN_TEXT_MAX + 1]);
/* Writes `origin-seq` and a terminating zero; returns the length. */
FM_API size_t fm_id_print(struct fm_id id, char out[FM_ID_TEXT_MAX + 1]);
/* Reads exactly what fm_id_print writes. FM_E_SYNTAX: anything else. */
FM_API FM_MUST_CHECK enum fm_err fm_id_parse(const char *text, size_t len, struct fm_id *id);

#ifdef __cplusplus
}
#endif
