/* A sentence to a clip: cc minimal.c $(pkg-config --cflags --libs reelm) && ./a.out MODEL_DIR "words" out.mp4 */
#include <reelm/reelm.h>
#include <stdio.h>

static int told(void *cookie, const rlm_progress *p)
{
    (void)cookie;
    fprintf(stderr, "\r%3lld %%", (long long)(100 * p->done / (p->total ? p->total : 1)));
    return 0; /* 1 would cancel */
}

int main(int argc, char **argv)
{
    rlm_engine *engine = NULL;
    rlm_session *session = NULL;
    rlm_clip clip = {0};
    rlm_request request;
    rlm_error err = {0};
    if (argc < 4)
        return fprintf(stderr, "usage: %s MODEL_DIR WORDS FILE [FRAMES]\n", argv[0]), 2;
    rlm_request_defaults(&request);
    request.prompt = argv[2];
    request.seed = 1;
    request.progress = told;
    if (argc > 4)
        sscanf(argv[4], "%d", &request.frames);
    int code = rlm_open(&engine, argv[1], NULL, &err);
    if (!code)
        code = rlm_session_open(&session, engine, &err);
    if (!code)
        code = rlm_generate(session, &request, &clip, NULL, &err);
    if (!code)
        code = rlm_media_write(argv[3], &clip, NULL, &err);
    if (code)
        fprintf(stderr, "%s\n", err.text);
    rlm_clip_free(&clip);
    rlm_session_close(&session);
    rlm_close(&engine);
    return code != 0;
}
