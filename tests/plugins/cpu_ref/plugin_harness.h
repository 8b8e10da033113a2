#pragma once
/// A small host for tests of a backend over its ABI: records what the plugin says.
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "spnl/backend.hpp"

namespace spnl::test {

class FakeHost {
 public:
  std::string model = "some/model";
  std::string file;  ///< what resolve answers; empty: not found
  std::map<std::string, std::string> config;
  std::vector<std::string> notes;
  int allocations_left = 1 << 30, live_allocations = 0;
  int cancel_at_progress = -1, progress_calls = 0;

  FakeHost() {
    table_.struct_size = sizeof table_;
    table_.self = this;
    table_.name = abi::str("test");
    table_.log = [](void* self, int32_t level, spnl_str, spnl_str text) {
      if (level == SPNL_LOG_NOTE) of(self).notes.emplace_back(abi::view(text));
    };
    table_.config = [](void* self, spnl_str key, const spnl_sink* value) -> spnl_status {
      const auto found = of(self).config.find(std::string(abi::view(key)));
      if (found == of(self).config.end()) return SPNL_NOT_FOUND;
      return value->write(value->user, found->second.data(), found->second.size());
    };
    table_.progress = [](void* self, uint64_t, spnl_str, uint64_t done, uint64_t total) -> int32_t {
      FakeHost& host = of(self);
      return done > total || host.progress_calls++ == host.cancel_at_progress;
    };
    table_.cancelled = [](void*, uint64_t) -> int32_t { return 0; };
    table_.alloc = [](void* self, uint64_t bytes, uint64_t align) -> void* {
      FakeHost& host = of(self);
      if (host.allocations_left-- <= 0) return nullptr;
      ++host.live_allocations;
      return std::aligned_alloc(align, (bytes + align - 1) / align * align);
    };
    table_.release = [](void* self, void* pointer) {
      --of(self).live_allocations;
      std::free(pointer);
    };
    table_.resolve = [](void* self, uint64_t, spnl_str, spnl_str, const spnl_file_sink* files,
                        spnl_error* error) {
      const std::string& path = of(self).file;
      if (path.empty()) return abi::fail(error, SPNL_NOT_FOUND, "looked in no place");
      return files->file(files->user, abi::str("model.gguf"), abi::str(path), 0);
    };
    table_.extension = [](void*, const char*) -> const void* { return nullptr; };
  }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  const spnl_host* table() const { return &table_; }

 private:
  static FakeHost& of(void* self) { return *static_cast<FakeHost*>(self); }
  spnl_host table_{};
};

struct SampleLog {
  std::vector<int32_t> ids;
  std::string text;
  std::vector<float> logprobs;
  int finishes = 0;
  int32_t reason = -1;
  spnl_usage usage{};
  std::vector<uint64_t> fragment_tokens;
  std::string error;
};

/// Receives events and checks their order: TOKENS*, one FINISH, nothing after it, on the thread
/// that steps.
struct EventLog {
  std::map<std::pair<uint64_t, uint32_t>, SampleLog> samples;  ///< by sequence, sample
  std::vector<std::string> faults;
  std::thread::id thread = std::this_thread::get_id();
  uint64_t stop_sequence = 0;  ///< answer nonzero to its events

  spnl_events events() {
    spnl_events out{};
    out.struct_size = sizeof out;
    out.user = this;
    out.event = [](void* user, const spnl_event* event) {
      return static_cast<EventLog*>(user)->receive(*event);
    };
    return out;
  }

 private:
  int32_t receive(const spnl_event& event) {
    SampleLog& log = samples[{event.sequence, event.sample}];
    if (log.finishes > 0) faults.push_back("an event after FINISH");
    if (std::this_thread::get_id() != thread) faults.push_back("an event on another thread");
    log.text += abi::view(event.text);
    if (event.kind == SPNL_EV_TOKENS) {
      log.ids.insert(log.ids.end(), event.tokens, event.tokens + event.n_tokens);
      if (event.logprobs != nullptr)
        log.logprobs.insert(log.logprobs.end(), event.logprobs, event.logprobs + event.n_tokens);
    } else {
      ++log.finishes;
      log.reason = event.finish;
      if (event.usage == nullptr) {
        faults.push_back("FINISH without usage");
      } else {
        log.usage = *event.usage;
        log.fragment_tokens.assign(event.usage->fragment_tokens,
                                   event.usage->fragment_tokens + event.usage->n_fragments);
      }
      if (event.error != nullptr) log.error = event.error->message;
    }
    return event.sequence == stop_sequence;
  }
};

/// A prompt of one fragment: raw text, a message, or ids.
class PromptOf {
 public:
  explicit PromptOf(std::string text, int32_t role = SPNL_ROLE_NONE) : text_(std::move(text)) {
    fragment_.kind = SPNL_FRAG_MESSAGE;
    fragment_.role = role;
    fragment_.text = abi::str(text_);
    finish();
  }
  explicit PromptOf(std::vector<int32_t> ids) : ids_(std::move(ids)) {
    fragment_.kind = SPNL_FRAG_TOKENS;
    fragment_.tokens = ids_.data();
    fragment_.n_tokens = static_cast<uint32_t>(ids_.size());
    finish();
  }
  PromptOf(const PromptOf&) = delete;
  PromptOf& operator=(const PromptOf&) = delete;

  const spnl_prompt* get() const { return &prompt; }

  spnl_prompt prompt{};

 private:
  void finish() {
    fragment_.struct_size = sizeof fragment_;
    fragment_.parent = -1;
    prompt.struct_size = sizeof prompt;
    prompt.n_fragments = 1;
    prompt.fragments = &pointer_;
  }

  std::string text_;
  std::vector<int32_t> ids_;
  spnl_fragment fragment_{};
  const spnl_fragment* pointer_ = &fragment_;
};

inline spnl_error empty_error() {
  spnl_error error{};
  error.struct_size = sizeof error;
  return error;
}

/// Opened plugin and loaded model, closed in order.
class Opened {
 public:
  Opened(FakeHost& host,
         std::vector<std::pair<std::string, std::string>> options = {{"threads", "2"}},
         uint64_t max_context = 0, uint64_t memory_limit = 0)
      : backend(*spnl_backend_v1()) {
    error = empty_error();
    open_status = backend.open(host.table(), &instance, &error);
    std::vector<spnl_kv> pairs;
    for (const auto& [key, value] : options) pairs.push_back({abi::str(key), abi::str(value)});
    spnl_load load{};
    load.struct_size = sizeof load;
    load.n_options = static_cast<uint32_t>(pairs.size());
    load.options = pairs.data();
    load.model = abi::str(host.model);
    load.max_context = max_context;
    load.memory_limit = memory_limit;
    load_status = backend.model_load(instance, &load, &model, &error);
  }
  ~Opened() {
    if (session != nullptr) backend.session_close(session);
    if (model != nullptr) backend.model_unload(model);
    if (instance != nullptr) backend.close(instance);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  spnl_status open_session(EventLog& log) {
    const spnl_events events = log.events();
    return backend.session_open(model, &events, &session, &error);
  }
  spnl_status submit(const PromptOf& prompt, const spnl_sampling& sampling, uint64_t& sequence,
                     uint32_t flags = 0) {
    spnl_request request{};
    request.struct_size = sizeof request;
    request.flags = flags;
    request.user_id = 7;
    request.prompt = &prompt.prompt;
    request.sampling = &sampling;
    return backend.submit(session, &request, &sequence, &error);
  }
  uint32_t step(uint64_t budget_ns = 0) {
    uint32_t alive = 0;
    step_status = backend.step(session, budget_ns, &alive, &error);
    return alive;
  }
  void run() {
    for (int i = 0; i < 10000 && step() > 0; ++i) {
    }
  }

  const spnl_backend& backend;
  spnl_instance* instance = nullptr;
  spnl_model* model = nullptr;
  spnl_session* session = nullptr;
  spnl_error error{};
  spnl_status open_status = 0, load_status = 0, step_status = 0;
};

inline spnl_sampling sampling_of(uint32_t max_tokens, uint32_t samples = 1) {
  spnl_sampling sampling{};
  sampling.struct_size = sizeof sampling;
  sampling.samples = samples;
  sampling.set = SPNL_SET_MAX_TOKENS;
  sampling.max_tokens = max_tokens;
  return sampling;
}

}  // namespace spnl::test
