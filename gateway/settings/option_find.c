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

static const char *nearest_word(const char *word, const char *const *words, size_t n)
{
    size_t len = strlen(word);
    const char *best = NULL;
    unsigned best_d = len <= 4 ? 2 : len <= 9 ? 3 : 5; /* one less than this is near enough */
    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned d = strlen(words[i]) <= WORD_MAX ? edits(word, words[i]) : UINT32_MAX;
        if (d < best_d) {
            best = words[i];
            best_d = d;
        }
    }
    return best;
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
    return nearest_text(nearest_word(word, words, n));
}

const char *fm_option_nearest(const struct fm_option_set *set, const char *name, bool flag)
{
    const char *names[128];
    size_t n = 0;
    for (size_t i = 0; i < set->n && n < sizeof names / sizeof names[0]; i++)
        names[n++] = set->table[i].name;
    const char *best = nearest_word(name, names, n);
    char text[WORD_MAX + 4];
    if (!best || !flag)
        return nearest_text(best);
    fm_flag_name(best, text, sizeof text);
    return nearest_text(text);
}
