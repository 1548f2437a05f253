/* The option tables of the commands, and the structs that they fill. */
#pragma once

#include "cli.h"
#include "../settings/settings.h"

#define X(group, type, name, min, max, def, help) FM_FIELD_##type name;
struct fm_publish_options {
    FM_OPTIONS_PUBLISH(X)
};
struct fm_subscribe_options {
    FM_OPTIONS_SUBSCRIBE(X)
};
struct fm_status_options {
    FM_OPTIONS_STATUS(X)
};
struct fm_topics_options {
    FM_OPTIONS_TOPICS(X)
};
struct fm_connections_options {
    FM_OPTIONS_CONNECTIONS(X)
};
struct fm_present_options {
    FM_OPTIONS_PRESENT(X)
};
struct fm_disconnect_options {
    FM_OPTIONS_DISCONNECT(X)
};
struct fm_unsubscribe_options {
    FM_OPTIONS_UNSUBSCRIBE(X)
};
struct fm_revoke_options {
    FM_OPTIONS_REVOKE(X)
};
struct fm_tell_options {
    FM_OPTIONS_TELL(X)
};
struct fm_sign_options {
    FM_OPTIONS_SIGN(X)
};
struct fm_help_options {
    FM_OPTIONS_HELP(X)
};
#undef X

enum {
#define X(...) +1
    FM_PUBLISH_OPTIONS_N = 0 FM_OPTIONS_PUBLISH(X),
    FM_SUBSCRIBE_OPTIONS_N = 0 FM_OPTIONS_SUBSCRIBE(X),
    FM_STATUS_OPTIONS_N = 0 FM_OPTIONS_STATUS(X),
    FM_TOPICS_OPTIONS_N = 0 FM_OPTIONS_TOPICS(X),
    FM_CONNECTIONS_OPTIONS_N = 0 FM_OPTIONS_CONNECTIONS(X),
    FM_PRESENT_OPTIONS_N = 0 FM_OPTIONS_PRESENT(X),
    FM_DISCONNECT_OPTIONS_N = 0 FM_OPTIONS_DISCONNECT(X),
    FM_UNSUBSCRIBE_OPTIONS_N = 0 FM_OPTIONS_UNSUBSCRIBE(X),
    FM_REVOKE_OPTIONS_N = 0 FM_OPTIONS_REVOKE(X),
    FM_TELL_OPTIONS_N = 0 FM_OPTIONS_TELL(X),
    FM_SIGN_OPTIONS_N = 0 FM_OPTIONS_SIGN(X),
    FM_HELP_OPTIONS_N = 0 FM_OPTIONS_HELP(X),
#undef X
};

extern const struct fm_option fm_publish_options[], fm_subscribe_options[], fm_status_options[], fm_topics_options[],
    fm_connections_options[], fm_present_options[], fm_disconnect_options[], fm_unsubscribe_options[], fm_revoke_options[],
    fm_tell_options[], fm_sign_options[], fm_help_options[];

/* What the table of commands says of each. */
#define FM_OPTIONS_OF_serve fm_options, FM_OPTIONS_N
#define FM_OPTIONS_OF_publish fm_publish_options, FM_PUBLISH_OPTIONS_N
#define FM_OPTIONS_OF_subscribe fm_subscribe_options, FM_SUBSCRIBE_OPTIONS_N
#define FM_OPTIONS_OF_status fm_status_options, FM_STATUS_OPTIONS_N
#define FM_OPTIONS_OF_topics fm_topics_options, FM_TOPICS_OPTIONS_N
#define FM_OPTIONS_OF_connections fm_connections_options, FM_CONNECTIONS_OPTIONS_N
#define FM_OPTIONS_OF_presence fm_present_options, FM_PRESENT_OPTIONS_N
#define FM_OPTIONS_OF_disconnect fm_disconnect_options, FM_DISCONNECT_OPTIONS_N
#define FM_OPTIONS_OF_unsubscribe fm_unsubscribe_options, FM_UNSUBSCRIBE_OPTIONS_N
#define FM_OPTIONS_OF_revoke fm_revoke_options, FM_REVOKE_OPTIONS_N
#define FM_OPTIONS_OF_delete_history fm_tell_options, FM_TELL_OPTIONS_N
#define FM_OPTIONS_OF_check_config fm_options, FM_OPTIONS_N
#define FM_OPTIONS_OF_token__sign fm_sign_options, FM_SIGN_OPTIONS_N
#define FM_OPTIONS_OF_token__verify fm_options, FM_OPTIONS_N
#define FM_OPTIONS_OF_version NULL, 0
#define FM_OPTIONS_OF_help fm_help_options, FM_HELP_OPTIONS_N

/* The settings of serve and check-config, from all sources. As fm_cli_options; the caller ends with fm_settings_fini and fm_args_fini.
 * Warnings are left in the report. */
FM_MUST_CHECK enum fm_exit fm_cli_settings(const struct fm_command *command, struct fm_settings *s, struct fm_report *report,
                                           struct fm_args *args, int argc, char *const *argv, bool *go);
/* `help`, apart from its options. */
enum fm_exit fm_cli_help_command(const struct fm_command *self, const char *word, bool markdown);
