/* Who a client is: its address as the connection, a PROXY protocol header or X-Forwarded-For says. Small, since every socket has one.
 *
 * -- any thread -- */
#pragma once

#include "../settings/network.h"

struct sockaddr;

enum { FM_PEER_TEXT_MAX = 48 };

struct fm_peer {
    struct fm_ip ip; /* all zero: unknown, or the node itself */
    uint16_t port;   /* 0: unknown */
};

/* Of an address of the kinds AF_INET and AF_INET6; others are unknown. */
struct fm_peer fm_peer_of(const struct sockaddr *sa);
/* "1.2.3.4:5678", "[2001:db8::1]:5678", without the port where that is unknown; "-" where all is. Returns text. */
const char *fm_peer_text(const struct fm_peer *peer, char text[FM_PEER_TEXT_MAX]);

/* A line in the log, at level debug, about one client. why: plain text without quotes. */
void fm_client_say(const struct fm_peer *peer, const char *event, const char *why);
