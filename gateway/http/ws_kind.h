/* The kinds of WebSocket frames (RFC 6455, 5.2: opcodes): what the servers' side (proto.h) and the clients' (ws_client.h) share. */
#pragma once

enum fm_ws_kind { FM_WS_TEXT = 1, FM_WS_BINARY = 2, FM_WS_CLOSE = 8, FM_WS_PING = 9, FM_WS_PONG = 10 };

enum { FM_WS_PACKED = 0x40 }; /* RSV1, beside the kind of a message's first frame: permessage-deflate */
