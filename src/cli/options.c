/* The verbs and the options: data only. parse.c, environment.c and help.c read it. */
#include "src/cli/options.h"

#include <string.h>

#include "src/cli/cli.h"

static const cli_verb verbs[] = {
    {CLI_GENERATE, "generate", "[-p PROMPT] [-o FILE]", "text (and an image) to video with sound",
     0, 1, cmd_generate},
    {CLI_ANIMATE, "animate", "IMAGE [-p PROMPT] [-o FILE]", "bring a still image to life", 0, 1,
     cmd_generate},
    {CLI_EXTEND, "extend", "VIDEO --seconds S [-o FILE]", "continue a video", 0, 1, cmd_extend},
    {CLI_ENCODE, "encode", "MEDIA -o FILE.rtok", "media file to token file", 1, 1, cmd_encode},
    {CLI_DECODE, "decode", "FILE.rtok -o MEDIA", "token file to media file", 1, 1, cmd_decode},
    {CLI_TOKENS, "tokens", "FILE.rtok...", "inspect, cut and join token files", 1, CLI_MAX_INPUTS,
     cmd_tokens},
    {CLI_TRAIN, "train", "video|audio|lm|text|judge --data DIR --out RUN",
     "train or fine-tune, resume", 1, 1, cmd_train},
    {CLI_ASSEMBLE, "assemble", "MODEL_DIR... -o MODEL_DIR", "join the parts that training made", 1,
     CLI_MAX_INPUTS, cmd_assemble},
    {CLI_CONVERT, "convert", "MODEL_DIR --weights TYPE -o MODEL_DIR",
     "the model with smaller (or plain) weights", 1, 1, cmd_convert},
    {CLI_WORLD, "world", "[--seed S] [--count N] -o DIR", "playground clips with all that is known",
     0, 0, cmd_world},
    {CLI_SERVE, "serve", "[--port N] [--state-dir DIR]", "HTTP API and web page", 0, 0, cmd_serve},
    {CLI_EVAL, "eval", "video|audio|world DIR...",
     "measured quality of the tokenizers; what clips show", 1, CLI_MAX_INPUTS, cmd_eval},
    {CLI_INFO, "info", "", "what the model is and which kernels serve it", 0, 0, cmd_info},
    {CLI_PROBE, "probe", "MEDIA", "what a media file holds", 1, 1, cmd_probe},
    {CLI_METADATA, "metadata", "FILE", "the settings an output file was made with", 1, 1,
     cmd_metadata},
    {CLI_BENCH, "bench", "", "measured speed of kernels and steps", 0, 0, cmd_bench},
    {CLI_COMPLETION, "completion", "bash", "completion for a shell, on stdout", 1, 1,
     cmd_completion},
    {CLI_MANUAL, "manual", "", "the manual page, on stdout: reelm manual | man -l -", 0, 0,
     cmd_manual},
};

#define AT(field) offsetof(cli_args, field)

enum {
    MAKES = CLI_GENERATE | CLI_ANIMATE | CLI_EXTEND,
    MODELS =
        MAKES | CLI_ENCODE | CLI_DECODE | CLI_INFO | CLI_BENCH | CLI_TRAIN | CLI_SERVE | CLI_EVAL,
    WRITES = MAKES | CLI_ENCODE | CLI_DECODE | CLI_TOKENS | CLI_ASSEMBLE | CLI_CONVERT,
    SHAPED = MAKES | CLI_WORLD,
    ALL = -1
};

static const cli_option rows[] = {
    {.help = "What to make"},
    {"prompt", NULL, 'p', STRING, AT(prompt), MAKES, 0, 0, "TEXT", "what to show and to hear"},
    {"prompt", NULL, 'p', STRING, AT(prompt), CLI_EVAL, 0, 0, "TEXT",
     "what clips should show (world)"},
    {"prompt-file", NULL, 0, STRING, AT(prompt_file), MAKES, 0, 0, "FILE",
     "read the prompt from a file ('-': stdin)"},
    {"prompts-file", NULL, 0, STRING, AT(prompts_file), CLI_GENERATE | CLI_ANIMATE, 0, 0, "FILE",
     "many clips: one prompt a line, or a JSON object of options"},
    {"negative-prompt", NULL, 'n', STRING, AT(negative), MAKES, 0, 0, "TEXT",
     "what guidance leads away from"},
    {"init-img", NULL, 'i', STRING, AT(init_img), CLI_GENERATE | CLI_ANIMATE, 0, 0, "FILE",
     "first frame"},
    {"init-video", NULL, 0, STRING, AT(init_video), CLI_EXTEND, 0, 0, "FILE", "video to continue"},
    {"width", NULL, 'W', INTEGER, AT(width), SHAPED, 16, 1024, "PX", "picture width (128)"},
    {"height", NULL, 'H', INTEGER, AT(height), SHAPED, 16, 1024, "PX", "picture height (128)"},
    {"size", NULL, 0, STRING, AT(size), SHAPED, 0, 0, "WxH", "both at once"},
    {"frames", "video-frames", 0, INTEGER, AT(frames), MAKES, 1, 256, "N", "frames (17)"},
    {"frames", NULL, 0, INTEGER, AT(frames), CLI_WORLD, 1, 4096, "N", "frames (17)"},
    {"fps", NULL, 0, NUMBER, AT(fps), SHAPED, 1, 120, "N", "frames a second (8)"},
    {"seconds", "duration", 0, NUMBER, AT(seconds), SHAPED, 0.01, 600, "S",
     "length instead of --frames; for extend: what to add"},
    {"seed", NULL, 's', INTEGER, AT(seed), MAKES | CLI_TRAIN, -1, 9e15, "N",
     "same seed, same clip; -1: random, printed (-1)"},
    {"seed", NULL, 's', INTEGER, AT(seed), CLI_WORLD, 0, 9e15, "N", "first of the seeds (0)"},
    {"count", NULL, 'c', INTEGER, AT(count), CLI_WORLD, 1, 1e7, "N", "clips, seeds counted up (1)"},
    {"style", NULL, 0, CHOICE, AT(style), CLI_WORLD, 0, 0, "photo|cartoon|pencil|neon",
     "else the seed's own"},
    {"split", NULL, 0, CHOICE, AT(split), CLI_WORLD, 0, 0, "train|validation|test",
     "seeds count within that part"},
    {"sheet", NULL, 0, FLAG, AT(sheet), CLI_WORLD, 0, 0, NULL,
     "one picture of all clips with captions, to -o FILE.png"},
    {"time", NULL, 0, FLAG, AT(time), CLI_WORLD, 0, 0, NULL,
     "make the clips, write nothing, say how fast"},
    {"no-truth", NULL, 0, FLAG, AT(no_truth), CLI_WORLD, 0, 0, NULL,
     "leave depth, flow and mask out"},
    {"start", NULL, 0, NUMBER, AT(start), CLI_ENCODE, 0, 1e6, "S", "skip that much of the input"},
    {"cut", NULL, 0, STRING, AT(cut), CLI_TOKENS, 0, 0, "A:B", "code frames A to B-1 to --output"},
    {"no-audio", NULL, 0, FLAG, AT(no_audio), SHAPED | CLI_ENCODE | CLI_DECODE, 0, 0, NULL,
     "leave the sound out"},
    {"no-video", NULL, 0, FLAG, AT(no_video), CLI_ENCODE | CLI_DECODE, 0, 0, NULL,
     "leave the picture out"},
    {"batch-count", NULL, 'b', INTEGER, AT(batch_count), CLI_GENERATE | CLI_ANIMATE, 1, 1000, "N",
     "that many clips, seeds counted up; %d and {seed} in the name, else -1, -2"},
    {"skip-existing", NULL, 0, FLAG, AT(skip_existing), CLI_GENERATE | CLI_ANIMATE, 0, 0, NULL,
     "leave clips alone whose output is there"},
    {"from-metadata", NULL, 0, STRING, AT(from_metadata), MAKES, 0, 0, "FILE",
     "make it again: settings of an output file; options change them"},
    {"strict", NULL, 0, FLAG, AT(strict), MAKES, 0, 0, NULL,
     "refuse what would have to be rounded"},

    {.help = "Sampling"},
    {"temp", "temperature", 0, NUMBER, AT(temp), MAKES, 0, 10, "T",
     "sampling temperature of the picture, 0: greedy"},
    {"audio-temp", NULL, 0, NUMBER, AT(audio_temp), MAKES, 0, 10, "T", "the same for the sound"},
    {"top-k", NULL, 0, INTEGER, AT(top_k), MAKES, 0, 1 << 18, "N", "keep the N likeliest; 0: all"},
    {"top-p", NULL, 0, NUMBER, AT(top_p), MAKES, 0.01, 1, "P",
     "keep the likeliest that sum to P; 1: all"},
    {"min-p", NULL, 0, NUMBER, AT(min_p), MAKES, 0, 1, "P",
     "drop what is less likely than P of the likeliest; 0: nothing"},
    {"cfg-scale", "guidance-scale", 0, NUMBER, AT(cfg_scale), MAKES, 0, 30, "S",
     "how strongly the prompt leads; 1: off"},
    {"source", NULL, 0, CHOICE, AT(source), MAKES, 0, 0, "real|playground",
     "kind of clips to imitate (what the words suggest)"},

    {.help = "Files"},
    {"output", NULL, 'o', STRING, AT(output), WRITES, 0, 0, "FILE",
     "mp4 webm mkv gif y4m png wav flac ('-': stdout)"},
    {"output", NULL, 'o', STRING, AT(output), CLI_WORLD, 0, 0, "DIR",
     "folder to fill, or the sheet"},
    {"format", NULL, 0, STRING, AT(format), SHAPED | CLI_DECODE, 0, 0, "NAME",
     "container when the name does not tell"},
    {"save-tokens", NULL, 0, STRING, AT(save_tokens), MAKES, 0, 0, "FILE",
     "keep the token file there"},
    {"resume", NULL, 0, STRING, AT(resume_tokens), MAKES, 0, 0, "FILE",
     "go on from the tokens an interrupted run left"},
    {"preview-path", NULL, 0, STRING, AT(preview_path), MAKES, 0, 0, "FILE",
     "keep the pictures so far there (png: the latest)"},
    {"preview-interval", NULL, 0, INTEGER, AT(preview_interval), MAKES, 1, 256, "N",
     "frames between previews (4); they take at most 5 % of the time"},
    {"sidecar", NULL, 0, FLAG, AT(sidecar), MAKES, 0, 0, NULL,
     "write the settings to FILE.json too"},
    {"no-ai-mark", NULL, 0, FLAG, AT(no_ai_mark), MAKES | CLI_DECODE, 0, 0, NULL,
     "do not mark the file as made by a model"},
    {"no-metadata", NULL, 0, FLAG, AT(no_metadata), MAKES | CLI_DECODE, 0, 0, NULL,
     "do not embed prompt and settings in the output"},
    {"model", NULL, 'm', STRING, AT(model), MODELS, 0, 0, "DIR",
     "model directory (default: the bundled one)"},

    {.help = "Training"},
    {"config", NULL, 0, STRING, AT(config), CLI_TRAIN, 0, 0, "FILE",
     "network and recipe as JSON (assets/configs)"},
    {"data", NULL, 0, LIST, AT(data), CLI_TRAIN, 0, 0, "DIR",
     "folder of media and captions; may be repeated"},
    {"out", NULL, 0, STRING, AT(out), CLI_TRAIN, 0, 0, "DIR", "run directory"},
    {"resume", NULL, 0, FLAG, AT(resume), CLI_TRAIN, 0, 0, NULL,
     "continue from the last checkpoint in --out"},
    {"init", NULL, 0, STRING, AT(init), CLI_TRAIN, 0, 0, "PATH", "weights to start from"},
    {"steps", NULL, 0, INTEGER, AT(steps), CLI_TRAIN, 1, 1e12, "N", "optimiser steps"},
    {"max-seconds", NULL, 0, NUMBER, AT(max_seconds), CLI_TRAIN, 1, 1e9, "S",
     "stop with a checkpoint after that time"},
    {"batch", NULL, 0, INTEGER, AT(batch), CLI_TRAIN, 1, 4096, "N", "samples a step"},
    {"lr", NULL, 0, NUMBER, AT(lr), CLI_TRAIN, 1e-9, 10, "R", "peak learning rate"},
    {"checkpoint-every", NULL, 0, INTEGER, AT(checkpoint_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"sample-every", NULL, 0, INTEGER, AT(sample_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"validate-every", NULL, 0, INTEGER, AT(validate_every), CLI_TRAIN, 1, 1e9, "N", "steps"},
    {"playground", NULL, 0, NUMBER, AT(playground), CLI_TRAIN, 0, 1, "SHARE",
     "share of samples from the procedural world"},

    {.help = "Serving"},
    {"host", NULL, 0, STRING, AT(host), CLI_SERVE, 0, 0, "ADDR",
     "address to listen on (127.0.0.1); another needs a key"},
    {"port", NULL, 0, INTEGER, AT(port), CLI_SERVE, 0, 65535, "N", "0: any free one (8080)"},
    {"state-dir", NULL, 0, STRING, AT(state_dir), CLI_SERVE, 0, 0, "DIR",
     "keep jobs there, over restarts"},
    {"api-key", NULL, 0, STRING, AT(api_key), CLI_SERVE, 0, 0, "K[,K]",
     "keys that clients must send"},
    {"api-key-file", NULL, 0, STRING, AT(api_key_file), CLI_SERVE, 0, 0, "FILE",
     "keys, one a line, # comments"},
    {"queue", NULL, 0, INTEGER, AT(queue), CLI_SERVE, 1, 4096, "N", "waiting jobs (64)"},
    {"job-ttl", NULL, 0, INTEGER, AT(job_ttl), CLI_SERVE, 0, 1e9, "S",
     "keep finished jobs so long; 0: for ever (86400)"},
    {"timeout", NULL, 0, NUMBER, AT(timeout), CLI_SERVE, 0, 1e9, "S",
     "longest job; 0: no limit (3600)"},
    {"max-clip", NULL, 0, NUMBER, AT(max_clip), CLI_SERVE, 0.1, 600, "S", "longest clip (60)"},
    {"max-upload", NULL, 0, INTEGER, AT(max_upload), CLI_SERVE, 1, 1024, "MIB",
     "largest request (64)"},
    {"max-state", NULL, 0, INTEGER, AT(max_state), CLI_SERVE, 0, 1 << 24, "MIB",
     "all kept jobs together; 0: no limit (4096)"},
    {"rate-limit", NULL, 0, INTEGER, AT(rate_limit), CLI_SERVE, 0, 1e6, "N",
     "changing requests a second and address; 0: no limit (50)"},
    {"allow-host", NULL, 0, STRING, AT(allow_host), CLI_SERVE, 0, 0, "NAME[,NAME]",
     "more names this server is called by"},
    {"cors-origins", NULL, 0, STRING, AT(cors_origins), CLI_SERVE, 0, 0, "URL[,URL]",
     "pages of these origins may call"},
    {"insecure", NULL, 0, FLAG, AT(insecure), CLI_SERVE, 0, 0, NULL,
     "listen to everyone without a key"},
    {"no-webui", NULL, 0, FLAG, AT(no_webui), CLI_SERVE, 0, 0, NULL, "the API alone"},

    {.help = "Evaluation"},
    {"split", NULL, 0, CHOICE, AT(split), CLI_EVAL, 0, 0, "all|train|validation|test",
     "part of the inputs, by recording (all); world: of the seeds (validation)"},
    {"limit", NULL, 0, INTEGER, AT(limit), CLI_EVAL, 1, 1e9, "N",
     "measure at most N files, evenly spread"},
    {"world", NULL, 0, INTEGER, AT(world_clips), CLI_EVAL, 1, 100000, "N",
     "N playground validation clips as well"},
    {"controls", NULL, 0, FLAG, AT(controls), CLI_EVAL, 0, 0, NULL,
     "their depth and flow as pictures instead"},
    {"against", NULL, 0, STRING, AT(against), CLI_EVAL, 0, 0, "DIR",
     "compare with the same names there, no tokenizer"},
    {"native", NULL, 0, FLAG, AT(native), CLI_EVAL, 0, 0, NULL,
     "own size and rate instead of 17 frames of 128x128 at 8/s"},
    {"levels", NULL, 0, INTEGER, AT(levels), CLI_EVAL, 1, 16, "N",
     "audio: decode only the first N levels of the codes"},
    {"perceptual", NULL, 0, STRING, AT(perceptual), CLI_EVAL | CLI_TRAIN, 0, 0, "FILE",
     "SqueezeNet v1.1 weights (safetensors): a distance, or a loss"},
    {"sheet", NULL, 0, STRING, AT(sheet_file), CLI_EVAL, 0, 0, "FILE",
     "PNG of originals above reconstructions"},
    {"keep", NULL, 0, STRING, AT(keep), CLI_EVAL, 0, 0, "DIR", "originals/ and coded/, lossless"},
    {"list", NULL, 0, FLAG, AT(list), CLI_EVAL, 0, 0, NULL, "only name the files"},

    {"count", NULL, 'c', INTEGER, AT(count), CLI_EVAL, 1, 1e6, "N",
     "world: score the judge on N renders (256)"},
    {"seed", NULL, 's', INTEGER, AT(seed), CLI_EVAL, 0, 9e15, "N", "world: first of them (0)"},
    {"round-trip", NULL, 0, FLAG, AT(round_trip), CLI_EVAL, 0, 0, NULL,
     "world: clips go through the tokenizers first"},
    {"judge", NULL, 0, STRING, AT(judge), CLI_EVAL, 0, 0, "FILE",
     "world: other weights of the judge"},
    {"certify", NULL, 0, FLAG, AT(certify), CLI_EVAL, 0, 0, NULL,
     "world: write a good enough score into the judge's file"},

    {.help = "Machine"},
    {"quick", NULL, 0, FLAG, AT(quick), CLI_BENCH, 0, 0, NULL, "a few seconds instead of minutes"},
    {"threads", NULL, 't', INTEGER, AT(threads), MODELS | CLI_WORLD, 0, 1024, "N",
     "0: every core (0)"},
    {"cpu-mask", NULL, 0, STRING, AT(cpu_mask), MODELS, 0, 0, "LEVEL",
     "highest kernels allowed: ref blas dnn avx2 avx512 amx"},
    {"weights", NULL, 0, STRING, AT(weights), MAKES | CLI_CONVERT | CLI_SERVE | CLI_BENCH, 0, 0,
     "TYPE",
     "language model's weights: auto f32 bf16 int8 q4 (auto: as the model directory has them)"},
    {"cache-type", NULL, 0, STRING, AT(cache), MAKES | CLI_SERVE | CLI_BENCH, 0, 0, "TYPE",
     "keys and values: bf16 or int8 (bf16)"},
    {"deterministic", NULL, 0, FLAG, AT(deterministic), MODELS & ~CLI_EVAL, 0, 0, NULL,
     "the same result for any number of threads"},
    {"dry-run", NULL, 0, FLAG, AT(dry_run), MAKES, 0, 0, NULL,
     "make nothing: what it would cost, from a short probe"},
    {"max-memory", NULL, 0, NUMBER, AT(max_memory), MODELS, 0, 1e6, "GB",
     "refuse what needs more; 0: no limit (what is free)"},

    {.help = "What is said"},
    {"json", NULL, 0, FLAG, AT(json), ALL, 0, 0, NULL, "one JSON object on stdout"},
    {"progress", NULL, 0, MAYBE, AT(progress), ALL, 0, 0, "auto|on|json|off",
     "auto: a line on terminals; json: one object a line on stderr"},
    {"verbose", NULL, 'v', FLAG, AT(verbose), ALL, 0, 0, NULL, "say more"},
    {"quiet", NULL, 'q', FLAG, AT(quiet), ALL, 0, 0, NULL, "errors only"},
    {"config-file", NULL, 0, STRING, AT(config_file), ALL, 0, 0, "FILE",
     "defaults for options ($XDG_CONFIG_HOME/reelm/config.ini)"},
    {"print-config", NULL, 0, FLAG, AT(print_config), ALL, 0, 0, NULL,
     "print every option's value and where it comes from"},
    {"help", NULL, 'h', FLAG, AT(help), ALL, 0, 0, NULL, "this text"},
};

const cli_verb *cli_verbs(int *count)
{
    *count = (int)(sizeof verbs / sizeof verbs[0]);
    return verbs;
}

const cli_option *cli_options(int *count)
{
    _Static_assert(sizeof rows / sizeof rows[0] <= CLI_MAX_OPTIONS, "cli_args.from is too short");
    *count = (int)(sizeof rows / sizeof rows[0]);
    return rows;
}

void cli_args_defaults(cli_args *a)
{
    memset(a, 0, sizeof *a);
    a->seed = -1;
    a->temp = a->audio_temp = a->top_p = a->min_p = a->cfg_scale =
        -1; /* negative: the model's default */
    a->top_k = -1;
    a->batch_count = 1;
    a->preview_interval = 4;
    a->max_memory = -1;
    a->playground = -1;
    a->port = a->job_ttl = a->rate_limit = a->max_state = -1; /* negative: the server's default */
    a->timeout = -1;
}
