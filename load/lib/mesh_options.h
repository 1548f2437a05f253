/* The options of mesh-bench: one table, from which `--help` is printed. */
#pragma once

#include "../../gateway/settings/option.h"

/* group, type, name, min, max, default, help */
#define FM_MESH_OPTIONS(X) \
    X("Nodes", COUNT, nodes, 2, 16, "2", "Processes, each a hub with its mesh on loopback. The first one publishes.") \
    X("Nodes", COUNT, silent, 0, 15, "0", \
      "So many of the others have no subscriber: what a message costs a node whose clients don't want it.") \
    X("Nodes", COUNT, history, 0, 1000000, "0", "Newest messages of a topic that every node keeps for those who join.") \
    X("Nodes", FLAG, clear, 0, 0, "false", "Without a secret: envelopes are not sealed.") \
    X("Nodes", BYTES, log_bytes, 65536, 17179869184, "64MiB", "As a node's option of that name.") \
    X("Messages", COUNT, messages, 1, 200000000, "1000000", "Messages to publish.") \
    X("Messages", COUNT, rate, 0, 10000000, "0", "Messages a second, each a publish of its own; 0: as fast as the first node takes them.") \
    X("Messages", COUNT, batch, 1, 10000, "500", "Messages in one publish, without a rate.") \
    X("Messages", COUNT, topics, 1, 1000, "1", "Topics, in turn. A subscriber has all of them.") \
    X("Messages", BYTES, payload, 16, 65536, "100", "Size of a payload.") \
    X("Measuring", MS, settle_ms, 100, 600000, "10s", "How long to wait, without any message, for what is still missing.") \
    X("Measuring", FLAG, simulate, 0, 0, "false", \
      "Two nodes in one thread, stepped by hand, the same every time: for counting instructions. The functions to count are " \
      "fm_mesh_step_publisher and fm_mesh_step_receiver.") \
    X("Measuring", FLAG, json, 0, 0, "false", "Print one JSON object.")

#define X(group, type, name, min, max, def, help) FM_FIELD_##type name;
struct fm_mesh_options {
    FM_MESH_OPTIONS(X)
};
#undef X

/* Reads the command line; *go is false where the program is to end with the result. */
FM_MUST_CHECK int fm_mesh_options_read(struct fm_mesh_options *o, int argc, char *const *argv, bool *go);
