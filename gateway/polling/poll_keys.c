/* What tokens are sealed with, so that a forged one is refused where it arrives: each node draws a key when it starts, and tells it to the
 * workers of other nodes that ask, over the mesh, as it tells them everything. So it needs no secret of the cluster, and is worth nothing
 * after the node. Kept by those who asked, for as many nodes as there can be. */
#include "polling.h"

#include "../../broker/envelope.h"

#include <stdlib.h>

struct fm_poll_key {
    UT_hash_handle hh; /* in the order in which they came */
    uint64_t node;
    uint8_t bytes[FM_POLL_KEY_BYTES];
};

_Static_assert(FM_POLL_KEY_BYTES == 32, "as the settings of a worker say");

static struct fm_poll_key *find(const struct fm_worker *w, uint64_t node)
{
    struct fm_poll_key *k;
    HASH_FIND(hh, w->poll_keys, &node, sizeof node, k);
    return k;
}

const uint8_t *fm_poll_key_of(const struct fm_worker *w, uint64_t node)
{
    if (node == fm_poll_node(w))
        return w->config.poll_key;
    const struct fm_poll_key *k = find(w, node);
    return k ? k->bytes : NULL;
}

static void drop(struct fm_worker *w, struct fm_poll_key *k)
{
    HASH_DEL(w->poll_keys, k);
    free(k);
}

bool fm_poll_key_keep(struct fm_worker *w, uint64_t node, struct fm_slice key)
{
    struct fm_poll_key *k = find(w, node);
    if (k)
        return true;
    k = calloc(1, sizeof *k);
    if (!k)
        return false;
    k->node = node;
    memcpy(k->bytes, key.p, sizeof k->bytes);
    if (HASH_COUNT(w->poll_keys) >= FM_PEERS_MAX)
        drop(w, w->poll_keys); /* the oldest: of a node that is long gone, or it is asked once more */
    HASH_ADD(hh, w->poll_keys, node, sizeof k->node, k);
    return true;
}

void fm_poll_keys_free(struct fm_worker *w)
{
    while (w->poll_keys)
        drop(w, w->poll_keys);
}
