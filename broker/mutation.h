/* Deliberate breakage of the hub, for the test that the simulator would notice (tests/sim/mutation_test.c). In every other program
 * fm_mutation is the constant false and costs nothing. */
#pragma once

#ifdef FM_MUTATIONS
enum fm_mutation_name {
    FM_MUTATION_NONE,
    FM_MUTATION_NO_PULLS,       /* a hole is never pulled */
    FM_MUTATION_ORDER_IGNORED,  /* a message is dispatched before its predecessor */
    FM_MUTATION_GAPS_SILENT,    /* a gap is not told */
    FM_MUTATION_CURSOR_HIGH,    /* a replay begins one too late */
    FM_MUTATION_CURSOR_LOW,     /* ... one too early */
    FM_MUTATION_FLOOR_IGNORED,  /* recovered, whatever was evicted */
    FM_MUTATION_SKIP_FORGOTTEN, /* a client that is ahead of its node is given again what it has */
    FM_MUTATION_KEYS_IGNORED,   /* a retry is a new message */
    FM_MUTATION_ACK_UNEARNED,   /* "replicated" is answered without asking who has it */
    FM_MUTATION_LEAVES_AT_ONCE, /* a draining node hands nothing over */
};
extern enum fm_mutation_name fm_mutation_now; /* defined by the test */
#define fm_mutation(name) (fm_mutation_now == FM_MUTATION_##name)
#else
#define fm_mutation(name) false
#endif
