/* The files of assets/web, embedded at build time by embed.py. */
#ifndef RLM_SERVER_PAGE_H
#define RLM_SERVER_PAGE_H

#include <stddef.h>

typedef struct rlm_page_file {
    const char *url;                  /* "/app.js"; "/" is index.html */
    const char *type;                 /* Content-Type */
    const char *etag;                 /* quoted: of the content */
    const unsigned char *data, *gzip; /* gzip NULL: not smaller */
    size_t bytes, gzip_bytes;
} rlm_page_file;

extern const rlm_page_file rlm_page_files[];
extern const int rlm_page_count;
/* Sums of the style sheets and scripts within the page, as its policy names them. */
extern const char rlm_page_styles[], rlm_page_scripts[];

#endif
