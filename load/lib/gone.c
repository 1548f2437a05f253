#include "gone.h"

#include <stdlib.h>

void fm_gone_fini(struct fm_gone *gone)
{
    free(gone->at);
    *gone = (struct fm_gone){0};
}

static enum fm_err add(struct fm_gone *gone, struct fm_slice word)
{
    char text[FM_ID_TEXT_MAX + 1];
    struct fm_id id;
    if (word.n > FM_ORIGIN_TEXT_MAX)
        return FM_E_SYNTAX;
    memcpy(text, word.p, word.n);
    memcpy(text + word.n, "-0", 2);
    if (fm_id_parse(text, word.n + 2, &id) || id.origin == 0)
        return FM_E_SYNTAX;
    uint64_t *at = realloc(gone->at, (gone->n + 1) * sizeof *at);
    if (!at)
        return FM_E_NOMEM;
    gone->at = at;
    gone->at[gone->n++] = id.origin;
    return FM_OK;
}

enum fm_err fm_gone_read(struct fm_gone *gone, struct fm_slice text, unsigned *line)
{
    enum fm_err err = FM_OK;
    *line = 0;
    for (size_t at = 0; at < text.n && !err; at++) {
        size_t from = at;
        while (at < text.n && text.p[at] != '\n')
            at++;
        ++*line;
        if (at > from)
            err = add(gone, fm_slice_of(text.p + from, at - from));
    }
    return err;
}

bool fm_gone_has(const struct fm_gone *gone, uint64_t origin)
{
    for (uint32_t i = 0; i < gone->n; i++)
        if (gone->at[i] == origin)
            return true;
    return false;
}
