/* Options by their name, and what somebody may have meant who wrote another. */
#include "option.h"

#include <stdio.h>

enum { WORD_MAX = 40 };

static char fold(char c)
{
    return c == '-' ? '_' : c;
}

static bool same_name(const char *option, const char *name)
{
    while (*option && *option == fold(*name))
        option++, name++;
    return !*option && !*name;
}

static const struct fm_option *row_find(const struct fm_option *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (same_name(table[i].name, name))
            return &table[i];
    return NULL;
}

/* What else options are called. A command has one of those that share a name. */
static const struct {
    const char *name, *option;
    bool in_env;
} others[] = {
    {"url", "api_url", true}, {"url", "socket_url", false}, /* FANMESH_URL is of the API: one environment serves all commands */
};

enum { OTHERS_N = sizeof others / sizeof others[0] };

const struct fm_option *fm_option_find(const struct fm_option *table, size_t n, const char *name)
{
    const struct fm_option *o = row_find(table, n, name);
    for (size_t i = 0; i < OTHERS_N && !o; i++)
        if (same_name(others[i].name, name))
            o = row_find(table, n, others[i].option);
    return o;
}

const char *fm_option_other(const char *option)
{
    for (size_t i = 0; i < OTHERS_N; i++)
        if (others[i].in_env && strcmp(others[i].option, option) == 0)
            return others[i].name;
    return NULL;
}

const struct fm_from *fm_option_from(const struct fm_option_set *set, const char *name)
{
    const struct fm_option *o = fm_option_find(set->table, set->n, name);
    return o ? &set->from[o - set->table] : NULL;
}

/* Edits (insert, drop, change, swap two neighbours) that turn a into b. Both at most WORD_MAX bytes. */
static unsigned edits(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= na; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        for (size_t j = 1; j <= nb; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            unsigned best = d[i - 1][j - 1] + (same ? 0 : 1);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]) && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

struct search { /* for what is nearest to a word */
    const char *word, *best;
    unsigned best_d; /* one less than this is near enough */
};

static struct search search_of(const char *word)
{
    size_t n = strlen(word);
    return (struct search){word, NULL, n <= 4 ? 2 : n <= 9 ? 3 : n <= WORD_MAX ? 5 : 0};
}

static void look_at(struct search *s, const char *candidate)
{
    unsigned d = s->best_d && strlen(candidate) <= WORD_MAX ? edits(s->word, candidate) : UINT32_MAX;
    if (d < s->best_d) {
        s->best = candidate;
        s->best_d = d;
    }
}

static const char *nearest_text(const char *best)
{
    static _Thread_local char text[2 * WORD_MAX];
    text[0] = 0;
    if (best)
        snprintf(text, sizeof text, "; the nearest is `%s`", best);
    return text;
}

const char *fm_nearest(const char *word, const char *const *words, size_t n)
{
    struct search s = search_of(word);
    for (size_t i = 0; i < n; i++)
        look_at(&s, words[i]);
    return nearest_text(s.best);
}

const char *fm_option_nearest(const struct fm_option_set *set, const char *name, bool flag)
{
    char text[WORD_MAX + 4];
    struct search s = search_of(name);
    for (size_t i = 0; i < set->n; i++)
        look_at(&s, set->table[i].name);
    if (!s.best || !flag)
        return nearest_text(s.best);
    fm_flag_name(s.best, text, sizeof text);
    return nearest_text(text);
}
