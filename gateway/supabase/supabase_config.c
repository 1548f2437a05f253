#include "supabase_config.h"

#include "../../broker/presence.h"
#include "supabase_wants.h"

#define BAD "InvalidJoinPayload: "

bool fm_supabase_asked(struct fm_slice topic, const struct fm_json *params, struct fm_json *config)
{
    struct fm_json found;
    return fm_slice_starts(topic, FM_LIT(FM_SUPABASE_PREFIX)) && fm_json_get(params, FM_LIT("config"), config ? config : &found);
}

/* A member that is absent or null leaves the default. */
static bool has(const struct fm_json *object, const char *name, struct fm_json *value)
{
    return fm_json_get(object, fm_slice_str(name), value) && value->type != FM_JSON_NULL;
}

/* Like Supabase's server also the words in quotes. false: neither. */
static bool read_flag(const struct fm_json *object, const char *name, bool *flag)
{
    struct fm_json v;
    if (!has(object, name, &v))
        return true;
    *flag = v.type == FM_JSON_TRUE || fm_json_is(&v, FM_LIT("true"));
    return *flag || v.type == FM_JSON_FALSE || fm_json_is(&v, FM_LIT("false"));
}

static const char *read_replay(const struct fm_json *broadcast, struct fm_supabase_config *out)
{
    static const char bad[] = "UnableToReplayMessages: Replay params are not valid";
    struct fm_json replay, v;
    uint64_t limit = FM_SUPABASE_REPLAY_LIMIT;
    if (!has(broadcast, "replay", &replay))
        return NULL;
    if (replay.type != FM_JSON_OBJECT)
        return bad;
    if (has(&replay, "since", &v) && fm_json_u64(&v, UINT64_MAX, &out->since_ms) != FM_OK)
        return bad;
    if (has(&replay, "limit", &v) && fm_json_u64(&v, UINT32_MAX, &limit) != FM_OK)
        return bad;
    out->replay = true;
    out->limit = limit ? (uint32_t)limit : 1; /* as Supabase's server */
    return NULL;
}

static const char *read_broadcast(const struct fm_json *config, struct fm_supabase_config *out)
{
    struct fm_json v;
    if (!has(config, "broadcast", &v))
        return NULL;
    if (v.type != FM_JSON_OBJECT)
        return BAD "broadcast must be an object";
    if (!read_flag(&v, "ack", &out->ack) || !read_flag(&v, "self", &out->self))
        return BAD "broadcast.ack and broadcast.self must be true or false";
    return read_replay(&v, out);
}

/* Clients from before the member `enabled` take part whenever they say anything of presence. */
static const char *read_presence(const struct fm_json *config, struct fm_supabase_config *out)
{
    struct fm_json v, key;
    if (!has(config, "presence", &v))
        return NULL;
    if (v.type != FM_JSON_OBJECT)
        return BAD "presence must be an object";
    out->presence = !has(&v, "enabled", &key);
    if (!read_flag(&v, "enabled", &out->presence))
        return BAD "presence.enabled must be true or false";
    if (!has(&v, "key", &key))
        return NULL;
    uint8_t room[FM_PRESENCE_KEY_MAX];
    struct fm_slice text;
    if (fm_json_text(&key, room, sizeof room, &text) != FM_OK)
        return BAD "presence.key must be a string of at most 255 bytes";
    if (!fm_json_is(&key, FM_LIT("")))
        out->presence_key = key;
    return NULL;
}

static const char *read_changes(const struct fm_json *config, struct fm_supabase_config *out)
{
    struct fm_json v;
    if (!has(config, "postgres_changes", &v))
        return NULL;
    if (v.type == FM_JSON_ARRAY && fm_json_count(&v) == 0)
        return NULL;
    out->changes = v;
    return fm_supabase_wants_read(&v, &out->wants);
}

const char *fm_supabase_config_read(struct fm_slice topic, const struct fm_json *config, struct fm_supabase_config *out)
{
    *out = (struct fm_supabase_config){0};
    if (topic.n == sizeof FM_SUPABASE_PREFIX - 1)
        return "TopicNameRequired: You must provide a topic name";
    if (config->type == FM_JSON_NULL)
        return NULL;
    if (config->type != FM_JSON_OBJECT)
        return BAD "config must be an object";
    if (!read_flag(config, "private", &out->is_private))
        return BAD "private must be true or false";
    const char *reason = read_broadcast(config, out);
    if (!reason)
        reason = read_presence(config, out);
    return reason ? reason : read_changes(config, out);
}

void fm_supabase_config_fini(struct fm_supabase_config *config)
{
    fm_buf_fini(&config->wants);
}
