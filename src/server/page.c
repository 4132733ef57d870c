/* The web page: embedded files, under a policy that lets them load nothing but themselves and talk
 * to no one but this server. */
#include <stdio.h>
#include <string.h>

#include "src/server/http.h"
#include "src/server/page.h"

static const char policy[] =
    "default-src 'none'; script-src 'self' %s; style-src %s; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'";

static int accepts_gzip(const rlm_exchange *x)
{
    const char *accept = rlm_header(x, "Accept-Encoding");
    return accept && strstr(accept, "gzip") && !strstr(accept, "gzip;q=0");
}

static void add_headers(struct MHD_Response *r, const rlm_page_file *f)
{
    MHD_add_response_header(r, "Content-Type", f->type);
    MHD_add_response_header(r, "ETag", f->etag);
    MHD_add_response_header(r, "Cache-Control", "no-cache");
    MHD_add_response_header(r, "Vary", "Accept-Encoding");
    char text[1024];
    snprintf(text, sizeof text, policy, rlm_page_scripts, rlm_page_styles);
    MHD_add_response_header(r, "Content-Security-Policy", text);
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(r, "Cross-Origin-Opener-Policy", "same-origin");
    MHD_add_response_header(r, "Permissions-Policy", "camera=(), microphone=(), geolocation=()");
}

enum MHD_Result rlm_route_page(rlm_exchange *x)
{
    const rlm_page_file *f = NULL;
    for (int i = 0; i < rlm_page_count; i++)
        if (!strcmp(rlm_page_files[i].url, x->url))
            f = &rlm_page_files[i];
    if (!f) {
        rlm_refusal r;
        rlm_refuse(&r, 404, "not_found", "", "There is nothing at '%.200s'.", x->url);
        return rlm_reply_refusal(x, &r);
    }
    const char *known = rlm_header(x, "If-None-Match");
    int same = known && strstr(known, f->etag), zipped = f->gzip && accepts_gzip(x);
    struct MHD_Response *r = MHD_create_response_from_buffer(same     ? 0
                                                             : zipped ? f->gzip_bytes
                                                                      : f->bytes,
                                                             (void *)(zipped ? f->gzip : f->data),
                                                             MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    add_headers(r, f);
    if (zipped && !same)
        MHD_add_response_header(r, "Content-Encoding", "gzip");
    return rlm_reply(x, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, r);
}
