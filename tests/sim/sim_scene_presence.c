#include "sim_scene_presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct fm_track *scene_track(enum fm_track_op op, uint64_t holder, const char *key, const char *meta)
{
    const struct fm_track_parts parts = {.topic = scene_room, .key = fm_slice_str(key), .meta = fm_slice_str(meta)};
    struct fm_track *t = fm_track_new(op, 0, holder, &parts);
    assert_non_null(t);
    return t;
}

void scene_track_post(struct scene_node *n, struct fm_track *t)
{
    fm_hub_handle(n->hub, scene_now(n), &t->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
}

void scene_show(struct scene_node *n, uint64_t holder, const char *key, const char *meta)
{
    scene_track_post(n, scene_track(FM_TRACK, holder, key, meta));
}

void scene_lose(struct scene_node *n, uint64_t holder)
{
    scene_track_post(n, scene_track(FM_TRACK_LINGER, holder, "", ""));
}

void scene_unshow(struct scene_node *n, uint64_t holder)
{
    scene_track_post(n, scene_track(FM_UNTRACK, holder, "", ""));
}

enum fm_err scene_show_for(struct scene_node *n, const char *key, const char *meta, uint64_t ttl_ms)
{
    struct fm_track *t = scene_track(FM_TRACK, 0, key, meta);
    t->token = 1;
    t->ttl_ms = ttl_ms;
    scene_track_post(n, t);
    t = scene_next(n, FM_HUB_TRACK);
    assert_non_null(t);
    enum fm_err err = t->err;
    fm_hub_item_free(&t->item);
    return err;
}

const char *scene_count(struct scene_node *n)
{
    static char text[64];
    struct fm_query *q = fm_query_new(0, 1, FM_QUERY_PRESENCE, scene_room, (struct fm_slice){0});
    assert_non_null(q);
    fm_hub_handle(n->hub, scene_now(n), &q->item);
    (void)fm_hub_flush(n->hub, scene_now(n));
    q = scene_next(n, FM_HUB_QUERY);
    assert_true(q && q->err == FM_OK);
    unsigned presences = 0, keys = 0;
    fm_buf_u8(&q->json, 0);
    const char *at = strstr((const char *)q->json.p, "\"presences\"");
    assert_true(at && sscanf(at, "\"presences\":%u,\"keys\":%u", &presences, &keys) == 2);
    (void)snprintf(text, sizeof text, "%u of %u", presences, keys);
    fm_query_free(&q);
    return text;
}

void scene_start_three(struct scene_node **a, struct scene_node **b, struct scene_node **c)
{
    *a = scene_start(0);
    *b = scene_start(1);
    *c = scene_start(2);
    scene_run(5000);
    assert_true(scene_peers(*a) == 2 && scene_peers(*b) == 2 && scene_peers(*c) == 2);
}

void scene_watch(struct scene_node *n)
{
    scene_track_post(n, scene_track(FM_PRESENCE_WATCH, 0, "", ""));
    struct fm_presence_state *s = scene_next(n, FM_HUB_PRESENCE);
    assert_non_null(s);
    fm_hub_item_free(&s->item);
}

const char *scene_diff(struct scene_node *n)
{
    static char text[1024];
    struct fm_msg_item *it = scene_next(n, FM_HUB_MSG);
    text[0] = 0;
    if (it) {
        struct fm_slice payload = fm_msg_payload(it->msg);
        (void)snprintf(text, sizeof text, "%.*s", (int)payload.n, (const char *)payload.p);
        fm_hub_item_free(&it->item);
    }
    return text;
}
