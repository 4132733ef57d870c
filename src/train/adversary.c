/* Critics that learn beside a network and pull it towards what they take for real. The size of
 * their gradient is kept in a fixed ratio to that of the other losses, so that no weight depends on
 * the critics' scale. */
#include "src/train/train.h"

#include <math.h>
#include <string.h>

static const float FEATURE_WEIGHT = 4.0f;
static const float RATIO = 0.2f;
/* Steps in which new critics only learn, a quarter of theirs at most: nobody follows a fool. */
static const double ALONE = 100;

static rlm_recipe recipe_of(const rlm_recipe *r)
{
    rlm_recipe c = *r;
    c.lr = 1e-3;
    c.beta1 = 0.5;
    c.beta2 = 0.9;
    c.weight_decay = 0;
    c.muon = 0;
    c.ema = 0;
    c.warmup = 50;
    c.clip = 10;
    return c;
}

int rlm_adversary_open(rlm_adversary *a, rlm_critic_kind kind, const rlm_recipe *r, int64_t most,
                       rlm_error *err)
{
    memset(a, 0, sizeof *a);
    if (r->critic <= 0)
        return 0;
    a->recipe = recipe_of(r);
    RLM_TRY(rlm_critics_new(&a->critics, kind, &a->params, err));
    RLM_TRY(rlm_params_allocate(&a->params, true, err));
    rlm_params_initialise(&a->params, r->seed + 1);
    rlm_critics_fill(a->critics);
    a->gradient = rlm_calloc((size_t)most, sizeof(float));
    if (!a->gradient)
        return rlm_fail(err, RLM_E_NOMEM, "critics: no memory");
    return rlm_optim_new(&a->optim, &a->params, &a->recipe, err);
}

void rlm_adversary_close(rlm_adversary *a)
{
    rlm_optim_free(&a->optim);
    rlm_critics_free(&a->critics);
    rlm_params_free(&a->params);
    rlm_tape_free(&a->tape);
    rlm_free(a->gradient);
    a->gradient = NULL;
}

void rlm_adversary_plan(rlm_adversary *a, rlm_run *run, const int64_t shape[5])
{
    rlm_tape *outer = run->tape;
    if (!a->critics)
        return;
    run->tape = &a->tape;
    rlm_critics_plan(run, a->critics, shape);
    run->tape = outer;
}

bool rlm_adversary_joins(const rlm_adversary *a, const rlm_recipe *r, int64_t step)
{
    return a->critics && (double)step > (1.0 - r->critic) * (double)r->steps;
}

static float follow(float *average, double now)
{
    *average = *average > 0 ? 0.9f * *average + 0.1f * (float)now : (float)now;
    return *average;
}

void rlm_adversary_ask(rlm_adversary *a, rlm_run *run, const rlm_tensor *fake, const float *real,
                       float *gradient, rlm_critic_loss *loss)
{
    rlm_tape *outer = run->tape;
    rlm_tensor seen = *fake;
    int64_t n = rlm_tensor_count(fake);
    seen.grad = a->gradient;
    seen.touched = NULL;
    run->tape = &a->tape;
    run->k->fill(run->par, n, 0.0f, a->gradient);
    rlm_critics_learn(run, a->critics, &seen, real, loss);
    if ((double)a->optim.step >= fmin(ALONE, a->recipe.critic * (double)a->recipe.steps / 4)) {
        rlm_critics_judge(run, a->critics, &seen, real, FEATURE_WEIGHT, loss);
        double mine = sqrt(run->k->sumsq(run->par, n, gradient));
        double theirs = sqrt(run->k->sumsq(run->par, n, a->gradient));
        if (isfinite(mine) && isfinite(theirs)) { /* an average never forgets an infinity */
            float own = follow(&a->sizes[0], mine), other = follow(&a->sizes[1], theirs);
            run->k->axpy(run->par, n, RATIO * own / (other + 1e-12f), a->gradient, gradient);
        }
    }
    run->tape = outer;
}

void rlm_adversary_step(rlm_adversary *a, rlm_run *run)
{
    rlm_optim_step(&a->optim, run, &a->recipe);
}
