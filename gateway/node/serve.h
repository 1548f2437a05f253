/* What a node says of itself in the log, and its way out, whoever started it.
 *
 * -- main -- */
#pragma once

#include "../../broker/bytes.h"
#include "../../broker/diag.h"

struct fm_node;

/* A line for each of `lines`. */
void fm_serve_log_each(enum fm_diag_level level, const char *event, const struct fm_buf *lines, const char *then);
void fm_serve_log_start(const struct fm_node *node);
/* Balancers first, then clients, then the mesh. signal: what asked for it; NULL: the program. */
void fm_serve_drain(struct fm_node *node, const char *signal);
