/* What a node can be told anew while it runs: the topics' rules, the API's key, the certificates, the hooks, what makes a token good. Made
 * from settings as a whole or not at all, immutable then, and read by all threads; each takes the new one at a moment of its own
 * (fm_worker_learn, fm_hub_thread_learn), and the old one is freed when none has it any more.
 *
 * -- main -- */
#pragma once

#include "../settings/settings.h"

struct fm_auth;
struct fm_hook_config;
struct fm_tls;

struct fm_access {
    struct fm_rules *rules;
    char *api_key;                /* one or several, separated by spaces; empty: none is needed */
    struct fm_tls *tls;           /* a reference; NULL: clients speak plain text */
    struct fm_auth *auth;         /* NULL: tokens are not read */
    struct fm_hook_config *hooks; /* a reference; NULL: there are none */
};

/* before: what it takes the place of; NULL at the start. Whether there is TLS at all is decided then. FM_E_IO: `why` says which file can't
 * be used. */
FM_MUST_CHECK enum fm_err fm_access_new(struct fm_access **access, const struct fm_settings *settings, const struct fm_access *before,
                                        struct fm_buf *why);
void fm_access_free(struct fm_access **access);

/* Each tells the log, a line a difference, and returns how many there are. */
/* before may be NULL: then all certificates are told, and no other line is. */
unsigned fm_access_tell(const struct fm_access *before, const struct fm_access *after);
/* Of the options that are as they were until the node is started again. */
unsigned fm_settings_kept_tell(const struct fm_settings *running, const struct fm_settings *next);
