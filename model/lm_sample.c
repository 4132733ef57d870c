/* From hidden states to one id: heads of the legal modality, guidance, filters, one draw of the
 * counter generator. Logits leave the tensors here: they are copied once into plain arrays on the
 * stack. */
#include "model/lm_private.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"

/* Stream numbers of the counter generator, distinct from those of training. */
enum { STREAM_FIRST = 101, STREAM_SECOND = 102 };

typedef struct choice {
    float p;
    int class;
} choice;

/* Guided logits of one head over `classes`, f32; illegal classes are -inf. */
typedef struct scores {
    int classes;
    float v[RLM_LM_CLASSES_MAX];
} scores;

static void guide(rlm_run *run, const rlm_tensor *logits, const rlm_lm_sampling *s, scores *out)
{
    float other[RLM_LM_CLASSES_MAX];
    int n = (int)rlm_tensor_last(logits);
    assert(n <= RLM_LM_CLASSES_MAX);
    out->classes = n;
    memset(out->v, 0, (size_t)n * sizeof out->v[0]); /* a dry run leaves zeros */
    run->k->copy(run->par, n, rlm_f32(logits), out->v);
    if (s->cfg_scale == 1.0f || rlm_tensor_rows(logits) < 2)
        return;
    memset(other, 0, (size_t)n * sizeof other[0]);
    run->k->copy(run->par, n, rlm_f32(logits) + n, other);
    for (int i = 0; i < n; i++)
        out->v[i] = other[i] + s->cfg_scale * (out->v[i] - other[i]);
}

static int best(const scores *t)
{
    int at = 0;
    for (int i = 1; i < t->classes; i++)
        if (t->v[i] > t->v[at])
            at = i;
    return at;
}

static double log_prob(const scores *t, int class)
{
    double top = t->v[best(t)], sum = 0;
    for (int i = 0; i < t->classes; i++)
        sum += exp((double)t->v[i] - top);
    return (double)t->v[class] - top - log(sum);
}

/* Larger first; equal ones in order of class, so that the draw depends on the values alone. */
static int by_probability(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->class - y->class;
}

/* How many of the sorted choices the filters leave. */
static int filter(const choice *c, int n, const rlm_lm_sampling *s, double sum)
{
    int keep = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    if (s->top_p < 1.0f) {
        double mass = 0;
        int i = 0;
        while (i < keep && mass < (double)s->top_p * sum)
            mass += (double)c[i++].p;
        keep = i > 0 ? i : 1;
    }
    while (keep > 1 && c[keep - 1].p < s->min_p * c[0].p)
        keep--;
    return keep;
}

static int draw(const scores *t, const rlm_lm_sampling *s, uint64_t stream, int64_t index)
{
    choice c[RLM_LM_CLASSES_MAX];
    double sum = 0, kept = 0;
    int n = 0, top = best(t);
    if (s->temperature <= 0.0f)
        return top;
    for (int i = 0; i < t->classes; i++) {
        if (isinf(t->v[i]) && t->v[i] < 0)
            continue;
        c[n].p = (float)exp(((double)t->v[i] - (double)t->v[top]) / (double)s->temperature);
        c[n].class = i;
        sum += (double)c[n++].p;
    }
    if (s->top_k > 0 || s->top_p < 1.0f || s->min_p > 0.0f) {
        qsort(c, (size_t)n, sizeof c[0], by_probability);
        n = filter(c, n, s, sum);
    }
    for (int i = 0; i < n; i++)
        kept += (double)c[i].p;
    double u = (double)rlm_rng_uniform(s->seed, stream, (uint64_t)index) * kept;
    int at = 0;
    for (double mass = c[0].p; at < n - 1 && u >= mass; mass += (double)c[at].p)
        at++;
    return c[at].class;
}

static rlm_tensor hidden_view(const rlm_lm *lm, const float *hidden, int batch)
{
    int64_t shape[2] = {batch, lm->config.dim};
    return rlm_tensor_view((void *)hidden, RLM_F32, 2, shape);
}

/* One head whose classes begin at id `base`. */
static int32_t sample_plain(rlm_run *run, const rlm_linear *head, const rlm_tensor *x,
                            const rlm_lm_sampling *s, int64_t index, int32_t base, int32_t first,
                            int32_t n, float *logp)
{
    scores t;
    rlm_tensor logits = rlm_linear_forward(run, head, x);
    guide(run, &logits, s, &t);
    for (int i = 0; i < t.classes; i++)
        if (base + i < first || base + i - first >= n)
            t.v[i] = -INFINITY;
    int class = draw(&t, s, STREAM_FIRST, index);
    if (logp)
        *logp = (float)log_prob(&t, class);
    return base + class;
}

/* Two heads. lo is legal when some code of the range ends in it. */
static int32_t sample_video(rlm_run *run, const rlm_lm *lm, const rlm_tensor *x,
                            const rlm_lm_sampling *s, int64_t index, int32_t first, int32_t n,
                            float *logp)
{
    scores t;
    int half = lm->half, begin = first - lm->video, end = begin + n;
    rlm_tensor logits = rlm_linear_forward(run, &lm->head_lo, x);
    guide(run, &logits, s, &t);
    for (int i = 0; i < half; i++) {
        int lowest =
            begin + ((i - begin) % half + half) % half; /* first code >= begin with this lo */
        if (lowest >= end)
            t.v[i] = -INFINITY;
    }
    int lo = draw(&t, s, STREAM_FIRST, index);
    double sum = log_prob(&t, lo);
    int32_t cond[2] = {lo, lo};
    logits = rlm_lm_hi_forward(run, lm, x, cond);
    guide(run, &logits, s, &t);
    for (int i = 0; i < half; i++)
        if (i * half + lo < begin || i * half + lo >= end)
            t.v[i] = -INFINITY;
    int hi = draw(&t, s, STREAM_SECOND, index);
    if (logp)
        *logp = (float)(sum + log_prob(&t, hi));
    return lm->video + hi * half + lo;
}

int32_t rlm_lm_sample(rlm_run *run, const rlm_lm *lm, const float *hidden, int batch,
                      const rlm_lm_sampling *s, int64_t index, int32_t first, int32_t n,
                      float *logp)
{
    assert(batch >= 1 && batch <= 2 && n >= 1 && first >= 0 && first + n <= lm->text);
    if (logp)
        *logp = 0;
    if (n == 1)
        return first;
    size_t scope = rlm_scope_open(run);
    rlm_tensor x = hidden_view(lm, hidden, s->cfg_scale == 1.0f ? 1 : batch);
    int32_t id;
    if (first < lm->video) {
        assert(first + n <= lm->video);
        id = sample_plain(run, &lm->head_special, &x, s, index, 0, first, n, logp);
    } else if (first < lm->audio) {
        assert(first + n <= lm->audio);
        id = sample_video(run, lm, &x, s, index, first, n, logp);
    } else {
        int level = (first - lm->audio) / lm->config.audio_codes;
        int32_t base = lm->audio + level * lm->config.audio_codes;
        assert(first + n <= base + lm->config.audio_codes);
        id = sample_plain(run, &lm->head_sound[level], &x, s, index, base, first, n, logp);
    }
    rlm_scope_close(run, scope);
    return id;
}
