/* Publishes a value a second; every browser that joined the topic "ticker" sees it, on this node and on every other of the cluster.
 *
 *   ticker [NAME=VALUE...]      options of docs/settings.md, such as listen=127.0.0.1:4000 */
#include <fanmesh/fanmesh.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void on_signal(int signal)
{
    (void)signal;
    over = 1;
}

int main(int argc, char **argv)
{
    struct fm_config *config;
    struct fm_node *node;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (fm_config_new(&config))
        return 1;
    fm_config_text(config, "[topic \"ticker\"]\njoin = anyone\nhistory_count = 10\n");
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value++ = 0;
        fm_config_set(config, argv[i], value ? value : "true");
    }
    if (fm_start(&node, &config)) {
        fprintf(stderr, "%s", fm_config_why(config));
        fm_config_free(&config);
        return 1;
    }
    for (unsigned value = 1; !over; value++, sleep(1)) {
        char json[64], id[FM_ID_TEXT_MAX + 1];
        struct fm_id at;
        snprintf(json, sizeof json, "{\"value\":%u}", value);
        enum fm_err err = fm_publish_wait(node, &(struct fm_message){.topic = "ticker", .event = "tick", .payload = json}, &at);
        if (err)
            fprintf(stderr, "not published: %s\n", fm_err_text(err)); /* a node that just started may not be ready yet */
        else if (fm_id_print(at, id))
            printf("published %s %s\n", id, json), fflush(stdout);
    }
    fm_drain(node); /* the browsers go to other nodes, and those get what they lack */
    fm_stop(&node);
    return 0;
}
