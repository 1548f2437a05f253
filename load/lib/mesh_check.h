/* What arrives at one subscriber of the mesh bench, against what was published: message i (from 0) went to topic i modulo the topics, in
 * this order. Every message is looked at.
 *
 * -- owner only -- */
#pragma once

#include "../../broker/bytes.h"

enum { FM_MESH_STAMP = 16 }; /* bytes at the front of a payload: number and time */

struct fm_mesh_tally {
    uint64_t received;   /* different messages */
    uint64_t doubled;    /* given again */
    uint64_t disordered; /* given after a later one of their topic */
    uint64_t strange;    /* that nobody published, or on another topic */
    uint64_t gaps;       /* told: something can't be had */
    uint64_t overruns;   /* told: the subscriber's inbox was full */
};

struct fm_mesh_check {
    struct fm_mesh_tally tally;
    uint64_t messages, topics;
    uint64_t *next; /* a topic's first message that would be in order */
    uint64_t *seen; /* a bit a message */
};

FM_MUST_CHECK enum fm_err fm_mesh_check_init(struct fm_mesh_check *c, uint64_t messages, uint64_t topics);
void fm_mesh_check_fini(struct fm_mesh_check *c);
/* Message `number` arrived on `topic`. */
void fm_mesh_check_add(struct fm_mesh_check *c, uint64_t topic, uint64_t number);
/* True if everything arrived, once, in order. */
bool fm_mesh_check_good(const struct fm_mesh_tally *t, uint64_t messages);

void fm_mesh_stamp(uint8_t *payload, uint64_t number, uint64_t at_ns);
/* FM_E_SYNTAX: too short. */
FM_MUST_CHECK enum fm_err fm_mesh_stamp_read(struct fm_slice payload, uint64_t *number, uint64_t *at_ns);
