// A backend for the tests of the program. One token per byte. Models by name:
//   echo    answers "you said: " and the last fragment's text, a token per word, then stops
//   slow    a word each 5 ms, without end
//   broken  one word, then an error
//   dirty   an escape sequence, as a hostile model might
//   bytes   like echo; token 255 is no UTF-8
//   roles   answers with the first letter of each message's role, * behind those it wrote itself
//   wide    words of wide characters, without end
#include <chrono>
#include <cmath>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "spnl/backend.hpp"

struct spnl_instance {
  const spnl_host* host;
};

struct spnl_model {
  std::string name;
  const spnl_host* host;
};

namespace {

using spnl::abi::Failure;
using spnl::abi::view;

constexpr uint64_t kContext = 4096, kVocab = 256;

struct Sequence {
  uint64_t number, user_id, prompt_tokens, emitted = 0;
  uint32_t max_tokens;
  std::vector<std::string> words;
  bool cancelled = false;
  int32_t span_mode = 0, span_context = 0;
  std::vector<uint64_t> fragment_tokens = {}, fragment_cached = {};  ///< of the model "spans"
};

std::string text_of(const spnl_prompt& prompt) {
  std::string text;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const spnl_fragment& fragment = *prompt.fragments[i];
    if (fragment.kind == SPNL_FRAG_MESSAGE) text += view(fragment.text);
    for (uint32_t t = 0; t < fragment.n_tokens; ++t) text += static_cast<char>(fragment.tokens[t]);
  }
  return text;
}

std::string roles_of(const spnl_prompt& prompt) {
  std::string out;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const spnl_fragment& fragment = *prompt.fragments[i];
    if (fragment.kind != SPNL_FRAG_MESSAGE) continue;
    out += "nsuat"[fragment.role];
    if (fragment.lineage != 0) out += '*';
  }
  return out;
}

/// What a request says of spans, and the settings that spans are kept by.
std::string spans_of(const spnl_model& model, const spnl_request& request) {
  std::string out;
  for (const int32_t value : {request.span_mode, request.span_context, request.span_order})
    out += std::to_string(value) + " ";
  out += std::to_string(request.span_k);
  for (const char* key : {"kv_type", "kv_memory", "span_cache", "span_cache_size"}) {
    std::string value;
    const spnl_sink sink = spnl::abi::string_sink(value);
    model.host->config(model.host->self, spnl::abi::str(key), &sink);
    out += " " + (value.empty() ? "-" : value);
  }
  return out;
}

/// A token a byte; of each second fragment all are in the cache.
void count_fragments(const spnl_prompt& prompt, Sequence& sequence) {
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const uint64_t tokens = prompt.fragments[i]->text.len;
    sequence.fragment_tokens.push_back(tokens);
    sequence.fragment_cached.push_back(i % 2 == 0 ? tokens : 0);
  }
}

std::vector<std::string> answer(const std::string& model, const spnl_prompt& prompt) {
  if (model == "slow" || model == "wide") return {};
  if (model == "roles") return {roles_of(prompt)};
  if (model == "dirty") return {"a", "\x1b[31mb", "\n"};
  std::string last;
  for (uint32_t i = 0; i < prompt.n_fragments; ++i)
    if (prompt.fragments[i]->kind == SPNL_FRAG_MESSAGE) last = view(prompt.fragments[i]->text);
  return {"you ", "said: ", last};
}

}  // namespace

struct spnl_session {
  spnl_model* model;
  spnl_events events;
  std::deque<Sequence> alive;
  uint64_t next = 1;
  std::mutex mutex;  ///< of what cancel() writes
  std::set<uint64_t> cancelled;
};

namespace {

void emit(spnl_session& session, Sequence& sequence, const std::string& text) {
  int32_t token = static_cast<int32_t>('w');
  spnl_event event{};
  event.struct_size = sizeof event;
  event.kind = SPNL_EV_TOKENS;
  event.sequence = sequence.number;
  event.user_id = sequence.user_id;
  event.n_tokens = 1;
  event.tokens = &token;
  event.text = spnl::abi::str(text);
  ++sequence.emitted;
  if (session.events.event(session.events.user, &event) != 0) sequence.cancelled = true;
}

void finish(spnl_session& session, const Sequence& sequence, int32_t reason) {
  spnl_usage usage{};
  usage.struct_size = sizeof usage;
  usage.prompt_tokens = sequence.prompt_tokens;
  usage.output_tokens = sequence.emitted;
  usage.prefill_ns = 1'000'000;
  usage.first_token_ns = 2'000'000;
  usage.decode_ns = 1'000'000 * sequence.emitted;
  if (!sequence.fragment_tokens.empty()) {
    usage.n_fragments = static_cast<uint32_t>(sequence.fragment_tokens.size());
    usage.fragment_tokens = sequence.fragment_tokens.data();
    usage.fragment_cached = sequence.fragment_cached.data();
    usage.span_mode = sequence.span_mode;
    usage.span_context = sequence.span_context;
  }
  spnl_error error{};
  error.struct_size = sizeof error;
  if (reason == SPNL_FIN_ERROR) spnl::abi::fail(&error, SPNL_INTERNAL, "the fake model is broken");
  spnl_event event{};
  event.struct_size = sizeof event;
  event.kind = SPNL_EV_FINISH;
  event.sequence = sequence.number;
  event.user_id = sequence.user_id;
  event.finish = reason;
  event.usage = &usage;
  event.error = reason == SPNL_FIN_ERROR ? &error : nullptr;
  session.events.event(session.events.user, &event);
}

bool is_cancelled(spnl_session& session, uint64_t number) {
  std::lock_guard lock(session.mutex);
  return session.cancelled.count(number) != 0;
}

/// One token of one sequence; true when that was its last.
bool advance(spnl_session& session, Sequence& sequence) {
  auto end = [&](int32_t reason) { return finish(session, sequence, reason), true; };
  if (sequence.cancelled || is_cancelled(session, sequence.number)) return end(SPNL_FIN_CANCELLED);
  if (sequence.max_tokens > 0 && sequence.emitted >= sequence.max_tokens)
    return end(SPNL_FIN_LENGTH);
  if (session.model->name == "slow" || session.model->name == "wide") {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    emit(session, sequence, session.model->name == "slow" ? "word " : "文字 ");
    return false;
  }
  if (session.model->name == "broken" && sequence.emitted == 1) return end(SPNL_FIN_ERROR);
  if (sequence.emitted >= sequence.words.size()) return end(SPNL_FIN_EOS);
  emit(session, sequence, sequence.words[sequence.emitted]);
  return false;
}

spnl_status open(const spnl_host* host, spnl_instance** instance, spnl_error* error) {
  return spnl::abi::guard(error, [&] { *instance = new spnl_instance{host}; });
}

void close(spnl_instance* instance) { delete instance; }

spnl_status model_load(spnl_instance* instance, const spnl_load* load, spnl_model** model,
                       spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    std::string name(view(load->model));
    for (const char* known : {"echo", "slow", "broken", "dirty", "bytes", "roles", "wide", "spans"})
      if (name == known) {
        *model = new spnl_model{name, instance->host};
        return;
      }
    throw Failure(SPNL_NOT_FOUND, "no fake model " + name);
  });
}

void model_unload(spnl_model* model) { delete model; }

spnl_status model_info(spnl_model* model, spnl_model_info* info, spnl_error*) {
  info->architecture = spnl::abi::str("fake");
  info->device = spnl::abi::str("cpu");
  info->context = kContext;
  info->vocab = kVocab;
  if (model->name == "spans") info->caps = SPNL_CAP_SPANS;
  return SPNL_OK;
}

spnl_status tokenize(spnl_model*, const spnl_prompt* prompt, const spnl_sink* ids, const spnl_sink*,
                     spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    if ((prompt->flags & SPNL_PROMPT_NO_SPECIAL) == 0) {
      int32_t bos = 1;
      spnl::abi::write(*ids, &bos, sizeof bos);
    }
    for (char c : text_of(*prompt)) {
      int32_t id = static_cast<unsigned char>(c);
      spnl::abi::write(*ids, &id, sizeof id);
    }
  });
}

spnl_status detokenize(spnl_model*, const int32_t* ids, uint64_t n, const spnl_sink* text,
                       spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    for (uint64_t i = 0; i < n; ++i) {
      char byte = static_cast<char>(ids[i]);
      spnl::abi::write(*text, &byte, 1);
    }
  });
}

spnl_status render(spnl_model*, const spnl_prompt* prompt, const spnl_sink* text,
                   spnl_error* error) {
  static const char* const kRoles[] = {"none", "system", "user", "assistant", "tool"};
  return spnl::abi::guard(error, [&] {
    std::string out;
    for (uint32_t i = 0; i < prompt->n_fragments; ++i) {
      const spnl_fragment& fragment = *prompt->fragments[i];
      if (fragment.kind != SPNL_FRAG_MESSAGE) continue;
      if (fragment.role == SPNL_ROLE_TOOL) throw Failure(SPNL_INVALID, "the template has no tools");
      out += std::string(kRoles[fragment.role]) + ": " + std::string(view(fragment.text)) + "\n";
    }
    if ((prompt->flags & SPNL_PROMPT_NO_GENERATION) == 0) out += "assistant: ";
    spnl::abi::write(*text, out.data(), out.size());
  });
}

spnl_status session_open(spnl_model* model, const spnl_events* events, spnl_session** session,
                         spnl_error* error) {
  return spnl::abi::guard(error,
                          [&] { *session = new spnl_session{model, *events, {}, 1, {}, {}}; });
}

spnl_status submit(spnl_session* session, const spnl_request* request, uint64_t* number,
                   spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    uint32_t most =
        spnl::abi::has(request->sampling, SPNL_SET_MAX_TOKENS) ? request->sampling->max_tokens : 0;
    Sequence sequence{session->next++,
                      request->user_id,
                      text_of(*request->prompt).size(),
                      0,
                      most,
                      answer(session->model->name, *request->prompt)};
    if (session->model->name == "spans") {
      sequence.words = {spans_of(*session->model, *request)};
      sequence.span_mode = request->span_mode;
      sequence.span_context = request->span_context;
      count_fragments(*request->prompt, sequence);
    }
    *number = sequence.number;
    session->alive.push_back(std::move(sequence));
  });
}

spnl_status step(spnl_session* session, uint64_t, uint32_t* alive, spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    std::deque<Sequence> rest;
    for (Sequence& sequence : session->alive)
      if (!advance(*session, sequence)) rest.push_back(std::move(sequence));
    session->alive = std::move(rest);
    *alive = static_cast<uint32_t>(session->alive.size());
  });
}

// [any]: may come while a step runs, which moves the sequences about.
spnl_status cancel(spnl_session* session, uint64_t number) {
  std::lock_guard lock(session->mutex);
  session->cancelled.insert(number);
  return SPNL_OK;
}

void session_close(spnl_session* session) {
  for (const Sequence& sequence : session->alive) finish(*session, sequence, SPNL_FIN_CANCELLED);
  delete session;
}

spnl_status stats(spnl_model*, spnl_stats*, spnl_error*) { return SPNL_OK; }

spnl_status score(spnl_model*, const int32_t* ids, uint64_t n, uint32_t top_k, float* logprobs,
                  int32_t* top_ids, float* top_logits, double* log_sum_exp, spnl_error* error) {
  return spnl::abi::guard(error, [&] {
    for (uint64_t i = 0; i < n; ++i) logprobs[i] = i == 0 ? NAN : -static_cast<float>(ids[i]);
    for (uint32_t k = 0; k < top_k; ++k) {
      top_ids[k] = static_cast<int32_t>(kVocab - 1 - k);
      top_logits[k] = 0.1f - static_cast<float>(k);
    }
    *log_sum_exp = 1.5;
  });
}

const void* extension(spnl_instance*, const char* id) {
  static const spnl_score_v1 table = {sizeof(spnl_score_v1), 0, score};
  return std::string_view(id) == SPNL_EXT_SCORE ? &table : nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const spnl_backend* spnl_backend_v1(void) {
  static const spnl_str prefixes[] = {{"fake", 4}};
  static const spnl_descriptor descriptor = {sizeof(spnl_descriptor),
                                             SPNL_ABI_MINOR,
                                             0,
                                             1,
                                             prefixes,
                                             {"fake", 4},
                                             {"fake", 4},
                                             {"0.1.0", 5},
                                             {"tests", 5},
                                             {"Apache-2.0", 10},
                                             0};
  static const spnl_backend table = {sizeof(spnl_backend),
                                     0,
                                     &descriptor,
                                     open,
                                     close,
                                     model_load,
                                     model_unload,
                                     model_info,
                                     tokenize,
                                     detokenize,
                                     render,
                                     session_open,
                                     submit,
                                     step,
                                     cancel,
                                     session_close,
                                     stats,
                                     extension};
  return &table;
}
