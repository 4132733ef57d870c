/* The rhythm of a training run: steps, progress, validation, samples, checkpoints, the reasons to
 * stop. What a step is, the networks' own loops say. */
#include "src/train/train.h"

enum { LINE_EVERY = 20 };

static bool due(int64_t step, int every)
{
    return every > 0 && step % every == 0;
}

/* The journal's latest line to whoever watches; true: asked to stop. */
static bool tell(const rlm_rhythm *r)
{
    const char *line = rlm_journal_line(r->journal, r->recipe->steps);
    bool stop = r->options->progress && r->options->progress(r->options->progress_cookie, line);
    if (due(*r->step, LINE_EVERY))
        rlm_logf(r->log, 2, "%s", line);
    return stop;
}

int rlm_train_run(const rlm_rhythm *r, rlm_error *err)
{
    const rlm_recipe *recipe = r->recipe;
    bool stop = false;
    double began = rlm_now();
    while (*r->step < recipe->steps && !stop) {
        RLM_TRY(r->advance(r->trainer, err));
        stop = tell(r);
        stop |= r->options->max_seconds > 0 && rlm_now() - began > r->options->max_seconds;
        bool last = stop || *r->step == recipe->steps;
        bool sample = last || due(*r->step, recipe->sample_every);
        if (sample || due(*r->step, recipe->validate_every))
            RLM_TRY(r->validate(r->trainer, sample, err));
        if (last || due(*r->step, recipe->checkpoint_every))
            RLM_TRY(r->save(r->trainer, err));
    }
    return 0;
}
