/* What the settings say of hooks: immutable, counted. Made with each reading of the settings (worker/access.c); the workers go by the one
 * of the access that they have, the hooks' thread by the newest that it was given, and the last to let go frees it. */
#pragma once

#include "../post/question.h"
#include "../settings/settings.h"

#include <stdatomic.h>

struct fm_hook_config {
    atomic_uint refs;
    char *url, *ca, *proxy;
    char *secret;        /* one or several, separated by spaces; each signs. Empty: nothing is signed */
    char *headers;       /* names, each with a zero byte, then an empty one */
    bool connect_asks;   /* it decides who may open a socket */
    bool allows;         /* a question that got no answer is as good as allowed */
    unsigned tells;      /* bits of enum fm_hook_event that it is told of */
    uint32_t client_max; /* pushes of one client that may wait */
    uint32_t timeout_ms, concurrency, retries, batch_ms, batch, open_after, open_ms;
    size_t queue_bytes;  /* of the notices that wait, */
    size_t worker_bytes; /* ... and of the questions of one worker */
    size_t answer_max;
    uint32_t message_max; /* of a payload that it sends in place of another */
    char **printed;       /* each option as it would be written, a secret masked: for the log of a reload */
};

/* -- main -- */

/* *config NULL and FM_OK: there is no hook_url. */
FM_MUST_CHECK enum fm_err fm_hook_config_new(struct fm_hook_config **config, const struct fm_settings *settings);
/* A line in the log for each option that differs; returns how many. Each may be NULL. */
unsigned fm_hook_config_tell(const struct fm_hook_config *before, const struct fm_hook_config *after);

/* -- any thread -- */

/* NULL is passed through. */
struct fm_hook_config *fm_hook_config_ref(struct fm_hook_config *config);
void fm_hook_config_unref(struct fm_hook_config **config);
/* "connect" and so on. */
const char *fm_hook_event_name(enum fm_hook_event event);
