/* What the scenes about presences share: who shows itself, and what a node makes of it.
 *
 * -- owner only -- */
#pragma once

#include "sim_scene.h"

/* In scene_room, as worker 0. The caller posts it. */
struct fm_track *scene_track(enum fm_track_op op, uint64_t holder, const char *key, const char *meta);
void scene_track_post(struct scene_node *n, struct fm_track *t);
void scene_show(struct scene_node *n, uint64_t holder, const char *key, const char *meta);
/* Its connection is gone, and may be back. */
void scene_lose(struct scene_node *n, uint64_t holder);
void scene_unshow(struct scene_node *n, uint64_t holder);
/* What the API was asked for. */
enum fm_err scene_show_for(struct scene_node *n, const char *key, const char *meta, uint64_t ttl_ms);
/* "3 of 2": presences and keys, as the node answers over HTTP; good until the next call. */
const char *scene_count(struct scene_node *n);
/* All three nodes, until they know each other. */
void scene_start_three(struct scene_node **a, struct scene_node **b, struct scene_node **c);
/* The worker is told of changes from now on. */
void scene_watch(struct scene_node *n);
/* The payload of the next diff, "" if there is none; good until the next call. */
const char *scene_diff(struct scene_node *n);
