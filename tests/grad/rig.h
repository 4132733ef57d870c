/* A small network under test, and how its gradients are checked: by 4-point finite differences on
 * the reference kernels, and on the best kernels against the reference. */
#ifndef RLM_TESTS_GRAD_RIG_H
#define RLM_TESTS_GRAD_RIG_H

#include "src/base/rng.h"
#include "src/train/train.h"
#include "tests/test.h"

enum { INPUTS = 3, SAMPLES = 48 };

/* One network under test: inputs, parameters, and how it computes. */
typedef struct rig rig;
struct rig {
    rlm_tensor in[INPUTS];
    int inputs;
    rlm_params params;
    rlm_linear linear[4];
    rlm_conv conv[3];
    rlm_embedding embedding;
    rlm_rmsnorm rmsnorm[2];
    rlm_groupnorm groupnorm, pair[2];
    rlm_attention attention;
    rlm_attention_in where;
    rlm_act act;
    int ft, fh, fw, drop;
    const int32_t *ids;
    int64_t rows;
    rlm_tensor (*forward)(rlm_run *, rig *);
};

static struct {
    rlm_kernels reference, best;
    rlm_par *par;
    rlm_arena arena;
    rlm_tape tape, again; /* again: of stretches computed again */
    bool seen[RLM_OPS];
} world;

/* ---- Building ------------------------------------------------------------------------------- */

static void fill_random(float *x, int64_t n, uint64_t stream, float scale)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * rlm_rng_normal(77, stream, (uint64_t)i);
}

static rlm_tensor *add_input(rig *r, int rank, const int64_t *shape)
{
    rlm_tensor t = rlm_tensor_view(NULL, RLM_F32, rank, shape);
    size_t n = (size_t)rlm_tensor_count(&t);
    t.data = rlm_alloc(n * sizeof(float));
    t.grad = rlm_calloc(n, sizeof(float));
    fill_random(t.data, (int64_t)n, (uint64_t)(100 + r->inputs), 1.0f);
    r->in[r->inputs] = t;
    return &r->in[r->inputs++];
}

static void input2(rig *r, int rows, int c)
{
    add_input(r, 2, (int64_t[]){rows, c});
}

static void input5(rig *r, int n, int t, int h, int w, int c)
{
    add_input(r, 5, (int64_t[]){n, t, h, w, c});
}

/* Parameters get values away from their start (gains of exactly 1 would hide a missing factor). */
static void finish_params(rig *r)
{
    rlm_error err = {0};
    if (!r->params.count)
        return;
    CHECK(rlm_params_allocate(&r->params, true, &err) == 0);
    rlm_params_initialise(&r->params, 5);
    for (int i = 0; i < r->params.count; i++) {
        rlm_param *p = r->params.items[i];
        for (int64_t j = 0; j < p->count; j++)
            p->data[j] += 0.3f * rlm_rng_normal(9, (uint64_t)i, (uint64_t)j);
    }
}

static void rig_free(rig *r)
{
    for (int i = 0; i < r->inputs; i++) {
        rlm_free(r->in[i].data);
        rlm_free(r->in[i].grad);
    }
    rlm_params_free(&r->params);
}

/* ---- Checking ------------------------------------------------------------------------------- */

static float out_weight(int64_t i)
{
    return rlm_rng_normal(3, 4, (uint64_t)i);
}

/* Forward with a tape (without one a residual would be overwritten); the loss. */
static double run_forward(rlm_run *run, rig *r, rlm_tensor *out)
{
    rlm_arena_rewind(&world.arena, 0);
    rlm_tape_clear(&world.tape);
    rlm_tensor y = r->forward(run, r);
    double loss = 0;
    for (int64_t i = 0; i < rlm_tensor_count(&y); i++)
        loss += (double)rlm_f32(&y)[i] * out_weight(i);
    if (out)
        *out = y;
    return loss;
}

static void zero_grads(rig *r)
{
    for (int i = 0; i < r->inputs; i++)
        memset(r->in[i].grad, 0, (size_t)rlm_tensor_count(&r->in[i]) * sizeof(float));
    if (r->params.grad)
        memset(r->params.grad, 0, (size_t)r->params.total * sizeof(float));
}

static void run_backward(const rlm_kernels *k, rig *r)
{
    rlm_run run = {k, &world.arena, world.par, &world.tape, true};
    rlm_tensor y;
    rlm_error err = {0};
    zero_grads(r);
    if (r->params.count)
        CHECK(rlm_params_pack(&r->params, k, world.par, true, &err) == 0);
    run_forward(&run, r, &y);
    float *dy = rlm_grad(&run, &y);
    for (int64_t i = 0; i < rlm_tensor_count(&y); i++)
        dy[i] += out_weight(i);
    rlm_backward(&run, &world.tape);
    for (int i = 0; i < world.tape.count; i++)
        world.seen[world.tape.items[i].op] = true;
}

/* d loss / d x[0] by four evaluations. */
static double slope(rig *r, float *x)
{
    static const double AT[4] = {1, -1, 2, -2}, WEIGHT[4] = {8, -8, -1, 1};
    rlm_run run = {&world.reference, &world.arena, world.par, &world.tape};
    const float keep = *x, h = 0.0078125f;
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        *x = keep + (float)AT[i] * h;
        sum += WEIGHT[i] * run_forward(&run, r, NULL);
    }
    *x = keep;
    return sum / (12.0 * h);
}

static double rms(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum / (double)n);
}

static void check_array(rig *r, const char *what, float *x, const float *grad, int64_t n)
{
    double scale = rms(grad, n), worst = 0;
    for (int64_t s = 0; s < SAMPLES && s < n; s++) {
        int64_t i = n <= SAMPLES ? s : (int64_t)rlm_rng_below(8, 8, (uint64_t)s, (uint32_t)n);
        double error = fabs(slope(r, x + i) - grad[i]) / (scale + fabs(grad[i]) + 1e-6);
        worst = error > worst ? error : worst;
    }
    if (!(worst < 2e-3))
        TEST_FAILED("%s: finite differences are off by %.3g of the gradient", what, worst);
}

static double nmse(const float *x, const float *reference, int64_t n)
{
    double d = 0, e = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        d += pow((double)x[i] - reference[i], 2);
        e += pow(reference[i], 2);
    }
    return d / e;
}

static float *copy_of(const float *x, int64_t n)
{
    float *y = rlm_alloc((size_t)n * sizeof *y);
    memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

/* Gradients of the best kernels against those of the reference. */
static void check_best(rig *r)
{
    float *keep[INPUTS + 1] = {NULL};
    run_backward(&world.reference, r);
    for (int i = 0; i < r->inputs; i++)
        keep[i] = copy_of(r->in[i].grad, rlm_tensor_count(&r->in[i]));
    if (r->params.count)
        keep[INPUTS] = copy_of(r->params.grad, r->params.total);
    run_backward(&world.best, r);
    for (int i = 0; i < r->inputs; i++) {
        double e = nmse(r->in[i].grad, keep[i], rlm_tensor_count(&r->in[i]));
        if (!(e < 2e-4))
            TEST_FAILED("input %d: %s and reference differ by %.3g of the energy", i,
                        world.best.level, e);
    }
    for (int i = 0; i < r->params.count; i++) {
        const rlm_param *p = r->params.items[i];
        double e = nmse(p->grad, keep[INPUTS] + (p->grad - r->params.grad), p->count);
        if (!(e < 2e-4))
            TEST_FAILED("%s: %s and reference differ by %.3g of the energy", p->name,
                        world.best.level, e);
    }
    for (int i = 0; i <= INPUTS; i++)
        rlm_free(keep[i]);
}

static void check_differences(rig *r)
{
    run_backward(&world.reference, r);
    for (int i = 0; i < r->inputs; i++) {
        char what[32];
        snprintf(what, sizeof what, "input %d", i);
        float *grad = copy_of(r->in[i].grad, rlm_tensor_count(&r->in[i]));
        check_array(r, what, rlm_f32(&r->in[i]), grad, rlm_tensor_count(&r->in[i]));
        rlm_free(grad);
    }
    for (int i = 0; i < r->params.count; i++) {
        rlm_param *p = r->params.items[i];
        check_array(r, p->name, p->data, p->grad, p->count);
    }
}

static void check(rig *r)
{
    finish_params(r);
    check_differences(r);
    check_best(r);
    rig_free(r);
}

#endif
