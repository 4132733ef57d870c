#include "src/server/guard.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { HEAD_SECONDS = 15, BODY_SECONDS = 30, BODY_RATE = 16 * 1024, KEY_FILE_LIMIT = 64 * 1024 };

/* ---- Keys ------------------------------------------------------------------------------------ */

static int add_key(rlm_keys *k, const char *text, size_t n, rlm_error *err)
{
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    while (n && isspace((unsigned char)*text))
        text++, n--;
    if (!n)
        return 0;
    if (n < 8 || n >= RLM_KEY_BYTES)
        return rlm_serve_fail(err, RLM_E_ARG, "an API key has %zu letters, allowed are 8 to %d", n,
                              RLM_KEY_BYTES - 1);
    for (size_t i = 0; i < n; i++)
        if (!isgraph((unsigned char)text[i]))
            return rlm_serve_fail(err, RLM_E_ARG, "an API key holds a space or control character");
    if (k->count == RLM_KEYS)
        return rlm_serve_fail(err, RLM_E_ARG, "more than %d API keys", RLM_KEYS);
    memcpy(k->key[k->count++], text, n);
    return 0;
}

static int read_key_file(rlm_keys *k, const char *path, rlm_error *err)
{
    char line[1024];
    FILE *f = fopen(path, "r");
    int code = 0;
    if (!f)
        return rlm_serve_fail(err, RLM_E_IO, "%s: cannot be opened", path);
    for (int i = 0; !code && i < KEY_FILE_LIMIT / 64 && fgets(line, sizeof line, f); i++)
        code = add_key(k, line, strcspn(line, "#\n"), err);
    fclose(f);
    return code;
}

int rlm_keys_read(rlm_keys *k, const char *list, const char *file, rlm_error *err)
{
    memset(k, 0, sizeof *k);
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        int code = add_key(k, p, n, err);
        if (code)
            return code;
        p += n + (p[n] == ',');
    }
    int code = file ? read_key_file(k, file, err) : 0;
    if (!code && (list || file) && !k->count)
        code = rlm_serve_fail(err, RLM_E_ARG, "%s: holds no API key", file ? file : "--api-key");
    return code;
}

/* Every byte of every key is compared, whatever was given. */
int rlm_keys_match(const rlm_keys *k, const char *given)
{
    char padded[RLM_KEY_BYTES] = {0};
    size_t n = strnlen(given, RLM_KEY_BYTES);
    unsigned found = 0, fits = n > 0 && n < RLM_KEY_BYTES;
    memcpy(padded, given, n < RLM_KEY_BYTES ? n : 0);
    for (int i = 0; i < RLM_KEYS; i++) {
        volatile unsigned differ = 0;
        for (int b = 0; b < RLM_KEY_BYTES; b++)
            differ |= (unsigned char)padded[b] ^ (unsigned char)k->key[i][b];
        found |= (differ == 0) & (i < k->count);
    }
    return (int)(found & fits);
}

/* ---- Names ----------------------------------------------------------------------------------- */

int rlm_list_has(const char *list, const char *name, size_t length)
{
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        if (n == length && !strncasecmp(p, name, n))
            return 1;
        p += n + (p[n] == ',');
    }
    return 0;
}

int rlm_address_is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcasecmp(host, "localhost");
}

/* Length of the name in "name:port". */
static size_t name_length(const char *host)
{
    const char *end = *host == '[' ? strchr(host, ']') : NULL;
    return end ? (size_t)(end + 1 - host) : strcspn(host, ":");
}

int rlm_host_allowed(const char *host, const char *list)
{
    char name[256], address[16];
    size_t n = host ? name_length(host) : 0;
    if (!n || n >= sizeof name)
        return 0;
    memcpy(name, host, n);
    name[n] = 0;
    if (host[n] && (host[n] != ':' || strspn(host + n + 1, "0123456789") != strlen(host + n + 1)))
        return 0;
    if (name[0] == '[') {
        name[n - 1] = 0;
        return inet_pton(AF_INET6, name + 1, address) == 1;
    }
    return !strcasecmp(name, "localhost") || inet_pton(AF_INET, name, address) == 1 ||
           rlm_list_has(list, name, n);
}

int rlm_origin_allowed(const char *origin, const char *host, const char *list)
{
    if (rlm_list_has(list, origin, strlen(origin)))
        return 1;
    const char *name = !strncasecmp(origin, "http://", 7)    ? origin + 7
                       : !strncasecmp(origin, "https://", 8) ? origin + 8
                                                             : NULL;
    return name && host && !strcasecmp(name, host);
}

/* ---- Rates ----------------------------------------------------------------------------------- */

int rlm_rates_take(rlm_rates *r, const char *address, int rate, double now)
{
    int at = 0, may;
    if (rate <= 0)
        return 1;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < RLM_RATES; i++) {
        if (!strcmp(r->slot[i].address, address)) {
            at = i;
            break;
        }
        if (r->slot[i].at < r->slot[at].at)
            at = i; /* the one not seen for longest makes room */
    }
    if (strcmp(r->slot[at].address, address)) {
        snprintf(r->slot[at].address, sizeof r->slot[at].address, "%s", address);
        r->slot[at].tokens = 2.0 * rate;
        r->slot[at].at = now;
    }
    double tokens = r->slot[at].tokens + (now - r->slot[at].at) * rate;
    tokens = tokens > 2.0 * rate ? 2.0 * rate : tokens;
    may = tokens >= 1;
    r->slot[at].tokens = may ? tokens - 1 : tokens;
    r->slot[at].at = now;
    pthread_mutex_unlock(&r->lock);
    return may;
}

/* ---- Connections ----------------------------------------------------------------------------- */

rlm_peer *rlm_peers_add(rlm_peers *p, int fd)
{
    rlm_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->fd = fd;
    peer->since = rlm_serve_now();
    pthread_mutex_lock(&p->lock);
    peer->next = p->first;
    if (p->first)
        p->first->previous = peer;
    p->first = peer;
    p->count++;
    pthread_mutex_unlock(&p->lock);
    return peer;
}

void rlm_peers_remove(rlm_peers *p, rlm_peer *peer)
{
    if (!peer)
        return;
    pthread_mutex_lock(&p->lock);
    if (peer->next)
        peer->next->previous = peer->previous;
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        p->first = peer->next;
    p->count--;
    pthread_mutex_unlock(&p->lock);
    free(peer);
}

void rlm_peers_phase(rlm_peers *p, rlm_peer *peer, int phase, int64_t received)
{
    if (!peer)
        return;
    pthread_mutex_lock(&p->lock);
    if (peer->phase != phase)
        peer->since = rlm_serve_now();
    peer->phase = phase;
    peer->received = received;
    pthread_mutex_unlock(&p->lock);
}

int rlm_peers_answered(rlm_peers *peers)
{
    int count = 0;
    pthread_mutex_lock(&peers->lock);
    for (const rlm_peer *p = peers->first; p; p = p->next)
        count += p->phase == RLM_PEER_REPLY;
    pthread_mutex_unlock(&peers->lock);
    return count;
}

int rlm_peers_sweep(rlm_peers *p, double now)
{
    int late = 0;
    pthread_mutex_lock(&p->lock);
    for (rlm_peer *peer = p->first; peer; peer = peer->next) {
        double waited = now - peer->since;
        int over = peer->phase == RLM_PEER_IDLE ? waited > HEAD_SECONDS
                   : peer->phase == RLM_PEER_BODY
                       ? waited > BODY_SECONDS + (double)peer->received / BODY_RATE
                       : 0;
        if (over) {
            shutdown(peer->fd, SHUT_RDWR);
            late++;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return late;
}
