/* For embed.test.mjs: a program whose handlers answer in every way there is, by the event of a push and the parameters of a join. What it
 * sees itself goes to standard output. Arguments: NAME=VALUE options. */
#include <fanmesh/fanmesh.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct later {
    struct fm_node *node;
    uint64_t token;
};

/* Threads that answer must have ended before the node is stopped: how many there are, and whether none may begin any more. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static unsigned laters;
static int closing;

static void *answer_later(void *ctx)
{
    struct later *l = ctx;
    usleep(20000);
    if (fm_allow(l->node, l->token, "{\"later\":true}"))
        abort();
    free(l);
    pthread_mutex_lock(&lock);
    laters--;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void later(struct fm_node *node, uint64_t token)
{
    struct later *l = malloc(sizeof *l);
    pthread_t thread;
    if (!l)
        abort();
    *l = (struct later){node, token};
    pthread_mutex_lock(&lock);
    if (closing) {
        free(l); /* the token can be dropped */
    } else {
        if (pthread_create(&thread, NULL, answer_later, l))
            abort();
        pthread_detach(thread);
        laters++;
    }
    pthread_mutex_unlock(&lock);
}

static void laters_end(void)
{
    pthread_mutex_lock(&lock);
    closing = 1;
    while (laters > 0)
        pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
}

/* The callback thread is busy until there is a file that the push names: {"until":"/path"}. No worker is. */
static void be_slow(const char *payload)
{
    char path[256];
    if (sscanf(payload, "{\"until\":\"%255[^\"]\"}", path) != 1)
        abort();
    while (access(path, F_OK) != 0)
        usleep(10000);
}

static void refuse_with(struct fm_node *node, uint64_t token, enum fm_err err)
{
    char json[128];
    snprintf(json, sizeof json, "{\"reason\":\"%s\"}", fm_err_code(err));
    if (fm_refuse(node, token, json))
        abort();
}

static void on_join(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    char json[512];
    (void)ctx;
    if (q->kind != FM_QUESTION_JOIN || strcmp(q->event, "phx_join") != 0)
        abort();
    snprintf(json, sizeof json, "{\"topic\":\"%s\",\"query\":\"%s\",\"origin\":\"%s\",\"params\":%s,\"local\":%s}", q->topic, q->query,
             q->origin, q->payload, strncmp(q->peer, "127.0.0.1:", 10) == 0 ? "true" : "false");
    if (strstr(q->payload, "\"never\""))
        return;
    if (strstr(q->payload, "\"later\""))
        later(node, q->token);
    else if (strstr(q->payload, "\"rewrite\""))
        (void)fm_rewrite(node, q->token, &(struct fm_message){.event = "x"}, NULL);
    else if (fm_allow(node, q->token, json))
        abort();
}

static void nobody(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    (void)ctx;
    if (fm_refuse(node, q->token, NULL))
        abort();
}

static void on_push(struct fm_node *node, const struct fm_question *q, void *ctx)
{
    static const char bytes[] = "\x00\x01\x02";
    (void)ctx;
    if (strcmp(q->event, "never") == 0)
        return;
    if (strcmp(q->event, "later") == 0) {
        later(node, q->token);
    } else if (strcmp(q->event, "twice") == 0) {
        (void)fm_reply(node, q->token, " {\"answer\":1}\n");
        (void)fm_reply(node, q->token, "{\"answer\":2}");
    } else if (strcmp(q->event, "bytes") == 0) {
        (void)fm_rewrite(node, q->token, &(struct fm_message){.event = "bytes", .payload = bytes, .payload_n = 3, .binary = 1},
                         "{\"sent\":3}");
    } else if (strcmp(q->event, "bad_reply") == 0) {
        refuse_with(node, q->token, fm_reply(node, q->token, "[]"));
    } else if (strcmp(q->event, "bad_json") == 0) {
        refuse_with(node, q->token, fm_allow(node, q->token, "{"));
    } else if (strcmp(q->event, "bad_event") == 0) {
        refuse_with(node, q->token, fm_rewrite(node, q->token, &(struct fm_message){.event = "phx_error"}, NULL));
    } else if (strcmp(q->event, "large") == 0) {
        static char text[2000];
        memset(text, 'x', sizeof text - 1);
        text[0] = text[sizeof text - 2] = '"';
        (void)fm_rewrite(node, q->token, &(struct fm_message){.event = "large", .payload = text}, NULL);
    } else if (strcmp(q->event, "slow") == 0) {
        be_slow(q->payload);
        (void)fm_reply(node, q->token, NULL);
    } else {
        (void)fm_allow(node, q->token, "{\"seen\":true}");
    }
}

int main(int argc, char **argv)
{
    struct fm_config *config;
    if (fm_config_new(&config))
        return 1;
    fm_config_text(config, "[topic \"room:*\"]\njoin = anyone\npush = anyone\nhistory_count = 100\nmessage_max = 1000\n"
                           "[topic \"shut:*\"]\njoin = nobody\n"
                           "[topic \"free:*\"]\njoin = anyone\npush = anyone\n"
                           "[topic \"asked:*\"]\njoin = anyone\npush = anyone\n");
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return 2;
        *value++ = 0;
        fm_config_set(config, argv[i], value);
    }
    fm_config_on_join(config, "room:*", on_join, NULL);
    fm_config_on_join(config, "shut:*", on_join, NULL);
    fm_config_on_join(config, "room:closed", nobody, NULL);
    fm_config_on_join(config, "asked:closed", nobody, NULL); /* and what is pushed there is not asked about */
    fm_config_on_join(config, "asked:*", on_join, NULL);
    fm_config_on_push(config, "room:*", on_push, NULL);
    struct fm_node *node;
    sigset_t end;
    int signal;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    if (fm_start(&node, &config)) {
        fprintf(stderr, "%s", fm_config_why(config));
        fm_config_free(&config);
        return 1;
    }
    sigwait(&end, &signal);
    fm_drain(node);
    laters_end();
    fm_stop(&node);
    return 0;
}
