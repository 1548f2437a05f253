#include "sub_index.h"

#include <assert.h>
#include <stdlib.h>

enum { PLACES_MIN = 64 };

struct fm_sub_index {
    uint32_t n, mask; /* places less one; their number is a power of two */
    struct fm_sub *at[];
};

static uint32_t home_of(const struct fm_sub_index *index, struct fm_slice topic)
{
    return (uint32_t)fm_slice_hash(topic) & index->mask;
}

/* Where the topic is, or where it would be put. */
static uint32_t place_of(const struct fm_sub_index *index, struct fm_slice topic)
{
    uint32_t i = home_of(index, topic);
    while (index->at[i] && !fm_slice_eq(fm_sub_topic(index->at[i]), topic))
        i = (i + 1) & index->mask;
    return i;
}

static struct fm_sub_index *make(uint32_t n)
{
    uint32_t places = PLACES_MIN;
    while (places < 2 * n)
        places *= 2;
    struct fm_sub_index *index = calloc(1, sizeof *index + places * sizeof index->at[0]);
    if (index)
        index->mask = places - 1;
    return index;
}

static void put(struct fm_sub_index *index, struct fm_sub *sub)
{
    uint32_t i = place_of(index, fm_sub_topic(sub));
    assert(!index->at[i]);
    index->at[i] = sub;
    index->n++;
}

struct fm_sub_index *fm_sub_index_new(struct fm_sub *list, uint32_t n)
{
    struct fm_sub_index *index = make(n);
    for (struct fm_sub *sub = list; index && sub; sub = sub->next)
        put(index, sub);
    return index;
}

void fm_sub_index_free(struct fm_sub_index **index)
{
    free(*index);
    *index = NULL;
}

struct fm_sub *fm_sub_index_find(const struct fm_sub_index *index, struct fm_slice topic)
{
    return index->at[place_of(index, topic)];
}

void fm_sub_index_add(struct fm_sub_index **index, struct fm_sub *sub)
{
    struct fm_sub_index *old = *index;
    if (2 * (old->n + 1) > old->mask + 1) {
        struct fm_sub_index *larger = make(2 * old->n);
        for (uint32_t i = 0; larger && i <= old->mask; i++)
            if (old->at[i])
                put(larger, old->at[i]);
        free(old);
        *index = larger;
    }
    if (*index)
        put(*index, sub);
}

/* What stands behind it is moved up to where a search would not find it otherwise. */
void fm_sub_index_remove(struct fm_sub_index *index, const struct fm_sub *sub)
{
    uint32_t hole = place_of(index, fm_sub_topic(sub));
    assert(index->at[hole] == sub);
    for (uint32_t i = (hole + 1) & index->mask; index->at[i]; i = (i + 1) & index->mask) {
        uint32_t home = home_of(index, fm_sub_topic(index->at[i]));
        if (((i - home) & index->mask) < ((i - hole) & index->mask))
            continue; /* its search begins behind the hole */
        index->at[hole] = index->at[i];
        hole = i;
    }
    index->at[hole] = NULL;
    index->n--;
}
