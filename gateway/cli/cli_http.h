/* One HTTP call to a node, for the client commands.
 *
 * -- main -- */
#pragma once

#include "cli.h"

enum { FM_CALL_ANSWER_MAX = 64 << 20 };

struct fm_call {
    const char *url;  /* of the API, as given by the user */
    const char *path; /* begins with '/' */
    const char *key;  /* of the API; empty: none */
    uint64_t timeout_ms;
    struct fm_slice body; /* JSON to POST; p == NULL: a GET, or what `method` says */
    const char *method;   /* NULL: as above */
    const char *once;     /* an idempotency key; NULL or empty: none */
    /* out */
    unsigned status;
    struct fm_buf answer;
};

/* Its members that every table of options fills (FM_OPTIONS_CALL). */
#define FM_CALL_OF(o) .url = (o)->api_url, .key = (o)->api_key, .timeout_ms = (o)->timeout_ms

/* False: there was no answer with a status of 200; one line says why, with the server's own code and sentence where it gave them. */
FM_MUST_CHECK bool fm_call(const struct fm_command *command, struct fm_call *call);
void fm_call_fini(struct fm_call *call);
/* Whether a call can be sent there at all; else one line says what is wrong with it. option: where it was given. */
FM_MUST_CHECK bool fm_cli_api_url_good(const struct fm_command *command, const char *option, const char *url);

enum { FM_ERROR_TEXT_MAX = 1024 };

/* {"error":{"code","message"}} as `code: message`. False: it is not that. */
FM_MUST_CHECK bool fm_cli_error_text(struct fm_slice answer, char *out, size_t size);
