/* From hidden states to one id: heads of the legal modality, guidance, filters, one draw of the
 * counter generator. Logits leave the tensors here: they are copied once into plain arrays on the
 * stack. */
#include "model/lm_private.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "src/base/rng.h"

/* Stream numbers of the counter generator, distinct from those of training. */
enum { STREAM_FIRST = 101, STREAM_SECOND = 102 };

/* Guided logits of one head over `classes`, f32 and finite; illegal classes are -inf. */
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
    if (s->cfg_scale != 1.0f && rlm_tensor_rows(logits) >= 2) {
        memset(other, 0, (size_t)n * sizeof other[0]);
        run->k->copy(run->par, n, rlm_f32(logits) + n, other);
        for (int i = 0; i < n; i++)
            out->v[i] = other[i] + s->cfg_scale * (out->v[i] - other[i]);
    }
    /* Weights of any kind leave a legal class to draw: infinities become the largest numbers, NaN
     * the least likely. */
    for (int i = 0; i < n; i++)
        out->v[i] = fminf(fmaxf(out->v[i], -FLT_MAX), FLT_MAX);
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

/* What can be drawn: a heap of probability << 32 | ~class, the likeliest on top and, of equal ones,
 * the lowest class, so that the draw depends on the values alone. Non-negative floats are in the
 * order of their bits. */
typedef struct choices {
    int count;
    double sum;
    uint64_t heap[RLM_LM_CLASSES_MAX];
} choices;

static float chance_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float p;
    memcpy(&p, &bits, sizeof p);
    return p;
}

static int class_of(uint64_t key)
{
    return (int)~(uint32_t)key;
}

static void sift(uint64_t *heap, int n, int at)
{
    uint64_t key = heap[at];
    for (int down; (down = 2 * at + 1) < n; at = down) {
        if (down + 1 < n && heap[down + 1] > heap[down])
            down++;
        if (heap[down] <= key)
            break;
        heap[at] = heap[down];
    }
    heap[at] = key;
}

static void weigh(const scores *t, const rlm_lm_sampling *s, choices *c)
{
    float top = t->v[best(t)], inverse = fminf(1.0f / s->temperature, FLT_MAX);
    c->count = 0;
    c->sum = 0;
    for (int i = 0; i < t->classes; i++) {
        if (isinf(t->v[i]) && t->v[i] < 0)
            continue;
        float p = expf((t->v[i] - top) * inverse);
        uint32_t bits;
        memcpy(&bits, &p, sizeof bits);
        c->heap[c->count++] = (uint64_t)bits << 32 | (uint32_t) ~(uint32_t)i;
        c->sum += (double)p;
    }
}

/* Takes the likeliest off the heap, in order, as far as the filters leave them: keys into kept,
 * returns how many; *mass is theirs. */
static int filter(choices *c, const rlm_lm_sampling *s, uint64_t *kept, double *mass)
{
    int n = c->count, most = s->top_k > 0 && s->top_k < n ? s->top_k : n, taken = 0;
    *mass = 0;
    for (int i = n / 2 - 1; i >= 0; i--)
        sift(c->heap, n, i);
    float least = s->min_p * chance_of(c->heap[0]);
    while (taken < most) {
        float p = chance_of(c->heap[0]);
        if (taken && ((s->top_p < 1.0f && *mass >= (double)s->top_p * c->sum) || p < least))
            break;
        kept[taken++] = c->heap[0];
        *mass += (double)p;
        c->heap[0] = c->heap[--n];
        sift(c->heap, n > 0 ? n : 1, 0);
    }
    return taken;
}

static int draw(const scores *t, const rlm_lm_sampling *s, uint64_t stream, int64_t index)
{
    choices c;
    uint64_t some[RLM_LM_CLASSES_MAX], *from = c.heap;
    if (s->temperature <= 0.0f)
        return best(t);
    weigh(t, s, &c);
    assert(c.count > 0); /* some class is legal, and the likeliest counts */
    double mass = c.sum;
    int n = c.count;
    if (s->top_k > 0 || s->top_p < 1.0f || s->min_p > 0.0f) {
        n = filter(&c, s, some, &mass);
        from = some;
    }
    double u = (double)rlm_rng_uniform(s->seed, stream, (uint64_t)index) * mass;
    int at = 0;
    for (double sum = (double)chance_of(from[0]); at < n - 1 && u >= sum;)
        sum += (double)chance_of(from[++at]);
    return class_of(from[at]);
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
    double sum = logp ? log_prob(&t, lo) : 0;
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
