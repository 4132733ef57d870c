/* Who may ask: keys, Host and Origin headers, rates, and the patience with slow connections. */
#ifndef RLM_SERVER_GUARD_H
#define RLM_SERVER_GUARD_H

#include <pthread.h>

#include "src/server/bytes.h"

enum { RLM_KEY_BYTES = 256, RLM_KEYS = 64, RLM_HOSTS = 32, RLM_RATES = 256 };

typedef struct rlm_keys {
    char key[RLM_KEYS][RLM_KEY_BYTES]; /* padded with zeros */
    int count;
} rlm_keys;

/* Add keys from a list with commas and/or a file; each 8 to 255 printable characters. */
int rlm_keys_read(rlm_keys *keys, const char *list, const char *file, rlm_error *err);
/* 1 when `given` is one of them; the time taken tells nothing about the keys. */
int rlm_keys_match(const rlm_keys *keys, const char *given);

/* The name part of a Host header ("[::1]:80" -> "[::1]") is ours: an address in numbers, localhost,
 * or in the list (names with commas, NULL: none). Keeps other people's names, pointed at this
 * address by DNS, away. */
int rlm_host_allowed(const char *host_header, const char *list);
/* A page of `origin` may change things here: it is our own (same host and port) or in the list. */
int rlm_origin_allowed(const char *origin, const char *host_header, const char *list);
int rlm_list_has(const char *list, const char *name, size_t length); /* names with commas */
int rlm_address_is_loopback(const char *host);

/* Token buckets, one an address: `rate` a second, bursts of twice that. */
typedef struct rlm_rates {
    pthread_mutex_t lock;
    struct {
        char address[48];
        double tokens, at;
    } slot[RLM_RATES];
} rlm_rates;
/* 1 when the address may go on now. */
int rlm_rates_take(rlm_rates *rates, const char *address, int rate, double now);

/* Open connections and since when each waits for its client. */
enum { RLM_PEER_IDLE, RLM_PEER_BODY, RLM_PEER_REPLY };
typedef struct rlm_peer {
    struct rlm_peer *next, *previous;
    int fd, phase;
    double since;
    int64_t received;
} rlm_peer;
typedef struct rlm_peers {
    pthread_mutex_t lock;
    rlm_peer *first;
    int count;
} rlm_peers;
rlm_peer *rlm_peers_add(rlm_peers *peers, int fd); /* NULL without memory */
void rlm_peers_remove(rlm_peers *peers, rlm_peer *peer);
void rlm_peers_phase(rlm_peers *peers, rlm_peer *peer, int phase, int64_t received);
/* How many get an answer at this moment. */
int rlm_peers_answered(rlm_peers *peers);
/* Shut down those that have kept us waiting: 15 s for a request's head, 30 s and 16 KiB a second
 * for its body. Returns how many. */
int rlm_peers_sweep(rlm_peers *peers, double now);

#endif
