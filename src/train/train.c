/* The door of the training room: what can be refused at once, and which loop runs. */
#include "src/train/train.h"

static int check_options(const rlm_train_options *o, rlm_error *err)
{
    if (!o->run_dir || !*o->run_dir)
        return rlm_fail(err, RLM_E_ARG, "train: no run directory given");
    if (o->data_count < 0 || (o->data_count > 0 && !o->data))
        return rlm_fail(err, RLM_E_ARG, "train: %d data folders but no list of them",
                        o->data_count);
    if (o->what == RLM_TRAIN_LM && !o->model_dir)
        return rlm_fail(err, RLM_E_ARG, "train lm: no model directory with the tokenizers given");
    if (o->resume && !rlm_checkpoint_exists(o->run_dir))
        return rlm_fail(err, RLM_E_IO, "%s: no checkpoint to resume from", o->run_dir);
    if (!o->resume && rlm_checkpoint_exists(o->run_dir))
        return rlm_fail(err, RLM_E_ARG,
                        "%s holds a run with checkpoints: resume it or choose "
                        "another run directory",
                        o->run_dir);
    return 0;
}

int rlm_train(const rlm_train_options *o, rlm_error *err)
{
    RLM_TRY(check_options(o, err));
    switch (o->what) {
    case RLM_TRAIN_VIDEO:
        return rlm_train_video(o, err);
    case RLM_TRAIN_AUDIO:
        return rlm_train_audio(o, err);
    case RLM_TRAIN_LM:
        return rlm_train_lm(o, err);
    case RLM_TRAIN_TEXT:
        return rlm_train_text(o, err);
    case RLM_TRAIN_JUDGE:
        return rlm_train_judge(o, err);
    default:
        return rlm_fail(err, RLM_E_ARG,
                        "train: what is %d, expected video, audio, lm, text or judge", o->what);
    }
}
