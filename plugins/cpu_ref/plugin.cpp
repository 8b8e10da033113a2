// The C ABI's side of cpu_ref: turns pointers into objects, exceptions into statuses. What is
// computed is elsewhere.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "model.h"
#include "request.h"
#include "session.h"
#include "spnl/backend.hpp"
#include "spnl/modelkit/load_request.h"

using spnl::abi::Failure;
using spnl::abi::guard;
using spnl::abi::require;
using spnl::abi::str;
using spnl::abi::view;
using spnl::cpu_ref::status_of;

struct spnl_instance {
  const spnl_host* host;
};

struct spnl_model {
  spnl_instance* instance;
  spnl::cpu_ref::Model model;
};

struct spnl_session {
  spnl::cpu_ref::Session session;
};

namespace {

constexpr uint64_t kCaps = SPNL_CAP_BULK_MAP | SPNL_CAP_BULK_REPEAT | SPNL_CAP_BATCH_INVARIANT;
constexpr char kComponent[] = "cpu_ref";

template <class T>
T& not_null(T* pointer, const char* name) {
  if (pointer == nullptr) throw Failure(SPNL_INVALID, std::string(name) + " is NULL");
  return *pointer;
}

void log(const spnl_host& host, int32_t level, std::string_view text) {
  host.log(host.self, level, str(kComponent), str(text));
}

// ---- loading

std::optional<std::string> setting(const spnl_load& load, const spnl_host& host,
                                   std::string_view key) {
  for (uint32_t i = 0; i < load.n_options; ++i)
    if (view(load.options[i].key) == key) return std::string(view(load.options[i].value));
  std::string value;
  const spnl_sink sink = spnl::abi::string_sink(value);
  if (host.config(host.self, str(key), &sink) != SPNL_OK) return std::nullopt;
  return value;
}

uint32_t read_threads(const spnl_load& load, const spnl_host& host) {
  const auto text = setting(load, host, "threads");
  if (!text || text->empty() || *text == "0" || *text == "auto")
    return std::clamp(std::thread::hardware_concurrency(), 1u, 256u);
  uint32_t threads = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), threads);
  if (error != std::errc() || end != text->data() + text->size() || threads > 1024)
    throw Failure(SPNL_INVALID, "option threads: '" + *text + "' is not a number from 0 to 1024");
  return threads;
}

void check_device(const spnl_load& load) {
  const std::string_view device = view(load.device), dtype = view(load.dtype);
  if (!device.empty() && device != "auto" && device != "cpu")
    throw Failure(SPNL_UNSUPPORTED,
                  "cpu_ref has no device '" + std::string(device) + "'; it runs on cpu only");
  if (!dtype.empty() && dtype != "auto" && dtype != spnl::cpu_ref::kDtype)
    throw Failure(SPNL_UNSUPPORTED,
                  "cpu_ref has no dtype '" + std::string(dtype) + "'; it computes in f32 only");
}

spnl::cpu_ref::ModelSettings read_settings(const spnl_load& load, const spnl_host& host) {
  if (load.n_options > 0 && load.options == nullptr)
    throw Failure(SPNL_INVALID, "load: options is NULL");
  check_device(load);
  spnl::cpu_ref::ModelSettings settings;
  settings.threads = read_threads(load, host);
  settings.open = spnl::modelkit::open_options(load);
  settings.max_context = load.max_context;
  settings.memory_limit = load.memory_limit;
  settings.allocator.allocate = [&host](uint64_t bytes) {
    return host.alloc(host.self, bytes, 64);
  };
  settings.allocator.release = [&host](void* memory) { host.release(host.self, memory); };
  settings.progress = [&host, op = load.op](uint64_t done, uint64_t total) {
    if (host.progress(host.self, op, str("weights"), done, total) != 0 ||
        host.cancelled(host.self, op) != 0)
      throw Failure(SPNL_CANCELLED, "loading was cancelled");
  };
  settings.file = spnl::modelkit::resolve_model(host, load);
  return settings;
}

// ---- the table

spnl_status open(const spnl_host* host, spnl_instance** instance, spnl_error* error) {
  return guard(error,
               [&] { not_null(instance, "instance") = new spnl_instance{&require(host, "host")}; });
}

void close(spnl_instance* instance) { delete instance; }

spnl_status model_load(spnl_instance* instance, const spnl_load* load, spnl_model** model,
                       spnl_error* error) {
  return guard(
      error,
      [&] {
        const spnl_host& host = *not_null(instance, "instance").host;
        const auto settings = read_settings(require(load, "load"), host);
        not_null(model, "model") = new spnl_model{instance, spnl::cpu_ref::Model(settings)};
        if (const auto folder = setting(*load, host, "span_cache"); folder && !folder->empty())
          log(host, SPNL_LOG_NOTE,
              "span_cache: this backend keeps no fragments; " + *folder + " is not used");
        const uint64_t own = (*model)->model.spec().context;
        if (!settings.open.vocab_only && load->max_context > own)
          log(host, SPNL_LOG_NOTE,
              "the model's context is " + std::to_string(own) +
                  " tokens; the larger one asked for is not used");
      },
      status_of);
}

void model_unload(spnl_model* model) { delete model; }

spnl_status model_info(spnl_model* handle, spnl_model_info* out, spnl_error* error) {
  return guard(
      error,
      [&] {
        const spnl::cpu_ref::Model& model = not_null(handle, "model").model;
        spnl_model_info info{};
        info.n_eos = static_cast<uint32_t>(model.bundle().eos.size());
        info.eos = model.bundle().eos.data();
        info.architecture = str(model.architecture());
        info.device = str("cpu");
        info.dtype = str(spnl::cpu_ref::kDtype);
        info.caps = kCaps;
        info.context = model.context();
        info.vocab = model.vocab();
        info.embedding_dim = model.spec().hidden_size;
        spnl::abi::answer(require(out, "info"), info);
      },
      status_of);
}

spnl_status tokenize(spnl_model* handle, const spnl_prompt* prompt, const spnl_sink* ids,
                     const spnl_sink* ends, spnl_error* error) {
  return guard(
      error,
      [&] {
        const auto& bundle = not_null(handle, "model").model.bundle();
        spnl::modelkit::validate_prompt(require(prompt, "prompt"));
        const auto encoded = bundle.prompts->encode(*prompt);
        spnl::abi::write(require(ids, "ids"), encoded.ids.data(),
                         encoded.ids.size() * sizeof(int32_t));
        if (ends != nullptr)
          spnl::abi::write(require(ends, "ends"), encoded.ends.data(),
                           encoded.ends.size() * sizeof(uint64_t));
      },
      status_of);
}

std::vector<int32_t> copy_ids(const int32_t* ids, uint64_t n) {
  if (n > 0) not_null(ids, "ids");
  if (n > static_cast<uint64_t>(std::numeric_limits<int32_t>::max()))
    throw Failure(SPNL_INVALID, "too many ids");
  return n == 0 ? std::vector<int32_t>() : std::vector<int32_t>(ids, ids + n);
}

spnl_status detokenize(spnl_model* handle, const int32_t* ids, uint64_t n, const spnl_sink* text,
                       spnl_error* error) {
  return guard(
      error,
      [&] {
        const auto& model = not_null(handle, "model").model;
        std::vector<int32_t> known = copy_ids(ids, n);
        std::erase_if(known, [&](int32_t id) { return model.pads(id); });
        const std::string decoded = model.bundle().tokenizer->decode(known, true);
        spnl::abi::write(require(text, "text"), decoded.data(), decoded.size());
      },
      status_of);
}

spnl_status render(spnl_model* handle, const spnl_prompt* prompt, const spnl_sink* text,
                   spnl_error* error) {
  return guard(
      error,
      [&] {
        const auto& bundle = not_null(handle, "model").model.bundle();
        spnl::modelkit::validate_prompt(require(prompt, "prompt"));
        const std::string rendered = bundle.prompts->render(*prompt);
        spnl::abi::write(require(text, "text"), rendered.data(), rendered.size());
      },
      status_of);
}

spnl_status session_open(spnl_model* handle, const spnl_events* events, spnl_session** session,
                         spnl_error* error) {
  return guard(
      error,
      [&] {
        spnl_model& model = not_null(handle, "model");
        if (!model.model.can_generate())
          throw Failure(SPNL_UNSUPPORTED,
                        "the model was loaded with vocab_only: it has no weights to generate with");
        const spnl_host& host = *model.instance->host;
        not_null(require(events, "events").event, "events.event");
        not_null(session, "session") =
            new spnl_session{{model.model, *events,
                              [&host](std::string_view text) { log(host, SPNL_LOG_NOTE, text); }}};
      },
      status_of);
}

spnl_status submit(spnl_session* session, const spnl_request* request, uint64_t* sequence,
                   spnl_error* error) {
  return guard(
      error,
      [&] {
        auto& target = not_null(session, "session").session;
        not_null(sequence, "sequence") =
            target.submit(spnl::cpu_ref::read_request(require(request, "request"), target.model()));
      },
      status_of);
}

spnl_status step(spnl_session* session, uint64_t budget_ns, uint32_t* alive, spnl_error* error) {
  return guard(
      error,
      [&] { not_null(alive, "alive") = not_null(session, "session").session.step(budget_ns); },
      status_of);
}

spnl_status cancel(spnl_session* session, uint64_t sequence) {
  return guard(nullptr, [&] { return not_null(session, "session").session.cancel(sequence); });
}

void session_close(spnl_session* session) {
  if (session == nullptr) return;
  guard(nullptr, [&] { session->session.finish_all(); });
  delete session;
}

spnl_status stats(spnl_model* handle, spnl_stats* out, spnl_error* error) {
  return guard(
      error,
      [&] {
        const spnl::cpu_ref::Model& model = not_null(handle, "model").model;
        const spnl::cpu_ref::Counters& counters = model.counters();
        spnl_stats answer{};
        answer.running = counters.running;
        answer.waiting = counters.waiting;
        answer.prefill_tokens = counters.prefill_tokens;
        answer.decode_tokens = counters.decode_tokens;
        answer.prefill_ns = counters.prefill_ns;
        answer.decode_ns = counters.decode_ns;
        answer.bytes_weights = model.weight_bytes();
        answer.bytes_cache = counters.cache_bytes;
        spnl::abi::answer(require(out, "stats"), answer);
      },
      status_of);
}

spnl_status score(spnl_model* handle, const int32_t* ids, uint64_t n, uint32_t top_k,
                  float* logprobs, int32_t* top_ids, float* top_logits, double* log_sum_exp,
                  spnl_error* error) {
  return guard(
      error,
      [&] {
        const auto result = not_null(handle, "model").model.score(copy_ids(ids, n), top_k);
        std::copy(result.logprobs.begin(), result.logprobs.end(), &not_null(logprobs, "logprobs"));
        if (top_k > 0) {
          std::copy(result.top_ids.begin(), result.top_ids.end(), &not_null(top_ids, "top_ids"));
          std::copy(result.top_logits.begin(), result.top_logits.end(),
                    &not_null(top_logits, "top_logits"));
        }
        if (log_sum_exp != nullptr) *log_sum_exp = result.log_sum_exp;
      },
      status_of);
}

const spnl_score_v1 kScore = {sizeof(spnl_score_v1), 0, score};

const void* extension(spnl_instance*, const char* id) {
  return id != nullptr && std::strcmp(id, SPNL_EXT_SCORE) == 0 ? &kScore : nullptr;
}

constexpr spnl_str literal(const char* text) {
  return {text, std::char_traits<char>::length(text)};
}

constexpr spnl_str kPrefixes[] = {literal("cpu_ref")};

constexpr spnl_descriptor kDescriptor = {sizeof(spnl_descriptor),
                                         SPNL_ABI_MINOR,
                                         /*minor_needed=*/0,
                                         /*n_prefixes=*/1,
                                         kPrefixes,
                                         literal("spnl.cpu_ref"),
                                         literal("CPU reference"),
                                         literal(SPNL_CPU_REF_VERSION),
                                         literal("spnl"),
                                         literal("Apache-2.0"),
                                         kCaps};

constexpr spnl_backend kBackend = {sizeof(spnl_backend),
                                   0,
                                   &kDescriptor,
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

}  // namespace

extern "C" __attribute__((visibility("default"))) const spnl_backend* spnl_backend_v1(void) {
  return &kBackend;
}
