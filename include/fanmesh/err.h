/* Errors of fanmesh: one table makes the enum, the stable code (used on the wire, in JSON and in logs) and the sentence for people.
 *
 * -- any thread -- */
#pragma once

#define FM_MUST_CHECK __attribute__((warn_unused_result))
#define FM_API __attribute__((visibility("default"))) /* what the shared library exports: no other symbol of it can be seen */

#ifdef __cplusplus
extern "C" {
#endif

/*        name                 stable code                sentence: what was wrong and what to do */
#define FM_ERR_TABLE(X) \
    X(FM_OK, "ok", "success") \
    X(FM_E_NOMEM, "out_of_memory", "the node could not get memory; lower its limits or give it more") \
    X(FM_E_INVALID, "invalid", "a value is missing, of the wrong type, or out of its range") \
    X(FM_E_SHORT, "truncated", "the input ends before it is complete") \
    X(FM_E_SYNTAX, "bad_syntax", "the input does not follow its grammar") \
    X(FM_E_JSON, "bad_json", "the body is not valid JSON; see `at` for the byte where reading stopped") \
    X(FM_E_TOO_DEEP, "too_deep", "the JSON is nested deeper than the limit") \
    X(FM_E_TOO_LARGE, "too_large", "larger than the limit; see the options `message_max` and `api_body_max`") \
    X(FM_E_TOO_MANY, "too_many", "more items than the limit allows") \
    X(FM_E_UNMATCHED_TOPIC, "unmatched topic", "no [topic] rule of the settings matches this topic") \
    X(FM_E_RESERVED_EVENT, "reserved_event", \
      "events that begin with phx_, chan_reply_, presence_ or fm_, and gap and system, belong to the protocol") \
    X(FM_E_FORBIDDEN, "forbidden", "the node's settings do not allow this") \
    X(FM_E_UNAUTHORIZED, "unauthorized", "the API key is missing or wrong; send it as `Authorization: Bearer KEY`") \
    X(FM_E_NOT_FOUND, "not_found", "there is nothing at this path") \
    X(FM_E_METHOD, "method_not_allowed", "this path does not take this method") \
    X(FM_E_LENGTH_REQUIRED, "length_required", "send the body with Content-Length; chunked bodies are not read") \
    X(FM_E_REQUEST, "bad_request", "this is not an HTTP/1.1 request that can be read") \
    X(FM_E_UPGRADE, "bad_upgrade", "this request can't become a WebSocket") \
    X(FM_E_ORIGIN, "bad_origin", "pages of this Origin may not connect; if they should, list it in the option `origins`") \
    X(FM_E_MEDIA_TYPE, "unsupported_media_type", "this path does not read a body of this Content-Type") \
    X(FM_E_UNKNOWN_MEMBER, "unknown_member", "the request has a member or parameter that this path does not know; check its spelling") \
    X(FM_E_BUSY, "overloaded", "the node has more to do than its queues hold; try again in a moment") \
    X(FM_E_PRESENCE_FULL, "presence_full", "the node shows as many presences as the option `presence_bytes` has room for") \
    X(FM_E_NOT_READY, "not_ready", "the node is still taking over the cluster's state; try again in a moment") \
    X(FM_E_DRAINING, "draining", "the node is shutting down; use another one") \
    X(FM_E_DEAF, "deaf", "the node's messages to itself do not come back; use another node") \
    X(FM_E_ISOLATED, "isolated", "no other node of the cluster is in reach; use another one") \
    X(FM_E_NOT_REPLICATED, "not_replicated", \
      "the message is accepted on this node but not enough other nodes confirmed it within the time limit") \
    X(FM_E_TIMEOUT, "timeout", "no answer within the time limit") \
    X(FM_E_AUTH, "bad_seal", "the envelope does not open with this cluster's secret; give all nodes the same secret") \
    X(FM_E_CLUSTER, "wrong_cluster", "the peer belongs to a cluster of another name; give all nodes the same `cluster`") \
    X(FM_E_VERSION, "wrong_version", "the protocol version is not one this node speaks") \
    X(FM_E_REPLAY, "replayed", "the envelope's counter does not grow: a replay or a duplicate link") \
    X(FM_E_ADDRESS, "bad_address", "the address can't be used; give host:port") \
    X(FM_E_ELSEWHERE, "address_elsewhere", "this machine has no such address; listen on one that it has (`ip address` lists them)") \
    X(FM_E_PORT, "port_forbidden", \
      "this user may not listen on this port; choose one above 1023, or give the process CAP_NET_BIND_SERVICE") \
    X(FM_E_IN_USE, "address_in_use", "another process listens on this address; choose another port or stop it") \
    X(FM_E_IO, "io_error", "the operating system refused the operation; the log has its reason") \
    X(FM_E_TLS, "tls_failed", "the other side speaks no TLS here, or its certificate is not to be trusted") \
    X(FM_E_CLOSED, "closed", "the connection or the node is closed") \
    X(FM_E_OPTION, "bad_option", "an option of the settings is unknown or out of its range") \
    X(FM_E_RATE_LIMITED, "rate_limited", "this client sends faster than the node's limits allow; wait for `retry_after_ms`") \
    X(FM_E_TOO_MANY_CONNECTIONS, "too_many_connections", "the limit of connections is reached; close some, or try again later") \
    X(FM_E_CALLBACK, "in_callback", \
      "a call that waits for the node can't be made from a callback of that node; make it from another thread, or use the form with a " \
      "callback") \
    X(FM_E_TOKEN_MISSING, "token_missing", "this needs a token; connect with one") \
    X(FM_E_TOKEN_EXPIRED, "token_expired", "the token has expired; send a new one") \
    X(FM_E_NOT_GRANTED, "not_granted", "the token does not grant this on this topic") \
    X(FM_E_TOKEN, "bad_token", "the token is not valid here") \
    X(FM_E_TOKEN_KEY, "token_key", "no key of this node fits the token; is it of who signs for this node?") \
    X(FM_E_TOKEN_REVOKED, "token_revoked", "the token was revoked; get a new one") \
    X(FM_E_TOKEN_USER, "token_user", "the token is of another user than the connection") \
    X(FM_E_UNAVAILABLE, "unavailable", "the backend that decides this can't be reached or fails; try again in a moment") \
    X(FM_E_BAD_ANSWER, "bad_answer", "the backend that decides this gave an answer that can't be understood; the node's log says why")

enum fm_err {
#define X(name, code, text) name,
    FM_ERR_TABLE(X)
#undef X
        FM_ERR_COUNT
};

/* The stable code, a static string that is never NULL. */
FM_API const char *fm_err_code(enum fm_err err);
/* The sentence, a static string that is never NULL. */
FM_API const char *fm_err_text(enum fm_err err);

#ifdef __cplusplus
}
#endif
