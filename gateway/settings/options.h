/* Every option of a node, in one table: group, type, name, min, max, default, meaning. `fanmesh serve --help`, docs/settings.md, the
 * settings file, FANMESH_* and the command line are all made from it. Defaults of what the hub does are those of fm_hub_config_default;
 * a test holds them together.
 *
 * min and max: of the number (bytes, ms), of a text's length in bytes, of a list's entries. */
#pragma once

#define FM_OPTIONS_NODE(X) \
    X("Node", PATH, config, 0, 4096, "", "Settings file to read. It may hold every other option, and the [topic] rules.") \
    X("Node", FLAG, dev, 0, 1, "false", \
      "Profile for trying things out: topics room:* and realtime:* are open to everyone with a history, any Origin is allowed, the API " \
      "needs no key " \
      "while " \
      "api_listen is a loopback address, and clients are served on 127.0.0.1:4000 unless listen says otherwise. Never use it in " \
      "production.") \
    X("Node", FLAG, dev_api, 0, 1, "false", \
      "Under dev: the HTTP API is also where clients connect, for pages from localhost, such as those of web_root. Refused without dev, " \
      "and where listen is not a loopback address.") \
    X("Node", TEXT, name, 0, 63, "", "Name of the node, for people. Empty: the machine's host name.") \
    X("Node", COUNT, workers, 0, 62, "0", "Threads that serve clients. 0: one for each processor core.") \
    X("Node", LEVEL, log_level, 0, 0, "info", "Log lines below this level are dropped.") \
    X("Node", LOG_FORMAT, log_format, 0, 0, "logfmt", \
      "What a line of the log is: ts=... level=... event=... key=value, or a JSON object with the same members.") \
    X("Node", MS, probe_ms, 0, 600000, "1s", \
      "How often the node sends a message to itself through each of its workers, and asks its own listener. 0: never.") \
    X("Node", MS, probe_timeout_ms, 100, 600000, "5s", \
      "A node whose messages to itself have not come back for so long is deaf, and /readyz is 503 until they do.") \
    X("Node", MS, trim_ms, 0, 3600000, "10s", \
      "How often the node looks whether the allocator keeps much memory that nothing needs, and gives it back. 0: never.") \
    X("Node", MS, drain_wait_ms, 0, 600000, "0", \
      "After TERM or INT: how long /readyz is 503 while everything else goes on, before clients are disconnected, so that a balancer " \
      "has stopped sending new ones by then. Give it the time that the balancer needs to notice; 0 where there is none.") \
    X("Node", MS, drain_ms, 0, 600000, "10s", \
      "After TERM or INT: time over which the disconnects (1012) of the clients are spread, so that they don't come back all at once.") \
    X("Node", MS, leave_ms, 0, 60000, "3s", \
      "After the clients are gone: how long a node that shuts down waits for the other nodes to confirm that they have its messages.")

#define FM_OPTIONS_CLIENTS(X) \
    X("Clients", LISTENER, listen, 1, 260, "0.0.0.0:4000", "Where clients connect. none: this node serves no clients.") \
    X("Clients", TEXT, mount, 2, 128, "/socket", "Path of the Phoenix socket; clients open MOUNT/websocket.") \
    X("Clients", TEXT, supabase_mount, 1, 128, "/realtime/v1", \
      "Path where Supabase's clients find what they need besides mount: the socket at PATH/websocket, broadcasts by HTTP at " \
      "PATH/api/broadcast. It is where createClient of supabase-js looks. none: only below mount.") \
    X("Clients", LIST, tls_cert, 0, 64, "", \
      "PEM files, each with a certificate of the node and the chain behind it: clients then speak TLS (wss://, https://). Of several the " \
      "one is taken that has the name which a client asks for, else the first. Empty: plain text. Read again on HUP.") \
    X("Clients", LIST, tls_key, 0, 64, "", "PEM files with their private keys, in the same order. Read again on HUP.") \
    X("Clients", LIST, origins, 0, 64, "", \
      "Origins that may connect from a browser besides the page's own host, such as https://app.example.org, https://*.example.org or " \
      "http://localhost:*. *: any.") \
    X("Clients", NETWORKS, proxy_protocol_from, 0, 64, "", \
      "Addresses whose connections to listen begin with a PROXY protocol header (version 1 or 2), as a balancer's. From these it must be " \
      "there: without it a connection is refused. From all others a header is refused.") \
    X("Clients", NETWORKS, trusted_proxies, 0, 64, "", \
      "Addresses of proxies whose X-Forwarded-For is believed, on both listeners. The client is the last address in it that is none of " \
      "these. Whoever is named here can give any address as its client's.") \
    X("Clients", PATH, web_root, 0, 4096, "", "Folder whose files are served under / where clients connect. Empty: none.") \
    X("Clients", BYTES, message_max, 1024, 16777216, "64KiB", \
      "Largest message of a client, and largest payload of a publish. All nodes of a cluster need the same.") \
    X("Clients", COUNT, topics_per_socket, 1, 10000, "100", "Channels that one socket may join.") \
    X("Clients", COUNT, connections_per_address, 0, 1000000, "0", \
      "Connections to this node from one address (of IPv6: from one /64), over all workers. Beyond it they are refused with 429. Whose " \
      "address it is behind a balancer say proxy_protocol_from and trusted_proxies. 0: no limit.") \
    X("Clients", COUNT, connections_per_user, 0, 1000000, "0", \
      "Connections to this node of one user, as tokens name them, over all workers. 0: no limit.") \
    X("Clients", COUNT, joins_per_s, 0, 1000000, "0", \
      "Joins that one socket may ask for in a second. Beyond it they are refused with `rate_limited`. 0: no limit.") \
    X("Clients", COUNT, pushes_per_s, 0, 1000000, "0", \
      "Pushes, and leaves, of one socket in a second. A [topic] rule may have a limit of its own besides. 0: no limit.") \
    X("Clients", BYTES, push_bytes_per_s, 0, 1073741824, "0", "Bytes of the payloads that one socket may push in a second. 0: no limit.") \
    X("Clients", MS, rate_burst_ms, 100, 600000, "5s", \
      "A client that was quiet may use at once what the three rates above allow in so long. One that goes on when it was refused, for as " \
      "long again, is disconnected with 1008.") \
    X("Clients", COUNT, connections_max, 0, 10000000, "0", \
      "Client connections of this node. 0: 100000, or as many as its file descriptors allow. A larger number is cut to that, with a " \
      "warning.") \
    X("Clients", COUNT, accepts_per_s, 0, 1000000, "5000", \
      "New connections a second, so that a storm of reconnects does not starve delivery. 0: no limit.") \
    X("Clients", MS, handshake_ms, 100, 600000, "10s", "A connection that has not sent its whole request by then is closed.") \
    X("Clients", MS, idle_ms, 1000, 86400000, "60s", \
      "A socket that sent nothing for so long is closed. Phoenix clients send every 30 s. An HTTP client has as long to take its answer.") \
    X("Clients", BYTES, outbox_bytes, 16384, 1073741824, "1MiB", \
      "What one slow socket may still owe before the rule of the topic decides what happens to it.") \
    X("Clients", FLAG, deflate, 0, 1, "false", \
      "Whether messages are compressed for clients that offer permessage-deflate. A message is compressed once for all of a worker's " \
      "subscribers; what comes from a client may be compressed as well, and message_max holds for what it unpacks to.") \
    X("Clients", BYTES, deflate_min, 0, 16777216, "256", "Under deflate smaller messages leave uncompressed.") \
    X("Clients", COUNT, fanout_slice, 16, 10000000, "128", \
      "Subscribers of one topic that a worker gives a message to before other topics and clients have their turn. Smaller: a large " \
      "fan-out " \
      "delays others less; larger: it is done sooner.") \
    X("Clients", FLAG, longpoll, 0, 1, "true", "Whether clients may use LongPoll, at MOUNT/longpoll, where WebSockets don't get through.") \
    X("Clients", MS, longpoll_wait_ms, 100, 600000, "10s", \
      "A poll for which nothing came is answered after so long. phoenix.js waits 20 s; proxies have limits, too.") \
    X("Clients", MS, longpoll_ttl_ms, 1000, 600000, "15s", "A LongPoll session that nobody polls ends after so long.") \
    X("Clients", FLAG, sse, 0, 1, "true", "Whether topics can be read as streams of events (EventSource, curl), at /sse.") \
    X("Clients", MS, sse_keepalive_ms, 1000, 600000, "15s", \
      "Pace of the comments in a stream, so that nothing between takes it for dead.") \
    X("Clients", MS, sse_retry_ms, 10, 600000, "1s", \
      "After which time, about, an EventSource whose stream ended comes back: from half of it to half as much again.") \
    X("Clients", BYTES, worker_inbox_bytes, 65536, 17179869184, "16MiB", \
      "Messages that may wait for one worker. Beyond it the worker reads its topics again from the hub.")

/* Read by gateway/auth, which knows those that HUP changes by their group. */
#define FM_OPTIONS_TOKENS(X) \
    X("Tokens", CONNECT, connect, 0, 0, "anyone", \
      "Who may connect: anyone, or only who has a token. A token that is there must be good either way. Read again on HUP.") \
    X("Tokens", SECRET, token_secret, 32, 4096, "", \
      "Secret that signs tokens with HS256, as text. With this, token_key_file or token_jwks_url clients' tokens are read. Read again on " \
      "HUP.") \
    X("Tokens", PATH, token_secret_file, 0, 4096, "", "File that holds the secret, instead of token_secret. Read again on HUP.") \
    X("Tokens", PATH, token_key_file, 0, 4096, "", \
      "File with the public keys of who signs tokens: PEM (PUBLIC KEY or CERTIFICATE, several one after another) or a JWKS. RSA keys " \
      "verify " \
      "RS256, P-256 keys ES256. Read again on HUP.") \
    X("Tokens", TEXT, token_jwks_url, 0, 1024, "", \
      "https:// URL of a JWKS with such keys, which is asked now and then, and when a token names a key that is not there. While it does " \
      "not " \
      "answer the keys of its last answer stay.") \
    X("Tokens", AGE, token_jwks_refresh, 1000, 604800000, "10m", "How often token_jwks_url is asked.") \
    X("Tokens", AGE, token_jwks_pause, 100, 3600000, "10s", "How long after one try, for a key that is not there, the next may follow.") \
    X("Tokens", MS, token_jwks_timeout_ms, 100, 60000, "5s", "How long one answer of token_jwks_url may take.") \
    X("Tokens", PATH, token_jwks_ca, 0, 4096, "", \
      "PEM file with the certificates of who signs the server of token_jwks_url. Empty: those that the system trusts.") \
    X("Tokens", TEXT, token_issuer, 0, 1024, "", "What the claim iss of a token must be. Empty: anything. Read again on HUP.") \
    X("Tokens", LIST, token_audience, 0, 16, "", \
      "Of these the claim aud of a token must name one. With `none` among them also tokens without this claim are taken. Empty: tokens " \
      "that " \
      "have it are refused. Read again on HUP.") \
    X("Tokens", AGE, token_leeway, 0, 600000, "5s", "By how much the clocks of signers may differ from this node's. Read again on HUP.") \
    X("Tokens", AGE, token_lifetime_max, 60000, 34560000000, "30d", \
      "A token with a user that lives longer, from iat to exp, is refused. A revocation is kept for as long. All nodes of a cluster need " \
      "the " \
      "same. Read again on HUP.") \
    X("Tokens", TEXT, token_user_claim, 1, 128, "sub", "Claim that names the user. Read again on HUP.") \
    X("Tokens", TEXT, token_topics_claim, 1, 128, "topics", \
      "Claim that grants topics: an array of patterns, or an object of patterns with the rights of each. Read again on HUP.") \
    X("Tokens", TEXT, token_rights_claim, 1, 128, "rights", \
      "Claim with the rights that an array of patterns comes with: of join, push, presence. Without it all. Read again on HUP.") \
    X("Tokens", LIST, token_topics, 0, 64, "", \
      "Patterns of topics that every token grants besides, with all rights; {user} in them stands for the user, as in user:{user}:*. " \
      "Read " \
      "again on HUP.") \
    X("Tokens", TEXT, token_param, 0, 63, "token", "Parameter of the query that may hold the token. Empty: none. Read again on HUP.") \
    X("Tokens", TEXT, token_cookie, 0, 128, "", \
      "Cookie that may hold the token. Pages of other hosts then may only use it if origins lists them; a * there does not. Empty: none. " \
      "Read " \
      "again on HUP.") \
    X("Tokens", MS, token_grace_ms, 0, 600000, "10s", \
      "Between the end of a token and the end of its connection (4001): the client is still given what comes, and may send a new token. " \
      "Read " \
      "again on HUP.")

#define FM_OPTIONS_API(X) \
    X("HTTP API", LISTENER, api_listen, 1, 260, "127.0.0.1:4001", \
      "Where the HTTP API, metrics and status are served; keep it off the public network. none: no API.") \
    X("HTTP API", NETWORKS, api_proxy_protocol_from, 0, 64, "", "As proxy_protocol_from, for connections to api_listen.") \
    X("HTTP API", SECRET, api_key, 8, 4096, "", \
      "Key that API calls must carry as `Authorization: Bearer KEY`; of several, separated by spaces, any. Needed unless the node runs " \
      "with --dev or without API. Read again on HUP.") \
    X("HTTP API", PATH, api_key_file, 0, 4096, "", \
      "File that holds the API key, or several in a line each, instead of api_key. Read again on HUP.") \
    X("HTTP API", BYTES, api_body_max, 1024, 1073741824, "4MiB", "Largest body of an API call.") \
    X("HTTP API", COUNT, api_batch_max, 1, 100000, "1000", "Messages in one API call; one for three topics counts three.") \
    X("HTTP API", BYTES, api_request_bytes, 65536, 1073741824, "16MiB", \
      "Memory that the messages of one API call may take; a payload counts once for each of its topics.") \
    X("HTTP API", TEXT, user_topic, 1, 200, "user:{user}", \
      "Topic of a user, to which the API publishes what is for `user`; {user} in it stands for the name. A [topic] rule must match it. " \
      "With join = token, and where token_topics grants it, a user's clients may join it themselves, and so resume.") \
    X("HTTP API", FLAG, user_subscribe, 0, 1, "true", \
      "Whether every connection of a user is given what is published to user_topic from the connect, also one that does not join it.") \
    X("HTTP API", COUNT, replicas, 1, 127, "1", "Other nodes that must have stored a message before `ack: replicated` is answered.") \
    X("HTTP API", MS, ack_timeout_ms, 10, 60000, "2s", "How long such an answer waits before it fails with not_replicated.")

#define FM_OPTIONS_MESH(X) \
    X("Mesh", TEXT, cluster, 1, 63, "fanmesh", "Name of the cluster. Nodes of another name are refused.") \
    X("Mesh", SECRET, secret, 16, 512, "", \
      "What all nodes of the cluster share and seal the mesh with. Without it, and without mesh_tls_ca, the mesh binds loopback " \
      "addresses " \
      "only.") \
    X("Mesh", PATH, secret_file, 0, 4096, "", "File that holds the secret, instead of secret.") \
    X("Mesh", PATH, mesh_tls_ca, 0, 4096, "", \
      "PEM file with the certificates of who signs the nodes' own: the mesh then speaks TLS, and whoever has no certificate signed by " \
      "these is refused. All nodes or none. Empty: plain TCP. Read again on HUP.") \
    X("Mesh", PATH, mesh_tls_cert, 0, 4096, "", \
      "PEM file with this node's certificate for the mesh and the chain behind it. It serves both ends of a link. Read again on HUP.") \
    X("Mesh", PATH, mesh_tls_key, 0, 4096, "", "PEM file with its private key. Read again on HUP.") \
    X("Mesh", LISTENER, mesh_listen, 1, 260, "127.0.0.1:4002", \
      "Where other nodes link for live messages. none: a node alone, without mesh.") \
    X("Mesh", ADDRESS, mesh_ask_listen, 1, 260, "127.0.0.1:4003", "Where other nodes ask for what they missed.") \
    X("Mesh", ADDRESS, mesh_advertise, 0, 63, "", \
      "mesh_listen as other nodes reach it. Empty: mesh_listen itself, which then must not be a wildcard address.") \
    X("Mesh", ADDRESS, mesh_ask_advertise, 0, 63, "", \
      "mesh_ask_listen as other nodes reach it. Empty: the host of mesh_advertise with the port of mesh_ask_listen.") \
    X("Mesh", ADDRESSES, join, 0, 64, "", \
      "mesh_listen addresses of nodes to join; one that is up is enough, the rest is learned from it.") \
    X("Mesh", MS, heartbeat_ms, 50, 60000, "500ms", "Pace of heartbeats.") \
    X("Mesh", MS, down_ms, 100, 600000, "2s", "A node that was silent for so long is down.") \
    X("Mesh", FLAG, isolated_unready, 0, 1, "false", \
      "Whether /readyz is 503 while the node knows of other nodes and none is in reach. It serves its clients either way.") \
    X("Mesh", MS, found_ms, 0, 60000, "3s", "A node that met no ready node for so long founds a cluster, and merges when it meets one.") \
    X("Mesh", MS, ask_timeout_ms, 50, 60000, "2s", "How long one question to another node may take.") \
    X("Mesh", COUNT, window, 1, 15, "12", "Batches in flight. Below 16, since the mesh drops beyond that without a word.") \
    X("Mesh", MS, window_live_ms, 10, 60000, "200ms", "Only nodes that acknowledged within this time hold the window.") \
    X("Mesh", BYTES, batch_bytes, 1024, 1048576, "64KiB", "Size at which a batch of messages leaves.") \
    X("Mesh", BYTES, mesh_backlog, 65536, 17179869184, "16MiB", \
      "What this node accepted and the others were too slow to take yet; never more than half of log_bytes. Beyond it publishers get an " \
      "error that says so.")

#define FM_OPTIONS_PROGRAM(X) \
    X("Embedded in a program", MS, handler_timeout_ms, 10, 600000, "5s", \
      "A join or push that the program's handler has not answered by then is refused with `timeout`. Only in a program that embeds the " \
      "node.") \
    X("Embedded in a program", BYTES, handler_bytes, 65536, 1073741824, "16MiB", \
      "Joins and pushes that may wait for the program's handlers; beyond it they are refused with `overloaded`.") \
    X("Embedded in a program", BYTES, handler_client_bytes, 4096, 1073741824, "256KiB", \
      "Of these, those of one client; beyond it that client's are refused with `overloaded`, and nobody else's. One is always let in.")

#define FM_OPTIONS_HOOKS(X) \
    X("Hooks", TEXT, hook_url, 0, 2048, "", \
      "URL of the backend that decides what `hook` stands at, and is told of hook_events. It stands in the log, so keep keys out of it. " \
      "Empty: there are no hooks. All options of " \
      "hooks " \
      "are read again on HUP.") \
    X("Hooks", FLAG, hook_connect, 0, 1, "false", "Whether the backend decides who may open a socket.") \
    X("Hooks", LIST, hook_events, 0, 8, "", "What the backend is told of when it has happened: connect, join, leave, disconnect.") \
    X("Hooks", LIST, hook_headers, 0, 16, "", "Headers of the client's request that the backend is given, such as cookie, authorization.") \
    X("Hooks", SECRET, hook_secret, 0, 4096, "", \
      "What requests to the backend are signed with; of several, separated by spaces, each signs. Empty: they are not signed.") \
    X("Hooks", PATH, hook_secret_file, 0, 4096, "", "File that holds the secret, or several in a line each, instead of hook_secret.") \
    X("Hooks", PATH, hook_ca, 0, 4096, "", \
      "PEM file with the certificates of who signs the backend's own, for https. Empty: those that the system trusts.") \
    X("Hooks", TEXT, hook_proxy, 0, 2048, "", \
      "URL of an HTTP proxy before the backend; `environment`: as http_proxy, https_proxy and no_proxy say. Empty: none.") \
    X("Hooks", MS, hook_timeout_ms, 10, 600000, "5s", \
      "A question that the backend has not answered by then is refused with `timeout`; the time in which it waited for its turn counts.") \
    X("Hooks", HOOK_FAILED, hook_failed, 0, 0, "refuse", \
      "What becomes of a question that the backend did not answer, since it is slow, fails or can't be reached. An answer that can't be " \
      "understood always refuses.") \
    X("Hooks", COUNT, hook_concurrency, 1, 1000, "64", "Questions that are put to the backend at the same time.") \
    X("Hooks", COUNT, hook_client, 1, 1000000, "64", \
      "Pushes of one client that may wait for an answer; beyond it they are refused with `overloaded`. Its joins and pushes together may " \
      "take an eighth of what its worker may keep of hook_queue.") \
    X("Hooks", BYTES, hook_queue, 65536, 1073741824, "16MiB", \
      "Questions that may wait; beyond it they are refused with `overloaded`. As much again may wait of what the backend is told; beyond " \
      "it the newest is dropped.") \
    X("Hooks", COUNT, hook_retries, 0, 1000, "5", \
      "How often a question is put again while its time lasts, if it did not leave; and what is told, if the backend answers with an " \
      "error.") \
    X("Hooks", BYTES, hook_answer_max, 64, 16777216, "64KiB", "Largest answer.") \
    X("Hooks", MS, hook_batch_ms, 0, 60000, "100ms", "How long what the backend is told is gathered before it is sent together.") \
    X("Hooks", COUNT, hook_batch, 1, 10000, "500", "Events in one such request.") \
    X("Hooks", COUNT, hook_open_after, 0, 1000000, "10", \
      "Failures in a row after which the backend is left alone for hook_open_ms, and questions are answered at once as hook_failed says. " \
      "0: never.") \
    X("Hooks", MS, hook_open_ms, 10, 600000, "5s", "How long it is left alone; then one request tries again.")

#define FM_OPTIONS_RETENTION(X) \
    X("Retention and repair", BYTES, log_bytes, 65536, 1099511627776, "64MiB", \
      "What is kept of one node's messages, to repair others from.") \
    X("Retention and repair", AGE, log_age, 1000, 2592000000, "10m", "How long it is kept.") \
    X("Retention and repair", BYTES, memory_bytes, 1048576, 17592186044416, "1GiB", \
      "All logs and histories of this node together, and the idempotency keys in them; beyond it the oldest messages go first.") \
    X("Retention and repair", BYTES, keys_bytes, 0, 1099511627776, "64MiB", \
      "Idempotency keys, beside memory_bytes, of messages that had to go before log_age was over: 110 bytes, topic and key for each. " \
      "Beyond it the keys that went first are forgotten, and a retry with one of them is published again. 0: a key goes with its " \
      "message.") \
    X("Retention and repair", COUNT, topics_max, 1, 100000000, "100000", "Topics that the node remembers.") \
    X("Retention and repair", BYTES, commands_bytes, 65536, 1073741824, "8MiB", \
      "Deletions and revocations that every node must know for a while. Beyond it the API takes no more of them; where other nodes give " \
      "more than twice as much, the oldest are forgotten. All nodes of a cluster need the same.") \
    X("Retention and repair", BYTES, hub_inbox_bytes, 65536, 17179869184, "64MiB", \
      "What may wait for the hub. Beyond it publishers get an error that says so. What comes from other nodes may take as much again.") \
    X("Retention and repair", AGE, cursor_ttl, 1000, 31536000000, "24h", \
      "How long the positions of a node that is gone are remembered; older cursors that name it get `recovered: false`. Let it be " \
      "twice the longest `history_age`, and longer than clients are away.") \
    X("Retention and repair", MS, join_wait_ms, 0, 60000, "2s", \
      "A client whose cursor is ahead of this node waits so long for the node to catch up before it is told what was found.") \
    X("Retention and repair", MS, repair_after_ms, 1, 60000, "50ms", "Age at which a hole is pulled from another node.") \
    X("Retention and repair", BYTES, repair_rate, 0, 1099511627776, "64MiB", \
      "Bytes a second that the node pulls from others, to fill holes and to take over the cluster's state. 0: no limit.") \
    X("Retention and repair", MS, gap_ms, 50, 600000, "5s", "A hole that saw no progress for so long is declared as a gap.")

#define FM_OPTIONS_PRESENCE(X) \
    X("Presence", MS, presence_grace_ms, 0, 600000, "3s", \
      "Whoever loses the connection is shown for so long; whoever is back by then under the same key, on any node, is not seen to leave.") \
    X("Presence", AGE, presence_ttl, 1000, 34560000000, "1m", \
      "What a backend shows by the API ends after so long, unless the call says another time or shows it again by then.") \
    X("Presence", AGE, presence_ttl_max, 1000, 34560000000, "1h", "Longest time that such a call may ask for.") \
    X("Presence", MS, presence_pace_ms, 1, 60000, "100ms", \
      "Changes on a topic are gathered for so long and told together; other nodes hear of them twice as often.") \
    X("Presence", BYTES, presence_meta_max, 2, 65536, "4KiB", "Largest meta that a client may show.") \
    X("Presence", BYTES, presence_state_bytes, 1024, 16777216, "256KiB", \
      "About how large one presence_state or presence_diff may be, at most half of outbox_bytes. What a state has no room for follows it " \
      "as diffs.") \
    X("Presence", BYTES, presence_bytes, 65536, 1099511627776, "256MiB", \
      "What all presences may take, those of other nodes too: some 540 bytes, key and meta for each. Beyond it clients of this node that " \
      "want to be shown get an error that says so. Give all nodes the same.")

/* clang-format off */
#define FM_OPTIONS(X) \
    FM_OPTIONS_NODE(X) \
    FM_OPTIONS_CLIENTS(X) \
    FM_OPTIONS_TOKENS(X) \
    FM_OPTIONS_PRESENCE(X) \
    FM_OPTIONS_API(X) \
    FM_OPTIONS_MESH(X) \
    FM_OPTIONS_RETENTION(X) \
    FM_OPTIONS_HOOKS(X) \
    FM_OPTIONS_PROGRAM(X)
/* clang-format on */

/* What HUP reads again, besides the [topic] sections; everything else needs a restart. */
/* clang-format off */
#define FM_OPTIONS_RELOADED(X) \
    X(api_key) \
    X(api_key_file) \
    X(tls_cert) \
    X(tls_key) \
    X(mesh_tls_ca) \
    X(mesh_tls_cert) \
    X(mesh_tls_key) \
    X(connect) \
    X(token_secret) \
    X(token_secret_file) \
    X(token_key_file) \
    X(token_issuer) \
    X(token_audience) \
    X(token_leeway) \
    X(token_lifetime_max) \
    X(token_user_claim) \
    X(token_topics_claim) \
    X(token_rights_claim) \
    X(token_topics) \
    X(token_param) \
    X(token_cookie) \
    X(token_grace_ms) \
    X(hook_url) \
    X(hook_connect) \
    X(hook_events) \
    X(hook_headers) \
    X(hook_secret) \
    X(hook_secret_file) \
    X(hook_ca) \
    X(hook_proxy) \
    X(hook_timeout_ms) \
    X(hook_failed) \
    X(hook_concurrency) \
    X(hook_client) \
    X(hook_queue) \
    X(hook_retries) \
    X(hook_answer_max) \
    X(hook_batch_ms) \
    X(hook_batch) \
    X(hook_open_after) \
    X(hook_open_ms)
/* clang-format on */

/* Keys of a [topic "pattern"] section. */
#define FM_RULE_KEYS(X) \
    X("", WHO, join, 0, 0, "nobody", "Who may join. token: whose token grants it; hook: the backend decides (hook_url).") \
    X("", WHO, push, 0, 0, "nobody", "Which of those who joined may push. hook: the backend decides each push.") \
    X("", WHO, presence, 0, 0, "nobody", \
      "Which of those who joined may be shown to the others; who joins is then told who is there. hook: as the backend says when it lets " \
      "them join.") \
    X("", PUSH_TO, push_to, 0, 0, "all", "Who gets what a client pushes: all subscribers, or all but itself.") \
    X("", COUNT, history_count, 0, 1000000, "0", "Newest messages kept for those who join or come back. 0: none.") \
    X("", BYTES, history_bytes, 1024, 17179869184, "1MiB", "Bytes of them.") \
    X("", AGE, history_age, 1000, 2592000000, "1h", "How long they are kept.") \
    X("", COUNT, last, 0, 1000000, "0", \
      "Newest messages that a join is given which asks for none itself (by a cursor, or by `last`). 1: who joins gets the last value. " \
      "They " \
      "come from the history; without history_count it holds as many.") \
    X("", BYTES, message_max, 0, 16777216, "0", "Largest payload. 0: the option message_max.") \
    X("", COUNT, pushes_per_s, 0, 1000000, "0", \
      "Pushes to one topic that a socket may make in a second, besides the option pushes_per_s. 0: no limit.") \
    X("", SLOW, slow, 0, 0, "disconnect", \
      "What happens to a socket that can't take more: it is closed with 1013 and may resume; or this topic's messages are left out until " \
      "it " \
      "can, and a gap says which (drop), but for the newest of each conflation_key (conflate).")

/* Options of the client commands; they too may come from FANMESH_*. */
#define FM_OPTIONS_CALL(X) \
    X("Connection", TEXT, api_url, 1, 1024, "http://127.0.0.1:4001", "HTTP API of a node (its api_listen). --url does as well.") \
    X("Connection", SECRET, api_key, 0, 4096, "", \
      "Key of the API; of several the first is used. Every user of the machine can see a command line: give api_key_file, or " \
      "FANMESH_API_KEY.") \
    X("Connection", PATH, api_key_file, 0, 4096, "", "File that holds the key, instead of api_key.") \
    X("Connection", MS, timeout_ms, 1, 600000, "10s", "How long the call may take.")

#define FM_OPTIONS_PUBLISH(X) \
    FM_OPTIONS_CALL(X) \
    X("Message", TEXT, user, 0, 255, "", \
      "To this user, on all their connections, in place of a TOPIC: to the one that the node's user_topic names.") \
    X("Message", TEXT, key, 0, 128, "", "Idempotency key: a second publish with the same key is recognised and not delivered again.") \
    X("Message", TEXT, conflation_key, 0, 128, "", \
      "Under slow = conflate a newer message with the same key replaces an older one for a client that is behind.") \
    X("Message", ACK, ack, 0, 0, "local", "When to answer: the node has the message, or other nodes have stored it as well.")

#define FM_OPTIONS_STATUS(X) \
    FM_OPTIONS_CALL(X) \
    X("Form", FLAG, json, 0, 1, "false", \
      "Print one JSON object for programs: `well`, `wrong` (the lines above the table), `cluster` (the answer of /api/cluster).") \
    X("Form", FLAG, check, 0, 1, "false", \
      "End with 1 if something is wrong: the node or another is not ready, deaf, isolated, out of reach or shutting down. The lines " \
      "above " \
      "the table say what.")

/* What all commands to the cluster take. */
#define FM_OPTIONS_TELL(X) \
    FM_OPTIONS_CALL(X) \
    X("Command", TEXT, key, 0, 128, "", \
      "Idempotency key: a second command with the same key does nothing again, and is answered as the first.")

#define FM_OPTIONS_OF_CONNECTION(X) \
    X("Command", TEXT, connection, 0, 64, "", \
      "This connection alone, by its name in `fanmesh connections`. Of a USER as well: only if it is theirs.")

#define FM_OPTIONS_DISCONNECT(X) \
    FM_OPTIONS_TELL(X) \
    FM_OPTIONS_OF_CONNECTION(X) \
    X("Command", TEXT, reason, 0, 123, "", "What the clients are told, at most 123 bytes.") \
    X("Command", FLAG, reconnect, 0, 1, "true", \
      "Whether clients are to connect again (the code is 1001) or stay away (1000: phoenix 1.7 does; others if the application says so).")

#define FM_OPTIONS_UNSUBSCRIBE(X) \
    FM_OPTIONS_TELL(X) \
    FM_OPTIONS_OF_CONNECTION(X)

#define FM_OPTIONS_REVOKE(X) \
    FM_OPTIONS_TELL(X) \
    X("Command", COUNT, issued_until, 0, 281474976710656, "0", \
      "Revokes tokens that were made until this second since 1970, as in the claim iat. 0: until now.")

/* What all commands that list something take. */
#define FM_OPTIONS_LISTED(X) \
    X("List", COUNT, limit, 0, 18446744073709551615U, "0", "At most so many. 0: all.") \
    X("Form", FLAG, json, 0, 1, "false", "Print each as a line of JSON, for programs.")

#define FM_OPTIONS_COUNTED(X) X("Form", FLAG, count, 0, 1, "false", "Print how many there are, as one line of JSON, and no list.")

#define FM_OPTIONS_TOPICS(X) \
    FM_OPTIONS_CALL(X) \
    X("List", TEXT, prefix, 0, 255, "", "Only those whose names begin so.") \
    FM_OPTIONS_LISTED(X)

#define FM_OPTIONS_CONNECTIONS(X) \
    FM_OPTIONS_CALL(X) \
    X("List", TEXT, user, 0, 255, "", "Only those of this user.") \
    X("List", TEXT, topic, 0, 255, "", "Only those that have joined this topic.") \
    FM_OPTIONS_LISTED(X) \
    FM_OPTIONS_COUNTED(X)

#define FM_OPTIONS_PRESENT(X) \
    FM_OPTIONS_CALL(X) \
    FM_OPTIONS_LISTED(X) \
    FM_OPTIONS_COUNTED(X)

#define FM_OPTIONS_SUBSCRIBE(X) \
    X("Connection", TEXT, socket_url, 1, 1024, "ws://127.0.0.1:4000/socket", \
      "Phoenix socket of a node (its listen and mount); wss:// where it has tls_cert. --url does as well.") \
    X("Connection", SECRET, token, 0, 8192, "", \
      "Token to connect with. Every user of the machine can see a command line: give token_file, or FANMESH_TOKEN.") \
    X("Connection", PATH, token_file, 0, 4096, "", \
      "File that holds the token, instead of token. It is read again before each connection, so that a new token in it is used.") \
    X("Connection", MS, timeout_ms, 1, 600000, "10s", "How long connecting and joining may take.") \
    X("Messages", COUNT, last, 0, 1000000, "0", "Begin with the newest n messages of the topic's history.") \
    X("Messages", COUNT, count, 0, 18446744073709551615U, "0", "Stop after so many messages. 0: never.")

#define FM_OPTIONS_SIGN(X) \
    X("Key", SECRET, token_secret, 0, 4096, "", "Secret to sign with HS256.") \
    X("Key", PATH, token_secret_file, 0, 4096, "", "File that holds the secret, instead of token_secret.") \
    X("Key", PATH, private_key_file, 0, 4096, "", "PEM file with a private key to sign with: RSA for RS256, P-256 for ES256.") \
    X("Key", TEXT, kid, 0, 256, "", "Name of the key, for who has several.") \
    X("Claims", TEXT, user, 0, 255, "", "Whose token it is (sub).") \
    X("Claims", LIST, topics, 0, 256, "", "Patterns of topics that it grants.") \
    X("Claims", LIST, rights, 0, 3, "", "What it grants there: of join, push, presence. Empty: all.") \
    X("Claims", AGE, lifetime, 1000, 34560000000, "1h", "How long it is good.") \
    X("Claims", TEXT, issuer, 0, 1024, "", "Who signs it (iss).") \
    X("Claims", LIST, audience, 0, 16, "", "Whom it is for (aud).")

#define FM_OPTIONS_HELP(X) X("Form", FLAG, markdown, 0, 1, "false", "Print `options` as Markdown, as in docs/settings.md.")
