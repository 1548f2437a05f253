/* Decides who joins the rooms and what becomes of what they push: allows, refuses with a reason, replies, rewrites. A browser joins with
 * params {"name":"..."}; "mallory" is refused. Of its pushes "shout" is rewritten, "time" only answered, "spam" refused, others go out.
 *
 *   guard [NAME=VALUE...]       options of docs/settings.md */
#include <fanmesh/fanmesh.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

static void on_join(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    (void)ctx;
    printf("join %s by %s: %s\n", q->topic, q->peer, q->payload), fflush(stdout);
    if (strstr(q->payload, "\"mallory\""))
        fm_refuse(node, q->token, "{\"reason\":\"not you\"}");
    else
        fm_allow(node, q->token, "{\"motto\":\"be kind\"}");
}

static void on_push(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    char json[64];
    (void)ctx;
    if (strcmp(q->event, "spam") == 0) {
        fm_refuse(node, q->token, "{\"reason\":\"no spam\"}");
    } else if (strcmp(q->event, "time") == 0) {
        snprintf(json, sizeof json, "{\"unix\":%lld}", (long long)time(NULL));
        fm_reply(node, q->token, json);
    } else if (strcmp(q->event, "shout") == 0) {
        fm_rewrite(node, q->token, &(struct fm_message){.event = "said", .payload = q->payload, .payload_n = q->payload_n}, NULL);
    } else {
        fm_allow(node, q->token, NULL);
    }
}

int main(int argc, char **argv)
{
    struct fm_config *config;
    if (fm_config_new(&config))
        return 1;
    fm_config_text(config, "[topic \"room:*\"]\njoin = anyone\npush = anyone\nhistory_count = 100\n");
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = 0;
        fm_config_set(config, argv[i], value ? value : "true");
    }
    fm_config_on_join(config, "room:*", on_join, NULL);
    fm_config_on_push(config, "room:*", on_push, NULL);
    enum fm_err err = fm_serve(&config); /* until TERM or INT */
    fprintf(stderr, "%s", config ? fm_config_why(config) : "");
    fm_config_free(&config);
    return err ? 1 : 0;
}
