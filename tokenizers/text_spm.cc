/* SentencePiece behind the C interface of text.h: the only C++ file.
 *
 * A model file is a protocol buffer (sentencepiece_model.proto). SentencePiece stops the whole
 * process on some damaged models, so the framing, the pieces and the normaliser's double-array trie
 * are checked here first; it then sees only what it can survive. Nothing it throws leaves this
 * file. */
#include "tokenizers/text.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

extern "C" {
#include "src/base/diag.h"
#include "src/base/file.h"
#include "src/base/mem.h"
}

struct rlm_text {
    sentencepiece::SentencePieceProcessor processor;
    int pieces;
};

namespace
{

const size_t kFileLimit = 64u << 20;
const size_t kCorpusLimit = 1u << 30;
const size_t kTextLimit = 1u << 20;
const int kPiecesLimit = 1 << 20;
const size_t kPieceBytes = 512;

/* ---- Protocol buffer framing ------------------------------------------------------------------
 */

enum { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Slice {
    const uint8_t *at, *end;
    size_t left() const
    {
        return (size_t)(end - at);
    }
};

struct Field {
    uint32_t number;
    int wire;
    uint64_t value; /* varint and fixed */
    Slice bytes;    /* kBytes */
};

bool ReadVarint(Slice *s, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (s->at == s->end)
            return false;
        uint8_t b = *s->at++;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

bool ReadField(Slice *s, Field *f)
{
    uint64_t key, n = 0;
    if (!ReadVarint(s, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return false;
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    f->value = 0;
    f->bytes = Slice{s->at, s->at};
    switch (f->wire) {
    case kVarint:
        return ReadVarint(s, &f->value);
    case kFixed64:
        n = 8;
        break;
    case kFixed32:
        n = 4;
        break;
    case kBytes:
        if (!ReadVarint(s, &n))
            return false;
        break;
    default:
        return false; /* groups are not used by this format */
    }
    if (n > s->left())
        return false;
    if (f->wire == kBytes)
        f->bytes = Slice{s->at, s->at + n};
    else
        memcpy(&f->value, s->at, (size_t)n);
    s->at += n;
    return true;
}

/* ---- What the fields must hold ----------------------------------------------------------------
 */

struct Census {
    int pieces = 0, unknown = 0, bytes = 0;
    bool byte_seen[256] = {};
    bool byte_fallback = false;
    std::string why;
};

bool Bad(Census *c, const std::string &why)
{
    c->why = why;
    return false;
}

bool CheckByte(const std::string &text, Census *c)
{
    unsigned v = 0;
    char tail = 0;
    if (text.size() != 6 || sscanf(text.c_str(), "<0x%2X%c", &v, &tail) != 2 || tail != '>')
        return Bad(c, "a byte piece is not named <0xNN>");
    if (c->byte_seen[v & 255])
        return Bad(c, "a byte piece appears twice");
    c->byte_seen[v & 255] = true;
    c->bytes++;
    return true;
}

/* SentencePiece { 1: string piece, 2: float score, 3: Type type }. */
bool CheckPiece(Slice s, Census *c)
{
    std::string text;
    uint64_t type = 1;
    float score = 0;
    while (s.left()) {
        Field f;
        if (!ReadField(&s, &f))
            return Bad(c, "a piece is cut off");
        if (f.number == 1 && f.wire == kBytes) {
            text.assign((const char *)f.bytes.at, f.bytes.left());
        } else if (f.number == 2 && f.wire == kFixed32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, 4);
        } else if (f.number == 3 && f.wire == kVarint) {
            type = f.value;
        } else if (f.number <= 3) {
            return Bad(c, "a piece has a field of the wrong wire type");
        }
    }
    if (text.empty() || text.size() > kPieceBytes || text.find('\0') != std::string::npos)
        return Bad(c, "a piece is empty, longer than 512 bytes or holds a NUL");
    if (!std::isfinite(score) || std::fabs(score) > 1e6f)
        return Bad(c, "a piece's score is not a sane number");
    if (type < 1 || type > 6)
        return Bad(c, "a piece's type is not 1..6");
    c->unknown += type == 2;
    if (++c->pieces > kPiecesLimit)
        return Bad(c, "more than 1048576 pieces");
    return type != 6 || CheckByte(text, c);
}

/* TrainerSpec: only model_type (3) and byte_fallback (35) matter; unigram is 1, BPE 2. */
bool CheckTrainer(Slice s, Census *c)
{
    uint64_t type = 1;
    while (s.left()) {
        Field f;
        if (!ReadField(&s, &f))
            return Bad(c, "the trainer specification is cut off");
        if (f.number == 3 && f.wire == kVarint)
            type = f.value;
        if (f.number == 35 && f.wire == kVarint)
            c->byte_fallback = f.value != 0;
    }
    return type == 1 || type == 2 || Bad(c, "the model is neither unigram nor BPE");
}

/* Normaliser table: u32 size of a Darts-clone trie, the trie, NUL-terminated replacements. Walking
 * it must never leave the arrays: node i leads to i ^ offset ^ byte; a value points into the
 * replacements. */
bool CheckCharsmap(Slice s, Census *c)
{
    uint32_t bytes;
    if (!s.left())
        return true;
    if (s.left() < 4)
        return Bad(c, "the normaliser table is cut off");
    memcpy(&bytes, s.at, 4);
    s.at += 4;
    if (bytes < 1024 || bytes % 1024 || bytes >= s.left() || s.end[-1] != 0)
        return Bad(c, "the normaliser table has impossible sizes");
    uint32_t units = bytes / 4, texts = (uint32_t)(s.left() - bytes);
    for (uint32_t i = 0; i < units; i++) {
        uint32_t u;
        memcpy(&u, s.at + 4 * (size_t)i, 4);
        if (u >> 31) {
            if ((u & 0x7fffffffu) >= texts)
                return Bad(c, "the normaliser table points outside itself");
            continue;
        }
        uint32_t offset = (u >> 10) << ((u & (1u << 9)) >> 6);
        if (((i ^ offset) | 255u) >= units)
            return Bad(c, "the normaliser table points outside itself");
        uint32_t value;
        if (u & (1u << 8)) {
            memcpy(&value, s.at + 4 * (size_t)(i ^ offset), 4);
            if ((value & 0x7fffffffu) >= texts)
                return Bad(c, "the normaliser table points outside itself");
        }
    }
    return true;
}

/* NormalizerSpec { 2: bytes precompiled_charsmap, ... }. */
bool CheckNormaliser(Slice s, Census *c)
{
    while (s.left()) {
        Field f;
        if (!ReadField(&s, &f))
            return Bad(c, "the normaliser specification is cut off");
        if (f.number == 2 && (f.wire != kBytes || !CheckCharsmap(f.bytes, c)))
            return Bad(c, c->why.empty() ? "the normaliser table has the wrong type" : c->why);
    }
    return true;
}

/* ModelProto { 1: pieces, 2: trainer, 3: normaliser, 4: self test, 5: denormaliser }. */
bool CheckModel(const std::string &file, Census *c)
{
    Slice s = {(const uint8_t *)file.data(), (const uint8_t *)file.data() + file.size()};
    bool trainer = false;
    while (s.left()) {
        Field f;
        if (!ReadField(&s, &f))
            return Bad(c, "a field is cut off");
        if (f.number <= 5 && f.wire != kBytes)
            return Bad(c, "a field has the wrong wire type");
        bool ok = true;
        if (f.number == 1)
            ok = CheckPiece(f.bytes, c);
        else if (f.number == 2)
            ok = trainer = CheckTrainer(f.bytes, c);
        else if (f.number == 3 || f.number == 5)
            ok = CheckNormaliser(f.bytes, c);
        if (!ok)
            return Bad(c, c->why);
    }
    if (!trainer || c->pieces < 2)
        return Bad(c, "it is not a SentencePiece model");
    if (c->unknown != 1)
        return Bad(c, "it has not exactly one unknown piece");
    if (c->bytes && (c->bytes != 256 || !c->byte_fallback))
        return Bad(c, "its byte pieces are incomplete");
    return true;
}

/* ---- Training ---------------------------------------------------------------------------------
 */

class Lines : public sentencepiece::SentenceIterator
{
  public:
    explicit Lines(const std::string &text) : text_(text)
    {
        Next();
    }
    bool done() const override
    {
        return done_;
    }
    void Next() override
    {
        done_ = at_ >= text_.size();
        if (done_)
            return;
        size_t end = text_.find('\n', at_);
        end = end == std::string::npos ? text_.size() : end;
        line_ = text_.substr(at_, end - at_);
        at_ = end + 1;
    }
    const std::string &value() const override
    {
        return line_;
    }
    sentencepiece::util::Status status() const override
    {
        return sentencepiece::util::Status();
    }

  private:
    const std::string &text_;
    std::string line_;
    size_t at_ = 0;
    bool done_ = false;
};

/* SentencePiece takes its candidates from the distinct words of a corpus: what occurs inside one of
 * them only, a word that always stands alone above all, is none. A second form of every word, a
 * line each, makes it one. */
std::string SecondForms(const std::string &corpus)
{
    std::set<std::string> words;
    const char *stops = " \t\r\n.,;:!?\"()";
    size_t at = 0;
    while ((at = corpus.find_first_not_of(stops, at)) != std::string::npos) {
        size_t end = corpus.find_first_of(stops, at);
        end = end == std::string::npos ? corpus.size() : end;
        words.insert(corpus.substr(at, end - at));
        at = end;
    }
    std::string out = "\n";
    for (const auto &w : words)
        out += w + ((unsigned char)w[0] < 0x80 ? "," : w) + "\n";
    return out;
}

/* Case folding of Latin, Greek and Cyrillic; full-width forms, typographic quotes and dashes to
 * ASCII. A tenth of the size of full NFKC, which captions do not need. */
std::string Rules()
{
    std::string out;
    auto rule = [&out](int from, int to) {
        char line[64];
        snprintf(line, sizeof line, "%X\t%X\n", from, to);
        out += line;
    };
    for (int c = 'A'; c <= 'Z'; c++) {
        rule(c, c + 32);
        rule(c + 0xfee0, c + 32);
    }
    for (int c = 0x21; c <= 0x7e; c++)
        if (c < 'A' || c > 'Z')
            rule(c + 0xfee0, c);
    for (int c = 0xc0; c <= 0xde; c++)
        if (c != 0xd7)
            rule(c, c + 32);
    for (int c = 0x391; c <= 0x3a9; c++)
        if (c != 0x3a2)
            rule(c, c + 32);
    for (int c = 0x410; c <= 0x42f; c++)
        rule(c, c + 32);
    const int pairs[][2] = {{0x3000, ' '}, {0xa0, ' '},    {'\t', ' '},    {0x3001, ','},
                            {0x3002, '.'}, {0x2018, '\''}, {0x2019, '\''}, {0x201c, '"'},
                            {0x201d, '"'}, {0x2013, '-'},  {0x2014, '-'},  {0x2212, '-'}};
    for (const auto &p : pairs)
        rule(p[0], p[1]);
    return out;
}

int TrainModel(const std::string &corpus, const char *out_path, const std::string &rules_path,
               int pieces, rlm_error *err)
{
    std::unordered_map<std::string, std::string> args = {
        {"vocab_size", std::to_string(pieces)},
        {"model_type", "unigram"},
        {"byte_fallback", "true"},
        {"character_coverage", "1.0"},
        {"normalization_rule_tsv", rules_path},
        {"hard_vocab_limit", "false"},
        {"num_threads", "1"},
        {"unk_id", "0"},
        {"bos_id", "-1"},
        {"eos_id", "-1"},
        {"minloglevel", "3"},
    };
    std::string model;
    std::string all = corpus + SecondForms(corpus);
    Lines lines(all);
    auto status = sentencepiece::SentencePieceTrainer::Train(args, &lines, &model);
    if (!status.ok())
        return rlm_fail(err, RLM_E_RANGE, "text tokenizer: training failed: %s",
                        status.error_message());
    Census census;
    if (!CheckModel(model, &census))
        return rlm_fail(err, RLM_E_INTERNAL, "text tokenizer: trained model: %s",
                        census.why.c_str());
    return rlm_file_write(out_path, model.data(), model.size(), err);
}

int ReadFile(const char *path, size_t limit, std::string *out, rlm_error *err)
{
    char *data = nullptr;
    size_t bytes = 0;
    RLM_TRY(rlm_file_read(path, limit, &data, &bytes, err));
    std::unique_ptr<char, void (*)(void *)> owner(data, rlm_free);
    out->assign(data, bytes);
    return 0;
}

int Open(rlm_text **out, const char *path, rlm_error *err)
{
    std::string file;
    RLM_TRY(ReadFile(path, kFileLimit, &file, err));
    Census census;
    if (!CheckModel(file, &census))
        return rlm_fail(err, RLM_E_MODEL, "%s: %s", path, census.why.c_str());
    std::unique_ptr<rlm_text> t(new rlm_text);
    auto status = t->processor.LoadFromSerializedProto(file);
    if (!status.ok())
        return rlm_fail(err, RLM_E_MODEL, "%s: SentencePiece refuses it: %s", path,
                        status.error_message());
    t->pieces = t->processor.GetPieceSize();
    *out = t.release();
    return 0;
}

/* One guard for every entry: nothing thrown passes into C. */
template <class Body> int Guard(rlm_error *err, Body body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return rlm_fail(err, RLM_E_NOMEM, "text tokenizer: out of memory");
    } catch (const std::exception &e) {
        return rlm_fail(err, RLM_E_INTERNAL, "text tokenizer: %s", e.what());
    } catch (...) {
        return rlm_fail(err, RLM_E_INTERNAL, "text tokenizer: unknown exception");
    }
}

} // namespace

extern "C" int rlm_text_open(rlm_text **out, const char *path, rlm_error *err)
{
    *out = nullptr;
    return Guard(err, [&] { return Open(out, path, err); });
}

extern "C" void rlm_text_close(rlm_text **t)
{
    delete *t;
    *t = nullptr;
}

extern "C" int rlm_text_size(const rlm_text *t)
{
    return t->pieces;
}

extern "C" int rlm_text_encode(const rlm_text *t, const char *utf8, size_t bytes, int32_t *ids,
                               int max, int *count, int *cut, rlm_error *err)
{
    *count = 0;
    if (cut)
        *cut = 0;
    if (bytes > kTextLimit)
        return rlm_fail(err, RLM_E_RANGE, "text: %zu bytes, at most %zu", bytes, kTextLimit);
    return Guard(err, [&] {
        std::vector<int> found;
        auto status = t->processor.Encode(absl::string_view(utf8, bytes), &found);
        if (!status.ok())
            return rlm_fail(err, RLM_E_INTERNAL, "text tokenizer: %s", status.error_message());
        int n = found.size() > (size_t)max ? max : (int)found.size();
        for (int i = 0; i < n; i++)
            ids[i] = found[(size_t)i];
        *count = n;
        if (cut)
            *cut = found.size() > (size_t)n;
        return 0;
    });
}

extern "C" int rlm_text_decode(const rlm_text *t, const int32_t *ids, int count, char **utf8,
                               rlm_error *err)
{
    *utf8 = nullptr;
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= t->pieces)
            return rlm_fail(err, RLM_E_TOKENS, "text: piece %d at %d, expected 0..%d", ids[i], i,
                            t->pieces - 1);
    return Guard(err, [&] {
        std::string text;
        auto status = t->processor.Decode(std::vector<int>(ids, ids + count), &text);
        if (!status.ok())
            return rlm_fail(err, RLM_E_INTERNAL, "text tokenizer: %s", status.error_message());
        *utf8 = (char *)rlm_alloc(text.size() + 1);
        if (!*utf8)
            return rlm_fail(err, RLM_E_NOMEM, "text: no memory for %zu bytes", text.size());
        memcpy(*utf8, text.c_str(), text.size() + 1);
        return 0;
    });
}

extern "C" int rlm_text_train(const char *corpus_path, const char *out_path, int pieces,
                              rlm_error *err)
{
    if (pieces < 300 || pieces > 65536)
        return rlm_fail(err, RLM_E_RANGE, "text tokenizer: %d pieces, expected 300..65536", pieces);
    return Guard(err, [&] {
        std::string corpus, rules = Rules(), rules_path = std::string(out_path) + ".rules.tsv";
        RLM_TRY(ReadFile(corpus_path, kCorpusLimit, &corpus, err));
        RLM_TRY(rlm_file_write(rules_path.c_str(), rules.data(), rules.size(), err));
        int code;
        try {
            code = TrainModel(corpus, out_path, rules_path, pieces, err);
        } catch (...) {
            remove(rules_path.c_str());
            throw;
        }
        remove(rules_path.c_str());
        return code;
    });
}
