/* The command line: `fanmesh COMMAND [OPTION...] [ARGUMENT...]`. A command is one row of the table, `__` in its name a space, `_` a dash;
 * its options are a table of option.h.
 *
 * Exit codes, of every command: 0 it did what was asked; 1 it could not (the node is not there, a port is taken, the server refused);
 * 2 the command line, the environment or the settings file is wrong, and nothing was started or sent.
 *
 * -- main -- */
#pragma once

#include "../settings/option.h"

enum fm_exit { FM_EXIT_OK = 0, FM_EXIT_FAILED = 1, FM_EXIT_USAGE = 2 };

struct fm_command {
    const char *name, *arguments, *prose;
    enum fm_exit (*run)(const struct fm_command *command, int argc, char *const *argv);
    const struct fm_option *options;
    size_t options_n;
};

#define FM_COMMANDS(X) \
    X(serve, "", \
      "Runs a node until TERM or INT. It then drains: readiness turns false, clients are sent away (1012) over drain_ms, other " \
      "nodes get what they lack. A second TERM or INT ends it at once.") \
    X(publish, "TOPIC EVENT PAYLOAD", \
      "Publishes one message through a node's HTTP API and prints its id. PAYLOAD is JSON, or - to read it " \
      "from standard input. With --user there is no TOPIC.") \
    X(subscribe, "TOPIC", \
      "Joins a topic and prints each message as one line of JSON, and resumes without loss when the connection " \
      "breaks. Ends after --count messages, or at INT.") \
    X(status, "", \
      "Prints what is wrong, if anything is, a row for each node of the cluster, and what the asked node does. Exit codes: 0, the node " \
      "answered (with --check: and all is well); 1, it did not answer (with --check: or something is wrong).") \
    X(topics, "", \
      "Lists the topics that a node knows: how many of its own clients have joined each, and how many messages its history holds.") \
    X(connections, "", \
      "Lists who is connected to the nodes of the cluster, or has joined a topic. USER is - where nobody said whose it is.") \
    X(presence, "TOPIC", \
      "Lists who is present on a topic, on all nodes. PRESENCES is how often (once for each connection, say), METAS what is shown of " \
      "each.") \
    X(disconnect, "USER", \
      "Closes the connections of a user, on all nodes, and prints the API's answer as one line of JSON: how many there were, on which " \
      "nodes. Nodes that could not be asked are in its `missing`; they do it when they are back. With --connection USER may be left out.") \
    X(unsubscribe, "USER TOPIC", \
      "Ends a user's channels of a topic, on all nodes. It prints what disconnect prints. With --connection USER may be left out.") \
    X(revoke, "USER", \
      "Revokes the tokens of a user that were made until now, on all nodes, and closes the connections made with them. It prints what " \
      "disconnect prints.") \
    X(delete_history, "TOPIC", \
      "Deletes what all nodes remember of a topic. It prints what disconnect prints; a message that three nodes had counts three.") \
    X(check_config, "", "Reads the settings as serve would and prints them, each with where it comes from, or every error.") \
    X(token__sign, "", \
      "Prints a token, signed with a secret or a private key: for trying things out, and for scripts. A real backend signs its own.") \
    X(token__verify, "", \
      "Reads a token from standard input and says whether a node with these settings takes it, whose it is and what it grants; else what " \
      "is " \
      "wrong with it.") \
    X(version, "", "Prints the version.") \
    X(help, "[COMMAND|options|metrics]", \
      "Prints help. `help options --markdown` makes docs/settings.md, `help metrics --markdown` docs/metrics.md.")

#define X(name, arguments, prose) enum fm_exit fm_run_##name(const struct fm_command *command, int argc, char *const *argv);
FM_COMMANDS(X)
#undef X

/* Runs the command that argv names. */
enum fm_exit fm_cli_main(int argc, char *const *argv);
void fm_cli_help(struct fm_buf *out, const struct fm_command *command);

/* ---- for commands ---- */

/* A client command's options from environment and command line. Returns FM_EXIT_OK with *go: the base is filled; without: help was
 * printed. FM_EXIT_USAGE: errors were printed. The caller ends with fm_options_fini on the base either way. */
FM_MUST_CHECK enum fm_exit fm_cli_options(const struct fm_command *command, struct fm_option_set *set, struct fm_args *args, int argc,
                                          char *const *argv, bool *go);
/* A client command from its options to its end: `work` gets them in set->base, which the caller has zeroed, and exactly so many arguments;
 * FM_ANY_WORDS: it counts them itself. */
typedef enum fm_exit fm_work_fn(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args);
#define FM_ANY_WORDS SIZE_MAX
enum fm_exit fm_cli_run(const struct fm_command *command, int argc, char *const *argv, void *base, size_t words, fm_work_fn *work);
/* Exactly n positionals, or a line that says what they are. */
FM_MUST_CHECK bool fm_cli_positionals(const struct fm_command *command, const struct fm_args *args, size_t n);
/* One topic, no pattern; else a line says so. A node takes a topic `room:*` for one of this name, where whoever wrote it meant several. */
FM_MUST_CHECK bool fm_cli_topic_good(const struct fm_command *command, const char *topic);
/* The name of a connection, or empty; else a line says so. */
FM_MUST_CHECK bool fm_cli_connection_good(const struct fm_command *command, const char *connection);
/* Prints each line of a report as `fanmesh COMMAND: line` to stderr. */
void fm_cli_report(const struct fm_command *command, const struct fm_buf *lines, const char *kind);
/* A URL for a message, in quotes if need be: without what may be secret, its query and who it logs in as. Returns out. */
const char *fm_cli_url(char *out, size_t size, const char *url);
/* One line to stderr: `fanmesh COMMAND: sentence`. */
void fm_cli_complain(const struct fm_command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes to stdout. FM_EXIT_FAILED: it can't be written. */
enum fm_exit fm_cli_print(const struct fm_command *command, const struct fm_buf *text);
