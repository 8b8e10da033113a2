// The C ABI of backend.h over Model and Session: translation and guards, nothing else.
#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "engine/score.h"
#include "engine/session.h"
#include "ops/schema.h"
#include "ops/torch_errors.h"
#include "plugin_requests.h"
#include "spnl/backend.hpp"
#include "spnl/modelkit/load_request.h"

using namespace spnl;
using namespace spnl::mistralrs;

struct spnl_instance {
  const spnl_host* host;
};

struct spnl_model {
  const spnl_host* host;
  std::string device = "cpu", dtype = "auto";
  Model model;
};

struct spnl_session {
  const Model& model;
  Session session;
};

namespace {

constexpr uint64_t kCaps = SPNL_CAP_BULK_MAP | SPNL_CAP_BULK_REPEAT | SPNL_CAP_SPANS |
                           SPNL_CAP_BATCH_INVARIANT | SPNL_CAP_COMMUTATIVE;

template <class Body>
spnl_status guarded(spnl_error* error, Body&& body) noexcept {
  return abi::guard(error, [&] {
    try {
      return body();
    } catch (...) {
      rethrow_as_failure();
    }
  });
}

void log(const spnl_host& host, int32_t level, const std::string& text) {
  host.log(host.self, level, abi::str("mistralrs"), abi::str(text));
}

std::optional<std::string> config(const spnl_host& host, std::string_view key) {
  std::string value;
  const spnl_sink sink = abi::string_sink(value);
  const spnl_status status = host.config(host.self, abi::str(key), &sink);
  if (status == SPNL_NOT_FOUND) return std::nullopt;
  if (status != SPNL_OK)
    throw abi::Failure(status, "the host cannot tell the setting " + std::string(key));
  return value;
}

/// The load's own options win over the host's settings.
Settings settings_of(const spnl_host& host, const spnl_load& load) {
  const auto lookup = [&](std::string_view key) -> std::optional<std::string> {
    for (uint32_t i = 0; i < load.n_options; ++i)
      if (abi::view(load.options[i].key) == key)
        return std::string(abi::view(load.options[i].value));
    if (key == "MISTRALRS_DEVICE" && load.device.len > 0)
      return std::string(abi::view(load.device));
    return config(host, key);
  };
  Settings settings = read_settings(lookup);
  settings.max_context = load.max_context;
  settings.memory_limit = load.memory_limit;
  settings.spans = span_defaults(abi::view(load.model));
  const std::string_view dtype = abi::view(load.dtype);
  if (!dtype.empty() && dtype != "auto")
    throw abi::Failure(SPNL_UNSUPPORTED,
                       "dtype " + std::string(dtype) + ": weights are used as the file has them");
  return settings;
}

Runtime& runtime_of(spnl_model* model) {
  Runtime* runtime = model->model.runtime();
  if (runtime == nullptr)
    throw abi::Failure(SPNL_UNSUPPORTED, "weights: the model was loaded with vocab_only");
  return *runtime;
}

// ---- the table ----

spnl_status open(const spnl_host* host, spnl_instance** instance, spnl_error* error) {
  return guarded(error, [&] {
    if (host == nullptr || host->struct_size < sizeof(spnl_host) || instance == nullptr)
      throw abi::Failure(SPNL_INVALID, "open: no host, or one that is too small");
    register_torch_ops();
    *instance = new spnl_instance{host};
  });
}

void close(spnl_instance* instance) { delete instance; }

spnl_status model_load(spnl_instance* instance, const spnl_load* load, spnl_model** model,
                       spnl_error* error) {
  return guarded(error, [&] {
    if (load == nullptr || load->struct_size < sizeof(spnl_load) || model == nullptr ||
        (load->n_options > 0 && load->options == nullptr))
      throw abi::Failure(SPNL_INVALID, "model_load: the request is too small or has no options");
    const spnl_host& host = *instance->host;
    const Settings settings = settings_of(host, *load);
    const std::filesystem::path path = modelkit::resolve_model(host, *load);
    const auto progress = [&](uint64_t done, uint64_t total) {
      return host.progress(host.self, load->op, abi::str("load"), done, total) == 0 &&
             host.cancelled(host.self, load->op) == 0;
    };
    const auto note = [&host](const std::string& text) { log(host, SPNL_LOG_NOTE, text); };
    try {
      *model = new spnl_model{&host, "cpu", "auto",
                              Model(path, modelkit::open_options(*load), settings, progress, note)};
    } catch (const LoadStopped&) {
      throw abi::Failure(SPNL_CANCELLED, "loading " + path.string() + " was cancelled");
    }
    log(host, SPNL_LOG_INFO, (*model)->model.summary());
  });
}

void model_unload(spnl_model* model) {
  if (model == nullptr) return;
  if (const Runtime* runtime = model->model.runtime(); runtime && runtime->disk) {
    runtime->disk->close();
    log(*model->host, SPNL_LOG_INFO, runtime->disk->summary());
  }
  delete model;
}

spnl_status model_info(spnl_model* model, spnl_model_info* info, spnl_error* error) {
  return guarded(error, [&] {
    if (info == nullptr || info->struct_size < sizeof(spnl_model_info))
      throw abi::Failure(SPNL_INVALID, "model_info: no place for the answer, or too small a one");
    const Model& m = model->model;
    const uint32_t size = info->struct_size;
    *info = {};
    info->struct_size = size;
    info->eos = m.bundle().eos.data();
    info->n_eos = static_cast<uint32_t>(m.bundle().eos.size());
    info->architecture = abi::str(m.bundle().spec.architecture);
    info->device = abi::str(model->device);
    info->dtype = abi::str(model->dtype);
    info->caps = kCaps;
    info->context = static_cast<uint64_t>(m.context());
    info->vocab = static_cast<uint64_t>(m.vocab());
    info->embedding_dim = m.bundle().spec.hidden_size;
    info->cache_block_tokens = static_cast<uint64_t>(m.settings().block_size);
  });
}

const spnl_prompt& checked(const spnl_prompt* prompt) {
  if (prompt == nullptr) throw abi::Failure(SPNL_INVALID, "no prompt");
  modelkit::validate_prompt(*prompt);
  return *prompt;
}

spnl_status tokenize(spnl_model* model, const spnl_prompt* prompt, const spnl_sink* ids,
                     const spnl_sink* ends, spnl_error* error) {
  return guarded(error, [&] {
    const modelkit::EncodedPrompt encoded = model->model.bundle().prompts->encode(checked(prompt));
    if (ids != nullptr) abi::write(*ids, encoded.ids.data(), encoded.ids.size() * sizeof(int32_t));
    if (ends != nullptr)
      abi::write(*ends, encoded.ends.data(), encoded.ends.size() * sizeof(uint64_t));
  });
}

spnl_status detokenize(spnl_model* model, const int32_t* ids, uint64_t n, const spnl_sink* text,
                       spnl_error* error) {
  return guarded(error, [&] {
    if ((ids == nullptr && n > 0) || text == nullptr)
      throw abi::Failure(SPNL_INVALID, "detokenize: no ids or no sink");
    const Model& m = model->model;
    std::vector<int32_t> known;
    std::copy_if(ids, ids + n, std::back_inserter(known), [&](int32_t id) { return !m.pads(id); });
    const std::string out = m.bundle().tokenizer->decode(known, /*spell_special=*/true);
    abi::write(*text, out.data(), out.size());
  });
}

spnl_status render(spnl_model* model, const spnl_prompt* prompt, const spnl_sink* text,
                   spnl_error* error) {
  return guarded(error, [&] {
    if (text == nullptr) throw abi::Failure(SPNL_INVALID, "render: no sink");
    const std::string out = model->model.bundle().prompts->render(checked(prompt));
    abi::write(*text, out.data(), out.size());
  });
}

spnl_status session_open(spnl_model* model, const spnl_events* events, spnl_session** session,
                         spnl_error* error) {
  return guarded(error, [&] {
    runtime_of(model);
    if (events == nullptr || events->struct_size < sizeof(spnl_events) ||
        events->event == nullptr || session == nullptr)
      throw abi::Failure(SPNL_INVALID, "session_open: no events, or too small a struct");
    const spnl_host& host = *model->host;
    const spnl_events copy = *events;
    *session = new spnl_session{
        model->model,
        Session(
            model->model, [copy](const Event& event) { return send_event(copy, event); },
            [&host](const std::string& text) { log(host, SPNL_LOG_NOTE, text); })};
  });
}

spnl_status submit(spnl_session* session, const spnl_request* request, uint64_t* sequence,
                   spnl_error* error) {
  return guarded(error, [&] {
    if (request == nullptr || sequence == nullptr)
      throw abi::Failure(SPNL_INVALID, "submit: no request or no answer");
    if (!session->session.submit(to_request(session->model, *request), *sequence))
      throw abi::Failure(SPNL_BUSY, "the queue is full; step first");
  });
}

spnl_status step(spnl_session* session, uint64_t budget_ns, uint32_t* alive, spnl_error* error) {
  return guarded(error, [&] {
    const Clock::time_point begin = Clock::now();
    uint32_t left = 0;
    do {
      left = session->session.step();
    } while (left > 0 && static_cast<uint64_t>(
                             std::chrono::nanoseconds(Clock::now() - begin).count()) < budget_ns);
    if (alive != nullptr) *alive = left;
  });
}

spnl_status cancel(spnl_session* session, uint64_t sequence) {
  return guarded(nullptr, [&] { session->session.cancel(sequence); });
}

void session_close(spnl_session* session) {
  guarded(nullptr, [&] { session->session.close(); });
  delete session;
}

spnl_status stats(spnl_model* model, spnl_stats* out, spnl_error* error) {
  return guarded(error, [&] {
    if (out == nullptr || out->struct_size < sizeof(spnl_stats))
      throw abi::Failure(SPNL_INVALID, "stats: no place for the answer, or too small a one");
    const uint32_t size = out->struct_size;
    *out = {};
    out->struct_size = size;
    Runtime* runtime = model->model.runtime();
    if (runtime == nullptr) return;
    out->bytes_weights = runtime->weights.bytes;
    out->bytes_cache_limit = runtime->pool->budget();
    out->bytes_scratch = runtime->transformer->workspace_bytes();
    Counters& c = runtime->counters;
    const std::lock_guard lock(c.mutex);
    out->running = c.running;
    out->waiting = c.waiting;
    out->prefill_tokens = c.prefill_tokens;
    out->decode_tokens = c.decode_tokens;
    out->prefill_ns = c.prefill_ns;
    out->decode_ns = c.decode_ns;
    out->cache_asked_tokens = c.cache_asked;
    out->cache_hit_tokens = c.cache_hit;
    out->bytes_cache = c.cache_bytes;
  });
}

spnl_status score_ids(spnl_model* model, const int32_t* ids, uint64_t n, uint32_t top_k,
                      float* logprobs, int32_t* top_ids, float* top_logits, double* log_sum_exp,
                      spnl_error* error) {
  return guarded(error, [&] {
    runtime_of(model);
    if ((n > 0 && (ids == nullptr || logprobs == nullptr)) || log_sum_exp == nullptr ||
        (top_k > 0 && (top_ids == nullptr || top_logits == nullptr)))
      throw abi::Failure(SPNL_INVALID, "score: a pointer is null");
    if (!score(model->model, {ids, n}, {logprobs, n}, {top_ids, top_k}, {top_logits, top_k},
               *log_sum_exp))
      throw abi::Failure(SPNL_BUSY, "running sessions hold the KV cache; step them first");
  });
}

const void* extension(spnl_instance*, const char* id) {
  static const spnl_score_v1 score_table = {sizeof(spnl_score_v1), 0, score_ids};
  return id != nullptr && std::string_view(id) == SPNL_EXT_SCORE ? &score_table : nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const spnl_backend* spnl_backend_v1(void) {
  static const spnl_str prefixes[] = {{"mistralrs", 9}, {"local", 5}};
  static const spnl_descriptor descriptor = {
      sizeof(spnl_descriptor),
      SPNL_ABI_MINOR,
      0,
      2,
      prefixes,
      {"spnl.mistralrs", 14},
      {"mistralrs", 9},
      {SPNL_MISTRALRS_VERSION, sizeof(SPNL_MISTRALRS_VERSION) - 1},
      {"spnl", 4},
      {"Apache-2.0", 10},
      kCaps};
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
