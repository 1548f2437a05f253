#include "../../../gateway/auth/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { NOW = 1000000, LEEWAY = 5, LIFETIME = 3600 };

static struct fm_claims_rules rules;

static int setup(void **state)
{
    (void)state;
    rules = (struct fm_claims_rules){.issuer = "",
                                     .leeway_s = LEEWAY,
                                     .lifetime_max_s = LIFETIME,
                                     .user_claim = "sub",
                                     .topics_claim = "topics",
                                     .rights_claim = "rights"};
    return 0;
}

static struct fm_token_fault fault;

/* NULL: refused. `claims` without exp gets one. */
static struct fm_identity *identity(const char *claims)
{
    char text[16384];
    struct fm_json json;
    struct fm_identity *id;
    snprintf(text, sizeof text, strstr(claims, "\"exp\"") ? "%s" : "{\"exp\":1000060,%s", strstr(claims, "\"exp\"") ? claims : claims + 1);
    if (strcmp(claims, "{}") == 0)
        snprintf(text, sizeof text, "{\"exp\":1000060}");
    assert_int_equal(fm_json_parse(fm_slice_str(text), FM_CLAIMS_DEPTH, &json, NULL), FM_OK);
    fault = (struct fm_token_fault){0};
    bool ok = fm_claims_identity(&json, &rules, NOW, &id, &fault);
    assert_true(ok == (id != NULL));
    assert_true(ok == (fault.err == FM_OK));
    return id;
}

static void taken(const char *claims)
{
    struct fm_identity *id = identity(claims);
    if (!id)
        fail_msg("refused: %s: %s", claims, fault.why);
    fm_identity_unref(&id);
}

static void refused(const char *claims, enum fm_err err, const char *why)
{
    struct fm_identity *id = identity(claims);
    if (id)
        fail_msg("taken: %s", claims);
    assert_int_equal(fault.err, err);
    if (!strstr(fault.why, why))
        fail_msg("%s: %s", claims, fault.why);
}

static void a_token_ends_and_is_not_good_before_its_time(void **state)
{
    (void)state;
    taken("{\"exp\":1000001}");
    taken("{\"exp\":999996}"); /* within what clocks may differ by */
    refused("{\"exp\":999995}", FM_E_TOKEN_EXPIRED, "over");
    refused("{\"exp\":1}", FM_E_TOKEN_EXPIRED, "over");
    taken("{\"exp\":1000001.75}");
    static const char *const bad[] = {"\"1000001\"", "-1", "1e9", "1.0e9", "true", "[]", "1000000000000000000000", "281474976710657"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char claims[64];
        snprintf(claims, sizeof claims, "{\"exp\":%s}", bad[i]);
        refused(claims, FM_E_TOKEN, "exp");
    }
    refused("{\"exp\":null}", FM_E_TOKEN, "exp is missing");
    taken("{\"nbf\":1000005}");
    refused("{\"nbf\":1000006}", FM_E_TOKEN, "nbf");
    refused("{\"nbf\":\"0\"}", FM_E_TOKEN, "nbf");
    taken("{\"iat\":1000005}");
    refused("{\"iat\":1000006}", FM_E_TOKEN, "iat");
    struct fm_identity *id = identity("{\"exp\":1000001,\"iat\":999999}");
    assert_int_equal(id->until_s, 1000001 + LEEWAY);
    assert_int_equal(id->issued_s, 999999);
    fm_identity_unref(&id);
}

static void a_token_with_a_user_lives_no_longer_than_a_revocation_is_kept(void **state)
{
    (void)state;
    taken("{\"sub\":\"ann\",\"iat\":1000000,\"exp\":1003600}");
    refused("{\"sub\":\"ann\",\"iat\":1000000,\"exp\":1003601}", FM_E_TOKEN, "token_lifetime_max");
    taken("{\"sub\":\"ann\",\"exp\":1003600}");
    refused("{\"sub\":\"ann\",\"exp\":1003606}", FM_E_TOKEN, "token_lifetime_max");
    taken("{\"iat\":0,\"exp\":1893456000}"); /* nobody's: there is nothing to revoke */
    struct fm_identity *id = identity("{\"sub\":\"ann\",\"exp\":1000010}");
    assert_int_equal(id->issued_s, 1000010 - LIFETIME); /* as early as can be */
    fm_identity_unref(&id);
}

static void the_issuer_and_the_audience_are_those_of_the_options(void **state)
{
    (void)state;
    static const char *const audiences[] = {"chat", "game", NULL};
    taken("{\"iss\":\"anyone\"}");
    refused("{\"aud\":\"chat\"}", FM_E_TOKEN, "token_audience is not set");
    refused("{\"aud\":[]}", FM_E_TOKEN, "token_audience is not set");
    rules.issuer = "https://id.example";
    taken("{\"iss\":\"https://id.example\"}");
    taken("{\"iss\":\"https:\\/\\/id.example\"}");
    refused("{}", FM_E_TOKEN, "iss");
    refused("{\"iss\":\"https://id.example/\"}", FM_E_TOKEN, "iss");
    refused("{\"iss\":[\"https://id.example\"]}", FM_E_TOKEN, "iss");
    rules.issuer = "";
    rules.audiences = audiences;
    taken("{\"aud\":\"game\"}");
    taken("{\"aud\":[\"other\",\"chat\"]}");
    refused("{}", FM_E_TOKEN, "no audience");
    refused("{\"aud\":\"other\"}", FM_E_TOKEN, "another audience");
    refused("{\"aud\":[\"other\",[\"chat\"]]}", FM_E_TOKEN, "another audience");
    refused("{\"aud\":{\"chat\":1}}", FM_E_TOKEN, "another audience");
    refused("{\"aud\":\"chat \"}", FM_E_TOKEN, "another audience");
    static const char *const any[] = {"chat", "none", NULL};
    rules.audiences = any;
    taken("{}");
    taken("{\"aud\":\"chat\"}");
    refused("{\"aud\":\"other\"}", FM_E_TOKEN, "another audience");
    refused("{\"aud\":[]}", FM_E_TOKEN, "another audience");
}

static void the_user_is_a_text_or_a_whole_number(void **state)
{
    (void)state;
    struct fm_identity *id = identity("{\"sub\":42}");
    assert_string_equal(fm_identity_user(id), "42");
    fm_identity_unref(&id);
    id = identity("{\"sub\":\"\\u00e4nn\"}");
    assert_string_equal(fm_identity_user(id), "\xc3\xa4nn");
    fm_identity_unref(&id);
    id = identity("{\"sub\":null}");
    assert_string_equal(fm_identity_user(id), "");
    fm_identity_unref(&id);
    rules.user_claim = "https://app.example/id";
    id = identity("{\"sub\":\"x\",\"https://app.example/id\":\"bob\"}");
    assert_string_equal(fm_identity_user(id), "bob");
    fm_identity_unref(&id);
    rules.user_claim = "sub";
    static const char *const bad[] = {"1.5", "-1", "true", "[]", "{}", "\"a\\u0000b\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char claims[64];
        snprintf(claims, sizeof claims, "{\"sub\":%s}", bad[i]);
        refused(claims, FM_E_TOKEN, "user");
    }
    char longer[512];
    snprintf(longer, sizeof longer, "{\"sub\":\"%0256d\"}", 1);
    refused(longer, FM_E_TOKEN, "user");
    snprintf(longer, sizeof longer, "{\"sub\":\"%0255d\"}", 1);
    taken(longer);
}

static bool grants(const char *claims, const char *topic, enum fm_right right)
{
    struct fm_identity *id = identity(claims);
    if (!id)
        fail_msg("refused: %s: %s", claims, fault.why);
    bool yes = fm_identity_grants(id, fm_slice_str(topic), right);
    fm_identity_unref(&id);
    return yes;
}

static void topics_come_with_all_rights_or_those_that_are_said(void **state)
{
    (void)state;
    const char *list = "{\"topics\":[\"room:*\",\"ne\\u0077s\"]}";
    assert_true(grants(list, "room:1", FM_RIGHT_PUSH));
    assert_true(grants(list, "news", FM_RIGHT_PRESENCE));
    assert_false(grants(list, "hall", FM_RIGHT_JOIN));
    const char *only = "{\"rights\":[\"join\",\"presence\"],\"topics\":[\"room:*\"]}";
    assert_true(grants(only, "room:1", FM_RIGHT_JOIN));
    assert_true(grants(only, "room:1", FM_RIGHT_PRESENCE));
    assert_false(grants(only, "room:1", FM_RIGHT_PUSH));
    const char *each = "{\"topics\":{\"room:*\":\"join\",\"room:1\":[\"push\"],\"shut\":[]}}";
    assert_true(grants(each, "room:1", FM_RIGHT_JOIN));
    assert_true(grants(each, "room:1", FM_RIGHT_PUSH));
    assert_false(grants(each, "room:2", FM_RIGHT_PUSH));
    assert_false(grants(each, "shut", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"ann\"}", "room:1", FM_RIGHT_JOIN));
    assert_false(grants("{\"topics\":[]}", "room:1", FM_RIGHT_JOIN));
    rules.topics_claim = "https://app.example/topics";
    assert_true(grants("{\"https://app.example/topics\":[\"a\"],\"topics\":1}", "a", FM_RIGHT_JOIN));
}

static void what_can_not_be_understood_of_them_grants_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"topics\":\"room:*\"}",
        "{\"topics\":[1]}",
        "{\"topics\":[\"\"]}",
        "{\"topics\":[\"a*b\"]}",
        "{\"topics\":[\"a\\u0000b\"]}",
        "{\"topics\":[[\"a\"]]}",
        "{\"topics\":{\"a\":\"all\"}}",
        "{\"topics\":{\"a\":1}}",
        "{\"topics\":{\"a\":null}}",
        "{\"topics\":{\"a\":[\"join\"],\"\\u0061\":[\"push\"]}}",
        "{\"rights\":[\"admin\"],\"topics\":[\"a\"]}",
        "{\"rights\":\"join push\",\"topics\":[\"a\"]}",
        "{\"rights\":{\"join\":1},\"topics\":[\"a\"]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i], FM_E_TOKEN, "");
    char many[4096];
    size_t n = (size_t)snprintf(many, sizeof many, "{\"topics\":[\"t\"");
    for (unsigned i = 0; i < FM_GRANTS_MAX; i++)
        n += (size_t)snprintf(many + n, sizeof many - n, ",\"t\"");
    snprintf(many + n, sizeof many - n, "]}");
    refused(many, FM_E_TOKEN, "256");
    char longer[512];
    snprintf(longer, sizeof longer, "{\"topics\":[\"%0*d\"]}", FM_TOPIC_MAX + 1, 1);
    refused(longer, FM_E_TOKEN, "pattern");
    snprintf(longer, sizeof longer, "{\"topics\":[\"%0*d*\"]}", FM_TOPIC_MAX, 1);
    taken(longer);
}

static void topics_of_all_are_the_users_own_and_nobody_elses(void **state)
{
    (void)state;
    static const char *const topics[] = {"user:{user}:*", "inbox:{user}", "news", NULL};
    rules.topics = topics;
    assert_true(grants("{\"sub\":\"ann\"}", "user:ann:mail", FM_RIGHT_JOIN));
    assert_true(grants("{\"sub\":\"ann\"}", "inbox:ann", FM_RIGHT_PUSH));
    assert_true(grants("{\"sub\":\"ann\"}", "news", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"ann\"}", "user:anna:mail", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"ann\"}", "user:bob:mail", FM_RIGHT_JOIN));
    assert_true(grants("{}", "news", FM_RIGHT_JOIN));
    assert_false(grants("{}", "user::mail", FM_RIGHT_JOIN));
    assert_false(grants("{}", "inbox:", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"ann:mail\"}", "user:ann:mail:1", FM_RIGHT_JOIN)); /* it would be ann's */
    assert_true(grants("{\"sub\":\"a*\"}", "inbox:a*", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"a*\"}", "inbox:ab", FM_RIGHT_JOIN));
    assert_false(grants("{\"sub\":\"*\"}", "inbox:ann", FM_RIGHT_JOIN));
    assert_true(grants("{\"sub\":\"{user}\"}", "inbox:{user}", FM_RIGHT_JOIN));
}

static void a_pattern_of_the_options_is_checked(void **state)
{
    (void)state;
    const char *why;
    assert_true(fm_claims_topic_ok("user:{user}:*", &why));
    assert_true(fm_claims_topic_ok("{user}", &why));
    assert_true(fm_claims_topic_ok("*", &why));
    assert_false(fm_claims_topic_ok("user:{user}*", &why));
    assert_false(fm_claims_topic_ok("{user}:{user}", &why));
    assert_false(fm_claims_topic_ok("a*b", &why));
    assert_false(fm_claims_topic_ok("", &why));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(a_token_ends_and_is_not_good_before_its_time),         TEST(a_token_with_a_user_lives_no_longer_than_a_revocation_is_kept),
        TEST(the_issuer_and_the_audience_are_those_of_the_options), TEST(the_user_is_a_text_or_a_whole_number),
        TEST(topics_come_with_all_rights_or_those_that_are_said),   TEST(what_can_not_be_understood_of_them_grants_nothing),
        TEST(topics_of_all_are_the_users_own_and_nobody_elses),     TEST(a_pattern_of_the_options_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
