// A scripted backend for tests: its model's name says what it does (fake_backend.h).
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <sstream>
#include <thread>
#include <vector>

#include "spnl/backend.hpp"

#ifndef FAKE_ID
#define FAKE_ID "fake"
#endif
#ifndef FAKE_PREFIX
#define FAKE_PREFIX FAKE_ID
#endif
#ifndef FAKE_VERSION
#define FAKE_VERSION "1.0"
#endif
#ifndef FAKE_MINOR_NEEDED
#define FAKE_MINOR_NEEDED 0
#endif

struct spnl_instance {
  const spnl_host* host;
  void* block;
  std::atomic<int> models{0};
};

struct spnl_model {
  spnl_instance* instance;
  std::string behaviour;
  std::atomic<int> sessions{0}, inside{0};
  std::atomic<uint64_t> steps{0};
  bool has(const char* word) const {
    return ("+" + behaviour + "+").find("+" + std::string(word) + "+") != std::string::npos;
  }
};

namespace {

using spnl::abi::fail;
using spnl::abi::guard;
using spnl::abi::str;
using spnl::abi::view;

struct Sequence {
  uint64_t user_id = 0;
  std::vector<std::string> words;
  uint32_t samples = 1, limit = 0;
  size_t next = 0;
  uint32_t n_fragments = 0;  ///< counted where the model has spans
  int32_t span_mode = 0, span_context = 0;
  std::atomic<bool> cancelled{false};
};

std::vector<std::string> words_of(const spnl_prompt& prompt) {
  std::vector<std::string> words;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const spnl_fragment& f = *prompt.fragments[i];
    if (f.kind == SPNL_FRAG_ORDERED) words.push_back("(");
    if (f.kind == SPNL_FRAG_INDEPENDENT) words.push_back("[");
    for (uint32_t t = 0; t < f.n_tokens; ++t) words.push_back("#" + std::to_string(f.tokens[t]));
    std::istringstream in{std::string(view(f.text))};
    for (std::string word; in >> word;) words.push_back(word);
  }
  return words;
}

}  // namespace

struct spnl_session {
  spnl_model* model;
  spnl_events events;
  std::mutex mutex;  // cancel comes from any thread
  std::map<uint64_t, std::unique_ptr<Sequence>> alive;
  uint64_t next = 1000;
  int steps = 0;

  void emit(uint64_t id, const Sequence& s, uint32_t sample, bool finish, int32_t reason,
            const std::string& text) {
    const int32_t token = 100 + static_cast<int32_t>(s.next);
    spnl_usage usage{};
    usage.struct_size = sizeof usage;
    usage.prompt_tokens = s.words.size();
    usage.output_tokens = s.next;
    std::vector<uint64_t> counts(s.n_fragments);
    std::iota(counts.begin(), counts.end(), 10);
    if (s.n_fragments > 0) {
      usage.n_fragments = s.n_fragments;
      usage.fragment_tokens = usage.fragment_cached = counts.data();
      usage.span_mode = s.span_mode;
      usage.span_context = s.span_context;
    }
    spnl_error error{};
    error.struct_size = sizeof error;
    spnl_event e{};
    e.struct_size = sizeof e;
    e.kind = finish ? SPNL_EV_FINISH : SPNL_EV_TOKENS;
    e.sequence = id;
    e.user_id = s.user_id;
    e.sample = sample;
    e.finish = reason;
    e.text = str(text);
    e.tokens = finish ? nullptr : &token;
    e.n_tokens = finish ? 0 : 1;
    if (finish) e.usage = &usage;
    if (finish && reason == SPNL_FIN_ERROR) {
      fail(&error, SPNL_NO_MEMORY, "no room\nfor it");
      e.error = &error;
    }
    if (events.event(events.user, &e) != 0) const_cast<Sequence&>(s).cancelled = true;
  }

  void finish(uint64_t id, const Sequence& s, int32_t reason) {
    for (uint32_t i = 0; i < s.samples; ++i) emit(id, s, i, true, reason, "");
  }

  void be_rude(uint64_t id, const Sequence& s) {
    Sequence stranger;
    stranger.user_id = 987654321;
    emit(5, stranger, 0, false, 0, "who?");
    emit(5, stranger, 0, true, SPNL_FIN_EOS, "");
    emit(id, s, 77, false, 0, "which?");
    spnl_event odd{};
    odd.struct_size = 8;
    odd.user_id = s.user_id;
    events.event(events.user, &odd);
    odd.struct_size = sizeof odd;
    odd.kind = 99;
    events.event(events.user, &odd);
    std::thread([&] { emit(id, s, 0, false, 0, "elsewhere"); }).join();
  }

  // One token for each sample; true: the sequence is over.
  bool advance(uint64_t id, Sequence& s) {
    if (s.cancelled) {
      finish(id, s, SPNL_FIN_CANCELLED);
      return true;
    }
    if (model->has("quiet")) return false;
    const bool endless = model->has("endless");
    if (!endless && (s.next >= s.words.size() || (s.limit > 0 && s.next >= s.limit))) {
      const bool cut = s.next < s.words.size();
      const bool error = !s.words.empty() && s.words.back() == "ERROR";
      finish(id, s, error ? SPNL_FIN_ERROR : cut ? SPNL_FIN_LENGTH : SPNL_FIN_EOS);
      if (model->has("rude")) {
        emit(id, s, 0, false, 0, "late");
        finish(id, s, SPNL_FIN_LENGTH);
      }
      return true;
    }
    if (model->has("rude")) be_rude(id, s);
    const std::string word = endless ? "on" : s.words[s.next];
    for (uint32_t i = 0; i < s.samples; ++i)
      emit(id, s, i, false, 0, s.next == 0 ? word : " " + word);
    ++s.next;
    return false;
  }
};

namespace {

spnl_status fake_open(const spnl_host* host, spnl_instance** out, spnl_error* error) {
  return guard(error, [&] {
    auto* instance = new spnl_instance{host, host->alloc(host->self, 1000, 64)};
    if (reinterpret_cast<uintptr_t>(instance->block) % 64 != 0 ||
        host->alloc(host->self, 8, 3) != nullptr)
      throw spnl::abi::Failure(SPNL_INTERNAL, "alloc is wrong");
    host->log(host->self, SPNL_LOG_INFO, str(""), str("opened\n"));
    host->log(host->self, 77, str(""), str("of no level"));
    std::string value;
    const spnl_sink sink = spnl::abi::string_sink(value);
    if (host->config(host->self, str("FAKE_SETTING"), &sink) == SPNL_OK)
      host->log(host->self, SPNL_LOG_NOTE, str("setting"), str(value));
    *out = instance;
  });
}

void fake_close(spnl_instance* instance) {
  if (instance->models != 0)
    instance->host->log(instance->host->self, SPNL_LOG_ERROR, str("state"),
                        str("close with models"));
  instance->host->log(instance->host->self, SPNL_LOG_INFO, str(""), str("closed"));
  instance->host->release(instance->host->self, instance->block);
  delete instance;
}

spnl_status take_file(void* user, spnl_str name, spnl_str, uint64_t) {
  static_cast<std::string*>(user)->append(view(name)).append(";");
  return SPNL_OK;
}

spnl_status wait_load(spnl_instance* instance, const spnl_load* load, bool polite,
                      spnl_error* error) {
  const spnl_host* host = instance->host;
  for (int i = 0; i < 150; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (host->progress(host->self, load->op, str("weights"), static_cast<uint64_t>(i), 150) != 0 &&
        polite)
      return fail(error, SPNL_CANCELLED, "stopped");
  }
  return SPNL_OK;
}

spnl_status fake_model_load(spnl_instance* instance, const spnl_load* load, spnl_model** out,
                            spnl_error* error) {
  return guard(error, [&]() -> spnl_status {
    auto model = std::make_unique<spnl_model>();
    model->instance = instance;
    model->behaviour = std::string(view(load->model));
    const std::string& b = model->behaviour;
    if (b.find('/') != b.npos || model->has("missing") || b.find(':') != b.npos) {
      std::string files;
      const spnl_file_sink sink{sizeof sink, 0, &files, take_file};
      const spnl_status status = instance->host->resolve(instance->host->self, load->op,
                                                         load->model, str("*.gguf"), &sink, error);
      if (status != SPNL_OK) return status;
      model->behaviour = "files=" + files;
    }
    if (model->has("load_fail")) return fail(error, SPNL_CORRUPT, "magic is wrong\nin line two");
    if (model->has("load_slow") || model->has("load_stuck"))
      if (const spnl_status status = wait_load(instance, load, model->has("load_slow"), error);
          status != SPNL_OK)
        return status;
    for (uint32_t i = 0; i < load->n_options; ++i)
      if (view(load->options[i].key) == "echo_option")
        model->behaviour += "+" + std::string(view(load->options[i].value));
    ++instance->models;
    *out = model.release();
    return SPNL_OK;
  });
}

void fake_model_unload(spnl_model* model) {
  const spnl_host* host = model->instance->host;
  if (model->sessions != 0)
    host->log(host->self, SPNL_LOG_ERROR, str("state"), str("unload with session"));
  host->log(host->self, SPNL_LOG_INFO, str(""), str("unloaded"));
  --model->instance->models;
  delete model;
}

spnl_status fake_model_info(spnl_model* model, spnl_model_info* info, spnl_error*) {
  static const int32_t eos[] = {2, 7};
  info->n_eos = 2;
  info->eos = eos;
  info->architecture = str(model->behaviour);
  info->device = str("cpu");
  info->caps = SPNL_CAP_BULK_MAP | (model->has("spans") ? SPNL_CAP_SPANS : 0u) | 1ull << 60;
  info->vocab = 50;
  info->context = 4096;
  return SPNL_OK;
}

spnl_status fake_tokenize(spnl_model*, const spnl_prompt* prompt, const spnl_sink* ids,
                          const spnl_sink*, spnl_error* error) {
  return guard(error, [&] {
    int32_t id = 1;
    for (const std::string& word : words_of(*prompt)) {
      (void)word;
      spnl::abi::write(*ids, &id, sizeof id);
      ++id;
    }
  });
}

spnl_status fake_detokenize(spnl_model*, const int32_t* ids, uint64_t n, const spnl_sink* text,
                            spnl_error* error) {
  return guard(error, [&] {
    for (uint64_t i = 0; i < n; ++i) {
      if (ids[i] < 0) throw spnl::abi::Failure(SPNL_INVALID, "id below 0");
      const std::string word = std::to_string(ids[i]) + " ";
      spnl::abi::write(*text, word.data(), word.size());
    }
  });
}

spnl_status fake_render(spnl_model*, const spnl_prompt* prompt, const spnl_sink* text,
                        spnl_error* error) {
  return guard(error, [&] {
    for (const std::string& word : words_of(*prompt)) {
      if (word == "REFUSE") throw spnl::abi::Failure(SPNL_INVALID, "the template refuses");
      spnl::abi::write(*text, (word + "|").data(), word.size() + 1);
    }
  });
}

spnl_status fake_session_open(spnl_model* model, const spnl_events* events, spnl_session** out,
                              spnl_error* error) {
  if (model->has("no_session")) return fail(error, SPNL_UNSUPPORTED, "loaded without weights");
  ++model->sessions;
  *out = new spnl_session{model, *events, {}, {}};
  return SPNL_OK;
}

spnl_status fake_submit(spnl_session* session, const spnl_request* request, uint64_t* sequence,
                        spnl_error* error) {
  return guard(error, [&]() -> spnl_status {
    if (session->model->has("reject")) return fail(error, SPNL_INVALID, "prompt too long");
    if (session->model->has("stuck")) return fail(error, SPNL_BUSY, "never");
    const std::lock_guard lock(session->mutex);
    if (session->model->has("busy") && session->alive.size() >= 2)
      return fail(error, SPNL_BUSY, "queue full");
    auto s = std::make_unique<Sequence>();
    s->user_id = request->user_id;
    s->words = words_of(*request->prompt);
    s->samples = request->sampling->samples;
    if ((request->sampling->set & SPNL_SET_MAX_TOKENS) != 0)
      s->limit = request->sampling->max_tokens;
    if (session->model->has("spans")) {
      s->span_mode = request->span_mode;
      s->span_context = request->span_context;
      s->n_fragments = request->prompt->n_fragments;
      std::string settings = std::to_string(request->span_mode);
      for (const int32_t value : {request->span_context, request->span_order})
        settings += "/" + std::to_string(value);
      s->words.push_back(settings + "/" + std::to_string(request->span_k));
      for (uint32_t i = 0; i < request->prompt->n_fragments; ++i) {
        const spnl_fragment& f = *request->prompt->fragments[i];
        if (f.flags != 0 || f.lineage != 0 || f.next_use != 0)
          s->words.push_back(std::to_string(i) + ":" + std::to_string(f.flags) + "/" +
                             std::to_string(f.lineage) + "/" + std::to_string(f.next_use));
      }
    }
    *sequence = ++session->next;
    session->alive.emplace(*sequence, std::move(s));
    return SPNL_OK;
  });
}

[[maybe_unused]] spnl_status fake_step(spnl_session* session, uint64_t, uint32_t* alive,
                                       spnl_error* error) {
  return guard(error, [&]() -> spnl_status {
    // Serial per session, whatever thread: else the host broke the rule.
    if (session->model->inside.fetch_add(1) != 0) {
      const spnl_host* host = session->model->instance->host;
      host->log(host->self, SPNL_LOG_ERROR, str("state"), str("steps overlap"));
    }
    ++session->model->steps;
    if (session->model->has("slow")) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::vector<std::pair<uint64_t, Sequence*>> now;
    {
      const std::lock_guard lock(session->mutex);
      for (auto& [id, s] : session->alive) now.emplace_back(id, s.get());
    }
    for (auto& [id, s] : now) {
      if (!session->advance(id, *s)) continue;
      const std::lock_guard lock(session->mutex);
      session->alive.erase(id);
    }
    const std::lock_guard lock(session->mutex);
    *alive = session->model->has("lose") ? 0 : static_cast<uint32_t>(session->alive.size());
    session->model->inside.fetch_sub(1);
    if (++session->steps == 3 && session->model->has("fail_step"))
      return fail(error, SPNL_IO, "disk went away");
    return SPNL_OK;
  });
}

spnl_status fake_cancel(spnl_session* session, uint64_t sequence) {
  const std::lock_guard lock(session->mutex);
  const auto found = session->alive.find(sequence);
  if (found != session->alive.end()) found->second->cancelled = true;
  return SPNL_OK;
}

void fake_session_close(spnl_session* session) {
  if (!session->model->has("leftover"))
    for (auto& [id, s] : session->alive) session->finish(id, *s, SPNL_FIN_CANCELLED);
  --session->model->sessions;
  delete session;
}

spnl_status fake_stats(spnl_model* model, spnl_stats* stats, spnl_error*) {
  stats->decode_tokens = model->steps;
  if (model->behaviour.starts_with("files=")) stats->bytes_weights = 1000;
  return SPNL_OK;
}

spnl_status fake_score(spnl_model* model, const int32_t* ids, uint64_t n, uint32_t top_k,
                       float* logprobs, int32_t* top_ids, float* top_logits, double* log_sum_exp,
                       spnl_error* error) {
  if (model->inside.fetch_add(1) != 0) return fail(error, SPNL_INTERNAL, "score beside a step");
  for (uint64_t i = 0; i < n; ++i) logprobs[i] = -static_cast<float>(ids[i]);
  for (uint32_t i = 0; i < top_k; ++i) {
    top_ids[i] = static_cast<int32_t>(i);
    top_logits[i] = 1;
  }
  *log_sum_exp = 3.5;
  model->inside.fetch_sub(1);
  return SPNL_OK;
}

const void* fake_extension(spnl_instance*, const char* id) {
  static const spnl_score_v1 score{sizeof score, 0, fake_score};
  return std::string_view(id) == SPNL_EXT_SCORE ? &score : nullptr;
}

#ifdef FAKE_NULL_STEP
constexpr decltype(spnl_backend::step) kStep = nullptr;
#else
constexpr decltype(spnl_backend::step) kStep = fake_step;
#endif

constexpr spnl_str literal(const char* text, uint64_t n) { return {text, n}; }
#define FAKE_STR(text) literal(text, sizeof(text) - 1)

const spnl_str kPrefixes[] = {FAKE_STR(FAKE_PREFIX)};
const spnl_descriptor kDescriptor = {sizeof(spnl_descriptor),
                                     FAKE_MINOR_NEEDED,
                                     FAKE_MINOR_NEEDED,
                                     1,
                                     kPrefixes,
                                     FAKE_STR(FAKE_ID),
                                     FAKE_STR("Fake"),
                                     FAKE_STR(FAKE_VERSION),
                                     FAKE_STR(""),
                                     FAKE_STR(""),
                                     SPNL_CAP_BULK_MAP | 1ull << 60};
const spnl_backend kBackend = {sizeof(spnl_backend), 0,
                               &kDescriptor,         fake_open,
                               fake_close,           fake_model_load,
                               fake_model_unload,    fake_model_info,
                               fake_tokenize,        fake_detokenize,
                               fake_render,          fake_session_open,
                               fake_submit,          kStep,
                               fake_cancel,          fake_session_close,
                               fake_stats,           fake_extension};

}  // namespace

#ifdef FAKE_NO_SYMBOL
extern "C" __attribute__((visibility("default"))) int some_other_symbol() {
  return kBackend.struct_size != 0;
}
#else
extern "C" __attribute__((visibility("default"))) const spnl_backend* spnl_backend_v1(void) {
  return &kBackend;
}
#endif
