/* A client made of a socket and bytes, so that tests can send what no library would. Blocking, with a time limit on every read; failures
 * end the test. */
#pragma once

#include "../../broker/bytes.h"

enum { RAW_SOON_MS = 30000 }; /* longer than anything may take, on a busy machine under a sanitizer */

struct raw_client {
    int fd;
    struct fm_buf in; /* what was read and not taken yet */
};

void raw_open(struct raw_client *c, uint16_t port);
/* The same with a receive buffer of this size, for clients that are slow. */
void raw_open_small(struct raw_client *c, uint16_t port, int receive_bytes);
void raw_close(struct raw_client *c);
void raw_send(struct raw_client *c, const void *bytes, size_t n);
void raw_puts(struct raw_client *c, const char *text);

/* Reads until what was read and not taken yet has this text. */
void raw_until(struct raw_client *c, const char *text);
/* Reads one HTTP answer; body is zero-terminated. Returns the status. 0: the connection ended before. */
unsigned raw_answer(struct raw_client *c, char *body, size_t body_size);
/* Does nothing more come, and is the connection closed (or reset) within ms? */
bool raw_ends(struct raw_client *c, int ms);

/* Upgrades at this path, with further header lines; asserts 101. */
void raw_upgrade(struct raw_client *c, const char *path, const char *headers);
/* raw_open and raw_upgrade of a Phoenix V2 socket. */
void raw_connect(struct raw_client *c, uint16_t port);

/* One masked frame; first: FIN, reserved bits and opcode, as on the wire. */
void raw_frame(struct raw_client *c, unsigned first, const void *payload, size_t n);
void raw_text(struct raw_client *c, const char *text);

struct raw_message {
    unsigned opcode;
    size_t n;
    uint8_t *bytes; /* zero-terminated; free() */
};
/* The next frame; opcode 0: the connection ended. */
struct raw_message raw_next(struct raw_client *c);
/* Asserts that the next frame is this text. */
void raw_expect(struct raw_client *c, const char *text);
/* Asserts that the next frame that is not text or binary is a CLOSE with this code; answers it and reads until the end. */
void raw_expect_close(struct raw_client *c, unsigned code);
/* Does anything come within ms? */
bool raw_quiet(struct raw_client *c, int ms);

/* ---- raw_channel.c: Phoenix V2 and the API on top of it ---- */

/* Joins with join_ref "j" and asserts that the answer, the next frame, is ok. */
void raw_join(struct raw_client *c, const char *topic);
void raw_join_with(struct raw_client *c, const char *topic, const char *params);
/* One publish, over a connection to the API, of n messages {"i":from..}, each with a filler of so many bytes, to these topics in turn. */
void raw_publish(struct raw_client *api, const char *const *topics, size_t topics_n, uint64_t from, size_t n, size_t filler);
/* The next broadcast's "i"; -1: a gap event, -2: the connection ended, -3: a close. */
long raw_next_i(struct raw_client *c);
