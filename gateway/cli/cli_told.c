/* disconnect, unsubscribe, revoke, delete-history: one call each, whose answer is printed as it came. */
#include "../json/json_slice.h"
#include "cli_table.h"
#include "cli_tables.h"
#include "cli_told.h"

#include <ctype.h>
#include <stdio.h>

enum { DEPTH_MAX = 8, TEXT_MAX = 256 };

/* ---- shared ---- */

void fm_cli_percent(struct fm_buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c))
            fm_buf_u8(out, c);
        else
            fm_buf_printf(out, "%%%02X", c);
    }
}

/* A member for people: without control characters. */
static const char *shown(const struct fm_json *object, const char *name, char out[TEXT_MAX])
{
    struct fm_json value;
    struct fm_slice text = FM_LIT("?");
    char space[TEXT_MAX - 1];
    if (fm_json_get(object, fm_slice_str(name), &value) && fm_json_text(&value, space, sizeof space, &text) != FM_OK)
        text = FM_LIT("?");
    for (size_t i = 0; i < text.n && i < sizeof space; i++)
        out[i] = (char)fm_shown(text.p[i]);
    out[text.n < sizeof space ? text.n : sizeof space] = 0;
    return out;
}

bool fm_cli_missing(const struct fm_command *command, const struct fm_json *answer, const char *then)
{
    struct fm_json missing, node;
    char name[TEXT_MAX], why[TEXT_MAX];
    bool any = false;
    if (!fm_json_get(answer, FM_LIT("missing"), &missing))
        return false;
    for (struct fm_json_walk w = fm_json_walk_of(&missing); fm_json_next(&w, NULL, &node); any = true)
        fm_cli_complain(command, "warning: the node %s: %s; %s", shown(&node, "node", name), shown(&node, "why", why), then);
    return any;
}

enum fm_exit fm_cli_print_answer(const struct fm_command *command, const struct fm_call *call)
{
    struct fm_buf line = {0};
    struct fm_slice answer = fm_buf_view(&call->answer);
    while (answer.n && answer.p[answer.n - 1] == '\n')
        answer.n--;
    fm_buf_slice(&line, answer);
    fm_buf_u8(&line, '\n');
    enum fm_exit code = fm_cli_print(command, &line);
    fm_buf_fini(&line);
    return code;
}

/* ---- commands ---- */

static void member(struct fm_buf *body, const char *name, const char *text)
{
    if (!*text)
        return;
    fm_buf_str(body, body->n ? ",\"" : "{\"");
    fm_buf_str(body, name);
    fm_buf_str(body, "\":");
    fm_buf_json(body, fm_slice_str(text));
}

/* Calls, prints, warns. nobody: what to say where no node found anything, NULL: that is nothing strange. */
static enum fm_exit tell(const struct fm_command *command, struct fm_call *call, const char *nobody)
{
    struct fm_json root, count;
    uint64_t n = 1;
    enum fm_exit code = FM_EXIT_FAILED;
    if (!fm_call(command, call)) {
        /* the reason is said */
    } else if (fm_json_parse(fm_buf_view(&call->answer), DEPTH_MAX, &root, NULL) || !fm_json_get(&root, FM_LIT("count"), &count)) {
        fm_cli_complain(command, "the answer holds no count; is this the address of a fanmesh node's API?");
    } else {
        code = fm_cli_print_answer(command, call);
        bool missing = fm_cli_missing(command, &root, "it does this when it is back");
        if (nobody && fm_json_u64(&count, UINT64_MAX, &n) == FM_OK && n == 0)
            fm_cli_complain(command, "warning: %s%s", missing ? "on the nodes that answered " : "", nobody);
    }
    fm_call_fini(call);
    return code;
}

static enum fm_exit post(const struct fm_command *command, struct fm_call *call, struct fm_buf *body, const char *nobody)
{
    enum fm_exit code = FM_EXIT_FAILED;
    fm_buf_u8(body, '}');
    call->body = fm_buf_view(body);
    if (body->failed)
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
    else
        code = tell(command, call, nobody);
    fm_buf_fini(body);
    return code;
}

/* Whom a command is about: its first argument, before `rest` others, which may be left out (NULL) where a connection is named. False: the
 * number of arguments is wrong, which is said. */
static bool whom(const struct fm_command *command, const struct fm_args *args, const char *connection, size_t rest, const char **user)
{
    bool left_out = *connection && args->positionals == rest;
    *user = NULL;
    if (!fm_cli_positionals(command, args, left_out ? rest : rest + 1))
        return false;
    if (!left_out)
        *user = args->positional[0];
    return true;
}

static enum fm_exit disconnect(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_disconnect_options *o = set->base;
    struct fm_call call = {FM_CALL_OF(o), .path = "/api/disconnect", .once = o->key};
    struct fm_buf body = {0};
    const char *user;
    if (!whom(command, args, o->connection, 0, &user) || !fm_cli_connection_good(command, o->connection))
        return FM_EXIT_USAGE;
    member(&body, "user", user ? user : "");
    member(&body, "connection", o->connection);
    member(&body, "reason", o->reason);
    if (!o->reconnect)
        fm_buf_str(&body, ",\"reconnect\":false");
    return post(command, &call, &body,
                !*o->connection ? "nobody of this name is connected; `fanmesh connections` lists who is"
                : user          ? "this user has no such connection; `fanmesh connections` lists who has"
                                : "there is no such connection, or not any more; `fanmesh connections` lists them");
}

static enum fm_exit unsubscribe(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_unsubscribe_options *o = set->base;
    struct fm_call call = {FM_CALL_OF(o), .path = "/api/unsubscribe", .once = o->key};
    struct fm_buf body = {0};
    const char *user;
    if (!whom(command, args, o->connection, 1, &user) || !fm_cli_topic_good(command, args->positional[args->positionals - 1]) ||
        !fm_cli_connection_good(command, o->connection))
        return FM_EXIT_USAGE;
    member(&body, "user", user ? user : "");
    member(&body, "topic", args->positional[args->positionals - 1]);
    member(&body, "connection", o->connection);
    return post(command, &call, &body,
                *o->connection ? "this connection has not joined it, or is not there; `fanmesh connections --topic TOPIC` lists who has"
                               : "nobody of this name has joined it; `fanmesh connections --topic TOPIC` lists who has");
}

static enum fm_exit revoke(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_revoke_options *o = set->base;
    struct fm_call call = {FM_CALL_OF(o), .path = "/api/revoke", .once = o->key};
    struct fm_buf body = {0};
    member(&body, "user", args->positional[0]);
    if (o->issued_until)
        fm_buf_printf(&body, ",\"issued_until\":%llu", (unsigned long long)o->issued_until);
    return post(command, &call, &body, NULL);
}

static enum fm_exit delete_history(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_tell_options *o = set->base;
    struct fm_buf path = {0};
    enum fm_exit code = FM_EXIT_FAILED;
    if (!fm_cli_topic_good(command, args->positional[0]))
        return FM_EXIT_USAGE;
    fm_buf_str(&path, "/api/topics/");
    fm_cli_percent(&path, args->positional[0]);
    fm_buf_str(&path, "/history");
    fm_buf_u8(&path, 0);
    struct fm_call call = {FM_CALL_OF(o), .path = (const char *)path.p, .method = "DELETE", .once = o->key};
    if (path.failed)
        fm_cli_complain(command, "%s", fm_err_text(FM_E_NOMEM));
    else
        code = tell(command, &call, NULL);
    fm_buf_fini(&path);
    return code;
}

enum fm_exit fm_run_disconnect(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_disconnect_options o = {0};
    return fm_cli_run(command, argc, argv, &o, FM_ANY_WORDS, disconnect);
}

enum fm_exit fm_run_unsubscribe(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_unsubscribe_options o = {0};
    return fm_cli_run(command, argc, argv, &o, FM_ANY_WORDS, unsubscribe);
}

enum fm_exit fm_run_revoke(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_revoke_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 1, revoke);
}

enum fm_exit fm_run_delete_history(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_tell_options o = {0};
    return fm_cli_run(command, argc, argv, &o, 1, delete_history);
}
