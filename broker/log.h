/* What a node remembers of one origin: seq -> entry, ascending. An entry is a message, or a tomb: "of this topic everything up to this seq
 * is evicted". Appending and taking from the front are O(1), anything else is O(log n): chunks of up to 256 sorted entries in a sorted
 * directory, so holes that fill late never move more than one chunk. Neighbours of which little is left are joined.
 *
 * Pointers to entries are valid until the next insert or remove.
 *
 * -- owner only -- */
#pragma once

#include "msg.h"

struct fm_pos;

struct fm_log_entry {
    uint64_t seq;
    struct fm_msg *msg; /* a reference; NULL: a tomb */
    struct fm_pos *pos; /* the topic's position in this origin; never NULL */
    bool in_history;    /* the topic's history holds it too */
};

struct fm_log_chunk;

struct fm_log {
    struct fm_log_chunk **chunks;
    uint32_t n, cap;
};

struct fm_log_iter {
    const struct fm_log *log;
    uint32_t chunk, slot;
};

/* Drops what it still holds. */
void fm_log_fini(struct fm_log *log);
/* Takes over entry.msg. FM_E_INVALID: the seq is there already; FM_E_NOMEM. On error the caller keeps the message. */
FM_MUST_CHECK enum fm_err fm_log_insert(struct fm_log *log, struct fm_log_entry entry);
/* NULL: not there. */
struct fm_log_entry *fm_log_find(const struct fm_log *log, uint64_t seq);
/* Removes the entry, dropping its message. Not there: a no-op. */
void fm_log_remove(struct fm_log *log, uint64_t seq);
/* Of the log itself, without the messages. */
size_t fm_log_bytes(const struct fm_log *log);
/* 0: empty. */
uint64_t fm_log_last(const struct fm_log *log);
/* From the first entry whose seq is at least `seq`. fm_log_next returns NULL at the end. */
struct fm_log_iter fm_log_from(const struct fm_log *log, uint64_t seq);
struct fm_log_entry *fm_log_next(struct fm_log_iter *it);
