#include "peer.h"

#include "../../broker/diag.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

struct fm_peer fm_peer_of(const struct sockaddr *sa)
{
    struct fm_peer peer = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof v4);
        peer.ip = fm_ip_of_v4((const uint8_t *)&v4.sin_addr);
        peer.port = ntohs(v4.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sa, sizeof v6);
        memcpy(peer.ip.b, &v6.sin6_addr, sizeof peer.ip.b);
        peer.port = ntohs(v6.sin6_port);
    }
    return peer;
}

const char *fm_peer_text(const struct fm_peer *peer, char text[FM_PEER_TEXT_MAX])
{
    static const struct fm_ip none;
    char host[INET6_ADDRSTRLEN] = "", port[8] = "", whole[2 * FM_PEER_TEXT_MAX];
    if (memcmp(&peer->ip, &none, sizeof none) == 0)
        return memcpy(text, "-", 2);
    bool v4 = fm_ip_is_v4(&peer->ip);
    (void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? peer->ip.b + 12 : peer->ip.b, host, sizeof host);
    if (peer->port)
        snprintf(port, sizeof port, ":%u", peer->port);
    snprintf(whole, sizeof whole, "%s%s%s%s", v4 ? "" : "[", host, v4 ? "" : "]", port);
    size_t n = strnlen(whole, FM_PEER_TEXT_MAX - 1);
    memcpy(text, whole, n);
    text[n] = 0;
    return text;
}

void fm_client_say(const struct fm_peer *peer, const char *event, const char *why)
{
    char text[FM_PEER_TEXT_MAX];
    if (fm_diag_level_get() <= FM_DEBUG)
        fm_diag(FM_DEBUG, event, "peer=%s why=\"%s\"", fm_peer_text(peer, text), why);
}
