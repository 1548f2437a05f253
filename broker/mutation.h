/* Deliberate breakage, for tests that something would be noticed: by the simulator (tests/sim/mutation_test.c), and by runs with real
 * processes (fanmesh_mutated, where FANMESH_MUTATION names one; tests/system/mutated.c). In every other program fm_mutation is the constant
 * false and costs nothing. */
#pragma once

#define FM_MUTATION_LIST(X) \
    X(NO_PULLS, "a hole is never pulled") \
    X(ORDER_IGNORED, "a message is dispatched before its predecessor") \
    X(GAPS_SILENT, "a gap is not told") \
    X(CURSOR_HIGH, "a replay begins one too late") \
    X(CURSOR_LOW, "a replay begins one too early") \
    X(FLOOR_IGNORED, "recovered, whatever was evicted") \
    X(SKIP_FORGOTTEN, "a client that is ahead of its node is given again what it has") \
    X(KEYS_IGNORED, "a retry is a new message, and is given to everyone") \
    X(KEYS_FORGOTTEN, "an idempotency key is forgotten with its message, however young it is") \
    X(ACK_UNEARNED, "`replicated` is answered without asking who has it") \
    X(LEAVES_AT_ONCE, "a draining node hands nothing over") \
    X(SNAPSHOT_NOT_FOLLOWED, "a node that takes over does not take what comes live meanwhile, and calls itself up to date") \
    X(DOUBLE_AFTER_RELAY, "what came live and comes again by a pull is dispatched twice") \
    X(FLOOR_NOT_RAISED, "what is evicted leaves no floor") \
    X(PRESENCE_NOT_PULLED, "changes of presences that did not arrive are never asked for") \
    X(PRESENCE_NOT_HIDDEN, "the presences of a node that is gone stay") \
    X(PRESENCE_NOT_SWEPT, "what is gone from a set that was pulled whole stays") \
    X(PRESENCE_NOT_KEPT, "who moved to another node goes before it is known to have come there") \
    X(PRESENCE_GRACE_FOREVER, "who lost the connection is shown for ever") \
    X(DELETED_GIVEN, "what comes after its deletion is given to everyone") \
    X(DELETED_REMEMBERED, "what a deletion names stays in histories and logs") \
    X(DELETED_BEHIND_HOLE, "of what a deletion names, that behind a hole stays in histories") \
    X(COMMANDS_NOT_RECALLED, "who has given up what may have been commands asks nobody for them") \
    X(WORKER_DEAF, "worker 0 empties its inbox fifty times and never again") \
    X(HUB_DEAF, "the hub empties its inbox a hundred times and never again")

#ifdef FM_MUTATIONS
enum fm_mutation_name {
    FM_MUTATION_NONE,
#define X(name, what) FM_MUTATION_##name,
    FM_MUTATION_LIST(X)
#undef X
        FM_MUTATION_COUNT
};
extern enum fm_mutation_name fm_mutation_now; /* defined by the test */
#define fm_mutation(name) (fm_mutation_now == FM_MUTATION_##name)
#else
#define fm_mutation(name) false
#endif
