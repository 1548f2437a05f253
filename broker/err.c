#include "fanmesh/err.h"

static const struct {
    const char *code, *text;
} table[] = {
#define X(name, code, text) {code, text},
    FM_ERR_TABLE(X)
#undef X
};

const char *fm_err_code(enum fm_err err)
{
    return (unsigned)err < FM_ERR_COUNT ? table[err].code : "unknown";
}

const char *fm_err_text(enum fm_err err)
{
    return (unsigned)err < FM_ERR_COUNT ? table[err].text : "unknown error";
}
