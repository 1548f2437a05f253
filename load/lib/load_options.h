/* The options of fanmesh-load: one table, from which `--help` is printed. */
#pragma once

#include "../../gateway/settings/option.h"

/* group, type, name, min, max, default, help */
#define FM_LOAD_OPTIONS(X) \
    X("Scenario", SCENARIO, scenario, 0, 0, "none", \
      "Defaults that make a run of a kind; each may be given otherwise. fan-out: many on one topic, 8 messages in flight. chat: rooms in " \
      "which " \
      "all speak. latency: a fixed rate. storm: quiet clients, and 2,000 others that all reconnect at once. mixed: several topics a " \
      "client, " \
      "a fixed rate, and others that come and go meanwhile.") \
    X("Clients", LIST, nodes, 1, 64, "ws://127.0.0.1:4000", \
      "Nodes to connect to, ws://host:port[/path] or wss://; with sse http:// or https://. Without a path: that of the framing. {topic} " \
      "in " \
      "it is the client's topic. Client i begins on node i modulo their number; cut off, it goes on to another.") \
    X("Clients", FRAMING, framing, 0, 0, "phoenix", \
      "What clients speak: Phoenix V2; plain WebSocket, whose messages are payloads; EventSource (only listens, publish with --api); " \
      "Socket.IO 5 (events subscribe, publish and load); NATS or MQTT 3.1.1 over WebSocket. Where clients are told nothing of their " \
      "publishes, sent counts as accepted.") \
    X("Clients", TEXT, join_text, 0, 1024, "", \
      "websocket: the text that joins {topic}. Without it the URL of --nodes does, or every client is given everything.") \
    X("Clients", TEXT, push_text, 0, 1024, "", "websocket: the text that publishes {payload} to {topic}. Without it: the payload.") \
    X("Clients", COUNT, connections, 1, 1000000, "1000", "Clients.") \
    X("Clients", COUNT, topics, 1, 100000, "1", "Topics, over which the clients are spread evenly.") \
    X("Clients", COUNT, topics_per_connection, 1, 10000, "1", "Topics that each client joins.") \
    X("Clients", COUNT, rooms, 0, 100000, "0", \
      "Chat: so many rooms of --members clients each, of whom every one publishes into its room. Replaces --connections and --topics.") \
    X("Clients", COUNT, members, 1, 100000, "10", "Clients of each room.") \
    X("Clients", TEXT, topic_prefix, 1, 64, "room:load-", "Topics are called this, a random word for the run, and a number.") \
    X("Clients", FLAG, plain, 0, 0, "false", \
      "Join without a cursor. Then order is checked a publishing connection instead of an origin, and what is missed while cut off " \
      "counts as declared.") \
    X("Clients", COUNT, connect_rate, 0, 1000000, "2000", "New connections a second; 0: all at once.") \
    X("Clients", COUNT, connecting_max, 0, 1000000, "0", \
      "Connections that have begun and not joined, at most: beyond what a server's listener holds they wait a second. 0: an eighth of a " \
      "second's, or all.") \
    X("Clients", MS, connect_ms, 1, 86400000, "60s", \
      "All clients must have joined by then; and how long, while publishing, no node may take a message.") \
    X("Clients", MS, join_timeout_ms, 1, 86400000, "10s", \
      "How long connecting, the upgrade and the join may take, each; then the client goes on to another.") \
    X("Clients", MS, heartbeat_ms, 0, 86400000, "30s", "Each client's heartbeats, spread evenly; 0: none.") \
    X("Clients", MS, heartbeat_timeout_ms, 0, 86400000, "0", \
      "A client whose heartbeat isn't answered for so long goes on to another node, as when it is cut off; 0: heartbeat_ms.") \
    X("Clients", COUNT, processes, 1, 64, "1", \
      "Processes, each with its share of the clients: for more clients than one may have descriptors, and more work than one core does. " \
      "The first publishes (in a chat each does in its own rooms).") \
    X("Clients", COUNT, sources, 1, 100, "1", "Loopback addresses to connect from, 127.0.0.1 and on, where one runs out of ports.") \
    X("Clients", PATH, tls_ca, 0, 4096, "", "Certificates (PEM) to trust in wss:// and https://. Without it: those of the system.") \
    X("Clients", FLAG, tls_insecure, 0, 0, "false", "Trust any certificate.") \
    X("Clients", FLAG, tls_resume, 0, 0, "false", "Offer each node the TLS session of an earlier connection to it.") \
    X("Messages", COUNT, messages, 0, 100000000, "1000", \
      "Messages to publish; 0: none, or as many as duration_ms allows, or until the storm is over.") \
    X("Messages", MS, duration_ms, 0, 86400000, "0", "Stop publishing after this time; 0: after the messages.") \
    X("Messages", COUNT, rate, 0, 10000000, "0", "Messages a second; 0: by the window.") \
    X("Messages", MS, every_ms, 1, 86400000, "1s", "Chat: how often each member publishes.") \
    X("Messages", COUNT, window, 1, 100000, "1", "Messages in flight; one is until every subscriber of its topic has it.") \
    X("Messages", BYTES, payload, 1, 1048576, "64", "Size of a payload; it can't be below its stamp, about 55 bytes.") \
    X("Messages", COUNT, warmup, 0, 1000000, "0", "Messages before those that are measured. They are checked as well.") \
    X("Messages", LIST, api, 0, 64, "", \
      "Publish by HTTP POST to these in turn, http://host:port[/path] or https://. Without a path: /api/publish. {topic} in it is the " \
      "topic, and the body then the payload alone. Without this: by pushes of subscribers.") \
    X("Messages", LIST, publish_to, 0, 64, "", \
      "Publish by pushes of further clients, that join nothing, on these nodes: for a way from one node to another. Not with phoenix, " \
      "whose clients push where they joined.") \
    X("Messages", COUNT, api_connections, 1, 64, "4", "Connections to each API, one request at a time on each.") \
    X("Messages", SECRET, api_key, 0, 400, "", "API key. Better in the environment as FANMESH_API_KEY.") \
    X("Messages", MS, api_timeout_ms, 1, 86400000, "5s", "How long an HTTP publish may take, then its connection is given up.") \
    X("Messages", ACKS, ack, 0, 0, "local", "What an HTTP publish waits for; mixed: a share of them for replicated.") \
    X("Messages", COUNT, replicated_percent, 0, 100, "25", "That share, in percent.") \
    X("Messages", COUNT, keyed_percent, 0, 100, "0", \
      "Share of the HTTP publishes, in percent, that have an idempotency key and are tried again, at another API, when refused or not " \
      "answered.") \
    X("Messages", COUNT, retries, 0, 20, "10", "How often such a publish is tried again.") \
    X("Messages", MS, settle_ms, 1, 3600000, "5s", \
      "How long to wait, without any delivery, for what is still missing; and how long a message may hold up the window.") \
    X("Storm", STORM, storm, 0, 0, "none", \
      "While messages are published at --rate, a second group of clients, in a process of its own, connects, disconnects or reconnects; " \
      "latencies are told apart by whether a message was published in quiet or in the storm.") \
    X("Storm", COUNT, storm_connections, 1, 1000000, "1000", "Clients of that group.") \
    X("Storm", COUNT, storm_rate, 0, 1000000, "0", "How many of them a second; 0: all at once.") \
    X("Storm", COUNT, storm_rounds, 1, 1000, "1", "How often.") \
    X("Storm", MS, quiet_ms, 100, 3600000, "3s", "How long messages are published before the storm.") \
    X("Measuring", LIST, pid, 0, 64, "", "Process ids of the nodes: their CPU time and memory are measured.") \
    X("Measuring", FLAG, no_verify, 0, 0, "false", "Count messages instead of checking every one at every client.") \
    X("Measuring", MS, idle_ms, 0, 86400000, "0", "Before publishing, measure the nodes' CPU time while nothing happens for so long.") \
    X("Measuring", PATH, gone_file, 0, 4096, "", \
      "Origins of nodes that were killed, one a line as in message ids, read at the end. What such a node acknowledged `local` and " \
      "nobody " \
      "else has may be lost.") \
    X("Measuring", PATH, series, 0, 4096, "", "Writes a line of JSON a second into this file: what happened until then.") \
    X("Measuring", PATH, report, 0, 4096, "", \
      "Writes a page of pictures into this file (HTML, nothing beside it): latencies, throughput over time, memory over connections. " \
      "load/report.mjs makes one of several results.") \
    X("Measuring", FLAG, json, 0, 0, "false", "Print one JSON object.")

#define X(group, type, name, min, max, def, help) FM_FIELD_##type name;
struct fm_load_options {
    FM_LOAD_OPTIONS(X)
};
#undef X

enum {
#define X(...) +1
    FM_LOAD_OPTIONS_N = 0 FM_LOAD_OPTIONS(X)
#undef X
};

enum fm_storm_kind { FM_STORM_NONE, FM_STORM_CONNECT, FM_STORM_DISCONNECT, FM_STORM_RECONNECT }; /* the option `storm` */

extern const struct fm_option fm_load_options[];

enum fm_load_exit {
    FM_LOAD_OK = 0,       /* everything arrived, once, in order */
    FM_LOAD_BROKEN = 1,   /* a promise was broken */
    FM_LOAD_UNUSABLE = 2, /* wrong options, or the test could not be carried out */
    FM_LOAD_DECLARED = 3, /* something was lost, and its subscribers were told, or it died with its node as is allowed */
};

/* Reads command line and environment; *go is false where the program is to end with the result. The caller ends with fm_options_fini. */
FM_MUST_CHECK enum fm_load_exit fm_load_options_read(struct fm_load_options *o, int argc, char *const *argv, bool *go);
