/* Writes every message of a topic to standard output, a line each, for another program to read; where it stopped it goes on next time, if
 * it is given the cursor that it printed last.
 *
 *   bridge TOPIC CURSOR|- [NAME=VALUE...]       options of docs/settings.md */
#include <fanmesh/fanmesh.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_notice(const struct fm_notice *n, void *ctx)
{
    char cursor[16384];
    (void)ctx;
    if (n->kind == FM_NOTICE_JOINED)
        printf("joined %s recovered=%d", n->topic, n->recovered);
    else if (n->kind == FM_NOTICE_MESSAGE)
        printf("%s %.*s", n->message->event, (int)n->message->payload_n, (const char *)n->message->payload);
    else if (n->kind == FM_NOTICE_GAP)
        printf("gap %s from=%" PRIu64 " to=%" PRIu64, n->reason, n->from, n->to);
    else
        printf("ended: %s", fm_err_text(n->err));
    if (fm_notice_cursor(n, cursor, sizeof cursor) < sizeof cursor)
        printf(" %s", cursor);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct fm_config *config;
    struct fm_node *node;
    sigset_t ending;
    int signal;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    if (argc < 3 || fm_config_new(&config))
        return 2;
    fm_config_text(config, "[topic \"*\"]\njoin = anyone\nhistory_count = 1000\n");
    for (int i = 3; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = 0;
        fm_config_set(config, argv[i], value ? value : "true");
    }
    if (fm_start(&node, &config))
        return fprintf(stderr, "%s", fm_config_why(config)), 1;
    if (fm_await_ready(node, 10000) || fm_subscribe(node, argv[1], argv[2][0] == '[' ? argv[2] : NULL, 0, on_notice, NULL, NULL))
        return fprintf(stderr, "no subscription to %s\n", argv[1]), 1;
    sigwait(&ending, &signal);
    fm_drain(node);
    return fm_stop(&node) ? 1 : 0;
}
