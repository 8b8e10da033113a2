// A whole backend in one file: its model answers with the last message it was given, one character
// a token. Everything a backend must have is here; replace what is inside Model and Sequence by a
// model of your own.
#include "spnl/backend.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <vector>

using spnl::abi::answer;
using spnl::abi::Failure;
using spnl::abi::guard;
using spnl::abi::require;
using spnl::abi::str;
using spnl::abi::view;

namespace {

// ---- the "model": ids are Unicode code points

constexpr int32_t kEos = 0x110000;
constexpr uint64_t kVocabulary = kEos + 1;
constexpr uint64_t kContext = 1 << 20;

void append_character(int32_t id, std::string& out) {
  const auto c = static_cast<uint32_t>(id);
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 63)),
            static_cast<char>(0x80 | (c & 63))};
  } else {
    out += {static_cast<char>(0xF0 | (c >> 18)), static_cast<char>(0x80 | ((c >> 12) & 63)),
            static_cast<char>(0x80 | ((c >> 6) & 63)), static_cast<char>(0x80 | (c & 63))};
  }
}

/// Any bytes are accepted; what is no UTF-8 becomes U+FFFD, byte by byte.
std::vector<int32_t> encode(std::string_view text) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    uint32_t c = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    bool good = length > 0 && i + length <= text.size();
    for (size_t j = 1; good && j < length; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      good = (next & 0xC0) == 0x80;
      c = c << 6 | (next & 63u);
    }
    const uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : length == 4 ? 0x10000 : 0;
    good = good && c >= least && c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    ids.push_back(good ? static_cast<int32_t>(c) : 0xFFFD);
    i += good ? length : 1;
  }
  return ids;
}

std::string decode(const int32_t* ids, uint64_t n) {
  if (n > 0 && ids == nullptr) throw Failure(SPNL_INVALID, "ids is NULL");
  std::string text;
  for (uint64_t i = 0; i < n; ++i) {
    if (ids[i] < 0 || ids[i] > kEos || (ids[i] >= 0xD800 && ids[i] <= 0xDFFF))
      throw Failure(SPNL_INVALID, "id " + std::to_string(ids[i]) + " is not in the vocabulary");
    if (ids[i] == kEos)
      text += "<eos>";
    else
      append_character(ids[i], text);
  }
  return text;
}

// ---- prompts: a real backend applies its chat template here

struct Prompt {
  std::string rendered, last;  ///< `last`: what is echoed
  std::vector<uint64_t> ends;  ///< per fragment: characters up to its end
};

std::string_view role_name(int32_t role) {
  switch (role) {
    case SPNL_ROLE_SYSTEM:
      return "system: ";
    case SPNL_ROLE_USER:
      return "user: ";
    case SPNL_ROLE_ASSISTANT:
      return "assistant: ";
    case SPNL_ROLE_TOOL:
      return "tool: ";
    case SPNL_ROLE_NONE:
      return "";
    default:
      throw Failure(SPNL_INVALID, "unknown role " + std::to_string(role));
  }
}

void add_fragment(const spnl_fragment& fragment, uint32_t index, Prompt& prompt) {
  if (fragment.parent < -1 || fragment.parent >= static_cast<int32_t>(index))
    throw Failure(SPNL_INVALID, "fragment: its parent does not precede it");
  switch (fragment.kind) {
    case SPNL_FRAG_MESSAGE:
      if (fragment.text.len > 0 && fragment.text.data == nullptr)
        throw Failure(SPNL_INVALID, "fragment: text is NULL");
      prompt.last = view(fragment.text);
      prompt.rendered += std::string(role_name(fragment.role)) + prompt.last +
                         (fragment.role == SPNL_ROLE_NONE ? "" : "\n");
      break;
    case SPNL_FRAG_TOKENS:
      prompt.rendered += prompt.last = decode(fragment.tokens, fragment.n_tokens);
      break;
    case SPNL_FRAG_ORDERED:
    case SPNL_FRAG_INDEPENDENT:
      break;  // without SPNL_CAP_SPANS the order is all that matters
    case SPNL_FRAG_BLOB:
      throw Failure(SPNL_UNSUPPORTED, "echo has no vision");
    default:
      throw Failure(SPNL_INVALID, "unknown fragment kind " + std::to_string(fragment.kind));
  }
}

Prompt read_prompt(const spnl_prompt* given) {
  const spnl_prompt& from = require(given, "prompt");
  if (from.tools_json.len != 0) throw Failure(SPNL_UNSUPPORTED, "echo has no tools");
  if (from.n_fragments == 0 || from.fragments == nullptr)
    throw Failure(SPNL_INVALID, "the prompt is empty");
  Prompt prompt;
  for (uint32_t i = 0; i < from.n_fragments; ++i) {
    add_fragment(require(from.fragments[i], "fragment"), i, prompt);
    prompt.ends.push_back(encode(prompt.rendered).size());
  }
  for (uint32_t i = from.n_fragments; i-- > 0;) {  // a group ends where its last child does
    const int32_t parent = from.fragments[i]->parent;
    if (parent >= 0)
      prompt.ends[static_cast<size_t>(parent)] =
          std::max(prompt.ends[static_cast<size_t>(parent)], prompt.ends[i]);
  }
  return prompt;
}

using Clock = std::chrono::steady_clock;

uint64_t nanoseconds_between(Clock::time_point from, Clock::time_point to) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count());
}

/// One answer on its way; all samples of a request are alike, so they go in step.
struct Sequence {
  uint64_t id = 0, user_id = 0, prompt_tokens = 0, most = 0, sent = 0;
  uint32_t samples = 1;
  bool prefill_only = false;
  std::vector<int32_t> answer;
  Clock::time_point submitted = Clock::now(), first, last;
};

Sequence read_request(const spnl_request& request) {
  const auto unsupported = [](const char* word) {
    throw Failure(SPNL_UNSUPPORTED, std::string("echo has no ") + word);
  };
  if (request.grammar_kind.len != 0 || request.grammar.len != 0) unsupported("grammar");
  if (request.span_mode == SPNL_SPAN_BLOCK || request.span_mode == SPNL_SPAN_BLEND)
    unsupported("span mode of this kind");
  const Prompt prompt = read_prompt(request.prompt);
  Sequence sequence;
  sequence.user_id = request.user_id;
  sequence.prefill_only = (request.flags & SPNL_REQ_PREFILL_ONLY) != 0;
  sequence.prompt_tokens = encode(prompt.rendered).size();
  sequence.answer = encode(prompt.last);
  if (sequence.prompt_tokens > kContext)
    throw Failure(SPNL_INVALID, "the prompt is longer than the context of " +
                                    std::to_string(kContext) + " tokens");
  sequence.most = kContext - sequence.prompt_tokens;
  if (request.sampling == nullptr) return sequence;
  const spnl_sampling& sampling = require(request.sampling, "sampling");
  spnl::abi::refuse_unknown_fields(sampling, (SPNL_SET_SEED << 1) - 1);
  if (spnl::abi::has(&sampling, SPNL_SET_STOPS) && sampling.n_stops > 0)
    unsupported("stop strings");
  if (spnl::abi::has(&sampling, SPNL_SET_TOP_LOGPROBS)) unsupported("logprobs");
  if (spnl::abi::has(&sampling, SPNL_SET_MAX_TOKENS) && sampling.max_tokens != 0)
    sequence.most = std::min<uint64_t>(sequence.most, sampling.max_tokens);
  sequence.samples = std::max(1u, sampling.samples);
  if (sequence.samples > 1024) throw Failure(SPNL_INVALID, "more than 1024 samples");
  return sequence;
}

template <class T>
T& not_null(T* pointer, const char* name) {
  if (pointer == nullptr) throw Failure(SPNL_INVALID, std::string(name) + " is NULL");
  return *pointer;
}

}  // namespace

// ---- the handles of the ABI

struct spnl_instance {
  const spnl_host* host;
};

struct spnl_model {
  std::atomic<uint32_t> running{0};
  std::atomic<uint64_t> prefill_tokens{0}, decode_tokens{0};
};

struct spnl_session {
  spnl_session(spnl_model& owner, const spnl_events& receiver) : model(owner), events(receiver) {}

  spnl_model& model;
  const spnl_events events;
  std::list<Sequence> sequences;
  std::mutex mutex;  // cancel may come from any thread
  std::set<uint64_t> cancelled;
  uint64_t next_id = 1;

  void send(const Sequence& sequence, spnl_event event) {
    event.struct_size = sizeof event;
    event.sequence = sequence.id;
    event.user_id = sequence.user_id;
    for (event.sample = 0; event.sample < sequence.samples; ++event.sample)
      if (events.event(events.user, &event) != 0) cancel(sequence.id);
  }

  void finish(const Sequence& sequence, int32_t reason) {
    spnl_usage usage{};
    usage.struct_size = sizeof usage;
    usage.prompt_tokens = sequence.prompt_tokens;
    usage.output_tokens = sequence.sent;
    if (sequence.sent > 0) {
      usage.first_token_ns = nanoseconds_between(sequence.submitted, sequence.first);
      usage.decode_ns = nanoseconds_between(sequence.first, sequence.last);
    }
    spnl_event event{};
    event.kind = SPNL_EV_FINISH;
    event.finish = reason;
    event.usage = &usage;
    send(sequence, event);
    --model.running;
  }

  /// One token, or the end. True while the sequence lives.
  bool advance(Sequence& sequence) {
    if (sequence.sent == 0) model.prefill_tokens += sequence.prompt_tokens;
    if (sequence.prefill_only || sequence.sent == sequence.most)
      return finish(sequence, SPNL_FIN_LENGTH), false;
    if (sequence.sent == sequence.answer.size()) return finish(sequence, SPNL_FIN_EOS), false;
    const int32_t token = sequence.answer[sequence.sent++];
    sequence.last = Clock::now();
    if (sequence.sent == 1) sequence.first = sequence.last;
    model.decode_tokens += sequence.samples;
    std::string text;
    append_character(token, text);
    spnl_event event{};
    event.kind = SPNL_EV_TOKENS;
    event.n_tokens = 1;
    event.tokens = &token;
    event.text = str(text);
    send(sequence, event);
    return true;
  }

  void step_all() {
    std::set<uint64_t> stopped;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stopped.swap(cancelled);
    }
    for (auto it = sequences.begin(); it != sequences.end();) {
      bool lives = false;
      if (stopped.count(it->id) != 0)
        finish(*it, SPNL_FIN_CANCELLED);
      else
        lives = advance(*it);
      it = lives ? std::next(it) : sequences.erase(it);
    }
  }

  spnl_status cancel(uint64_t id) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (id == 0 || id >= next_id) return SPNL_NOT_FOUND;
    cancelled.insert(id);
    return SPNL_OK;
  }
};

namespace {

// ---- the table

spnl_status open(const spnl_host* host, spnl_instance** instance, spnl_error* error) {
  return guard(error,
               [&] { not_null(instance, "instance") = new spnl_instance{&require(host, "host")}; });
}

void close(spnl_instance* instance) { delete instance; }

spnl_status model_load(spnl_instance* instance, const spnl_load* load, spnl_model** model,
                       spnl_error* error) {
  // A real backend asks the host for files: instance->host->resolve(self, load->op, load->model,
  // "*.gguf", ...).
  return guard(error, [&] {
    not_null(instance, "instance");
    const std::string_view device = view(require(load, "load").device);
    if (!device.empty() && device != "auto" && device != "cpu")
      throw Failure(SPNL_UNSUPPORTED, "echo has no device '" + std::string(device) + "'");
    not_null(model, "model") = new spnl_model;
  });
}

void model_unload(spnl_model* model) { delete model; }

spnl_status model_info(spnl_model* model, spnl_model_info* out, spnl_error* error) {
  return guard(error, [&] {
    not_null(model, "model");
    spnl_model_info info{};
    info.n_eos = 1;
    info.eos = &kEos;
    info.architecture = str("echo");
    info.device = str("cpu");
    info.dtype = str("none");
    info.context = kContext;
    info.vocab = kVocabulary;
    answer(require(out, "info"), info);
  });
}

spnl_status tokenize(spnl_model*, const spnl_prompt* prompt, const spnl_sink* ids,
                     const spnl_sink* ends, spnl_error* error) {
  return guard(error, [&] {
    const Prompt read = read_prompt(prompt);
    const std::vector<int32_t> encoded = encode(read.rendered);
    spnl::abi::write(require(ids, "ids"), encoded.data(), encoded.size() * sizeof(int32_t));
    if (ends != nullptr)
      spnl::abi::write(require(ends, "ends"), read.ends.data(),
                       read.ends.size() * sizeof(uint64_t));
  });
}

spnl_status detokenize(spnl_model*, const int32_t* ids, uint64_t n, const spnl_sink* text,
                       spnl_error* error) {
  return guard(error, [&] {
    const std::string decoded = decode(ids, n);
    spnl::abi::write(require(text, "text"), decoded.data(), decoded.size());
  });
}

spnl_status render(spnl_model*, const spnl_prompt* prompt, const spnl_sink* text,
                   spnl_error* error) {
  return guard(error, [&] {
    const Prompt read = read_prompt(prompt);
    spnl::abi::write(require(text, "text"), read.rendered.data(), read.rendered.size());
  });
}

spnl_status session_open(spnl_model* model, const spnl_events* events, spnl_session** session,
                         spnl_error* error) {
  return guard(error, [&] {
    not_null(require(events, "events").event, "events.event");
    not_null(session, "session") = new spnl_session(not_null(model, "model"), *events);
  });
}

spnl_status submit(spnl_session* session, const spnl_request* request, uint64_t* sequence,
                   spnl_error* error) {
  return guard(error, [&] {
    spnl_session& to = not_null(session, "session");
    Sequence read = read_request(require(request, "request"));
    uint64_t& id = not_null(sequence, "sequence");
    const std::lock_guard<std::mutex> lock(to.mutex);
    read.id = to.next_id;
    to.sequences.push_back(std::move(read));
    ++to.model.running;
    id = to.next_id++;
  });
}

spnl_status step(spnl_session* session, uint64_t budget_ns, uint32_t* alive, spnl_error* error) {
  return guard(error, [&] {
    spnl_session& at = not_null(session, "session");
    uint32_t& left = not_null(alive, "alive");
    const auto start = Clock::now();
    do at.step_all();
    while (!at.sequences.empty() && nanoseconds_between(start, Clock::now()) < budget_ns);
    left = static_cast<uint32_t>(at.sequences.size());
  });
}

spnl_status cancel(spnl_session* session, uint64_t sequence) {
  return guard(nullptr, [&] { return not_null(session, "session").cancel(sequence); });
}

void session_close(spnl_session* session) {
  if (session == nullptr) return;
  guard(nullptr, [&] {
    for (const Sequence& sequence : session->sequences)
      session->finish(sequence, SPNL_FIN_CANCELLED);
  });
  delete session;
}

spnl_status stats(spnl_model* model, spnl_stats* out, spnl_error* error) {
  return guard(error, [&] {
    spnl_stats counters{};
    counters.running = not_null(model, "model").running;
    counters.prefill_tokens = model->prefill_tokens;
    counters.decode_tokens = model->decode_tokens;
    answer(require(out, "stats"), counters);
  });
}

const void* extension(spnl_instance*, const char*) { return nullptr; }

// Constants: calling the entry does no work.
template <size_t N>
constexpr spnl_str literal(const char (&text)[N]) {
  return {text, N - 1};
}
constexpr spnl_str kPrefixes[] = {literal("echo")};
constexpr spnl_descriptor kDescriptor = {sizeof(spnl_descriptor),
                                         SPNL_ABI_MINOR,
                                         /*minor_needed=*/0,
                                         /*n_prefixes=*/1,
                                         kPrefixes,
                                         literal("org.example.echo"),
                                         literal("Echo"),
                                         literal(ECHO_VERSION),
                                         literal("example"),
                                         literal("Apache-2.0"),
                                         /*caps=*/0};
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
