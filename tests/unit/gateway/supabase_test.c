/* Supabase's dialect on channels: what a join asks for, what broadcasts look like, and what is answered. */
#include "phoenix_fixture.h"

#include "../../../gateway/supabase/supabase.h"

#define TOPIC "realtime:a"
#define JOIN(config) "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{\"config\":" config "}]"
#define OK_REPLY(members) "[\"1\",\"1\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{" members "}}]\n"
#define SYSTEM(members) "[\"1\",null,\"" TOPIC "\",\"system\",{" members "}]\n"

static void joined(struct fm_socket *s, const char *frame)
{
    in(s, frame);
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    out(s, OK_REPLY("\"postgres_changes\":[]"));
}

static struct fm_msg *said(const char *event, struct fm_slice payload, bool binary, uint64_t ts_ms)
{
    struct fm_msg *m = fm_msg_new(FM_LIT(TOPIC), fm_slice_str(event), (struct fm_msg_keys){0}, payload, binary ? FM_MSG_BINARY : 0);
    assert_non_null(m);
    fm_msg_accept(m, (struct fm_id){62, 7}, 6, ts_ms);
    return m;
}

/* ---- joins ---- */

static void a_join_with_config_makes_a_channel_of_the_dialect(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{\"broadcast\":{\"ack\":false,\"self\":false},\"presence\":{\"key\":\"\",\"enabled\":false},"
                   "\"postgres_changes\":[],\"private\":false}"));
    assert_true(fm_supabase_is(s->subs));
    assert_int_equal(s->format, FM_FORMAT_SUPA2);
    assert_int_equal(s->subs->own, FM_OWN_NO);
    fm_socket_leave(s, s->subs, NULL);
    joined(s, JOIN("{\"broadcast\":{\"ack\":true,\"self\":\"true\"}}"));
    assert_int_equal(s->subs->own, FM_OWN_YES);
    assert_int_equal(s->subs->flags, FM_SUPABASE | FM_SUPABASE_ACK);
    fm_socket_leave(s, s->subs, NULL);
    joined(s, JOIN("null"));
    assert_true(fm_supabase_is(s->subs));
}

static void without_config_or_on_another_topic_a_channel_is_phoenix(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    out(s, OK_REPLY(""));
    assert_false(fm_supabase_is(s->subs));
    assert_int_equal(s->subs->own, FM_OWN_BY_RULE);
    in(s, "[\"2\",\"2\",\"room:1\",\"phx_join\",{\"config\":{\"broadcast\":{\"ack\":true}},\"cursor\":[]}]");
    assert_int_equal(s->format, FM_FORMAT_PHX2_CURSOR);
    assert_false(fm_supabase_is(s->subs));
}

static void joins_that_make_no_sense_are_refused_with_a_reason(void **state)
{
    struct fm_socket *s = *state;
    static const struct {
        const char *config, *reason;
    } cases[] = {
        {"5", "InvalidJoinPayload: config must be an object"},
        {"{\"broadcast\":[]}", "InvalidJoinPayload: broadcast must be an object"},
        {"{\"broadcast\":{\"ack\":1}}", "InvalidJoinPayload: broadcast.ack and broadcast.self must be true or false"},
        {"{\"broadcast\":{\"self\":\"yes\"}}", "InvalidJoinPayload: broadcast.ack and broadcast.self must be true or false"},
        {"{\"broadcast\":{\"replay\":true}}", "UnableToReplayMessages: Replay params are not valid"},
        {"{\"broadcast\":{\"replay\":{\"since\":-1}}}", "UnableToReplayMessages: Replay params are not valid"},
        {"{\"broadcast\":{\"replay\":{\"since\":1.5}}}", "UnableToReplayMessages: Replay params are not valid"},
        {"{\"broadcast\":{\"replay\":{\"limit\":\"1\"}}}", "UnableToReplayMessages: Replay params are not valid"},
        {"{\"presence\":1}", "InvalidJoinPayload: presence must be an object"},
        {"{\"presence\":{\"enabled\":2}}", "InvalidJoinPayload: presence.enabled must be true or false"},
        {"{\"presence\":{\"key\":7}}", "InvalidJoinPayload: presence.key must be a string of at most 255 bytes"},
        {"{\"postgres_changes\":{}}", "InvalidJoinPayload: postgres_changes must be an array of objects"},
        {"{\"postgres_changes\":[null]}", "InvalidJoinPayload: postgres_changes must be an array of objects"},
        {"{\"private\":0}", "InvalidJoinPayload: private must be true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char frame[256], reply[256];
        snprintf(frame, sizeof frame, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{\"config\":%s}]", cases[i].config);
        snprintf(reply, sizeof reply, "[\"1\",\"1\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"%s\"}}]\n",
                 cases[i].reason);
        in(s, frame);
        out(s, reply);
        assert_null(s->subs);
    }
    in(s, "[\"1\",\"1\",\"realtime:\",\"phx_join\",{\"config\":{}}]");
    out(s,
        "[\"1\",\"1\",\"realtime:\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"TopicNameRequired: You must provide a "
        "topic name\"}}]\n");
    in(s, "[\"1\",\"1\",\"nope\",\"phx_join\",{\"config\":{}}]");
    out(s, "[null,\"1\",\"nope\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]\n");
}

#define CHANGE(type, row) "{\"schema\":\"public\",\"table\":\"t\",\"type\":\"" type "\"," row "}"
#define GIVEN(id, type, row, old) \
    "{\"ids\":[" id "],\"data\":{\"schema\":\"public\",\"table\":\"t\",\"type\":\"" type "\",\"record\":" row ",\"old_record\":" old \
    ",\"columns\":[],\"commit_timestamp\":\"1970-01-01T00:00:00.005Z\",\"errors\":null}}"

/* Of an entry `text`, as the answers of joins have it. */
static void id_print(char id[16], const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    snprintf(id, 16, "%u", hash >> 1);
}

static void changes_are_answered_with_ids_and_given_to_whoever_wants_them_replayed_ones_too(void **state)
{
    struct fm_socket *s = *state;
    const char *entry = "{\"event\":\"INSERT\",\"schema\":\"public\"}";
    char frame[512], id[16], any[16], given[512], wanted[2048];
    id_print(id, entry);
    id_print(any, "{}");
    snprintf(frame, sizeof frame, JOIN("{\"postgres_changes\":[%s,{},%s],\"presence\":{\"key\":\"k\",\"enabled\":false}}"), entry, entry);
    in(s, frame);
    struct fm_msg *live[] = {said("postgres_changes", FM_LIT(CHANGE("DELETE", "\"old_record\":{\"n\":1}")), false, 5),
                             said("postgres_changes", FM_LIT("{\"no\":\"change\"}"), false, 5)};
    struct fm_msg *msgs[] = {said("postgres_changes", FM_LIT(CHANGE("INSERT", "\"record\":{}")), false, 5), fm_msg_ref(live[0])};
    answer(s, TOPIC, "a-1", "a-2", true, msgs, 2);
    snprintf(wanted, sizeof wanted, "\"postgres_changes\":[%.*s,\"id\":%s},{\"id\":%s},%.*s,\"id\":%s}]", (int)strlen(entry) - 1, entry, id,
             any, (int)strlen(entry) - 1, entry, id);
    char all[4096];
    int n = snprintf(all, sizeof all,
                     OK_REPLY("%s")
                         SYSTEM("\"extension\":\"postgres_changes\",\"status\":\"ok\",\"message\":\"Subscribed: this server follows no "
                                "database, what comes is what a backend publishes on this channel\",\"channel\":\"a\""),
                     wanted);
    snprintf(given, sizeof given, "[null,null,\"" TOPIC "\",\"postgres_changes\"," GIVEN("%s,%s,%s", "INSERT", "{}", "{}") "]\n", id, any,
             id);
    n += snprintf(all + n, sizeof all - (size_t)n, "%s", given);
    snprintf(given, sizeof given, "[null,null,\"" TOPIC "\",\"postgres_changes\"," GIVEN("%s", "DELETE", "{}", "{\"n\":1}") "]\n", any);
    snprintf(all + n, sizeof all - (size_t)n, "%s", given);
    out(s, all);
    struct fm_frames f = {0};
    assert_true(s->subs->chooses && fm_phoenix.chosen(live[0]));
    fm_phoenix.encode_for(&f, s->subs, live, 2);
    frames_record(s, &f);
    snprintf(all, sizeof all,
             "%s<040a100d017265616c74696d653a61706f7374677265735f6368616e676573"
             "7b226964223a2231302d37227d7b226e6f223a226368616e6765227d>\n",
             given);
    out(s, all); /* what came past the check is not lost, but is no change */
    fm_frames_reset(&f);
    fm_phoenix.encode(&f, FM_FORMAT_SUPA2, live, 1, &(struct fm_vector){0});
    assert_int_equal(f.n + f.bytes.n, 0); /* for those who want none */
    fm_frames_fini(&f);
    fm_msg_unref(&live[0]);
    fm_msg_unref(&live[1]);
}

static void a_replay_is_the_newest_since_a_time_and_says_that_it_is_one(void **state)
{
    struct fm_socket *s = *state;
    in(s, JOIN("{\"private\":true,\"broadcast\":{\"replay\":{\"since\":1700000000000,\"limit\":3}}}"));
    assert_int_equal(s->last, 3);
    assert_false(s->has_cursor);
    struct fm_msg *msgs[] = {said("old", FM_LIT("0"), false, 1699999999999), said("one", FM_LIT("{}"), false, 1700000000000),
                             said("two", FM_LIT("\x01"), true, 1700000000001)};
    answer(s, TOPIC, "a-1", "a-1", true, msgs, 3);
    out(s, OK_REPLY("\"postgres_changes\":[]") "<040a031d017265616c74696d653a616f6e657b226964223a2231302d37222c227265706c61796564223a747275"
                                               "657d7b7d>\n"
                                               "<040a031d007265616c74696d653a6174776f7b226964223a2231302d37222c227265706c61796564223a747275"
                                               "657d01>\n");
    fm_socket_leave(s, s->subs, NULL);
    in(s, JOIN("{\"broadcast\":{\"replay\":{}}}"));
    assert_int_equal(s->last, 25);
}

static void what_a_rejoin_missed_is_no_replay(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    vector_read(&sent, "a-1");
    in(s, "[\"2\",\"2\",\"" TOPIC "\",\"phx_join\",{\"config\":{}}]");
    out(s, "[\"1\",\"1\",\"" TOPIC "\",\"phx_close\",{}]\n");
    assert_true(s->has_cursor);
    struct fm_msg *msgs[] = {said("one", FM_LIT("{}"), false, 5)};
    answer(s, TOPIC, "a-1", "a-2", true, msgs, 1);
    out(s, "[\"2\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}]\n"
           "<040a030d017265616c74696d653a616f6e657b226964223a2231302d37227d7b7d>\n");
}

/* ---- messages ---- */

static void a_message_has_the_form_of_each_version(void **state)
{
    struct fm_socket *s = *state;
    struct fm_msg *msgs[] = {said("e\"", FM_LIT("[1]"), false, 5), said("b", fm_slice_of("\xff\0", 2), true, 5)};
    struct fm_vector at = {0};
    for (unsigned format = FM_FORMAT_SUPA2; format <= FM_FORMAT_SUPA1; format++) {
        struct fm_frames f = {0};
        fm_phoenix.encode(&f, format, msgs, 2, &at);
        assert_ptr_equal(f.marks[0].msg, msgs[0]);
        assert_ptr_equal(f.marks[1].msg, msgs[1]);
        frames_record(s, &f);
        fm_frames_fini(&f);
    }
    out(s, "<040a020d017265616c74696d653a6165227b226964223a2231302d37227d5b315d>\n"
           "<040a010d007265616c74696d653a61627b226964223a2231302d37227dff00>\n"
           "{\"topic\":\"realtime:a\",\"event\":\"broadcast\",\"ref\":null,\"payload\":{\"type\":\"broadcast\",\"event\":\"e\\\"\","
           "\"payload\":[1],"
           "\"meta\":{\"id\":\"10-7\"}}}\n"
           "{\"topic\":\"realtime:a\",\"event\":\"broadcast\",\"ref\":null,\"payload\":{\"type\":\"broadcast\",\"event\":\"b\",\"payload\":"
           "{\"base64\":\"/wA=\"},\"meta\":{\"id\":\"10-7\"}}}\n");
    fm_msg_unref(&msgs[0]);
    fm_msg_unref(&msgs[1]);
}

static void a_binary_frame_has_a_form_in_text(void **state)
{
    (void)state;
    struct fm_msg *msgs[] = {said("e", FM_LIT("[1]"), false, 5), said("b", FM_LIT("\xff"), true, 5)};
    static const char *const wanted[] = {
        "[null,null,\"realtime:a\",\"broadcast\",{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":[1],\"meta\":{\"id\":\"10-7\"}}]",
        "[null,null,\"realtime:a\",\"broadcast\",{\"type\":\"broadcast\",\"event\":\"b\",\"payload\":{\"base64\":\"/w==\"},\"meta\":"
        "{\"id\":\"10-7\"}}]",
    };
    for (size_t i = 0; i < 2; i++) {
        struct fm_frames f = {0};
        struct fm_buf b = {0};
        fm_supabase_message(&f, FM_FORMAT_SUPA2, false, (struct fm_slice){0}, msgs[i]);
        fm_phoenix.text(&b, fm_slice_of(f.bytes.p + 2, f.bytes.n - 2));
        assert_true(fm_slice_eq(fm_buf_view(&b), fm_slice_str(wanted[i])));
        fm_buf_fini(&b);
        fm_frames_fini(&f);
        fm_msg_unref(&msgs[i]);
    }
}

static void a_gap_is_told_by_system(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    struct fm_gap gap = {.reason = FM_GAP_LOST, .origin = 62, .from = 2, .to = 5};
    struct fm_frames f = {0};
    fm_phoenix.gap(&f, s->subs, &gap, &gap.cursor);
    frames_record(s, &f);
    fm_frames_fini(&f);
    out(s, SYSTEM("\"extension\":\"broadcast\",\"status\":\"error\",\"message\":\"messages are missing here: lost\",\"channel\":\"a\","
                  "\"gap\":{\"reason\":\"lost\",\"origin\":\"10\",\"from\":2,\"to\":5}"));
}

/* ---- pushes ---- */

static void pushed(struct fm_socket *s, const char *what, bool binary)
{
    if (!fm_slice_eq(fm_buf_view(&s->pushed), fm_slice_str(what)))
        fail_msg("pushed %.*s, wanted %s", (int)s->pushed.n, (const char *)s->pushed.p, what);
    assert_int_equal(s->pushed_binary, binary);
    s->pushed.n = 0;
}

static void broadcasts_in_every_form_become_the_same_message(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    IN_BINARY(s, "\3\1\1\12\3\0\1"
                 "12" TOPIC "new{\"n\":1}");
    pushed(s, "new {\"n\":1}", false);
    IN_BINARY(s, "\3\1\1\12\3\0\0"
                 "12" TOPIC "new\xff");
    pushed(s, "new \xff", true);
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"type\":\"broadcast\",\"event\":\"n\\u0065w\",\"payload\":{\"n\":1}}]");
    pushed(s, "new {\"n\":1}", false);
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"new\",\"payload\":null}]");
    pushed(s, "new {}", false);
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"new\"}]");
    pushed(s, "new {}", false);
    out(s, "");
    s->variant = FM_PHX_V1;
    in(s, "{\"topic\":\"" TOPIC "\",\"event\":\"broadcast\",\"ref\":\"3\",\"payload\":{\"event\":\"new\",\"payload\":\"x\"}}");
    pushed(s, "new \"x\"", false);
    out(s, "");
}

static void a_push_is_answered_only_where_the_join_asked_for_it(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"new\"}]");
    publish_answer(s, FM_OK);
    out(s, "");
    fm_socket_leave(s, s->subs, NULL);
    joined(s, JOIN("{\"broadcast\":{\"ack\":true}}"));
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"new\"}]");
    publish_answer(s, FM_OK);
    out(s, "[\"1\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"id\":\"10-7\"}}]\n");
}

#define REFUSED(why) \
    SYSTEM("\"extension\":\"broadcast\",\"status\":\"error\",\"message\":\"a broadcast was refused: " why "\",\"channel\":\"a\"")
#define ERROR_REPLY(why) "[\"1\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"" why "\"}}]\n"

static void a_broadcast_that_fails_is_told_by_reply_or_by_system(void **state)
{
    struct fm_socket *s = *state;
    static const struct {
        const char *frame, *system, *reply;
    } cases[] = {
#define CASE(payload, why) {"[\"1\",\"2\",\"" TOPIC "\",\"broadcast\"," payload "]", REFUSED(why), ERROR_REPLY(why)}
        CASE("{\"payload\":1}", "bad_event"),
        CASE("{\"event\":\"\"}", "bad_event"),
        CASE("{\"event\":7}", "bad_event"),
        CASE("[]", "a broadcast is an object with `event` and `payload`"),
        CASE("{\"event\":\"phx_close\"}", "reserved_event"),
        CASE("{\"event\":\"e\",\"payload\":\"0123456789012345678901234567890123456789\"}", "too_large"),
#undef CASE
    };
    for (int ack = 0; ack < 2; ack++) {
        joined(s, ack ? JOIN("{\"broadcast\":{\"ack\":true}}") : JOIN("{}"));
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            in(s, cases[i].frame);
            out(s, ack ? cases[i].reply : cases[i].system);
        }
        push_err = FM_E_BUSY;
        in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"e\"}]");
        out(s, ack ? ERROR_REPLY("overloaded") : REFUSED("overloaded"));
        push_err = FM_OK;
        in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"e\"}]");
        publish_answer(s, FM_E_DRAINING);
        out(s, ack ? ERROR_REPLY("draining") : REFUSED("draining"));
        fm_socket_leave(s, s->subs, NULL);
    }
    in(s, "[\"1\",\"1\",\"realtime:news\",\"phx_join\",{\"config\":{}}]");
    answer(s, "realtime:news", "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    in(s, "[\"1\",\"2\",\"realtime:news\",\"broadcast\",{\"event\":\"e\"}]");
    out(s,
        "[\"1\",null,\"realtime:news\",\"system\",{\"extension\":\"broadcast\",\"status\":\"error\",\"message\":\"a broadcast was refused: "
        "forbidden\",\"channel\":\"news\"}]\n");
    assert_int_equal(s->close_code, 0);
}

static void other_events_are_answered_and_a_token_never_is(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"access_token\",{\"access_token\":\"x.y.z\"}]");
    out(s, "");
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"shout\",{}]");
    out(s, ERROR_REPLY("a Supabase channel knows the events broadcast, presence and access_token"));
    assert_int_equal(s->pushed.n, 0);
}

static void what_is_tracked_is_shown_under_the_key_of_the_join(void **state)
{
    struct fm_socket *s = *state;
    static const struct {
        const char *payload, *shown; /* NULL: an error */
    } cases[] = {
        {"{\"type\":\"presence\",\"event\":\"track\",\"payload\":{\"n\":1}}", "k\"e {\"n\":1}"},
        {"{\"event\":\"track\"}", "k\"e {}"},
        {"{\"event\":\"track\",\"payload\":null}", "k\"e {}"},
        {"{\"event\":\"untrack\"}", "untracked"},
        {"{\"event\":\"track\",\"payload\":[1]}", NULL},
        {"{\"event\":\"dance\"}", NULL},
        {"{}", NULL},
        {"[]", NULL},
    };
    joined(s, JOIN("{\"presence\":{\"key\":\"k\\\"e\",\"enabled\":false}}"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char frame[256];
        snprintf(frame, sizeof frame, "[\"1\",\"2\",\"" TOPIC "\",\"presence\",%s]", cases[i].payload);
        s->pushed.n = 0;
        in(s, frame);
        assert_true(fm_slice_eq(fm_buf_view(&s->pushed), fm_slice_str(cases[i].shown)));
        if (!cases[i].shown)
            out(s, ERROR_REPLY("presence is an object with `event`, track or untrack, and `payload`, an object"));
        else if (strcmp(cases[i].shown, "untracked") == 0)
            out(s, "[\"1\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]\n");
        else
            out(s, "");
    }
    push_err = FM_E_FORBIDDEN;
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"presence\",{\"event\":\"track\"}]");
    out(s, ERROR_REPLY("presence_forbidden"));
    vector_read(&sent, "a-1"); /* joined again: the key is the new join's */
    push_err = FM_OK;
    in(s, "[\"2\",\"2\",\"" TOPIC "\",\"phx_join\",{\"config\":{}}]");
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    in(s, "[\"2\",\"3\",\"" TOPIC "\",\"presence\",{\"event\":\"track\"}]");
    assert_true(fm_slice_eq(fm_buf_view(&s->pushed), FM_LIT(" {}")));
    s->out.n = 0;
}

static void presence_that_the_rule_has_not_is_told(void **state)
{
    struct fm_socket *s = *state;
    in(s, JOIN("{\"presence\":{\"key\":\"\",\"enabled\":true}}"));
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    out(s,
        OK_REPLY("\"postgres_changes\":[]") SYSTEM("\"extension\":\"presence\",\"status\":\"error\",\"message\":\"PresenceNotAllowed: the "
                                                   "rule of this topic has no presence\",\"channel\":\"a\""));
    fm_socket_leave(s, s->subs, NULL);
    fm_rules_at(rules, 0)->presence = fm_rules_at(rules, 1)->presence = FM_WHO_ANYONE;
    in(s, JOIN("{\"presence\":{\"key\":\"\",\"enabled\":true}}"));
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    out(s, OK_REPLY("\"postgres_changes\":[]"));
    assert_true(s->subs->watch);
}

static void presences_are_events_of_their_own_in_every_format(void **state)
{
    struct fm_socket *s = *state;
    struct fm_msg *m = fm_msg_new(FM_LIT(TOPIC), FM_LIT("presence_diff"), (struct fm_msg_keys){0}, FM_LIT("{\"joins\":{}}"), 0);
    struct fm_vector at = {0};
    assert_true(fm_msg_of_presence(m));
    for (unsigned format = FM_FORMAT_SUPA2; format <= FM_FORMAT_SUPA1; format++) {
        struct fm_frames f = {0};
        fm_phoenix.encode(&f, format, &m, 1, &at);
        frames_record(s, &f);
        fm_frames_fini(&f);
    }
    fm_msg_unref(&m);
    out(s, "[null,null,\"realtime:a\",\"presence_diff\",{\"joins\":{}}]\n"
           "{\"topic\":\"realtime:a\",\"event\":\"presence_diff\",\"ref\":null,\"payload\":{\"joins\":{}}}\n");
}

/* The rules of these tests keep no history. */
static void a_broadcast_that_is_to_be_stored_is_refused_where_nothing_is_kept(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{}"));
    IN_BINARY(s, "\3\1\1\12\3\20\1"
                 "12" TOPIC "new{\"persist\":true}{}");
    out(s, REFUSED("this topic keeps no history, so nothing can be stored"));
    IN_BINARY(s, "\3\1\1\12\3\30\1"
                 "12" TOPIC "new{\"persist\":{\"ttl\":1000}}{}");
    out(s, REFUSED("this topic keeps no history, so nothing can be stored"));
    assert_int_equal(s->pushed.n, 0);
    s->subs->rule = &(struct fm_rule){.push = FM_WHO_ANYONE, .message_max = 100, .history = {1, 1, 1}};
    IN_BINARY(s, "\3\1\1\12\3\20\1"
                 "12" TOPIC "new{\"persist\":true}{}");
    pushed(s, "new {}", false);
    out(s, "");
}

static void a_client_publishes_no_changes(void **state)
{
    struct fm_socket *s = *state;
    joined(s, JOIN("{\"broadcast\":{\"ack\":true}}"));
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"broadcast\",{\"event\":\"postgres_changes\",\"payload\":" CHANGE("INSERT", "\"record\":{}") "}]");
    out(s, ERROR_REPLY("reserved_event"));
    fm_socket_leave(s, s->subs, NULL);
    in(s, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    out(s, OK_REPLY(""));
    in(s, "[\"1\",\"2\",\"" TOPIC "\",\"postgres_changes\"," CHANGE("INSERT", "\"record\":{}") "]");
    out(s, ERROR_REPLY("reserved_event"));
    assert_int_equal(s->pushed.n, 0);
}

static void a_broadcast_on_a_phoenix_channel_is_a_push(void **state)
{
    struct fm_socket *s = *state;
    in(s, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
    answer(s, TOPIC, "a-1", "a-1", true, NULL, 0);
    s->out.n = 0;
    IN_BINARY(s, "\3\1\1\12\3\0\1"
                 "12" TOPIC "new{\"n\":1}");
    pushed(s, "new {\"n\":1}", false);
    publish_answer(s, FM_OK);
    out(s, "[\"1\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"id\":\"10-7\"}}]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_join_with_config_makes_a_channel_of_the_dialect),
        TEST(without_config_or_on_another_topic_a_channel_is_phoenix),
        TEST(joins_that_make_no_sense_are_refused_with_a_reason),
        TEST(changes_are_answered_with_ids_and_given_to_whoever_wants_them_replayed_ones_too),
        TEST(a_client_publishes_no_changes),
        TEST(a_replay_is_the_newest_since_a_time_and_says_that_it_is_one),
        TEST(what_a_rejoin_missed_is_no_replay),
        TEST(a_message_has_the_form_of_each_version),
        TEST(a_binary_frame_has_a_form_in_text),
        TEST(a_gap_is_told_by_system),
        TEST(broadcasts_in_every_form_become_the_same_message),
        TEST(a_push_is_answered_only_where_the_join_asked_for_it),
        TEST(a_broadcast_that_fails_is_told_by_reply_or_by_system),
        TEST(other_events_are_answered_and_a_token_never_is),
        TEST(what_is_tracked_is_shown_under_the_key_of_the_join),
        TEST(presence_that_the_rule_has_not_is_told),
        TEST(presences_are_events_of_their_own_in_every_format),
        TEST(a_broadcast_that_is_to_be_stored_is_refused_where_nothing_is_kept),
        TEST(a_broadcast_on_a_phoenix_channel_is_a_push),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
