/* What makes fanmesh_mutated of the node's own sources: before main, the variable FANMESH_MUTATION names the one thing that is broken in
 * this process (broker/mutation.h). Without it the binary is sound. A name that is not in the list ends the process, so that a control
 * never passes because nothing was broken. */
#include "../../broker/mutation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum fm_mutation_name fm_mutation_now;

static const struct {
    const char *name, *what;
} mutations[FM_MUTATION_COUNT] = {
#define X(name, what) [FM_MUTATION_##name] = {#name, what},
    FM_MUTATION_LIST(X)
#undef X
};

__attribute__((constructor)) static void choose(void)
{
    const char *wanted = getenv("FANMESH_MUTATION");
    if (!wanted || !*wanted)
        return;
    for (unsigned i = FM_MUTATION_NONE + 1; i < FM_MUTATION_COUNT; i++) {
        if (strcmp(mutations[i].name, wanted) != 0)
            continue;
        fm_mutation_now = (enum fm_mutation_name)i;
        fprintf(stderr, "level=warn event=mutation name=%s why=\"broken on purpose: %s\"\n", wanted, mutations[i].what);
        unsetenv("FANMESH_MUTATION"); /* it is no option of the node's */
        return;
    }
    fprintf(stderr, "fanmesh_mutated: FANMESH_MUTATION=%s is not in broker/mutation.h\n", wanted);
    exit(2);
}
