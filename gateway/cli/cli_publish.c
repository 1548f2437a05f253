#include "cli_http.h"
#include "cli_tables.h"
#include "../json/json_slice.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { PAYLOAD_MAX = FM_PAYLOAD_MAX };

/* The argument, or all of standard input for `-`. */
static bool payload_read(const struct fm_command *command, const char *word, struct fm_buf *out)
{
    if (strcmp(word, "-") != 0) {
        fm_buf_str(out, word);
        return !out->failed;
    }
    ssize_t n;
    do {
        if (!fm_buf_reserve(out, 1 << 16))
            return false;
        n = read(STDIN_FILENO, out->p + out->n, 1 << 16);
        if (n < 0) {
            fm_cli_complain(command, "can't read standard input: %s", strerror(errno));
            return false;
        }
        out->n += (size_t)n;
    } while (n > 0 && out->n <= PAYLOAD_MAX);
    return true;
}

/* The payload goes out as the bytes it came in, so that big numbers and the order of members survive. */
static bool body_make(const struct fm_command *command, const struct fm_publish_options *o, const char *const *words, size_t words_n,
                      struct fm_buf *body)
{
    struct fm_buf payload = {0};
    struct fm_json json;
    struct fm_json_error error = {0};
    bool ok = payload_read(command, words[words_n - 1], &payload);
    if (ok && payload.n > PAYLOAD_MAX) {
        fm_cli_complain(command, "the payload has more than %d bytes, which no node takes", PAYLOAD_MAX);
        ok = false;
    } else if (ok && fm_json_parse(fm_buf_view(&payload), FM_JSON_DEPTH, &json, &error)) {
        fm_cli_complain(command, "the payload is not JSON: %s (byte %zu); a text needs quotes of its own: '\"text\"'", error.what,
                        error.at + 1);
        ok = false;
    }
    if (ok) {
        fm_buf_str(body, *o->user ? "{\"user\":" : "{\"topic\":");
        fm_buf_json(body, fm_slice_str(*o->user ? o->user : words[0]));
        fm_buf_str(body, ",\"event\":");
        fm_buf_json(body, fm_slice_str(words[words_n - 2]));
        fm_buf_str(body, ",\"payload\":");
        fm_buf_slice(body, json.raw);
        if (*o->key) {
            fm_buf_str(body, ",\"key\":");
            fm_buf_json(body, fm_slice_str(o->key));
        }
        if (*o->conflation_key) {
            fm_buf_str(body, ",\"conflation_key\":");
            fm_buf_json(body, fm_slice_str(o->conflation_key));
        }
        fm_buf_str(body, o->ack == FM_ACK_REPLICATED ? ",\"ack\":\"replicated\"}" : "}");
        ok = !body->failed;
    }
    fm_buf_fini(&payload);
    return ok;
}

static enum fm_exit print_id(const struct fm_command *command, struct fm_slice answer)
{
    struct fm_json root, id, duplicate;
    struct fm_slice text;
    char space[FM_ID_TEXT_MAX + 1];
    if (fm_json_parse(answer, FM_JSON_DEPTH, &root, NULL) || !fm_json_get(&root, FM_LIT("id"), &id) ||
        fm_json_text(&id, space, sizeof space, &text)) {
        fm_cli_complain(command, "the answer holds no id; is this the address of a fanmesh node's API?");
        return FM_EXIT_FAILED;
    }
    struct fm_buf line = {0};
    fm_buf_slice(&line, text);
    fm_buf_u8(&line, '\n');
    enum fm_exit code = fm_cli_print(command, &line);
    if (fm_json_get(&root, FM_LIT("duplicate"), &duplicate) && duplicate.type == FM_JSON_TRUE)
        fm_cli_complain(command, "a message with this key was published before; this is its id, and nothing new was published");
    fm_buf_fini(&line);
    return code;
}

/* To a user there is no TOPIC. */
static bool words_good(const struct fm_command *command, const struct fm_publish_options *o, const struct fm_args *args)
{
    if (!*o->user)
        return fm_cli_positionals(command, args, 3) && fm_cli_topic_good(command, args->positional[0]);
    if (args->positionals == 2)
        return true;
    fm_cli_complain(command, "with --user it takes EVENT PAYLOAD, and no TOPIC; %zu argument%s given", args->positionals,
                    args->positionals == 1 ? " was" : "s were");
    return false;
}

static enum fm_exit publish(const struct fm_command *command, struct fm_option_set *set, const struct fm_args *args)
{
    const struct fm_publish_options *o = set->base;
    struct fm_buf body = {0};
    enum fm_exit code = FM_EXIT_USAGE;
    if (words_good(command, o, args) && body_make(command, o, args->positional, args->positionals, &body)) {
        struct fm_call call = {FM_CALL_OF(o), .path = "/api/publish", .body = fm_buf_view(&body)};
        code = fm_call(command, &call) ? print_id(command, fm_buf_view(&call.answer)) : FM_EXIT_FAILED;
        fm_call_fini(&call);
    }
    fm_buf_fini(&body);
    return code;
}

enum fm_exit fm_run_publish(const struct fm_command *command, int argc, char *const *argv)
{
    struct fm_publish_options o = {0};
    return fm_cli_run(command, argc, argv, &o, FM_ANY_WORDS, publish);
}
