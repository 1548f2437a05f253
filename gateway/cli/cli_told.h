/* What the commands to the cluster share with those that list its clients: answers of which some nodes may be missing.
 *
 * -- main -- */
#pragma once

#include "cli_http.h"

struct fm_json;

/* A warning for each entry of an answer's `missing`; then: what that means. Whether there was any. */
bool fm_cli_missing(const struct fm_command *command, const struct fm_json *answer, const char *then);
/* Appends a name as a path or a query holds it: percent-encoded. */
void fm_cli_percent(struct fm_buf *out, const char *text);
/* Prints an answer as the one line of JSON that it is. */
enum fm_exit fm_cli_print_answer(const struct fm_command *command, const struct fm_call *call);
