/* Whole steps of the three networks with random weights, and the text-to-video path by stage. */
#include <stdio.h>
#include <string.h>

#include "src/train/bench.h"

/* ---- A network under test ------------------------------------------------------------------- */

typedef struct bench_net {
    rlm_bench_state *b;
    rlm_params params;
    rlm_optim optim;
    rlm_recipe recipe;
    rlm_tape tape;
    int parts;    /* of a training step's batch, one after the other; 0: one */
    double flops; /* of one forward, from the tape */
    void (*forward)(struct bench_net *n);
    rlm_tensor out; /* what forward made; its gradient is seeded with ones */
    /* inputs, whichever the network needs */
    rlm_video *video;
    rlm_audio *audio;
    rlm_lm *lm;
    rlm_lm_plan *plan;
    rlm_tensor input;
    int32_t *ids, *pos;
    uint8_t *target;
    int prefix[8], length[8];
} bench_net;

static double conv_flops(double out, const rlm_conv_shape *s)
{
    return 2.0 * out * s->kt * s->kh * s->kw * s->cin;
}

/* Multiply-adds of the dense and convolutional layers and of attention that a tape recorded, x2. */
static double tape_flops(const rlm_tape *tape)
{
    double sum = 0;
    for (int i = 0; i < tape->count; i++) {
        const rlm_record *r = &tape->items[i];
        double out = (double)rlm_tensor_count(&r->out);
        if (r->op == RLM_OP_LINEAR)
            sum += 2.0 * out * (double)rlm_tensor_last(&r->in[0]);
        else if (r->op == RLM_OP_CONV)
            sum += conv_flops(out, &r->u.conv);
        else if (r->op == RLM_OP_PREPARED)
            sum += conv_flops(out, &r->u.prepared.conv);
        else if (r->op == RLM_OP_PAIR)
            for (int h = 0; h < 2; h++) { /* of the first the output is the second's input */
                const rlm_conv_shape *s = &r->u.pair.shape.conv[h];
                sum += conv_flops((double)s->n * s->ot * s->oh * s->ow * s->cout, s);
            }
        else if (r->op == RLM_OP_QKV)
            sum += 2.0 * out * (double)rlm_tensor_last(&r->in[0]);
        else if (r->op == RLM_OP_MLP)
            sum += 6.0 * out * r->u.mlp.shape.ffn;
        else if (r->op == RLM_OP_ATTENTION)
            sum += 2.0 * out * r->u.attention.len; /* q k and p v, half of the square each */
    }
    return sum;
}

static void infer(void *ctx)
{
    bench_net *n = ctx;
    size_t mark = rlm_arena_mark(n->b->run.arena);
    n->forward(n);
    rlm_arena_rewind(n->b->run.arena, mark);
}

static void train_part(bench_net *n)
{
    rlm_run *run = &n->b->run;
    size_t mark = rlm_arena_mark(run->arena);
    run->tape = &n->tape;
    n->forward(n);
    run->k->fill(run->par, rlm_tensor_count(&n->out), 1e-6f, rlm_grad(run, &n->out));
    rlm_backward(run, &n->tape);
    n->flops = tape_flops(&n->tape);
    rlm_tape_clear(&n->tape);
    run->tape = NULL;
    rlm_arena_rewind(run->arena, mark);
}

static void train_step(void *ctx)
{
    bench_net *n = ctx;
    rlm_run *run = &n->b->run;
    for (int i = 0; i < n->parts || i == 0; i++)
        train_part(n);
    rlm_optim_step(&n->optim, run, &n->recipe);
    rlm_params_pack(&n->params, run->k, run->par, true, NULL);
}

/* Run fn once on empty kernels to learn what it needs, then commit that much. */
static int reserve(rlm_bench_state *b, void (*fn)(void *), bench_net *n, rlm_error *err)
{
    rlm_kernels empty;
    const rlm_kernels *real = b->run.k;
    rlm_kernels_empty_training(&empty, real);
    b->run.k = &empty;
    size_t mark = rlm_arena_mark(b->run.arena);
    b->run.arena->peak = mark;
    b->run.tape = fn == train_step ? &n->tape : NULL;
    n->forward(n);
    if (b->run.tape)
        rlm_backward_plan(&b->run, &n->tape);
    n->flops = b->run.tape ? tape_flops(&n->tape) : n->flops;
    rlm_tape_clear(&n->tape);
    b->run.tape = NULL;
    rlm_arena_rewind(b->run.arena, mark);
    b->run.k = real;
    return rlm_arena_commit(b->run.arena, b->run.arena->peak, err);
}

/* n->flops of a forward, from the tape of a dry run. */
static int count_flops(bench_net *n, rlm_error *err)
{
    rlm_kernels empty;
    rlm_run *run = &n->b->run;
    const rlm_kernels *real = run->k;
    rlm_kernels_empty_training(&empty, real);
    size_t mark = rlm_arena_mark(run->arena);
    run->k = &empty;
    run->tape = &n->tape;
    n->forward(n);
    n->flops = tape_flops(&n->tape);
    bool failed = n->tape.failed;
    rlm_tape_clear(&n->tape);
    run->tape = NULL;
    run->k = real;
    rlm_arena_rewind(run->arena, mark);
    run->arena->peak = run->arena->used; /* a tape keeps everything: more than will be run */
    return failed ? rlm_fail(err, RLM_E_NOMEM, "bench: no memory for a tape") : 0;
}

static int open_params(bench_net *n, rlm_error *err)
{
    n->recipe = (rlm_recipe){.steps = 1000,
                             .lr = 1e-9,
                             .muon_lr = 1e-9,
                             .beta1 = 0.9,
                             .beta2 = 0.95,
                             .eps = 1e-8,
                             .clip = 1,
                             .ema = 0.999,
                             .muon = 1};
    RLM_TRY(rlm_params_allocate(&n->params, true, err));
    rlm_params_initialise(&n->params, 1);
    RLM_TRY(rlm_optim_new(&n->optim, &n->params, &n->recipe, err));
    return rlm_params_pack(&n->params, n->b->run.k, n->b->run.par, true, err);
}

static void close_net(bench_net *n)
{
    rlm_video_free(&n->video);
    rlm_audio_free(&n->audio);
    rlm_lm_plan_free(&n->plan);
    rlm_lm_free(&n->lm);
    rlm_optim_free(&n->optim);
    rlm_params_free(&n->params);
    rlm_tape_free(&n->tape);
    rlm_free(n->input.data);
    rlm_free(n->ids);
    rlm_free(n->pos);
    rlm_free(n->target);
}

static int time_row(bench_net *n, const char *name, void (*fn)(void *), double passes,
                    const char *unit, double units, rlm_error *err)
{
    if (!rlm_bench_wants(n->b, name))
        return 0;
    RLM_TRY(reserve(n->b, fn, n, err));
    double seconds = rlm_bench_time(n->b, fn, n);
    rlm_bench_add(n->b, &(rlm_bench_row){.name = name,
                                         .seconds = seconds,
                                         .flops = passes * n->flops,
                                         .unit = unit,
                                         .units = units});
    return 0;
}

static int new_input(bench_net *n, int rank, const int64_t *shape, rlm_error *err)
{
    rlm_tensor t = rlm_tensor_view(NULL, RLM_F32, rank, shape);
    size_t count = (size_t)rlm_tensor_count(&t);
    t.data = rlm_alloc(rlm_size_mul(count, sizeof(float)));
    rlm_bench_values(t.data, count);
    rlm_free(n->input.data);
    n->input = t;
    return t.data ? 0 : rlm_fail(err, RLM_E_NOMEM, "bench: no memory for inputs");
}

/* ---- Video ---------------------------------------------------------------------------------- */

static void video_encode(bench_net *n)
{
    n->out = rlm_video_encode_forward(&n->b->run, n->video, &n->input);
}

static void video_decode(bench_net *n)
{
    n->out = rlm_video_decode_forward(&n->b->run, n->video, &n->input);
}

static void video_both(bench_net *n)
{
    rlm_tensor z = rlm_video_encode_forward(&n->b->run, n->video, &n->input);
    rlm_tensor q = rlm_lfq_forward(&n->b->run, &z, NULL);
    n->out = rlm_video_decode_forward(&n->b->run, n->video, &q);
}

/* Rows of the video tokenizer and of sound. */
static const char *const video_names[] = {"video default train step, batch 4",
                                          "video default encode 17x128x128",
                                          "video default decode 17x128x128"};
static const char *const audio_names[] = {"audio default train step, 16 x 1 s",
                                          "audio default encode + decode, 1 s"};
static const char *const paper_name = "video paper forward 17x128x128";

static bool wants_any(const rlm_bench_state *b, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (rlm_bench_wants(b, names[i]))
            return true;
    return false;
}

static int video_rows(rlm_bench_state *b, rlm_error *err)
{
    bench_net n = {.b = b};
    rlm_video_config c;
    if (!wants_any(b, video_names, 3))
        return 0;
    rlm_video_config_defaults(&c);
    int code = rlm_video_new(&n.video, &c, &n.params, err);
    if (!code)
        code = open_params(&n, err);
    n.forward = video_both;
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){4, 17, 128, 128, 3}, err);
    if (!code)
        code = time_row(&n, video_names[0], train_step, 3, "clips", 4, err);
    double both = n.flops / 4;
    n.forward = video_encode;
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){1, 17, 128, 128, 3}, err);
    n.flops = both / 2;
    if (!code)
        code = time_row(&n, video_names[1], infer, 1, "frames", 17, err);
    n.forward = video_decode;
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){1, 5, 16, 16, c.bits}, err);
    if (!code)
        code = time_row(&n, video_names[2], infer, 1, "frames", 17, err);
    close_net(&n);
    return code;
}

/* The paper's network: weights only, one clip there and back. */
static int paper_row(rlm_bench_state *b, rlm_error *err)
{
    bench_net n = {.b = b, .forward = video_both};
    rlm_video_config c;
    if (!rlm_bench_wants(b, paper_name))
        return 0;
    rlm_video_config_paper(&c);
    int code = rlm_video_new(&n.video, &c, &n.params, err);
    if (!code)
        code = rlm_params_allocate(&n.params, false, err);
    if (!code) {
        rlm_params_initialise(&n.params, 1);
        code = rlm_params_pack(&n.params, b->run.k, b->run.par, false, err);
    }
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){1, 17, 128, 128, 3}, err);
    if (!code)
        code = count_flops(&n, err);
    if (!code)
        code = time_row(&n, paper_name, infer, 1, "frames", 17, err);
    close_net(&n);
    return code;
}

/* ---- Sound ---------------------------------------------------------------------------------- */

static void audio_both(bench_net *n)
{
    rlm_tensor z = rlm_audio_encode_forward(&n->b->run, n->audio, &n->input);
    n->out = rlm_audio_decode_forward(&n->b->run, n->audio, &z);
}

static int audio_rows(rlm_bench_state *b, rlm_error *err)
{
    bench_net n = {.b = b, .forward = audio_both};
    rlm_audio_config c;
    if (!wants_any(b, audio_names, 2))
        return 0;
    rlm_audio_config_defaults(&c);
    int code = rlm_audio_new(&n.audio, &c, &n.params, err);
    if (!code)
        code = open_params(&n, err);
    if (!code) {
        rlm_audio_fill(n.audio);
        code = rlm_params_pack(&n.params, b->run.k, b->run.par, true, err);
    }
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){16, 1, 1, 16000, 1}, err);
    if (!code)
        code = time_row(&n, audio_names[0], train_step, 3, "s", 16, err);
    n.flops /= 16;
    if (!code)
        code = new_input(&n, 5, (int64_t[5]){1, 1, 1, 16000, 1}, err);
    if (!code)
        code = time_row(&n, audio_names[1], infer, 1, "s", 1, err);
    close_net(&n);
    return code;
}

/* ---- Language model ------------------------------------------------------------------------- */

static void lm_forward(bench_net *n)
{
    rlm_tensor h = rlm_lm_forward(&n->b->run, n->lm, n->plan);
    rlm_lm_logits logits = rlm_lm_heads_forward(&n->b->run, n->lm, n->plan, &h);
    n->out = logits.logits[RLM_LM_GROUP_VIDEO_HI];
}

/* Sequences of a 24-token prefix and video codes. */
static int lm_batch(bench_net *n, int batch, int len, rlm_error *err)
{
    enum { PREFIX = 24 };
    n->ids = rlm_calloc((size_t)batch * len, sizeof *n->ids);
    n->pos = rlm_calloc((size_t)batch * len * 3, sizeof *n->pos);
    n->target = rlm_calloc((size_t)batch * len, 1);
    if (!n->ids || !n->pos || !n->target)
        return rlm_fail(err, RLM_E_NOMEM, "bench: no memory for a batch");
    for (int i = 0; i < batch * len; i++) {
        int p = i % len;
        n->ids[i] = p < PREFIX ? 1 : 256 + i * 7919 % 262144;
        n->target[i] = p >= PREFIX;
        n->pos[i * 3] = p / 256;
        n->pos[i * 3 + 1] = p / 16 % 16;
        n->pos[i * 3 + 2] = p % 16;
        n->prefix[i / len] = PREFIX;
        n->length[i / len] = len;
    }
    rlm_lm_batch b = {batch, len, n->ids, n->pos, n->target, n->prefix, n->length};
    RLM_TRY(rlm_lm_plan_new(&n->plan, n->lm, batch, len, err));
    rlm_lm_plan_fill(n->plan, n->lm, &b);
    return 0;
}

/* parts x batch: sequences of a training step, `batch` at a time. */
static int lm_rows(rlm_bench_state *b, const char *preset, int parts, int batch, rlm_error *err)
{
    enum { LEN = 1792 };
    char name[96];
    bench_net n = {.b = b, .forward = lm_forward, .parts = parts};
    rlm_lm_config c;
    snprintf(name, sizeof name, "lm %s train step, batch %d x %d", preset, parts * batch, LEN);
    if (!rlm_bench_wants(b, name))
        return 0;
    rlm_lm_config_defaults(&c);
    rlm_lm_config_preset(&c, preset);
    int code = rlm_lm_new(&n.lm, &c, &n.params, err);
    if (!code)
        code = open_params(&n, err);
    if (!code)
        code = lm_batch(&n, batch, LEN, err);
    if (!code)
        code = time_row(&n, name, train_step, 3 * parts, "tokens", parts * batch * LEN, err);
    close_net(&n);
    return code;
}

int rlm_bench_networks(rlm_bench_state *b, rlm_error *err)
{
    RLM_TRY(video_rows(b, err));
    RLM_TRY(audio_rows(b, err));
    RLM_TRY(lm_rows(b, "default", 1, 4, err));
    RLM_TRY(rlm_bench_decode(b, "default", err));
    if (b->quick)
        return 0;
    RLM_TRY(paper_row(b, err));
    RLM_TRY(lm_rows(b, "300m", 8, 1, err));
    RLM_TRY(rlm_bench_decode(b, "300m", err));
    return rlm_bench_decode(b, "1b", err);
}

int rlm_bench_generate(rlm_bench_state *b, const char *model_dir, const rlm_options *options,
                       rlm_error *err)
{
    rlm_engine *engine = NULL;
    rlm_session *session = NULL;
    rlm_request r;
    rlm_report report = {0};
    rlm_clip clip = {0};
    rlm_request_defaults(&r);
    b->run.arena->peak = 0; /* the session has its own */
    r.prompt = "a red ball bounces on grass";
    r.seed = 1;
    double start = rlm_now();
    int code = rlm_open(&engine, model_dir, options, err);
    if (!code)
        code = rlm_session_open(&session, engine, err);
    double open_s = rlm_now() - start;
    if (!code)
        code = rlm_generate(session, &r, &clip, &report, err);
    if (!code) {
        const rlm_bench_row rows[] = {
            {.name = RLM_BENCH_GENERATE "open model", .seconds = open_s},
            {.name = RLM_BENCH_GENERATE "read the prompt",
             .seconds = report.prefill_s,
             .unit = "tokens",
             .units = (double)report.prefix_tokens},
            {.name = RLM_BENCH_GENERATE "sample, guidance on",
             .seconds = report.sample_s,
             .unit = "tokens",
             .units = (double)(report.video_tokens + report.audio_tokens)},
            {.name = RLM_BENCH_GENERATE "decode",
             .seconds = report.decode_s,
             .unit = "frames",
             .units = report.frames},
            {.name = RLM_BENCH_GENERATE "all but writing", .seconds = rlm_now() - start}};
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            rlm_bench_add(b, &rows[i]);
    }
    rlm_clip_free(&clip);
    rlm_session_close(&session);
    rlm_close(&engine);
    return code;
}
